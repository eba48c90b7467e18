"""Input-gradient penalty."""

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
from wellfit.kernels.outputs import per_example


@register
@dataclass(frozen=True)
class InputGradientPenalty(Regularizer):
    """Input-gradient penalty (double backpropagation): adds strength · mean over examples of ‖∂ℓ/∂x‖²₂.

    ℓ is each example's own loss; the criterion must be a mean over the batch. Costs a second differentiation, about one pass.
    Examples must not mix: under batch norm the gradient includes their influence on each other. Needs ``plan.backward``.

    Shapes: inputs (B, ...) of any floating-point type. Unit: loss per squared change of the loss over inputs.
    When it helps: few examples of continuous inputs; predictions that should not hang on single pixels.
    When it hurts: a strength that keeps the network from following the data.
    Raises WellfitError for a negative strength, inputs that are whole numbers, and a loop without ``plan.backward``.
    Source: Drucker & LeCun 1992; Ross & Doshi-Velez 2018.

    >>> InputGradientPenalty(0.1).strength
    0.1
    """

    strength: float = hyper(0.1, neutral=0.0, search=(1e-3, 10.0), scale="log", unit="loss", meaning="weight of the squared norm")

    order: ClassVar[int] = 60
    stacked: ClassVar[bool] = False
    reads_inputs: ClassVar[bool] = True

    def extend(self, objective: Tensor, first: Pass, again: Again, h: Values, draw: Draw) -> Tensor:
        if h.strength == 0:
            return objective
        shift = first.shift
        assert shift is not None
        slope, = torch.autograd.grad(first.loss, shift, create_graph=True)
        # the loss is a mean: the gradient of an example's own is the number of examples times larger
        return objective + per_example(slope * len(shift)).mean() * h.strength
