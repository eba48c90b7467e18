"""A plan: a recipe bound to a model, with all the state a run needs."""

from __future__ import annotations

import contextlib
import functools
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wellfit.core import audit, checks, surgery
from wellfit.core.audit import Rates
from wellfit.core.averages import Averages, without_statistics
from wellfit.core.batches import apply_parts, maps_batches
from wellfit.core.draws import Draw, Streams
from wellfit.core.errors import WellfitError, WellfitWarning
from wellfit.core.objective import Objective
from wellfit.core.operands import Batch, Part, Values, WeightInfo
from wellfit.core.phases import RandomGradientPhase, penalty_of, phases_of
from wellfit.core.recipe import Recipe
from wellfit.core.regularizer import Regularizer
from wellfit.core.select import describe_parameters, selected
from wellfit.core.stepping import Engine, Stepping, inside_a_step, nests
from wellfit.kernels.average import blend_


@dataclass(frozen=True)
class Verdict:
    """What the monitors say after an epoch."""

    stop: bool
    improved: bool
    best_epoch: int
    epoch: int


class Plan:
    """A recipe compiled against a model: which parameters each part touches, in which order, with all run state.

    Args:
        recipe: what to apply.
        model: the network; the structure phase rewrites it here, before the optimizer exists.
        seed: of all random draws; the same seed gives the same draws in every driver.
        epochs, steps_per_epoch: the length of the run; needed by schedules, SWA and decay by timescale.
        classes: number of classes; by default the width of the network's last layer.
        feature_groups: (D,) number of the source feature behind each input column (group lasso, CutMix, Cutout).
        features: computes what the network sees from the raw inputs of a batch; parts that need the raw ones
            (``before_features``) act before it, the others after it.
        example: inputs to run the model on once (a tensor, a tuple of arguments or a mapping of keywords), so that layers are
            known in the order in which they run rather than in that of their registration.

    Used as a context manager it finishes on every exit, also by an exception or Ctrl-C.

    >>> import torch
    >>> from wellfit.regularizers import L1, MaxNorm
    >>> net = torch.nn.Linear(3, 2)
    >>> plan = Recipe(L1(0.5), MaxNorm(1.0)).compile(net)
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=10.0)
    >>> _ = plan.attach(optimizer)
    >>> (0 * net(torch.ones(4, 3)).sum()).backward(); _ = optimizer.step()
    >>> int((net.weight == 0).sum())
    6
    """

    def __init__(self, recipe: Recipe, model: nn.Module, *, seed: int = 0, epochs: int | None = None,
                 steps_per_epoch: int | None = None, classes: int | None = None, feature_groups: Tensor | None = None,
                 features: Callable[[Tensor], Tensor] | None = None, example: Any = None):
        self.recipe, self.model, self.seed = recipe, model, int(seed)
        self.epochs, self.steps_per_epoch = epochs, steps_per_epoch
        self.classes, self.features = classes, features
        self.feature_groups = None if feature_groups is None else torch.as_tensor(feature_groups, dtype=torch.long)
        self.total_steps = epochs * steps_per_epoch if epochs and steps_per_epoch else None
        checks.check_length(self)
        checks.warn_of_idle_parts(recipe)
        self._parts: dict[str, list[Regularizer]] = {}
        for part in recipe.ordered:
            for phase in phases_of(part):
                self._parts.setdefault(phase, []).append(part)
        self._mapping = [p for p in recipe.ordered if maps_batches(p)]
        self._handles: list[Any] = []
        self._optimizer: torch.optim.Optimizer | None = None
        self.steps = self.epoch = self._batches = 0
        self._structure = surgery.Structure(model, self._parts, self._values, lambda: self.steps, example)
        self._structure.rewrite()
        self._objective = Objective(self, example)  # its hooks come first: it sees activations before dropout does
        self._soft_targets: bool | None = None
        self._factored = self._parametrize()
        self.parameters = describe_parameters(model, self.feature_groups)
        infos = [info for info, _ in self.parameters.values()]
        self._touched: dict[Regularizer, list[str]] = {
            part: self._factors_of(part) or [i.name for i in selected(infos, part.select)]  # type: ignore[attr-defined]
            for part in recipe.parts if part.per_weight}
        self._memory: dict[tuple[Regularizer, str], dict[str, Tensor]] = {
            (part, n): {k: t.detach().clone() for k, t in part.begin(p.detach(), info).items()}  # type: ignore[attr-defined]
            for part in self._parts.get("memory", []) for info, p in self._of(part) for n in (info.name,)}
        audit.warn_of_problems(self)
        device = next((p.device for _, p in self.parameters.values()), torch.device("cpu"))
        self.streams = Streams(self.seed, device)
        self._structure.install(self.streams, self.parameters, self._touched)
        self._averages = Averages(self)
        self._slow = {n: p.detach().clone() for n, (_, p) in self.parameters.items()} if "slow" in self._parts else {}
        self.snapshots: list[dict[str, Tensor]] = []
        self._monitors = [(m, m.start(1)) for m in self._parts.get("monitor", [])]  # type: ignore[attr-defined]
        self._best: dict[str, Tensor] | None = None
        self._best_calibrated = False  # whether the best snapshot has batch-norm statistics of its own averaged weights
        self._finished = False

    # ---- compiling

    def _parametrize(self) -> list[tuple[Regularizer, WeightInfo, nn.Module, str]]:
        """Factors in place of weights: which part put them where."""
        done: list[tuple[Regularizer, WeightInfo, nn.Module, str]] = []
        for part in self._parts.get("parametrize", []):
            for info in selected([i for i, _ in describe_parameters(self.model).values()], part.select):  # type: ignore[attr-defined]
                if info.kind == "factor":
                    raise WellfitError("A weight can be written as factors once.", received=f"{part.name} on {info.name}",
                                       action="let their selections not overlap")
                done.append((part, info, *surgery.parametrize_weight(
                    self.model, info.name, part.parametrize(info))))  # type: ignore[attr-defined]
        return done

    def _factors_of(self, part: Regularizer) -> list[str]:
        own = {(id(owner), name) for p, _, owner, name in self._factored if p is part}
        parts = {id(p) for owner, name in ((o, n) for _, _, o, n in self._factored if (id(o), n) in own)
                 for p in owner.parametrizations[name].parameters()}  # type: ignore[index, union-attr]
        return [n for n, (_, p) in self.parameters.items() if id(p) in parts]

    def _collapse(self) -> None:
        """Plain weights again in place of factors."""
        for part, info, owner, own in self._factored:
            surgery.collapse_weight(owner, own, lambda w, part=part, info=info: part.collapse(w, info))  # type: ignore[misc]
        if self._factored:
            self._factored = []
            self.parameters = describe_parameters(self.model, self.feature_groups)

    def _memory_of(self, part: Regularizer, info: WeightInfo, parameter: Tensor) -> dict[str, Tensor]:
        """What a part keeps for a weight, on the weight's device."""
        memory = self._memory.get((part, info.name), {})
        for key, tensor in memory.items():
            if tensor.device != parameter.device:
                memory[key] = tensor.to(parameter.device)
        return memory

    @property
    def progress(self) -> float:
        """Share of the run done: steps so far over all steps (0 when the length is unknown)."""
        return self.steps / self.total_steps if self.total_steps else 0.0

    def _values(self, part: Regularizer, info: WeightInfo | None = None) -> Values:
        return part.values_at(self.progress, 0 if info is None else info.layers_behind)

    # ---- batch and loss

    def batch(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The training batch, augmented. While the model is in evaluation mode only ``features`` are computed."""
        parts = self._mapping if self.model.training else []
        batch = Batch(inputs, targets, self._class_count(targets) if parts else None,
                      None if self.feature_groups is None else self.feature_groups.to(inputs.device))
        if self.features is None:
            batch = self._augmented(batch, parts)
        else:
            batch = self._augmented(batch, [p for p in parts if p.before_features])
            batch = batch.with_(inputs=self.features(batch.inputs))
            batch = self._augmented(batch, [p for p in parts if not p.before_features])
        if parts:
            self._batches += 1
        return batch.inputs, batch.targets

    def _augmented(self, batch: Batch, parts: list[Regularizer]) -> Batch:
        return apply_parts(batch, [(p, self._values(p), self.streams.at(p.name, self._batches)) for p in parts])

    def _class_count(self, targets: Tensor) -> int | None:
        """Number of classes, or None where the targets are numbers."""
        if targets.dtype.is_floating_point:
            width = targets.shape[-1] if targets.ndim > 1 else 1
            if width > 1 and self._soft_targets is None:  # probabilities, or several numbers for each row? decided once
                with torch.no_grad():
                    self._soft_targets = bool((targets >= 0).all() & ((targets.sum(-1) - 1).abs() < 1e-3).all())
            classes = width if width > 1 and self._soft_targets else None
            if classes is None and not self._batches:
                for part in self.recipe:
                    if part.smooths_targets:
                        warnings.warn(f"{part.name} changes nothing: these targets are numbers, not classes. Leave it out.",
                                      WellfitWarning, stacklevel=4)
            return classes
        if self.classes is None:
            last = [p for i, p in self.parameters.values() if i.last]
            self.classes = int(last[-1].shape[0]) if last else None
        return self.classes

    def loss(self, loss: Tensor) -> Tensor:
        """The criterion itself, for recipes whose parts need no more than that: penalties act through exact gradients and
        proximal steps (see :meth:`contributions`), so what you log is never inflated by them.

        Raises WellfitError where a part needs the outputs or several passes: see :meth:`objective` and :meth:`backward`.
        """
        self._objective.check_plain()
        return loss

    def objective(self, criterion: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, targets: Tensor) -> Tensor:
        """The criterion's value, whose gradient is that of the whole objective: corrected outputs and targets, terms of the
        outputs and of hidden activations included. In evaluation mode, and for recipes without such parts, it is the
        criterion itself.

        >>> import torch
        >>> from wellfit.regularizers import ConfidencePenalty
        >>> plan = Recipe(ConfidencePenalty(0.1)).compile(torch.nn.Linear(3, 2))
        >>> x, y = torch.ones(4, 3), torch.tensor([0, 1, 0, 1])
        >>> criterion = torch.nn.functional.cross_entropy
        >>> loss = plan.objective(criterion, plan.model(x), y)
        >>> bool(loss == criterion(plan.model(x), y))
        True
        """
        return self._objective.value(criterion, outputs, targets)

    def backward(self, closure: Callable[[], Tensor], *, scaler: Any | None = None, divide: float = 1) -> Tensor:
        """Differentiate what ``closure`` returns, with as many passes as the recipe needs; gradients add up in ``.grad`` as after
        ``loss.backward()``. Returns the loss of the first pass, detached and free of penalties.

        ``closure`` runs the model and returns ``plan.objective(criterion, plan.model(x), y)``; it neither clears gradients nor
        calls ``backward``. ``scaler`` is a GradScaler; ``divide`` is the number of batches that make up one step. For recipes
        without multi-pass parts this is ``(scaler.scale(closure() / divide)).backward()``. Later passes leave batch-norm
        statistics alone and, but for R-Drop's, have the dropout masks of the first (those of wf.Dropout: torch's own modules draw
        anew); sharpness-aware parts move and restore the weights within each call.
        """
        return self._objective.backward(closure, scaler, divide)

    def contributions(self) -> dict[str, float]:
        """The value of each penalty at the current weights: what it adds to the objective."""
        out: dict[str, float] = {}
        for part in self._parts.get("penalty", []):
            with torch.no_grad():
                out[part.name] = out.get(part.name, 0.0) + sum(
                    float(penalty_of(part, p, info, self._values(part, info), self._memory_of(part, info, p)))
                    for info, p in self._of(part))
        return out

    def _of(self, part: Regularizer) -> list[tuple[WeightInfo, nn.Parameter]]:
        return [self.parameters[n] for n in self._touched[part]] if part.per_weight else list(self.parameters.values())

    # ---- gradient and step

    def attach(self, optimizer: torch.optim.Optimizer, *, engine: Callable[[Plan], Engine | None] | None = None) -> Plan:
        """Run the gradient phase before, and the step phase after, every ``optimizer.step()`` that really steps.

        ``engine`` may take over what ``optimizer.step()`` does, to the same effect: see ``population.native.fused``.
        """
        if self._optimizer is not None:
            raise WellfitError("This plan is attached already.", received=type(optimizer).__name__,
                               action="compile the recipe again for a second optimizer")
        checks.check_optimizer(self, optimizer)
        self._optimizer, self._nests = optimizer, nests(optimizer)
        self._stepping = Stepping(optimizer, self._parts.get("step", []), self._of, self._values, self._memory_of,
                                  self.steps_per_epoch)
        try:
            self._engine, self._stepped = None if engine is None else engine(self), False
        except WellfitError:
            self._optimizer = None
            raise
        self._adjusting = sorted(self._parts.get("gradient", []) + self._parts.get("noise", []), key=lambda p: p.place)
        self._handles += [optimizer.register_step_pre_hook(self._before), optimizer.register_step_post_hook(self._after)]
        return self

    def _skipped(self, optimizer: torch.optim.Optimizer) -> bool:
        # a fused optimizer under GradScaler calls the hooks even when it leaves out the step
        found = getattr(optimizer, "found_inf", None)
        return found is not None and bool(found.item())

    def _before(self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._nests and inside_a_step(optimizer):
            return None
        closure = args[1] if len(args) > 1 else kwargs.get("closure")  # args[0] is the optimizer
        if closure is None:
            self._before_step(optimizer)
            return None

        def with_phases() -> Any:  # gradients exist only once the closure has run
            result = closure()
            self._before_step(optimizer)
            return result

        return ((args[0], with_phases, *args[2:]), kwargs) if len(args) > 1 else (args, {**kwargs, "closure": with_phases})

    @torch.no_grad()
    def _before_step(self, optimizer: torch.optim.Optimizer) -> None:
        if self._skipped(optimizer):
            return
        if self.steps == 0:  # weights may have been loaded since
            for name, tensor in self._slow.items():
                tensor.copy_(self.parameters[name][1])
        if self._adjusting:
            if getattr(optimizer, "grad_scale", None) is not None:  # fused under GradScaler: gradients are still scaled
                inverse = 1.0 / optimizer.grad_scale  # type: ignore[attr-defined]
                for group in optimizer.param_groups:  # all of them, also those that are not the model's
                    for parameter in group["params"]:
                        if parameter.grad is not None:
                            parameter.grad.mul_(inverse)
                optimizer.grad_scale = None  # type: ignore[attr-defined]
            for part in self._adjusting:
                pieces = [Part(info, p, p.grad, self._memory_of(part, info, p)) for info, p in self._of(part) if p.grad is not None]
                if isinstance(part, RandomGradientPhase):
                    part.disturb_gradients_(pieces, self._values(part), functools.partial(self._draw_of, part), self.steps)
                    continue
                for own in [[p] for p in pieces] if part.layered else [pieces]:
                    part.adjust_gradients_(own, self._values(part, own[0].info if own else None))  # type: ignore[attr-defined]
        after = (self.steps + 1) / self.total_steps if self.total_steps else 0.0
        self._stepped = self._engine is not None and self._engine.step(lambda: self._averages.share(after))
        if not self._stepped:
            self._stepping.update("before")

    def _draw_of(self, part: Regularizer, info: WeightInfo) -> Draw:
        return self.streams.at(f"{part.name}/{info.name}", self.steps)

    @torch.no_grad()
    def _after(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if self._skipped(optimizer) or (self._nests and inside_a_step(optimizer)):
            return
        if self._stepped:
            self.steps += 1
            self._engine.release()  # type: ignore[union-attr]
            return
        self._stepping.update("after")
        self.steps += 1
        self._meet()
        self._averages.end_step()

    def _meet(self) -> None:
        """Slow weights take in the fast ones, which then start again from there. Zeros that a proximal part has made stay."""
        for part in self._parts.get("slow", []):
            share = part.share_of_fast(self.steps, self._values(part))  # type: ignore[attr-defined]
            if share is not None:
                for name, (_, parameter) in self.parameters.items():
                    slow = blend_(self._slow[name], parameter.detach(), share)
                    if self.made_sparse(name):
                        slow[parameter.detach() == 0] = 0
                    parameter.copy_(slow)

    def made_sparse(self, name: str) -> bool:
        """Whether a proximal part makes zeros in this parameter."""
        return any(part.proximal and name in names for part, names in self._touched.items())

    # ---- monitor and finish

    def observe(self, **metrics: float) -> Verdict:
        """Report an epoch's validation numbers; returns whether to stop. Call once at the end of every epoch, with metrics
        of the weights that :meth:`evaluating` offers (the averaged ones under EMA and SWA)."""
        self._averages.end_epoch()
        self.epoch += 1
        stop = improved = False
        best_epoch = self.epoch
        arrays = {k: np.array([float(v)]) for k, v in metrics.items()}
        for index, (monitor, state) in enumerate(self._monitors):
            state, better, halt = monitor.observe(state, arrays, self._values(monitor))  # type: ignore[attr-defined]
            self._monitors[index] = (monitor, state)
            improved, stop, best_epoch = bool(better[0]), stop or bool(halt[0]), int(state["best_epoch"][0])
        if improved:
            self._best = {n: t.detach().clone() for n, t in self.model.state_dict().items()}
            self._best_calibrated = self._averages.put_into(self._best)
        for part in self._parts.get("snapshot", []):
            if part.takes_snapshot(self.epoch, self.epochs, self._values(part)):  # type: ignore[attr-defined]
                self.snapshots.append({n: t.detach().clone() for n, t in self.model.state_dict().items()})
        return Verdict(stop, improved, best_epoch, self.epoch)

    def evaluating(self, batches: Iterable[Any] | None = None) -> contextlib.AbstractContextManager[nn.Module]:
        """The model in evaluation mode with the weights to judge: the averaged ones under EMA and SWA.

        ``batches`` of training inputs recompute batch-norm statistics for averaged weights; they are required when the
        model has both. Weights, statistics and mode are as before afterwards.
        """
        return self._averages.evaluating(batches)

    def finish(self, batches: Iterable[Any] | None = None) -> nn.Module:
        """The final model in evaluation mode: best weights under EarlyStopping, averaged ones under EMA and SWA; every
        zero exact. Hooks are removed from the optimizer; further calls change nothing."""
        if not self._finished:
            checks.warn_of_what_never_acted(self)
            if self._best is not None:
                needs = self._averages.needs_statistics
                if needs and batches is None and not self._best_calibrated:
                    raise without_statistics()
                self.model.load_state_dict(self._best)
                if needs and batches is not None:
                    surgery.recalibrate(self.model, batches)
            elif self._averages.moved:
                self._averages.use(batches)
            self._collapse()
            self._recalibrate_at_the_end(batches)
            self._structure.fold()
            self._finished = True
            self.detach()
        return self.model.eval()

    @torch.no_grad()
    def predict(self, inputs: Tensor, link: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """The mean over the snapshots of ``link(model(inputs))``, in evaluation mode: class probabilities by default; pass
        ``torch.sigmoid`` for one logit, or ``lambda z: z`` for a regression."""
        if not self.snapshots:
            raise WellfitError("There are no snapshots to predict with.", received=repr(self),
                               expected="a recipe with SnapshotEnsemble, and plan.observe(...) at the end of every epoch")
        modes = [(m, m.training) for m in self.model.modules()]
        self.model.eval()
        try:
            link = link or functools.partial(torch.softmax, dim=1)
            total = sum(link(torch.func.functional_call(self.model, s, (inputs,), tie_weights=False)) for s in self.snapshots)
        finally:
            for module, mode in modes:
                module.training = mode
        return total / len(self.snapshots)  # type: ignore[return-value]

    def _recalibrate_at_the_end(self, batches: Iterable[Any] | None) -> None:
        for part in self._parts.get("finish", []):
            # averaged weights have statistics of their own by now
            if surgery.batch_norms(self.model) and not self._averages.weights:
                if batches is None:
                    raise WellfitError(f"{part.name} needs training inputs.", expected="batches of training inputs",
                                       action="pass them: plan.finish(loader)")
                surgery.recalibrate(self.model, batches, self._values(part).batches)

    def detach(self, *, restore: bool = False) -> None:
        """Take the hooks off the optimizer and the model. An inserted batch norm, skips and weights that are always computed
        with stay: they are the network's. ``restore`` takes these away too."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._optimizer = [], None
        if restore:
            self._structure.undo()
        else:
            self._structure.remove()

    def undo(self) -> None:
        """The network as it was before compiling, but for the values of its parameters: see :meth:`detach`."""
        self.detach(restore=True)

    def changes(self) -> surgery.Changes:
        """What compiling changed in the network: records of what, where, before and after; as text one line each."""
        return self._structure.changes

    def sampled(self, seed: int = 0) -> Any:
        """A context in which everything random acts in evaluation mode too; it gives a function that chooses the sample's number.
        Draws and state of the run are untouched, and it works after :meth:`finish`."""
        return self._structure.sampled(seed)

    def __enter__(self) -> Plan:
        return self

    def __exit__(self, *exception: Any) -> None:
        if not self._finished and self._parts.pop("finish", []) and surgery.batch_norms(self.model):
            warnings.warn("Batch norms were not recalibrated: call plan.finish(loader) inside the `with` block.", WellfitWarning,
                          stacklevel=2)
        if (self._best is not None and self._best_calibrated) or not self._averages.needs_statistics:
            self.finish()
        else:  # averaged weights without their statistics would be wrong: leave the last weights
            self.detach()
            self._collapse()
            self.model.eval()

    # ---- state

    def state_dict(self) -> dict[str, Any]:
        """All run state as tensors and numbers: with model and optimizer state, a run resumes exactly."""
        return {"format": 1, "recipe": self.recipe.to_mapping(),
                "steps": self.steps, "epoch": self.epoch, "forwards": self._structure.forwards, "batches": self._batches,
                "passes": self._objective.calls, "acted": self._objective.acted,
                "slow": {n: t.clone() for n, t in self._slow.items()},
                "snapshots": [{n: t.clone() for n, t in s.items()} for s in self.snapshots],
                **self._averages.state_dict(),
                "best": None if self._best is None else {n: t.clone() for n, t in self._best.items()},
                "best_calibrated": self._best_calibrated,
                "memory": [{k: t.clone() for k, t in m.items()} for m in self._memory.values()],
                "monitors": [{k: torch.from_numpy(v.copy()) for k, v in s.items()} for _, s in self._monitors]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave, for the same recipe."""
        own, saved = self.recipe.to_mapping(), state.get("recipe")
        if saved is not None and saved != own:
            raise WellfitError("This state belongs to another recipe.",
                               received=f"the state of {saved['regularizers']}", expected=f"that of {own['regularizers']}",
                               action="compile the recipe it was saved with: wf.Recipe.from_mapping(state['recipe'])")
        memory = state.get("memory", [])
        if (len(state["monitors"]) != len(self._monitors) or set(state["averages"]) != set(self._averages.weights)
                or [set(m) for m in memory] != [set(m) for m in self._memory.values()]):
            raise WellfitError("This state belongs to another recipe.", expected="the recipe it was saved with")
        self.steps, self.epoch = state["steps"], state["epoch"]
        self._structure.forwards, self._batches = state["forwards"], state["batches"]
        self._objective.calls, self._objective.acted = state.get("passes", 0), state.get("acted", False)
        self._averages.load_state_dict(state)
        for name, tensor in state.get("slow", {}).items():
            self._slow[name].copy_(tensor)
        self.snapshots = [{n: t.clone() for n, t in s.items()} for s in state.get("snapshots", [])]
        for own, saved in zip(self._memory.values(), memory, strict=True):
            own.update({k: t.to(own[k].device, copy=True) for k, t in saved.items()})
        self._best = None if state["best"] is None else {n: t.clone() for n, t in state["best"].items()}
        self._best_calibrated = bool(state.get("best_calibrated", False))
        self._monitors = [(m, {k: v.numpy().copy() for k, v in s.items()})
                          for (m, _), s in zip(self._monitors, state["monitors"], strict=True)]

    # ---- looking

    def zeros(self) -> dict[str, tuple[int, int]]:
        """Exact zeros and size of every weight."""
        return {n: (int((p == 0).sum()), p.numel()) for n, (i, p) in self.parameters.items() if i.unit_axes}

    def audit(self, learning_rate: Rates | None = None) -> list[dict[str, Any]]:
        """One row per parameter: ``parameter``, ``kind``, ``shape``, ``depth``, the names of the parts in ``touched_by``, and in
        ``effects`` for each of them its ``formula`` with the values it has now and, given a ``learning_rate`` (a number, one
        per step, or a function of the step), ``total``: Σ lr·λ over the run, how far the part pulls in all."""
        return audit.rows(self, learning_rate)

    def audit_text(self, learning_rate: Rates | None = None) -> str:
        """:meth:`audit` as a plain table, followed by what the composition of the recipe gives reason to say."""
        return audit.text(self, learning_rate)

    def __repr__(self) -> str:
        size = math.fsum(p.numel() for _, p in self.parameters.values())
        return f"Plan({', '.join(p.name for p in self.recipe) or 'no regularization'}; {int(size):,} parameters)"
