"""K networks trained as one stacked computation: the reference tier of the population engine.

Member k equals the same configuration trained alone: its draws hang on its own seed, its numbers on its own row of every
tensor, and its regularizers are the same kernels with neutral values where it lacks a part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wellfit.core.draws import Streams
from wellfit.core.errors import WellfitError
from wellfit.core.metric import adam_step_size
from wellfit.core.phases import Batch, Part, StepContext, WeightInfo, over
from wellfit.core.select import matches
from wellfit.kernels.average import blend_
from wellfit.population.network import NORM_EPSILON, NORM_MOMENTUM, Flat, forward, initial
from wellfit.population.problem import ADAM_BETAS, ADAM_EPSILON, Member, Problem, epoch_order
from wellfit.population.slots import line_up, structure_key
from wellfit.regularizers.targets.soft import soften

MATRICES = "matrices"
_STATISTICS = ("running_mean", "running_var")


class Stack:
    """K members of one structure.

    Args:
        problem: data, network, objective and length.
        members: what to train; all with the same structure (``slots.structure_key``).
        dtype: of weights and activations.

    After :meth:`run_epoch` or :meth:`keep`, row k of every array belongs to ``members[k]``.
    """

    def __init__(self, problem: Problem, members: Sequence[Member], *, dtype: torch.dtype = torch.float32):
        keys = {structure_key(m.recipe) for m in members}
        if len(keys) != 1:
            raise WellfitError("Members of one stack need one structure.", received=f"{len(keys)} structures",
                               expected="members grouped by structure_key")
        self.problem, self.members, self.dtype = problem, list(members), dtype
        self.device = problem.inputs.device
        self.norm = keys.pop()
        self.inputs = problem.inputs.to(dtype)
        self.targets = problem.targets.to(dtype) if problem.objective.task == "regression" else problem.targets
        self.epoch = self.step = 0
        self.trail: dict[int, np.ndarray] = {}  # validation outputs after the last epoch, by row
        spec, count = problem.network, len(members)
        self.infos = spec.infos(self.norm, problem.feature_groups)
        self.described = {**self.infos, MATRICES: WeightInfo(MATRICES, "linear")}
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
        """Everything that follows from the current members and memory."""
        count = len(self.members)
        self.base_rates = torch.tensor([m.learning_rate for m in self.members], dtype=self.dtype, device=self.device)
        self.base_rates64 = [float(m.learning_rate) for m in self.members]
        self.fold_of = np.array([m.fold for m in self.members])
        self.gradient = Flat.zeros(self.shapes, count, self.dtype, self.device)
        skips = np.array(["skip_connections" in m.recipe for m in self.members])
        self.skip: bool | Tensor = bool(skips.any())
        if skips.any() and not skips.all():
            self.skip = torch.from_numpy(skips).to(self.device, self.dtype)[:, None, None]
        size = self.problem.rows_per_fold
        self._train_rows = torch.stack([self.problem.folds[f].train[:size] for f in self.fold_of])
        self._rows_of = list(self.weights.values), list(self.gradient.values), list(self.first.values), list(self.second.values)
        self._leaves = {n: self.weights.views[n].detach().requires_grad_() for n in self.shapes}
        self._touched = {id(s): self._touched_by(s.part) for s in self.slots if s.part.per_weight}
        size = self.problem.network.matrix_size
        for flat in (self.weights, self.gradient, self.second):
            flat.views[MATRICES] = flat.values[:, :size]
        # mixing and smoothing need class probabilities; they are made once, for all
        self._mixes = self.problem.classes is not None and any(
            s.part.mixes_targets for s in self.slots)
        self._run_streams: dict[tuple[int, int], Streams] = {}
        self._fused = hasattr(torch, "_fused_adamw_") and self.dtype in (torch.float32, torch.float64)

    def _touched_by(self, part: Any) -> list[str]:
        """Names of the parameters a part acts on; all weight matrices in one piece where it acts on each weight alone."""
        names = [n for n, i in self.infos.items() if matches(i, part.select)]
        whole = [n for n, i in self.infos.items() if i.kind == "linear"]
        return [MATRICES] if part.elementwise and names == whole else names

    @property
    def progress(self) -> float:
        return self.step / self.problem.total_steps

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
        problem = self.problem
        order = epoch_order(self.streams, self.epoch, problem.rows_per_fold)
        rows = self._train_rows.gather(1, order.to(self.device))
        for start in range(0, problem.steps_per_epoch * problem.batch, problem.batch):
            self._train_step(rows[:, start:start + problem.batch])
        self.epoch += 1
        for slot in self._slots("average"):
            if slot.part.cadence == "epoch":
                self._average(slot)
        metrics = self.measure() if evaluate else {}
        self._observe(metrics)
        return metrics

    def _train_step(self, rows: Tensor) -> None:
        members, size = rows.shape
        flat = rows.reshape(-1)
        batch = Batch(self.inputs.index_select(0, flat).view(members, size, -1),
                      self.targets.index_select(0, flat).view(members, size), self.problem.classes, self.problem.feature_groups)
        progress = self.progress
        if self._mixes:
            batch = batch.with_(targets=soften(batch))
        for slot in self._slots("batch"):
            for run in slot.runs:
                own = slot.part.transform(batch.with_(inputs=batch.inputs[run], targets=batch.targets[run]),
                                          slot.tensors(progress, run), self._streams_of(run).at(slot.part.name, self.step))
                batch.inputs[run], batch.targets[run] = own.inputs, own.targets
        outputs = forward(self.problem.network, self._leaves, batch.inputs, skip=self.skip,
                          norm=self._train_norm if self.norm else None,
                          hidden=self._on_hidden if self._has("hidden") else None,
                          branch=self._on_branch if self._has("branch") else None)
        loss = self.problem.objective.loss(outputs, batch.targets).sum()
        gradients = torch.autograd.grad(loss, list(self._leaves.values()))
        with torch.no_grad():
            torch.cat([g.reshape(members, -1) for g in gradients], dim=1, out=self.gradient.values)
            self._apply(progress)

    def _skip_of(self, members: Tensor) -> bool | Tensor:
        return self.skip[members] if isinstance(self.skip, Tensor) else self.skip

    def _streams_of(self, run: slice) -> Streams:
        """The random streams of a run of members."""
        key = (run.start, run.stop)
        if key not in self._run_streams:
            self._run_streams[key] = self.streams.keep(range(*key))
        return self._run_streams[key]

    def _on_hidden(self, site: int, activation: Tensor) -> Tensor:
        for slot in self._slots("hidden"):
            activation = slot.part.on_hidden(activation, slot.tensors(self.progress),
                                             self.streams.at(f"{slot.part.name}/{site}", self.step))
        return activation

    def _on_branch(self, site: int, depth: float, value: Tensor) -> Tensor:
        for slot in self._slots("branch"):
            value = slot.part.on_branch(value, depth, slot.tensors(self.progress),
                                        self.streams.at(f"{slot.part.name}/{site}", self.step))
        return value

    def _train_norm(self, layer: int, z: Tensor) -> Tensor:
        variance, mean = torch.var_mean(z, dim=1, correction=0, keepdim=True)
        with torch.no_grad():
            size = z.shape[1]
            self.statistics.views[f"{layer}.running_mean"].lerp_(mean[:, 0], NORM_MOMENTUM)
            self.statistics.views[f"{layer}.running_var"].lerp_(variance[:, 0] * (size / (size - 1)), NORM_MOMENTUM)
        return self._scale_norm(self._leaves, layer, z, mean, variance)

    @staticmethod
    def _scale_norm(weights: dict[str, Tensor], layer: int, z: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        gain = weights[f"layers.{layer}.wellfit_norm.weight"][:, None, :] * torch.rsqrt(variance + NORM_EPSILON)
        return (z - mean) * gain + weights[f"layers.{layer}.wellfit_norm.bias"][:, None, :]

    def _apply(self, progress: float) -> None:
        """Gradient phase, optimizer, step phase, averages: one step for all members."""
        rates = self.base_rates * self.problem.rate_schedule.at(progress)
        for slot in self._slots("gradient"):
            names = self._touched.get(id(slot))
            for run in slot.runs:
                parts = ([Part(self.described[n], self.weights.views[n][run], self.gradient.views[n][run]) for n in names]
                         if names is not None else
                         [Part(next(iter(self.infos.values())), self.weights.values[run], self.gradient.values[run])])
                slot.part.adjust_gradients_(parts, slot.tensors(progress, run))
        self._update("before", progress, rates)
        self._adam_step(progress, rates)
        self._update("after", progress, rates)
        self.step += 1
        for slot in self._slots("average"):
            if slot.part.cadence == "step":
                self._average(slot)

    def _adam_step(self, progress: float, rates: Tensor) -> None:
        factor = self.problem.rate_schedule.at(progress)
        beta1, beta2 = ADAM_BETAS
        if self._fused:  # one pass over memory per member, each with its own rate
            step = [torch.tensor(float(self.step + 1))]
            for k, (w, g, m, v) in enumerate(zip(*self._rows_of, strict=True)):
                torch._fused_adamw_([w], [g], [m], [v], [], step, lr=self.base_rates64[k] * factor, beta1=beta1, beta2=beta2,
                                    weight_decay=0.0, eps=ADAM_EPSILON, amsgrad=False, maximize=False)
            return
        gradient, t = self.gradient.values, self.step + 1
        self.first.values.lerp_(gradient, 1 - beta1)
        self.second.values.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        step_size = adam_step_size(self.second.values, rates[:, None] / (1 - beta1**t), beta2, t, ADAM_EPSILON)
        self.weights.values.addcmul_(self.first.values, step_size, value=-1)

    def _update(self, moment: str, progress: float, rates: Tensor) -> None:
        for slot in self._slots("step"):
            if slot.part.moment != moment:
                continue
            for run in slot.runs:
                h = slot.tensors(progress, run)
                for name in self._touched[id(slot)]:
                    slot.part.update_(self.weights.views[name][run], self.described[name], h, self._context(name, run, rates))

    def _context(self, name: str, run: slice, rates: Tensor) -> StepContext:
        def step_size() -> Tensor:
            second = self.second.views[name][run]
            return adam_step_size(second, over(rates[run], second), ADAM_BETAS[1], self.step + 1, ADAM_EPSILON)

        return StepContext(rates[run], self.base_rates[run], step_size, self.problem.steps_per_epoch)

    def _average(self, slot: Any) -> None:
        assert self.averages is not None
        share, taken = slot.part.weight_of_current(self.taken, self.epoch / self.problem.epochs, slot.numbers(self.progress))
        self.taken = np.where(slot.present, taken, self.taken)
        for run in slot.runs:
            blend_(self.averages.values[run], self.weights.values[run],
                   torch.from_numpy(share[run]).to(self.device, self.dtype)[:, None])

    # ---- judging

    def judged(self) -> tuple[Flat, Flat]:
        """Weights and batch-norm statistics to evaluate: averaged where a member averages, with statistics of their own."""
        if self.averages is None:
            return self.weights, self.statistics
        averaging = np.any([s.present for s in self._slots("average")], axis=0)
        weights = Flat(self.shapes, self.averages.values.clone())
        plain = torch.from_numpy(np.flatnonzero(~averaging)).to(self.device)
        weights.values[plain] = self.weights.values[plain]
        for slot in self.slots:  # an average of weights that once were not zero never is
            for name in self._touched_by(slot.part) if slot.part.proximal else ():
                own = slice(0, self.problem.network.matrix_size) if name == MATRICES else None
                for run in slot.runs:
                    view = weights.values[run, own] if own else weights.views[name][run]
                    view[self.weights.views[name][run] == 0] = 0
        if not self.norm:
            return weights, self.statistics
        fresh = self._recalibrated(weights.views)
        mask = torch.from_numpy(averaging).to(self.device)[:, None]
        return weights, Flat(self.statistics.shapes, torch.where(mask, fresh.values, self.statistics.values))

    def _recalibrated(self, weights: dict[str, Tensor]) -> Flat:
        """Statistics of one pass over each member's probe rows with dropout off, layer by layer."""
        fresh = Flat(self.statistics.shapes, self.statistics.values.clone())

        for fold in np.unique(self.fold_of):
            who = torch.from_numpy(np.flatnonzero(self.fold_of == fold)).to(self.device)
            own = {n: weights[n][who] for n in self.shapes}

            def norm(layer: int, z: Tensor, who: Tensor = who, own: dict[str, Tensor] = own) -> Tensor:
                variance, mean = torch.var_mean(z, dim=1, correction=0, keepdim=True)
                size = z.shape[1]
                fresh.views[f"{layer}.running_mean"][who] = mean[:, 0]
                fresh.views[f"{layer}.running_var"][who] = variance[:, 0] * (size / (size - 1))
                return self._scale_norm(own, layer, z, mean, variance)

            with torch.no_grad():
                forward(self.problem.network, own, self.inputs[self.problem.probe(int(fold))], skip=self._skip_of(who), norm=norm)
        return fresh

    @torch.no_grad()
    def outputs(self, rows: Tensor, members: Sequence[int], weights: dict[str, Tensor],
                statistics: dict[str, Tensor]) -> Tensor:
        """(len(members), len(rows), C): evaluation-mode outputs of some members on shared rows."""
        index = torch.as_tensor(list(members), dtype=torch.long, device=self.device)
        whole = len(index) == len(self.members)
        own = weights if whole else {n: weights[n][index] for n in self.shapes}
        stats = statistics if whole else {n: s[index] for n, s in statistics.items()}

        def norm(layer: int, z: Tensor) -> Tensor:
            return self._scale_norm(own, layer, z, stats[f"{layer}.running_mean"][:, None, :],
                                    stats[f"{layer}.running_var"][:, None, :])

        size = max(64, 4_000_000 // max(1, len(index) * max(self.problem.network.widths)))  # bounded activations
        skip = self._skip_of(index)
        pieces = [forward(self.problem.network, own, self.inputs[chunk], skip=skip, norm=norm if self.norm else None)
                  for chunk in rows.split(size)]
        return torch.cat(pieces, dim=1)

    @torch.no_grad()
    def measure(self) -> dict[str, np.ndarray]:
        """Clean losses and errors of every member on its own training probe and validation rows."""
        weights, statistics = (f.views for f in self.judged())
        out = {name: np.full(len(self.members), np.nan) for name in
               ("train_loss", "train_error", "validation_loss", "validation_error")}
        objective = self.problem.objective
        for fold in np.unique(self.fold_of):
            who = np.flatnonzero(self.fold_of == fold)
            for part, rows in (("train", self.problem.probe(int(fold))), ("validation", self.problem.folds[fold].validation)):
                if len(rows):
                    values = self.outputs(rows, who.tolist(), weights, statistics)
                    targets = self.targets[rows]
                    if part == "validation":
                        self._leave_trail(who, values)
                    out[f"{part}_loss"][who] = objective.loss(values, targets.expand(len(who), -1)).double().cpu().numpy()
                    out[f"{part}_error"][who] = objective.error(values, targets).double().cpu().numpy()
        return out

    def _leave_trail(self, who: np.ndarray, values: Tensor) -> None:
        """Keep the validation outputs of members that stop early: where their epoch is chosen is not where it may be judged."""
        for position, row in enumerate(who):
            if len(self.problem.folds) > 1 and any(s.present[row] for s in self._slots("monitor")):
                self.trail[int(row)] = values[position].float().cpu().numpy()

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
        self.epoch, self.step = (int(v) for v in state["clock"])
        for name in ("weights", "first", "second", "statistics"):
            getattr(self, name).values.copy_(state[name])
        self.best_statistics = state["best_statistics"].clone()
        self.taken, self.best_epoch, self.stopped = (state[n].numpy().copy() for n in ("taken", "best_epoch", "stopped"))
        if self.averages is not None:
            self.averages.values.copy_(state["averages"])
        if self.best is not None:
            self.best.values.copy_(state["best"])
        for n, slot in enumerate(self._slots("monitor")):
            own = self.monitor_states[id(slot)]
            self.monitor_states[id(slot)] = {k: state[f"monitor.{n}.{k}"].numpy().copy() for k in own}
