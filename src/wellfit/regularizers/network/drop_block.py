"""DropBlock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Site, Values
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.drop import drop_blocks


@register
@dataclass(frozen=True)
class DropBlock(Regularizer):
    """DropBlock: square blocks of ``size`` positions are dropped from what enters a convolution (but the first), per channel.

    Each position is 0 with probability ``rate`` and otherwise divided by 1 - rate. Blocks start with γ = 1 - (1 - rate)^(1/sizeᵈ),
    also beyond the border, so that the rate holds at every position; in the paper it holds on average and borders keep more.
    The paper raises the rate along the run: ``DropBlock(wf.Linear(0.0, 0.1))``.

    Shapes: (B, C, L), (B, C, H, W), (B, C, D, H, W). Units: probability (γ met to 1/65536); positions.
    When it helps: convolutional networks that overfit, where neighbouring positions say the same and plain dropout takes
    nothing away.
    When it hurts: small maps with large blocks, small networks. Raises WellfitError for a rate outside [0, 1), a size that is no
    whole number ≥ 1, or without a convolution behind the first layer. Source: Ghiasi et al. 2018.

    >>> DropBlock(0.1, size=5).size
    5
    """

    rate: float = hyper(0.1, high=1.0, open_high=True, neutral=0.0, search=(0.01, 0.4), unit="probability",
                        meaning="probability that a position is dropped")
    size: int = hyper(5, low=1, whole=True, dynamic=False, unit="positions", meaning="side of a block")

    order: ClassVar[int] = 46
    stacked: ClassVar[bool] = False
    sites: ClassVar[tuple[str, ...]] = ("convolution",)

    def on_site(self, activation: Tensor, site: Site, h: Values, draw: Draw) -> Tensor:
        size, axes = int(h.size), len(site.positions)
        whole = activation if site.batch_axis is not None else activation[None]
        shape = (*whole.shape[:2], *(n + size - 1 for n in whole.shape[2:]))
        return drop_blocks(whole, draw.bits16(shape), h.rate, size).reshape(activation.shape) if axes else activation
