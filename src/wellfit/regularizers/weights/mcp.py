"""Minimax concave penalty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from wellfit.core.hyper import hyper
from wellfit.core.operands import StepContext, Values, WeightInfo, member_sum, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.core.select import selection
from wellfit.kernels.numbers import as_like
from wellfit.kernels.threshold import firm_threshold_


@register
@dataclass(frozen=True)
class MCP(Regularizer):
    """MCP: adds Σ p(w) with p(w) = strength·|w| - w²/(2·gamma) up to |w| = gamma·strength and gamma·strength²/2 beyond: zeros as
    from L1, while large weights are not shrunk at all.

    Applied as a proximal step in the optimizer's metric, in closed form. The textbook formula (firm thresholding) holds for a
    step size s < gamma; Adam takes larger ones for weights with small gradients, and there the two candidates 0 and v are
    compared, which makes a hard threshold at strength·√(gamma·s) (derived in kernels/threshold.py). The penalty is not convex,
    so the solution found depends on where training starts.

    Shapes: any weight, (...) or (K, ...). Units: loss per |w| (strength), |w| per strength (gamma).
    When it helps: many inputs of which few matter, where L1 shrinks the ones that do.
    When it hurts: strong from the first step it locks in early guesses (use a WarmUp schedule); with small gamma and noise it
    drops weights for good.
    Raises WellfitError for a negative strength or a gamma that is not positive. Source: Zhang 2010.

    >>> MCP(1e-3).gamma
    3.0
    """

    strength: float = hyper(1e-4, neutral=0.0, search=(1e-6, 5e-3), scale="log", unit="loss / |w|",
                            meaning="slope at zero")
    gamma: float = hyper(3.0, open_low=True, search=(1.5, 100.0), scale="log", unit="|w| / strength",
                         meaning="where the penalty becomes flat, in strengths")
    select: str = selection()

    order: ClassVar[int] = 60
    per_weight: ClassVar[bool] = True
    proximal: ClassVar[bool] = True
    elementwise: ClassVar[bool] = True
    convex: ClassVar[bool] = False
    moment: ClassVar[Literal["before", "after"]] = "after"
    acts_as: ClassVar[Literal["", "decay", "sparsity", "bound"]] = "sparsity"
    formula: ClassVar[str] = "Σ min(strength·|w| - w²/(2·gamma), gamma·strength²/2)"
    conflicts: ClassVar[dict[str, str]] = {"l1": "both put a threshold on each weight",
                                           "elastic_net": "both put a threshold on each weight"}

    def penalty(self, weight: Tensor, info: WeightInfo, h: Values) -> Tensor:
        strength, gamma, size = over(h.strength, weight), over(h.gamma, weight), weight.abs()
        rising = strength * size - size.square() / (2 * gamma)
        flat = as_like(gamma * strength * strength / 2, weight)
        return member_sum(torch.where(size <= gamma * strength, rising, flat), h.members)

    def update_(self, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> None:
        firm_threshold_(weight, over(h.strength, weight), over(h.gamma, weight), over(context.step_size(), weight))
