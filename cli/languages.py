"""`longthread models verify MODEL --languages`: the tokens that each language costs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from cli.output import SafeConsole, print_json
from cli.printing import table
from pipeline.errors import ConfigError
from pipeline.gguf.catalogue import resolve
from pipeline.models.language_costs import TEXTS, LanguageCost, TurkishTokens, language_costs, turkish_tokens
from pipeline.models.weights import Vocabulary


def print_costs(name: str, words: str | None, text: str | None, as_json: bool) -> int:
    """Prints the tokens of the same text in each language. With `words`, also what the Turkish tokens are."""
    if text is not None and words is None:
        raise ConfigError("--text needs --words: a list of Turkish words, one a line, to compare the tokens with")
    vocabulary = Vocabulary(resolve(name))
    try:
        costs = language_costs(vocabulary)
        turkish = None if words is None else turkish_tokens(vocabulary, Path(words), _text(text))
    finally:
        vocabulary.close()
    if as_json:
        languages = [asdict(cost) for cost in costs]
        print_json({"languages": languages, "turkish": None if turkish is None else asdict(turkish)})
    else:
        _print(costs, turkish)
    return 0


def _text(path: str | None) -> str:
    if path is None:
        return TEXTS["Turkish"]
    from pipeline.documents.load import load

    return load(Path(path)).text


def _print(costs: list[LanguageCost], turkish: TurkishTokens | None) -> None:
    console = SafeConsole()
    columns = ("language", "tokens", "times English", "tokens a word", "whole words", "bytes a token")
    console.print(table("the same three sentences", columns, [_row(cost) for cost in costs]))
    if turkish is not None:
        console.print(
            f"Turkish: of {turkish.unique} different tokens with letters, {turkish.turkish:.1%} are words or suffixes "
            f"(%TR) and {turkish.pure:.1%} a single morpheme (%Pure)"
        )


def _row(cost: LanguageCost) -> tuple[str, ...]:
    per_word = "" if cost.per_word is None else f"{cost.per_word:.2f}"
    whole = "" if cost.whole_words is None else f"{cost.whole_words:.0%}"
    ratio, size = f"{cost.over_english:.2f}", f"{cost.bytes_per_token:.2f}"
    return cost.language, str(cost.tokens), ratio, per_word, whole, size
