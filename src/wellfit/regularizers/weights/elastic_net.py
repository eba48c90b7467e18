"""Elastic net."""

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
from wellfit.kernels.prox import elastic_threshold_


@register
@dataclass(frozen=True)
class ElasticNet(Regularizer):
    """Elastic net: strength · (l1_ratio · Σ|w| + (1 - l1_ratio) · Σw²): exact zeros, and correlated weights kept together.

    Applied as one proximal step in the optimizer's metric (see L1):
    w ← soft_threshold(w, s·strength·l1_ratio) / (1 + 2·s·strength·(1 - l1_ratio)).

    Shapes: any weight, (...) or (K, ...). Unit: loss. The smallest strength that zeroes everything depends on l1_ratio.
    scikit-learn's ElasticNet has ½ before its square: its (alpha, l1_ratio) is strength·l1_ratio here for the first term.
    When it helps: many features of which few matter, some of them correlated.
    When it hurts: as L1, and a large ridge part biases the surviving weights.
    Raises WellfitError for values out of range. Source: Zou & Hastie 2005.

    >>> ElasticNet(1e-3, l1_ratio=0.5).name
    'elastic_net'
    """

    strength: float = hyper(1e-4, neutral=0.0, search=(1e-6, 5e-3), scale="log", unit="loss", meaning="total coefficient")
    l1_ratio: float = hyper(0.5, high=1.0, search=(0.05, 0.95), unit="share", meaning="share of the lasso term")
    select: str = selection()

    order: ClassVar[int] = 60
    per_weight: ClassVar[bool] = True
    acts_as: ClassVar[Literal["", "decay", "sparsity", "bound"]] = "sparsity"
    formula: ClassVar[str] = "strength · (l1_ratio · Σ|w| + (1 - l1_ratio) · Σw²)"
    proximal: ClassVar[bool] = True
    elementwise: ClassVar[bool] = True
    moment: ClassVar[Literal["before", "after"]] = "after"

    def penalty(self, weight: Tensor, info: WeightInfo, h: Values) -> Tensor:
        lasso, ridge = (member_sum(t, h.members) for t in (weight.abs(), weight.square()))
        return h.strength * (h.l1_ratio * lasso + (1 - h.l1_ratio) * ridge)

    def update_(self, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> None:
        scaled, ratio, scratch = context.scaled_step(h.strength, weight), over(h.l1_ratio, weight), context.scratch(weight, 1)
        if not isinstance(scaled, Tensor) or scaled.shape != weight.shape:
            elastic_threshold_(weight, scaled * ratio, 2 * scaled * (1 - ratio))
            return
        shrink = torch.mul(scaled, 2 * (1 - ratio), out=context.scratch(weight, 2))
        elastic_threshold_(weight, scaled.mul_(ratio), shrink, scratch)
