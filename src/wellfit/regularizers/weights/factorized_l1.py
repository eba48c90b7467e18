"""L1 through factors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from wellfit.core.hyper import hyper, option
from wellfit.core.operands import Part, Values, WeightInfo, member_sum, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.core.select import selection
from wellfit.kernels.factor import drop_negligible, open_factors


class _Product(nn.Module):
    """w = ω₁ · ω₂ · …"""

    def __init__(self, count: int):
        super().__init__()
        self.count = count

    def forward(self, *factors: Tensor) -> Tensor:
        return torch.stack(factors).prod(0) if len(factors) > 2 else factors[0] * factors[1]

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, ...]:
        return open_factors(weight, self.count)


@register
@dataclass(frozen=True)
class FactorizedL1(Regularizer):
    """L1 by overparametrization: w = ω₁·…·ω_D entry by entry, with (strength/D) · Σω² added over all factors.

    Over all factors of a given w that sum is at least strength · Σ|w|^(2/D) (arithmetic and geometric mean), with equality where
    the factors agree in size: with D = 2, ``depth=2``, minimising over the factors is L1; deeper is sparser and not convex. The
    objective is smooth, so any optimizer finds sparse solutions with plain gradients. The decay has to be *coupled*, a term of the
    loss: it is added to the gradients of the factors. Decoupled decay (AdamW's) on them breaks the equivalence and is refused.

    The factors stand in the model (a torch parametrization) from compiling on; they start as the weight itself and ones, so that
    the function stays as it was and a weight may change its sign (factors of equal size cannot). ``plan.finish()`` puts plain
    weights back. Gradients bring weights near zero, not to it: those below ``tolerance`` of the largest of their tensor then
    become exact zeros. With strength 0 training still differs from that of plain weights.

    Shapes: any weight that is not tied or recurrent. Unit: loss per |w|^(2/D).
    When it helps: zeros with an optimizer whose metric is not known, where L1 cannot take a proximal step.
    When it hurts: memory and time for D copies of the weights; a weight that reached zero comes back slowly; runs shorter than
    1/(learning rate · strength) steps, in which the factors do not come to agree and little becomes zero.
    Raises WellfitError for tied or recurrent weights, and for an optimizer or a part that decays the factors on its own.
    Source: Hoff 2017; Ziyin & Wang 2023; Kolb et al. 2025 (deeper factorizations).

    >>> FactorizedL1(1e-4).depth
    2
    """

    strength: float = hyper(1e-4, neutral=0.0, search=(1e-6, 5e-3), scale="log", unit="loss / |w|",
                            meaning="coefficient of Σ|w|^(2/D)")
    tolerance: float = hyper(1e-5, high=1.0, open_high=True, dynamic=False, unit="share of the largest",
                             meaning="weights up to this are zero at the end")
    depth: int = option(2, choices=(2, 3, 4), meaning="number of factors D")
    select: str = selection()

    order: ClassVar[int] = 22
    per_weight: ClassVar[bool] = True
    stacked: ClassVar[bool] = False
    acts_as: ClassVar[Literal["", "decay", "sparsity", "bound"]] = "sparsity"
    formula: ClassVar[str] = "strength · Σ|ω₁·…·ω_D|^(2/D)"

    def parametrize(self, info: WeightInfo) -> Any:
        return _Product(self.depth)

    def collapse(self, weight: Tensor, info: WeightInfo) -> Tensor:
        return drop_negligible(weight, weight.abs(), self.tolerance)

    def penalty(self, weight: Tensor, info: WeightInfo, h: Values) -> Tensor:
        return h.strength / self.depth * member_sum(weight.square(), h.members)

    def adjust_gradients_(self, parts: Sequence[Part], h: Values) -> None:
        for part in parts:
            part.gradient.add_(part.weight.detach() * (2 / self.depth * over(h.strength, part.gradient)))
