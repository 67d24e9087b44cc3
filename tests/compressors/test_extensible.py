"""Soft vectors in the place of text: what is refused, what is kept on disk, and on real weights that the vectors are
those that were trained for, and that the prompt and the ledger hold them.

The weights here are not trained: the projection is zero (sentences alone) or random. What they are worth is no claim.
"""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from compressors.extensible import KS, Extensible
from compressors.selection import split
from compressors.soft.choice import LONGEST, chosen, ends_sentence
from compressors.soft.encoder import SoftEncoder
from compressors.soft.store import StateStore
from compressors.soft.weights import (
    MATRICES,
    MAX_BYTES,
    SHIPPED,
    Card,
    SoftWeights,
    load,
    read_card,
    save,
    user_folder,
    weights_for,
)
from pipeline.answers.cited import Cited
from pipeline.answers.plain import Plain
from pipeline.default import default_pipeline
from pipeline.errors import ConfigError, ModelError
from pipeline.gguf.catalogue import resolve
from pipeline.models.engine import Engine
from pipeline.models.identity import model_key
from pipeline.pipeline import Pipeline
from pipeline.registry import make
from pipeline.stages import run_stage, stage_ledger
from pipeline.types import Passage, Question, Soft, State, Text
from tests.compressors.workbench import passage, scripted_runtime

N_VOCAB, N_EMBD, N_FF, N_KV = 49152, 576, 1536, 192
N_CLOSING = 2
QUESTION = Question("When does the ferry leave?")
FERRY = "The ferry sails from the old quay. In winter it leaves at nine, and in summer three times a day."
TALE = """
The keeper of the lighthouse, a man called Osric Blane, had not spoken to anyone for eleven weeks when the boat came. He
saw it from the gallery, a dark mark on a grey sea, and he knew by the way it rolled that Marit was at the oars. She had
brought flour, lamp oil, a letter from the harbour board, and a dog that nobody wanted. Osric read the letter twice. The
board would put out the lamp in the spring, it said, and would pay him until then. Marit said nothing. The dog lay down
in front of the stove, as if it had lived there for years, and Osric gave it the end of the loaf.
""".strip().replace("\n", " ")
TOWN = """
The town hall of Halden opens at eight, and on Fridays at nine. It was built in 1901 from red brick, after the old one
had burnt down with all its papers; the tower was added when the railway came. The clerk, who also keeps the library,
has a list of every street and of every well. On the ground floor there is a bakery that sells rye bread until noon, and
above it the council meets in a hall with twelve windows, and has argued about the bridge since the year of the flood.
""".strip().replace("\n", " ")
AFTER = """
 In the spring, when the board put out the lamp, Osric Blane and the dog left the lighthouse in Marit's boat, and the
keeper did not look back at the gallery, nor at the stove, nor at the sea that he had watched for so many years.
""".strip("\n").replace("\n", " ")


def untrained(
    key: str, layers: int = 1, rank: int = 2, chunk: int = 64, spread: float = 0.0, seed: int = 0
) -> SoftWeights:
    """Weights as they are before training; with `spread` random ones, so that every part of them counts."""
    draw = np.random.default_rng(seed)
    n_in = dict.fromkeys(MATRICES, N_EMBD) | {"ffn_down": N_FF}
    n_out = dict.fromkeys(MATRICES, N_EMBD) | {"attn_k": N_KV, "attn_v": N_KV, "ffn_gate": N_FF, "ffn_up": N_FF}
    numbers = {}
    for layer in range(layers):
        for name in MATRICES:
            numbers[f"lora.{layer}.{name}.down"] = draw.normal(size=(rank, n_in[name])) / n_in[name] ** 0.5
            numbers[f"lora.{layer}.{name}.up"] = draw.normal(size=(n_out[name], rank)) * spread
    numbers["projection"] = draw.normal(size=(N_EMBD, N_EMBD)) * spread
    numbers |= {"state_gain": np.ones((4, N_EMBD)), "token_gain": np.ones((4, N_EMBD))}
    numbers |= {"offset": np.zeros((4, N_EMBD)), "closing": draw.normal(size=(4, N_CLOSING, N_EMBD)) * 0.1}
    numbers["information"] = np.arange(N_VOCAB) % 2000  # a merge of letters that was made late is rare
    numbers["ends"] = np.arange(N_VOCAB) % 10 == 0
    card = Card(
        model="SmolLM2", key=key, sha256="", layers=layers, rank=rank, chunk=chunk, ks=(2, 4, 8, 16), data=("none",),
        command="none", recipe={}, seed=seed, steps=0, minutes=0.0, date="2026-11-25", metrics={}, notes=("untrained",),
    )  # fmt: skip
    return SoftWeights(card, {name: array.astype(np.float32) for name, array in numbers.items()})


def n_vectors(n_tokens: int, k: int) -> int:
    return -(-n_tokens // k) + N_CLOSING


def kept(weights: SoftWeights, folder: Path) -> str:
    """Weights on the disk; gives the path of their card."""
    save(weights, folder / "extensible-test")
    return str(folder / "extensible-test.json")


@pytest.fixture(scope="module")
def smol() -> Iterator[Pipeline]:
    stages = (*default_pipeline().stages[:-1], make("generate.llama", {"n_ctx": 1024, "use_tuned": False}))
    with Pipeline(replace(default_pipeline(), stages=stages), Path("nowhere")) as pipeline:
        yield pipeline


@pytest.fixture
def card(smol: Pipeline, tmp_path: Path) -> str:
    return kept(untrained(model_key(smol.reader), spread=0.05), tmp_path)


@pytest.fixture(autouse=True)
def layers_made_once(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The layers' file takes seconds to make: all tests share it, and its states, by the hash of the weights."""
    monkeypatch.setattr(
        SoftEncoder, "folder", property(lambda self: _layers(tmp_path_factory, self.weights.card.sha256))
    )


def _layers(factory: pytest.TempPathFactory, sha256: str) -> Path:
    return factory.getbasetemp() / "layers" / sha256[:16]


@pytest.mark.parametrize("k", [0, 1, 3, 5, 32])
def test_a_k_that_is_not_trained_for_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"k must be one of 2, 4, 8, 16, was: {k}"):
        Extensible(k)
    with pytest.raises(ConfigError, match=r"compress\.extensible\.k: k must be one of 2, 4, 8, 16"):
        make("compress.extensible", {"k": k})


def test_without_weights_it_says_how_to_get_them(smol: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compressors.soft.weights.SHIPPED", Path("nowhere"))
    with pytest.raises(ModelError, match=r"no trained weights for SmolLM2.*'make train-extensible'"):
        Extensible().compress(QUESTION, [passage(FERRY)], smol)


def test_no_passages_need_no_weights() -> None:
    with scripted_runtime() as runtime:
        assert Extensible().compress(QUESTION, [], runtime) == []


def test_weights_of_another_model_are_refused(smol: Pipeline, tmp_path: Path) -> None:
    other = kept(untrained("ab" * 32), tmp_path)
    with pytest.raises(ModelError, match=r"was trained for SmolLM2 \(abababab.*and the reader is SmolLM2-135M"):
        Extensible(weights=other).compress(QUESTION, [passage(FERRY)], smol)


def test_a_k_that_the_weights_lack_is_refused(smol: Pipeline, tmp_path: Path) -> None:
    weights = untrained(model_key(smol.reader))
    path = kept(replace(weights, card=replace(weights.card, ks=(2, 4))), tmp_path)
    with pytest.raises(ModelError, match="the weights are for k of 2, 4, was: 8"):
        Extensible(8, path).compress(QUESTION, [passage(FERRY)], smol)


def test_a_reader_that_is_no_file_has_no_layers(tmp_path: Path) -> None:
    with (
        scripted_runtime() as runtime,
        pytest.raises(ModelError, match="scripted does not tell its tokens"),
    ):
        Extensible(weights=kept(untrained("scripted"), tmp_path)).compress(QUESTION, [passage(FERRY)], runtime)


def test_weights_come_back_as_float16_had_them(tmp_path: Path) -> None:
    weights = untrained("key", spread=0.1)
    loaded = load(Path(kept(weights, tmp_path)))
    assert asdict(loaded.card) == {**asdict(weights.card), "sha256": loaded.card.sha256}
    assert loaded.arrays.keys() == weights.arrays.keys()
    for name, array in weights.arrays.items():
        assert np.array_equal(loaded.arrays[name], array.astype(np.float16).astype(np.float32))


def test_numbers_that_are_not_the_cards_are_refused(tmp_path: Path) -> None:
    path = Path(kept(untrained("key"), tmp_path))
    numbers = path.with_suffix(".npz")
    numbers.write_bytes(numbers.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelError, match="is not what its card says"):
        load(path)
    numbers.unlink()
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        load(path)


def test_arrays_that_are_missing_are_named(tmp_path: Path) -> None:
    weights = untrained("key")
    others = {name: array for name, array in weights.arrays.items() if name != "offset"}
    with pytest.raises(ModelError, match=r"lacks offset \(1 arrays in all\)"):
        load(Path(kept(replace(weights, arrays=others), tmp_path)))


@pytest.mark.parametrize(("change", "match"), [({"ks": "2"}, "ks"), ({"layers": None}, "layers")])
def test_a_card_that_is_none_is_named(tmp_path: Path, change: dict[str, object], match: str) -> None:
    path = Path(kept(untrained("key"), tmp_path))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match=rf"is not a card of an extensible tokenizer of this version: {match}: "):
        read_card(path)


def test_the_users_weights_go_before_those_that_ship(
    smol: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = model_key(smol.reader)
    monkeypatch.setattr("compressors.soft.weights.SHIPPED", tmp_path / "trained")
    kept(untrained(key, seed=1), tmp_path / "trained")
    shipped = weights_for(smol.reader)
    kept(untrained(key, seed=2), user_folder(key))
    assert (shipped.card.seed, weights_for(smol.reader).card.seed) == (1, 2)


def test_sentences_are_chosen_the_rarest_first_and_then_the_beginning_of_another() -> None:
    """Token 0 ends a sentence: they are 1 1 2 1 1 1 0 (mean 1), 5 0 (2.5), 4 9 0 (4.3) and, without an end, 3 3."""
    information = np.arange(10, dtype=np.float32)
    ends = information == 0
    tokens = np.array([1, 1, 2, 1, 1, 1, 0, 5, 0, 4, 9, 0, 3, 3])
    expected = {0: [], 1: [9], 2: [12, 13], 3: [9, 10, 11], 4: [9, 10, 11, 12], 5: [*range(9, 14)]}
    expected |= {6: [7, *range(9, 14)], 8: [0, *range(7, 14)], 14: [*range(14)], 15: [*range(14)]}
    assert {n: list(chosen(tokens, information, ends, n)) for n in expected} == expected


def test_what_has_no_end_counts_as_several_sentences_and_of_equals_the_first_is_taken() -> None:
    tokens = np.zeros(3 * LONGEST, np.int32)
    assert list(chosen(tokens, np.ones(1), np.zeros(1, np.bool_), LONGEST)) == [*range(LONGEST)]
    short = np.arange(60) % 2  # each a sentence, every second one rarer
    assert list(chosen(short, np.array([1.0, 2.0]), np.ones(2, np.bool_), 5)) == [1, 3, 5, 7, 9]
    tokens[LONGEST : 2 * LONGEST] = 1
    positions = chosen(tokens, np.array([0.0, 1.0]), np.zeros(2, np.bool_), LONGEST + 1)
    assert list(positions) == [0, *range(LONGEST, 2 * LONGEST)]


@given(
    tokens=arrays(np.int32, st.integers(1, 40), elements=st.integers(0, 11)),
    ends=arrays(np.bool_, 12),
    information=arrays(np.float32, 12, elements=st.floats(0, 14, width=32)),
    n=st.integers(1, 40),
)
def test_as_many_are_chosen_as_are_wanted_in_their_order(
    tokens: NDArray[np.int32], ends: NDArray[np.bool_], information: NDArray[np.float32], n: int
) -> None:
    positions = chosen(tokens, information, ends, n)
    assert len(positions) == min(n, len(tokens))
    assert (np.diff(positions) > 0).all()
    assert set(positions) <= set(range(len(tokens)))


@pytest.mark.parametrize(
    ("piece", "is_end"),
    [
        *[(end, True) for end in (b".", b'?"', b"!) ", b"\n", b"\n  ", "。".encode(), b"...")],
        *[(none, False) for none in (b"", b" ", b",", b" ferry", b".5", b'"', b"\xe3")],
    ],
)
def test_a_mark_or_a_new_line_ends_a_sentence(piece: bytes, is_end: bool) -> None:
    assert ends_sentence(piece) == is_end


def test_a_vector_is_a_rare_sentences_token_and_its_state_projected_and_the_closing_ones_come_last() -> None:
    weights = untrained("key", chunk=4, spread=0.1)
    changed = dict(weights.arrays) | {
        "token_gain": np.arange(4, dtype=np.float32)[:, None] + np.ones((4, N_EMBD), np.float32),
        "offset": np.full((4, N_EMBD), 0.5, np.float32),
        "information": np.array([3, 9, 0, 0, 0, 0, 2, 8, 7, 5], np.float32),
        "ends": np.ones(10, np.float32),
    }
    draw = np.random.default_rng(1)
    table, states = draw.normal(size=(2, 10, N_EMBD)).astype(np.float32)
    vectors = replace(weights, arrays=changed).vectors(np.arange(10)[::-1], table, states, 2)
    assert vectors.shape == (5 + N_CLOSING, N_EMBD)
    for row, token in enumerate((8, 7, 5, 4, 1)):  # of 9 8 7 6, of 5 4 3 2 (all equal), of 1 0
        expected = table[token] + changed["projection"] @ states[9 - token] + 0.5
        assert vectors[row] == pytest.approx(expected, abs=1e-4)
    assert np.array_equal(vectors[5:], changed["closing"][0])


def states_of(n: int) -> NDArray[np.float16]:
    return np.arange(4 * n, dtype=np.float16).reshape(n, 4)


def test_states_are_made_once_and_made_again_where_they_are_damaged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, tokens, made = StateStore(tmp_path, 4), np.arange(5, dtype=np.int32), []

    def make() -> NDArray[np.float16]:
        made.append(1)
        return states_of(5)

    for _ in range(2):
        assert np.array_equal(store.get(tokens, make), states_of(5))
    assert len(made) == 1
    path = store.path(tokens)
    whole = path.read_bytes()
    for damaged in (whole[:-2], whole[:-1] + b"\xff", b"", b"something else\n" + whole[15:]):
        path.write_bytes(damaged)
        with caplog.at_level(logging.WARNING, "longthread.extensible"):
            assert np.array_equal(store.get(tokens, make), states_of(5))
        assert "is damaged; its text is read again" in caplog.text
        assert path.read_bytes() == whole
        caplog.clear()
    assert len(made) == 5


def test_the_oldest_states_go_when_there_is_no_more_room(tmp_path: Path) -> None:
    folder = tmp_path / "states"
    store = StateStore(folder, 4, max_bytes=200)
    rows = [np.full(8, n, np.int32) for n in range(3)]
    for row in rows:
        store.get(row, lambda: states_of(8))
    assert [store.path(row).exists() for row in rows] == [False, False, True] or [
        store.path(row).exists() for row in rows
    ] == [False, True, True]
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 200


def test_passages_become_vectors_and_keep_their_text(smol: Pipeline, card: str) -> None:
    given = [passage(FERRY, 40, "a.txt"), passage(TALE, 0, "b.txt"), passage(" \n", 0, "c.txt")]
    reader = smol.reader
    smol.take_notes()
    for k in (2, 16):
        softened = Extensible(k, card).compress(QUESTION, given, smol)
        assert softened == given
        assert softened[2].soft is None
        for result in softened[:2]:
            assert result.soft is not None
            n = reader.count_text(result.text)
            assert (result.soft.stands_for, result.soft.vectors.shape) == (n, (n_vectors(n, k), N_EMBD))
    n_tokens = sum(reader.count_text(result.text) for result in given[:2])
    note = smol.take_notes()[-1]
    assert f"soft vectors stand for {n_tokens} tokens of 2 passages (k = 16): the sentences of the rarest" in note


def test_the_same_states_serve_every_k_and_are_read_once(
    smol: Pipeline, card: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Extensible(2, card).encoder(smol)
    tokens = smol.reader.tokenize(TALE)  # type: ignore[attr-defined]
    first = encoder.vectors(tokens, 2)
    monkeypatch.setattr(SoftEncoder, "_read", lambda self, tokens: pytest.fail("read twice"))
    assert encoder.vectors(tokens, 8).shape == (n_vectors(len(tokens), 8), N_EMBD)
    assert np.array_equal(encoder.vectors(tokens, 2), first)


def test_the_layers_in_llama_cpp_give_the_states_that_were_trained(smol: Pipeline, card: str) -> None:
    """Against torch, on the same file: the LoRA, the rotation, the norm after the last layer, chunk by chunk."""
    import torch

    from training.extensible.llama import Llama, Lora, causal

    weights = load(Path(card))
    encoder = Extensible(2, card).encoder(smol)
    reader = Llama.load(resolve("smollm2-135m"), lambda *_: None)
    lora = Lora(reader.weights, weights.card.layers, weights.card.rank)
    for name, array in weights.arrays.items():
        if name.startswith("lora."):
            _, layer, matrix, part = name.split(".")
            getattr(lora, part)[f"{layer}_{matrix}"].data = torch.from_numpy(array)
    tokens = smol.reader.tokenize(TALE)[:100]  # type: ignore[attr-defined]
    states = encoder.states(tokens).astype(np.float32)
    for start in (0, 64):
        chunk = torch.from_numpy(tokens[start : start + 64].astype(np.int64))
        with torch.no_grad():
            expected = reader.states(reader.embed(chunk)[None], torch.arange(len(chunk)), causal, 1, lora)[0].numpy()
        difference = np.abs(states[start : start + 64] - expected).max()
        assert difference < 0.02 * np.abs(expected).max()


@pytest.mark.parametrize("assembler", [Cited(), Plain(), Plain(tags=True, template="{question}\n{passages}")])
def test_the_prompt_holds_the_vectors_and_the_ledger_counts_them(
    smol: Pipeline, card: str, assembler: Cited | Plain
) -> None:
    given = (passage(FERRY, 0, "a.txt"), passage(TALE, 0, "b.txt"))
    state = State(QUESTION, given, ledger=stage_ledger(1024, 64, ""))
    stage = make("compress.extensible", {"k": 4, "weights": card})
    state = run_stage(stage, state, smol, 64)
    state = run_stage(assembler, state, smol, 64)
    soft = [span for span in state.prompt if isinstance(span, Soft)]
    rendered = "".join(span.text for span in state.prompt if isinstance(span, Text))
    counts = [smol.reader.count_text(result.text) for result in given]
    n_cells = sum(n_vectors(n, 4) for n in counts)
    assert [len(result.vectors) for result in soft] == [n_vectors(n, 4) for n in counts]
    assert "ferry sails" not in rendered
    assert QUESTION.text in rendered
    assert state.ledger.soft == (n_cells, sum(counts))
    assert state.ledger.prompt_tokens == smol.reader.count(state.prompt)
    assert (state.ledger.stages[0].tokens_in, state.ledger.stages[0].tokens_out) == (sum(counts), n_cells)
    assert state.ledger.stages[0].dropped == ()


def test_vectors_stand_at_consecutive_positions_as_tokens_do(smol: Pipeline) -> None:
    """The positions are the reader's own: its own embeddings as vectors are read as the text is."""
    reader = smol.reader
    assert isinstance(reader, Engine)
    encoder = SoftEncoder(reader, untrained(model_key(reader)), smol, keep=False)
    tokens = reader.tokenize(FERRY)
    vectors = Soft(encoder.table[tokens].astype(np.float32))
    before, after = Text("Once, long ago: "), Text(AFTER)
    soft = reader.logprobs((before, vectors, after), reader.count((before, vectors)) + 1)
    plain = reader.logprobs((before, Text(FERRY), after), reader.count((before, Text(FERRY))) + 1)
    assert soft == pytest.approx(plain, abs=0.6)  # Q4_1: llama.cpp rounds activations, batch by batch
    assert abs(float(soft.mean() - plain.mean())) < 0.05


def test_a_projection_that_is_not_trained_is_worse_than_no_context(smol: Pipeline, tmp_path: Path) -> None:
    """A random one. With none at all, the sentences that training begins from are left, and they say something."""
    reader = smol.reader
    assert isinstance(reader, Engine)
    path = kept(untrained(model_key(reader), spread=0.05), tmp_path)
    tokens = reader.tokenize(TALE)
    losses = {"none": -reader.logprobs((Text(AFTER),), 1).mean()}
    losses["raw"] = -reader.logprobs((Text(TALE), Text(AFTER)), len(tokens) + 1).mean()
    for k in (4, 8):
        soft = Soft(Extensible(k, path).encoder(smol).vectors(tokens, k))
        losses[f"k{k}"] = -reader.logprobs((soft, Text(AFTER)), len(soft.vectors) + 1).mean()
    assert losses["raw"] < losses["none"] < min(losses["k4"], losses["k8"])


def test_what_ships_is_for_the_small_model_and_small(smol: Pipeline) -> None:
    shipped = weights_for(smol.reader)
    (path,) = SHIPPED.glob("extensible-*.npz")
    assert path.stat().st_size <= MAX_BYTES
    assert shipped.card == read_card(path.with_suffix(".json"))
    assert shipped.card.ks == KS
    assert shipped.card.steps > 0
    assert {"k4_gap", "k4_content"} <= set(shipped.card.metrics)


def test_what_ships_says_what_its_text_says(smol: Pipeline) -> None:
    """One tale, so no figure; without training the vectors of another text are as good (benchmarks/extensible.py)."""
    reader = smol.reader
    assert isinstance(reader, Engine)
    encoder = Extensible(2).encoder(smol)
    vectors = {
        name: encoder.vectors(reader.tokenize(content), 2) for name, content in (("right", TALE), ("wrong", TOWN))
    }
    losses = {"none": -reader.logprobs((Text(AFTER),), 1).mean()}
    for name, rows in vectors.items():
        losses[name] = -reader.logprobs((Soft(rows), Text(AFTER)), len(rows) + 1).mean()
    assert losses["right"] < min(losses["wrong"], losses["none"])


def test_a_part_of_a_soft_passage_is_text(smol: Pipeline, card: str) -> None:
    (softened,) = Extensible(4, card).compress(QUESTION, [passage(FERRY)], smol)
    assert softened.soft is not None
    assert softened.part(0, 10).soft is None
    assert [part.soft for part in split(softened)] == [None, None]


def test_it_survives_the_way_to_another_process(smol: Pipeline, card: str) -> None:
    component = Extensible(8, card)
    assert pickle.loads(pickle.dumps(component)) == component  # noqa: S301
    (softened,) = component.compress(QUESTION, [passage(FERRY)], smol)
    again: Passage = pickle.loads(pickle.dumps(softened))  # noqa: S301
    assert softened.soft is not None
    assert again.soft is not None
    assert np.array_equal(again.soft.vectors, softened.soft.vectors)
