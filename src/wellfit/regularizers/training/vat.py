"""Virtual adversarial training."""

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
from wellfit.kernels.outputs import divergence, unit_directions


@register
@dataclass(frozen=True)
class VAT(Regularizer):
    """Virtual adversarial training: adds strength · mean KL(p(x) ‖ p(x + r)), r of norm ``radius`` where the output changes most.

    p(x) counts as a constant. r comes from a random direction d by power iteration: d ← ∂KL(p(x) ‖ p(x + probe · d))/∂d, scaled to
    length one, ``iterations`` times; each costs a pass. Labels are not used. All passes have the dropout masks of the first. For
    numbers KL is the mean of (a - b)²/2. Needs ``plan.backward``.

    Shapes: inputs (B, ...) of any floating-point type. Unit: radius and probe in units of the inputs (standardise them).
    When it helps: few labels and smooth continuous inputs.
    When it hurts: a radius that crosses class borders; tight budgets (three passes for one).
    Raises WellfitError for a negative strength, inputs that are whole numbers, and a loop without ``plan.backward``.
    Source: Miyato et al. 2019.

    >>> VAT(1.0, radius=0.5).iterations
    1
    """

    strength: float = hyper(1.0, neutral=0.0, search=(0.1, 10.0), scale="log", unit="loss per nat",
                            meaning="weight of the change of the outputs")
    radius: float = hyper(1.0, open_low=True, search=(0.1, 5.0), scale="log", unit="norm of the inputs",
                          meaning="how far each example is moved")
    probe: float = hyper(1e-2, open_low=True, unit="norm of the inputs", dynamic=False,
                         meaning="how far the random direction is tried")
    iterations: int = hyper(1, low=1, whole=True, unit="passes", dynamic=False, meaning="power iterations")

    order: ClassVar[int] = 50
    stacked: ClassVar[bool] = False
    reads_inputs: ClassVar[bool] = True  # for the inputs' shape

    def extend(self, objective: Tensor, first: Pass, again: Again, h: Values, draw: Draw) -> Tensor:
        if h.strength == 0:
            return objective
        assert first.shift is not None
        fixed = first.outputs.detach()
        direction = unit_directions(draw.normal(first.shift.shape, torch.float32).to(first.shift))
        for _ in range(int(h.iterations)):
            shift = (direction * h.probe).requires_grad_()
            gradient, = torch.autograd.grad(divergence(fixed, again(shift).outputs, first.kind), shift)
            direction = unit_directions(gradient)
        moved = again(direction * h.radius)
        return objective + divergence(fixed, moved.outputs, first.kind) * h.strength
