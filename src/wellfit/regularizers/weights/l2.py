"""L2 (ridge)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from wellfit.core.hyper import hyper
from wellfit.core.operands import Part, Values, WeightInfo, member_sum, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.core.select import selection


@register
@dataclass(frozen=True)
class L2(Regularizer):
    """Ridge: adds strength · Σw² to the objective (the guides' and Keras' formula; PyTorch's weight_decay is 2·strength).

    Applied as its exact derivative, g ← g + 2·strength·w, once per optimizer step and before the optimizer sees the
    gradient: what a loss term does under autograd, without its cost and right under gradient accumulation. It is
    *coupled*: an adaptive optimizer rescales it per weight, so a strength for Adam is none for AdamW (see WeightDecay).

    Shapes: any weight, (...) or (K, ...). Unit: loss per squared weight.
    When it helps: more weights than the data can settle; optimizers without adaptive step sizes.
    When it hurts: with Adam, weights with large gradients are hardly decayed; before a batch norm it only changes the
    effective learning rate.
    Raises WellfitError for a negative strength. Source: Hoerl & Kennard 1970; Krogh & Hertz 1991.

    >>> L2(1e-3).strength
    0.001
    """

    strength: float = hyper(1e-4, neutral=0.0, search=(1e-6, 1e-2), scale="log", unit="loss / w²",
                            meaning="coefficient of Σw²")
    select: str = selection()

    order: ClassVar[int] = 20
    per_weight: ClassVar[bool] = True
    acts_as: ClassVar[Literal["", "decay", "sparsity", "bound"]] = "decay"
    formula: ClassVar[str] = "strength · Σw²"
    elementwise: ClassVar[bool] = True

    def penalty(self, weight: Tensor, info: WeightInfo, h: Values) -> Tensor:
        return h.strength * member_sum(weight.square(), h.members)

    def adjust_gradients_(self, parts: Sequence[Part], h: Values) -> None:
        for part in parts:
            coefficient = over(h.strength, part.weight)
            if isinstance(coefficient, Tensor):
                part.gradient.addcmul_(part.weight.detach(), coefficient, value=2)
            else:
                part.gradient.add_(part.weight.detach(), alpha=2 * coefficient)
