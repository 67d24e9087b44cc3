"""The trained weights of an extensible tokenizer: two files, the numbers (.npz, float16) and a card (.json).

The card names the model file, the training data, the command and the results. It has the hash of the numbers: a pair
that does not belong together is refused. The user's weights are in the cache folder, under extensible/<first 16 digits
of the model's key>, and those shipped with longthread in compressors/trained. The user's have priority.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compressors.soft.choice import chosen
from pipeline.contracts import Model
from pipeline.errors import ModelError
from pipeline.models.identity import model_key
from pipeline.storage.cache import cache_folder
from pipeline.storage.cards import Cards, write_card

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHIPPED = Path(__file__).parent.parent / "trained"
MAX_BYTES = 10_000_000
"""Size limit of shipped weights."""
MATRICES = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


@dataclass(frozen=True)
class Card:
    """Describes weights. `key`, the hash of the model's file, decides the model; `model` is a name for people.

    The first `layers` layers of the model read `chunk` tokens at a time. One vector may stand for each of `ks` tokens.
    `sha256` is the hash of the numbers' file. `data` are the training texts, `minutes` and `steps` the length of the
    training, `recipe` all its settings, `metrics` its results on held-out text (`command` and `notes` say how).
    """

    model: str
    key: str
    sha256: str
    layers: int
    rank: int
    chunk: int
    ks: tuple[int, ...]
    data: tuple[str, ...]
    command: str
    recipe: dict[str, object]
    seed: int
    steps: int
    minutes: float
    date: str
    metrics: dict[str, float]
    notes: tuple[str, ...] = ()


_CARDS = Cards(Card, "a card of an extensible tokenizer", "train again (docs/training.md), or name other weights")


@dataclass(frozen=True, eq=False)
class SoftWeights:
    """A card and the arrays by name, float32.

    `lora.<layer>.<matrix>.down` (rank, in) and `.up` (out, rank) are added to the model's matrices as up @ down.
    `projection` is (n_embd, n_embd); `state_gain`, `token_gain` and `offset` are (n_ks, n_embd). `closing`, (n_ks,
    n_closing, n_embd), are the vectors at the end. `information`, (n_vocab,), is each token's rarity in the training
    texts, in nats. `ends`, (n_vocab,), is 1 for tokens that end a sentence.
    """

    card: Card
    arrays: Mapping[str, NDArray[np.float32]]

    def vectors(
        self, tokens: NDArray[np.integer], table: NDArray[np.floating], states: NDArray[np.floating], k: int
    ) -> NDArray[np.float32]:
        """The soft vectors, float32 (ceil(n / k) + n_closing, n_embd), of n tokens and their states, (n, n_embd).

        Each chunk gives the vectors of its rarest sentences: the tokens' input embeddings (from `table`, (n_vocab,
        n_embd)) plus a projection of their states. The closing vectors follow the last chunk.
        """
        row = self.card.ks.index(k)
        places = self.places(tokens, k)
        added = states[places].astype(np.float32) * self.arrays["state_gain"][row] @ self.arrays["projection"].T
        words = table[tokens[places]].astype(np.float32) * self.arrays["token_gain"][row]
        return np.concatenate([words + added + self.arrays["offset"][row], self.arrays["closing"][row]])

    def places(self, tokens: NDArray[np.integer], k: int) -> NDArray[np.intp]:
        """The positions of the tokens that become vectors, (ceil(n / k),), ascending."""
        ends = self.arrays["ends"] > 0
        places = []
        for start in range(0, len(tokens), self.card.chunk):
            part = tokens[start : start + self.card.chunk]
            places.append(start + chosen(part, self.arrays["information"], ends, -(-len(part) // k)))
        return np.concatenate(places)

    def merged(self, tensors: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """The model's first layers with the trained LoRA added, by their GGUF names."""
        merged = {}
        for layer in range(self.card.layers):
            for name in ("attn_norm", "ffn_norm"):
                merged[f"blk.{layer}.{name}.weight"] = tensors[f"blk.{layer}.{name}.weight"]
            for name in MATRICES:
                added = self.arrays[f"lora.{layer}.{name}.up"] @ self.arrays[f"lora.{layer}.{name}.down"]
                merged[f"blk.{layer}.{name}.weight"] = tensors[f"blk.{layer}.{name}.weight"] + added
        return merged


def save(weights: SoftWeights, path: Path) -> Card:
    """Writes the numbers (.npz) and the card (.json) at `path`. Gives the card with its hash."""
    from pipeline.storage.files import new_file

    data = io.BytesIO()
    np.savez(data, **{name: array.astype(np.float16) for name, array in weights.arrays.items()})  # type: ignore[arg-type]
    content = data.getvalue()
    card = Card(**{**asdict(weights.card), "sha256": _sha256(content)})
    with new_file(path.with_suffix(".npz"), len(content)) as temporary:
        temporary.write_bytes(content)
    write_card(path.with_suffix(".json"), card)
    return card


def load(path: Path) -> SoftWeights:
    """Loads the weights whose card or numbers are at `path`. Raises ModelError for an incomplete or damaged pair."""
    card = read_card(path.with_suffix(".json"))
    numbers = path.with_suffix(".npz")
    try:
        content = numbers.read_bytes()
    except OSError as error:
        raise ModelError(f"{numbers} cannot be read: {error.strerror}; its card alone is of no use") from None
    if _sha256(content) != card.sha256:
        raise ModelError(f"{numbers} is not what its card says: it is damaged, or of another training")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            loaded = {name: arrays[name].astype(np.float32) for name in arrays.files}
    except (ValueError, zipfile.BadZipFile) as error:
        raise ModelError(f"{numbers} cannot be read as numbers: {error}") from None
    missing = sorted(_names(card) - set(loaded))
    if missing:
        raise ModelError(
            f"{numbers} lacks {missing[0]} ({len(missing)} arrays in all): it is of another version: train again "
            "(docs/training.md)"
        )
    return SoftWeights(card, loaded)


def read_card(path: Path) -> Card:
    """Reads a card. Raises ModelError for a missing file, and names the fault of a bad one."""
    return _CARDS.read(path)


def weights_for(model: Model, path: str | None = None) -> SoftWeights:
    """The weights trained for this model's file, or the ones at `path`.

    Raises ModelError if there are none, and for weights of another model: one model's vectors are noise to another.
    """
    key = model_key(model)
    if path is not None:
        card = read_card(Path(path).expanduser().with_suffix(".json"))
        if card.key != key:
            raise ModelError(
                f"compress.extensible: {path} was trained for {card.model} ({card.key[:16]}...), and the reader is "
                f"{model.name} ({key[:16]}...): take the model that it was trained for, or train for this one"
            )
        return _loaded(Path(path).expanduser())
    for place in _places(key):
        if read_card(place).key == key:
            return _loaded(place)
    raise ModelError(
        f"compress.extensible: there are no trained weights for {model.name}. 'make train-extensible' "
        "in the source trains one for smollm2-135m (docs/training.md); or take compress.sentences, which needs none"
    )


@cache
def _loaded(path: Path) -> SoftWeights:
    return load(path)


def user_folder(key: str) -> Path:
    """The folder of the user's weights for a model."""
    return cache_folder() / "extensible" / key[:16]


def _places(key: str) -> Iterator[Path]:
    yield from sorted(user_folder(key).glob("*.json"))
    yield from sorted(SHIPPED.glob("extensible-*.json"))


def _names(card: Card) -> set[str]:
    lora = {
        f"lora.{layer}.{matrix}.{part}"
        for layer in range(card.layers)
        for matrix in MATRICES
        for part in ("down", "up")
    }
    return lora | {"projection", "state_gain", "token_gain", "offset", "closing", "information", "ends"}


def _sha256(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()
