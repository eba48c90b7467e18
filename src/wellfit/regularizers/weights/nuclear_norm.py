"""Nuclear norm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from wellfit.core.errors import WellfitError
from wellfit.core.hyper import hyper, option
from wellfit.core.operands import Part, StepContext, Values, WeightInfo, member_sum, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.core.select import selection
from wellfit.kernels.threshold import clip_singular_values_


@register
@dataclass(frozen=True)
class NuclearNorm(Regularizer):
    """Nuclear norm: adds strength · Σ σ_i(W), the sum of the singular values, which makes weight matrices low in rank.

    ``mode="prox"`` takes a proximal step after the optimizer's: each singular value is lowered by s·strength and cut at zero, so
    that the rank really falls. This is exact where all weights of a matrix share one step size s (SGD). Under a step size per
    weight (Adam) the prox has no closed form, and lowering singular values by some average would solve another problem: such an
    optimizer is refused. ``mode="subgradient"`` works with any optimizer: strength · UVᵀ is added to the gradient, coupled as L2
    is; small singular values then hover near zero instead of being zero.

    The matrix has one row per unit and that unit's incoming weights in it, one matrix per group of a convolution; the gates of a
    recurrent layer stand below each other. A singular value decomposition per step: for matrices up to a few hundred wide.

    Shapes: (O, I, ...) or (K, O, I, ...). Unit: loss per unit of singular value.
    When it helps: weight matrices that are to be factored into smaller ones.
    When it hurts: layers that need their rank, such as a narrow output layer; large layers, by its cost.
    Raises WellfitError for a negative strength, and with mode="prox" for an optimizer with a step size per weight.
    Source: Fazel 2002; Cai, Candès & Shen 2010.

    >>> NuclearNorm(1e-3).mode
    'prox'
    """

    strength: float = hyper(1e-3, neutral=0.0, search=(1e-5, 1e-1), scale="log", unit="loss / σ", meaning="coefficient of Σσ")
    mode: str = option("prox", choices=("prox", "subgradient"), meaning="how it acts")
    select: str = selection()

    order: ClassVar[int] = 66
    per_weight: ClassVar[bool] = True
    proximal: ClassVar[bool] = True
    stacked: ClassVar[bool] = False
    metric: ClassVar[Literal["diagonal", "scalar"]] = "scalar"
    moment: ClassVar[Literal["before", "after"]] = "after"
    acts_as: ClassVar[Literal["", "decay", "sparsity", "bound"]] = "sparsity"
    formula: ClassVar[str] = "strength · Σ σ(W)"

    @property
    def unused_phases(self) -> tuple[str, ...]:
        return ("gradient",) if self.mode == "prox" else ("step",)

    def penalty(self, weight: Tensor, info: WeightInfo, h: Values) -> Tensor:
        return h.strength * member_sum(torch.linalg.svdvals(info.matrices(weight)[0]), h.members)

    def update_(self, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> None:
        step = context.step_size()
        if isinstance(step, Tensor) and step.ndim > 1:
            raise WellfitError("NuclearNorm has no exact step where every weight has a step size of its own.",
                               received="a step size per weight (Adam)", expected="one step size per matrix (SGD)",
                               action="use torch.optim.SGD, or NuclearNorm(mode='subgradient')")
        matrix, back = info.matrices(weight)
        threshold: Any = over(step, matrix[..., 0]) * over(h.strength, matrix[..., 0])
        weight.copy_(back(clip_singular_values_(matrix.clone(), lambda values: (values - threshold).clamp_min(0))))

    def adjust_gradients_(self, parts: Sequence[Part], h: Values) -> None:
        for part in parts:
            matrix, back = part.info.matrices(part.weight.detach())
            left, _, right = torch.linalg.svd(matrix, full_matrices=False)
            part.gradient.add_(over(h.strength, part.gradient) * back(left @ right))
