"""L2 toward the starting point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
class L2SP(Regularizer):
    """L2-SP: adds strength · Σ(w - w⁰)², where w⁰ are the weights when the recipe was compiled: for fine-tuning, which should not
    forget what was learned before.

    Applied as its exact derivative 2·strength·(w - w⁰) once per step, before the optimizer sees the gradient, as L2 is. The plan
    keeps w⁰ (as much memory as the selected weights) and saves it with its state. Give a new output layer plain decay instead:
    L2SP(select="weights & layers_behind>0") with WeightDecay(rate=0.01, select="last"). PerLayer(1e-3, factor=1.3) holds early
    layers faster.

    Shapes: any weight. Unit: loss per squared weight.
    When it helps: fine-tuning a pretrained network on few examples.
    When it hurts: weights that did not come from training (random ones are nothing to stay near), and tasks far from the first.
    Raises WellfitError for a negative strength, or at resuming from the state of another recipe.
    Source: Li, Grandvalet & Davoine 2018.

    >>> L2SP(1e-2).name
    'l2_sp'
    """

    strength: float = hyper(1e-2, neutral=0.0, search=(1e-5, 1.0), scale="log", unit="loss / w²",
                            meaning="coefficient of Σ(w - w⁰)²")
    select: str = selection()

    order: ClassVar[int] = 20
    per_weight: ClassVar[bool] = True
    stacked: ClassVar[bool] = False
    zero_at_zero: ClassVar[bool] = False
    acts_as: ClassVar[Literal["", "decay", "sparsity", "bound"]] = "decay"
    formula: ClassVar[str] = "strength · Σ(w - w⁰)²"

    def begin(self, weight: Tensor, info: WeightInfo) -> dict[str, Tensor]:
        return {"start": weight.clone()}

    def penalty(self, weight: Tensor, info: WeightInfo, h: Values, memory: Mapping[str, Tensor]) -> Tensor:
        return h.strength * member_sum((weight - memory["start"]).square(), h.members)

    def adjust_gradients_(self, parts: Sequence[Part], h: Values) -> None:
        for part in parts:
            part.gradient.add_(2 * over(h.strength, part.gradient) * (part.weight.detach() - part.memory["start"]))
