"""Clipping of gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wellfit.kernels.numbers import as_like


def clip_factor(square_norm: Tensor, max_norm: Any) -> Tensor:
    """min(1, max_norm / ‖g‖): the factor that brings a gradient to at most ``max_norm``; exactly 1 inside.

    >>> clip_factor(torch.tensor([4.0, 0.25]), 1.0)
    tensor([0.5000, 1.0000])
    """
    norm = square_norm.sqrt()
    return torch.where(norm > max_norm, max_norm / norm, torch.ones_like(norm))


def unit_clip_factor(gradient: Tensor, weight: Tensor, ratio: Any, floor: Any, axes: tuple[int, ...]) -> Tensor:
    """min(1, ratio · max(‖w‖, floor) / ‖g‖) for each unit, whose weights lie along ``axes`` (none: each entry is a unit).

    >>> unit_clip_factor(torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0]]), 2.5, 1e-3, (-1,))
    tensor([[0.5000]])
    """
    def norm(values: Tensor) -> Tensor:
        return torch.linalg.vector_norm(values, dim=axes, keepdim=True) if axes else values.abs()

    size, bound = norm(gradient), torch.maximum(norm(weight), as_like(floor, weight))
    bound = bound * ratio
    return torch.where(size > bound, bound / size, torch.ones_like(size))
