"""Non-negative weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from wellfit.core.hyper import hyper
from wellfit.core.operands import StepContext, Values, WeightInfo, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.core.select import selection
from wellfit.kernels.project import clamp_towards_


@register
@dataclass(frozen=True)
class NonNegative(Regularizer):
    """Non-negativity: w ≥ 0, by exact projection after each step: w ← w + share · (max(w, 0) - w), with share 1 as the default.

    For models that must rise with their inputs, and for parts that add up (non-negative factors). Projecting entry by entry is
    exact in any diagonal metric, so it is right under Adam as well.

    Shapes: any weight, (...) or (K, ...). Unit: share of the way per step.
    When it helps: effects that are known to go one way: doses, counts, additive parts.
    When it hurts: relu networks whose every weight is non-negative cannot bend downwards; select the layers that need it.
    Raises WellfitError for a share outside [0, 1]. Source: Lawson & Hanson 1974; Keras (NonNeg).

    >>> NonNegative(select="last").name
    'non_negative'
    """

    share: float = hyper(1.0, neutral=0.0, high=1.0, unit="share", meaning="share of the way at each step")
    select: str = selection()

    order: ClassVar[int] = 82
    per_weight: ClassVar[bool] = True
    elementwise: ClassVar[bool] = True
    moment: ClassVar[Literal["before", "after"]] = "after"
    formula: ClassVar[str] = "w ≥ 0"

    @property
    def projects(self) -> bool:
        return self.share == 1

    def update_(self, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> None:
        clamp_towards_(weight, 0.0, float("inf"), over(h.share, weight))
