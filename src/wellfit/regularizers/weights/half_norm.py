"""The L½ penalty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from wellfit.core.hyper import hyper
from wellfit.core.operands import StepContext, Values, WeightInfo, member_sum, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.core.select import selection
from wellfit.kernels.threshold import half_threshold_


@register
@dataclass(frozen=True)
class HalfNorm(Regularizer):
    """L½: adds strength · Σ√|w|: sparser than L1 for the same loss, and large weights are shrunk less.

    Applied as a proximal step in the optimizer's metric, in closed form (half thresholding): with c = s·strength, weights up to
    (3/2)·c^(2/3) become zero, others w = ⅔v(1 + cos(⅔π - ⅔arccos((c/4)(|v|/3)^(-3/2)))), exact for every step size. What
    survives is at least c^(2/3)/2 in size: there is a jump. Not convex: what is found depends on the start.

    Shapes: any weight, (...) or (K, ...). Unit: loss per √|w|.
    When it helps: more zeros than L1 gives at the same loss.
    When it hurts: its slope at zero is infinite, so a weight that is zero needs a large gradient to come back; start with a
    WarmUp schedule.
    Raises WellfitError for a negative strength. Source: Xu, Chang, Xu & Zhang 2012.

    >>> HalfNorm(1e-4).name
    'half_norm'
    """

    strength: float = hyper(1e-5, neutral=0.0, search=(1e-7, 1e-3), scale="log", unit="loss / √|w|",
                            meaning="coefficient of Σ√|w|")
    select: str = selection()

    order: ClassVar[int] = 60
    per_weight: ClassVar[bool] = True
    proximal: ClassVar[bool] = True
    elementwise: ClassVar[bool] = True
    convex: ClassVar[bool] = False
    moment: ClassVar[Literal["before", "after"]] = "after"
    acts_as: ClassVar[Literal["", "decay", "sparsity", "bound"]] = "sparsity"
    formula: ClassVar[str] = "strength · Σ√|w|"
    conflicts: ClassVar[dict[str, str]] = dict.fromkeys(("l1", "elastic_net", "mcp", "scad"), "both put a threshold on each weight")

    def penalty(self, weight: Tensor, info: WeightInfo, h: Values) -> Tensor:
        return h.strength * member_sum(weight.abs().sqrt(), h.members)

    def update_(self, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> None:
        half_threshold_(weight, over(context.step_size(), weight) * over(h.strength, weight))
