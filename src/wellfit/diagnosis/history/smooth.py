"""Robust smoothing of a training curve, and the interval of where it was best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

POINTS = 240
"""More points than this are averaged in groups first: a verdict has no use for them."""

_REWEIGHTED, _TUKEY = 2, 4.685
_DRAWS = 400


def thinned(epochs: np.ndarray, values: np.ndarray, most: int = POINTS) -> tuple[np.ndarray, np.ndarray]:
    """At most ``most`` points: means over groups of neighbours, the last group whole.

    >>> thinned(np.arange(6.0), np.arange(6.0), 3)[1].tolist()
    [0.5, 2.5, 4.5]
    """
    if len(values) <= most:
        return epochs, values
    edges = np.linspace(0, len(values), most + 1).round().astype(int)[:-1]
    sizes = np.diff([*edges, len(values)])
    return np.add.reduceat(epochs, edges) / sizes, np.add.reduceat(values, edges) / sizes


def bandwidth(count: int) -> np.ndarray:
    """(n,) half-widths in points: a curve falls fast at first and slowly later, so late epochs are averaged over more of them."""
    return np.clip(0.09 * np.arange(1, count + 1), 0.6, max(0.6, count / 12))


def smoother(count: int, weights: np.ndarray | None = None) -> np.ndarray:
    """(n, n) matrix L of local linear regression, ``smooth = L @ values``, tricube weights with :func:`bandwidth`.

    Source: Cleveland, Robust locally weighted regression and smoothing scatterplots, JASA 1979.
    """
    at = np.arange(count, dtype=float)
    distance = at[None, :] - at[:, None]
    reach = 2.5 * bandwidth(count)[:, None] + 1e-9
    kernel = np.clip(1 - (np.abs(distance) / reach) ** 3, 0, None) ** 3
    if weights is not None:
        kernel = kernel * np.maximum(weights, 1e-3)[None, :]
    s0, s1, s2 = kernel.sum(1), (kernel * distance).sum(1), (kernel * distance**2).sum(1)
    determinant = s0 * s2 - s1**2
    flat = determinant <= 1e-9 * s0 * np.maximum(s2, 1e-12)
    line = kernel * (s2[:, None] - s1[:, None] * distance) / np.where(flat, 1.0, determinant)[:, None]
    return np.where(flat[:, None], kernel / s0[:, None], line)


@dataclass(frozen=True)
class Smooth:
    """A curve without its noise.

    Attributes:
        values: (n,) the smooth curve.
        residuals: (n,) what was taken away.
        matrix: (n, n) the linear smoother with its final robustness weights.
    """

    values: np.ndarray
    residuals: np.ndarray
    matrix: np.ndarray

    @property
    def noise(self) -> float:
        """Standard deviation of one epoch's value about the curve, 1.4826 · MAD corrected for what the fit absorbed."""
        lost = np.trace(self.matrix) / max(1, len(self.values))
        spread = 1.4826 * float(np.median(np.abs(self.residuals)))
        return spread / np.sqrt(max(0.15, 1 - lost))

    def draws(self, generator: np.random.Generator, count: int = _DRAWS) -> np.ndarray:
        """(count, n) curves that could have been seen as well: residuals in blocks of three, moved and smoothed again.

        Each residual is divided by sqrt(1 - its leverage) twice, which undoes what the smoother absorbed, with room for its bias.
        """
        n, block = len(self.values), 3
        full = self.residuals / np.maximum(0.3, 1 - np.diag(self.matrix))
        starts = generator.integers(0, n, (count, -(-n // block)))
        index = (starts[:, :, None] + np.arange(block)).reshape(count, -1)[:, :n] % n
        drawn = full[index]
        return self.values[None, :] + drawn @ self.matrix.T


def smooth(values: np.ndarray) -> Smooth:
    """Smooth a curve; single spikes lose their say through Tukey's biweight.

    Args:
        values: (n,) finite numbers, n >= 1.
    """
    matrix = smoother(len(values))
    fitted = matrix @ values
    if len(values) >= 6:
        for _ in range(_REWEIGHTED):
            residuals = values - fitted
            scale = 1.4826 * float(np.median(np.abs(residuals))) or 1e-12
            weights = np.clip(1 - (residuals / (_TUKEY * 1.5 * scale)) ** 2, 0, None) ** 2
            matrix = smoother(len(values), weights)
            fitted = matrix @ values
    return Smooth(fitted, values - fitted, matrix)


@dataclass(frozen=True)
class Minimum:
    """Where a smooth curve is lowest: index, its 95% interval, and by how much the last value is above it, with its interval."""

    index: int
    low: int
    high: int
    rise: float
    rise_low: float
    rise_high: float


def minimum(curve: Smooth, seed: int = 0) -> Minimum:
    """The minimum with intervals by bootstrap. The first index of equal values counts.

    The interval of the place holds every index whose value cannot be told from the lowest one: in more than 2.5% of the drawn
    curves it is no higher than at the minimum; three quarters of the smoother's half-width are added, because it rounds corners.
    The rise is measured in drawn curves from the minimum of the seen one to the end. Its interval reaches further down by what
    choosing the lowest of many noisy values makes of nothing: the mean rise of drawn curves from their own minimum, less the seen.
    """
    best = int(np.argmin(curve.values))
    draws = curve.draws(np.random.default_rng(seed))
    alike = np.flatnonzero((draws <= draws[:, best:best + 1]).mean(axis=0) > 0.025)
    rise = float(curve.values[-1] - curve.values[best])
    rise_low, rise_high = np.quantile(draws[:, -1] - draws[:, best], [0.025, 0.975])
    flattered = max(0.0, float((draws[:, -1] - draws.min(axis=1)).mean()) - rise)
    blur = round(0.75 * float(bandwidth(len(curve.values))[best]))
    return Minimum(best, max(0, int(alike.min()) - blur), min(len(curve.values) - 1, int(alike.max()) + blur), rise,
                   float(rise_low) - flattered, float(rise_high))
