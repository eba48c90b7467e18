"""Batch-norm recalibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from wellfit.core.hyper import hyper
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer


@register
@dataclass(frozen=True)
class BatchNormRecalibration(Regularizer):
    """Batch-norm recalibration: at the end the running statistics are computed anew for the final weights.

    mean ← (1/n)·Σ mean_b, and var likewise, over n ≤ ``batches`` training batches that are handed to ``plan.finish(loader)``,
    with dropout off: the running averages of training lag behind the weights and were measured with dropout on.

    Unit: batches.
    When it helps: averaged, swapped or pruned weights, and weights that still moved fast at the end of training.
    When it hurts: too few batches to estimate a variance. Raises WellfitError for a number of batches that is
    negative or not whole, or when finish gets no batches. Source: Izmailov et al. 2018; Wu & Johnson 2021.

    >>> BatchNormRecalibration().batches
    200
    """

    batches: float = hyper(200, neutral=0, whole=True, dynamic=False, unit="batches", meaning="largest number of batches to read")

    order: ClassVar[int] = 97
    stacked: ClassVar[bool] = False
    finishing: ClassVar[Literal["recalibrate"]] = "recalibrate"
