"""Hyperparameters, declared once: default, legal range, search range, scale, unit and neutral value.

The one declaration feeds validation, the YAML schema, the command line, schedules, the search space and the stacking of
many configurations.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from wellfit.core.errors import WellfitError
from wellfit.core.schedule import Schedule

_NO_NEUTRAL = math.nan


@dataclass(frozen=True)
class Hyper:
    """A numeric hyperparameter.

    Attributes:
        low, high: the legal range; ``open_low`` and ``open_high`` exclude the end itself.
        neutral: the value at which the regularizer does nothing, bit for bit (nan: there is none).
        search: the range worth searching, or None to leave it at its default.
        scale: ``"log"`` or ``"linear"``, for the search and for plots.
        unit: what the number counts.
        dynamic: whether it may be a :class:`~wellfit.core.schedule.Schedule`.
        whole: whether only whole numbers are legal.
        optional: whether None is legal (another field is used instead).
        meaning: one line for help texts.
    """

    low: float
    high: float
    neutral: float
    search: tuple[float, float] | None
    scale: Literal["log", "linear"]
    unit: str
    dynamic: bool
    whole: bool
    optional: bool
    open_low: bool
    open_high: bool
    meaning: str

    @property
    def has_neutral(self) -> bool:
        return not math.isnan(self.neutral)

    @property
    def range_text(self) -> str:
        open_high = self.open_high or (math.isinf(self.high) and self.neutral != self.high)
        left, right = "(" if self.open_low else "[", ")" if open_high else "]"
        return f"{'a whole number' if self.whole else 'a number'} in {left}{self.low:g}, {self.high:g}{right}"

    def accepts(self, value: float) -> bool:
        if math.isnan(value) or (self.whole and math.isfinite(value) and value != int(value)):
            return False
        if math.isinf(value) and value != self.neutral:  # only a bound that never binds may be infinite
            return False
        above = value > self.low if self.open_low else value >= self.low
        return above and (value < self.high if self.open_high else value <= self.high)


@dataclass(frozen=True)
class Option:
    """A choice among named alternatives (never searched or scheduled)."""

    choices: tuple[Any, ...] | None
    meaning: str


def hyper(default: float | None | Any, *, low: float = 0.0, high: float = math.inf, neutral: float = _NO_NEUTRAL,
          search: tuple[float, float] | None = None, scale: Literal["log", "linear"] = "linear", unit: str = "",
          dynamic: bool = True, whole: bool = False, optional: bool = False, open_low: bool = False,
          open_high: bool = False, meaning: str = "") -> Any:
    """Declare a numeric hyperparameter as a dataclass field. See :class:`Hyper`."""
    declared = Hyper(low, high, neutral, search, scale, unit, dynamic, whole, optional, open_low, open_high, meaning)
    return _field(default, {"hyper": declared})


def option(default: Any, *, choices: tuple[Any, ...] | None = None, meaning: str = "") -> Any:
    """Declare a named choice (or free text where ``choices`` is None) as a dataclass field."""
    return _field(default, {"option": Option(choices, meaning)})


def _field(default: Any, metadata: dict[str, Any]) -> Any:
    return dataclasses.field(metadata=metadata) if default is ... else dataclasses.field(default=default, metadata=metadata)


def hypers(definition: Any) -> dict[str, Hyper]:
    """The numeric hyperparameters of a regularizer (class or instance), by field name."""
    return {f.name: f.metadata["hyper"] for f in dataclasses.fields(definition) if "hyper" in f.metadata}


def options(definition: Any) -> dict[str, Option]:
    """The named choices of a regularizer (class or instance), by field name."""
    return {f.name: f.metadata["option"] for f in dataclasses.fields(definition) if "option" in f.metadata}


def validate(definition: Any) -> None:
    """Raise :class:`WellfitError` for the first field outside its declared range."""
    label = type(definition).__name__
    for name, declared in hypers(definition).items():
        value = getattr(definition, name)
        if value is None and declared.optional:
            continue
        if isinstance(value, Schedule):
            if not declared.dynamic:
                raise WellfitError(f"{label}.{name} cannot change during training.", received=repr(value),
                                   expected=declared.range_text)
            bad = [v for v in value.extremes if not declared.accepts(v)]
            if bad:
                raise WellfitError(f"{label}.{name} leaves its range over its schedule.",
                                   received=f"{value!r}, which reaches {bad[0]:g}", expected=declared.range_text)
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise WellfitError(f"{label}.{name} is not a number.", received=repr(value),
                               expected=declared.range_text + (" or a schedule" if declared.dynamic else ""))
        if not declared.accepts(value):
            raise WellfitError(f"{label}.{name} is out of range.", received=repr(value), expected=declared.range_text)
    for name, choice in options(definition).items():
        value = getattr(definition, name)
        if choice.choices is not None and value not in choice.choices:
            raise WellfitError(f"{label}.{name} is not one of its choices.", received=repr(value),
                               expected=", ".join(repr(c) for c in choice.choices))
