"""Group lasso through gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from wellfit.core.hyper import hyper, option
from wellfit.core.operands import Part, Values, WeightInfo, member_sum, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.core.select import selection
from wellfit.kernels.factor import balanced_gates, drop_negligible
from wellfit.regularizers.weights.groups import geometry


class _Gated(nn.Module):
    """w_g = gate_g · v_g / √|g|."""

    def __init__(self, info: WeightInfo, groups: str):
        super().__init__()
        self.info, self.groups = info, groups

    def forward(self, weight: Tensor, gate: Tensor) -> Tensor:
        view, _, root_size = geometry(weight, self.info, self.groups)
        return (view * (gate / root_size)).reshape(weight.shape)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        view, total, root_size = geometry(weight, self.info, self.groups)
        inner, gate = balanced_gates(view, total, root_size)
        return inner.reshape(weight.shape), gate


@register
@dataclass(frozen=True)
class GatedGroups(Regularizer):
    """Group lasso by gates: w_g = gate_g · v_g / √|g|, with (strength/2) · (Σ gate² + Σ v²) added.

    Over all gates and v that give w that sum is at least strength · Σ_g √|g| · ‖w_g‖₂ (arithmetic and geometric mean), the group
    lasso, with equality where gate_g = ‖v_g‖. Smooth, so plain gradients of any optimizer do; the decay is coupled, a term of the
    loss, and decoupled decay on gates or v is refused. A group is what enters one unit (``"units"``) or leaves one input
    (``"inputs"``).

    Gates stand in the model (a torch parametrization) from compiling on, set so that the function is as it was; ``plan.finish()``
    folds them in, and groups whose norm is below ``tolerance`` of the largest become exactly zero. With strength 0 training still
    differs from that of plain weights.

    Shapes: any weight that is not tied or recurrent. Unit: loss per unit of norm.
    When it helps: whole units or inputs to be switched off, with an optimizer whose metric is not known.
    When it hurts: as GroupLasso; a closed gate opens slowly.
    Raises WellfitError for tied or recurrent weights, and for an optimizer or a part that decays the factors on its own.
    Source: Hoff 2017; Tibshirani 2021; Kolb et al. 2023 (gates as overparametrized group penalties).

    >>> GatedGroups(1e-3).groups
    'units'
    """

    strength: float = hyper(1e-3, neutral=0.0, search=(1e-5, 6e-2), scale="log", unit="loss / ‖w‖",
                            meaning="coefficient of Σ √|g|·‖w_g‖")
    tolerance: float = hyper(1e-4, high=1.0, open_high=True, dynamic=False, unit="share of the largest",
                             meaning="groups with a norm up to this are zero at the end")
    groups: str = option("units", choices=("inputs", "units"), meaning="what forms a group")
    select: str = selection("hidden")

    order: ClassVar[int] = 22
    per_weight: ClassVar[bool] = True
    stacked: ClassVar[bool] = False
    acts_as: ClassVar[Literal["", "decay", "sparsity", "bound"]] = "sparsity"
    formula: ClassVar[str] = "strength · Σ √|g| · ‖gate·v_g/√|g|‖₂"

    def parametrize(self, info: WeightInfo) -> Any:
        return _Gated(info, self.groups)

    def collapse(self, weight: Tensor, info: WeightInfo) -> Tensor:
        view, total, _ = geometry(weight, info, self.groups)
        return drop_negligible(view, total(view.square()).sqrt().expand_as(view), self.tolerance).reshape(weight.shape)

    def penalty(self, weight: Tensor, info: WeightInfo, h: Values) -> Tensor:
        return h.strength / 2 * member_sum(weight.square(), h.members)

    def adjust_gradients_(self, parts: Sequence[Part], h: Values) -> None:
        for part in parts:
            part.gradient.add_(part.weight.detach() * over(h.strength, part.gradient))
