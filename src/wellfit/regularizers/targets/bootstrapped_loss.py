"""Bootstrapped loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn import functional

from wellfit.core.errors import WellfitError
from wellfit.core.hyper import hyper, option
from wellfit.core.operands import Batch, Judged, Values
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.mix import mix
from wellfit.regularizers.targets.soft import soften


@register
@dataclass(frozen=True)
class BootstrappedLoss(Regularizer):
    """Bootstrapped loss against wrong labels: y ← (1 - share) · y + share · q, where q is what the network itself predicts.

    ``kind``: "soft": q = softmax(z), through which the gradient flows too (it equals the loss plus share times the entropy of p);
    "hard": q is the one class predicted, a constant. With the paper's β, share = 1 - β.

    Shapes: class scores (B, C, ...), targets (B, ...) or probabilities (B, C, ...). Unit: share of the target.
    When it helps: wrong labels, once the network is right more often than they are.
    When it hurts: clean labels; from the first epoch, when predictions mean nothing yet (use a WarmUp).
    Raises WellfitError for a share outside [0, 1), for outputs that are no class scores, and for a criterion that takes hard labels
    only. Source: Reed et al. 2015.

    >>> BootstrappedLoss(0.05).kind
    'soft'
    """

    share: float = hyper(0.05, high=1.0, open_high=True, neutral=0.0, search=(0.02, 0.5), scale="log", unit="share of the target",
                         meaning="how much of the target is the network's own prediction")
    kind: str = option("soft", choices=("soft", "hard"), meaning="the predicted probabilities, or the predicted class")

    order: ClassVar[int] = 40
    stacked: ClassVar[bool] = False

    def on_outputs(self, judged: Judged, h: Values) -> Judged:
        outputs = judged.outputs
        if judged.kind != "classes" or judged.classes is None:
            raise WellfitError("Bootstrapping needs class scores.", received=f"outputs of shape {tuple(outputs.shape)}",
                               expected="scores (B, C) of at least two classes", action="leave out bootstrapped_loss")
        targets = soften(Batch(outputs, judged.targets, judged.classes))
        if judged.targets.dtype != targets.dtype and targets.ndim > 2:
            targets = targets.movedim(-1, 1)  # the class axis stands behind the batch axis
        if self.kind == "soft":
            own = torch.softmax(outputs, dim=1)
        else:
            own = functional.one_hot(outputs.argmax(1), outputs.shape[1]).movedim(-1, 1)
        return judged.with_(targets=mix(own.to(targets.dtype), targets, h.share))
