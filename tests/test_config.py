from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.answers.llama import Llama
from pipeline.answers.scripted import Scripted
from pipeline.config import PipelineConfig, check_config, load_config, missing_paths, old_names
from pipeline.default import chat_pipeline, default_config, default_pipeline, with_default_model, with_model
from pipeline.errors import ConfigError
from pipeline.user import UserSettings, save_user_settings

CONFIGS = Path(__file__).parent.parent / "configs"
GOOD = "stages:\n  - retrieve.bm25\n  - assemble.cited\n  - generate.scripted\n"


@pytest.fixture
def faults(tmp_path: Path) -> Callable[[str], list[str]]:
    def _faults(text: str) -> list[str]:
        path = tmp_path / "a.yaml"
        path.write_text(text)
        return [f"{fault.line}: {fault.message}" for fault in check_config(path)[1]]

    return _faults


@pytest.mark.parametrize("retriever", ["bm25", "dense", "hybrid", "hops"])
def test_a_filter_that_cannot_be_read_is_a_fault_of_its_line(
    faults: Callable[[str], list[str]], retriever: str
) -> None:
    assert faults(GOOD.replace("retrieve.bm25", f"retrieve.{retriever}: {{filter: 'kind pdf'}}")) == [
        "2: stages[0].filter: filter 'kind pdf': expected an operator behind 'kind', one of = != ~ in, got 'pdf' at "
        "character 6"
    ]


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_config_is_right_and_says_for_whom_it_is(path: Path) -> None:
    assert load_config(path).stages
    assert path.read_text().startswith("# For ")


def test_the_default_file_says_what_the_built_in_pipeline_does() -> None:
    assert load_config(CONFIGS / "default.yaml").resolved() == default_pipeline().resolved()
    assert load_config(CONFIGS / "default.yaml").hash == default_pipeline().hash


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
        + "pool, rrf_k, dense_weight, bm25_weight, glob, filter, copies, parents, mmr",
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
    changed = with_model(default_pipeline(), "/models/x.gguf").resolved()
    assert changed["stages"][-1]["generate.llama"]["model"] == "/models/x.gguf"
    assert changed["stages"][:-1] == default_pipeline().resolved()["stages"][:-1]
    with pytest.raises(ConfigError, match=r"`model` needs a pipeline with generate\.llama"):
        with_model(load_config(CONFIGS / "offline.yaml"), "x")


WRAPPED = """\
stages:
  - retrieve.hybrid
  - {first}
  - {second}
  - assemble.cited
  - generate.scripted
"""


@pytest.mark.parametrize(
    ("first", "second", "instead", "beside"),
    [
        (
            "compress.exit_mini",
            "compress.protect",
            "- compress.protect: {of: compress.exit_mini}",
            "- compress.protect: {of: compress.exit_mini}",
        ),
        (
            "compress.sentences: {top_k: 5, keep_ratio: null}",
            "compress.neighbours: {n: 2}",
            "- compress.neighbours: {of: {compress.sentences: {top_k: 5, keep_ratio: null}}, n: 2}",
            "- compress.neighbours: {of: compress.exit_mini, n: 2}",
        ),
        (
            "compress.reorder",
            "compress.route: {gist_words: [vibe]}",
            '- compress.route: {facts: compress.reorder, gist_words: ["vibe"]}',
            '- compress.route: {facts: compress.exit_mini, gist_words: ["vibe"]}',
        ),
    ],
)
def test_a_wrapper_after_a_compressor_must_name_what_it_wraps(
    first: str, second: str, instead: str, beside: str, faults: Callable[[str], list[str]], tmp_path: Path
) -> None:
    name, before = second.split(":")[0], first.split(":")[0]
    default = beside.split(": {")[1].split(": ")[1].rstrip("}").split(",")[0]
    assert faults(WRAPPED.format(first=first, second=second)) == [
        f"4: stages[2]: {name} runs a compressor of its own, {default}, after {before}. To wrap {before}, put this "
        f"step in the place of both: '{instead}'. To run one after the other, name the second: '{beside}'"
    ]
    alone = WRAPPED.replace("  - {second}\n", "").format(first=instead.removeprefix("- "))
    assert faults(alone) == []
    assert faults(WRAPPED.format(first=first, second=beside.removeprefix("- "))) == []


@pytest.mark.parametrize("name", ["neighbours", "fallback", "protect", "if_faster", "highlight", "route"])
def test_every_wrapper_after_a_compressor_is_such_a_fault(name: str, faults: Callable[[str], list[str]]) -> None:
    (fault,) = faults(WRAPPED.format(first="compress.sentences", second=f"compress.{name}"))
    assert fault.startswith(f"4: stages[2]: compress.{name} runs a compressor of its own, compress.")
    assert faults(WRAPPED.format(first=f"compress.{name}", second="compress.reorder")) == []


def test_a_wrapper_alone_wraps_the_best_compressor_without_a_model(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("stages: [retrieve.hybrid, compress.protect, assemble.cited, generate.scripted]")
    assert "compress.exit_mini" in load_config(path).resolved()["stages"][1]["compress.protect"]["of"]


def test_a_wrong_compressor_inside_another_is_one_fault(faults: Callable[[str], list[str]]) -> None:
    wrong = faults("stages: [compress.chain: {of: [compress.exit_mini, 3]}]")
    assert [fault for fault in wrong if ".of" in fault] == [fault for fault in wrong if "of[1]: must be one" in fault]


def test_settings_of_the_prompt_are_checked(faults: Callable[[str], list[str]]) -> None:
    text = (
        "stages:\n  - retrieve.bm25\n  - assemble.cited:\n      citations: modell\n      layout: breif\n"
        "      answer: quotes\n      instructions: 3\n  - generate.scripted\n"
    )
    found = faults(text)
    assert [fault.partition(",")[0] for fault in found] == [
        "4: stages[1].citations: should be 'evidence'",
        "5: stages[1].layout: layout must be auto or one of brief",
        "6: stages[1].answer: should be 'auto'",
        "7: stages[1].instructions: should be a valid string",
    ]
    assert "was: breif" in found[1]


@pytest.mark.parametrize(
    "settings",
    [
        "{citations: model}", "{citations: both}", "{citations: evidence}", "{layout: brief-cue, answer: quote}",
        "{layout: auto, answer: generate}", "{instructions: Be brief.}", "{instructions: null}",
    ],
)  # fmt: skip
def test_settings_of_the_prompt(settings: str, faults: Callable[[str], list[str]]) -> None:
    assert faults(GOOD.replace("assemble.cited", f"assemble.cited: {settings}")) == []


# -------------------------------------------------------------------------------------------------- paths and defaults
def pipeline(folder: Path, generate: str, index: str = "none") -> Path:
    path = folder / "p.yaml"
    path.write_text(
        f"index: {{embedder: {index}}}\n"
        f"stages:\n  - retrieve.bm25\n  - assemble.cited\n  - generate.llama: {generate}\n"
    )
    return path


def _llama(config: PipelineConfig) -> Llama:
    assert isinstance(config.generator, Llama)
    return config.generator


def test_relative_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    path = pipeline(tmp_path / "deep", "{model: ../m.gguf, lora: [{path: a.gguf}]}", "models/minilm")
    for named in (path, "deep/p.yaml"):
        config = load_config(named)
        assert config.generator.model_name == str(tmp_path / "deep" / ".." / "m.gguf")
        assert _llama(config).lora[0].path == str(tmp_path / "deep" / "a.gguf")
        assert config.index.embedder == str(tmp_path / "deep" / "models" / "minilm")


@pytest.mark.parametrize("model", ["smollm2-135m", "hf:someone/some-GGUF/some.gguf", "~/m.gguf", "/m.gguf"])
def test_names_and_absolute_paths_stay_as_they_are(tmp_path: Path, model: str) -> None:
    assert load_config(pipeline(tmp_path, f"{{model: {model}}}")).generator.model_name == model


def test_a_path_inside_a_wrapped_step_is_relative_too(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(
        "stages:\n  - retrieve.hybrid\n  - compress.fallback: {of: {compress.exit: {model: m.gguf}}}\n"
        "  - assemble.cited\n  - generate.llama\n"
    )
    inner: Any = load_config(path).stages[1]
    assert inner.of.model == str(tmp_path / "m.gguf")


def test_names_of_earlier_releases_still_work(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    gates = ["compress.gate: {of: compress.sentences}", "compress.fallback: {of: compress.gate}", "compress.gate"]
    for gate in gates:
        path.write_text(f"stages:\n  - retrieve.hybrid\n  - {gate}\n  - assemble.cited\n  - generate.llama\n")
        old = load_config(path)
        path.write_text(path.read_text().replace("compress.gate", "compress.if_faster"))
        assert old == load_config(path)
    path.write_text(
        "stages:\n  - retrieve.hybrid\n  - compress.gate: {least_gain: 0}\n  - assemble.cited\n  - generate.llama\n"
    )
    _, faults = check_config(path)
    assert [str(fault) for fault in faults] == [
        f"{path}:3: stages[1].least_gain: least_gain must be at least 1, was: 0.0"
    ]


def test_old_names_still_work_where_the_executor_names_stages(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    stages = "stages:\n  - retrieve.bm25\n  - compress.gate\n  - assemble.cited\n  - generate.llama\n"
    path.write_text(f"executor:\n  stages:\n    compress.gate: {{replicas: 2}}\n{stages}")
    config = load_config(path)
    assert config.executor.pool("compress.if_faster").replicas == 2
    assert list(map(str, old_names(path))) == [
        f"{path}:3: executor.stages.compress.gate: compress.gate is the old name of compress.if_faster: the next "
        "release will not know it",
        f"{path}:6: stages[1]: compress.gate is the old name of compress.if_faster: the next release will not know it",
    ]
    path.write_text(f"executor:\n  stages:\n    generate: {{}}\n    compress.gate: {{replicas: 0}}\n{stages}")
    assert list(map(str, check_config(path)[1])) == [
        f'{path}:4: executor.stages.compress.if_faster: replicas must be at least 1, was: 0, was: {{"replicas": 0}}'
    ]
    path.write_text(f"executor:\n  stages:\n    compress.if_faster: {{}}\n    compress.gate: {{}}\n{stages}")
    assert list(map(str, check_config(path)[1])) == [
        f"{path}:4: executor.stages.compress.gate: compress.if_faster is there under two names: keep one of them"
    ]


def test_old_names_are_found_inside_wrappers(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(
        "stages:\n  - retrieve.bm25\n  - compress.chain:\n      of:\n        - compress.gate\n"
        "        - compress.gate: {least_gain: 2}\n  - assemble.cited\n  - generate.llama\n"
    )
    assert [(note.line, note.message.split(": ")[0]) for note in old_names(path)] == [
        (5, "stages[1].compress.chain.of[0]"),
        (6, "stages[1].compress.chain.of[1].compress.gate"),
    ]
    assert [old_names(file) for file in CONFIGS.glob("*.yaml")] == [[]] * len(list(CONFIGS.glob("*.yaml")))


def test_check_names_paths_that_are_not_there(tmp_path: Path) -> None:
    config = load_config(pipeline(tmp_path, "{model: m.gguf, lora: [{path: a.gguf}]}", "./minilm"))
    expected = {"stages[2].model": "m.gguf", "stages[2].lora[0].path": "a.gguf", "index.embedder": "minilm"}
    assert missing_paths(config) == [
        f"{where}: there is no such file: {tmp_path / name} (paths are relative to the pipeline file)"
        for where, name in expected.items()
    ]
    for name in ("m.gguf", "a.gguf", "minilm"):
        (tmp_path / name).touch()
    assert missing_paths(config) == []


def test_the_users_default_answers_where_no_model_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTHREAD_CONFIG", str(tmp_path))
    none_named, named = pipeline(tmp_path, "{n_ctx: 512}"), CONFIGS / "default.yaml"
    assert default_config(None) == default_pipeline()
    save_user_settings(UserSettings(model="gemma3-270m"))
    models = [default_config(path).generator.model_name for path in (None, str(none_named), str(named))]
    assert models == ["gemma3-270m", "gemma3-270m", "smollm2-135m"]
    assert with_default_model(chat_pipeline()).generator.model_name == "gemma3-270m"
    assert with_model(default_config(None), "/m.gguf").generator.model_name == "/m.gguf"
    offline = default_config(str(CONFIGS / "offline.yaml"))
    assert isinstance(offline.generator, Scripted)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: 3\n", r"longthread\.yaml:1: should be a valid string, was: 3$"),
        ("- a\n", r"longthread\.yaml: must hold a mapping, such as 'model: smollm2-135m'$"),
        ("model: a\nmodel: b\n", r"longthread\.yaml:2: the key 'model' stands twice"),
        ("model: ''\n", r"longthread\.yaml:1: model must be a name or a path, was: ''$"),
    ],
)
def test_a_fault_of_the_users_file_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.setenv("LONGTHREAD_CONFIG", str(tmp_path))
    (tmp_path / "longthread.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        default_config(None)
