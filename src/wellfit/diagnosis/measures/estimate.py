"""A measured number with its 95% interval, and the resampling of rows that intervals are made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from wellfit.core.errors import WellfitError

LEVEL = 0.95
_CELLS = 8_000_000

Statistic = Callable[[np.ndarray, np.ndarray | None], np.ndarray]
"""Contributions (m, n) and row counts (b, n), or None for one row of ones, to values (b, m): as ``Scorer.errors``."""


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval.

    >>> print(Estimate(0.25, 0.2, 0.3, 0.025))
    0.25 (0.2 to 0.3)
    """

    value: float
    low: float
    high: float
    standard_error: float = math.nan

    def excludes(self, number: float = 0.0) -> bool:
        """Whether the interval leaves a number out: False also when an end is not known."""
        return bool(self.low > number or self.high < number)

    def to_dict(self) -> dict[str, float]:
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g})"


def around(value: float, variance: float, freedom: float = math.inf) -> Estimate:
    """value ± t·√variance with Student's t for ``freedom`` degrees of freedom.

    >>> print(around(1.0, 0.01), around(1.0, 0.01, 4))
    1 (0.804 to 1.2) 1 (0.722 to 1.28)
    """
    from scipy.special import ndtri, stdtrit

    tail = (1 + LEVEL) / 2
    factor = float(ndtri(tail) if not math.isfinite(freedom) else stdtrit(max(freedom, 1.0), tail))
    error = math.sqrt(max(variance, 0.0))
    return Estimate(float(value), float(value - factor * error), float(value + factor * error), error)


def of_draws(value: float, draws: np.ndarray) -> Estimate:
    """The central 95% of bootstrap or posterior draws, around a value."""
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(value), float(low), float(high), float(np.std(draws)))


def wilson(count: Any, n: Any, z: float = 1.959964) -> tuple[Any, Any]:
    """The interval of shares count / n, at ``z`` standard deviations (Wilson 1927); from 0 to 1 where n is 0. Numbers or arrays.

    >>> tuple(round(float(v), 3) for v in wilson(0, 100))
    (0.0, 0.037)
    """
    n = np.asarray(n, dtype=np.float64)
    size = np.maximum(n, 1e-12)
    share = np.asarray(count, dtype=np.float64) / size
    centre = (share + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z / (1 + z**2 / size) * np.sqrt(np.maximum(share * (1 - share), 0) / size + z**2 / (4 * size**2))
    return np.where(n > 0, np.maximum(centre - half, 0.0), 0.0)[()], np.where(n > 0, np.minimum(centre + half, 1.0), 1.0)[()]


def means(rows: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Means of contributions (m, n) under counts (b, n): (b, m). The plain statistic.

    >>> means(np.array([[1.0, 3.0]]), np.array([[1, 1], [2, 0]])).tolist()
    [[2.0], [1.0]]
    """
    if counts is None:
        return rows.mean(axis=1)[None]
    return counts @ rows.T / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def resample(n: int, draws: int, rng: np.random.Generator, *, strata: np.ndarray | None = None,
             groups: np.ndarray | None = None) -> np.ndarray:
    """(draws, n) bootstrap counts of rows.

    Args:
        strata: (n,) labels; rows are drawn within each, so that no class vanishes.
        groups: (n,) labels; whole groups are drawn (rows of a person, a mouse), and ``strata`` are left out of account.
    """
    if groups is not None:
        kinds, index = np.unique(groups, return_inverse=True)
        return _counts(len(kinds), draws, rng)[:, index.reshape(-1)]
    if strata is None:
        return _counts(n, draws, rng)
    out = np.zeros((draws, n))
    for label in np.unique(strata):
        mine = np.flatnonzero(strata == label)
        out[:, mine] = _counts(len(mine), draws, rng)
    return out


def _counts(n: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    drawn = rng.integers(0, n, (draws, n)) + n * np.arange(draws)[:, None]
    return np.bincount(drawn.reshape(-1), minlength=draws * n).reshape(draws, n).astype(np.float64)


def affordable(draws: int, n: int) -> int:
    """At most ``draws``; fewer for many rows, where the spread of a mean is known all the better."""
    return int(np.clip(_CELLS // max(n, 1), 200, draws))


def seeds_by_rows(values: np.ndarray, name: str) -> np.ndarray:
    """Contributions as (S, n): (n,) is one seed; (S, F, n) with nan where a fold has nothing to say of a row is averaged over
    the folds."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 1:
        values = values[None]
    if values.ndim == 3:
        known = ~np.isnan(values)
        total = np.where(known, values, 0.0).sum(axis=1)
        seen = known.sum(axis=1)
        if (seen == 0).any():
            raise WellfitError(f"Some rows of {name} have no value in any fold.", received=f"{int((seen == 0).sum())} such rows",
                               expected="one at least for every row and seed", action="leave these rows out")
        values = total / seen
    if values.ndim != 2 or values.shape[1] < 2:
        raise WellfitError(f"{name} has the wrong shape.", received=values.shape, expected="(rows,), (seeds, rows) or "
                           "(seeds, folds, rows), with two rows at least")
    if not np.isfinite(values).all():
        raise WellfitError(f"{name} holds values that are no numbers.", received=f"{int((~np.isfinite(values)).sum())} of them",
                           expected="finite contributions", action="was training broken? Say so before comparing losses")
    return values
