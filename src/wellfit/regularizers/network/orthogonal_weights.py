"""Orthogonal weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from wellfit.core.hyper import hyper
from wellfit.core.operands import StepContext, Values, WeightInfo, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.core.select import selection
from wellfit.kernels.parametrize import approach_orthogonal_


@register
@dataclass(frozen=True)
class OrthogonalWeights(Regularizer):
    """Orthogonal weights: after each step a weight matrix moves to the nearest one with orthonormal rows, or columns if fewer.

    W ← (1 - share)·W + share·U·Vᵀ, where W = U·S·Vᵀ. At share 1 the constraint is exact (a polar retraction onto the Stiefel
    manifold); a smaller share pulls towards it. A convolution's filters are the rows of W (O, I·k...). All singular values being
    1, signals and gradients keep their length through the layer. Costs one singular value decomposition per matrix and step.

    Shapes: (O, I, ...) or (K, O, I, ...) of linear and convolutional weights. Unit: share of the way.
    When it helps: deep or recurrent networks whose gradients vanish or explode.
    When it hurts: layers that need gains above 1, such as the last; wide layers, for its cost.
    Raises WellfitError for a share outside [0, 1]. Source: Cisse et al. 2017; Absil & Malick 2012.

    >>> OrthogonalWeights().select
    'hidden'
    """

    share: float = hyper(1.0, high=1.0, neutral=0.0, search=(0.01, 1.0), scale="log", unit="share of the way",
                         meaning="how far a weight matrix moves to the nearest orthogonal one after each step")
    select: str = selection("hidden")

    order: ClassVar[int] = 85
    per_weight: ClassVar[bool] = True
    recordable: ClassVar[bool] = False
    projects: ClassVar[bool] = False
    moment: ClassVar[Literal["before", "after"]] = "after"

    def update_(self, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> None:
        if info.kind in ("linear", "convolution"):
            approach_orthogonal_(weight, over(h.share, weight), 2 if h.members else 1)
