"""One compiled pass in place of ``optimizer.step()``, the step phase and an average: for Adam and AdamW on a CPU.

Each weight is read and written once, and the root that Adam takes serves the proximal step too. The state stays in the
optimizer's own tensors, so that saving and resuming know nothing of this. Whatever the pass does not know goes the ordinary way:
a recipe as a whole when it is attached, a single step (the optimizer's first, one under a GradScaler) when it comes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from wellfit.core.errors import WellfitError
from wellfit.core.operands import WeightInfo
from wellfit.core.plan import Plan
from wellfit.core.regularizer import Regularizer
from wellfit.core.stepping import Touch
from wellfit.population.native import library
from wellfit.population.native.translate import PARTS, part_values, soft_and_ridge

_KINDS = (library.SHRINK, library.SOFT, library.ELASTIC, library.BALL)
_PROX = (library.SOFT, library.ELASTIC)
#: Numbers from which a second thread pays for its start.
_SHARED_OUT = 2**20


def native(plan: Plan) -> FusedStep:
    """The compiled step for Adam and AdamW on a CPU: decay, update, L1 or elastic net, max-norm and average in one pass.

    ::

        plan.attach(optimizer, engine=wf.native)

    Raises WellfitError, with the reason, where it cannot be had: another optimizer, other parts in the step phase, no compiler.
    """
    why = beyond(plan)
    if why:
        raise WellfitError("The compiled step cannot be used here.", received=why,
                           expected="Adam or AdamW on a CPU, with L1, ElasticNet, WeightDecay, MaxNorm, EMA in the step phase",
                           action="attach without engine=native, or with engine=native_if_possible")
    return FusedStep(plan)


def native_if_possible(plan: Plan) -> FusedStep | None:
    """As :func:`native`; the ordinary way where that cannot be had.

    >>> import wellfit as wf
    >>> net = torch.nn.Linear(3, 2)
    >>> plan = wf.Recipe(wf.L1(0.01)).compile(net)
    >>> _ = plan.attach(torch.optim.AdamW(net.parameters(), weight_decay=0), engine=wf.native_if_possible)
    """
    return None if beyond(plan) else FusedStep(plan)


def beyond(plan: Plan) -> str:
    """Why the pass cannot do what this plan and its optimizer do; empty if it can."""
    optimizer = plan._stepping.optimizer
    if library.engine() is None:
        return library.why_not()
    if type(optimizer) not in (torch.optim.Adam, torch.optim.AdamW):
        return f"the optimizer {type(optimizer).__name__}"
    if "slow" in plan._parts:
        return "slow weights"
    own = {id(p) for _, p in plan.parameters.values()}
    tensors = [p for g in optimizer.param_groups for p in g["params"]]
    if any(id(p) not in own for p in tensors):
        return "parameters in the optimizer that are not the model's"
    tensors += [p for _, p in plan.parameters.values()]
    if any(p.device.type != "cpu" or not p.is_contiguous() or p.dtype != tensors[0].dtype for p in tensors):
        return "parameters that are not contiguous, of one type and in main memory"
    if tensors[0].dtype not in (torch.float32, torch.float64):
        return f"numbers of type {tensors[0].dtype}"
    if why := next(filter(None, map(_unusual, optimizer.param_groups, [type(optimizer)] * len(optimizer.param_groups))), ""):
        return why
    return _parts_beyond(plan)


def _unusual(group: dict[str, Any], kind: type) -> str:
    found = next((n for n in ("amsgrad", "maximize", "differentiable", "capturable") if group.get(n)), "")
    coupled = group["weight_decay"] and not group.get("decoupled_weight_decay", kind is torch.optim.AdamW)
    return found or ("decay that is coupled to the gradient" if coupled else "")


def _parts_beyond(plan: Plan) -> str:
    seen: set[tuple[str, bool]] = set()
    for part, touches in plan._stepping.parts:
        kind = PARTS[type(part)](part) if type(part) in PARTS else None
        if kind not in _KINDS:
            return part.name
        for touch in touches:
            if kind == library.SHRINK or _idle(part, touch.info):
                continue
            if kind == library.BALL and not _unit(touch.info, touch.parameter):
                return f"{part.name} on {touch.info.name}, whose units do not lie in one piece"
            key = touch.info.name, kind == library.BALL
            if key in seen:
                return f"two parts of one kind on {touch.info.name}"
            seen.add(key)
    return ""


def _idle(part: Regularizer, info: WeightInfo) -> bool:
    return part.leaves_scale_invariant and info.feeds_norm


def _unit(info: WeightInfo, parameter: Tensor) -> int:
    """How many numbers in a row make up one unit; 0 if units do not lie so."""
    count = len(info.unit_axes)
    whole = count and sorted(info.unit_axes) == list(range(-count, 0)) and info.unit_view(parameter) is parameter
    return math.prod(parameter.shape[-count:]) if whole else 0


@dataclass
class _Piece:
    """A parameter, and the tensors whose addresses the compiled side has."""

    native: library.NativeFused
    name: str
    parameter: nn.Parameter
    group: int | None
    acts: list[tuple[int, Regularizer, Touch]]
    first: Tensor | None = None
    second: Tensor | None = None
    steps: Tensor | None = None
    settings: tuple[Any, ...] = ()
    gradient: Tensor | None = None
    weight: int = 0
    average: int = 0
    address: int = 0


class FusedStep:
    """A plan's engine: see :class:`wellfit.core.stepping.Engine`."""

    def __init__(self, plan: Plan):
        stepping = plan._stepping
        self._plan, self._stepping, self._optimizer = plan, stepping, stepping.optimizer
        engine = library.engine()
        assert engine is not None
        self._engine = engine
        self._structures = (library.NativeFused * len(plan.parameters))()
        acts: dict[str, list[tuple[int, Regularizer, Touch]]] = {}
        for part, touches in stepping.parts:
            for touch in touches:
                if not _idle(part, touch.info):
                    acts.setdefault(touch.info.name, []).append((PARTS[type(part)](part), part, touch))
        self._pieces = [_Piece(native, name, p, stepping.group_of.get(id(p)), acts.get(name, []))
                        for native, (name, (_, p)) in zip(self._structures, plan.parameters.items(), strict=True)]
        for piece in self._pieces:
            piece.native.size, piece.native.shrink = piece.parameter.numel(), 1.0
            for kind, _, touch in piece.acts:
                if kind == library.BALL:
                    piece.native.unit = _unit(touch.info, piece.parameter)
        self._size = self._pieces[0].parameter.element_size() if self._pieces else 4
        self._many = sum(p.parameter.numel() for p in self._pieces) >= _SHARED_OUT
        average = plan._averages.part
        self._moving = any(part.scheduled for part, _ in stepping.parts)
        self._numbers: list[tuple[float, ...]] = []
        self._averages = average is not None and average.cadence == "step"

    def step(self, share: Callable[[], float]) -> bool:
        optimizer = self._optimizer
        scaled = getattr(optimizer, "grad_scale", None) is not None or getattr(optimizer, "found_inf", None) is not None
        if scaled or not self._ready():
            return False
        self._set()
        self._engine.fused(self._size, self._structures, share() if self._averages else 0.0,
                           torch.get_num_threads() if self._many else 1)
        for piece in self._pieces:
            if piece.gradient is not None:
                piece.parameter.grad = None
        return True

    def release(self) -> None:
        for piece in self._pieces:
            if piece.gradient is not None:
                piece.parameter.grad, piece.gradient = piece.gradient, None

    def _ready(self) -> bool:
        """Bring the addresses up to date; False if the pass cannot take these tensors now. Written for few words of Python for
        each parameter: on a small network these are the costs."""
        states, averages = self._optimizer.state, self._plan._averages.weights if self._averages else None
        for piece in self._pieces:
            parameter, native = piece.parameter, piece.native
            gradient = piece.gradient = parameter.grad if piece.group is not None else None
            weight = parameter.data_ptr()
            average = 0 if averages is None else averages[piece.name].data_ptr()
            if weight != piece.weight or average != piece.average:
                if not parameter.is_contiguous() or parameter.device.type != "cpu":
                    return False
                native.weight, native.average = piece.weight, piece.average = weight, average
            if gradient is None:
                address = 0
            else:
                state = states.get(parameter)
                if not state or not gradient.is_contiguous() or gradient.dtype != parameter.dtype:
                    return False
                first, second, steps = state["exp_avg"], state["exp_avg_sq"], state["step"]
                if first is not piece.first or second is not piece.second or steps is not piece.steps:
                    piece.first, piece.second, piece.steps = first, second, steps
                    if not self._fits(piece):
                        piece.first = None  # looked at again the next time
                        return False
                    native.first, native.second, native.steps = first.data_ptr(), second.data_ptr(), steps.data_ptr()
                address = gradient.data_ptr()
            if address != piece.address:
                native.gradient = piece.address = address
        return True

    @staticmethod
    def _fits(piece: _Piece) -> bool:
        first, second, steps, parameter = piece.first, piece.second, piece.steps, piece.parameter
        return (isinstance(first, Tensor) and isinstance(second, Tensor) and isinstance(steps, Tensor)
                and steps.dtype == torch.float32 and steps.device.type == "cpu" and parameter.device.type == "cpu"
                and all(t.is_contiguous() and t.dtype == parameter.dtype for t in (first, second)))

    def _set(self) -> None:
        """The numbers of this step, where they differ from those of the last."""
        numbers: list[tuple[float, ...]] = [
            (float(g["lr"]), float(g["betas"][0]), float(g["betas"][1]), float(g["eps"]), float(g["weight_decay"]))
            for g in self._optimizer.param_groups]
        if numbers == self._numbers and not self._moving:
            return
        self._numbers = numbers
        shared = {part: self._stepping.values(part) for part, _ in self._stepping.parts}
        found: dict[tuple[Regularizer, int], tuple[Any, Any]] = {}
        for piece in self._pieces:
            if piece.group is None:
                continue
            rate, beta1, beta2, epsilon, decay = group = numbers[piece.group]
            pulls = []
            for _, part, touch in piece.acts:
                key = part, piece.group
                pull = None if part.layered else found.get(key)
                if pull is None:
                    h = self._stepping.values_of(part, touch, shared[part])
                    pull = found[key] = part_values(part, h, self._stepping.context_of(touch, rate))  # type: ignore[assignment]
                pulls.append(pull)
            settings = (group, *pulls)
            if settings == piece.settings:
                continue
            piece.settings, native = settings, piece.native
            native.rate, native.beta1, native.beta2, native.epsilon = rate, beta1, beta2, epsilon
            native.shrink, native.soft, native.ridge = 1 - rate * decay, 0.0, 0.0
            for (kind, _, _), (a, b) in zip(piece.acts, pulls, strict=True):
                if kind == library.SHRINK:
                    native.shrink *= a
                elif kind == library.BALL:
                    native.radius = a
                else:
                    soft, ridge = soft_and_ridge(a, b)
                    native.soft += soft
                    native.ridge += ridge
