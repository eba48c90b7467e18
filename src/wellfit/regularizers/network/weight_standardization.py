"""Weight standardization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from wellfit.core.draws import Draw
from wellfit.core.operands import Values, WeightInfo
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.core.select import selection
from wellfit.kernels.parametrize import standardize


@register
@dataclass(frozen=True)
class WeightStandardization(Regularizer):
    """Weight standardization: convolutions compute with filters of mean 0 and variance 1, in training and evaluation.

    ŵ_o = (w_o - mean(w_o)) / √(var(w_o) + 1e-5) over each filter's incoming weights. The parameters are the w; ``plan.finish()``
    writes ŵ into them. Meant for convolutions with a group norm behind them, in place of batch norm with small batches.

    Shapes: (O, I, ...) of convolutions, (I, O/groups, ...) of transposed ones.
    When it helps: convolutional networks with group norm and small batches.
    When it hurts: without a normalisation behind, since the scale of the outputs grows with the number of inputs.
    Raises WellfitError for a selection without convolutions. Source: Qiao et al. 2019.

    >>> WeightStandardization().select
    'weights'
    """

    select: str = selection()

    order: ClassVar[int] = 50
    per_weight: ClassVar[bool] = True
    stacked: ClassVar[bool] = False
    kinds: ClassVar[tuple[str, ...]] = ("convolution", "transposed_convolution")
    always: ClassVar[bool] = True

    def on_weight(self, weight: Tensor, info: WeightInfo, h: Values, draw: Draw) -> Tensor:
        return standardize(info.unit_view(weight), info.unit_axes).view_as(weight)
