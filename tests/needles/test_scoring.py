"""Replies and what they are worth: strictly, tolerantly, by the paper's rule; and why they are wrong."""

from typing import Any

import pytest

from pipeline.evaluation.needles.scoring import Score, score

A = "0b6f8a52-6c1e-4a57-9d0e-2f4c8f1f7a11"
B = "f7d3c2a0-1b2c-4d3e-8f4a-5b6c7d8e9f00"
C = "11111111-2222-4333-8444-555555555555"


def fields(*expected: str, passed: tuple[str, ...] = (), kind: str = "uuid", is_set: bool = False) -> dict[str, Any]:
    return {"expected": list(expected), "passed": list(passed), "kind": kind, "is_set": is_set}


@pytest.mark.parametrize(
    ("reply", "strict", "tolerant", "begins"),
    [
        (A, True, True, True),
        (f' "{A}".\n', True, True, True),
        (A.upper(), True, True, False),
        (f"The value is {A}", False, True, False),
        (f"{A}, which follows {B}", False, False, True),
        (f"First {B}, then {A}", False, True, False),
        (f"{A}\n{A}", False, True, True),
        (A[:-1], False, False, False),
        ("", False, False, False),
    ],
)
def test_one_answer(reply: str, strict: bool, tolerant: bool, begins: bool) -> None:
    result = score(reply, fields(A))
    assert (result.strict, result.tolerant, result.begins) == (strict, tolerant, begins)


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (A, ""),
        ("I do not know.", "format_error"),
        (B, "intermediate_hop"),
        (f"{A} {B}", "intermediate_hop"),
        (C, "distractor_value"),
        ("22222222-2222-4333-8444-555555555555", "invented_value"),
    ],
)
def test_why_a_reply_is_wrong(reply: str, fault: str) -> None:
    assert score(reply, fields(A, passed=(B,)), frozenset({A, B, C})).fault == fault


def test_several_answers_in_order() -> None:
    wanted = fields(A, B)
    assert score(f'["{A}", "{B}"]', wanted) == Score(True, True, False, True, 1.0, 1.0, "")
    assert score(f"{A}\n{B}", wanted).strict
    swapped = score(f"{B}, {A}", wanted)
    assert (swapped.strict, swapped.tolerant, swapped.found) == (False, False, 1.0)
    half = score(f"{A}", wanted)
    assert (half.strict, half.found, half.fault) == (False, 0.5, "incomplete")
    assert half.f1 == pytest.approx(2 / 3)
    assert score(f"They are {A} and {B}.", wanted) == Score(False, True, False, True, 1.0, 1.0, "")


def test_several_answers_in_any_order() -> None:
    wanted = fields(A, B, is_set=True)
    assert score(f"{B}, {A}", wanted).strict
    more = score(f"{B}, {A}, {C}", wanted, frozenset({C}))
    assert (more.strict, more.tolerant, more.found, more.f1, more.fault) == (False, False, 1.0, 0.8, "distractor_value")


def test_names() -> None:
    wanted = fields("Rupert", passed=("Tanya", "Malik"), kind="name")
    assert score("Rupert.", wanted).strict
    assert score("It was Rupert", wanted).tolerant
    assert score("Malik gave it to Rupert", wanted).tolerant
    assert score("Rupert got it from Malik", wanted).fault == "intermediate_hop"
    assert score("Ruperta", wanted).fault == "format_error"
    assert score("Zoe", wanted, frozenset({"Zoe"})).fault == "distractor_value"


def test_numbers_and_words() -> None:
    assert score("<4711>", fields("4711", kind="number")).strict
    assert score("It is 4711.", fields("4711", kind="number")).tolerant
    assert score("14711", fields("4711", kind="number"), frozenset({"14711"})).fault == "distractor_value"
    assert score("Kitchen.", fields("kitchen", kind="word")).strict
    assert score("Mary is in the kitchen", fields("kitchen", kind="word")).tolerant
