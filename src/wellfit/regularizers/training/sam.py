"""Sharpness-aware minimisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from wellfit.core.hyper import hyper
from wellfit.core.operands import Part, Values
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.core.select import selection
from wellfit.kernels.ascent import ascent_factor


@register
@dataclass(frozen=True)
class SAM(Regularizer):
    """Sharpness-aware minimisation: the gradient is taken at w + radius · g/‖g‖₂, where g is the gradient at w.

    The step then starts from w. ``select`` says which parameters move ("all", or "weights" to leave biases and norms in place);
    the norm is over all of them together. Both passes use the same dropout masks; batch-norm statistics come from the first.
    Needs ``plan.backward``, which takes twice the time. Under gradient accumulation each batch has an ascent of its own
    (m-sharpness). L2 and other penalties act at w.

    Shapes: any. Unit: distance in weight space.
    When it helps: few examples, wrong labels, and time for twice the cost.
    When it hurts: a radius that is large for the weights (underfitting); tight budgets, since each step costs two.
    Raises WellfitError for a negative radius, and for a loop without ``plan.backward``. Source: Foret et al. 2021.

    >>> SAM(0.05).select
    'all'
    """

    radius: float = hyper(0.05, neutral=0.0, search=(0.005, 0.5), scale="log", unit="distance in weight space",
                          meaning="how far uphill the gradient is taken")
    select: str = selection("all")

    order: ClassVar[int] = 50
    per_weight: ClassVar[bool] = True
    stacked: ClassVar[bool] = False
    conflicts: ClassVar[dict[str, str]] = {"asam": "one ascent would start where the other has moved to."}

    def ascend_(self, parts: Sequence[Part], h: Values) -> None:
        if not parts:
            return
        square = sum(p.gradient.square().sum().to(parts[0].gradient.device) for p in parts)
        factor = ascent_factor(square, h.radius)  # type: ignore[arg-type]
        for part in parts:
            part.weight.add_(part.gradient * factor.to(part.gradient))
