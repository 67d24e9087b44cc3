"""Which template a model is given, and what a pipeline file may say about it."""

from pathlib import Path

import pytest

from pipeline.answers.llama import Llama
from pipeline.config import check_config
from pipeline.errors import ModelError
from pipeline.models.settings import EngineSettings
from pipeline.models.templates import NAMED, template_of
from pipeline.models.weights import Vocabulary
from pipeline.types import Message, Prompt, Text

TALK = (Message("system", (Text("Be brief."),)), Message("user", (Text(" Why?"),)))
DATED = "{{ strftime_now('%d %b %Y') }}{{ tone }}{% for m in messages %}{{ m.content }}{% endfor %}"


@pytest.fixture(scope="module")
def vocabulary(q4: Path) -> Vocabulary:
    return Vocabulary(q4)


def text(prompt: Prompt) -> str:
    return "".join(span.text for span in prompt if isinstance(span, Text))


@pytest.mark.parametrize("name", NAMED)
def test_a_known_template_renders_two_turns_that_begin_alike(vocabulary: Vocabulary, name: str) -> None:
    template = template_of(vocabulary, EngineSettings(chat_template=name))
    first = text(template.render(TALK))
    turns = (*TALK, Message("assistant", (Text("So."),)), Message("user", (Text("And?"),)))
    second = text(template.render(turns))
    end = first.index("Why?") + len("Why?")
    assert second[:end] == first[:end]
    assert "Be brief." in first


def test_a_file_takes_the_place_of_the_own_template_with_its_arguments_and_day(
    vocabulary: Vocabulary, tmp_path: Path
) -> None:
    path = tmp_path / "my.jinja"
    path.write_text(DATED)
    settings = EngineSettings(chat_template=str(path), template_arguments=(("tone", "!"),), date="2025-01-05")
    template = template_of(vocabulary, settings)
    assert text(template.render(TALK)) == "05 Jan 2025!Be brief. Why?"
    assert text(template.on("2024-02-29").render(TALK)) == "29 Feb 2024!Be brief. Why?"


def test_a_name_that_no_one_knows_is_an_error_with_the_names(vocabulary: Vocabulary) -> None:
    with pytest.raises(ModelError, match="no template named 'chatlm'; there are: plain, chatml"):
        template_of(vocabulary, EngineSettings(chat_template="chatlm"))


@pytest.mark.parametrize(
    ("setting", "fault"),
    [
        ("chat_template: no/such.jinja", "no/such.jinja"),
        ("chat_template: ''", "must be a file or a name"),
        ("template_arguments: {messages: []}", "'messages' is set by longthread"),
        ("template_arguments: {a b: 1}", "'a b' is no name"),
        ("template_arguments: {effort: [1]}", "effort must be a text, a number, true or false"),
        ("template_arguments: high", "must be a mapping"),
        ("date: tomorrow", "date must be a day such as"),
    ],
)
def test_check_names_what_is_wrong_about_a_template(tmp_path: Path, setting: str, fault: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"stages:\n  - retrieve.bm25\n  - assemble.cited\n  - generate.llama:\n      {setting}\n")
    _, faults = check_config(path)
    assert len(faults) == 1
    assert fault in str(faults[0])
    assert str(faults[0]).startswith(f"{path}:5: stages[2].{setting.split(':')[0]}")


def test_arguments_come_through_a_file_and_stand_in_the_record(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "stages:\n  - retrieve.bm25\n  - assemble.cited\n"
        "  - generate.llama: {template_arguments: {effort: low, enable_thinking: false}}\n"
    )
    config, faults = check_config(path)
    assert faults == []
    assert config is not None
    assert isinstance(config.generator, Llama)
    assert config.generator.engine.template_arguments == (("effort", "low"), ("enable_thinking", False))
    settings = config.resolved()["stages"][-1]["generate.llama"]
    assert settings["template_arguments"] == [["effort", "low"], ["enable_thinking", False]]
    assert settings["date"] == EngineSettings().date
