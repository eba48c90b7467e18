"""Gradient clipping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from wellfit.core.hyper import hyper
from wellfit.core.operands import Part, Values, member_sum, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.clip import clip_factor


@register
@dataclass(frozen=True)
class GradientClipping(Regularizer):
    """Gradient clipping by global norm: g ← g · min(1, max_norm / ‖g‖₂) over all parameters together.

    Acts after L2's term was added and before the optimizer. Gradients inside the ball are left bit for bit.

    Shapes: any; K members have a norm each. Unit: norm of the gradient.
    When it helps: recurrent networks, transformers, and any training whose loss jumps now and then.
    When it hurts: a max_norm that always binds turns the optimizer into sign-like steps of a fixed length.
    Raises WellfitError for a max_norm that is not positive. Source: Pascanu et al. 2013.

    >>> GradientClipping(1.0).max_norm
    1.0
    """

    max_norm: float = hyper(1.0, neutral=float("inf"), open_low=True, search=(0.03, 10.0), scale="log", unit="gradient norm",
                            meaning="largest norm of the whole gradient")

    order: ClassVar[int] = 90

    def adjust_gradients_(self, parts: Sequence[Part], h: Values) -> None:
        if not parts:
            return
        square = sum(member_sum(part.gradient.square(), h.members).to(parts[0].gradient.device) for part in parts)
        factor = clip_factor(square, h.max_norm)  # type: ignore[arg-type]
        for part in parts:
            part.gradient.mul_(over(factor, part.gradient).to(part.gradient.dtype) if h.members
                               else factor.to(part.gradient))
