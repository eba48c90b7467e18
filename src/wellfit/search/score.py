"""Scores with their uncertainty: from per-row contributions, so that a bootstrap costs one matrix product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

HIGHER_IS_BETTER = {"balanced_accuracy": True, "accuracy": True, "r2": True, "log_loss": False, "rmse": False}
METRICS = {"binary": ("balanced_accuracy", "accuracy", "log_loss"), "multiclass": ("balanced_accuracy", "accuracy", "log_loss"),
           "regression": ("rmse", "r2")}
_TINY = 1e-15
_SCARCE = 8.0


def softmax(outputs: np.ndarray) -> np.ndarray:
    """Class probabilities of outputs (..., C)."""
    shifted = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def tempered_losses(probabilities: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(n,) log losses after the one temperature of a grid that makes their weighted mean smallest; ``weights`` sum to one."""
    logits = np.log(np.clip(probabilities.astype(np.float64), 1e-12, 1.0))
    best, least = np.full(len(y), np.inf), np.inf
    for temperature in (0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0, 9.0):
        scaled = logits / temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        losses = np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(y)), y]
        total = float(weights @ losses)
        if total < least:
            best, least = losses, total
    return best


@dataclass(frozen=True)
class Scorer:
    """Scores predictions of one set of rows.

    Predictions are class probabilities (n, C), or target values (n, 1) in the target's own unit. ``error`` is small when good:
    1 - accuracy, the log loss, the RMSE, or 1 - R². ``score`` is the metric as named. ``own`` says of a metric that is none of
    these whether higher is better; its predictions are each row's error, (n, 1).
    """

    metric: str
    y: np.ndarray
    classes: int = 0
    own: bool | None = None

    @property
    def higher_is_better(self) -> bool:
        return HIGHER_IS_BETTER[self.metric] if self.own is None else self.own

    @property
    def counts_rows(self) -> bool:
        """Whether a row is right or wrong to the metric, and nothing in between."""
        return self.own is None and self.metric in ("balanced_accuracy", "accuracy")

    def rows(self, predictions: np.ndarray) -> np.ndarray:
        """(n,): what each row contributes: wrongness, log loss or squared error."""
        if self.own is not None:
            return predictions[:, 0].astype(np.float64)
        if self.metric in ("rmse", "r2"):
            return (predictions[:, 0].astype(np.float64) - self.y) ** 2
        if self.metric == "log_loss":
            return -np.log(np.clip(predictions[np.arange(len(self.y)), self.y].astype(np.float64), _TINY, 1.0))
        return (predictions.argmax(axis=1) != self.y).astype(np.float64)

    def merit(self, predictions: np.ndarray) -> float:
        """What choices rank by, small when good: the error, steadied by the log loss where the metric counts rows.

        An accuracy on a few hundred rows is coarse: half the log loss is added, after one temperature has taken out over- and
        underconfidence (which cost no accuracy), and with the classes weighted as the metric weights them.
        """
        if not self.counts_rows:
            return self.error(self.rows(predictions))
        weights = self.merit_weights
        return float(weights @ self.merit_rows(predictions, weights))

    @property
    def merit_weights(self) -> np.ndarray:
        """(n,) weights of the rows in the merit, which sum to one."""
        weights = np.ones(len(self.y))
        if self.metric == "balanced_accuracy":
            # a class of two rows decides as much of the metric as one of two hundred, and is all noise: it weighs less here
            weights = 1.0 / (_SCARCE + np.bincount(self.y, minlength=self.classes)[self.y])
        return np.asarray(weights / weights.sum())

    def merit_rows(self, predictions: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """(n,) what each row adds to the merit of class probabilities, before its weight."""
        return self.rows(predictions) + 0.5 * tempered_losses(predictions, self.y, weights)

    def errors(self, rows: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
        """Errors of contributions (m, n), each under row weights ``counts`` (b, n): (b, m). One row of ones by default."""
        rows = np.atleast_2d(rows)
        counts = np.ones((1, len(self.y))) if counts is None else counts
        if self.metric == "balanced_accuracy":
            total = np.zeros((len(counts), len(rows)))
            seen = np.zeros((len(counts), 1))
            for c in range(self.classes):
                mine = self.y == c
                size = counts[:, mine].sum(axis=1, keepdims=True)
                total += np.where(size > 0, counts[:, mine] @ rows[:, mine].T / np.maximum(size, 1), 0.0)
                seen += size > 0
            return total / np.maximum(seen, 1)
        mean = counts @ rows.T / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        if self.metric == "rmse":
            return np.sqrt(mean)
        if self.metric == "r2":
            weight = counts / counts.sum(axis=1, keepdims=True)
            centre = weight @ self.y
            variance = weight @ (self.y**2) - centre**2
            return mean / np.maximum(variance, _TINY)[:, None]
        return mean

    def error(self, rows: np.ndarray) -> float:
        return float(self.errors(rows)[0, 0])

    def score(self, error: float) -> float:
        """The metric as named, from an error."""
        if self.own is not None:
            return -error if self.own else error
        return 1.0 - error if self.metric in ("balanced_accuracy", "accuracy", "r2") else error

    def possible(self, ends: tuple[float, float]) -> tuple[float, float]:
        """An interval of scores without the values that the metric cannot take."""
        low, high = ends
        if self.own is not None:
            return ends
        if self.metric in ("rmse", "log_loss"):
            return max(low, 0.0), high
        return (low if self.metric == "r2" else max(low, 0.0)), min(high, 1.0)

    def gain(self, error_before: float, error_after: float) -> float:
        """How much the metric improves; positive is better whatever its direction."""
        return error_before - error_after

    def resamples(self, count: int = 1000, seed: int = 0) -> np.ndarray:
        """(count, n) bootstrap weights, drawn within each class, so that no class vanishes."""
        rng = np.random.default_rng(seed)
        n = len(self.y)
        out = np.zeros((count, n), dtype=np.float32)
        strata = [np.flatnonzero(self.y == c) for c in range(self.classes)] if self.classes else [np.arange(n)]
        for rows in strata:
            if len(rows):
                out[:, rows] = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=count)
        return out


def interval(center: float, spread: Sequence[float] | np.ndarray, extra_variance: float = 0.0) -> tuple[float, float]:
    """95% interval around ``center`` with the spread of bootstrap values, widened by another source of variance."""
    half = 1.96 * float(np.sqrt(np.var(np.asarray(spread)) + extra_variance))
    return center - half, center + half


def standard_error(scorer: Scorer, rows: np.ndarray, resamples: np.ndarray) -> float:
    """Bootstrap standard error of the error of one set of contributions."""
    return float(scorer.errors(rows, resamples)[:, 0].std())
