"""Random streams keyed by member seed, component and step.

Kernels never draw. A driver asks a :class:`Streams` object for the :class:`Draw` of one component at one step and hands
the values over. A draw depends on nothing else, so a run can be stopped, resumed, stacked or thinned without changing it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wellfit.kernels import bits
from wellfit.kernels.mix import beta_quantile

_STEP, _WORD = 0xD1342543DE82EF95, 0xFFFFFFFFFFFFFFFF


@cache
def component_key(name: str) -> int:
    """A stable 64-bit number for a component's name.

    >>> component_key("dropout/0") == component_key("dropout/0") != component_key("dropout/1")
    True
    """
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


class Streams:
    """The random streams of one run (``seeds`` is an int) or of K stacked members (``seeds`` is a sequence).

    With a sequence every draw has a leading member axis of size K; with an int it has none.
    """

    def __init__(self, seeds: int | Sequence[int], device: torch.device | str = "cpu"):
        self.solo = isinstance(seeds, int)
        each = [seeds] if isinstance(seeds, int) else list(seeds)
        self.seeds = [int(s) for s in each]
        base = np.array([s & _WORD for s in self.seeds], dtype=np.uint64)
        self._base = bits.mix64(base + np.uint64(bits.GOLDEN))
        self._component: dict[str, np.ndarray] = {}
        self._on_device: dict[str, Tensor] = {}
        self.device = torch.device(device)

    def key(self, component: str) -> np.ndarray:
        """(K,) uint64: where the stream of a component starts. With a step it makes the key of a draw."""
        found = self._component.get(component)
        if found is None:
            found = self._component[component] = bits.mix64(self._base ^ np.uint64(component_key(component)))
        return found

    def at(self, component: str, step: int) -> Draw:
        """The draw of ``component`` (for example ``"dropout/2"``) at ``step``."""
        return Draw(bits.mix64(self.key(component) + np.uint64((step * _STEP) & _WORD)), self.solo, self.device)

    def keys_at(self, component: str, step: Tensor) -> Tensor:
        """(K,) int64: the keys of the draw at a ``step`` that only the device knows, an int64 tensor () in its memory."""
        found = self._on_device.get(component)
        if found is None:
            found = self._on_device[component] = torch.from_numpy(self.key(component).view(np.int64)).to(self.device)
        return bits.mix64_on(found + step * bits.signed(_STEP))

    def larger_shares(self, component: str, steps: range, alpha: np.ndarray) -> np.ndarray:
        """(K, steps): what ``at(component, step).larger_share(alpha)`` gives first, for many steps at once; ``alpha`` (K,)."""
        return beta_quantile(torch.from_numpy(self._first_uniform(component, np.arange(steps.start, steps.stop))),
                             alpha[:, None]).numpy()

    def _first_uniform(self, component: str, steps: np.ndarray) -> np.ndarray:
        """(K, steps): what ``at(component, step).uniform(())`` gives first, for many steps at once."""
        keys = bits.mix64(self.key(component)[:, None] + steps.astype(np.uint64) * np.uint64(_STEP))
        words = bits.words(keys.reshape(-1), 1).reshape(keys.shape)
        return ((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52

    def keep(self, members: Sequence[int]) -> Streams:
        """The streams of some of the members."""
        return Streams([self.seeds[m] for m in members], self.device)


class Draw:
    """The random values of one component at one step, in the order they are asked for.

    Shapes exclude the member axis: ``uniform((B, D))`` is ``(B, D)`` for one run and ``(K, B, D)`` for K members.
    """

    def __init__(self, keys: np.ndarray | Tensor, solo: bool, device: torch.device):
        self._keys, self._solo, self._device, self._used = keys, solo, device, 0

    def again(self) -> Draw:
        """The same draw from its beginning, for the second phase of a part."""
        return Draw(self._keys, self._solo, self._device)

    def _words(self, count: int) -> Tensor:
        """(K, count) int64 with 64 random bits each."""
        offset, self._used = self._used, self._used + count
        if isinstance(self._keys, Tensor):
            return bits.words_on(self._keys, count, offset)
        if self._device.type == "cpu":
            return torch.from_numpy(bits.words(self._keys, count, offset).view(np.int64))
        return bits.words_on(torch.from_numpy(self._keys.view(np.int64)).to(self._device), count, offset)

    def _shape(self, values: Tensor, shape: Sequence[int]) -> Tensor:
        values = values[:, : math.prod(shape)]
        return values.reshape(tuple(shape)) if self._solo else values.reshape(len(self._keys), *shape)

    def bits16(self, shape: Sequence[int]) -> Tensor:
        """Uniform int16 in [-32768, 32767]: the cheapest draw, four to a word. For Bernoulli masks."""
        words = self._words(-(-math.prod(shape) // 4))
        return self._shape(words.view(torch.int16), shape)

    def uniform(self, shape: Sequence[int], dtype: torch.dtype = torch.float64) -> Tensor:
        """Uniform in (0, 1): 52 random bits at the centre of their cell, so that neither end is ever drawn."""
        cells = (self._words(math.prod(shape)) >> 12) & ((1 << 52) - 1)
        values = (cells.to(torch.float64) + 0.5) * 2.0**-52
        if dtype != torch.float64:
            values = values.to(dtype).clamp_(torch.finfo(dtype).tiny, 1 - torch.finfo(dtype).eps / 2)
        return self._shape(values, shape)

    def normal(self, shape: Sequence[int], dtype: torch.dtype = torch.float64) -> Tensor:
        """Standard normal (Box & Muller 1958): each 64-bit word gives two independent values."""
        count = math.prod(shape)
        words = self._words(-(-count // 2))
        real = torch.float64 if dtype == torch.float64 else torch.float32
        radius = ((words >> 32) & 0xFFFFFFFF).to(torch.float64).add_(0.5).mul_(2.0**-32).to(real).log_().mul_(-2).sqrt_()
        angle = (words & 0xFFFFFFFF).to(real).mul_(2 * math.pi * 2.0**-32)
        values = torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)
        return self._shape(values.to(dtype), shape)

    def larger_share(self, alpha: Any) -> Tensor:
        """(): max(B, 1 - B) with B ~ Beta(alpha, alpha), in float64; 1 where alpha is 0. One for each member."""
        return beta_quantile(self.uniform(()), alpha)

    def integers(self, high: int, shape: Sequence[int] = ()) -> Tensor:
        """Uniform integers in [0, high)."""
        return (self.uniform(shape) * high).long().clamp_(max=high - 1)

    def permutation(self, n: int) -> Tensor:
        """A permutation of range(n): (n,) or (K, n)."""
        # Equal keys (probability about n²/2⁶⁴) are ordered by position, on every device.
        return self._shape(self._words(n).argsort(dim=1, stable=True), (n,))
