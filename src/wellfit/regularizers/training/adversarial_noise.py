"""Adversarial noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Again, Pass, Values
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer


@register
@dataclass(frozen=True)
class AdversarialNoise(Regularizer):
    """Adversarial training by the fast gradient sign: (1 - share) · ℓ(x) + share · ℓ(x + radius · sign ∂ℓ/∂x).

    The perturbation counts as a constant. Both passes have the same dropout masks. Needs ``plan.backward``.

    Shapes: inputs (B, ...) of any floating-point type. Unit: radius in units of the inputs, for each value (standardise them).
    When it helps: inputs that may be disturbed a little in use, and few examples of continuous inputs.
    When it hurts: accuracy on clean inputs, when the radius is larger than what tells classes apart; columns that encode
    categories, which the sign moves as well.
    Raises WellfitError for a share outside [0, 1], inputs that are whole numbers, and a loop without ``plan.backward``.
    Source: Goodfellow et al. 2015.

    >>> AdversarialNoise(0.5, radius=0.1).radius
    0.1
    """

    share: float = hyper(0.5, high=1.0, neutral=0.0, search=(0.1, 0.9), unit="share of the loss",
                         meaning="how much the perturbed inputs count")
    radius: float = hyper(0.1, search=(0.01, 0.5), scale="log", unit="of each input value",
                          meaning="how far each input value is moved")

    order: ClassVar[int] = 40
    stacked: ClassVar[bool] = False
    reads_inputs: ClassVar[bool] = True

    def extend(self, objective: Tensor, first: Pass, again: Again, h: Values, draw: Draw) -> Tensor:
        if h.share == 0:
            return objective
        assert first.shift is not None
        gradient, = torch.autograd.grad(first.loss, first.shift, retain_graph=True)
        return objective * (1 - h.share) + again(gradient.sign() * h.radius).loss * h.share
