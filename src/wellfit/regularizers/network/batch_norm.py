"""Batch normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer


@register
@dataclass(frozen=True)
class BatchNorm(Regularizer):
    """Batch norm: z ← γ·(z - mean)/σ + β over the batch, between every hidden linear or convolutional layer and its activation.

    z ← γ·(z - mean_B(z)) / √(var_B(z) + 1e-5) + β, with running averages (momentum 0.1) at evaluation: torch's BatchNorm.
    The noise of the batch statistics is what regularizes; the scale of the weights before it no longer matters, so
    max-norm skips them and decay there only changes the effective learning rate.

    Shapes: (B, D), (B, C, ...) or (K, B, D); B ≥ 2.
    When it helps: deep networks that train slowly or not at all, large learning rates, batches of 32 and more.
    When it hurts: small batches, batches of one, distribution shift.
    Source: Ioffe & Szegedy 2015.

    >>> BatchNorm().name
    'batch_norm'
    """

    rewrites: ClassVar[Literal["batch_norm", "skip_connections", "ghost_batch_norm", "norm_replacement"]] = "batch_norm"
    order: ClassVar[int] = 10
