"""K networks in training: their memory, their clock, how they are judged, stopped and averaged.

How an epoch is computed is the business of a tier (``reference.py``, ``native/stack.py``). Whatever the tier, member k equals
the same configuration trained alone: its draws hang on its own seed, its numbers on its own row of every tensor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from wellfit.core.draws import Streams
from wellfit.core.errors import WellfitError
from wellfit.core.select import matches
from wellfit.kernels.average import blend_
from wellfit.population.network import Flat, initial
from wellfit.population.problem import Member, Problem
from wellfit.population.slots import line_up, structure_key

MATRICES = "matrices"
_STATISTICS = ("running_mean", "running_var")


class Stack(ABC):
    """K members of one structure.

    Args:
        problem: data, network, objective and length.
        members: what to train; all with the same structure (``slots.structure_key``).
        dtype: of weights and activations.

    After :meth:`run_epoch` or :meth:`keep`, row k of every array belongs to ``members[k]``.
    """

    tier: ClassVar[str]

    def __init__(self, problem: Problem, members: Sequence[Member], *, dtype: torch.dtype = torch.float32):
        keys = {structure_key(m.recipe) for m in members}
        if len(keys) != 1:
            raise WellfitError("Members of one stack need one structure.", received=f"{len(keys)} structures",
                               expected="members grouped by structure_key")
        problem = problem.there
        self.problem, self.members, self.dtype = problem, list(members), dtype
        self.device = problem.inputs.device
        self.norm = keys.pop()
        self.inputs = problem.inputs.to(dtype)
        self.targets = problem.targets.to(dtype) if problem.objective.task == "regression" else problem.targets
        self.epoch = self.step = 0
        self.trail: dict[int, np.ndarray] = {}  # validation outputs after the last epoch, by row
        spec, count = problem.network, len(members)
        self.infos = spec.infos(self.norm, problem.feature_groups)
        self.shapes = spec.shapes(self.norm)
        self.streams = Streams([m.seed for m in members], self.device)
        self.weights = Flat.zeros(self.shapes, count, dtype, self.device)
        for name, shape in self.shapes.items():
            self.weights.views[name].copy_(initial(spec, self.streams, name, shape))
        self.first, self.second = (Flat.zeros(self.shapes, count, dtype, self.device) for _ in range(2))
        self.slots = line_up([m.recipe for m in members], dtype, self.device)
        normed = list(enumerate(spec.hidden)) if self.norm else []
        stats: dict[str, tuple[int, ...]] = {f"{i}.{kind}": (width,) for i, width in normed for kind in _STATISTICS}
        self.statistics = Flat.zeros(stats, count, dtype, self.device)
        for name, view in self.statistics.views.items():
            view.fill_(1.0 if name.endswith("var") else 0.0)
        self.averages = Flat(self.shapes, self.weights.values.clone()) if self._has("average") else None
        self.taken = np.zeros(count)
        self.best = Flat(self.shapes, self.weights.values.clone()) if self._has("monitor") else None
        self.best_statistics = self.statistics.values.clone()
        self.best_epoch = np.zeros(count, np.int64)
        self.stopped = np.zeros(count, bool)
        self.monitor_states = {id(s): s.part.start(count) for s in self._slots("monitor")}  # type: ignore[attr-defined]
        self._bind()

    # ---- organisation

    def _slots(self, phase: str) -> list[Any]:
        return [s for s in self.slots if phase in s.phases]

    def _has(self, phase: str) -> bool:
        return bool(self._slots(phase))

    def _bind(self) -> None:
        """Everything that follows from the current members and memory; tiers add to it."""
        self._judged: tuple[Flat, Flat] | None = None
        self._final: tuple[Flat, Flat] | None = None
        self._to_judge: Flat | None = None  # memory for averaged weights: new pages every epoch would cost more than the copy
        self.fold_of = np.array([m.fold for m in self.members])
        self.skips = np.array(["skip_connections" in m.recipe for m in self.members])

    def _touched_by(self, part: Any) -> list[str]:
        """Names of the parameters a part acts on; all weight matrices in one piece where it acts on each weight alone."""
        names = [n for n, i in self.infos.items() if matches(i, part.select)]
        whole = [n for n, i in self.infos.items() if i.kind == "linear"]
        return [MATRICES] if part.elementwise and not part.layered and names == whole else names

    @property
    def progress(self) -> float:
        return self.step / self.problem.total_steps

    def epoch_progress(self) -> list[float]:
        """The progress at each step of the epoch that begins."""
        return [(self.step + n) / self.problem.total_steps for n in range(self.problem.steps_per_epoch)]

    @property
    def done(self) -> bool:
        """Whether every member has finished its training."""
        return self.epoch >= self.problem.epochs or not self.members or bool(self.finished().all())

    def finished(self) -> np.ndarray:
        """Members whose training has ended: stopped by their monitor, or at their own last epoch."""
        limits = np.array([m.epochs or self.problem.epochs for m in self.members])
        return self.stopped | (self.epoch >= limits)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with some of the members; the others leave the computation."""
        index = torch.as_tensor(list(rows), dtype=torch.long, device=self.device)
        self.trail = {}
        where = {id(s): s for s in self.slots}
        self.members = [self.members[r] for r in rows]
        self.streams = self.streams.keep(rows)
        self.weights, self.first, self.second = (f.keep(index) for f in (self.weights, self.first, self.second))
        self.statistics = self.statistics.keep(index)
        self.averages = self.averages.keep(index) if self.averages is not None else None
        self.best = self.best.keep(index) if self.best is not None else None
        self.best_statistics = self.best_statistics[index]
        picked = np.asarray(list(rows), dtype=np.int64)
        self.taken, self.best_epoch, self.stopped = self.taken[picked], self.best_epoch[picked], self.stopped[picked]
        states, slots = {}, []
        for old, slot in where.items():
            new = slot.keep(rows)
            if new is not None:
                slots.append(new)
                if old in self.monitor_states:
                    states[id(new)] = {k: v[picked] for k, v in self.monitor_states[old].items()}
        self.slots, self.monitor_states = slots, states
        if not self._has("average"):
            self.averages = None
        self._bind()

    # ---- training

    def run_epoch(self, evaluate: bool = True) -> dict[str, np.ndarray]:
        """One epoch for every member; returns (K,) arrays of clean losses and errors (see ``problem.MetricNames``)."""
        self._judged = self._final = None
        self._train_epoch()
        self.epoch += 1
        for slot in self._slots("average"):
            if slot.part.cadence == "epoch":
                self._average(slot)
        metrics = self.measure() if evaluate else {}
        self._observe(metrics)
        return metrics

    @abstractmethod
    def _train_epoch(self) -> None:
        """Train every member for an epoch, the averages taken per step included, and count its steps in ``step``."""

    @abstractmethod
    def _recalibrated(self, weights: Flat) -> Flat:
        """Batch-norm statistics of one pass over each member's probe rows with dropout off, layer by layer."""

    @abstractmethod
    def outputs(self, rows: Tensor, members: Sequence[int], weights: Flat, statistics: Flat) -> Tensor:
        """(len(members), len(rows), C): evaluation-mode outputs of some members on shared rows."""

    def _shares_of_epoch(self, slot: Any) -> np.ndarray:
        """(K, steps): what an average takes in after each step of the epoch that begins, 0 for members without; counts them as
        taken."""
        out = np.zeros((len(self.members), self.problem.steps_per_epoch))
        h = slot.numbers(self.progress)
        for n, progress in enumerate(self.epoch_progress()):
            h = slot.numbers(progress) if slot.scheduled else h
            share, taken = slot.part.weight_of_current(self.taken, self.epoch / self.problem.epochs, h)
            self.taken = np.where(slot.present, taken, self.taken)
            out[slot.present, n] = share[slot.present]
        return out

    def _average(self, slot: Any) -> None:
        assert self.averages is not None
        share, taken = slot.part.weight_of_current(self.taken, self.epoch / self.problem.epochs, slot.numbers(self.progress))
        self.taken = np.where(slot.present, taken, self.taken)
        share = np.where(slot.present, share, 0.0)
        for run in slot.runs:
            blend_(self.averages.values[run], self.weights.values[run],
                   torch.from_numpy(share[run]).to(self.device, self.dtype)[:, None])

    # ---- judging

    def judged(self) -> tuple[Flat, Flat]:
        """Weights and batch-norm statistics to evaluate: averaged where a member averages, with statistics of their own.

        The same until training goes on.
        """
        if self._judged is None:
            self._judged = self._judge()
        return self._judged

    def _judge(self) -> tuple[Flat, Flat]:
        if self.averages is None:
            return self.weights, self.statistics
        averaging = torch.from_numpy(np.any([s.present for s in self._slots("average")], axis=0)).to(self.device)[:, None]
        if self._to_judge is None:
            self._to_judge = Flat(self.shapes, torch.empty_like(self.weights.values))
        weights = self._to_judge
        torch.where(averaging, self.averages.values, self.weights.values, out=weights.values)
        for slot in self.slots:  # an average of weights that once were not zero never is
            for name in self._touched_by(slot.part) if slot.part.proximal else ():
                own = slice(0, self.problem.network.matrix_size) if name == MATRICES else None
                for run in slot.runs:
                    view, current = (f.values[run, own] if own else f.views[name][run] for f in (weights, self.weights))
                    view.masked_fill_(current == 0, 0)
        if not self.norm:
            return weights, self.statistics
        fresh = self._recalibrated(weights)
        return weights, Flat(self.statistics.shapes, torch.where(averaging, fresh.values, self.statistics.values))

    @torch.no_grad()
    def measure(self) -> dict[str, np.ndarray]:
        """Clean losses and errors of every member on its own training probe and validation rows."""
        weights, statistics = self.judged()
        out = {name: np.full(len(self.members), np.nan) for name in
               ("train_loss", "train_error", "validation_loss", "validation_error")}
        leaves_trail = self._leaves_trail()
        for fold in np.unique(self.fold_of):
            who = np.flatnonzero(self.fold_of == fold)
            for part, rows in (("train", self.problem.probe(int(fold))), ("validation", self.problem.folds[fold].validation)):
                if len(rows):
                    keep = np.flatnonzero(leaves_trail[who]) if part == "validation" else np.zeros(0, np.int64)
                    out[f"{part}_loss"][who], out[f"{part}_error"][who], kept = self.scores(rows, who.tolist(), weights, statistics,
                                                                                            keep.tolist())
                    self.trail.update(zip(who[keep].tolist(), kept, strict=True))
        return out

    def scores(self, rows: Tensor, members: Sequence[int], weights: Flat, statistics: Flat,
               keep: Sequence[int]) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
        """(len(members),) losses and errors (``problem.Objective``) of some members on shared rows, and the (len(rows), C) outputs
        of those at the positions ``keep``."""
        values, targets, objective = self.outputs(rows, members, weights, statistics), self.targets[rows], self.problem.objective
        loss, error = objective.loss(values, targets.expand(len(members), -1)), objective.error(values, targets)
        return loss.double().cpu().numpy(), error.double().cpu().numpy(), [values[k].float().cpu().numpy().copy() for k in keep]

    def _leaves_trail(self) -> np.ndarray:
        """(K,): members that stop early, whose validation outputs are kept: where their epoch is chosen is not where it may be
        judged."""
        monitors = self._slots("monitor") if len(self.problem.folds) > 1 else []
        return np.any([np.zeros(len(self.members), bool), *(s.present for s in monitors)], axis=0)

    def _observe(self, metrics: dict[str, np.ndarray]) -> None:
        self.best_epoch = np.where(self.stopped, self.best_epoch, self.epoch)
        for slot in self._slots("monitor"):
            state, better, stop = slot.part.observe(self.monitor_states[id(slot)], metrics, slot.numbers(self.progress))
            self.monitor_states[id(slot)] = state
            better &= slot.present & ~self.stopped
            self.best_epoch = np.where(slot.present & ~self.stopped, state["best_epoch"], self.best_epoch)
            self.stopped |= stop & slot.present
            if better.any() and self.best is not None:
                weights, statistics = self.judged()
                index = torch.from_numpy(np.flatnonzero(better)).to(self.device)
                self.best.values[index] = weights.values[index]
                self.best_statistics[index] = statistics.values[index]

    def final(self) -> tuple[Flat, Flat]:
        """Weights and statistics to return: each member's best epoch where it stops early, else what is judged now."""
        weights, statistics = (f.values.clone() for f in self.judged())
        if self.best is not None:
            monitored = np.any([s.present for s in self._slots("monitor")], axis=0) & (self.best_epoch > 0)
            index = torch.from_numpy(np.flatnonzero(monitored)).to(self.device)
            weights[index], statistics[index] = self.best.values[index], self.best_statistics[index]
        return Flat(self.shapes, weights), Flat(self.statistics.shapes, statistics)

    def final_outputs(self, rows: Tensor, members: Sequence[int]) -> Tensor:
        """(len(members), len(rows), C): what the returned networks say of shared rows, in main memory."""
        weights, statistics = self._returned()
        return self.outputs(rows, members, weights, statistics).float().cpu()

    def final_weights(self, member: int) -> dict[str, np.ndarray]:
        """Parameters and batch-norm statistics of a returned network, by the names of its module."""
        weights, statistics = self._returned()
        out = {n: v[member].cpu().numpy().copy() for n, v in weights.views.items()}
        return out | {_statistic_name(n): v[member].cpu().numpy().copy() for n, v in statistics.views.items()}

    def _returned(self) -> tuple[Flat, Flat]:
        if self._final is None:
            self._final = self.final()
        return self._final

    # ---- state

    def state(self) -> dict[str, Tensor]:
        """All run state as tensors, for a checkpoint; members and problem are known to whoever restores."""
        out = {"weights": self.weights.values, "first": self.first.values, "second": self.second.values,
               "statistics": self.statistics.values, "best_statistics": self.best_statistics,
               "taken": torch.from_numpy(self.taken), "best_epoch": torch.from_numpy(self.best_epoch),
               "stopped": torch.from_numpy(self.stopped), "clock": torch.tensor([self.epoch, self.step])}
        if self.averages is not None:
            out["averages"] = self.averages.values
        if self.best is not None:
            out["best"] = self.best.values
        for n, slot in enumerate(self._slots("monitor")):
            out.update({f"monitor.{n}.{k}": torch.from_numpy(v) for k, v in self.monitor_states[id(slot)].items()})
        return {k: v.contiguous() for k, v in out.items()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore what :meth:`state` gave for the same members."""
        self._judged = self._final = None
        self.epoch, self.step = (int(v) for v in state["clock"])
        for name in ("weights", "first", "second", "statistics"):
            getattr(self, name).values.copy_(state[name])
        self.best_statistics.copy_(state["best_statistics"])
        self.taken, self.best_epoch, self.stopped = (state[n].numpy().copy() for n in ("taken", "best_epoch", "stopped"))
        if self.averages is not None:
            self.averages.values.copy_(state["averages"])
        if self.best is not None:
            self.best.values.copy_(state["best"])
        for n, slot in enumerate(self._slots("monitor")):
            own = self.monitor_states[id(slot)]
            self.monitor_states[id(slot)] = {k: state[f"monitor.{n}.{k}"].numpy().copy() for k in own}


def _statistic_name(name: str) -> str:
    layer, kind = name.split(".")
    return f"layers.{layer}.wellfit_norm.{kind}"
