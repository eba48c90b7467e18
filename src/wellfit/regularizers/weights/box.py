"""Weights between two bounds."""

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
from wellfit.regularizers.weights.min_max_norm import ordered


@register
@dataclass(frozen=True)
class Box(Regularizer):
    """Box: low ≤ w ≤ high for every weight, by exact projection after each step: w ← min(max(w, low), high).

    Exact in any diagonal metric, so also under Adam. Infinite bounds do nothing.

    Shapes: any weight, (...) or (K, ...). Unit: weight.
    When it helps: weights that have to stay in a known range: quantisation, stable recurrent layers, physical parameters.
    When it hurts: bounds tighter than a layer's usual weights, 1/√fan_in, make all its weights ±bound.
    Raises WellfitError for a low above high. Source: Arjovsky, Chintala & Bottou 2017 (weight clipping); Courbariaux et al. 2015.

    >>> Box(-0.5, 0.5)
    Box(low=-0.5, high=0.5, select='weights')
    """

    low: float = hyper(-1.0, low=-float("inf"), neutral=-float("inf"), search=(-2.0, -0.05), unit="weight",
                       meaning="smallest weight")
    high: float = hyper(1.0, low=-float("inf"), neutral=float("inf"), search=(0.05, 2.0), unit="weight",
                        meaning="largest weight")
    select: str = selection()

    order: ClassVar[int] = 83
    per_weight: ClassVar[bool] = True
    elementwise: ClassVar[bool] = True
    moment: ClassVar[Literal["before", "after"]] = "after"
    formula: ClassVar[str] = "low ≤ w ≤ high"

    def __post_init__(self) -> None:
        super().__post_init__()
        ordered("Box", self.low, self.high)

    def update_(self, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> None:
        clamp_towards_(weight, over(h.low, weight), over(h.high, weight), 1.0)
