"""Jacobian penalty."""

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
from wellfit.kernels.outputs import per_example, unit_directions


@register
@dataclass(frozen=True)
class JacobianPenalty(Regularizer):
    """Jacobian penalty: adds strength · mean over examples of ‖∂z/∂x‖²_F, so that outputs z change little near each example.

    The norm is estimated without bias by one random direction v of length one for each example: C · ‖∂(v·z)/∂x‖², C the number of
    outputs. Costs a second differentiation, about one pass. Examples must not mix: under batch norm the estimate includes their
    influence on each other. Needs ``plan.backward``.

    Shapes: inputs (B, ...), outputs (B, ...). Unit: loss per squared change of outputs over inputs.
    When it helps: few examples, inputs that are disturbed in use.
    When it hurts: a strength that keeps the network from following the data; networks of ReLUs gain less than smooth ones.
    Raises WellfitError for a negative strength, inputs that are whole numbers, and a loop without ``plan.backward``.
    Source: Hoffman et al. 2019; Sokolić et al. 2017.

    >>> JacobianPenalty(0.01).strength
    0.01
    """

    strength: float = hyper(0.01, neutral=0.0, search=(1e-4, 1.0), scale="log", unit="loss", meaning="weight of the squared norm")

    order: ClassVar[int] = 60
    stacked: ClassVar[bool] = False
    reads_inputs: ClassVar[bool] = True

    def extend(self, objective: Tensor, first: Pass, again: Again, h: Values, draw: Draw) -> Tensor:
        if h.strength == 0:
            return objective
        outputs, shift = first.outputs, first.shift
        assert shift is not None
        direction = unit_directions(draw.normal(outputs.shape, torch.float32).to(outputs))
        slope, = torch.autograd.grad((direction * outputs).sum(), shift, create_graph=True)
        return objective + per_example(slope).mean() * (h.strength * outputs[0].numel())
