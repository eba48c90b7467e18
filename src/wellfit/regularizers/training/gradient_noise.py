"""Gradient noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Part, Values, WeightInfo
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.core.select import selection
from wellfit.kernels.noise import add_noise


@register
@dataclass(frozen=True)
class GradientNoise(Regularizer):
    """Gradient noise: g ← g + N(0, σ²) with σ² = variance / (1 + t)^annealing at step t, after clipping.

    Shapes: any. Unit: squared gradient (variance), exponent (annealing).
    When it helps: very deep networks and poor starts, from which plain descent does not get away.
    When it hurts: short runs with a large variance; Adam's second moment takes the noise for gradient.
    Raises WellfitError for a negative variance or annealing. Source: Neelakantan et al. 2015.

    >>> GradientNoise(0.01).annealing
    0.55
    """

    variance: float = hyper(0.01, neutral=0.0, search=(1e-5, 1.0), scale="log", unit="squared gradient",
                            meaning="variance at the first step")
    annealing: float = hyper(0.55, unit="exponent", dynamic=False, meaning="how fast the variance falls with the steps")
    select: str = selection("all")

    order: ClassVar[int] = 95
    per_weight: ClassVar[bool] = True
    stacked: ClassVar[bool] = False

    def disturb_gradients_(self, parts: Sequence[Part], h: Values, draw_of: Callable[[WeightInfo], Draw], step: int) -> None:
        std = (h.variance / (1 + step) ** h.annealing) ** 0.5
        for part in parts:
            wide = part.gradient.dtype if part.gradient.dtype == torch.float64 else torch.float32
            normal = draw_of(part.info).normal(part.gradient.shape, wide).to(part.gradient)
            part.gradient.copy_(add_noise(part.gradient, normal, std))
