"""Group lasso."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from wellfit.core.hyper import hyper, option
from wellfit.core.operands import StepContext, Values, WeightInfo, member_sum, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.core.select import selection
from wellfit.kernels.prox import group_threshold_, group_threshold_in_metric_
from wellfit.regularizers.weights.groups import geometry, group_norms


@register
@dataclass(frozen=True)
class GroupLasso(Regularizer):
    """Group lasso: adds strength · Σ_g √|g| · ‖w_g‖₂, and switches whole groups off exactly.

    ``groups="inputs"`` (with ``select="first"``, the default) groups everything that leaves one input feature: feature
    selection inside the network. Columns that encode one source feature (one-hot, piecewise) form one group, when the
    plan knows the ``feature_groups``. ``groups="units"`` groups each unit's incoming weights (filters of a convolution):
    zeros there can be cut out of the network.

    Applied as a proximal step in the optimizer's metric. With one step size per group (SGD) it is
    w_g ← max(0, 1 - s·strength·√|g|/‖w_g‖)·w_g; under Adam's metric, with a step size per weight, the exact minimiser
    needs a one-dimensional root per group (derived in kernels/prox.py).

    Shapes: linear (O, I), convolution (O, I, ...), or (K, ...) of them. Unit: loss per unit of norm.
    When it helps: tables of which most columns are noise; networks that are to be made narrower.
    When it hurts: dense signal spread thinly over all features; too strong at the start, before features have shown
    their worth (use a WarmUp schedule).
    Raises WellfitError for a negative strength. Source: Yuan & Lin 2006; Scardapane et al. 2017.

    >>> GroupLasso(1e-3).groups
    'inputs'
    """

    strength: float = hyper(1e-3, neutral=0.0, search=(3e-4, 6e-2), scale="log", unit="loss / ‖w‖",
                            meaning="coefficient of Σ √|g|·‖w_g‖")
    groups: str = option("inputs", choices=("inputs", "units"), meaning="what forms a group")
    select: str = selection("first")

    order: ClassVar[int] = 65
    per_weight: ClassVar[bool] = True
    acts_as: ClassVar[Literal["", "decay", "sparsity", "bound"]] = "sparsity"
    formula: ClassVar[str] = "strength · Σ √|g| · ‖w_g‖₂"
    proximal: ClassVar[bool] = True
    moment: ClassVar[Literal["before", "after"]] = "after"

    def penalty(self, weight: Tensor, info: WeightInfo, h: Values) -> Tensor:
        view, total, root_size = geometry(weight, info, self.groups)
        return h.strength * member_sum(group_norms(view, total, root_size), h.members)

    def update_(self, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> None:
        view, total, root_size = geometry(weight, info, self.groups)
        step = context.step_size()
        strength = over(h.strength, view) * root_size
        if isinstance(step, Tensor) and step.ndim > 1:
            group_threshold_in_metric_(view, info.unit_view(step) * strength, total)
        else:
            group_threshold_(view, over(step, view) * strength, total)
