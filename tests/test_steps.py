"""The reference of the steps is complete, equal to docs/steps.md, and true: a stated range is the range checked."""

import importlib
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

import longthread
from cli.exit_codes import EXIT_ERROR
from cli.main import app
from pipeline.config import SECTIONS
from pipeline.errors import ConfigError
from pipeline.reference import Range, descriptions, entry, example_of, markdown, nested_dataclasses, stage_of
from pipeline.registry import COMPONENTS, build, component_class, settings_of
from pipeline.schema import pipeline_schema
from pipeline.settings import build_dataclass

ROOT = Path(__file__).parent.parent
CONFIGS = sorted(path for path in (ROOT / "configs").rglob("*.yaml") if path.name != "sweep.yaml")


def documented_classes() -> Iterator[tuple[str, type]]:
    """Every component and section, and every dataclass that stands inside their settings."""
    classes = {**{name: component_class(name) for name in COMPONENTS}, **SECTIONS}
    for name, cls in classes.items():
        yield name, cls
        for field, inner in nested_dataclasses(cls):
            yield f"{name}.{field}", inner


CLASSES = dict(documented_classes())
"""By name: `compress.exit`, `index`, `generate.llama.lora`."""


@pytest.mark.parametrize("name", CLASSES)
def test_every_setting_has_its_line(name: str) -> None:
    settings = {field.name for field in fields(CLASSES[name]) if field.init}
    assert set(descriptions(CLASSES[name])) == settings


@pytest.mark.parametrize("name", [*COMPONENTS, *SECTIONS])
def test_every_number_states_its_range(name: str) -> None:
    unstated = [
        setting.name
        for setting in entry(name).settings
        if re.search(r"\bnumber\b", setting.type) and not setting.type.startswith("list") and setting.range is None
    ]
    assert unstated == []


def ranges() -> Iterator[tuple[str, str, Range]]:
    for name, cls in CLASSES.items():
        for setting, text in descriptions(cls).items():
            limits = Range.read(text)
            if limits and limits.bounds and "list" not in str(_type_of(cls, setting)):
                yield name, setting, limits


def _type_of(cls: type, setting: str) -> str:
    from pipeline.settings import settings_model

    schema = settings_model(cls).model_json_schema()["properties"][setting]
    return "list" if schema.get("type") == "array" else "other"


RANGES = list(ranges())


def faults_of(name: str, setting: str, value: float) -> tuple[str, ...]:
    """What is wrong with a component's example, or with required settings alone, once a setting has this value."""
    cls = CLASSES[name]
    _, settings = stage_of(example_of(cls)) if example_of(cls) else (name, {})
    required: dict[str, Any] = {"path": "a.gguf"} if "path" in descriptions(cls) else {}
    if "token" in descriptions(cls):
        required = {"token": " a", "bias": 0.0}
    _, faults = build_dataclass(cls, {**required, **settings, setting: value}, name)
    return tuple(fault.message for fault in faults)


@pytest.mark.parametrize(("name", "setting", "limits"), RANGES, ids=[f"{n}.{s}" for n, s, _ in RANGES])
def test_a_stated_range_is_checked(name: str, setting: str, limits: Range) -> None:
    """A value outside is refused; one at the end of the range is refused only beside another setting."""
    bounds = limits.bounds
    outside = [bounds[key] + step for key, step in (("minimum", -1), ("maximum", 1)) if key in bounds]
    outside += [bounds[key] for key in ("exclusiveMinimum", "exclusiveMaximum") if key in bounds]
    outside += [max(bounds["enum"]) + 1] if "enum" in bounds else []
    inside = [bounds[key] for key in ("minimum", "maximum") if key in bounds] + bounds.get("enum", [])
    assert [value for value in outside if not faults_of(name, setting, value)] == []
    others = [other for other in descriptions(CLASSES[name]) if other != setting]
    for value in inside:
        for message in faults_of(name, setting, value):
            assert any(re.search(rf"\b{other}\b", message) for other in others), message


@pytest.mark.parametrize(
    ("text", "shown", "bounds"),
    [
        ("a share, in (0, 1]; null: none.", "in (0, 1]", {"exclusiveMinimum": 0, "maximum": 1}),
        ("a weight in [-1, 0.5).", "in [-1, 0.5)", {"minimum": -1, "exclusiveMaximum": 0.5}),
        ("overlap, in [0, chunk_tokens / 2).", "in [0, chunk_tokens / 2)", {"minimum": 0}),
        ("tokens, at least 128.", "at least 128", {"minimum": 128}),
        ("a cost, greater than 0.", "greater than 0", {"exclusiveMinimum": 0}),
        ("tokens, one of 2, 4, 8.", "one of 2, 4, 8", {"enum": [2, 4, 8]}),
        ("a seed, any whole number.", "any whole number", {}),
    ],
)
def test_a_range_is_read(text: str, shown: str, bounds: dict[str, float]) -> None:
    assert Range.read(text) == Range(shown, bounds)


def test_a_text_without_a_range_has_none() -> None:
    assert Range.read("shares at least `n` words, one of them in [brackets") is None


@pytest.mark.parametrize("name", COMPONENTS)
def test_every_component_has_an_example_that_builds(name: str) -> None:
    named, settings = stage_of(entry(name).example)
    component, faults = build(named, settings)
    assert (named, faults) == (name, ())
    in_python = eval(entry(name).python, {"lt": longthread})  # noqa: S307 - our own text
    assert settings_of(in_python) == settings_of(component)


def test_an_old_name_shows_the_step_of_today() -> None:
    done = CliRunner().invoke(app, ["steps", "compress.gate"])
    assert done.exit_code == 0
    first, second, *_ = done.output.splitlines()
    assert first == "compress.gate is the old name of compress.if_faster: the next release will not know it"
    assert second == "compress.if_faster"
    assert "old name" not in CliRunner().invoke(app, ["steps", "compress.if_faster"]).output


def test_the_page_is_what_the_components_say() -> None:
    page = (ROOT / "docs" / "steps.md").read_text("utf-8")
    assert page == markdown(), "longthread steps --markdown > docs/steps.md"


# --------------------------------------------------------------------------------------------------------- the schema
def properties(schema: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(schema, dict):
        yield from schema.get("properties", {}).items()
        for value in schema.values():
            yield from properties(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from properties(value)


def test_every_property_of_the_schema_is_described() -> None:
    described = [(name, bool(value.get("description"))) for name, value in properties(pipeline_schema())]
    assert len(described) > 190
    assert [name for name, is_described in described if not is_described] == []


def errors_of(config: object) -> list[str]:
    jsonschema = importlib.import_module("jsonschema")
    return [error.message for error in jsonschema.Draft202012Validator(pipeline_schema()).iter_errors(config)]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_schema_takes_every_pipeline_that_ships(path: Path) -> None:
    assert errors_of(YAML(typ="safe").load(path.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    "stage",
    [
        {"retrieve.hybrid": {"k": 0}},
        {"compress.exit_mini": {"keep_ratio": 1.5}},
        {"compress.extensible": {"k": 3}},
        {"memory.hierarchical": {"temperature": 0}},
        {"generate.llama": {"top_p": 0, "model": "smollm2-135m"}},
        {"compress.exit_mini": {"keepratio": 0.5}},
    ],
    ids=str,
)
def test_the_schema_refuses_what_the_check_refuses(stage: dict[str, Any]) -> None:
    ((name, settings),) = stage.items()
    assert build(name, settings)[1]
    assert errors_of({"stages": [stage]})


# -------------------------------------------------------------------------------------------------------- the command
def test_the_command_lists_every_step() -> None:
    output = CliRunner().invoke(app, ["steps"]).output
    assert [name for name in [*COMPONENTS, *SECTIONS] if name not in output] == []


def test_the_command_shows_one_step() -> None:
    output = CliRunner().invoke(app, ["steps", "compress.exit_mini"]).output
    assert "keep_ratio: number or null, in (0, 1]; default 0.3\n" in output
    assert "arXiv 2412.12559" in output
    assert "- compress.exit_mini: {keep_ratio: 0.2, neighbours: 1}" in output


def test_a_kind_lists_its_steps_and_a_section_its_settings() -> None:
    listing = CliRunner().invoke(app, ["steps", "rerank"]).output
    assert "rerank.gguf" in listing
    assert "retrieve.dense" not in listing
    assert "on_overflow: shed or refuse; default shed" in CliRunner().invoke(app, ["steps", "budget"]).output


def test_the_command_prints_the_page() -> None:
    assert CliRunner().invoke(app, ["steps", "--markdown"]).output == markdown()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("exit_mini", "did you mean 'compress.exit_mini'?"),
        ("compress.exitmini", "did you mean 'compress.exit_mini'?"),
        ("zebra", "longthread steps lists them"),
    ],
)
def test_an_unknown_step_names_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(hint)):
        entry(name)


def test_an_unknown_step_ends_with_the_exit_code_of_errors(capsys: pytest.CaptureFixture[str]) -> None:
    from cli.errors import run_command

    code = run_command(lambda: app(["steps", "compress.exit_min"], standalone_mode=False))
    assert code == EXIT_ERROR
    assert "did you mean 'compress.exit_mini'?" in capsys.readouterr().err
