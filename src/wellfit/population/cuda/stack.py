"""K networks trained by one recorded step.

A small network keeps a graphics card busy for microseconds, while Python needs milliseconds to ask for the operations of a step.
So a step is asked for once, recorded as a CUDA graph, and played for every other step of every epoch; the host only shuffles the
rows and writes down an epoch's schedules. For that a step may read nothing from the host: learning rates, schedules, shares of
averages and the keys of the draws are in tables on the device, and a clock in its memory says which row is next.

One step is recorded rather than an epoch: playing it takes the host a fraction of the time that the card computes, and members
leave at every rung, after which the record is made anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from wellfit.core.draws import Draw
from wellfit.core.operands import Values
from wellfit.kernels.average import blend_
from wellfit.population.cuda.clock import Clock
from wellfit.population.cuda.fused import FusedUpdate, fused_update
from wellfit.population.problem import epoch_order
from wellfit.population.reference import ReferenceStack, adam_scales, component
from wellfit.population.slots import Slot

#: With more stretches of members that have a part, it is applied to all.
_STRETCHES = 2


class CudaStack(ReferenceStack):
    """See :class:`~wellfit.population.stack.Stack`. Without a graphics card the same step is computed, but not recorded."""

    tier: ClassVar[str] = "cuda"
    activations_at_once: ClassVar[int] = 2**28

    def _bind(self) -> None:
        for slot in self.slots:  # neutral values cost less than a launch for each of many stretches
            if len(slot.runs) > _STRETCHES:
                slot.runs = [slot.everyone]
        super()._bind()
        self._one_pass = False  # one call per member: for a card, far too many
        self._clock = Clock(self.device)
        self._rows = torch.empty(len(self.members), self.problem.rows_per_fold, dtype=torch.int64, device=self.device)
        self._places = torch.arange(self.problem.batch, device=self.device)
        self._series: dict[tuple[int, int, int, int], _Series] = {}
        self._shares = {id(s): self._table(len(self.members)) for s in self._slots("average") if s.part.cadence == "step"}
        self._mixing: dict[tuple[str, int, int], _Mixing] = {}
        self._rate_table, self._scale_table = self._table(len(self.members)), self._table(2)
        self._update_in_one: FusedUpdate | None = fused_update(self)
        self._record: torch.cuda.CUDAGraph | None = None
        self._warm = False

    def _table(self, *shape: int) -> Tensor:
        return torch.zeros(self.problem.steps_per_epoch, *shape, dtype=self.dtype, device=self.device)

    # ---- an epoch

    def _train_epoch(self) -> None:
        steps = self.problem.steps_per_epoch
        self._clock.begin(self.step)
        order = epoch_order(self.streams, self.epoch, self.problem.rows_per_fold)
        self._rows.copy_(self._train_rows.gather(1, order.to(self.device)))
        self._fill()
        with torch.cuda.device(self.device) if self.device.type == "cuda" else contextlib.nullcontext():
            for _ in range(steps):
                self._play()
        self.step += steps

    def _play(self) -> None:
        """One step: asked for the first time, recorded the second, played from then on."""
        if self._record is None and self.device.type == "cuda" and self._warm:
            record = torch.cuda.CUDAGraph()
            with torch.cuda.graph(record, stream=_stream(self.device)):
                self._whole_step()
            self._record = record  # recording does not compute
        if self._record is not None:
            self._record.replay()
        elif self.device.type == "cuda":  # libraries make their workspaces, and tables come to be, outside of the record
            side = _stream(self.device)
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                self._whole_step()
            torch.cuda.current_stream().wait_stream(side)
            self._warm = True
        else:
            self._whole_step()

    def _whole_step(self) -> None:
        self._train_step(self._rows.index_select(1, self._clock.position * self.problem.batch + self._places))

    # ---- what the host writes down for an epoch

    def _fill(self) -> None:
        progress = self.epoch_progress()
        factors = np.array([self.problem.rate_schedule.at(p) for p in progress])
        rates = np.array(self.base_rates64) * factors[:, None]
        scales = np.array([adam_scales(t) for t in range(self.step + 1, self.step + 1 + len(progress))])
        _write(self._rate_table, rates)
        _write(self._scale_table, scales)
        for series in self._series.values():
            series.fill(progress)
        for mixing in self._mixing.values():
            mixing.fill(self.step)
        shares = {}
        for slot in self._slots("average"):
            if slot.part.cadence == "step":
                shares[id(slot)] = self._shares_of_epoch(slot).T
                _write(self._shares[id(slot)], shares[id(slot)])
        if self._update_in_one is not None:
            self._update_in_one.fill(progress, rates, scales, shares)

    # ---- the present step

    def _values(self, slot: Slot, run: slice | None = None, layers_behind: int = 0) -> Values:
        if not slot.scheduled:
            return slot.tensors(0.0, run, layers_behind)
        run = run or slot.everyone
        key = (id(slot), run.start, run.stop, layers_behind if slot.part.layered else 0)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series(slot, run, key[3], self._table(len(slot.fields), run.stop - run.start))
            series.fill(self.epoch_progress())
        return Values(dict(zip(slot.fields, self._clock.now(series.table), strict=True)), members=True)

    def _draw(self, part: Any, site: int | None = None, run: slice | None = None) -> Draw:
        run, name = run or slice(0, len(self.members)), component(part, site)
        return _ClockDraw(self._streams_of(run).keys_at(name, self._clock.step), self, name, run)

    def _rates(self) -> Tensor:
        return self._clock.now(self._rate_table)

    def _adam_scales(self) -> tuple[Any, Any]:
        first, scale = self._clock.now(self._scale_table)
        return first, scale

    def _apply(self) -> None:
        if self._update_in_one is None:
            super()._apply()
        else:
            self._adjust_gradients()
            self._update_in_one(self._clock.position)
            for slot in self._update_in_one.left:
                self._update(slot, self._rates())

    def _end_step(self) -> None:
        for slot in self._slots("average"):
            if id(slot) in self._shares and not (self._update_in_one and self._update_in_one.averages):
                assert self.averages is not None
                share = self._clock.now(self._shares[id(slot)])
                for run in slot.runs:
                    blend_(self.averages.values[run], self.weights.values[run], share[run][:, None])
        self._clock.tick()

    def larger_shares(self, name: str, run: slice, alpha: Tensor) -> Tensor:
        """What mixup draws at the present step. The quantile is the host's to compute, an epoch ahead."""
        key = (name, run.start, run.stop)
        mixing = self._mixing.get(key)
        if mixing is None:
            table = torch.zeros(self.problem.steps_per_epoch, run.stop - run.start, dtype=torch.float64, device=self.device)
            mixing = self._mixing[key] = _Mixing(self._streams_of(run), name, alpha.double().cpu().numpy(), table)
            mixing.fill(self.step)
        return self._clock.now(mixing.table)


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """One stream of each card for first and recorded steps: libraries keep a workspace for every stream they ever saw."""
    return torch.cuda.Stream(device)


class _Series:
    """The values of a slot with schedules, (steps, fields, members)."""

    def __init__(self, slot: Slot, run: slice, layers_behind: int, table: Tensor):
        self.slot, self.run, self.layers_behind, self.table = slot, run, layers_behind, table

    def fill(self, progress: Sequence[float]) -> None:
        values = [self.slot.over_steps(n, progress, self.run, self.layers_behind) for n in self.slot.fields]
        _write(self.table, np.stack(values, axis=1))


class _Mixing:
    """The shares of mixup, (steps, members)."""

    def __init__(self, streams: Any, name: str, alpha: np.ndarray, table: Tensor):
        self.streams, self.name, self.alpha, self.table = streams, name, alpha, table

    def fill(self, step: int) -> None:
        _write(self.table, self.streams.larger_shares(self.name, range(step, step + len(self.table)), self.alpha).T)


class _ClockDraw(Draw):
    """A draw whose keys were made on the device."""

    def __init__(self, keys: Tensor, stack: CudaStack, name: str, run: slice):
        super().__init__(keys, False, keys.device)
        self._stack, self._name, self._run = stack, name, run

    def again(self) -> Draw:
        assert isinstance(self._keys, Tensor)
        return _ClockDraw(self._keys, self._stack, self._name, self._run)

    def larger_share(self, alpha: Any) -> Tensor:
        self._used += 1
        return self._stack.larger_shares(self._name, self._run, alpha)


def _write(table: Tensor, values: np.ndarray) -> None:
    table.copy_(torch.from_numpy(np.ascontiguousarray(values)))
