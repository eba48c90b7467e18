"""Clipping of gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def clip_factor(square_norm: Tensor, max_norm: Any) -> Tensor:
    """min(1, max_norm / ‖g‖): the factor that brings a gradient to at most ``max_norm``; exactly 1 inside.

    >>> clip_factor(torch.tensor([4.0, 0.25]), 1.0)
    tensor([0.5000, 1.0000])
    """
    norm = square_norm.sqrt()
    return torch.where(norm > max_norm, max_norm / norm, torch.ones_like(norm))
