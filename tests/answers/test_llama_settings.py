"""generate.llama: its settings have ranges that `check` holds them to, and an answer obeys the form that is set."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.answers.judging import judge, settle
from pipeline.answers.llama import Llama
from pipeline.config import check_config
from pipeline.types import Generation, Passage, Question, Sampling, State

SCHEMA = {
    "type": "object",
    "properties": {"hives": {"enum": [5, 7]}, "sure": {"type": "boolean"}},
    "required": ["hives", "sure"],
    "additionalProperties": False,
}


def faults(folder: Path, settings: dict[str, Any]) -> list[str]:
    path = folder / "p.yaml"
    (folder / "ok.json").write_text("{}")
    lines = "\n".join(f"      {key}: {json.dumps(value)}" for key, value in settings.items())
    path.write_text(
        f"index: {{embedder: none}}\nstages:\n  - retrieve.bm25\n  - assemble.cited\n  - generate.llama:\n{lines}\n"
    )
    return [f"{fault.line}: {fault.message}" for fault in check_config(path)[1]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 2000}, "temperature must be in [0, 5], was: 2000"),
        ({"temperature": -1}, "temperature must be in [0, 5], was: -1"),
        ({"top_k": -1}, "top_k must be at least 0, was: -1"),
        ({"top_p": 0}, "top_p must be in (0, 1], was: 0"),
        ({"typical_p": 1.5}, "typical_p must be in [0, 1], was: 1.5"),
        ({"mirostat": 3}, "should be 0, 1 or 2, was: 3"),
        ({"presence_penalty": 9}, "presence_penalty must be in [-2, 2], was: 9"),
        ({"repeat_penalty": 0}, "repeat_penalty must be in [0.01, 10], was: 0"),
        ({"dry_base": 0.5}, "dry_base must be in [1, 10], was: 0.5"),
        ({"logit_bias": [{"token": "a", "bias": 1000}]}, "logit_bias.bias must be in [-100, 100], was: 1000"),
        ({"logit_bias": [{"token": "a"}]}, "generate.llama needs this field"),
        ({"json_schema": "none.json"}, "json_schema must be a file that is there, was: {folder}/none.json"),
        ({"grammar": "none.gbnf"}, "grammar must be a file that is there, was: {folder}/none.gbnf"),
        ({"json_schema": "p.yaml"}, "json_schema must be a file of JSON, was: {folder}/p.yaml"),
        (
            {"grammar": "ok.json", "json_schema": "ok.json"},
            "grammar must not stand beside json_schema: give one of the two",
        ),
        ({"split_mode": "rows"}, "should be 'none', 'layer', 'row' or 'tensor'"),
        ({"kv_k": "q3_k"}, "should be 'f32', 'f16'"),
        ({"rope_freq_base": 0}, "rope_freq_base must be greater than 0, was: 0"),
        ({"tensor_split": [-1]}, "tensor_split must be shares"),
        ({"control_vectors": [{"path": ""}]}, "control_vectors.path must be"),
    ],
    ids=str,
)
def test_nonsense_is_named_with_its_line(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    found = faults(tmp_path, settings)
    assert len(found) == 1, found
    assert message.format(folder=tmp_path) in found[0]
    assert found[0].startswith(("6: ", "5: "))


def test_every_choice_at_once_is_a_pipeline(tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    settings = {
        "split_mode": "layer",
        "main_gpu": 0,
        "tensor_split": [3, 1],
        "mmap": False,
        "mlock": False,
        "kv_unified": "auto",
        "kv_k": "bf16",
        "kv_v": "f32",
        "swa_full": True,
        "temperature": None,
        "top_k": None,
        "typical_p": 0.9,
        "top_n_sigma": 1.5,
        "xtc_probability": 0.1,
        "xtc_threshold": 0.1,
        "presence_penalty": 0.5,
        "frequency_penalty": -0.5,
        "repeat_last_n": -1,
        "dry_multiplier": 0.8,
        "logit_bias": [{"token": " Sorry", "bias": -5}, {"token": 3, "bias": 1.5}],
        "json_schema": "schema.json",
    }
    assert faults(tmp_path, settings) == []


def test_the_sampling_has_what_is_set(tmp_path: Path) -> None:
    (tmp_path / "g.gbnf").write_text('root ::= "yes"')
    found = Llama(grammar=str(tmp_path / "g.gbnf"), top_k=5, presence_penalty=1.0).sampling
    assert found == Sampling(top_k=5, presence_penalty=1.0, repeat_penalty=None, grammar='root ::= "yes"')
    assert Llama().sampling == Sampling(repeat_penalty=None)
    (tmp_path / "g.gbnf").write_text('root ::= "no, never"')
    assert Llama(grammar=str(tmp_path / "g.gbnf")).sampling.grammar == 'root ::= "no, never"'


def generation(text: str, finish: Any = "stop") -> Generation:
    return Generation(text, finish, 10, 0, 5, 0.1, 0.1)


def test_an_answer_of_a_given_form_is_cited_and_left_as_it_is() -> None:
    text = "The garden has seven hives."
    state = State(Question("How many hives?"), shown=(Passage("garden.txt", 0, len(text), text),))
    written = '{"said": "The garden has seven hives.", "said": "The garden has seven hives."}'
    judged = judge(state, generation(written), is_formal=True)
    after, notes = settle(state, judged, None)
    assert after.answer is not None
    assert (after.answer.text, after.answer.by, notes) == (written, "model", ())
    assert [citation.quote.text for citation in after.answer.citations if citation.quote] == [text]
    after, _ = settle(state, judge(state, generation('{"said": "It is not in the documents."}'), is_formal=True), None)
    assert after.answer is not None
    assert not after.answer.is_abstention
    _, notes = settle(state, judge(state, generation('{"said": ', "length"), is_formal=True), None)
    assert notes == ("the answer was cut at max_tokens, so its form is not whole",)
