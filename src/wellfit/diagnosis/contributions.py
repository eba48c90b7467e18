"""What each row contributes to the error and to the merit of a set of predictions, and differences of them with intervals.

The *merit* is what choices rank by: for classes the error rate plus half the log loss after the best temperature, with classes
weighted as the metric weights them; for numbers the squared error in units of the target's variance. It is a mean over rows, so
that a difference of two set-ups has a paired bootstrap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wellfit.search.score import Scorer
from wellfit.search.subject import Prepared

_RESAMPLES = 400


@dataclass(frozen=True)
class Gain:
    """By which share of its own merit the first set-up is worse than the second; positive: the second is better.

    Attributes:
        value, low, high: relative difference with its 95% interval.
        error: 1.96 of these make the half width.
    """

    value: float
    low: float
    high: float

    @property
    def error(self) -> float:
        return (self.high - self.low) / (2 * 1.96)

    @property
    def sure(self) -> bool:
        return self.low > 0

    def to_mapping(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Contributions:
    """Judges predictions of one set of rows.

    Attributes:
        rows: row numbers.
        scorer: of these rows.
        weights: (n,) of each row in the merit; they sum to one.
        resamples: (b, n) bootstrap counts.
    """

    rows: np.ndarray
    scorer: Scorer
    weights: np.ndarray
    resamples: np.ndarray
    variance: float

    @classmethod
    def of(cls, prepared: Prepared, rows: np.ndarray) -> Contributions:
        scorer = prepared.scorer(rows)
        variance = float(np.var(scorer.y)) if scorer.classes == 0 and scorer.own is None else 1.0
        return cls(rows, scorer, scorer.merit_weights, scorer.resamples(_RESAMPLES), variance or 1.0)

    # ---- of one set of predictions

    def merits(self, predictions: np.ndarray) -> np.ndarray:
        """(n,): what each row adds to the merit. Rows without a prediction (nan) stay nan."""
        if self.scorer.own is not None:
            return predictions[:, 0].astype(np.float64)
        if self.scorer.classes == 0:
            return (predictions[:, 0].astype(np.float64) - self.scorer.y) ** 2 / self.variance
        known = np.isfinite(predictions).all(axis=1)
        part = self if known.all() else self.only(known)
        out = np.full(len(predictions), np.nan)
        if known.any():
            out[known] = part.scorer.merit_rows(predictions[known], part.weights)
        return out

    def merit(self, predictions: np.ndarray) -> float:
        """Mean of the merit over seeds, (S, n, C)."""
        return float(np.mean([self._mean(self.merits(p)) for p in predictions]))

    def error(self, predictions: np.ndarray) -> float:
        """The metric's error, mean over seeds."""
        out = []
        for one in predictions:
            known = np.isfinite(one).all(axis=1)
            part = self if known.all() else self.only(known)
            out.append(part.scorer.error(part.scorer.rows(one[known])))
        return float(np.mean(out))

    def only(self, known: np.ndarray) -> Contributions:
        """The same for some of the rows."""
        weights = self.weights[known]
        scorer = Scorer(self.scorer.metric, self.scorer.y[known], self.scorer.classes, self.scorer.own)
        return Contributions(self.rows[known], scorer, weights / weights.sum(), self.resamples[:, known], self.variance)

    def _mean(self, merits: np.ndarray) -> float:
        known = np.isfinite(merits)
        return float(self.weights[known] @ merits[known] / self.weights[known].sum()) if known.any() else np.inf

    # ---- of two

    def gain(self, before: np.ndarray, after: np.ndarray, noise: float = 0.0) -> Gain:
        """How much better ``after`` is than ``before``, each (S, n, C), as a share of the merit of ``before``.

        Rows are drawn for both at once; seeds add the variance of their means. ``noise`` is the standard deviation of the merit
        over seeds, used where there is but one.
        """
        if not np.isfinite(after).all():
            return Gain(-np.inf, -np.inf, -np.inf)
        first, second = ([self.merits(p) for p in some] for some in (before, after))
        return self.gain_of(first, second, noise)

    def gain_of(self, first: Sequence[np.ndarray], second: Sequence[np.ndarray], noise: float = 0.0) -> Gain:
        """The same from contributions of rows, one array a seed."""
        a, b = np.mean(first, axis=0), np.mean(second, axis=0)
        base = float(self.weights @ a)
        if not np.isfinite(base) or base <= 0:
            return Gain(np.inf, np.inf, np.inf) if not np.isfinite(base) else Gain(0.0, 0.0, 0.0)
        counts = self.resamples * self.weights
        draws = (counts @ (a - b)) / counts.sum(axis=1)
        spread = np.var(draws) + self._of_seeds(first, noise) + self._of_seeds(second, noise)
        value = float(self.weights @ (a - b)) / base
        half = 1.96 * float(np.sqrt(spread)) / base
        return Gain(value, value - half, value + half)

    def _of_seeds(self, rows: Sequence[np.ndarray], noise: float) -> float:
        if len(rows) < 3:
            return noise**2 / len(rows)
        return float(np.var([self.weights @ r for r in rows], ddof=1)) / len(rows)

    def seed_noise(self, predictions: np.ndarray) -> float:
        """Standard deviation of the merit over seeds."""
        merits = [self._mean(self.merits(p)) for p in predictions]
        return float(np.std(merits, ddof=1)) if len(merits) > 1 else 0.0
