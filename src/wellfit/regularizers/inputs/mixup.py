"""Mixup."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Batch, Values
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.mix import mix, partners
from wellfit.kernels.pixels import pixels_
from wellfit.regularizers.targets.soft import soften


@register
@dataclass(frozen=True)
class Mixup(Regularizer):
    """Mixup: each example is blended with another of its batch, inputs and targets alike.

    x ← λx + (1 - λ)x', y ← λy + (1 - λ)y', λ ~ max(B, 1 - B), B ~ Beta(alpha, alpha), one λ per batch. Class targets
    become probabilities; regression targets are blended as numbers. uint8 images are blended and rounded.

    Shapes: inputs (B, ...) or (K, B, ...). Unit: shape parameter.
    When it helps: few examples of continuous inputs, wrong labels, networks that are too sure.
    When it hurts: categorical inputs without a meaningful middle, targets that are not linear between examples, together
    with label smoothing at full strength. The criterion must take class probabilities.
    Raises WellfitError for a negative alpha. Source: Zhang et al. 2018.

    >>> Mixup(0.2).alpha
    0.2
    """

    alpha: float = hyper(0.2, neutral=0.0, search=(0.05, 2.0), scale="log", unit="Beta parameter", dynamic=False,
                         meaning="Beta(alpha, alpha) of the mixing share")

    order: ClassVar[int] = 20
    mixes_targets: ClassVar[bool] = True

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        axis = 1 if h.members else 0
        share = draw.larger_share(h.alpha)
        shift = draw.integers(max(batch.inputs.shape[axis] - 1, 1)) + 1
        targets = soften(batch)
        return batch.with_(inputs=_blend(batch.inputs, share, shift, axis), targets=_blend(targets, share, shift, axis))


def _blend(values: Tensor, share: Tensor, shift: Tensor, axis: int) -> Tensor:
    numbers = values.float() if values.dtype == torch.uint8 else values
    share = share.to(numbers.dtype).reshape(-1, *(1,) * (values.ndim - 1)) if axis else share.to(numbers.dtype)
    blended = mix(numbers, partners(numbers, shift, axis), share)
    return pixels_(blended, values.dtype) if values.dtype == torch.uint8 else blended
