"""Watching a training: what each forward pass computes, what reaches the optimizer, what it does to the weights.

The outputs of the model pass through a node that records the gradient v that arrives at them. The part of the gradient that the
data are responsible for is then Jᵀv, computed on the very graph of that pass (same dropout noise, same precision), and whatever
else is in ``.grad`` when the optimizer steps was put there by something that acts on the weights directly: a penalty.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from wellfit.doctor.loop.calling import Enough
from wellfit.doctor.loop.copies import gradient_hooks_suspended
from wellfit.doctor.loop.modes import moved_by_mode, takes_statistics
from wellfit.doctor.loop.records import Forward, Grads, Recalibration, Step, Tap
from wellfit.doctor.loop.replay import replayed
from wellfit.doctor.loop.undo import Undo


def _code(function: Any) -> CodeType | None:
    return getattr(inspect.unwrap(function), "__code__", None)


def _noted() -> dict[CodeType, str]:
    from torch.amp import GradScaler
    from torch.nn.utils import clip_grad
    from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

    named: list[tuple[Any, str]] = [
        (clip_grad.clip_grad_norm_, "clip"), (clip_grad.clip_grad_value_, "clip"), (GradScaler.scale, "scale"),
        (GradScaler.unscale_, "unscale"), (LRScheduler.step, "schedule"), (ReduceLROnPlateau.step, "schedule"),
        (torch.save, "save")]
    return {code: name for function, name in named if (code := _code(function)) is not None}


class Watch:
    """Watches everything that happens to ``model`` while it is entered.

    Args:
        model: the copy that is trained.
        steps: how many optimizer steps are recorded with their gradients.
        seconds: of computing after which the run is ended by :class:`Enough`.
        profile: also note calls of clipping, scaling and scheduling functions.
        only_data: let the optimizer have the gradient of the data alone, at every step, and undo thresholding and decay that
            follow it; nothing is recorded then.
    """

    def __init__(self, model: nn.Module, *, steps: int = 0, seconds: float = 20.0, profile: bool = True, only_data: bool = False):
        self.model, self.wanted, self.profile, self.only_data = model, steps, profile, only_data
        self._deadlines = time.process_time() + seconds, time.monotonic() + 8 * seconds
        self.names = {id(p): n for n, p in model.named_parameters()}
        self.trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self._inside = {id(m) for m in model.modules()}
        self._undo = Undo(self.trained) if only_data else None
        self.phase, self.batch, self.call = "", None, 0
        self.forwards: list[Forward] = []
        self.steps: list[Step] = []
        self.step_count = 0
        self.log: list[tuple[str, Any]] = []
        self.listeners: list[Callable[[Forward], None]] = []
        self.returning: Callable[[FrameType], None] | None = None
        self.returning_code: CodeType | None = None
        self._depth, self._quiet, self._task = 0, 0, -1
        self._passed: list[tuple[Forward, Grads]] = []
        self._stale: Grads | None = None
        self._seen_at: dict[str, Tensor] = {}
        self._higher = False
        self._sensitive: dict[int, list[nn.Module]] = {}
        self._last_call = 0
        self.recalibrations: list[Recalibration] = []
        self.clips: dict[int, tuple[float, float]] = {}  # steps before -> bound and norm of the last clipping

    # ---- entering and leaving

    def __enter__(self) -> Watch:
        self._handles: list[Any] = [
            register_module_forward_pre_hook(self._before_forward), register_module_forward_hook(self._after_forward),
            register_optimizer_step_pre_hook(self._step_begins), register_optimizer_step_post_hook(self._step_ended)]
        self._within: dict[int, int] = {}  # optimizer -> its steps that have begun and not ended
        self._own_hooks: dict[int, Any] = {}
        self._profiled = sys.getprofile()
        if self.profile and self._profiled is None:
            self._codes = _noted()
            sys.setprofile(self._profile)
        return self

    def __exit__(self, *exception: Any) -> None:
        if self.profile and self._profiled is None:
            sys.setprofile(None)
        for handle in (*self._handles, *self._own_hooks.values()):
            handle.remove()

    @contextlib.contextmanager
    def looking_away(self) -> Iterator[None]:
        """For passes that the doctor makes itself."""
        self._quiet += 1
        try:
            yield
        finally:
            self._quiet -= 1

    def begin_call(self, call: int, batch: Any) -> None:
        self.call, self.batch, self._depth = call, batch, 0
        self._within.clear()

    def settle(self) -> None:
        """The weights as they are now are those after the last step."""
        if self._undo is not None and not any(self._within.values()):
            self._undo.settle()
        if self.steps and self.steps[-1].after is None:
            self.steps[-1].after = {n: p.detach().clone() for n, p in self.trained.items()}

    @property
    def late(self) -> bool:
        """Computing time counts, so that a busy machine does not change what is found."""
        return time.process_time() > self._deadlines[0] or time.monotonic() > self._deadlines[1]

    @property
    def recording(self) -> bool:
        return self.only_data or len(self.steps) < self.wanted

    # ---- passes

    def _before_forward(self, module: nn.Module, _: Any) -> None:
        if self._quiet:
            return
        if self._depth == 0:
            self.settle()
            if self.late:
                raise Enough
        self._depth += 1

    def _after_forward(self, module: nn.Module, inputs: Any, outputs: Any) -> Any:
        if self._quiet:
            return None
        self._depth = max(0, self._depth - 1)
        if self._depth:
            return None
        own = id(module) in self._inside
        if not own and next(module.parameters(), None) is None:
            return None  # a criterion or the like
        sensitive = self._sensitive.setdefault(id(module), moved_by_mode(module))
        made = Forward(module, own, self.phase, self.call, torch.is_grad_enabled(), module.training,
                       frozenset(id(m) for m in sensitive if m.training), self.step_count, self.batch)
        self.forwards.append(made)
        if not made.with_grad and len(self.recalibrations) < 8:
            norms = [m for m in sensitive if takes_statistics(m) and m.training and getattr(m, "track_running_stats", False)]
            if norms:
                modes = {id(m): m.training for m in module.modules()}
                cumulative = any(m.momentum is None for m in norms)
                self.recalibrations.append(Recalibration(module, modes, self.batch, self.phase, cumulative))
        for listener in self.listeners:
            listener(made)
        if own and self.recording and torch.is_grad_enabled():
            return self._tapped(outputs, made)
        return None

    def _tapped(self, value: Any, made: Forward) -> Any:
        if isinstance(value, Tensor):
            if not value.requires_grad or not value.is_floating_point():
                return value
            index = len(made.outputs)
            made.outputs.append(value.detach())
            return Tap.apply(value, lambda v: self._arrives(made, index, value, v))
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*(self._tapped(v, made) for v in value))
        if isinstance(value, tuple | list):
            return type(value)(self._tapped(v, made) for v in value)
        if isinstance(value, Mapping):
            for key in list(value):
                new = self._tapped(value[key], made)
                if new is not value[key]:
                    value[key] = new  # type: ignore[index]
            return value
        return value

    def _arrives(self, made: Forward, index: int, out: Tensor, v: Tensor) -> bool:
        """Whether the gradient goes on its way: not when it is only asked for what lies behind another output."""
        if self._quiet:
            return False
        if not self.recording:
            return True
        if torch.is_grad_enabled():  # a graph of the backward pass is being made: its gradients arrive by other ways too
            self._higher = True
            return True
        task = torch._C._current_graph_task_id()
        if task != self._task:
            self._task = task
            if all(p.grad is None or not p.grad.count_nonzero() for p in self.trained.values()):
                self._passed, self._stale, self._higher = [], None, False
                self._seen_at = {n: p.detach().clone() for n, p in self.trained.items()}
            elif not self._passed:
                self._stale = {n: p.grad.detach().clone() for n, p in self.trained.items() if p.grad is not None}
                self._seen_at = {n: p.detach().clone() for n, p in self.trained.items()}
            self.log.append(("backward", self.call))
        made.arrived[index] = v.detach().clone()
        with self.looking_away(), gradient_hooks_suspended():
            grads = torch.autograd.grad([out], list(self.trained.values()), [v], retain_graph=True, allow_unused=True)
        part = {n: g.detach().clone() for n, g in zip(self.trained, grads, strict=True) if g is not None}
        same = next((old for old in self._passed if old[0] is made), None)
        if same is None:
            self._passed.append((made, part))
        else:
            for name, g in part.items():
                same[1][name] = same[1][name] + g if name in same[1] else g
        return True

    # ---- steps

    def _ours(self, optimizer: Optimizer) -> bool:
        return not self._quiet and any(id(p) in self.names for g in optimizer.param_groups for p in g["params"])

    def _step_begins(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Put our own hook last, so that it sees what hooks of others make of the gradients."""
        if not self._ours(optimizer):
            return
        if self.late:
            raise Enough
        if self._undo is not None and not any(self._within.values()):
            self._undo.settle()
        self._within[id(optimizer)] = self._within.get(id(optimizer), 0) + 1
        if self._within[id(optimizer)] > 1:
            return
        if id(optimizer) in self._own_hooks:
            self._own_hooks.pop(id(optimizer)).remove()
        self._own_hooks[id(optimizer)] = optimizer.register_step_pre_hook(self._just_before)

    def _step_ended(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._ours(optimizer) and self._within.get(id(optimizer)):
            self._within[id(optimizer)] -= 1
            if self._undo is not None and not self._within[id(optimizer)]:
                self._undo.ended()

    def _just_before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> Any:
        if self._within.get(id(optimizer), 0) > 1:
            return None  # torch runs the hooks again where a step calls that of the class it is made from
        closure = args[1] if len(args) > 1 else kwargs.get("closure")  # args[0] is the optimizer
        if closure is None:
            self._record(optimizer, None)
            return None
        done: list[bool] = []

        def first_recorded() -> Any:
            result = closure()
            if not done:
                done.append(True)
                self._record(optimizer, closure)
            return result

        if len(args) > 1:
            return (args[0], first_recorded, *args[2:]), kwargs
        return args, {**kwargs, "closure": first_recorded}

    def _record(self, optimizer: Optimizer, closure: Any) -> None:
        self.settle()
        self.step_count += 1
        self.log.append(("step", self.call))
        if self.only_data:
            for name, p in self.trained.items():
                parts = [grads[name] for _, grads in self._passed if name in grads]
                if p.grad is not None and self._passed:
                    p.grad.copy_(sum(parts[1:], parts[0]) if parts else torch.zeros_like(p.grad))
            self._passed, self._stale = [], None
            assert self._undo is not None
            with self.looking_away():
                self._undo.begins(optimizer)
            return
        if not self.recording:
            return
        group_of = {id(p): g for g in optimizer.param_groups for p in g["params"]}
        groups = {n: {k: v for k, v in group_of[id(p)].items() if k != "params"} for n, p in self.trained.items()
                  if id(p) in group_of}
        gradients = {n: p.grad.detach().clone() for n, p in self.trained.items() if p.grad is not None}
        scale = getattr(optimizer, "grad_scale", None)
        if scale is not None:
            gradients = {n: g / scale.to(g.device) for n, g in gradients.items()}
        with self.looking_away():
            updated = None if type(optimizer).__name__ == "LBFGS" else replayed(optimizer, self.trained)
        step = Step(optimizer, self.call, gradients, self._passed, self._stale, self._seen_at,
                    {n: p.detach().clone() for n, p in self.trained.items()}, updated,
                    {n: float(g["lr"]) for n, g in groups.items() if "lr" in g}, groups, not self._higher, closure is not None,
                    calls=self.call - self._last_call)
        self._last_call = self.call
        self.steps.append(step)
        self._passed, self._stale = [], None

    # ---- calls of functions

    def _profile(self, frame: FrameType, event: str, arg: Any) -> None:
        if event == "call":
            name = self._codes.get(frame.f_code)
            if name is None or self._quiet:
                return
            bound = frame.f_locals
            if name == "clip":
                norms = [p.grad.detach().norm() for p in self.trained.values() if p.grad is not None]
                size = float(torch.stack(norms).norm()) if norms else 0.0
                self.clips[self.step_count] = (float(bound.get("max_norm", 0.0)), size)
                self.log.append((name, float(bound.get("max_norm", bound.get("clip_value", 0.0)))))
            elif name == "schedule":
                self.log.append((name, bound.get("self")))
            elif name == "save":
                self.log.append((name, self.step_count))
            else:
                self.log.append((name, self.call))
        elif event == "return" and frame.f_code is self.returning_code and self.returning is not None:
            self.returning(frame)
