"""Sparse group lasso."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from wellfit.core.hyper import hyper, option
from wellfit.core.operands import StepContext, Values, WeightInfo, member_sum, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.core.select import selection
from wellfit.kernels.prox import sparse_group_threshold_
from wellfit.regularizers.weights.groups import geometry, group_norms


@register
@dataclass(frozen=True)
class SparseGroupLasso(Regularizer):
    """Sparse group lasso: adds strength · (l1_ratio · Σ|w| + (1 - l1_ratio) · Σ_g √|g| · ‖w_g‖₂), for zeros in whole groups and
    within those that stay.

    Applied as one proximal step in the optimizer's metric: the lasso's threshold, then the group lasso's. That this is the exact
    prox of the sum, also with a step size per weight (Adam), is shown in kernels/prox.py. Groups are those of GroupLasso: what
    leaves one input feature (``"inputs"``) or what enters one unit (``"units"``).

    Shapes: linear (O, I), convolution (O, I, ...), or (K, ...) of them. Unit: loss. l1_ratio 1 is L1, 0 is GroupLasso.
    When it helps: tables with many columns of noise, and few values that matter in the others.
    When it hurts: as GroupLasso; with two ways to make zeros, strengths well below those of either alone are enough.
    Raises WellfitError for values out of range. Source: Simon, Friedman, Hastie & Tibshirani 2013.

    >>> SparseGroupLasso(1e-3, l1_ratio=0.2).groups
    'inputs'
    """

    strength: float = hyper(1e-3, neutral=0.0, search=(1e-5, 3e-2), scale="log", unit="loss", meaning="total coefficient")
    l1_ratio: float = hyper(0.5, high=1.0, search=(0.05, 0.95), unit="share", meaning="share of the lasso term")
    groups: str = option("inputs", choices=("inputs", "units"), meaning="what forms a group")
    select: str = selection("first")

    order: ClassVar[int] = 65
    per_weight: ClassVar[bool] = True
    proximal: ClassVar[bool] = True
    moment: ClassVar[Literal["before", "after"]] = "after"
    acts_as: ClassVar[Literal["", "decay", "sparsity", "bound"]] = "sparsity"
    formula: ClassVar[str] = "strength · (l1_ratio · Σ|w| + (1 - l1_ratio) · Σ √|g| · ‖w_g‖₂)"
    conflicts: ClassVar[dict[str, str]] = {"l1": "it contains the lasso already", "group_lasso": "it contains it already",
                                           "elastic_net": "it contains the lasso already"}

    def penalty(self, weight: Tensor, info: WeightInfo, h: Values) -> Tensor:
        view, total, root_size = geometry(weight, info, self.groups)
        single, group = (member_sum(t, h.members) for t in (weight.abs(), group_norms(view, total, root_size)))
        return h.strength * (h.l1_ratio * single + (1 - h.l1_ratio) * group)

    def update_(self, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> None:
        view, total, root_size = geometry(weight, info, self.groups)
        step = context.step_size()
        each = isinstance(step, Tensor) and step.ndim > 1
        scaled = (info.unit_view(step) if each else over(step, view)) * over(h.strength, view)
        ratio = over(h.l1_ratio, view)
        sparse_group_threshold_(view, scaled * ratio, scaled * (1 - ratio) * root_size, total, in_metric=each)
