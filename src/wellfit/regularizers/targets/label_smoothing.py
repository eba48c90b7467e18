"""Label smoothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Batch, Values, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.mix import smooth
from wellfit.regularizers.targets.soft import soften


@register
@dataclass(frozen=True)
class LabelSmoothing(Regularizer):
    """Label smoothing: y ← (1 - amount)·y + amount/C on the training targets.

    Shapes: class targets (B,) or probabilities (B, C), or (K, ...) of them; the numbers of a regression, (B,) or (B, O), pass
    unchanged, with a warning. Unit: probability mass. The criterion must take class probabilities, and must not smooth again
    (``plan.objective`` refuses one that does).
    When it helps: many classes, some wrong labels, networks that are too sure.
    When it hurts: clean labels when calibrated probabilities matter, distillation.
    Raises WellfitError for an amount outside [0, 1). Source: Szegedy et al. 2016; Müller et al. 2019.

    >>> LabelSmoothing(0.1).amount
    0.1
    """

    amount: float = hyper(0.1, high=1.0, open_high=True, neutral=0.0, search=(0.005, 0.4), scale="log", unit="probability",
                          meaning="probability mass spread over all classes")

    order: ClassVar[int] = 40
    mixes_targets: ClassVar[bool] = True
    smooths_targets: ClassVar[bool] = True

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        if batch.classes is None:
            return batch
        targets = soften(batch)
        return batch.with_(targets=smooth(targets, over(h.amount, targets)))
