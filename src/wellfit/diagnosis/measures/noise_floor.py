"""How much of a disagreement stays when confidence grows: random label flips leave a floor, overlapping classes do not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wellfit.core.errors import WellfitError

LEVEL_95 = 3.841  # 95% quantile of chi² with one degree of freedom
RATES = 81
_BINS, _ROWS_PER_BIN = 60, 20
_STEPS, _RIDGE = 60, 1e-3


@dataclass(frozen=True)
class Floor:
    """Share of wrong labels that confidence does not explain away.

    Attributes:
        rate, low, high: the most likely floor and its 95% profile-likelihood interval.
        evidence: twice the log-likelihood ratio of the most likely floor to none; 3.84 is the 5% level.
        disagreement: share of all rows whose label is not the predicted class.
        top_disagreement: the same among the tenth of the rows (at least 20) that are predicted with most confidence.
        overlap: disagreement that is left for overlapping classes and a weak model, under the most likely floor.
        anchored: share of the rows for which the fitted curve leaves at most 0.03 to overlap: what the floor rests on.
        reach: overlap that is left for the most confident fiftieth of the rows: where the floor is extrapolated from.
        slope: b, by how much the log-odds of an overlap error fall per standard deviation of the confidence.
    """

    rate: float
    low: float
    high: float
    evidence: float
    disagreement: float
    top_disagreement: float
    overlap: float
    anchored: float
    reach: float
    slope: float


def noise_floor(confidence: np.ndarray, disagrees: np.ndarray, classes: int, *, least_slope: float = 0.0) -> Floor:
    """Fit the share of disagreeing labels as a function of confidence, with a floor.

    A label is replaced by another class with probability ρ, whatever the row (symmetric flips). If the prediction misses the
    unflipped label with probability ε, it disagrees with the observed one with probability ρ + ε · (1 - ρ·C / (C - 1)). Overlap
    lets ε fall to zero as the log-odds m of the prediction grow, ε(m) = (C - 1) / C · σ(a - b·m) with b ≥ 0; flips do not. It is
    the curve with a lapse rate of psychophysics (Wichmann and Hill 2001, "The psychometric function", Perception &
    Psychophysics 63). a and b are fitted for every ρ of a grid by Fisher scoring on equally filled bins; the interval of ρ holds
    all rates whose deviance is within 3.84 of the best.

    Args:
        confidence: (n,) how sure the prediction is; log-odds of the predicted class are best. Only a linear map of it matters.
        disagrees: (n,) whether the observed label is not the predicted class.
        classes: number of classes C.
        least_slope: smallest b per standard deviation of the confidence. With 0, disagreement that is the same at any confidence
            may be all overlap: right for a predictor that knows little, too cautious for one that knows much.

    >>> rng = np.random.default_rng(0)
    >>> m = rng.normal(2.0, 2.0, 4000)
    >>> error = 0.5 / (1 + np.exp(m))
    >>> found = noise_floor(m, rng.random(4000) < 0.2 + 0.6 * error, classes=2)
    >>> found.low < 0.2 < found.high, found.high - found.low < 0.1
    (True, True)
    """
    confidence, disagrees = np.asarray(confidence, dtype=np.float64), np.asarray(disagrees, dtype=bool)
    if confidence.shape != disagrees.shape or confidence.ndim != 1 or len(confidence) < _ROWS_PER_BIN:
        raise WellfitError("The floor needs one confidence and one answer per row.",
                           received=f"shapes {confidence.shape} and {disagrees.shape}",
                           expected=f"(n,) twice, n at least {_ROWS_PER_BIN}")
    if classes < 2:
        raise WellfitError("Labels need at least two classes.", received=classes, expected="2 or more")
    n = len(confidence)
    order = np.argsort(confidence, kind="stable")
    parts = np.array_split(order, min(_BINS, max(4, n // _ROWS_PER_BIN)))
    size = np.array([len(p) for p in parts], dtype=np.float64)
    wrong = np.array([disagrees[p].sum() for p in parts], dtype=np.float64)
    middle = np.array([confidence[p].mean() for p in parts])
    place = (middle - middle.mean()) / max(float(middle.std()), 1e-9)
    most = (classes - 1) / classes
    rates = np.linspace(0.0, 0.97 * most, RATES)
    likelihood, error, slope = _profile(rates, place, wrong, size, classes, least_slope)
    deviance = 2 * (likelihood.max() - likelihood)
    inside = np.flatnonzero(deviance <= LEVEL_95)
    best = int(deviance.argmin())
    step = rates[1] - rates[0]
    top = order[-max(20, n // 10):]
    fiftieth = np.cumsum(size[::-1]) <= max(n // 50, size[-1])
    left = error[best]
    return Floor(float(rates[best]), float(max(0.0, rates[inside[0]] - (step / 2 if inside[0] else 0.0))),
                 float(rates[inside[-1]] + step / 2), float(deviance[0]), float(disagrees.mean()), float(disagrees[top].mean()),
                 float((left * size).sum() / n * (1 - rates[best] / most)), float(size[left <= 0.03].sum() / n),
                 float(left[::-1][fiftieth].mean()), float(slope[best]))


def _profile(rates: np.ndarray, place: np.ndarray, wrong: np.ndarray, size: np.ndarray, classes: int,
             least: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For every rate: the largest log-likelihood (R,), the overlap ε of every bin there (R, bins), and the slope (R,)."""
    most = (classes - 1) / classes
    kept = (1 - rates / most)[:, None] * most
    floor = rates[:, None]
    offset = np.full(len(rates), np.log(max(wrong.sum() / size.sum(), 0.01)))
    slope = np.full(len(rates), max(1.0, least))

    def value(offset: np.ndarray, slope: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        sigma = 1 / (1 + np.exp(-np.clip(offset[:, None] - slope[:, None] * place, -40, 40)))
        p = np.clip(floor + kept * sigma, 1e-9, 1 - 1e-9)
        fit = (wrong * np.log(p) + (size - wrong) * np.log1p(-p)).sum(axis=1)
        return fit - _RIDGE * (offset**2 + slope**2), fit, p, sigma

    goal, fit, p, sigma = value(offset, slope)
    settled = np.zeros(len(rates), dtype=bool)
    for _ in range(_STEPS):
        slant = kept * sigma * (1 - sigma)
        score = (wrong - size * p) / (p * (1 - p)) * slant
        weight = size * slant**2 / (p * (1 - p))
        gradient = np.stack([score.sum(1) - 2 * _RIDGE * offset, -(score * place).sum(1) - 2 * _RIDGE * slope], axis=1)
        information = np.empty((len(rates), 2, 2))
        information[:, 0, 0] = weight.sum(1) + 2 * _RIDGE
        information[:, 0, 1] = information[:, 1, 0] = -(weight * place).sum(1)
        information[:, 1, 1] = (weight * place**2).sum(1) + 2 * _RIDGE
        step = np.clip(np.linalg.solve(information, gradient[..., None])[..., 0], -3.0, 3.0)
        moved = np.zeros(len(rates), dtype=bool)
        before = goal
        for length in (1.0, 0.3, 0.05):
            tried = offset + length * step[:, 0], np.maximum(slope + length * step[:, 1], least)
            results = value(*tried)
            better = ~moved & (results[0] > before + 1e-6)
            offset, slope = np.where(better, tried[0], offset), np.where(better, tried[1], slope)
            goal, fit = np.where(better, results[0], goal), np.where(better, results[1], fit)
            p, sigma = np.where(better[:, None], results[2], p), np.where(better[:, None], results[3], sigma)
            moved |= better
            if moved[~settled].all():
                break
        settled |= ~moved  # what does not move now will not move later
        if settled.all():
            break
    return fit, most * sigma, slope
