"""Ghost batch norm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from wellfit.core.hyper import hyper
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer


@register
@dataclass(frozen=True)
class GhostBatchNorm(Regularizer):
    """Ghost batch norm: in training every batch norm takes its statistics from virtual batches of about ``virtual_batch`` examples.

    A batch of B is cut into round(B / virtual_batch) nearly equal pieces g, and z ← (z - mean_g) / √(var_g + ε) in each; each moves
    the running averages, which evaluation uses as before. Large batches get the noise of small ones.

    Shapes: (B, ...). Unit: examples.
    When it helps: large batches, whose batch statistics have too little noise to regularize.
    When it hurts: virtual batches below about 8.
    Raises WellfitError for a virtual batch below 2, or without a batch norm in the network or the recipe.
    Source: Hoffer et al. 2017.

    >>> GhostBatchNorm(32).virtual_batch
    32
    """

    virtual_batch: float = hyper(32, low=2, neutral=float("inf"), search=(8, 256), scale="log", whole=True, dynamic=False,
                                 unit="examples", meaning="size of the pieces of a batch that share statistics")

    rewrites: ClassVar[Literal["batch_norm", "skip_connections", "ghost_batch_norm", "norm_replacement"]] = "ghost_batch_norm"
    order: ClassVar[int] = 12
    stacked: ClassVar[bool] = False
    conflicts: ClassVar[Mapping[str, str]] = {"norm_replacement": "it leaves no batch norm"}
