"""K networks trained by the compiled engine, one member after the other on each core, all over the same flat memory."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from wellfit.core.operands import StepContext, Values
from wellfit.population.native import library
from wellfit.population.native.library import NativeEvaluation, NativeMember, NativePart, NativeProblem, Value
from wellfit.population.native.translate import PARTS, VALUES, part_values, touched
from wellfit.population.network import NORM_EPSILON, NORM_MOMENTUM, Flat
from wellfit.population.problem import ADAM_BETAS, ADAM_EPSILON, MOMENTUM
from wellfit.population.slots import Slot
from wellfit.population.stack import Stack
from wellfit.regularizers.inputs.mixup import Mixup


class NativeStack(Stack):
    """See :class:`~wellfit.population.stack.Stack`. ``threads`` may be set at any time; results do not depend on it."""

    tier: ClassVar[str] = "native"
    threads: int = 1

    def _bind(self) -> None:
        super()._bind()
        engine = library.engine()
        assert engine is not None, library.why_not()
        self._engine = engine
        self._number = torch.empty(0, dtype=self.dtype).element_size()
        self._tables: list[_Table] = []
        self._bind_problem()
        self._bind_members()

    # ---- what stays the same from epoch to epoch

    def _bind_problem(self) -> None:
        problem, spec = self.problem, self.problem.network
        depths = spec.branch_depths()
        groups = problem.feature_groups
        classes = problem.classes
        weights = problem.objective.class_weights
        self.inputs = self.inputs.contiguous()
        self._rates = np.empty(problem.steps_per_epoch)
        self._shared: dict[str, np.ndarray | Tensor] = {
            "inputs": self.inputs, "widths": np.array(spec.widths, np.int64), "rates": self._rates,
            "branch_depths": np.array([depths.get(i, 0.0) for i in range(spec.depth)])}
        if classes is None:
            self._shared["numbers"] = self.targets.contiguous()
        else:
            self._shared["labels"] = self.targets.long().contiguous()
            if weights is not None:
                self._shared["class_weights"] = weights.to(self.dtype).contiguous()
        if groups is not None:
            self._shared["feature_groups"] = groups.long().contiguous()
        self._problem = NativeProblem(
            **{name: _address(value) for name, value in self._shared.items()},
            beta1=MOMENTUM if problem.optimizer == "sgd" else ADAM_BETAS[0], beta2=ADAM_BETAS[1],
            epsilon=ADAM_EPSILON, norm_momentum=NORM_MOMENTUM, norm_epsilon=NORM_EPSILON, rows=len(self.inputs),
            columns=spec.inputs, sources=spec.inputs if groups is None else int(groups.max()) + 1, depth=spec.depth,
            activation=library.ACTIVATION[spec.activation], classes=classes or 0, batch=problem.batch,
            steps=problem.steps_per_epoch, optimizer=library.OPTIMIZER[problem.optimizer],
            metric=library.METRIC[problem.objective.metric])

    def _bind_members(self) -> None:
        problem, count, steps = self.problem, len(self.members), self.problem.steps_per_epoch
        spec = problem.network
        self._fold_rows = [f.train[:problem.rows_per_fold].long().contiguous() for f in problem.folds]
        sites = {n: np.stack([self.streams.key(f"{n}/{site}") for site in range(total)], axis=1) if total else None
                 for n, total in (("dropout", spec.depth - 1), ("stochastic_depth", len(spec.branch_depths())))}
        self._sites = sites  # kept, as _fold_rows and _parts: the engine holds addresses, not references
        keys = {n: self.streams.key(n) for n in ("order", "mixup", "cut_mix", "cutout", "input_noise")}
        self._average_shares = np.ones((count, steps))
        self._mixup_shares = np.ones((count, steps))
        averaging = np.any([s.present for s in self._slots("average") if s.part.cadence == "step"]
                           or [np.zeros(count, bool)], axis=0)
        mixing = np.any([s.present for s in self.slots if type(s.part) is Mixup] or [np.zeros(count, bool)], axis=0)
        soft = np.any([s.present for s in self.slots if s.part.mixes_targets] or [np.zeros(count, bool)], axis=0)
        acting = [s for s in self.slots if type(s.part) in PARTS]
        self._parts = [(NativePart * len(acting))() for _ in range(count)]
        self._members = (NativeMember * count)()
        for k, native in enumerate(self._members):
            native.weights, native.first, native.second = (_address(f.values[k]) for f in (self.weights, self.first, self.second))
            native.statistics = _address(self.statistics.values[k]) if self.norm else None
            native.averages = _address(self.averages.values[k]) if self.averages is not None else None
            rows = self._fold_rows[self.fold_of[k]]
            native.train_rows, native.train_count = _address(rows), len(rows)
            native.parts = ctypes.addressof(self._parts[k])
            native.average_shares = _address(self._average_shares[k]) if averaging[k] else None
            native.mixup_shares = _address(self._mixup_shares[k]) if mixing[k] else None
            native.dropout_keys, native.depth_keys = (_address(a[k]) if a is not None else None for a in sites.values())
            for name, each in keys.items():
                setattr(native, "noise_key" if name == "input_noise" else f"{name}_key", int(each[k]))
            native.learning_rate = self.members[k].learning_rate
            native.norm, native.skip = int(self.norm), int(bool(self.skips[k]))
            native.soft = int(soft[k] and problem.classes is not None)
        for slot in self.slots:
            for own, theirs in VALUES.get(type(slot.part), {}).items():
                table = _Table(slot, steps)
                self._tables.append(table)
                table.values[own] = np.zeros((count, steps if slot.scheduled else 1))
                for k in np.flatnonzero(slot.present).tolist():
                    setattr(self._members[k], theirs, _value(table.values[own], k))
            if type(slot.part) in PARTS:
                self._bind_part(slot)

    def _bind_part(self, slot: Slot) -> None:
        """Appends the part to the list of every member that has it."""
        steps, count = self.problem.steps_per_epoch, len(self.members)
        table = _Table(slot, steps, acts=True)
        self._tables.append(table)
        table.touches = touched(slot.part, list(self.infos.values()))
        for name in ("a", "b"):
            table.values[name] = np.zeros((count, steps))
        for k in np.flatnonzero(slot.present).tolist():
            part = self._parts[k][self._members[k].part_count]
            part.kind, part.touches = PARTS[type(slot.part)](slot.part), _address(table.touches)
            part.a, part.b = (_value(table.values[n], k) for n in ("a", "b"))
            self._members[k].part_count += 1

    # ---- an epoch

    def _train_epoch(self) -> None:
        progress = self.epoch_progress()
        steps = len(progress)
        self._rates[:] = [self.problem.rate_schedule.at(p) for p in progress]
        for table in self._tables:
            self._fill(table, progress)
        self._fill_shares(steps)
        self._engine.train(self._number, self._problem, self._members, self.epoch, self.step, self.threads)
        self.step += steps

    def _fill(self, table: _Table, progress: list[float]) -> None:
        slot = table.slot
        decays = table.acts and slot.part.name == "weight_decay"  # follows the learning rate
        if table.filled and not slot.scheduled and not decays:
            return
        table.filled = True
        h = Values({n: slot.over_steps(n, progress).T for n in slot.fields}, members=True)
        if not table.acts:
            for name, values in table.values.items():
                values[:] = getattr(h, name)
            return
        base: Any = np.array([[m.learning_rate] for m in self.members])
        a, b = part_values(slot.part, h, StepContext(base * self._rates, base, lambda: None, self.problem.steps_per_epoch))
        table.values["a"][:] = a
        if b is not None:
            table.values["b"][:] = b

    def _fill_shares(self, steps: int) -> None:
        """What averages take in at each step, and the shares of mixup: by the definitions, not in compiled code."""
        for slot in self._slots("average"):
            if slot.part.cadence == "step":
                self._average_shares[slot.present] = self._shares_of_epoch(slot)[slot.present]
        for slot in self.slots:
            if type(slot.part) is Mixup:
                rows = np.flatnonzero(slot.present)
                shares = self.streams.keep(rows.tolist()).larger_shares("mixup", range(self.step, self.step + steps),
                                                                        slot.numbers(0.0).alpha[rows])
                self._mixup_shares[rows] = shares

    # ---- judging

    def outputs(self, rows: Tensor, members: Sequence[int], weights: Flat, statistics: Flat) -> Tensor:
        index = rows.long().contiguous()
        out = torch.empty(len(members), len(index), self.problem.network.outputs, dtype=self.dtype)
        items = (NativeEvaluation * len(members))()
        for n, (k, item) in enumerate(zip(members, items, strict=True)):
            self._fill_item(item, int(k), weights, statistics, index)
            item.outputs = _address(out[n])
        self._engine.evaluate(self._number, self._problem, items, self.threads)
        return out

    def scores(self, rows: Tensor, members: Sequence[int], weights: Flat, statistics: Flat,
               keep: Sequence[int]) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
        index = rows.long().contiguous()
        scores = np.empty((len(members), 2))
        kept = [torch.empty(len(index), self.problem.network.outputs, dtype=self.dtype) for _ in keep]
        items = (NativeEvaluation * len(members))()
        for n, (k, item) in enumerate(zip(members, items, strict=True)):
            self._fill_item(item, int(k), weights, statistics, index)
            item.scores = scores.ctypes.data + n * scores.strides[0]
        for n, outputs in zip(keep, kept, strict=True):
            items[n].outputs = _address(outputs)
        self._engine.evaluate(self._number, self._problem, items, self.threads)
        return scores[:, 0], scores[:, 1], [outputs.float().numpy() for outputs in kept]

    def _recalibrated(self, weights: Flat) -> Flat:
        fresh = Flat(self.statistics.shapes, self.statistics.values.clone())
        probes = {int(f): self.problem.probe(int(f)).long().contiguous() for f in np.unique(self.fold_of)}
        items = (NativeEvaluation * len(self.members))()
        for k, item in enumerate(items):
            self._fill_item(item, k, weights, fresh, probes[int(self.fold_of[k])])
            item.fresh = _address(fresh.values[k])
        self._engine.evaluate(self._number, self._problem, items, self.threads)
        return fresh

    def _fill_item(self, item: NativeEvaluation, k: int, weights: Flat, statistics: Flat, rows: Tensor) -> None:
        item.weights, item.rows, item.count = _address(weights.values[k]), _address(rows), len(rows)
        item.statistics = _address(statistics.values[k]) if self.norm else None
        item.norm, item.skip = int(self.norm), int(bool(self.skips[k]))


class _Table:
    """The values of a slot over members and steps, in memory that the engine reads."""

    def __init__(self, slot: Slot, steps: int, *, acts: bool = False):
        self.slot, self.acts, self.filled = slot, acts, False
        self.values: dict[str, np.ndarray] = {}
        self.touches = np.zeros(0, dtype=np.uint8)


def _value(table: np.ndarray, row: int) -> Value:
    return Value(_address(table[row]), 0 if table.shape[1] == 1 else 1)


def _address(memory: np.ndarray | Tensor) -> int:
    return memory.data_ptr() if isinstance(memory, Tensor) else memory.ctypes.data

