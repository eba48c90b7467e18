"""Max-norm constraint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from wellfit.core.hyper import hyper
from wellfit.core.operands import StepContext, Values, WeightInfo, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.core.select import selection
from wellfit.kernels.project import project_l2_ball_


@register
@dataclass(frozen=True)
class MaxNorm(Regularizer):
    """Max-norm: ‖w_unit‖₂ ≤ radius for every unit's incoming weights, by exact projection after each step.

    w_unit ← w_unit · min(1, radius / ‖w_unit‖₂). A unit is a row of a linear layer, a filter of a convolution, an output
    channel (per group) of a transposed convolution, a gate of a recurrent layer, a vector of an embedding. Units inside
    the ball are left bit for bit. Weights that feed a normalisation are skipped: their scale means nothing.

    Shapes: (O, I, ...) or (K, O, I, ...). Unit: norm of a weight vector.
    When it helps: dropout with large learning rates, which lets weights grow.
    When it hurts: a radius below what the output layer needs for confident predictions.
    Raises WellfitError for a radius that is not positive. Source: Srebro & Shraibman 2005; Srivastava et al. 2014.

    >>> MaxNorm(3.0)
    MaxNorm(radius=3.0, select='weights')
    """

    radius: float = hyper(3.0, neutral=float("inf"), open_low=True, search=(0.3, 6.0), scale="log", unit="norm",
                          meaning="largest norm of a unit's incoming weights")
    select: str = selection()

    order: ClassVar[int] = 80
    per_weight: ClassVar[bool] = True
    acts_as: ClassVar[Literal["", "decay", "sparsity", "bound"]] = "bound"
    leaves_scale_invariant: ClassVar[bool] = True
    formula: ClassVar[str] = "‖w_unit‖₂ ≤ radius"
    moment: ClassVar[Literal["before", "after"]] = "after"

    def update_(self, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> None:
        if not info.feeds_norm:
            view = info.unit_view(weight)
            project_l2_ball_(view, over(h.radius, view), info.unit_axes)
