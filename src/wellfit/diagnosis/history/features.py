"""What a verdict looks at: numbers that describe the shape of two curves and not their scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wellfit.diagnosis.history.smooth import Minimum, Smooth, minimum, smooth, thinned

NAMES = ("rise", "rise_sure", "best_at", "gap_end", "gap_best", "fall_validation", "fall_train", "late_validation", "late_train",
         "half_validation", "half_train", "early_train", "early_validation", "noise_train", "noise_validation", "upward_train",
         "spike_train", "epochs", "train_above", "end_over_start")
"""Names of the features, in order."""

WITHOUT_TRAIN = tuple(n for n in NAMES if "train" not in n and not n.startswith("gap"))
"""The features that need no training curve."""


@dataclass(frozen=True)
class Shape:
    """Two smoothed curves, lower is better, and their features.

    Attributes:
        epochs: (n,) of the points.
        train, validation: the smooth curves; train is None where there is none.
        best: the minimum of the validation curve.
        features: by name (``NAMES``; those of ``WITHOUT_TRAIN`` where there is no training curve).
    """

    epochs: np.ndarray
    train: Smooth | None
    validation: Smooth
    best: Minimum
    features: dict[str, float]


def shape_of(epochs: np.ndarray, train: np.ndarray | None, validation: np.ndarray, *, offset: float = 0.0, seed: int = 0) -> Shape:
    """Smooth both curves and describe them.

    Args:
        epochs, validation: (n,) finite; lower is better.
        train: (n,) finite, or None.
        offset: added before logarithms, for quantities that may be 0 (an error share).
        seed: of the bootstrap.
    """
    at, held = thinned(epochs, validation)
    v = smooth(held)
    t = smooth(thinned(epochs, train)[1]) if train is not None else None
    best = minimum(v, seed)
    floor = max(offset, 1e-4 * float(np.max(np.abs(held))) + 1e-12)
    found = _of_validation(v, best, floor, len(validation))
    if t is not None:
        found.update(_of_train(t, v, best, floor, held))
    return Shape(at, t, v, best, found)


def _log(values: np.ndarray | float, floor: float) -> np.ndarray:
    return np.log(np.maximum(values, 0.0) + floor)


def _ratio(a: float, b: float, floor: float, low: float, high: float) -> float:
    return float(np.clip(_log(a, floor) - _log(b, floor), low, high))


def _at(curve: np.ndarray, share: float) -> float:
    return float(np.interp(share * (len(curve) - 1), np.arange(len(curve)), curve))


def _early(curve: np.ndarray, floor: float) -> float:
    """The share of the whole fall that is over after a tenth of the epochs."""
    logs = _log(curve, floor)
    fall = logs[0] - logs.min()
    return float(np.clip((logs[0] - _at(logs, 0.1)) / fall, -1, 1)) if fall > 1e-3 else 0.0


def _noise(curve: Smooth, floor: float) -> float:
    return float(np.clip(np.log10(curve.noise / (np.median(np.abs(curve.values)) + floor) + 1e-4), -4, 1))


def _of_validation(v: Smooth, best: Minimum, floor: float, count: int) -> dict[str, float]:
    values = v.values
    doubt = max((best.rise_high - best.rise_low) / 4, 1e-3 * (abs(values[best.index]) + floor))
    return {"rise": _ratio(values[-1], values[best.index], floor, 0, 2), "rise_sure": float(np.clip(best.rise / doubt, 0, 12)),
            "best_at": best.index / max(1, len(values) - 1), "fall_validation": _ratio(values[0], values[best.index], floor, 0, 4),
            "late_validation": _ratio(_at(values, 2 / 3), values[-1], floor, -1, 1),
            "half_validation": _ratio(_at(values, 0.4), _at(values, 0.8), floor, -1, 1),
            "early_validation": _early(values, floor), "noise_validation": _noise(v, floor), "epochs": float(np.log10(count)),
            "end_over_start": _ratio(values[-1], values[0], floor, -3, 2)}


def _of_train(t: Smooth, v: Smooth, best: Minimum, floor: float, held: np.ndarray) -> dict[str, float]:
    values, raw = t.values, t.values + t.residuals
    steps = np.diff(raw)
    level = float(np.median(np.abs(values))) + floor
    return {"gap_end": _ratio(v.values[-1], values[-1], floor, -2, 4),
            "gap_best": _ratio(v.values[best.index], values[best.index], floor, -2, 4),
            "fall_train": _ratio(values[0], values[-1], floor, -2, 6),
            "late_train": _ratio(_at(values, 2 / 3), values[-1], floor, -1, 2),
            "half_train": _ratio(_at(values, 0.4), _at(values, 0.8), floor, -1, 2), "early_train": _early(values, floor),
            "noise_train": _noise(t, floor), "upward_train": float(np.mean(steps > 0)) if len(steps) else 0.0,
            "spike_train": float(np.clip(np.log1p(np.max(np.abs(t.residuals)) / level), 0, 3)),
            "train_above": float(np.mean(raw > held))}
