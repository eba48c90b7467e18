"""The scores of a summary, read once and compared one way: an improvement is positive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wellfit.report.artefacts import as_interval, as_map, as_number, as_text
from wellfit.report.numbers import Metric


@dataclass(frozen=True)
class Score:
    """One method's scores; ``ends`` is the 95% interval of the test score."""

    test: float | None
    ends: tuple[float, float] | None = None
    validation: float | None = None
    train: float | None = None

    @classmethod
    def read(cls, part: object) -> Score:
        """From a mapping, or from a bare number taken as the test score."""
        if isinstance(part, Mapping):
            given = as_map(part)
            return cls(as_number(given.get("test")), as_interval(given.get("ci")),
                       as_number(given.get("validation")), as_number(given.get("train")))
        return cls(as_number(part))


@dataclass(frozen=True)
class Gain:
    """An improvement over no regularization, with its 95% interval."""

    value: float | None
    ends: tuple[float, float] | None = None

    @property
    def settled(self) -> int:
        """1 when the whole interval is above zero, −1 when it is below, 0 when it reaches zero or is unknown."""
        if self.ends is None:
            return 0
        return 1 if self.ends[0] > 0 else -1 if self.ends[1] < 0 else 0

    @classmethod
    def read(cls, part: object, score: Score, base: Score, metric: Metric) -> Gain:
        """The stated gain, or else the difference of the two test scores."""
        given = as_map(part)
        value = as_number(given.get("test"))
        if value is None and score.test is not None and base.test is not None:
            value = metric.better(score.test, base.test)
        return cls(value, as_interval(given.get("ci")))


@dataclass(frozen=True)
class Scores:
    """The scores that most sections need."""

    metric: Metric
    unregularized: Score
    best: Score
    gain: Gain
    singles: dict[str, tuple[Score, Gain]]

    @classmethod
    def read(cls, summary: Mapping[str, Any], metric: Metric) -> Scores:
        """From a summary."""
        base, best = Score.read(summary.get("unregularized")), Score.read(summary.get("best"))
        singles = {}
        for name, part in as_map(summary.get("singles")).items():
            score = Score.read(part)
            singles[name] = (score, Gain.read(as_map(part).get("gain"), score, base, metric))
        return cls(metric, base, best, Gain.read(summary.get("gain"), best, base, metric), singles)

    def contradiction(self, summary: Mapping[str, Any]) -> str:
        """A sentence when the stated gain and the two scores point in opposite directions; empty otherwise."""
        stated = as_number(as_map(summary.get("gain")).get("test"))
        if stated is None or self.best.test is None or self.unregularized.test is None:
            return ""
        actual = self.metric.better(self.best.test, self.unregularized.test)
        if stated * actual >= 0:
            return ""
        return (f"summary.json states a gain of {self.metric.gain(stated)}, but its two test scores differ by "
                f"{self.metric.gain(actual)} (positive is better). Trust the scores.")


def network_words(summary: Mapping[str, Any]) -> str:
    """The network in a few words: ``256-256, relu, 12,345 parameters``."""
    network = as_map(summary.get("network"))
    hidden = network.get("hidden")
    sizes = "-".join(str(h) for h in hidden) if isinstance(hidden, list) and hidden else ""
    size = as_number(network.get("parameters"))
    return ", ".join(w for w in (sizes, as_text(network.get("activation")),
                                 f"{round(size):,} parameters" if size is not None else "") if w)
