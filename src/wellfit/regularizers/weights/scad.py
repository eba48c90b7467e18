"""Smoothly clipped absolute deviation."""

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
from wellfit.kernels.threshold import scad_threshold_


@register
@dataclass(frozen=True)
class SCAD(Regularizer):
    """SCAD: adds Σ p(w), where p is strength·|w| up to |w| = strength, bends over (2·a·strength·|w| - w² - strength²)/(2(a - 1))
    up to a·strength, and is strength²(a + 1)/2 beyond: large weights are not shrunk.

    Applied as a proximal step in the optimizer's metric, in closed form. The textbook formula holds for step sizes below a - 1;
    beyond, the two valleys are compared (derived in kernels/threshold.py). Not convex: what is found depends on the start.

    Shapes: any weight, (...) or (K, ...). Unit: loss per |w| (strength); a counts strengths.
    When it helps: many inputs of which few matter, where L1 shrinks the ones that do.
    When it hurts: as MCP, which is flat sooner for the same slope.
    Raises WellfitError for a negative strength or a not above 2. Source: Fan & Li 2001.

    >>> SCAD(1e-3).a
    3.7
    """

    strength: float = hyper(1e-4, neutral=0.0, search=(1e-6, 5e-3), scale="log", unit="loss / |w|", meaning="slope at zero")
    a: float = hyper(3.7, low=2.0, open_low=True, search=(2.5, 100.0), scale="log", unit="|w| / strength",
                     meaning="where the penalty becomes flat, in strengths")
    select: str = selection()

    order: ClassVar[int] = 60
    per_weight: ClassVar[bool] = True
    proximal: ClassVar[bool] = True
    elementwise: ClassVar[bool] = True
    convex: ClassVar[bool] = False
    moment: ClassVar[Literal["before", "after"]] = "after"
    acts_as: ClassVar[Literal["", "decay", "sparsity", "bound"]] = "sparsity"
    formula: ClassVar[str] = "Σ scad(|w|; strength, a)"
    conflicts: ClassVar[dict[str, str]] = dict.fromkeys(("l1", "elastic_net", "mcp"), "both put a threshold on each weight")

    def penalty(self, weight: Tensor, info: WeightInfo, h: Values) -> Tensor:
        strength, a, size = over(h.strength, weight), over(h.a, weight), weight.abs()
        bend = (2 * a * strength * size - size.square() - strength * strength) / (2 * (a - 1))
        flat = as_like(strength * strength * (a + 1) / 2, weight)
        inner = torch.where(size <= strength, strength * size, bend)
        return member_sum(torch.where(size <= a * strength, inner, flat), h.members)

    def update_(self, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> None:
        scad_threshold_(weight, over(h.strength, weight), over(h.a, weight), over(context.step_size(), weight))
