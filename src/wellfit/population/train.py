"""Members trained to given epochs, in stacks that fit the cache, with checkpoints: the unit of work of one process."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from wellfit.core.recipe import Recipe
from wellfit.population.modules.problem import ModuleProblem
from wellfit.population.problem import Member, MetricNames
from wellfit.population.slots import structure_key
from wellfit.population.tiers import AnyProblem, AnyStack, make_stack, tier_of

_WORTH_HALVING = 12
_ARRAYS = ("outputs", "extra", "trail")
CHECKPOINT_SECONDS = 2.0
_DEFAULT_CACHE = 16 * 2**20
_STEP_SECONDS, _FLOP_SECONDS = 5e-6, 1.5e-11  # of the compiled engine, roughly
_LOOK_SECONDS, _STACK_BYTES, _CARD_BYTES = 0.5, 2**28, 2**32
_SHARE_TO_LEAVE, _SAVING_COSTS = 0.25, 10


@dataclass
class Record:
    """What is known of one member: its history so far and, once it has ended, its result.

    Attributes:
        history: per epoch, the clean losses and errors (``problem.MetricNames``).
        best_epoch: the epoch whose weights count.
        ended: whether training is over (last epoch, early stop).
        outputs: (n_validation, C) outputs of the returned weights on the fold's validation rows.
        trail: (epochs, n_validation, C) the same after every epoch, for members of a cross-validation that stop early.
        extra: (m, C) outputs on the rows asked for at the end.
        weights: parameters and batch-norm statistics by name, when asked for.
    """

    history: dict[str, list[float]] = field(default_factory=lambda: {n: [] for n in MetricNames})
    best_epoch: int = 0
    ended: bool = False
    outputs: np.ndarray | None = None
    extra: np.ndarray | None = None
    trail: np.ndarray | None = None
    weights: dict[str, np.ndarray] | None = None

    @property
    def epochs(self) -> int:
        return len(self.history["train_loss"])

    def at(self, name: str, epoch: int | None = None) -> float:
        """A metric of the weights that count after ``epoch`` epochs (default: all)."""
        values = self.history[name]
        if not values:
            return float("nan")
        if self.ended and (epoch is None or epoch >= self.epochs):
            return values[min(self.best_epoch, len(values)) - 1]
        return values[min(epoch or len(values), len(values)) - 1]


def mean_history(histories: Sequence[Mapping[str, list[float]]], ended: Sequence[bool] | None = None) -> dict[str, list[float]]:
    """Per epoch the mean over trainings, for every metric. One that ended early keeps its last value, so that the mean is always
    over the same; ``ended`` says which have (default: all)."""
    lengths = [len(history["train_loss"]) for history in histories]
    longest = max(lengths, default=0)
    out = {}
    for name in MetricNames:
        padded = np.full((len(histories), longest), np.nan)
        for row, (history, length) in enumerate(zip(histories, lengths, strict=True)):
            padded[row, :length] = history[name]
            if 0 < length < longest and (ended is None or ended[row]):
                padded[row, length:] = history[name][-1]
        count = (~np.isnan(padded)).sum(axis=0)
        with np.errstate(invalid="ignore"):  # where nobody has a value, as after a divergence, 0 / 0 is nan
            out[name] = (np.nansum(padded, axis=0) / count).tolist() if np.isfinite(padded).any() else []
    return out


@dataclass(frozen=True)
class Wants:
    """What to hand over when a member ends."""

    weights: bool = False
    extra_rows: Tensor | None = None


@cache
def cache_bytes() -> int:
    """The share of the last-level cache one process may count on."""
    sizes = []
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = path.read_text().strip()
        factor = {"K": 2**10, "M": 2**20, "G": 2**30}.get(text[-1:], 1)
        sizes.append(int(text.rstrip("KMG")) * factor)
    return max(sizes) // 2 if sizes else _DEFAULT_CACHE


def stack_size(problem: AnyProblem, largest: int = 48, tier: str = "reference") -> int:
    """How many members to stack.

    Networks of any kind are trained one after the other. Tensors: as many as keep weights, gradient, moments and activations
    within the cache. Small networks gain from many members, because Python's cost per operation is shared; large ones gain
    nothing once their weights leave the cache (see benchmarks/population.py). Compiled: members are trained one after the other
    anyway, so only memory and the time between two looks at the clock (one epoch of all) set a bound. On a graphics card: as many
    as fit.
    """
    if tier == "modules" or isinstance(problem, ModuleProblem):
        return 1
    parameters, batch = problem.network.parameters, problem.batch
    if tier == "native":
        epoch = problem.steps_per_epoch * (_STEP_SECONDS + 6 * parameters * batch * _FLOP_SECONDS)
        return int(np.clip(min(_LOOK_SECONDS / epoch, _STACK_BYTES / (parameters * 16)), 8, 512))
    activations = batch * sum(problem.network.widths) * 4
    if tier == "cuda":
        tables = 80 * problem.rows_per_fold + 16 * problem.steps_per_epoch * len(problem.network.shapes(True))
        return int(np.clip(_CARD_BYTES // (parameters * 32 + activations * 8 + tables), 8, 1024))
    return int(np.clip(cache_bytes() // (parameters * 16 + activations * 4), 4, largest))


def plan_stacks(problem: AnyProblem, members: Mapping[int, Member], size: int | None = None) -> list[tuple[str, list[int]]]:
    """Member ids grouped into stacks, each with its tier: one structure, alike recipes together, at most ``size`` members.

    The answer depends on the members alone, never on how many processes there are.
    """
    groups: dict[tuple[str, bool], list[int]] = {}
    for number in sorted(members, key=lambda n: (_costly_parts(members[n].recipe), n)):
        member = members[number]
        groups.setdefault((tier_of(problem, member), structure_key(member.recipe)), []).append(number)
    stacks = []
    for tier, structure in sorted(groups):
        ids = groups[tier, structure]
        count = -(-len(ids) // (size or stack_size(problem, tier=tier)))
        if tier == "reference" and len(ids) >= _WORTH_HALVING:
            count += count % 2  # an even number shares out over two, four, ... processes
        stacks += [(tier, ids[i * len(ids) // count:(i + 1) * len(ids) // count]) for i in range(count)]
    return stacks


def _costly_parts(recipe: Recipe) -> tuple[bool, ...]:
    """Sort key that puts members with the same costly parts next to each other, where one view serves them all."""
    steps = ("group_mcp", "group_lasso", "elastic_net", "l1", "max_norm", "l2", "weight_decay", "ema")
    inputs = ("cut_mix", "cutout", "mixup", "input_noise", "label_smoothing")
    return tuple(name in recipe for name in (*steps, *inputs))


class StackRun:
    """One stack on its way, with the records of all members it ever had and a checkpoint file.

    Args:
        problem: what to learn.
        members: by id.
        wants: what to hand over at the end of each member.
        checkpoint: file to keep the state in, or None.
        tier: what trains it (``tiers.TIERS``).
        threads: of the compiled engine.
    """

    def __init__(self, problem: AnyProblem, members: Mapping[int, Member], wants: Wants, checkpoint: Path | None = None, *,
                 tier: str = "reference", threads: int = 1):
        self.problem, self.all, self.wants, self.checkpoint = problem, dict(members), wants, checkpoint
        self.tier, self.threads = tier, threads
        self.records = {n: Record() for n in members}
        self.ids = list(members)
        self.seconds = 0.0
        self.member_epochs = 0
        self._trails: dict[int, list[np.ndarray]] = {}
        # without validation rows only the numbers at the end are of use
        self._validated = any(len(f.validation) for f in problem.folds)
        self._last_epochs = {m.epochs or problem.epochs for m in members.values()}
        self._saved_at, self._pause = time.monotonic(), CHECKPOINT_SECONDS
        self.stack: AnyStack | None = None
        if not (checkpoint and self._restore()):
            self.stack = self._new_stack()

    def _new_stack(self) -> AnyStack:
        return make_stack(self.problem, [self.all[n] for n in self.ids], tier=self.tier, threads=self.threads)

    def advance(self, epoch: int, deadline: float | None, report: Callable[[int, int], None]) -> bool:
        """Train the live members up to ``epoch``; False when the deadline (time.monotonic) came first."""
        stack, trained = self.stack, False
        while stack is not None and self.ids and stack.epoch < min(epoch, self.problem.epochs):
            if deadline is not None and time.monotonic() > deadline:
                return False
            started, trained = time.perf_counter(), True
            metrics = stack.run_epoch(evaluate=self._validated or stack.epoch + 1 in self._last_epochs)
            live = [(row, number) for row, number in enumerate(self.ids) if not self.records[number].ended]
            for row, number in live:
                for name in MetricNames:
                    self.records[number].history[name].append(float(metrics[name][row]) if metrics else math.nan)
                if row in stack.trail:
                    self._trails.setdefault(number, []).append(stack.trail[row])
            self.member_epochs += len(live)
            self._close_finished()
            self.seconds += time.perf_counter() - started
            report(len(live), stack.epoch)
            if self.checkpoint and time.monotonic() - self._saved_at > self._pause:
                self.save()
        if self.checkpoint and trained and time.monotonic() - self._saved_at > self._pause / 4:
            self.save()  # other stacks take their turn before this one is heard of again
        return True

    @property
    def epoch(self) -> int:
        """Epochs trained so far; all of them once no member is left."""
        return self.problem.epochs if self.stack is None else self.stack.epoch

    def keep(self, numbers: Sequence[int]) -> None:
        """Go on with these members only."""
        wanted = set(numbers)
        rows = [r for r, n in enumerate(self.ids) if n in wanted]
        if len(rows) < len(self.ids):
            self._keep_rows(rows)

    def _keep_rows(self, rows: list[int]) -> None:
        assert self.stack is not None
        self.ids = [self.ids[r] for r in rows]
        self._trails = {n: t for n, t in self._trails.items() if n in set(self.ids)}
        if rows:
            self.stack.keep(rows)
        else:
            self.stack = None  # frees the memory

    def _close_finished(self) -> None:
        """Members whose training has ended hand over their result and leave the computation; where a step is recorded for all of
        them, when they are many: recording anew costs more than they do."""
        stack = self.stack
        assert stack is not None
        ended = np.array([self.records[n].ended for n in self.ids])
        finished = stack.finished() | ended
        rows = np.flatnonzero(finished & ~ended)
        if not len(rows):
            return
        for fold in np.unique(stack.fold_of[rows]):
            same = rows[stack.fold_of[rows] == fold].tolist()
            validation = self.problem.folds[fold].validation
            outputs = stack.final_outputs(validation, same).numpy() if len(validation) else None
            extra = (stack.final_outputs(self.wants.extra_rows, same).numpy()
                     if self.wants.extra_rows is not None and len(self.wants.extra_rows) else None)
            for position, row in enumerate(same):
                record = self.records[self.ids[row]]
                record.ended, record.best_epoch = True, int(stack.best_epoch[row])
                record.outputs = None if outputs is None else outputs[position]
                record.extra = None if extra is None else extra[position]
                if (steps := self._trails.pop(self.ids[row], None)) is not None:
                    record.trail = np.stack(steps)
                if self.wants.weights:
                    record.weights = stack.final_weights(row)
        if self.tier != "cuda" or finished.mean() >= _SHARE_TO_LEAVE or finished.all():
            self._keep_rows(np.flatnonzero(~finished).tolist())

    # ---- checkpoint

    def save(self) -> None:
        """Write everything needed to go on, atomically."""
        if self.checkpoint is None:
            return
        begun = time.monotonic()
        tensors: dict[str, Tensor] = {} if self.stack is None else {f"stack.{k}": v for k, v in self.stack.state().items()}
        described: dict[str, Any] = {}
        for number, record in self.records.items():
            described[str(number)] = {"history": record.history, "best_epoch": record.best_epoch, "ended": record.ended}
            for name in _ARRAYS:
                value = getattr(record, name)
                if value is not None:
                    tensors[f"record.{number}.{name}"] = torch.from_numpy(np.ascontiguousarray(value))
            for name, value in (record.weights or {}).items():
                tensors[f"record.{number}.weights.{name}"] = torch.from_numpy(value)
        for number, steps in self._trails.items():
            tensors[f"trail.{number}"] = torch.from_numpy(np.stack(steps))
        meta = {"ids": self.ids, "records": described, "seconds": self.seconds, "member_epochs": self.member_epochs}
        temporary = self.checkpoint.with_suffix(".tmp")
        save_file(tensors, temporary, metadata={"state": json.dumps(meta)})
        os.replace(temporary, self.checkpoint)
        self._saved_at = time.monotonic()
        self._pause = max(CHECKPOINT_SECONDS, _SAVING_COSTS * (self._saved_at - begun))  # a large stack is saved less often

    def _restore(self) -> bool:
        assert self.checkpoint is not None
        if not self.checkpoint.exists():
            return False
        with safe_open(self.checkpoint, "pt") as file:
            meta = json.loads(file.metadata()["state"])
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 - the file is no mapping
        if {int(n) for n in meta["records"]} != set(self.all):
            return False
        self.ids, self.seconds, self.member_epochs = meta["ids"], meta["seconds"], meta["member_epochs"]
        for number, row in meta["records"].items():
            self.records[int(number)] = record = Record(row["history"], row["best_epoch"], row["ended"])
            prefix = f"record.{number}."
            for name in _ARRAYS:
                if prefix + name in tensors:
                    setattr(record, name, tensors[prefix + name].numpy())
            weights = {k[len(prefix) + 8:]: v.numpy() for k, v in tensors.items() if k.startswith(prefix + "weights.")}
            record.weights = weights or None
        self._trails = {int(k[6:]): list(v.numpy()) for k, v in tensors.items() if k.startswith("trail.")}
        if self.ids:
            stack = self._new_stack()
            stack.load_state({k[6:]: v for k, v in tensors.items() if k.startswith("stack.")})
            self.stack = stack
        return True
