"""Bias and variance from networks trained on disjoint halves of the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from wellfit.core.errors import WellfitError
from wellfit.diagnosis.measures.estimate import Estimate, affordable, resample
from wellfit.diagnosis.measures.gap import crossed

_SMALLEST = 1e-30
_OVERLAP, _ALONE = 0.5, 0.35
_CURVATURES = np.concatenate([[0.0], np.geomspace(1e-3, 1e4, 141)])


@dataclass(frozen=True)
class BiasVariance:
    """error = bias + variance, each in the unit of the loss, with 95% intervals.

    Attributes:
        kind: "squared error", where ``bias`` is bias² + noise, or "cross-entropy", where it is the loss of the centre of all
            networks (their normalised geometric mean), noise included.
        error: mean loss of one network trained on half of the rows.
        bias, variance: its parts. What cannot be learned (noise) counts as bias: no data and no regularizer removes it.
        share: variance / error.
    """

    kind: str
    error: Estimate
    bias: Estimate
    variance: Estimate
    share: Estimate

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def bias_variance(predictions: np.ndarray, y: np.ndarray, *, groups: np.ndarray | None = None, draws: int = 1000,
                  seed: int = 0) -> BiasVariance:
    """Bias and variance over training sets, from R times two networks trained on disjoint halves, on rows that none has seen.

    Squared error: variance = E[(p₁ - p₂)²] / 2 and bias² + noise = E[(y - p₁)(y - p₂)]; both are unbiased, and they add up to
    the error exactly, because the two halves are independent.

    Cross-entropy: with the centre p̄ ∝ exp E[log p], variance = E[KL(p̄ ‖ p)] = E[lse(z)] - lse(E[z]) for logits z, and bias + noise
    = -log p̄(y) (Heskes 1998). Two networks show only part of that: J(λ), what noise of λ times the true covariance adds to lse,
    is seen at λ = 1/2 (their mean), 1 (themselves) and 2 (their difference stretched by √3). J(λ) ∝ √(1 + bλ) - 1, which is right
    for small and for saturated logits, is laid through these. (Where networks hardly differ this is twice the plain two-network
    value.)

    Intervals: bootstrap over rows crossed with repetitions (``gap.paired_difference``); half of the variance of one repetition is
    kept however many there are, because all divide the same rows. One repetition says nothing of the scatter over halves: a
    relative sd of 0.35 is assumed then, as found on tables of some hundred rows. Three or more are better.

    Args:
        predictions: (R, 2, n) values, or (R, 2, n, C) class probabilities. Take regression targets standardised if shares of
            different tables are compared.
        y: (n,) targets: values, or class indices.
        groups: (n,) labels of rows that belong together.

    Source: two halves: Yang et al. 2020, "Rethinking bias-variance trade-off for generalization of neural networks"; KL form:
    Heskes 1998, "Bias/variance decompositions for likelihood-based estimators"; the extrapolation follows Cook and Stefanski 1994.

    The mean of 25 numbers with variance 1, shifted by 0.5, as a prediction of a new number: variance 1/25, bias² + noise 1.25.

    >>> rng = np.random.default_rng(0)
    >>> y = rng.normal(size=4000)
    >>> p = np.repeat(0.5 + rng.normal(size=(40, 2, 1)) / 5, 4000, axis=2)
    >>> found = bias_variance(p, y)
    >>> found.variance.low < 1 / 25 < found.variance.high, found.bias.low < 1.25 < found.bias.high
    (True, True)
    """
    p, y = np.asarray(predictions, dtype=np.float64), np.asarray(y)
    if p.ndim not in (3, 4) or p.shape[1] != 2 or p.shape[2] != len(y) or len(y) < 2:
        raise WellfitError("The predictions of the halves have the wrong shape.", received=p.shape,
                           expected=f"(repetitions, 2, {len(y)}) or (repetitions, 2, {len(y)}, classes)")
    if not np.isfinite(p).all():
        raise WellfitError("Predictions hold values that are no numbers.", received=f"{int((~np.isfinite(p)).sum())} of them",
                           expected="finite predictions")
    counts = resample(len(y), affordable(draws, len(y)), np.random.default_rng(seed), groups=groups)
    units = len(y) if groups is None else len(np.unique(groups))
    parts = _squared(p, y) if p.ndim == 3 else _likelihood(p, y)

    error, variance = (float(v.mean()) for v in parts(None))

    def estimate(of: Callable[[np.ndarray, np.ndarray], np.ndarray], alone: float) -> Estimate:
        return crossed(of(*parts(None))[0], of(*parts(counts)), units, overlap=_OVERLAP, alone=_ALONE * alone)

    # bias and noise of a squared error may come out below zero by chance alone: the interval says so
    return BiasVariance("squared error" if p.ndim == 3 else "cross-entropy", estimate(lambda e, v: e, 0.0),
                        estimate(lambda e, v: e - v, variance), estimate(lambda e, v: v, variance),
                        estimate(lambda e, v: v / np.maximum(e.mean(axis=1, keepdims=True), _SMALLEST),
                                 variance / max(error, _SMALLEST)))


Parts = Callable[[np.ndarray | None], tuple[np.ndarray, np.ndarray]]
"""From row counts (b, n), or None, to error and variance, both (b, R)."""


def _mean(counts: np.ndarray | None, rows: np.ndarray) -> np.ndarray:
    return rows.mean(axis=1)[None] if counts is None else counts @ rows.T / counts.sum(axis=1, keepdims=True)


def _squared(p: np.ndarray, y: np.ndarray) -> Parts:
    errors = ((y - p) ** 2).mean(axis=1)
    variances = (p[:, 0] - p[:, 1]) ** 2 / 2
    return lambda counts: (_mean(counts, errors), _mean(counts, variances))


def _likelihood(p: np.ndarray, y: np.ndarray) -> Parts:
    logs = np.log(np.clip(p, _SMALLEST, None))
    losses = -logs[:, :, np.arange(len(y)), y].mean(axis=1)
    centre, half = (logs[:, 0] + logs[:, 1]) / 2, (logs[:, 0] - logs[:, 1]) / 2
    at_half, at_one = _lse(centre), (_lse(logs[:, 0]) + _lse(logs[:, 1])) / 2
    at_two = (_lse(centre + 3**0.5 * half) + _lse(centre - 3**0.5 * half)) / 2
    first, second = at_one - at_half, at_two - at_one

    def parts(counts: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        d1, d2 = _mean(counts, first), _mean(counts, second)
        return _mean(counts, losses), d1 * extrapolation(d1.mean(axis=1), d2.mean(axis=1))[:, None]

    return parts


def _lse(logits: np.ndarray) -> np.ndarray:
    top = logits.max(axis=-1)
    return np.log(np.exp(logits - top[..., None]).sum(axis=-1)) + top


def extrapolation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """J(1) / (J(1) - J(1/2)) for J(λ) ∝ √(1 + bλ) - 1, with b from (J(2) - J(1)) / (J(1) - J(1/2)).

    2 where J is straight (b = 0, the ratio is 2), 2 + √2 where it is a root (b = ∞, the ratio is √2).

    >>> extrapolation(np.array([0.5, 1 - 0.5**0.5]), np.array([1.0, 2**0.5 - 1])).round(2).tolist()
    [2.0, 3.37]
    """
    def root(share: float) -> np.ndarray:
        return np.sqrt(1 + _CURVATURES[1:] * share)

    ratios = np.concatenate([[2.0], (root(2) - root(1)) / (root(1) - root(0.5))])
    factors = np.concatenate([[2.0], (root(1) - 1) / (root(1) - root(0.5))])
    seen = np.clip(second / np.maximum(first, _SMALLEST), ratios[-1], 2.0)
    return np.interp(seen, ratios[::-1], factors[::-1])
