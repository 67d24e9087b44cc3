"""Settings given in Python are checked as those of a file: the file boundary is the oracle, over the whole registry."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import longthread as lt
from pipeline.config import SECTIONS
from pipeline.config.executor import StagePool
from pipeline.errors import SettingError
from pipeline.models.settings import ControlVector, Lora
from pipeline.registry import COMPONENTS, component_class
from pipeline.settings import build_dataclass
from pipeline.types import LogitBias

CLASSES: dict[str, type] = {
    **{name: component_class(name) for name in COMPONENTS},
    **SECTIONS,
    **{cls.__name__: cls for cls in (StagePool, Lora, ControlVector, LogitBias)},
}
REQUIRED: dict[str, Mapping[str, Any]] = {
    "compress.chain": {"of": ["compress.reorder"]},
    "rerank.gguf": {"model": "a.gguf"},
    "Lora": {"path": "a.gguf"},
    "ControlVector": {"path": "a.gguf"},
    "LogitBias": {"token": "a", "bias": 1},
}
FIELDS = [(name, field.name) for name, cls in CLASSES.items() for field in dataclasses.fields(cls) if field.init]
FILE_VALUES: list[Any] = [None, True, 8, -1, 0.5, 2.0, "8", "", "auto", [], ["a"], [8], {}, {"a": 1}, [{"path": 3}]]
"""Values that a file can hold: right for some fields, of a wrong type or out of range for others."""
FOREIGN_VALUES: list[Any] = [b"8", {8}, 3j, object(), int, [b"8"], {"a": {8}}]
"""Values that no file can hold, so no setting has them."""


@pytest.mark.parametrize(("name", "field"), FIELDS, ids=lambda value: str(value))
def test_every_setting_in_python_is_checked_as_that_of_a_file(name: str, field: str) -> None:
    cls, required = CLASSES[name], REQUIRED.get(name, {})
    for value in FILE_VALUES:
        settings = {**required, field: value}
        expected, faults = build_dataclass(cls, settings, name)
        if faults:
            with pytest.raises(SettingError):
                cls(**settings)
        else:
            made = cls(**settings)
            assert made == expected
            assert repr(made) == repr(expected)


@pytest.mark.parametrize(("name", "field"), FIELDS, ids=lambda value: str(value))
def test_no_setting_takes_a_value_that_no_file_can_hold(name: str, field: str) -> None:
    for value in FOREIGN_VALUES:
        with pytest.raises(SettingError) as raised:
            CLASSES[name](**{**REQUIRED.get(name, {}), field: value})
        assert raised.value.field.partition("[")[0].rpartition(".")[2] == field, str(raised.value)


@pytest.mark.parametrize(
    ("make", "field", "message"),
    [
        (lambda: lt.Hybrid(k="8"), "k", 'should be a valid integer, was: "8"'),  # type: ignore[arg-type]
        (lambda: lt.Hybrid(k=True), "k", "should be a valid integer, was: true"),
        (lambda: lt.Hybrid(k=0), "k", "must be at least 1, was: 0"),
        (lambda: lt.Exit(threshold="0.5"), "threshold", "should be a valid number or 'auto', was: \"0.5\""),  # type: ignore[arg-type]
        (lambda: lt.Chain(lt.Reorder()), "of", "should be a sequence of compressors, was: Reorder()"),  # type: ignore[arg-type]
        (lambda: lt.Chain([lt.Reorder(), 3]), "of[1]", "3 is no component"),  # type: ignore[arg-type]
        (lambda: lt.Protect(of=[lt.Reorder()]), "of", "should be one compressor, was: [Reorder()]"),  # type: ignore[arg-type]
        (lambda: lt.Fallback(of=3), "of", "3 is no component"),  # type: ignore[arg-type]
        (
            lambda: lt.Protect(of=lt.Bm25()),  # type: ignore[arg-type]
            "of",
            "must be a compressor, such as longthread.ExitMini(), was: retrieve.bm25",
        ),
        (lambda: lt.IndexSettings(chunk_tokens=99.5), "chunk_tokens", "should be a valid integer, was: 99.5"),  # type: ignore[arg-type]
        (lambda: lt.Budget(on_overflow="cut"), "on_overflow", "should be 'shed' or 'refuse', was: \"cut\""),  # type: ignore[arg-type]
        (
            lambda: lt.Llama(logit_bias=[{"token": "a", "bias": "x"}]),  # type: ignore[arg-type]
            "logit_bias[0].bias",
            'should be a valid number, was: "x"',
        ),
    ],
)
def test_the_error_names_the_setting_and_what_is_wrong(make: Any, field: str, message: str) -> None:
    with pytest.raises(SettingError) as raised:
        make()
    assert raised.value.field == field
    assert raised.value.message.startswith(message)


def test_values_take_the_form_that_a_file_gives_them() -> None:
    assert lt.Bm25(k=np.int64(4)) == lt.Bm25(k=4)  # type: ignore[arg-type, unused-ignore]
    assert type(lt.Bm25(k=np.int64(4)).k) is int  # type: ignore[arg-type, unused-ignore]
    assert lt.ExitMini(links=np.bool_(False)).links is False  # type: ignore[arg-type, unused-ignore]
    assert lt.Route(gist_words=["digest"]).gist_words == ("digest",)  # type: ignore[arg-type]
    assert lt.Llama(model=Path("a.gguf")).model == "a.gguf"  # type: ignore[arg-type]
    assert lt.Llama(logit_bias=[{"token": "a", "bias": 1}]).logit_bias == (LogitBias("a", 1.0),)  # type: ignore[arg-type]
    assert lt.Protect(of="compress.reorder").of == lt.Reorder()  # type: ignore[arg-type]


def test_a_subclass_may_have_settings_of_its_own() -> None:
    @dataclasses.dataclass(frozen=True)
    class Traced(lt.Bm25):
        trace: set[str] = dataclasses.field(default_factory=set)

    assert Traced(trace={"a"}).trace == {"a"}
    with pytest.raises(SettingError, match="k should be a valid integer"):
        Traced(k="8")  # type: ignore[arg-type]
