"""K networks trained as one stacked computation of tensors: any device, any regularizer. What the other tiers are held to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from wellfit.core.batches import apply_part, maps_batches
from wellfit.core.draws import Draw, Streams
from wellfit.core.metric import adam_scale, adam_step_size
from wellfit.core.operands import Batch, Part, StepContext, Values, WeightInfo, over
from wellfit.core.scratch import Scratch
from wellfit.population.network import NORM_EPSILON, NORM_MOMENTUM, Flat, forward
from wellfit.population.problem import ADAM_BETAS, ADAM_EPSILON, MOMENTUM, epoch_order
from wellfit.population.slots import Slot
from wellfit.population.stack import MATRICES, Stack
from wellfit.regularizers.targets.soft import soften


class ReferenceStack(Stack):
    """See :class:`~wellfit.population.stack.Stack`. Regularizers are called with (K,) values, neutral ones where a member lacks
    a part.

    What changes from step to step comes from the methods under "the present step" alone; but for the pass over memory that a
    CPU takes member by member (``_one_pass``), with learning rates in double precision.
    """

    tier: ClassVar[str] = "reference"
    activations_at_once: ClassVar[int] = 4_000_000  # when outputs are computed

    def _bind(self) -> None:
        super()._bind()
        count = len(self.members)
        self.described = {**self.infos, MATRICES: WeightInfo(MATRICES, "linear")}
        self._scratch = Scratch()
        self._touched = {id(s): self._touched_by(s.part) for s in self.slots if s.part.per_weight}
        self.base_rates = torch.tensor([m.learning_rate for m in self.members], dtype=self.dtype, device=self.device)
        self.base_rates64 = [float(m.learning_rate) for m in self.members]
        self.gradient = Flat.zeros(self.shapes, count, self.dtype, self.device)
        self.skip: bool | Tensor = bool(self.skips.any())
        if self.skips.any() and not self.skips.all():
            self.skip = torch.from_numpy(self.skips).to(self.device, self.dtype)[:, None, None]
        size = self.problem.rows_per_fold
        self._train_rows = torch.stack([self.problem.folds[f].train[:size] for f in self.fold_of])
        self._rows_of = list(self.weights.values), list(self.gradient.values), list(self.first.values), list(self.second.values)
        self._leaves = {n: self.weights.views[n].detach().requires_grad_() for n in self.shapes}
        size = self.problem.network.matrix_size
        for flat in (self.weights, self.gradient, self.second):
            flat.views[MATRICES] = flat.values[:, :size]
        # mixing and smoothing need class probabilities; they are made once, for all
        self._mixes = self.problem.classes is not None and any(s.part.mixes_targets for s in self.slots)
        self._run_streams: dict[tuple[int, int], Streams] = {}
        self._one_pass = hasattr(torch, "_fused_adamw_") and self.dtype in (torch.float32, torch.float64)

    # ---- the present step

    def _values(self, slot: Slot, run: slice | None = None, layers_behind: int = 0) -> Values:
        """The values of a slot, as :meth:`Slot.tensors`."""
        return slot.tensors(self.progress, run, layers_behind)

    def _draw(self, part: Any, site: int | None = None, run: slice | None = None) -> Draw:
        """The draw of a part, at one of its sites, for a run of members (default: all)."""
        return self._streams_of(run or slice(0, len(self.members))).at(component(part, site), self.step)

    def _rates(self) -> Tensor:
        """(K,) learning rates."""
        return self.base_rates * self.problem.rate_schedule.at(self.progress)

    def _adam_scales(self) -> tuple[Any, Any]:
        """What Adam's first moment, and the root of its second, are divided by."""
        return adam_scales(self.step + 1)

    def _end_step(self) -> None:
        self.step += 1
        for slot in self._slots("average"):
            if slot.part.cadence == "step":
                self._average(slot)

    # ---- training

    def _train_epoch(self) -> None:
        problem = self.problem
        order = epoch_order(self.streams, self.epoch, problem.rows_per_fold)
        rows = self._train_rows.gather(1, order.to(self.device))
        for start in range(0, problem.steps_per_epoch * problem.batch, problem.batch):
            self._train_step(rows[:, start:start + problem.batch])

    def _train_step(self, rows: Tensor) -> None:
        members, size = rows.shape
        flat = rows.reshape(-1)
        batch = Batch(self.inputs.index_select(0, flat).view(members, size, -1),
                      self.targets.index_select(0, flat).view(members, size), self.problem.classes, self.problem.feature_groups)
        if self._mixes:
            batch = batch.with_(targets=soften(batch))
        for slot in self.slots:
            for run in slot.runs if maps_batches(slot.part) else ():
                own = apply_part(slot.part, batch.with_(inputs=batch.inputs[run], targets=batch.targets[run]),
                                 self._values(slot, run), self._draw(slot.part, run=run))
                batch.inputs[run], batch.targets[run] = own.inputs, own.targets
        outputs = forward(self.problem.network, self._leaves, batch.inputs, skip=self.skip,
                          norm=self._train_norm if self.norm else None,
                          hidden=self._on_hidden if self._has("hidden") else None,
                          branch=self._on_branch if self._has("branch") else None)
        loss = self.problem.objective.loss(outputs, batch.targets).sum()
        gradients = torch.autograd.grad(loss, list(self._leaves.values()))
        with torch.no_grad():
            torch.cat([g.reshape(members, -1) for g in gradients], dim=1, out=self.gradient.values)
            self._apply()
            self._end_step()

    def _skip_of(self, members: Tensor) -> bool | Tensor:
        return self.skip[members] if isinstance(self.skip, Tensor) else self.skip

    def _streams_of(self, run: slice) -> Streams:
        """The random streams of a run of members."""
        key = (run.start, run.stop)
        if key == (0, len(self.members)):
            return self.streams
        if key not in self._run_streams:
            self._run_streams[key] = self.streams.keep(range(*key))
        return self._run_streams[key]

    def _on_hidden(self, site: int, activation: Tensor) -> Tensor:
        for slot in self._slots("hidden"):
            activation = slot.part.on_hidden(activation, self._values(slot), self._draw(slot.part, site))
        return activation

    def _on_branch(self, site: int, depth: float, value: Tensor) -> Tensor:
        for slot in self._slots("branch"):
            value = slot.part.on_branch(value, depth, self._values(slot), self._draw(slot.part, site))
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

    def _apply(self) -> None:
        """Gradient phase, optimizer and step phase of one step, for all members."""
        self._adjust_gradients()
        rates = self._rates()
        for slot in self._slots("step"):
            if slot.part.moment == "before":
                self._update(slot, rates)
        (self._sgd_step if self.problem.optimizer == "sgd" else self._adam_step)(rates)
        for slot in self._slots("step"):
            if slot.part.moment == "after":
                self._update(slot, rates)

    def _adjust_gradients(self) -> None:
        for slot in self._slots("gradient"):
            names = self._touched.get(id(slot))
            for run in slot.runs:
                parts = ([Part(self.described[n], self.weights.views[n][run], self.gradient.views[n][run]) for n in names]
                         if names is not None else
                         [Part(next(iter(self.infos.values())), self.weights.values[run], self.gradient.values[run])])
                for own in [[p] for p in parts] if slot.part.layered else [parts]:
                    slot.part.adjust_gradients_(own, self._values(slot, run, own[0].info.layers_behind if own else 0))

    def _adam_step(self, rates: Tensor) -> None:
        beta1, beta2 = ADAM_BETAS
        if self._one_pass:  # over memory, member by member, each with its own rate
            factor = self.problem.rate_schedule.at(self.progress)
            step = [torch.tensor(float(self.step + 1), device=self.device)]
            for k, (w, g, m, v) in enumerate(zip(*self._rows_of, strict=True)):
                torch._fused_adamw_([w], [g], [m], [v], [], step, lr=self.base_rates64[k] * factor, beta1=beta1, beta2=beta2,
                                    weight_decay=0.0, eps=ADAM_EPSILON, amsgrad=False, maximize=False)
            return
        gradient, (first_scale, scale) = self.gradient.values, self._adam_scales()
        self.first.values.lerp_(gradient, 1 - beta1)
        self.second.values.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        step_size = adam_step_size(self.second.values, rates[:, None] / first_scale, scale, ADAM_EPSILON)
        self.weights.values.addcmul_(self.first.values, step_size, value=-1)

    def _sgd_step(self, rates: Tensor) -> None:
        self.first.values.mul_(MOMENTUM).add_(self.gradient.values)
        self.weights.values.addcmul_(self.first.values, rates[:, None], value=-1)

    def _update(self, slot: Slot, rates: Tensor) -> None:
        part: Any = slot.part
        for run in slot.runs:
            for name in self._touched[id(slot)]:
                info = self.described[name]
                part.update_(self.weights.views[name][run], info, self._values(slot, run, info.layers_behind),
                             self._context(name, run, rates))

    def _context(self, name: str, run: slice, rates: Tensor) -> StepContext:
        def step_size() -> Tensor:
            if self.problem.optimizer == "sgd":
                return rates[run] / (1 - MOMENTUM)
            second = self.second.views[name][run]
            return adam_step_size(second, over(rates[run], second), self._adam_scales()[1], ADAM_EPSILON,
                                  out=self._scratch(second))

        return StepContext(rates[run], self.base_rates[run], step_size, self.problem.steps_per_epoch, scratch=self._scratch)

    # ---- judging

    def _recalibrated(self, weights: Flat) -> Flat:
        fresh = Flat(self.statistics.shapes, self.statistics.values.clone())

        for fold in np.unique(self.fold_of):
            who = torch.from_numpy(np.flatnonzero(self.fold_of == fold)).to(self.device)
            own = {n: weights.views[n][who] for n in self.shapes}

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
    def outputs(self, rows: Tensor, members: Sequence[int], weights: Flat, statistics: Flat) -> Tensor:
        index = torch.as_tensor(list(members), dtype=torch.long, device=self.device)
        whole = len(index) == len(self.members)
        own = weights.views if whole else {n: weights.views[n][index] for n in self.shapes}
        rows = rows.to(self.device)
        stats = statistics.views if whole else {n: s[index] for n, s in statistics.views.items()}

        def norm(layer: int, z: Tensor) -> Tensor:
            return self._scale_norm(own, layer, z, stats[f"{layer}.running_mean"][:, None, :],
                                    stats[f"{layer}.running_var"][:, None, :])

        size = max(64, self.activations_at_once // max(1, len(index) * max(self.problem.network.widths)))
        skip = self._skip_of(index)
        pieces = [forward(self.problem.network, own, self.inputs[chunk], skip=skip, norm=norm if self.norm else None)
                  for chunk in rows.split(size)]
        return torch.cat(pieces, dim=1)


def adam_scales(step: int) -> tuple[float, float]:
    """What Adam's first moment, and the root of its second, are divided by after so many steps."""
    return 1 - ADAM_BETAS[0]**step, adam_scale(ADAM_BETAS[1], step)


def component(part: Any, site: int | None) -> str:
    """The name of the random stream of a part at one of its sites."""
    return part.name if site is None else f"{part.name}/{site}"  # type: ignore[no-any-return]
