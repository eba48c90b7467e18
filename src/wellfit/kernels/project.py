"""Exact projections: feasible, idempotent, and the identity on feasible points (no ε anywhere)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wellfit.kernels.numbers import as_like


def project_l2_ball_(weight: Tensor, radius: Any, axes: tuple[int, ...]) -> Tensor:
    """Project onto ‖w‖₂ ≤ radius over ``axes``, in place; the remaining axes number the balls.

    Weights inside the ball are left bit for bit. Without axes every entry is a ball of its own.

    >>> project_l2_ball_(torch.tensor([[3.0, 4.0], [0.3, 0.4]]), 1.0, (-1,))
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])
    """
    norm = unit_norm(weight, axes)
    return weight.mul_(torch.where(norm > radius, radius / norm, torch.ones_like(norm)))


def unit_norm(weight: Tensor, axes: tuple[int, ...]) -> Tensor:
    """‖w‖₂ over ``axes``, which stay with size one; without axes every entry is a unit of its own."""
    return torch.linalg.vector_norm(weight, dim=axes, keepdim=True) if axes else weight.abs()  # dim=() would mean all


def project_l2_shell_(weight: Tensor, low: Any, high: Any, share: Any, axes: tuple[int, ...]) -> Tensor:
    """Move towards low ≤ ‖w‖₂ ≤ high over ``axes`` by ``share`` of the way (1: onto it, 0: not at all), in place.

    w ← w · (1 - share + share · clamp(‖w‖, low, high) / ‖w‖). A zero vector has no direction and stays zero; what is within
    the bounds stays bit for bit.

    >>> project_l2_shell_(torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]]), 1.0, 2.0, 1.0, (-1,))
    tensor([[1.2000, 1.6000],
            [0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    norm = unit_norm(weight, axes)
    low, high, share = (as_like(v, norm) for v in (low, high, share))
    within = (norm >= low) & (norm <= high)
    factor = torch.lerp(torch.ones_like(norm), norm.clamp(low, high) / norm, share)
    return weight.mul_(torch.where(within | (norm == 0) | (share == 0), torch.ones_like(norm), factor))


def clamp_towards_(weight: Tensor, low: Any, high: Any, share: Any) -> Tensor:
    """Move towards low ≤ w ≤ high, entry by entry, by ``share`` of the way, in place.

    >>> clamp_towards_(torch.tensor([-2.0, 0.5]), 0.0, 1.0, 1.0)
    tensor([0.0000, 0.5000])
    """
    low, high, share = (as_like(v, weight) for v in (low, high, share))
    return weight.lerp_(weight.clamp(low, high), share)


def circular_operator_norm(kernel: Tensor, size: int, spatial: int) -> Tensor:
    """The largest singular value of a convolution on a torus: kernels (..., out, in, *k) with ``spatial`` axes → (...).

    A convolution with circular padding and stride 1 on inputs of ``size`` per axis is block-diagonal after a Fourier
    transform: its singular values are those of the (out, in) matrices of the transformed kernel, one per frequency (Sedghi,
    Gupta & Long 2019). A kernel larger than the input is folded, as it acts there.

    >>> circular_operator_norm(torch.ones(1, 1, 3, 3), 8, 2)
    tensor(9.)
    """
    axes = tuple(range(-spatial, 0))
    for axis in axes:
        if kernel.shape[axis] > size:
            pieces = torch.nn.functional.pad(kernel.movedim(axis, -1), (0, -kernel.shape[axis] % size))
            kernel = pieces.unflatten(-1, (-1, size)).sum(-2).movedim(-1, axis)
    seen = torch.fft.fftn(kernel, s=(size,) * spatial, dim=axes).flatten(-spatial).movedim(-1, -3)
    return torch.linalg.matrix_norm(seen, ord=2).amax(-1)
