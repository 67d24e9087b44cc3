"""Reports the abilities of a model file, by its header, by opening it, and by rendering two messages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import ModelError
from pipeline.gguf.header import inspect
from pipeline.gguf.purpose import Kind, purpose
from pipeline.models.first_look import look_first
from pipeline.models.limits import CACHE_TYPES
from pipeline.models.settings import EngineSettings
from pipeline.types import Message, Text

if TYPE_CHECKING:
    from pipeline.models.engine import Engine

_GOOD_FOR = {
    "generator": "writing answers, and for the compressors that ask a model",
    "embedder": "turning texts into vectors (index.embedder); it cannot write answers",
    "reranker": "ranking passages (rerank.gguf); it cannot write answers",
    "encoder": "nothing in longthread: models with an encoder are not run",
    "diffusion": "nothing in longthread: it does not write token by token",
    "vocabulary": "counting tokens; it has no weights",
}
_USEFUL = ("generator", "embedder", "reranker")
_USER = Message("user", (Text("How many hives has the garden?"),))
_SYSTEM = Message("system", (Text("Answer in one word."),))
_RENDERS, _NO_TEMPLATE = "renders", "none"
_USABLE = (_RENDERS, _NO_TEMPLATE)
"""Beginnings of template reports with which a model is usable."""


@dataclass(frozen=True, slots=True)
class Account:
    """The abilities and limits of a model file.

    `problem` is the reason if it does not open, else empty. `template` says whether its chat template renders; empty if
    that was not tried. `thinking` describes how the model thinks before it answers. `cache_bytes` is the size of one
    token's cell with keys and values in f16. `limits` lists what longthread or llama.cpp cannot do with this
    architecture. `kept_cells` says whether cells of passages can be composed (assemble.cited's `reuse`), and why not.
    """

    kind: Kind
    good_for: str
    n_ctx: int
    n_parts: int
    problem: str = ""
    template: str = ""
    thinking: str = ""
    weight_bytes: int = 0
    cache_bytes: int = 0
    limits: tuple[str, ...] = ()
    kept_cells: str = ""

    @property
    def is_usable(self) -> bool:
        """Whether the file is usable for its purpose."""
        can_render = not self.template or self.template.startswith(_USABLE)
        return self.kind in _USEFUL and not self.problem and can_render


def account(path: Path) -> Account:
    """Opens a file and reports its abilities. Raises ModelError for a damaged file."""
    info = inspect(path)
    file_purpose = purpose(info)
    good_for = _GOOD_FOR.get(file_purpose.kind) or f"nothing by itself: it {file_purpose.why}"
    about = Account(file_purpose.kind, good_for, info.n_ctx_train, info.n_parts)
    if file_purpose.kind not in _USEFUL:
        return about
    try:
        if file_purpose.kind == "generator":
            return _of_generator(path, good_for)
        look_first(path)
    except ModelError as error:
        return Account(file_purpose.kind, good_for, info.n_ctx_train, info.n_parts, problem=str(error))
    return about


def _of_generator(path: Path, good_for: str) -> Account:
    from pipeline.models.engine import open_engine
    from pipeline.models.resolving import cell_bytes

    info = inspect(path)
    n_ctx = min(512, info.n_ctx_train)
    settings = EngineSettings(str(path), n_ctx=n_ctx if n_ctx >= 64 else "auto", n_seq_max=1, n_cached=0)
    with open_engine(settings, path) as engine:
        template = _template(engine)
        return Account(
            kind="generator",
            good_for=good_for,
            n_ctx=engine.weights.n_ctx_trained,
            n_parts=info.n_parts,
            template=template,
            thinking=str(engine.profile) if template.startswith(_USABLE) else "",
            weight_bytes=engine.weights.size,
            cache_bytes=cell_bytes(engine.weights, "f16", "f16"),
            limits=tuple(_limits(engine)),
            kept_cells=_kept_cells(engine),
        )


def _kept_cells(engine: Engine) -> str:
    verdict = engine.verdict
    if verdict.why:
        return f"passages are read anew for each question (reuse: exact): {verdict.why}"
    return (
        "passages can be read once and put together (reuse: passages, sentences); "
        f"a text that is moved reads {verdict.kl:.1g} nats a token differently"
    )


def _template(engine: Engine) -> str:
    """Tests whether the chat template renders a user's message, alone and after a system message."""
    if not engine.weights.metadata.get("tokenizer.chat_template"):
        return f"{_NO_TEMPLATE}: messages are joined as plain text, as for a base model"
    reasons = []
    for messages in ([_SYSTEM, _USER], [_USER]):
        try:
            engine.render(messages)
        except ModelError as error:
            reasons.append(str(error).removeprefix(f"{engine.name}: ").removeprefix("its chat template "))
    if not reasons:
        return f"{_RENDERS} a system's and a user's message"
    return f"does NOT render: {reasons[-1]}" if len(reasons) == 2 else f"{_RENDERS} only some messages: {reasons[0]}"


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 100_000 else f"{n_bytes} bytes"


def _limits(engine: Engine) -> list[str]:
    """Lists the limits of this model, and their consequences."""
    weights, limits = engine.weights, []
    if weights.is_recurrent:
        attending = weights.layers.attending
        probe = (
            f"compress.probe reads the attention of {len(attending)} of its {weights.n_layer} layers"
            if attending
            else "compress.probe cannot read its attention"
        )
        limits.append(
            f"{weights.architecture} has recurrent layers, whose states take {_size(weights.layers.state_bytes)} a "
            f"sequence: prompts share beginnings up to checkpoints only, {probe}, 'why' reads a new prompt for each "
            "passage, and draft does nothing"
        )
    if weights.n_swa > 0:
        limits.append(f"some layers see only the last {weights.n_swa} tokens: compress.probe asks heads of the others")
    if weights.n_positions:
        limits.append(f"its positions are learned: it never reads more than {weights.n_ctx_trained} tokens")
    elif not weights.has_rope:
        limits.append("it has no rotary positions: rope_scaling and rope_freq_base do nothing, and are refused")
    sizes = weights.head_sizes("key_length") | weights.head_sizes("value_length")
    block = CACHE_TYPES["q8_0"][1]
    if wrong := [size for size in sizes if size % block]:
        limits.append(
            f"its heads have {wrong[0]} values, which blocks of {block} do not divide: kv_k and kv_v stay f16"
        )
    if not any(weights.is_end(token) for token in range(weights.n_vocab)):
        limits.append("no token ends an answer: it goes on up to max_tokens, or to a string of 'stop'")
    return limits
