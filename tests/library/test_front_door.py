"""`import longthread as lt`: everything that the documentation promises, with the model and the embedder that ship."""

import ast
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import longthread as lt
from compressors.alone import WorksAlone
from pipeline.config import load_config
from pipeline.config.executor import StagePool
from pipeline.contracts import Runtime
from pipeline.errors import ConfigError, DocumentError
from pipeline.presets import presets_folder
from pipeline.registry import COMPONENTS, changed_settings, checked, component_class, make
from pipeline.types import Passage, Question

DEMO = presets_folder() / "demo" / "documents"
BEES = "How many beehives does the garden have?"


@pytest.fixture(scope="module")
def scripted() -> Iterator[lt.Pipeline]:
    stages = [lt.Hybrid(k=4), lt.ExitMini(keep_ratio=0.5), lt.Cited(), lt.Scripted()]
    with lt.Pipeline(stages, docs=DEMO) as pipeline:
        yield pipeline


def test_importing_loads_nothing() -> None:
    code = "import sys, longthread; print(sorted({name.partition('.')[0] for name in sys.modules} & set(sys.argv[1:])))"
    heavy = ["pipeline", "compressors", "memory", "cli", "numpy", "pydantic", "llama_cpp", "chromadb", "torch", "ray"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_name_is_there_and_known_to_type_checkers() -> None:
    assert [name for name in lt.__all__ if getattr(lt, name, None) is None] == []
    tree = ast.parse(Path(lt.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    declared = {
        (one.asname, node.module) for node in block.body if isinstance(node, ast.ImportFrom) for one in node.names
    }
    assert declared == set(lt._MODULE_OF.items())
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        lt.nonsense  # noqa: B018


def test_every_component_is_reachable() -> None:
    assert {component_class(name) for name in COMPONENTS} <= {getattr(lt, name) for name in lt.__all__}


def test_one_question_as_the_readme_asks_it() -> None:
    answer = lt.ask(BEES, docs=DEMO)
    assert "seven" in answer.text or "7" in answer.text
    assert answer.citations[0].quote is not None
    assert "seven beehives" in answer.citations[0].quote.text
    assert answer.ledger.prompt_tokens > 0
    assert (str(answer), answer.question, answer.is_refusal) == (answer.text, BEES, False)


def test_a_pipeline_of_stages_answers_and_streams(scripted: lt.Pipeline) -> None:
    answer = scripted.ask(BEES)
    assert "seven beehives" in answer.text
    stream = scripted.stream(BEES)
    pieces = list(stream)
    assert len(pieces) > 3
    assert "".join(pieces).strip() == answer.state.ledger.generation.text.strip()  # type: ignore[union-attr]
    assert stream.answer.text == answer.text
    assert scripted.stream(BEES).answer.text == answer.text
    unfinished = iter(scripted.stream(BEES))
    next(unfinished)
    unfinished.close()  # type: ignore[attr-defined]
    assert scripted.ask(BEES).text == answer.text


def test_documents_that_change_are_read_again(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The lamp is green.")
    with lt.Pipeline([lt.Bm25(k=2), lt.Cited(), lt.Scripted()], tmp_path, index=lt.IndexSettings("none")) as pipeline:
        assert "green" in pipeline.ask("What colour is the lamp?").text
        (tmp_path / "a.txt").write_text("The lamp is yellow now.")
        (tmp_path / "b.bin").write_bytes(bytes(range(256)))
        answer = pipeline.ask("What colour is the lamp?")
        assert "yellow" in answer.text
        assert [Path(path).name for path, _ in answer.unread] == ["b.bin"]
        assert pipeline.stream("What colour is the lamp?").answer.unread == answer.unread


def test_a_pipeline_goes_to_yaml_and_comes_back(tmp_path: Path, scripted: lt.Pipeline) -> None:
    text = scripted.to_yaml(tmp_path / "mine.yaml")
    assert text == "stages:\n- retrieve.hybrid:\n    k: 4\n- compress.exit_mini:\n    keep_ratio: 0.5\n" + (
        "- assemble.cited\n- generate.scripted\n"
    )
    again = lt.Pipeline.from_yaml(tmp_path / "mine.yaml")
    assert again.config.hash == scripted.config.hash


PIPELINES = [path for path in sorted(presets_folder().rglob("*.yaml")) if "demo" not in path.parts]


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_every_file_that_ships_survives_the_way_to_python_and_back(path: Path, tmp_path: Path) -> None:
    config = load_config(path)
    made = lt.Pipeline(config.stages, index=config.index, budget=config.budget, executor=config.executor)
    made.to_yaml(tmp_path / "again.yaml")
    again = load_config(tmp_path / "again.yaml")
    assert again.resolved() == config.resolved()
    assert again.executor == config.executor


@pytest.mark.parametrize("name", sorted(COMPONENTS))
def test_a_class_has_the_name_that_it_is_listed_under(name: str) -> None:
    module, _, attribute = COMPONENTS[name].partition(":")
    cls = component_class(name)
    assert (cls.__module__, cls.__qualname__) == (module, attribute)


def test_components_inside_components() -> None:
    protect = checked(lt.Protect(of=lt.Sentences(keep_ratio=0.2)))
    assert protect.of == lt.Sentences(keep_ratio=0.2)
    assert make("compress.protect", changed_settings(protect)) == protect
    assert pickle.loads(pickle.dumps(lt.ExitMini(top_k=3))) == lt.ExitMini(top_k=3)  # noqa: S301


@pytest.mark.parametrize("name", ["default", "chat"])
def test_the_built_in_pipelines_survive_the_way_to_python_and_back(name: str, tmp_path: Path) -> None:
    config = lt.preset(name).config
    lt.Pipeline(config.stages, index=config.index, budget=config.budget).to_yaml(tmp_path / "again.yaml")
    assert load_config(tmp_path / "again.yaml").resolved() == config.resolved()


def test_a_section_is_checked_against_the_stages() -> None:
    executor = lt.ExecutorSettings(stages={"retrive": StagePool()})
    with pytest.raises(ConfigError, match=r"executor\.stages\.retrive: .* did you mean 'retrieve'\?"):
        lt.Pipeline([lt.Bm25(), lt.Cited(), lt.Scripted()], executor=executor)


def test_components_are_built_as_those_of_a_file(tmp_path: Path) -> None:
    """Lists, paths, whole numbers and numbers of numpy become what a file would have given."""
    stages: list[Any] = [
        lt.Bm25(k=np.int64(4)),  # type: ignore[arg-type, unused-ignore]
        lt.Chain([lt.ExitMini(keep_ratio=1), lt.Sentences(top_k=2)]),  # type: ignore[arg-type]
        lt.Route(facts=lt.Sentences(), gist_words=["digest"]),  # type: ignore[arg-type]
        lt.Cited(),
        lt.Llama(model=Path("a.gguf")),  # type: ignore[arg-type]
    ]
    made = lt.Pipeline(stages)
    chain = lt.Chain((lt.ExitMini(keep_ratio=1.0), lt.Sentences(top_k=2)))
    expected = (
        lt.Bm25(k=4),
        chain,
        lt.Route(facts=lt.Sentences(), gist_words=("digest",)),
        lt.Cited(),
        lt.Llama(model="a.gguf"),
    )
    assert made.config.stages == expected
    assert pickle.dumps(made.config.stages) == pickle.dumps(expected)


def test_a_batch_and_its_records(tmp_path: Path, scripted: lt.Pipeline) -> None:
    asked: list[str | dict[str, Any]] = [
        BEES,
        {"id": "clock", "question": "Who repaired the clock?", "answers": ["Lucia Ferrand"]},
        {"id": "none"},
    ]
    records = scripted.run(asked, tmp_path / "out")
    assert [record["id"] for record in records] == ["1", "clock", "none"]
    assert [record["status"] for record in records] == ["ok", "ok", "error"]
    assert records[2]["error"]["message"] == "question 3: has no 'question'"
    assert records[1]["fields"] == {"answers": ["Lucia Ferrand"]}


def test_an_evaluation(tmp_path: Path, scripted: lt.Pipeline) -> None:
    other = lt.Pipeline([lt.Bm25(k=2), lt.Cited(), lt.Scripted()], name="words", index=lt.IndexSettings("none"))
    data = presets_folder() / "demo" / "questions.jsonl"
    found = lt.evaluate([scripted, other], data, tmp_path / "out", docs=DEMO)
    assert [run.name for run in found] == ["pipeline", "words"]
    assert found[0].interval("f1") is not None
    with pytest.raises(ConfigError, match=r"two pipelines are called 'words': give each its own with Pipeline\("):
        lt.evaluate([other, other], data, tmp_path / "out")


def test_a_compressor_alone() -> None:
    texts = ["The garden lies in the north. It has seven beehives. Figs grow there.", "The ferry leaves at noon."]
    kept = lt.compress(lt.ExitMini(keep_ratio=None, top_k=1), "How many beehives does the garden have?", texts)
    assert [(one.source, one.text) for one in kept] == [("text 1", "It has seven beehives.")]
    assert texts[0][kept[0].start : kept[0].end] == kept[0].text


def test_a_compressor_takes_a_question_and_texts_as_strings() -> None:
    texts = ["The garden lies in the north. It has seven beehives. Figs grow there.", "The ferry leaves at noon."]
    question = "How many beehives does the garden have?"
    kept: list[str] = lt.ExitMini(keep_ratio=None, top_k=1).compress(question, texts)
    assert kept == ["It has seven beehives."]
    assert lt.Chain((lt.ExitMini(keep_ratio=None, top_k=1), lt.Reorder())).compress(question, texts) == kept
    with pytest.raises(TypeError, match="compress takes a string and a list of strings"):
        lt.ExitMini().compress(question, "one text")
    with pytest.raises(TypeError, match="or a Question, passages and a runtime"):
        lt.ExitMini().compress(Question(question), [])  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="or a Question, passages and a runtime"):
        lt.ExitMini().compress(question, texts, object())  # type: ignore[call-overload]


@pytest.mark.parametrize("name", [name for name in COMPONENTS if name.startswith("compress.")])
def test_every_compressor_works_alone(name: str) -> None:
    compressor = make(name, {"of": ["compress.reorder"]} if name == "compress.chain" else {})
    assert isinstance(compressor, WorksAlone)
    assert compressor.compress("Why?", []) == []


@dataclass(frozen=True)
class FirstWords:
    """A compressor of somebody's own."""

    n: int = 5

    def compress(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> list[Passage]:
        return [one.part(one.start, one.start + len(" ".join(one.text.split(" ")[: self.n]))) for one in passages]


def test_a_component_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The garden has seven beehives. They stand behind the chapel.")
    stages = [lt.Bm25(), FirstWords(4), lt.Cited(), lt.Scripted()]
    with lt.Pipeline(stages, tmp_path, index=lt.IndexSettings("none")) as pipeline:
        answer = pipeline.ask("How many beehives has the garden?")
    entry = answer.ledger.stages[1]
    assert entry.stage == "compress.FirstWords"
    assert [dropped.text for dropped in entry.dropped] == ["beehives. They stand behind the chapel."]


class LastWords:
    """The same of somebody who writes no dataclasses."""

    def __init__(self, n: int) -> None:
        self.n = n
        self._seen = 0

    def compress(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> list[Passage]:
        self._seen += 1
        return [one.part(one.end - len(" ".join(one.text.split(" ")[-self.n :])), one.end) for one in passages]


def test_a_component_of_ones_own_inside_another(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The garden has seven beehives. They stand behind the chapel.")
    mine = LastWords(3)
    stages = [lt.Bm25(), lt.Chain((FirstWords(6), mine)), lt.Cited(), lt.Scripted()]
    with lt.Pipeline(stages, tmp_path, index=lt.IndexSettings("none")) as pipeline:
        state = pipeline.ask("How many beehives has the garden?").state
    assert [passage.text for passage in state.passages] == ["seven beehives. They"]
    chain = pipeline.config.stages[1]
    assert isinstance(chain, lt.Chain)
    assert chain.of[1] is mine


def test_the_settings_of_ones_own_component_are_part_of_a_run() -> None:
    def made(n: int, m: int) -> lt.Pipeline:
        return lt.Pipeline([lt.Bm25(), LastWords(n), lt.Chain((LastWords(m),)), lt.Cited(), lt.Scripted()])

    assert made(1, 2).config.resolved()["stages"][1:3] == [
        {"compress.LastWords": {"n": 1}},
        {"compress.chain": {"of": [{"compress.LastWords": {"n": 2}}]}},
    ]
    assert len({made(1, 1).config.hash, made(1, 2).config.hash, made(2, 1).config.hash}) == 3


@pytest.mark.parametrize("stage", [LastWords(1), FirstWords(), lt.Chain((lt.ExitMini(), FirstWords()))])
def test_a_file_cannot_name_ones_own_component(stage: Any, tmp_path: Path) -> None:
    made = lt.Pipeline([lt.Bm25(), stage, lt.Cited(), lt.Scripted()])
    with pytest.raises(ConfigError, match=r"compress\.\w+Words: a pipeline file can name longthread's own components"):
        made.to_yaml(tmp_path / "mine.yaml")
    assert list(tmp_path.iterdir()) == []


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to answer from: name files or folders with docs="):
        lt.ask("Why?")
    with pytest.raises(ConfigError, match=r"<object object at .*> is no component"):
        lt.Pipeline([object()])
    with pytest.raises(ConfigError, match="a pipeline needs one generate stage"):
        lt.Pipeline([lt.Bm25()])
    with pytest.raises(ConfigError, match="give docs or index_folder, not both"):
        lt.Pipeline(
            [lt.Bm25(), lt.Cited(), lt.Scripted()], "docs", index_folder="index", index=lt.IndexSettings("none")
        )
    (tmp_path / "a.bin").write_bytes(bytes(range(256)))
    with pytest.raises(DocumentError, match=r"nothing could be read of .*a\.bin"):
        lt.Pipeline([lt.Bm25(), lt.Cited(), lt.Scripted()], tmp_path / "a.bin", index=lt.IndexSettings("none")).ask(
            "Why?"
        )
    with pytest.raises(ConfigError, match="nosuch"):
        lt.preset("nosuch")
    assert lt.preset("chat").name == "the built-in chat pipeline"
