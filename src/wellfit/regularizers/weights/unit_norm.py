"""Unit norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from wellfit.core.hyper import hyper
from wellfit.core.operands import StepContext, Values, WeightInfo, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.core.select import selection
from wellfit.kernels.project import project_l2_shell_


@register
@dataclass(frozen=True)
class UnitNorm(Regularizer):
    """Unit norm: ‖w_unit‖₂ = 1 for every unit's incoming weights, by exact projection after each step.

    w_unit ← w_unit · (1 - share + share / ‖w_unit‖₂); with share 1, the default, the norm is 1. Units are those of MaxNorm. A unit
    whose weights are all zero has no direction and stays zero. Before a normalisation, where the scale of a weight does not
    change the function, this keeps the effective learning rate steady; elsewhere it takes the scale out of the model.

    Shapes: (O, I, ...) or (K, O, I, ...). Unit: share of the way per step.
    When it helps: units whose direction matters and not their size: embeddings, similarities.
    When it hurts: an output layer, whose scale is the confidence (leave it out with `select`).
    Raises WellfitError for a share outside [0, 1]. Source: Keras (UnitNorm); Salimans & Kingma 2016 (why the scale is apart).

    >>> UnitNorm().share
    1.0
    """

    share: float = hyper(1.0, neutral=0.0, high=1.0, unit="share", meaning="share of the way to norm 1 at each step")
    select: str = selection()

    order: ClassVar[int] = 81
    per_weight: ClassVar[bool] = True
    convex: ClassVar[bool] = False
    moment: ClassVar[Literal["before", "after"]] = "after"
    acts_as: ClassVar[Literal["", "decay", "sparsity", "bound"]] = "bound"
    formula: ClassVar[str] = "‖w_unit‖₂ = 1"

    @property
    def projects(self) -> bool:
        return self.share == 1

    def update_(self, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> None:
        view = info.unit_view(weight)
        project_l2_shell_(view, 1.0, 1.0, over(h.share, view), info.unit_axes)
