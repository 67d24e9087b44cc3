"""Checks of settings that several components share. Each raises SettingError, which names the field."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.errors import SettingError


def at_least(field: str, value: float | str | None, low: float) -> None:
    """Raises SettingError for a number below `low`, and for NaN. None and words such as `auto` pass."""
    if isinstance(value, int | float) and not value >= low:
        raise SettingError(field, f"must be at least {low}, was: {value}")


def in_range(field: str, value: float | str | None, low: float, high: float, is_open: bool = False) -> None:
    """Raises SettingError for a number outside [low, high], or with `is_open` outside (low, high].

    None and words such as `auto` pass.
    """
    if isinstance(value, int | float) and not (low <= value <= high and not (is_open and value == low)):
        bracket = "(" if is_open else "["
        raise SettingError(field, f"must be in {bracket}{low}, {high}], was: {value}")


def one_of(field: str, value: object, choices: Sequence[object]) -> None:
    """Raises SettingError for a value that is none of the choices."""
    if value not in choices:
        raise SettingError(field, f"must be one of {', '.join(map(str, choices))}, was: {value}")
