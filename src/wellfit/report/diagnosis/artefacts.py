"""What ``diagnosis.json`` holds, read leniently: every part may be absent, null or of a shape nobody expected."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wellfit.core.errors import WellfitError
from wellfit.report.artefacts import as_interval, as_list, as_map, as_number, as_text
from wellfit.report.numbers import DASH, Metric, decimals_of, metric_of, plain, share, signed, significant
from wellfit.report.numbers import seconds as seconds_words

FORMAT = 1
"""The newest format of a diagnosis this version can read."""

FILE = "diagnosis.json"
LEVELS = ("alarm", "notice", "good")


@dataclass(frozen=True)
class Measurement:
    """One measured quantity with its interval and what it says in words.

    ``level`` is alarm, notice, good or empty; ``decided`` marks what the verdict rests on.
    """

    id: str
    title: str
    value: float | None
    ends: tuple[float, float] | None
    unit: str
    words: str
    level: str
    decided: bool

    @classmethod
    def read(cls, entry: object) -> Measurement | None:
        """From the file, or None when there is neither a number nor a sentence."""
        given = as_map(entry)
        key = as_text(given.get("id"))
        value, words = as_number(given.get("value")), as_text(given.get("words"))
        if value is None and not words:
            return None
        level = as_text(given.get("level")).lower()
        title = as_text(given.get("title")) or key.replace("_", " ").capitalize() or "Measurement"
        return cls(key, title, value, as_interval(given.get("ci")), as_text(given.get("unit")), words,
                   level if level in LEVELS else "", given.get("decided") is True)

    @property
    def shown(self) -> str:
        """The value with its unit."""
        return quantity(self.value, self.unit)

    @property
    def span(self) -> str:
        """The interval with its unit; empty where there is none."""
        if self.ends is None:
            return ""
        return f"{quantity(self.ends[0], self.unit, name=False)} to {quantity(self.ends[1], self.unit)}"


def quantity(value: float | None, unit: str, *, name: bool = True) -> str:
    """A number with its unit: ``12.0 points`` of a share 0.12, ``31%``, ``0.42 nats``, ``4.2 s``.

    >>> quantity(0.12, "points"), quantity(0.314, "share"), quantity(1.5, "nats")
    ('12.0\\xa0points', '31.4%', '1.5\\xa0nats')
    """
    if value is None:
        return DASH
    kind = unit.strip().lower()
    if kind in ("points", "percentage points"):
        points = 100 * value if abs(value) <= 1 else value
        return signed(f"{abs(points):.1f}", points).lstrip("+") + ("\u00a0points" if name else "")
    if kind in ("share", "percent", "%", "fraction") and (kind in ("share", "fraction") or abs(value) <= 1):
        return share(value, 1.0) if value >= 0 else significant(100 * value, 3) + "%"
    if kind in ("percent", "%"):
        return significant(value, 3) + "%"
    if kind in ("s", "seconds"):
        return seconds_words(value)
    number = plain(value, 3)
    return number + (f"\u00a0{unit.strip()}" if name and unit.strip() else "")


@dataclass(frozen=True)
class Diagnosis:
    """A diagnosis as the page needs it."""

    path: Path
    content: dict[str, Any]
    metric: Metric
    measurements: tuple[Measurement, ...]

    @classmethod
    def of(cls, content: Mapping[str, Any], path: Path = Path(".")) -> Diagnosis:
        """From the content of ``diagnosis.json``."""
        given = as_map(content)
        found = tuple(m for entry in as_list(given.get("measurements")) if (m := Measurement.read(entry)) is not None)
        return cls(path, given, _metric(given), found)

    def part(self, name: str) -> dict[str, Any]:
        """A part that is a mapping; empty when it is absent."""
        return as_map(self.content.get(name))

    def rows(self, name: str) -> list[dict[str, Any]]:
        """A part that is a list of mappings; empty when it is absent."""
        return [row for row in map(as_map, as_list(self.content.get(name))) if row]

    @property
    def dataset(self) -> str:
        """The name of what was looked at."""
        return as_text(self.content.get("dataset")) or self.path.resolve().name or "diagnosis"

    @property
    def cause(self) -> str:
        """The main cause, as it is named."""
        return as_text(self.part("verdict").get("cause"))

    @property
    def decided(self) -> Measurement | None:
        """The measurement that the verdict rests on."""
        return next((m for m in self.measurements if m.decided), None)

    def measured(self, *words: str) -> list[Measurement]:
        """Measurements whose id holds one of the words."""
        return [m for m in self.measurements if any(w in m.id.lower() for w in words)]


def _metric(content: Mapping[str, Any]) -> Metric:
    """The metric, with decimals that fit the scores in the file."""
    metric = metric_of(content)
    tried, curves = as_map(content.get("tried")), as_map(content.get("curves"))
    scores = [as_number(tried.get("before")), *map(as_number, as_list(curves.get("validation_metric"))[-1:]),
              *(as_number(row.get("validation")) for row in map(as_map, as_list(content.get("capacity"))))]
    return Metric(metric.key, metric.higher_is_better,
                  3 if metric.key == "r2" else decimals_of(next((s for s in scores if s), None)))


def read_diagnosis(folder: Path) -> Diagnosis:
    """Read ``diagnosis.json`` of a directory.

    Raises:
        WellfitError: there is none, it is no JSON object, or a newer wellfit wrote it.
    """
    path = Path(folder) / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WellfitError("There is no diagnosis in this directory.", received=folder, expected=f"a directory with {FILE}",
                           action="wellfit diagnose DATA --out DIR") from None
    except (OSError, ValueError) as error:
        raise WellfitError(f"{FILE} cannot be read: {error}", received=path, expected="a JSON object",
                           action="run the same `wellfit diagnose` command again") from error
    if not isinstance(content, dict):
        raise WellfitError(f"{FILE} is not a JSON object.", received=type(content).__name__, expected="an object")
    version = as_number(content.get("format"))
    if version is not None and version > FORMAT:
        raise WellfitError("This diagnosis was written by a newer wellfit.", received=f"format {version:g}",
                           expected=f"format {FORMAT} or older", action="pip install --upgrade wellfit")
    return Diagnosis.of(content, Path(folder))


def percent(value: float | None) -> str:
    """A probability in whole percent, never rounded to nothing or certainty.

    >>> percent(0.9), percent(0.999), percent(0.001)
    ('90%', '>99%', '<1%')
    """
    if value is None:
        return DASH
    whole = 100 * min(1.0, max(0.0, value))
    return ">99%" if 99.5 <= whole < 100 else "<1%" if 0 < whole < 0.5 else f"{math.floor(whole + 0.5)}%"
