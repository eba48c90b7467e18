"""Plain numbers among tensors."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def as_like(value: Any, like: Tensor) -> Tensor:
    """A number or tensor with the type, and on the device, of another tensor. A number is filled in there, not copied over from
    the host: that would keep a step from being recorded on a graphics card.

    >>> import torch
    >>> as_like(2, torch.zeros(3))
    tensor(2.)
    """
    return value.to(like) if isinstance(value, Tensor) else like.new_full((), value)
