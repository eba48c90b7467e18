"""R-Drop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Again, Pass, Values
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.outputs import divergence


@register
@dataclass(frozen=True)
class RDrop(Regularizer):
    """R-Drop: two passes with different dropout masks shall agree: (ℓ₁ + ℓ₂)/2 + strength · (KL(p₁‖p₂) + KL(p₂‖p₁))/2.

    ℓ is the criterion of each pass and KL the mean over the batch; for numbers KL is the mean of (a - b)²/2. At strength 0 there is
    one pass only. Needs ``plan.backward`` and something random in the network, such as dropout.

    Shapes: class scores (B, C, ...), logits of BCEWithLogitsLoss, or numbers. Unit: loss per nat.
    When it helps: networks with dropout on few examples, whose predictions change from mask to mask.
    When it hurts: tight budgets (each step costs two passes), networks that underfit already.
    Raises WellfitError for a negative strength, and for a loop without ``plan.backward``. Source: Liang et al. 2021.

    >>> RDrop(1.0).strength
    1.0
    """

    strength: float = hyper(1.0, neutral=0.0, search=(0.1, 10.0), scale="log", unit="loss per nat",
                            meaning="weight of the disagreement of two passes")

    order: ClassVar[int] = 10
    stacked: ClassVar[bool] = False

    def extend(self, objective: Tensor, first: Pass, again: Again, h: Values, draw: Draw) -> Tensor:
        if h.strength == 0:
            return objective
        second = again(fresh=True)
        apart = divergence(first.outputs, second.outputs, first.kind) + divergence(second.outputs, first.outputs, first.kind)
        return (objective + second.loss) / 2 + apart * (h.strength / 2)
