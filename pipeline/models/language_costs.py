"""Measures the cost of a language with a vocabulary: tokens for the same text, and for Turkish the tokens' quality.

The same short text in eleven languages (ours; no corpus) shows how much more of the context another language takes
than English. For Turkish, after Bayram et al. (malibayram/tokenizer_benchmark): %TR is the share of unique tokens that
are Turkish words or suffixes, %Pure of those that are a single morpheme, a root or a suffix. Theirs asks a web service
which words are Turkish; here a list of words is given (`--words`), and a word is a root unless it is a shorter word of
the list and suffixes. Fidelity: inspired.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pipeline.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TEXTS = {
    "English": (
        "The harbour opens at six in the morning. Ships that come at night wait outside the breakwater until "
        "the pilot is on board. Who needs water or fuel tells the office a day before."
    ),
    "German": (
        "Der Hafen öffnet um sechs Uhr morgens. Schiffe, die nachts kommen, warten vor dem Wellenbrecher, bis "
        "der Lotse an Bord ist. Wer Wasser oder Treibstoff braucht, sagt es dem Büro einen Tag vorher."
    ),
    "French": (
        "Le port ouvre à six heures du matin. Les navires qui arrivent la nuit attendent devant la jetée "
        "jusqu'à ce que le pilote soit à bord. Qui a besoin d'eau ou de carburant le dit au bureau un jour "
        "avant."
    ),
    "Spanish": (
        "El puerto abre a las seis de la mañana. Los barcos que llegan de noche esperan delante del rompeolas "
        "hasta que el práctico está a bordo. Quien necesita agua o combustible lo dice a la oficina un día "
        "antes."
    ),
    "Italian": (
        "Il porto apre alle sei del mattino. Le navi che arrivano di notte aspettano davanti al frangiflutti "
        "finché il pilota non è a bordo. Chi ha bisogno di acqua o carburante lo dice all'ufficio un giorno "
        "prima."
    ),
    "Portuguese": (
        "O porto abre às seis da manhã. Os navios que chegam de noite esperam diante do quebra-mar até que o "
        "piloto esteja a bordo. Quem precisa de água ou combustível avisa o escritório um dia antes."
    ),
    "Turkish": (
        "Liman sabah saat altıda açılır. Gece gelen gemiler, kılavuz gemiye çıkana kadar dalgakıranın önünde "
        "bekler. Su veya yakıta ihtiyacı olan bunu bir gün önceden ofise söyler."
    ),
    "Polish": (
        "Port otwiera się o szóstej rano. Statki, które przypływają nocą, czekają przed falochronem, aż pilot "
        "będzie na pokładzie. Kto potrzebuje wody lub paliwa, mówi o tym w biurze dzień wcześniej."
    ),
    "Russian": (
        "Порт открывается в шесть часов утра. Суда, которые приходят ночью, ждут перед волноломом, пока "
        "лоцман не поднимется на борт. Кому нужна вода или топливо, тот сообщает об этом в контору за день."
    ),
    "Chinese": (
        "港口早上六点开放。夜间到达的船只在防波堤外等候，直到引航员上船。需要水或燃料的人要提前一天通知办公室。"
    ),
    "Japanese": (
        "港は朝六時に開く。"
        "夜に着く船は、水先人が乗船するまで防波堤の外で待つ。"
        "水や燃料が必要な人は一日前に事務所に知らせる。"
    ),
}
"""The same three sentences in each language."""
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_SUFFIXES = (
    "lar ler ı i u ü yı yi yu yü a e ya ye da de ta te dan den tan ten ın in un ün nın nin nun nün ım im um üm "
    "ımız imiz umuz ümüz ınız iniz unuz ünüz sı si su sü ları leri la le yla yle ca ce ça çe lı li lu lü sız "
    "siz suz süz lık lik luk lük cı ci cu cü çı çi çu çü ki mak mek ma me ış iş uş üş an en yan yen acak ecek "
    "yacak yecek dı di du dü tı ti tu tü mış miş muş müş yor ıyor iyor uyor üyor ar er ır ir ur ür maz mez sa "
    "se malı meli abil ebil dık dik duk dük tık tik tuk tük ıp ip up üp arak erek dır dir dur dür tır tir tur "
    "tür ıl il ul ül n l t"
).split()
_SUFFIX_CHAIN = re.compile(rf"(?:{'|'.join(sorted(_SUFFIXES, key=len, reverse=True))})+")
_MIN_ROOT = 2


class Vocabulary(Protocol):
    """The required part of a vocabulary."""

    def tokenize(self, text: str) -> NDArray[np.int32]: ...
    def piece(self, token: int) -> bytes: ...


@dataclass(frozen=True)
class LanguageCost:
    """The same text in one language: its number of tokens, and the ratio to the English text.

    `per_word` is None for scripts without spaces; `whole_words` is the share of words that are one token.
    """

    language: str
    tokens: int
    over_english: float
    per_word: float | None
    whole_words: float | None
    bytes_per_token: float


@dataclass(frozen=True)
class TurkishTokens:
    """Shares, in [0, 1], of the unique tokens with letters of a Turkish text: words or suffixes; single morphemes."""

    tokens: int
    unique: int
    turkish: float
    pure: float


def language_costs(vocabulary: Vocabulary) -> list[LanguageCost]:
    """Measures each of TEXTS, in order."""
    n_english = len(vocabulary.tokenize(TEXTS["English"]))
    costs = []
    for language, text in TEXTS.items():
        n = len(vocabulary.tokenize(text))
        words = [] if language in ("Chinese", "Japanese") else _WORD.findall(text)
        n_whole = sum(len(vocabulary.tokenize(f" {word}")) == 1 for word in words)
        costs.append(
            LanguageCost(
                language,
                n,
                round(n / n_english, 2),
                round(n / len(words), 2) if words else None,
                round(n_whole / len(words), 2) if words else None,
                round(len(text.encode()) / n, 2),
            )
        )
    return costs


def turkish_tokens(vocabulary: Vocabulary, words: Path, text: str = TEXTS["Turkish"]) -> TurkishTokens:
    """Computes %TR and %Pure of a text by a list of words, one per line. Raises DataError for an unreadable list."""
    lexicon = read_words(words)
    tokens = vocabulary.tokenize(text)
    pieces = {_lower(vocabulary.piece(token).decode("utf-8", "replace").strip()) for token in set(tokens.tolist())}
    pieces = {piece for piece in pieces if _WORD.fullmatch(piece)}
    n = max(len(pieces), 1)
    turkish = sum(piece in lexicon or bool(_SUFFIX_CHAIN.fullmatch(piece)) for piece in pieces)
    pure = sum(piece in _SUFFIXES or is_root(piece, lexicon) for piece in pieces)
    return TurkishTokens(len(tokens), len(pieces), round(turkish / n, 4), round(pure / n, 4))


def read_words(path: Path) -> frozenset[str]:
    """Reads the single words of a list, in lower case. A verb adds its stem: `açmak` and `aç`."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: a list of words, one a line, cannot be read: {error}") from None
    words = {_lower(line.strip()) for line in lines if _WORD.fullmatch(line.strip())}
    if not words:
        raise DataError(f"{path}: holds no word: one is wanted a line")
    return frozenset(words | {word[:-3] for word in words if word.endswith(("mak", "mek")) and len(word) > 4})


def is_root(word: str, lexicon: frozenset[str]) -> bool:
    """Whether a word of the list is not a shorter word of the list with suffixes."""
    return word in lexicon and not any(
        word[:end] in lexicon and _SUFFIX_CHAIN.fullmatch(word, end) for end in range(_MIN_ROOT, len(word))
    )


def _lower(text: str) -> str:
    """Converts to lower case by Turkish rules: I becomes ı, and İ becomes i."""
    return text.replace("I", "ı").replace("İ", "i").lower()
