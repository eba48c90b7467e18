"""L1 (lasso)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from wellfit.core.hyper import hyper
from wellfit.core.operands import StepContext, Values, WeightInfo, member_sum
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.core.select import selection
from wellfit.kernels.prox import soft_threshold_


@register
@dataclass(frozen=True)
class L1(Regularizer):
    """Lasso: adds strength · Σ|w| to the objective and makes weights exactly zero.

    Applied as a proximal step after the optimizer's own update, w ← sign(w)·max(|w| - s·strength, 0), where s is the step
    size the optimizer gives that very weight: lr/(1 - momentum) for SGD, lr/(√v̂ + ε) for Adam and AdamW. In any other
    metric the iteration solves another problem; a penalty in the loss never reaches zero. An optimizer whose metric is
    unknown is refused.

    Shapes: any weight, (...) or (K, ...). Unit: loss per unit of weight.
    When it helps: many inputs of which few matter; networks that are to be sparse.
    When it hurts: correlated features (it keeps one of them at random: use ElasticNet), weights before a batch norm
    (rescaling absorbs it), and strengths above the largest gradient (everything becomes zero).
    Raises WellfitError for a negative strength. Source: Tibshirani 1996; Parikh & Boyd 2014; Yun et al. 2021 (metric).

    >>> L1(1e-4)
    L1(strength=0.0001, select='weights')
    """

    strength: float = hyper(1e-4, neutral=0.0, search=(1e-6, 5e-3), scale="log", unit="loss / |w|",
                            meaning="coefficient of Σ|w|")
    select: str = selection()

    order: ClassVar[int] = 60
    per_weight: ClassVar[bool] = True
    acts_as: ClassVar[Literal["", "decay", "sparsity", "bound"]] = "sparsity"
    formula: ClassVar[str] = "strength · Σ|w|"
    proximal: ClassVar[bool] = True
    elementwise: ClassVar[bool] = True
    moment: ClassVar[Literal["before", "after"]] = "after"
    conflicts: ClassVar[dict[str, str]] = {"elastic_net": "the elastic net contains the lasso already"}

    def penalty(self, weight: Tensor, info: WeightInfo, h: Values) -> Tensor:
        return h.strength * member_sum(weight.abs(), h.members)

    def update_(self, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> None:
        soft_threshold_(weight, context.scaled_step(h.strength, weight), context.scratch(weight, 1))
