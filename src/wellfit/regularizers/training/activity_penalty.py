"""Activity penalty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from wellfit.core.hyper import hyper, option
from wellfit.core.operands import Values
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer


@register
@dataclass(frozen=True)
class ActivityPenalty(Regularizer):
    """Activity penalty: adds strength · (1/B) · Σ |a| (norm "l1") or strength · (1/B) · Σ a² (norm "l2") over hidden activations a.

    A hidden activation is what enters a linear or convolutional layer that is not the first, before dropout; B is the size of the
    batch. L1 makes few units speak, L2 keeps all of them low. Where the model runs several times for one loss, the last time
    counts. Needs ``plan.objective``.

    Shapes: (B, ...). Unit: loss per unit of activation.
    When it helps: hidden representations that should be sparse, so that few units answer to each example.
    When it hurts: wide networks, whose sum is large: units die; with normalisation layers, which undo the scale.
    Raises WellfitError for a negative strength, a norm that is not l1 or l2, and a network without hidden layers.
    Source: Glorot et al. 2011 (sparse rectifiers); Merity et al. 2017 (L2 on activations).

    >>> ActivityPenalty(1e-4).norm
    'l1'
    """

    strength: float = hyper(1e-4, neutral=0.0, search=(1e-6, 1e-2), scale="log", unit="loss per activation",
                            meaning="weight of the activations")
    norm: str = option("l1", choices=("l1", "l2"), meaning="sum of sizes, or of squares")

    order: ClassVar[int] = 50
    stacked: ClassVar[bool] = False

    def activity(self, activation: Tensor, h: Values) -> Tensor:
        size = activation.abs() if self.norm == "l1" else activation.square()
        return size.sum() * (h.strength / len(activation))
