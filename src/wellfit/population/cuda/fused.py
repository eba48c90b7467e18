"""AdamW, decay, proximal step, max-norm and moving average as one pass over memory, where Triton is there to compile it."""

from __future__ import annotations

import importlib.util
import math
import os
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from wellfit.core.operands import StepContext, Values
from wellfit.population.native import library
from wellfit.population.native.translate import PARTS, part_values, soft_and_ridge, touched
from wellfit.population.network import Flat
from wellfit.population.problem import ADAM_BETAS, ADAM_EPSILON
from wellfit.population.slots import Slot

if TYPE_CHECKING:
    from wellfit.population.cuda.stack import CudaStack

_KINDS = (library.SHRINK, library.SOFT, library.ELASTIC, library.BALL)
_PROX = (library.SOFT, library.ELASTIC)
#: Numbers a program holds, and the most a unit may have.
_TILE, _WIDEST = 1024, 8192


def triton_at_hand(device: torch.device) -> bool:
    """Whether Triton can run here: on a graphics card, or anywhere through its interpreter (``TRITON_INTERPRET=1``)."""
    if importlib.util.find_spec("triton") is None:
        return False
    return os.environ.get("TRITON_INTERPRET") == "1" or (device.type == "cuda" and _compiles(device))


@cache
def _compiles(device: torch.device) -> bool:
    """Whether Triton has what it needs for a card: it builds a helper with the compiler of the host, which may not be there."""
    try:
        from triton.runtime import driver

        driver.active.get_current_target()
    except Exception:  # whatever is missing, tensors do the same
        return False
    return torch.cuda.get_device_capability(device) >= (7, 0)


def fused_update(stack: CudaStack) -> FusedUpdate | None:
    """The pass for a stack; None where its optimizer or its parts ask for something else."""
    widest = max(math.prod(shape[1:]) for shape in stack.shapes.values())
    if stack.problem.optimizer != "adam" or widest > _WIDEST or not triton_at_hand(stack.device):
        return None
    before = [s for s in stack._slots("step") if s.part.moment == "before"]
    after = [s for s in stack._slots("step") if s.part.moment == "after"]
    if any(_kind(s) != library.SHRINK for s in before):
        return None
    # parts act in their order: what the pass does not know, and all that follows, is done afterwards
    known = next((n for n, s in enumerate(after) if _kind(s) not in _KINDS), len(after))
    infos = list(stack.infos.values())
    taken = np.zeros((2, len(stack.members), len(infos)), dtype=int)
    for slot in after[:known]:
        taken[int(_kind(slot) in _PROX)] += slot.present[:, None] * touched(slot.part, infos)
    return None if taken.max(initial=0) > 1 else FusedUpdate(stack, before + after[:known], after[known:])


def _kind(slot: Slot) -> int | None:
    return PARTS[type(slot.part)](slot.part) if type(slot.part) in PARTS else None


@dataclass
class _Launch:
    """Tiles of units of about one length: (tiles, 4) of start, units, length and the number of the parameter."""

    tiles: Tensor
    rows: int
    columns: int

    @property
    def warps(self) -> int:
        return min(16, max(4, self.rows * self.columns // 512))


class FusedUpdate:
    """See ``kernel.py``. ``left`` are the slots of the step phase it does not do; ``averages`` says whether it takes the average.

    Of each step it is told (K, 4) numbers of the members and (K, parameters, 4) of their parameters, in tables for an epoch.
    """

    def __init__(self, stack: CudaStack, slots: Sequence[Slot], left: Sequence[Slot]):
        self._of, self._slots, self.left = weakref.ref(stack), list(slots), list(left)  # a cycle would keep the card's memory
        self._stepwise = [s for s in stack._slots("average") if s.part.cadence == "step"]
        self.averages = bool(self._stepwise) and not left
        count, steps = len(stack.members), stack.problem.steps_per_epoch
        self._infos = list(stack.infos.values())
        self._of_members = torch.zeros(steps, count, 4, dtype=stack.dtype, device=stack.device)
        self._of_pieces = torch.zeros(steps, count, len(self._infos), 4, dtype=stack.dtype, device=stack.device)
        self._launches = _launches(stack.weights, stack.device)

    @property
    def _stack(self) -> CudaStack:
        stack = self._of()
        assert stack is not None
        return stack

    def fill(self, progress: Sequence[float], rates: np.ndarray, scales: np.ndarray, shares: Mapping[int, np.ndarray]) -> None:
        """Write down an epoch: rates (steps, K), Adam's scales (steps, 2), shares of averages (steps, K) by slot."""
        count = len(self._stack.members)
        told = np.zeros((len(progress), count, 4))
        told[..., 0], told[..., 1], told[..., 2] = rates, scales[:, :1], scales[:, 1:]
        for slot in self._stepwise:  # the average of whoever takes in nothing at this step stays bit for bit
            told[:, slot.present, 3] = shares[id(slot)][:, slot.present]
        acts = np.zeros((len(progress), count, len(self._infos), 4))
        acts[..., 0], acts[..., 3] = 1.0, np.inf
        base = np.array(self._stack.base_rates64)
        for slot in self._slots:
            here, kind = np.flatnonzero(slot.present), _kind(slot)
            context = StepContext(rates, base, lambda: None, self._stack.problem.steps_per_epoch)  # type: ignore[arg-type]
            told_of: dict[int, Values] = {}
            for n in np.flatnonzero(touched(slot.part, self._infos)).tolist():
                behind = self._infos[n].layers_behind if slot.part.layered else 0
                if behind not in told_of:
                    told_of[behind] = Values({f: slot.over_steps(f, progress, layers_behind=behind) for f in slot.fields},
                                             members=True)
                h = told_of[behind]
                a, b = (None if v is None else np.broadcast_to(v, rates.shape)[:, here] for v in part_values(slot.part, h, context))
                assert a is not None
                if kind == library.SHRINK:
                    acts[:, here, n, 0] *= a
                elif kind == library.BALL:
                    acts[:, here, n, 3] = a
                else:
                    acts[:, here, n, 1], acts[:, here, n, 2] = soft_and_ridge(a, b)
        self._of_members.copy_(torch.from_numpy(told))
        self._of_pieces.copy_(torch.from_numpy(acts))

    def __call__(self, position: Tensor) -> None:
        from wellfit.population.cuda.kernel import update_kernel

        stack = self._stack
        averages = stack.averages.values if self.averages and stack.averages is not None else stack.weights.values
        for launch in self._launches:
            update_kernel[(len(launch.tiles), len(stack.members))](
                stack.weights.values, stack.gradient.values, stack.first.values, stack.second.values, averages, self._of_members,
                self._of_pieces, launch.tiles, position, stack.weights.values.shape[1], len(stack.members), len(self._infos),
                BETA1=ADAM_BETAS[0], BETA2=ADAM_BETAS[1], EPSILON=ADAM_EPSILON, ROWS=launch.rows, COLUMNS=launch.columns,
                AVERAGES=self.averages, num_warps=launch.warps, enable_fp_fusion=True)


def _launches(weights: Flat, device: torch.device) -> list[_Launch]:
    """Every parameter cut into tiles: rows of a matrix, single numbers of a vector. A tile holds whole units, in a power of two of
    columns."""
    found: dict[int, list[tuple[int, int, int, int]]] = {}
    start = 0
    for number, shape in enumerate(weights.shapes.values()):
        units, length = shape[0], math.prod(shape[1:])
        columns = 1 << (length - 1).bit_length()
        rows = max(1, _TILE // columns)
        for first in range(0, units, rows):
            found.setdefault(columns, []).append((start + first * length, min(rows, units - first), length, number))
        start += units * length
    return [_Launch(torch.tensor(tiles, dtype=torch.int64, device=device), max(1, _TILE // columns), columns)
            for columns, tiles in sorted(found.items())]
