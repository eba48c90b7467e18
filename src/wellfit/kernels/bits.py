"""Counter-based random bits: the same (key, counter) gives the same bits on every device, in any order.

SplitMix64 (Steele, Lea & Flood 2014) is a bijection of a 64-bit counter followed by a finaliser, so a draw is a pure
function of where it is asked for. That is what lets member k of a stack equal the same configuration trained alone.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15
_MIX1, _MIX2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_WORD = (1 << 64) - 1


def mix64(z: np.ndarray) -> np.ndarray:
    """The SplitMix64 finaliser, in place over a uint64 array of any shape; returns the array."""
    z ^= z >> np.uint64(30)
    z *= np.uint64(_MIX1)
    z ^= z >> np.uint64(27)
    z *= np.uint64(_MIX2)
    z ^= z >> np.uint64(31)
    return z


def words(keys: np.ndarray, count: int, offset: int = 0) -> np.ndarray:
    """``count`` 64-bit words for each key: (K,) uint64 -> (K, count) uint64.

    >>> bool((words(np.array([7], dtype=np.uint64), 4)[:, 2:] == words(np.array([7], dtype=np.uint64), 2, offset=2)).all())
    True
    """
    counter = np.arange(offset + 1, offset + 1 + count, dtype=np.uint64)
    counter *= np.uint64(GOLDEN)
    return mix64(keys[:, None] + counter)


def words_on(keys: Tensor, count: int, offset: int = 0) -> Tensor:
    """:func:`words` in torch integers, for any device: (K,) int64 -> (K, count) int64 with the same bit patterns."""
    counter = torch.arange(offset + 1, offset + 1 + count, dtype=torch.int64, device=keys.device)
    return mix64_on(keys[:, None] + counter * signed(GOLDEN))


def mix64_on(z: Tensor) -> Tensor:
    """:func:`mix64` in torch integers: int64 of any shape, with the same bit patterns, as a new tensor."""
    for shift, factor in ((30, _MIX1), (27, _MIX2), (31, None)):
        # torch shifts int64 arithmetically: mask the copied sign bits away to get the logical shift
        z = z ^ ((z >> shift) & ((1 << (64 - shift)) - 1))
        if factor is not None:
            z = z * signed(factor)
    return z


def signed(value: int) -> int:
    """The int64 with the bits of a 64-bit word.

    >>> signed((1 << 64) - 1)
    -1
    """
    value &= _WORD
    return value - (1 << 64) if value >= (1 << 63) else value
