"""Soft orthogonality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from wellfit.core.hyper import hyper
from wellfit.core.operands import Part, Values, WeightInfo, member_sum, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.core.select import selection


def _excess(matrix: Tensor) -> tuple[Tensor, bool]:
    """WWᵀ - I for a wide matrix, WᵀW - I for a tall one (whose rows cannot be orthogonal), and whether it was wide."""
    wide = matrix.shape[-2] <= matrix.shape[-1]
    gram = matrix @ matrix.mT if wide else matrix.mT @ matrix
    return gram - torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device), wide


@register
@dataclass(frozen=True)
class Orthogonality(Regularizer):
    """Soft orthogonality: adds strength · ‖WWᵀ - I‖²_F, so that units look at different things and singular values stay near 1.

    W has one row per unit (one matrix per group of a convolution; the gates of a recurrent layer stand below each other). With
    more units than incoming weights the rows cannot all be orthogonal; then the columns are: ‖WᵀW - I‖²_F. Applied as its exact
    derivative 4·strength·(WWᵀ - I)W, once per step before the optimizer sees the gradient, as L2 is.

    Shapes: (O, I, ...) or (K, O, I, ...). Unit: loss.
    When it helps: wide layers whose units repeat each other; deep networks without normalisation.
    When it hurts: an output layer, whose scale is the confidence (select="hidden" leaves it out, and is the default); with weight
    decay, which pulls the other way.
    Raises WellfitError for a negative strength. Source: Brock et al. 2017; Bansal, Chen & Wang 2018 ("soft orthogonality").

    >>> Orthogonality(1e-4).select
    'hidden'
    """

    strength: float = hyper(1e-4, neutral=0.0, search=(1e-6, 1e-1), scale="log", unit="loss", meaning="coefficient of ‖WWᵀ - I‖²")
    select: str = selection("hidden")

    order: ClassVar[int] = 21
    per_weight: ClassVar[bool] = True
    convex: ClassVar[bool] = False
    zero_at_zero: ClassVar[bool] = False
    formula: ClassVar[str] = "strength · ‖WWᵀ - I‖²"

    def penalty(self, weight: Tensor, info: WeightInfo, h: Values) -> Tensor:
        return h.strength * member_sum(_excess(info.matrices(weight)[0])[0].square(), h.members)

    def adjust_gradients_(self, parts: Sequence[Part], h: Values) -> None:
        for part in parts:
            matrix, back = part.info.matrices(part.weight.detach())
            excess, wide = _excess(matrix)
            part.gradient.add_(4 * over(h.strength, part.gradient) * back(excess @ matrix if wide else matrix @ excess))
