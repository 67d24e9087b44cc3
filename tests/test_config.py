from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.config import check_config, load_config
from pipeline.default import DEFAULT, default_config, with_model
from pipeline.errors import ConfigError

CONFIGS = Path(__file__).parent.parent / "configs"
GOOD = "stages:\n  - retrieve.bm25\n  - assemble.cited\n  - generate.scripted\n"


@pytest.fixture
def faults(tmp_path: Path) -> Callable[[str], list[str]]:
    def _faults(text: str) -> list[str]:
        path = tmp_path / "a.yaml"
        path.write_text(text)
        return [f"{fault.line}: {fault.message}" for fault in check_config(path)[1]]

    return _faults


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_config_is_right_and_says_for_whom_it_is(path: Path) -> None:
    assert load_config(path).stages
    assert path.read_text().startswith("# For ")


def test_the_default_file_says_what_the_built_in_pipeline_does() -> None:
    assert load_config(CONFIGS / "default.yaml").resolved() == DEFAULT.resolved()
    assert load_config(CONFIGS / "default.yaml").hash == DEFAULT.hash


def test_all_faults_of_a_file_come_at_once_in_the_order_of_lines(faults: Callable[[str], list[str]]) -> None:
    text = (
        "budget:\n  window: -1\n  on_overflow: cut\nindx: {}\n"
        "stages:\n  - retrieve.hybrid:\n      treshold: 3\n      k: 0\n"
        "  - compress.sentense\n  - assemble.cited\n  - generate.scripted: {max_tokens: many}\n"
    )
    assert faults(text) == [
        "2: budget.window: window must be greater than 0, was: -1",
        "3: budget.on_overflow: should be 'shed' or 'refuse', was: \"cut\"",
        "4: indx: there is no such section, did you mean 'index'?",
        "7: stages[0].treshold: retrieve.hybrid has no such field; it has: k, "
        + "pool, rrf_k, dense_weight, bm25_weight, glob, mmr",
        "8: stages[0].k: k must be at least 1, was: 0",
        "9: stages[1]: there is no component 'compress.sentense', did you mean 'compress.sentences'?",
        '11: stages[3].max_tokens: should be a valid integer, was: "many"',
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[]", "1: a pipeline file must hold a mapping with 'stages'"),
        ("stages: 3", "1: stages: must be a list of stages, such as '- retrieve.hybrid'"),
        ("stages: []", "1: stages: must be a list of stages, such as '- retrieve.hybrid'"),
        ("stages: [[1]]", "1: stages[0]: must be one name, with its settings below it: '- retrieve.hybrid: {k: 8}'"),
        (GOOD + "index: 3\n", "5: index: must be a mapping"),
        (GOOD + "index: {overlap: 150}\n", "5: index.overlap: overlap must be in [0, chunk_tokens / 2), was: 150"),
        (
            GOOD.replace("retrieve.bm25", "retrieve.bm25: 4"),
            "2: stages[0]: the settings of retrieve.bm25 must be a mapping",
        ),
        (GOOD.replace("bm25", "bm25: {k: true}"), "2: stages[0].k: should be a valid integer, was: true"),
        (GOOD.replace("  - assemble.cited\n", ""), "1: stages: a pipeline needs one assemble stage, there is none"),
        (
            "stages:\n  - assemble.cited\n  - retrieve.bm25\n  - generate.scripted\n",
            "2: stages[0]: assemble.cited is out of order: assemble comes right before generate",
        ),
        (
            "index: {embedder: none}\n" + GOOD.replace("bm25", "hybrid"),
            "3: stages[0]: retrieve.hybrid needs vectors, but index.embedder is none",
        ),
        ("stages:\n  - os.system: {k: 1}\n", "2: stages[0]: there is no component 'os.system'"),
    ],
)
def test_each_fault_says_where_what_and_the_way_out(
    faults: Callable[[str], list[str]], text: str, expected: str
) -> None:
    assert any(fault.startswith(expected) for fault in faults(text)), faults(text)


def test_a_missing_file_is_an_error_for_the_user() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read: No such file"):
        default_config("nowhere.yaml")


def test_with_model_changes_only_the_model() -> None:
    changed = with_model(DEFAULT, "/models/x.gguf").resolved()
    assert changed["stages"][-1]["generate.llama"]["model"] == "/models/x.gguf"
    assert changed["stages"][:-1] == DEFAULT.resolved()["stages"][:-1]
    with pytest.raises(ConfigError, match=r"--model needs a pipeline with generate\.llama"):
        with_model(load_config(CONFIGS / "offline.yaml"), "x")
