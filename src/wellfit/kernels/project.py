"""Exact projections: feasible, idempotent, and the identity on feasible points (no ε anywhere)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def project_l2_ball_(weight: Tensor, radius: Any, axes: tuple[int, ...]) -> Tensor:
    """Project onto ‖w‖₂ ≤ radius over ``axes``, in place; the remaining axes number the balls.

    Weights inside the ball are left bit for bit. Without axes every entry is a ball of its own.

    >>> project_l2_ball_(torch.tensor([[3.0, 4.0], [0.3, 0.4]]), 1.0, (-1,))
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])
    """
    norm = torch.linalg.vector_norm(weight, dim=axes, keepdim=True) if axes else weight.abs()  # dim=() would mean all
    return weight.mul_(torch.where(norm > radius, radius / norm, torch.ones_like(norm)))
