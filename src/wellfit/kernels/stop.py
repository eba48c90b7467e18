"""Stopping criteria over arrays of members (Prechelt 1998). ``error`` is to be small; arrays are (K,)."""

from __future__ import annotations

import numpy as np


def improves(error: np.ndarray, best: np.ndarray, min_delta: np.ndarray) -> np.ndarray:
    """Whether ``error`` is below ``best`` by more than ``min_delta``; nan never improves.

    >>> improves(np.array([0.5, 0.5]), np.array([0.6, 0.5]), np.array([0.0, 0.0])).tolist()
    [True, False]
    """
    with np.errstate(invalid="ignore"):
        return error < best - min_delta


def generalization_loss(error: np.ndarray, best: np.ndarray) -> np.ndarray:
    """GL(t) = 100 · (E_va(t) / E_opt(t) - 1), in percent.

    >>> generalization_loss(np.array([1.1]), np.array([1.0])).round(6).tolist()
    [10.0]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return 100.0 * (error / best - 1.0)


def training_progress(strip: np.ndarray) -> np.ndarray:
    """P_k(t) = 1000 · (mean of the strip / its minimum - 1), in per mille: (K, k) training errors -> (K,).

    >>> training_progress(np.array([[1.2, 1.0]])).round(6).tolist()
    [100.0]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1000.0 * (strip.mean(axis=1) / strip.min(axis=1) - 1.0)
