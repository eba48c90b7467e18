"""Numbers as people read them: scores, gains, counts and times, with a true minus sign."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wellfit.report.artefacts import as_map, as_number

MINUS = "\u2212"
DASH = "\u2013"  # stands for "no value"
SHARES = ("accuracy", "balanced_accuracy")

NAMES = {"balanced_accuracy": "balanced accuracy", "accuracy": "accuracy", "log_loss": "log loss",
         "rmse": "root mean squared error", "r2": "R²"}
SHORT = {"balanced_accuracy": "balanced accuracy", "rmse": "RMSE"}


def signed(text: str, value: float) -> str:
    """The text of an absolute value with its sign in front; what is printed as zero has none."""
    if not any(c in "123456789" for c in text):
        return text
    return (MINUS if value < 0 else "+") + text


def significant(value: float, digits: int = 4) -> str:
    """A number with so many significant digits and no exponent where a person would use none."""
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if -4 <= size < 7:
        decimals = max(0, digits - 1 - size)
        return f"{value:,.{min(decimals, 8)}f}".replace("-", MINUS)
    mantissa, exponent = f"{value:.{max(1, digits - 2)}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(exponent)}".replace("-", MINUS)


def plain(value: object, digits: int = 4) -> str:
    """Any hyperparameter or table value: numbers short, the rest as text."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: DASH}[value]
    number = as_number(value)
    if number is None:
        return str(value)
    if number == int(number) and abs(number) < 1e7:
        return f"{int(number):,}".replace("-", MINUS)
    text = significant(number, digits)
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def count(value: object) -> str:
    """A whole number with thousands separated by commas."""
    number = as_number(value)
    return DASH if number is None else f"{round(number):,}".replace("-", MINUS)


def share(part: float, whole: float) -> str:
    """A percentage of a whole; tiny and nearly full shares are not rounded to nothing or everything."""
    if whole <= 0:
        return DASH
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "<0.1%"
    if 99.9 < percent < 100:
        return ">99.9%"
    return f"{percent:.1f}%".replace(".0%", "%")


def seconds(value: object) -> str:
    """A duration such as ``4.2 s``, ``3 min 20 s`` or ``2 h 5 min``."""
    number = as_number(value)
    if number is None:
        return DASH
    if number < 60:
        return f"{number:.1f} s"
    minutes, rest = divmod(round(number), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


@dataclass(frozen=True)
class Metric:
    """How a metric is named, written and compared.

    Differences (gains, effects) are improvements: positive is better, whatever the metric's direction.
    """

    key: str
    higher_is_better: bool = True
    decimals: int | None = None
    """Decimals of scores and differences; None gives each number its own significant digits."""

    @property
    def is_share(self) -> bool:
        """Whether the metric is a share of rows, shown in percent, its differences in points."""
        return self.key in SHARES

    @property
    def name(self) -> str:
        """The name in running text."""
        return NAMES.get(self.key, self.key.replace("_", " "))

    @property
    def short(self) -> str:
        """The name where space is scarce."""
        return SHORT.get(self.key, self.name)

    @property
    def direction(self) -> str:
        """A few words on which way is better."""
        return "higher is better" if self.higher_is_better else "lower is better"

    @property
    def tick(self) -> str:
        """The d3 format of a score's axis."""
        return ".1~%" if self.is_share else ".4~g"

    @property
    def precise(self) -> str:
        """The d3 format of a score in a tooltip."""
        return ".1%" if self.is_share else ".4~g" if self.decimals is None else f",.{self.decimals}f"

    @property
    def tick_gain(self) -> str:
        """The d3 format of a difference's axis; shares are plotted in points."""
        return "+.2~f" if self.is_share else "+.3~g"

    def score(self, value: object) -> str:
        """A score: percent with one decimal, or as many decimals as the run's scale asks for."""
        number = as_number(value)
        if number is None:
            return DASH
        if self.is_share:
            return f"{100 * number:.1f}%".replace("-", MINUS)
        if self.decimals is not None:
            return f"{number:,.{self.decimals}f}".replace("-", MINUS)
        return significant(number)

    def gain(self, value: object, unit: bool = True) -> str:
        """An improvement with its sign: ``+4.1 points``, or with the decimals of a score."""
        number = as_number(value)
        if number is None:
            return DASH
        if self.is_share:
            text = signed(f"{abs(100 * number):.1f}", number)
            return text + ("\u00a0points" if unit else "")
        if self.decimals is not None:
            return signed(f"{abs(number):,.{self.decimals}f}", number)
        return signed(significant(abs(number), 3), number)

    def size(self, value: float) -> str:
        """The size of a difference without its sign, for words such as "costs 1.2 points"."""
        return self.gain(abs(value)).lstrip("+")

    def plotted(self, value: float | None) -> float | None:
        """A difference as it is plotted: points for shares."""
        return None if value is None else 100 * value if self.is_share else value

    def interval(self, ends: tuple[float, float] | None) -> str:
        """An interval of scores, ``81.0% to 87.4%``."""
        return DASH if ends is None else f"{self.score(ends[0])} to {self.score(ends[1])}"

    def gain_interval(self, ends: tuple[float, float] | None, unit: bool = True) -> str:
        """An interval of improvements, ``+1.9 to +6.3 points``."""
        return DASH if ends is None else f"{self.gain(ends[0], unit=False)} to {self.gain(ends[1], unit=unit)}"

    def better(self, value: float, than: float) -> float:
        """By how much a score is better than another; negative when it is worse."""
        return (value - than) if self.higher_is_better else (than - value)


def decimals_of(value: float | None) -> int | None:
    """Decimals that give a score of this size four significant digits; None for a size far from 1."""
    if value is None or value == 0:
        return None
    size = math.floor(math.log10(abs(value)))
    return max(0, 3 - size) if -3 <= size < 7 else None


def metric_of(summary: Mapping[str, Any]) -> Metric:
    """The metric a summary is about, its direction taken from the summary or else from the metric itself."""
    key = str(summary.get("metric") or "score")
    given = summary.get("higher_is_better")
    higher = given if isinstance(given, bool) else key not in ("log_loss", "rmse", "mse", "mae")
    scores = (as_number(as_map(summary.get(part)).get("test")) for part in ("unregularized", "best"))
    decimals = 3 if key == "r2" else decimals_of(next((s for s in scores if s), None))
    return Metric(key, higher, decimals)
