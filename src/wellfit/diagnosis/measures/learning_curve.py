"""Error against training size: a power law with a floor, and what more data would bring, with an interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wellfit.core.errors import WellfitError
from wellfit.diagnosis.measures.estimate import Estimate, of_draws

_FLOORS = np.linspace(0.0, 1.0, 17)
_EXPONENTS = np.geomspace(0.05, 2.5, 20)
_SCALES = np.geomspace(0.35, 4.0, 8)
_BENDS = np.array([0.0, 0.05, 0.12, 0.3])


@dataclass(frozen=True)
class Prior:
    """What is assumed before a curve is seen, chosen by leaving data sets out (``benchmarks/forecast.py``).

    Attributes:
        exponent, spread: middle and sd of log c: errors of networks fall as n^-0.1 to n^-1 (Hestness et al. 2017).
        misfit: relative sd by which a measured mean leaves the curve, whatever replicates say: no power law is exact.
        shared: share of a replicate's variance that does not average out: replicates are drawn from the same rows.
        steadiness: sd of the log of the factor by which all this may be wrong.
        beyond: how much larger the misfit is beyond the measured sizes.
        bent: probability that the fall quickens with size (q > 0).
        floorless: probability that no floor can be seen yet (f = 0); else f is as likely at any value to 1.
        scatter, sureness: relative scatter of replicates before any is seen, and how many degrees of freedom that counts as.
    """

    exponent: float = 0.4
    spread: float = 0.9
    misfit: float = 0.02
    shared: float = 0.3
    steadiness: float = 0.4
    beyond: float = 1.5
    bent: float = 0.4
    floorless: float = 0.3
    scatter: float = 0.05
    sureness: float = 2.0


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """A fitted curve e(n) = a + b·n^(-c), and bent ones beside it, as draws of what it may be.

    Attributes:
        sizes: (K,) training rows, rising.
        errors: (K,) mean error at each.
        floor, exponent: a and c. Both are poorly known from few sizes: forecasts average over them.
        error: forecast of the error that will be measured with twice the rows.
        gain: what will be measured as e(n) - e(2n), n being the largest size.
        expected_gain: the same for the curve alone, without the noise of the two measurements; never below zero, as no curve here
            rises. Where its low end is 5% of e(n) or more, twice the data is worth having.
        share: gain / e(n).
    """

    sizes: np.ndarray
    errors: np.ndarray
    floor: Estimate
    exponent: Estimate
    error: Estimate
    gain: Estimate
    expected_gain: Estimate
    share: Estimate
    _draws: tuple[np.ndarray, ...]

    def forecast(self, n: float) -> Estimate:
        """The error that will be measured with ``n`` rows."""
        values = _measured(n / self.sizes[-1], *self._draws)
        return of_draws(float(np.median(values)), values)

    def curve(self, n: Sequence[float] | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Middle, low and high end (95%) of the curve itself at the sizes ``n``, for a chart."""
        level, *shape, _ = self._draws
        ratio = np.asarray(n, dtype=np.float64)[:, None] / self.sizes[-1]
        low, middle, high = np.quantile(level * _shape(ratio, *shape), [0.025, 0.5, 0.975], axis=1)
        return middle, low, high

    def doubling(self, n: float) -> tuple[Estimate, Estimate]:
        """From ``n`` rows to twice as many: share of the error found gone when measured, and what the curve itself falls by.

        >>> n = np.array([100, 200, 400])
        >>> found = learning_curve(n, (n ** -0.5)[:, None])
        >>> share, fall = found.doubling(400)
        >>> round(share.value - found.share.value, 2), fall.value == found.expected_gain.value
        (0.0, True)
        """
        level, floor, exponent, bend, noise = self._draws
        ratio = n / self.sizes[-1]
        here = level * _shape(ratio, floor, exponent, bend)
        share = 1 - _measured(2 * ratio, level, floor, exponent, bend, noise) / here
        fall = here - level * _shape(2 * ratio, floor, exponent, bend)
        return of_draws(float(np.median(share)), share), of_draws(float(np.median(fall)), fall)

    def to_dict(self) -> dict[str, Any]:
        return {"sizes": self.sizes.tolist(), "errors": self.errors.tolist(),
                **{n: getattr(self, n).to_dict() for n in ("floor", "exponent", "error", "gain", "expected_gain", "share")}}



def learning_curve(sizes: Sequence[int] | np.ndarray, errors: np.ndarray, *, resolution: float = 0.0, draws: int = 4000,
                   seed: int = 0, prior: Prior = Prior()) -> LearningCurve:
    """Fit e(n) = a + b·n^(-c) and forecast the error and the gain of twice the data.

    Written as e(n) = e(N)·[f + (1 - f)·2^(-c·x - q·x²)] with x = log₂(n / N) for the largest size N: f is the share of today's
    error that no data remove. q = 0 is the power law; a small q > 0 lets the fall quicken, as where a network learns nothing from
    the fewest rows. Every (f, c, q) of a grid is weighed by its likelihood, the level e(N) integrated out, under noise whose
    variance at size k is τ²·ē_k²·[ρ²·(1/R + s) + m²]: ρ is the relative scatter of replicates, s the part of it
    that they share, m the misfit of any such curve, and τ (a few values, weighed too) how far these may be wrong.
    Forecasts average over all, so that the interval knows that four points do not settle an exponent; to it belongs the noise of
    the measurement at 2N. Networks of all sizes have to be trained in one way (the same number of steps, say).

    Args:
        sizes: (K,) numbers of training rows, three at least; a factor of two between them is good.
        errors: (K, R) error of each replicate (a draw of rows, a fold, a seed), small when good and never below zero; nan where
            there is none. A column that is one fold or one draw throughout lets its own hardness be taken out.
        resolution: least error that can be told from zero, such as 1 / (2 · judged rows); keeps errors of exactly zero from
            looking certain.

    Raises WellfitError for fewer than three sizes.
    Source: power laws with a floor: Hestness et al. 2017, Viering and Loog 2022 ("The shape of learning curves", with how such fits
    mislead when only the best one is kept).

    >>> n = np.array([100, 200, 400, 800])
    >>> exact = 0.1 + 2 * n ** -0.5
    >>> found = learning_curve(n, exact[:, None] + np.array([-0.002, 0.0, 0.002]))
    >>> abs(found.error.value - (0.1 + 2 * 1600 ** -0.5)) < 0.01 and found.gain.excludes(0)
    True
    """
    n, y, count, rho = _summary(sizes, errors, resolution, prior)
    level, floor, exponent, bend, scale = _posterior(n, y, count, rho, prior, draws, np.random.default_rng(seed))
    rng = np.random.default_rng(seed + 1)
    averaging = 1 / max(float(np.median(count)), 1.0) + prior.shared
    noise = level * scale * np.sqrt(rho**2 * averaging + (prior.misfit * prior.beyond) ** 2) * rng.standard_normal(draws)
    ahead = _measured(2.0, level, floor, exponent, bend, noise)
    expected = level * (1 - _shape(2.0, floor, exponent, bend))
    measured = y[-1] - ahead
    return LearningCurve(
        n, y, of_draws(float(np.median(level * floor)), level * floor), of_draws(float(np.median(exponent)), exponent),
        of_draws(float(np.median(ahead)), ahead), of_draws(float(np.median(measured)), measured),
        of_draws(float(np.median(expected)), expected),
        of_draws(float(np.median(measured)) / y[-1], measured / y[-1]), (level, floor, exponent, bend, noise))


def _summary(sizes: Sequence[int] | np.ndarray, errors: np.ndarray, resolution: float, prior: Prior
             ) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Sizes, mean errors, numbers of replicates, relative sd of one replicate."""
    n, e = np.asarray(sizes, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    e = e[:, None] if e.ndim == 1 else e
    if n.ndim != 1 or e.shape[:1] != n.shape or len(n) < 3 or (n <= 0).any() or len(np.unique(n)) < len(n):
        raise WellfitError("A learning curve cannot be fitted to this.", received=f"sizes {n.tolist()}, errors {e.shape}",
                           expected="three sizes or more, each once, with one row of errors each")
    known = np.isfinite(e)
    if not known.any(axis=1).all() or (e[known] < 0).any():
        raise WellfitError("Errors of a learning curve are numbers from 0 up.", received=e.tolist(),
                           expected="one finite error at least for each size", action="turn scores into errors first")
    order = np.argsort(n)
    n, e, known = n[order], e[order], known[order]
    count = known.sum(axis=1)
    y = np.maximum(np.where(known, e, 0).sum(axis=1) / count, max(resolution, 1e-12))
    relative = np.where(known, (e - (np.where(known, e, 0).sum(axis=1) / count)[:, None]) / y[:, None], 0.0)
    freedom = float((count - 1).sum())
    if freedom < 1:
        return n, y, count, prior.scatter
    variance = float((relative**2).sum()) / freedom
    rows, columns = e.shape
    if known.all() and columns > 1 and rows > 1:  # a fold that is hard at every size is no noise
        own = relative - relative.mean(axis=0)
        variance = min(variance, float((own**2).sum()) / ((rows - 1) * (columns - 1)))
    # two runs that happen to agree are no proof: as if ``sureness`` more deviations of the usual size had been seen
    variance = (freedom * variance + prior.sureness * prior.scatter**2) / (freedom + prior.sureness)
    return n, y, count, float(np.sqrt(variance + (resolution / y[-1]) ** 2))


def _shape(ratio: np.ndarray | float, floor: np.ndarray, exponent: np.ndarray, bend: np.ndarray) -> np.ndarray:
    """e(n) / e(N) at n / N."""
    log = np.log2(ratio)
    return floor + (1 - floor) * np.exp2(-exponent * log - bend * log**2)  # type: ignore[no-any-return]


def _measured(ratio: float, level: np.ndarray, floor: np.ndarray, exponent: np.ndarray, bend: np.ndarray, noise: np.ndarray
              ) -> np.ndarray:
    """What will be measured at a multiple of the largest size: the curve, and noise in proportion to it."""
    shape = _shape(ratio, floor, exponent, bend)
    return np.maximum(level * shape + noise * shape, 0.0)


def _posterior(n: np.ndarray, y: np.ndarray, count: np.ndarray, rho: float, prior: Prior, draws: int, rng: np.random.Generator
               ) -> tuple[np.ndarray, ...]:
    """Draws of e(N), f, c, q and τ."""
    f, c, q, tau = (v.reshape(-1) for v in np.meshgrid(_FLOORS, _EXPONENTS, _BENDS, _SCALES, indexing="ij"))
    shape = _shape(n / n[-1], f[:, None], c[:, None], q[:, None])
    sd = tau[:, None] * y * np.sqrt(rho**2 * (1 / count + prior.shared) + prior.misfit**2)
    weight = sd**-2
    precision = (weight * shape**2).sum(axis=1)
    middle = (weight * shape * y).sum(axis=1) / precision
    residual = (weight * (y - middle[:, None] * shape) ** 2).sum(axis=1)
    # n^-c seen in log space: a level is as likely at any scale, hence the division by the middle
    log = (-0.5 * residual - np.log(sd).sum(axis=1) - 0.5 * np.log(precision) - np.log(middle)
           - 0.5 * (np.log(c / prior.exponent) / prior.spread) ** 2 - 0.5 * (np.log(tau) / prior.steadiness) ** 2
           + np.log(np.where(f == 0, prior.floorless, (1 - prior.floorless) / (len(_FLOORS) - 1)) + 1e-300)
           + np.log(np.where(q == 0, 1 - prior.bent, prior.bent / (len(_BENDS) - 1)) + 1e-300))
    mass = np.exp(log - log.max())
    places = (np.arange(draws) + rng.random()) / draws  # systematic: the grid is met in proportion
    cell = np.minimum(np.searchsorted(np.cumsum(mass) / mass.sum(), places), len(mass) - 1)
    level = np.maximum(middle[cell] + rng.standard_normal(draws) / np.sqrt(precision[cell]), 1e-300)
    return level, f[cell], c[cell], q[cell], tau[cell]
