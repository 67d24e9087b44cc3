import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ConfigError
from pipeline.retrieval.embedder import NoVectors, SentenceEmbedder, minilm_folder, open_embedder
from pipeline.retrieval.sentence_folder import SentenceFolder

TEXTS = [f"{'herons stand on the harbour wall ' * (n % 7)}and number {n} flies" for n in range(40)]


@pytest.fixture(scope="module", params=["llama.cpp", "sentence-transformers"])
def minilm(request: pytest.FixtureRequest) -> SentenceFolder:
    """MiniLM, both ways: all that is promised here holds for either."""
    folder = str(minilm_folder())
    embedder = open_embedder("minilm" if request.param == "llama.cpp" else folder)
    assert isinstance(embedder, SentenceFolder)
    assert isinstance(embedder, SentenceEmbedder) == (request.param != "llama.cpp")
    return embedder


def tolerance(minilm: SentenceFolder, exact: float, llama: float) -> float:
    """Attention of llama.cpp computes in half precision, so that a text's neighbours in a batch change its rounding."""
    return exact if isinstance(minilm, SentenceEmbedder) else llama


def test_vectors_are_those_of_sentence_transformers(minilm: SentenceFolder) -> None:
    from sentence_transformers import SentenceTransformer

    expected = SentenceTransformer(str(minilm.folder), local_files_only=True).encode(TEXTS, show_progress_bar=False)
    assert np.abs(minilm.embed(TEXTS) - expected).max() < tolerance(minilm, exact=1e-5, llama=1e-3)


def test_vectors_are_unit_float32_in_the_order_of_the_texts_whatever_the_batch(minilm: SentenceFolder) -> None:
    vectors = minilm.embed(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (40, minilm.dimension) == (40, 384)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(40), abs=1e-5)
    close = tolerance(minilm, exact=1e-5, llama=2e-4)
    assert np.abs(minilm.embed(TEXTS[::-1])[::-1] - vectors).max() < close
    assert np.abs(minilm.embed([TEXTS[6]])[0] - vectors[6]).max() < close
    assert minilm.embed([]).shape == (0, 384)


def test_a_text_is_counted_whole_and_refused_when_too_long_never_cut(minilm: SentenceFolder) -> None:
    assert minilm.max_tokens == 256
    assert minilm.count_tokens(["", "harbour", "harbour " * 300]) == [2, 3, 302]
    assert minilm.embed(["harbour " * 254]).shape == (1, 384)
    with pytest.raises(ValueError, match="a text must have at most 256 tokens, was: 257"):
        minilm.embed(["harbour", "harbour " * 255])


def test_progress_comes_with_each_batch(minilm: SentenceFolder) -> None:
    seen: list[tuple[str, int, int]] = []
    minilm.embed(TEXTS, lambda *step: seen.append(step))
    assert [(what, n) for what, _, n in seen] == [("embed passages", 40)] * len(seen)
    assert [done for _, done, _ in seen] == sorted({done for _, done, _ in seen})
    assert len(seen) > 1
    assert seen[-1][1] == 40


def test_token_vectors_leave_out_special_tokens_and_padding(minilm: SentenceFolder) -> None:
    texts = ["", "seven grey herons stand on the wall", "grey herons"]
    _, (alone,) = minilm.token_vectors(texts[2:])
    vectors, (nothing, long, among) = minilm.token_vectors(texts)
    assert vectors == pytest.approx(minilm.embed(texts), abs=1e-6)
    assert nothing.shape == (0, 384)
    assert long.shape[0] == minilm.count_tokens(["seven grey herons stand on the wall"])[0] - 2
    assert np.abs(alone - among).max() < tolerance(minilm, exact=1e-5, llama=1e-3)
    assert np.linalg.norm(among, axis=1) == pytest.approx(np.ones(len(among)), abs=1e-5)


def test_counting_loads_no_model() -> None:
    code = (
        "import sys\nfrom pipeline.retrieval.embedder import open_embedder\ne = open_embedder('minilm')\n"
        "assert e.count_tokens(['grey herons']) and e.fingerprint and e.dimension == 384\n"
        "assert not {'torch', 'transformers', 'sentence_transformers', 'llama_cpp'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_folder_is_an_embedder_and_its_fingerprint_is_that_of_its_files(
    minilm: SentenceFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path / "cache"))
    copy = tmp_path / "copy"
    shutil.copytree(minilm.folder, copy)
    assert open_embedder(str(copy)).fingerprint == open_embedder("minilm").fingerprint
    assert open_embedder(str(copy)).fingerprint == minilm.fingerprint  # remembered
    with (copy / "tokenizer_config.json").open("a") as file:
        file.write(" ")
    assert open_embedder(str(copy)).fingerprint != minilm.fingerprint


def test_what_is_no_embedder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere: no such folder: write minilm, none, a folder, or a GGUF"):
        open_embedder(str(tmp_path / "nowhere"))
    with pytest.raises(
        ConfigError, match=r"not a sentence-transformers folder with a fast tokenizer: no modules\.json"
    ):
        open_embedder(str(tmp_path))


def test_none_counts_words_and_has_no_vectors() -> None:
    embedder = open_embedder("none")
    assert isinstance(embedder, NoVectors)
    assert embedder.count_tokens(["seven grey herons, 42!", ""]) == [4, 0]
    with pytest.raises(ConfigError, match=r"index\.embedder is none, so there are no vectors: set it to minilm"):
        embedder.embed(["x"])


def test_token_spans_are_where_the_token_vectors_come_from(minilm: SentenceFolder) -> None:
    """Also in Turkish, whose capital dotted I is two characters when it is lowered, and behind an emoji."""
    texts = ["The Ferry's quay.", "İstanbul'da İZMİR 🚢 gemisi", ""]
    found = minilm.token_spans(texts)
    assert [len(spans) for spans in found] == [len(states) for states in minilm.token_vectors(texts)[1]]
    assert [texts[0][start:end] for start, end in found[0]] == ["The", "Ferry", "'", "s", "quay", "."]
    pieces = "".join(texts[1][start:end] for start, end in found[1])
    assert pieces.replace(" ", "") == texts[1].replace(" ", "")


def test_token_spans_where_the_embedder_lowers_the_text_itself(
    minilm: SentenceFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(minilm.__dict__, "_lowers", True)
    text = "İİİ Ferry"
    (spans,) = minilm.token_spans([text])
    assert text[spans[-1][0] : spans[-1][1]].endswith("rry")
    assert spans[0][0] == 0
    assert all(0 <= start < end <= len(text) for start, end in spans)
