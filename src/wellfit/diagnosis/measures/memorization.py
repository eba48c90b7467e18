"""Memorization: how readily a network fits labels that mean nothing, and which rows it learns late or only by heart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wellfit.core.errors import WellfitError
from wellfit.diagnosis.measures.estimate import Estimate, around
from wellfit.diagnosis.measures.gap import generalization_gap


@dataclass(frozen=True)
class Memorization:
    """How a network fits shuffled labels, beside real ones.

    Attributes:
        score: area of the fit to shuffled labels over that of real ones, 0 to 1, where fit = 1 - loss / chance at each epoch:
            0, it cannot learn by heart; 1, it learns by heart as fast as it learns what is there.
        final: the same at the last epoch: whether it can at all, given the time.
        shuffled, real: the fits at the last epoch.
    """

    score: Estimate
    final: Estimate
    shuffled: Estimate
    real: Estimate


def memorization(real: np.ndarray, shuffled: np.ndarray, chance: float) -> Memorization:
    """Compare two training curves: with the labels as they are, and with the labels permuted among the training rows.

    Args:
        real, shuffled: (S, E) or (E,) clean training losses per epoch, for S seeds (each with a permutation of its own).
        chance: the loss without looking at the inputs (``dynamics.chance_level``); the same for both.

    The intervals are Student's over seeds (on S = 1 they are not known, and are nan), kept within 0 and 1.
    Source: Zhang et al. 2017, "Understanding deep learning requires rethinking generalization"; Arpit et al. 2017, "A closer
    look at memorization in deep networks" (speed tells what capacity does not).

    >>> epochs = np.arange(50)
    >>> found = memorization(np.exp(-epochs / 5), np.exp(-epochs / 50), 1.0)
    >>> 0.3 < found.score.value < found.final.value < 0.7
    True
    """
    a, b = (np.atleast_2d(np.asarray(v, dtype=np.float64)) for v in (real, shuffled))
    if a.ndim != 2 or a.shape != b.shape or a.shape[1] < 2:
        raise WellfitError("The two curves cannot be compared.", received=f"{a.shape} and {b.shape}",
                           expected="(seeds, epochs) of the same shape")
    if not chance > 0 or not np.isfinite(chance):
        raise WellfitError("The chance level is no loss.", received=chance, expected="above zero")
    fits = [np.clip(1 - np.where(np.isfinite(v), v, np.inf) / chance, 0.0, 1.0) for v in (a, b)]
    areas, ends = [f.mean(axis=1) for f in fits], [f[:, -1] for f in fits]
    return Memorization(_over_seeds(_share(areas[1], areas[0])), _over_seeds(_share(ends[1], ends[0])),
                        _over_seeds(ends[1]), _over_seeds(ends[0]))


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    # where nothing real was learned either, what was fitted is all by heart, if anything was
    return np.where(whole > 0.01, np.clip(part / np.maximum(whole, 1e-12), 0, 1), (part > 0.01).astype(np.float64))


def _over_seeds(values: np.ndarray) -> Estimate:
    if len(values) < 2:
        return Estimate(float(values.mean()), float("nan"), float("nan"))
    found = around(float(values.mean()), float(values.var(ddof=1)) / len(values), len(values) - 1)
    return Estimate(found.value, max(found.low, 0.0), min(found.high, 1.0), found.standard_error)


def cumulative_loss(losses: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
    """(n,): each row's loss averaged over epochs (and seeds): the area under its own curve. Wrongly labelled rows are learned
    last, and so stand at the top, even when every loss ends at zero.

    Args:
        losses: (E, n), or (S, E, n), of training rows after every epoch.
        labels: (n,) classes; with them the median of the row's class is subtracted, so that a rare class is no suspect.

    Source: Ravikumar, Soufleri and Roy 2024 (cumulative sample loss); Pleiss et al. 2020 (area under the margin).

    >>> cumulative_loss(np.array([[1.0, 1.0], [0.0, 0.8]])).tolist()
    [0.5, 0.9]
    """
    values = np.asarray(losses, dtype=np.float64)
    if values.ndim not in (2, 3):
        raise WellfitError("Per-row losses have the wrong shape.", received=values.shape, expected="(epochs, rows), or seeds first")
    finite = values[np.isfinite(values)]
    values = np.where(np.isfinite(values), values, finite.max() if finite.size else 0.0)
    area = values.reshape(-1, values.shape[-1]).mean(axis=0)
    if labels is not None:
        for label in np.unique(labels):
            area[labels == label] -= np.median(area[labels == label])
    return area  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Forgetting:
    """Rows that were learned and lost.

    Attributes:
        events: (n,) how often each row went from right to wrong (mean over seeds).
        never: (n,) share of the seeds that never had the row right.
        curve: (E,) share of the rows that are wrong now and were right before.
        area: mean of ``curve``: 0, nothing learned is lost; large where batches or labels pull against each other.
    """

    events: np.ndarray
    never: np.ndarray
    curve: np.ndarray
    area: float


def forgetting(right: np.ndarray) -> Forgetting:
    """Which rows are learned and lost again.

    Args:
        right: (E, n) or (S, E, n): whether each training row was right after each epoch.

    Source: Toneva et al. 2019, "An empirical study of example forgetting during deep neural network learning".

    >>> found = forgetting(np.array([[1, 0, 0], [0, 0, 1], [1, 0, 1]]))
    >>> found.events.tolist(), found.never.tolist(), found.curve.round(2).tolist()
    ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.33, 0.0])
    """
    r = np.asarray(right).astype(bool)
    r = r[None] if r.ndim == 2 else r
    if r.ndim != 3 or r.shape[1] < 2:
        raise WellfitError("Rows that were right have the wrong shape.", received=np.shape(right),
                           expected="(epochs, rows), or seeds first, with two epochs at least")
    events = (r[:, :-1] & ~r[:, 1:]).sum(axis=1).mean(axis=0)
    lost = np.logical_or.accumulate(r, axis=1) & ~r
    curve = lost.mean(axis=(0, 2))
    return Forgetting(events.astype(float), (~r.any(axis=1)).mean(axis=0), curve, float(curve.mean()))


def by_heart(train_right: np.ndarray, held_out_right: np.ndarray, *, seed: int = 0) -> tuple[Estimate, np.ndarray]:
    """mem_i = P(row i right | trained on it) - P(row i right | not trained on it): its mean, and each row's own, (n,).

    Args:
        train_right, held_out_right: (S, F, n) ones and zeros of a cross-validation, nan where a fold has nothing to say.

    Source: Feldman and Zhang 2020, "What neural networks memorize and why".
    """
    a, b = (np.asarray(v, dtype=np.float64) for v in (train_right, held_out_right))
    mean = generalization_gap(-a, -b, same_rows=True, seed=seed)
    rows = np.nanmean(a.reshape(-1, a.shape[-1]), axis=0) - np.nanmean(b.reshape(-1, b.shape[-1]), axis=0)
    return mean, rows
