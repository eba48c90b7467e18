"""Calibration of class probabilities: expected calibration error without its bias, reliability, the best temperature."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from wellfit.core.errors import WellfitError
from wellfit.diagnosis.measures.estimate import Estimate, affordable, around, resample, wilson

_SMALLEST = 1e-30
_TEMPERATURES = np.geomspace(0.05, 20.0, 61)


@dataclass(frozen=True)
class Calibration:
    """How far confidence can be trusted.

    Attributes:
        error: calibration error √E[(P(right | confidence) - confidence)²], debiased; 0 is perfect.
        plain: the usual expected calibration error Σ_b (n_b / n) |acc_b - conf_b|, which noise keeps above zero.
        overconfidence: mean confidence less accuracy: above zero where the network is surer than it is right.
        temperature: T for which softmax(log p / T) has the least log loss; above 1 where the network is too sure.
        loss, loss_tempered: log loss as it is, and with that temperature.
        confidence, accuracy, low, high, rows: (B,) reliability bins: means, 95% ends of the accuracy (Wilson) and rows in each.
    """

    error: Estimate
    plain: float
    overconfidence: Estimate
    temperature: Estimate
    loss: float
    loss_tempered: float
    confidence: np.ndarray
    accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray
    rows: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in asdict(self).items()}


def calibration(probabilities: np.ndarray, y: np.ndarray, *, bins: int | None = None, groups: np.ndarray | None = None,
                draws: int = 500, seed: int = 0) -> Calibration:
    """Calibration of the predicted class on held-out rows.

    error² = Σ_b (n_b / n) [(acc_b - conf_b)² - acc_b (1 - acc_b) / (n_b - 1)] over bins of equal mass: the subtracted term is what
    noise alone adds, so that error² of a perfect network is zero on average, from few rows too. The plain error with absolute
    values cannot be freed of that bias. The interval is the bootstrap's for error², and ends at zero.

    Args:
        probabilities: (n, C), or (S, n, C) for S networks, whose rows are drawn together.
        y: (n,) class indices.
        bins: number of bins; by default one for each 25 rows, 5 to 15.
        groups: (n,) labels of rows that belong together.

    Source: Kumar, Liang and Ma 2019, "Verified uncertainty calibration" (debiasing; equal mass); Guo et al. 2017 (temperature).

    >>> rng = np.random.default_rng(0)
    >>> p = rng.uniform(0.5, 1.0, 3000)
    >>> y = np.where(rng.random(3000) < p, 0, 1)
    >>> honest, sure = (calibration(np.stack([q, 1 - q], axis=1), y) for q in (p, p**2 / (p**2 + (1 - p)**2)))
    >>> honest.error.low, sure.error.low > 0.05, round(sure.temperature.value)
    (0.0, True, 2)
    """
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(y)
    p = p[None] if p.ndim == 2 else p
    if p.ndim != 3 or p.shape[1] != len(y) or p.shape[2] < 2 or len(y) < 10:
        raise WellfitError("Calibration cannot be measured on this.", received=f"probabilities {np.shape(probabilities)}, "
                           f"{len(y)} targets", expected="(rows, classes) or (seeds, rows, classes), with ten rows at least")
    if not np.isfinite(p).all() or (p < 0).any() or not np.allclose(p.sum(axis=2), 1, atol=1e-3):
        raise WellfitError("These are no probabilities.", received=f"from {p.min():g} to {p.max():g}",
                           expected="numbers from 0 to 1 that add up to one", action="apply softmax to outputs first")
    seeds, n, _ = p.shape
    confidence, right = p.max(axis=2), (p.argmax(axis=2) == y).astype(np.float64)
    wanted = bins or int(np.clip(n // 25, 5, 15))
    order = np.argsort(np.argsort(confidence, axis=None, kind="stable"), kind="stable").reshape(seeds, n)
    member = order * wanted // (seeds * n)
    counts = resample(n, affordable(draws, n), np.random.default_rng(seed), groups=groups)

    # per row and bin, over the networks: how many, their confidence, how many right
    sums = np.zeros((3, n, wanted))
    for s in range(seeds):
        for layer, values in zip(sums, (np.ones(n), confidence[s], right[s]), strict=True):
            np.add.at(layer, (np.arange(n), member[s]), values)
    one = sums.sum(axis=1)
    drawn = np.stack([counts @ layer for layer in sums])
    effective = n / (seeds * n)  # networks judge the same rows: S answers for a row are no S rows
    square = around(float(_square(one, effective)), float(_square(drawn, effective).var(ddof=1)) * n / (n - 1))
    error = Estimate(_root(square.value), _root(square.low), _root(square.high))
    surer = confidence.mean(axis=0) - right.mean(axis=0)
    per_row = counts @ surer / counts.sum(axis=1)
    losses = _tempered(p, y)
    best = float(_lowest(losses.mean(axis=0)[None])[0])
    spread = np.log(_lowest(counts @ losses / counts.sum(axis=1, keepdims=True)))
    temperature = around(np.log(best), float(spread.var(ddof=1)))
    size = one[0] * effective
    accuracy = one[2] / np.maximum(one[0], 1)
    low, high = wilson(accuracy * np.maximum(size, 1e-9), np.maximum(size, 1e-9))
    return Calibration(
        error, float((one[0] / one[0].sum()) @ np.abs(accuracy - one[1] / np.maximum(one[0], 1))),
        around(float(surer.mean()), float(per_row.var(ddof=1)) * n / (n - 1)),
        Estimate(best, float(np.exp(temperature.low)), float(np.exp(temperature.high)), best * temperature.standard_error),
        float(-np.log(np.clip(p[:, np.arange(n), y], _SMALLEST, 1)).mean()), _loss_at(p, y, best),
        one[1] / np.maximum(one[0], 1), accuracy, low, high, one[0].astype(int))


def _square(sums: np.ndarray, effective: float) -> np.ndarray:
    """Unbiased E(accuracy - confidence)² from counts, confidences and hits (3, ..., B).

    ``effective``: rows that one count is worth.
    """
    size, confidence, hits = sums
    share = size / size.sum(axis=-1, keepdims=True)
    known = np.maximum(size, 1e-9)
    accuracy = hits / known
    rows = known * effective
    noise = accuracy * (1 - accuracy) / np.maximum(rows - 1, 1)
    return (share * ((accuracy - confidence / known) ** 2 - noise)).sum(axis=-1)  # type: ignore[no-any-return]


def _root(value: float) -> float:
    return float(np.sqrt(max(value, 0.0)))


def _tempered(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(n, T) log loss of each row at each temperature of the grid, averaged over the networks."""
    logs = np.log(np.clip(p, _SMALLEST, None))
    return np.stack([_row_losses(logs / t, y).mean(axis=0) for t in _TEMPERATURES], axis=1)


def _row_losses(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    top = logits.max(axis=-1)
    total = np.log(np.exp(logits - top[..., None]).sum(axis=-1)) + top
    return total - logits[:, np.arange(len(y)), y]


def _loss_at(p: np.ndarray, y: np.ndarray, temperature: float) -> float:
    return float(_row_losses(np.log(np.clip(p, _SMALLEST, None)) / temperature, y).mean())


def _lowest(losses: np.ndarray) -> np.ndarray:
    """(b, T) losses over the grid to (b,) temperatures: the lowest point of a parabola in log T through the best three."""
    at = np.clip(losses.argmin(axis=1), 1, losses.shape[1] - 2)
    rows = np.arange(len(losses))
    left, middle, right = (losses[rows, at + d] for d in (-1, 0, 1))
    curvature = left - 2 * middle + right
    shift = np.where(curvature > 0, 0.5 * (left - right) / np.where(curvature > 0, curvature, 1), 0.0)
    step = np.log(_TEMPERATURES[1] / _TEMPERATURES[0])
    return _TEMPERATURES[at] * np.exp(np.clip(shift, -1, 1) * step)  # type: ignore[no-any-return]
