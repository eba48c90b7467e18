"""Waveforms and spectrograms in one shape, with or without a channel and a member axis."""

from __future__ import annotations

from torch import Tensor

from wellfit.core.errors import WellfitError
from wellfit.core.operands import Batch


def as_waveforms(batch: Batch, members: bool, name: str) -> Tensor:
    """The inputs as (B, C, T), behind the member axis if there is one; reshape to the inputs' own shape to go back."""
    return _with_channel(batch.inputs, members, name, 1, "waveforms of shape (B, T) or (B, C, T)",
                         "give it the raw sound: it acts before features are computed")


def as_spectrograms(batch: Batch, members: bool, name: str) -> Tensor:
    """The inputs as (B, C, F, T), behind the member axis if there is one."""
    return _with_channel(batch.inputs, members, name, 2, "spectrograms of shape (B, F, T) or (B, C, F, T)",
                         "compute features such as LogMel first, and let it act on them")


def _with_channel(x: Tensor, members: bool, name: str, axes: int, expected: str, action: str) -> Tensor:
    lead = 2 if members else 1
    if not x.dtype.is_floating_point or x.ndim - lead not in (axes, axes + 1):
        raise WellfitError(f"{name} takes {expected.split(' of ')[0]}.", received=f"{x.dtype} of shape {tuple(x.shape)}",
                           expected=f"floating-point {expected}", action=action)
    return x.unsqueeze(lead) if x.ndim - lead == axes else x


def per_example(values: Tensor, like: Tensor, members: bool) -> Tensor:
    """Values (.., B) or (.., B, N) shaped to broadcast over what follows the batch axis of ``like``."""
    lead = 2 if members else 1
    return values.reshape(*values.shape[:lead], *(1,) * (like.ndim - lead))
