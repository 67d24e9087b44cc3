"""The attention probe: against attention computed by hand from the weights, and on three architectures."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ModelError
from pipeline.gguf.catalogue import resolve
from pipeline.models.engine import Engine, open_engine
from pipeline.models.settings import EngineSettings
from pipeline.types import Prompt, Text

PREFIX: Prompt = (Text("The key of the tower is 7431. The garden opens at nine. The ferry sails on Monday."),)
QUERY: Prompt = (Text(" What is the key of the tower?"),)


def test_a_probe_stopped_early_sees_what_a_whole_one_sees(exact: Engine) -> None:
    every = exact.attend(PREFIX, QUERY)
    n_head = exact.weights.n_head
    assert every.mass.shape == (exact.weights.n_layer * n_head, exact.count(QUERY), exact.count(PREFIX))
    for heads in ([(3, 1)], [(18, 6), (0, 0)], [(29, 8)]):
        some = exact.attend(PREFIX, QUERY, heads)
        assert some.heads == tuple(heads)
        for n, (layer, head) in enumerate(heads):
            assert np.abs(some.mass[n] - every.mass[layer * n_head + head]).max() < 1e-3


def test_mass_is_a_part_of_one(exact: Engine) -> None:
    mass = exact.attend(PREFIX, QUERY).mass
    assert mass.min() >= 0
    assert mass.sum(axis=2).max() <= 1 + 1e-3
    whole = exact.attend(PREFIX, (Text(" What"),)).mass.sum(axis=2)
    assert whole.mean() < 0.98, "a query's first token attends to itself as well"


def test_the_first_layers_attention_is_that_of_the_weights(exact: Engine) -> None:
    """Oracle: the softmax of the rotated queries and keys of layer 0, from the file's own tensors."""
    prompt = exact.cells((*PREFIX, *QUERY))
    expected = first_layer_attention(exact.weights.path, prompt.tokens(0, len(prompt)), exact.weights.n_head, 3)
    n = exact.count(PREFIX)
    mass = exact.attend(PREFIX, QUERY, [(0, head) for head in range(exact.weights.n_head)]).mass
    assert np.abs(mass - expected[:, n:, :n]).max() < 5e-3


def first_layer_attention(path: Path, tokens: np.ndarray, n_head: int, n_head_kv: int) -> np.ndarray:
    from gguf import GGUFReader, dequantize

    wanted = ("token_embd.weight", "blk.0.attn_norm.weight", "blk.0.attn_q.weight", "blk.0.attn_k.weight")
    stored = [tensor for tensor in GGUFReader(path).tensors if tensor.name in wanted]
    tensors = {tensor.name: np.asarray(dequantize(tensor.data, tensor.tensor_type), np.float64) for tensor in stored}
    x = tensors["token_embd.weight"][tokens]
    x = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-5) * tensors["blk.0.attn_norm.weight"]
    d = x.shape[1] // n_head
    q = rotated((x @ tensors["blk.0.attn_q.weight"].T).reshape(len(tokens), n_head, d))
    k = rotated((x @ tensors["blk.0.attn_k.weight"].T).reshape(len(tokens), n_head_kv, d))
    logits = np.einsum("qhd,khd->hqk", q, np.repeat(k, n_head // n_head_kv, axis=1)) / np.sqrt(d)
    logits[:, np.triu(np.ones((len(tokens), len(tokens)), bool), 1)] = -np.inf
    weights = np.exp(logits - logits.max(axis=2, keepdims=True))
    return np.asarray(weights / weights.sum(axis=2, keepdims=True))


def rotated(x: np.ndarray, base: float = 100000.0) -> np.ndarray:
    """Rotary positions as GGUF files of the llama architecture have them: neighbouring pairs."""
    n, _, d = x.shape
    angle = np.arange(n)[:, None] * base ** (-np.arange(0, d, 2) / d)[None]
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    result = np.empty_like(x)
    result[..., 0::2] = x[..., 0::2] * cos - x[..., 1::2] * sin
    result[..., 1::2] = x[..., 0::2] * sin + x[..., 1::2] * cos
    return result


def test_a_second_query_on_the_same_prefix_sees_what_a_first_one_would(exact: Engine) -> None:
    other: Prompt = (Text(" When does the ferry sail?"),)
    exact.attend(PREFIX, QUERY, [(10, 0)])
    after = exact.attend(PREFIX, other, [(10, 0)]).mass
    assert exact._probe is not None
    assert exact._probe._context is not None
    exact._probe._forget(exact._probe._context)
    assert np.abs(after - exact.attend(PREFIX, other, [(10, 0)]).mass).max() < 1e-3
    deeper = exact.attend(PREFIX, other, [(20, 0)]).mass
    assert deeper.sum() > 0, "a prefix that was read up to layer 10 only must be read again for layer 20"


def test_retrieval_heads_find_the_sentence(exact: Engine) -> None:
    heads = [(18, 6), (17, 4), (17, 3), (14, 3)]
    mass = exact.attend(PREFIX, QUERY, heads).mass.mean(axis=(0, 1))
    n_first = exact.count((Text("The key of the tower is 7431."),))
    assert mass[1:n_first].mean() > 3 * mass[n_first:].mean(), "the first cell is the sink, and not counted"


@pytest.mark.parametrize("heads", [[(30, 0)], [(0, 9)], [(-1, 0)], []], ids=str)
def test_a_head_that_is_not_there_is_refused(exact: Engine, heads: list[tuple[int, int]]) -> None:
    with pytest.raises(ModelError, match=r"attend: (.* has 30 layers of 9 heads|name at least one)"):
        exact.attend(PREFIX, QUERY, heads)


def test_sliding_windows_are_named(tmp_path: Path) -> None:
    with open_engine(EngineSettings(n_ctx=2048), resolve("gemma3-270m")) as gemma:
        near = gemma.attend(PREFIX, QUERY)
        assert near.blind_layers == ()
        assert near.mass.sum() > 0
        far: Prompt = (Text("The key of the tower is 7431. " + "The garden opens at nine. " * 90),)
        attended = gemma.attend(far, QUERY)
        assert 0 < len(attended.blind_layers) < gemma.weights.n_layer
        blind = attended.blind_layers[0]
        sighted = next(layer for layer in range(gemma.weights.n_layer) if layer not in attended.blind_layers)
        with pytest.raises(ModelError, match=f"layer {blind} of .* sees only the last 512 tokens"):
            gemma.attend(far, QUERY, [(blind, 0)])
        assert gemma.attend(far, QUERY, [(sighted, 0)]).mass.sum() > 0
