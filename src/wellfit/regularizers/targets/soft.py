"""Class targets as probabilities."""

from __future__ import annotations

import torch
from torch import Tensor

from wellfit.core.errors import WellfitError
from wellfit.core.operands import Batch
from wellfit.kernels.mix import one_hot


def soften(batch: Batch) -> Tensor:
    """The batch's targets as something that can be averaged: class probabilities, or the numbers of a regression."""
    targets = batch.targets
    if targets.dtype.is_floating_point:
        return targets
    if batch.classes is None:
        raise WellfitError("Class targets cannot be mixed or smoothed without knowing the number of classes.",
                           received=f"targets of {targets.dtype}", expected="recipe.compile(model, classes=10)",
                           action="pass classes, or floating-point targets for a regression")
    inputs = batch.inputs  # of a network with several inputs: a tuple or dict
    dtype = inputs.dtype if isinstance(inputs, Tensor) and inputs.dtype.is_floating_point else torch.float32
    return one_hot(targets, batch.classes, dtype)
