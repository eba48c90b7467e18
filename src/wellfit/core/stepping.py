"""The step phase bound to an optimizer: what can be known before the first step is looked up once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import nn

from wellfit.core.metric import metric_of, step_size_of
from wellfit.core.operands import StepContext, Values, WeightInfo
from wellfit.core.regularizer import Regularizer
from wellfit.core.scratch import Scratch


def nests(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a step may hold a step of the same optimizer: a class of one's own whose ``step`` calls that of its parent.

    PyTorch puts the hooks into the step of a class when it first makes one of it; once a plain parent was made, a child's step runs
    them twice.
    """
    steps = [c for c in type(optimizer).__mro__ if c is not torch.optim.Optimizer and "step" in vars(c)]
    return len(steps) > 1


def inside_a_step(optimizer: torch.optim.Optimizer) -> bool:
    """Whether the step whose hook calls this is within another one of the same optimizer.

    Read off the calls that are under way, because a count would stay wrong after a step that failed.
    """
    under_way, frame = 0, inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_name == "wrapper" and frame.f_globals.get("__name__") == "torch.optim.optimizer":
            arguments = frame.f_locals.get("args") or (None,)
            under_way += arguments[0] is optimizer
        frame = frame.f_back
    return under_way > 1


@dataclass
class Touch:
    """One part on one weight."""

    info: WeightInfo
    parameter: nn.Parameter
    group: int
    values: Values | None
    context: StepContext


class Engine(Protocol):
    """Takes the place of the optimizer's update, the step phase and an average that moves by steps, where it can."""

    def step(self, share: Callable[[], float]) -> bool:
        """Do all of it now, and hide the gradients from the optimizer; ``share`` gives what the average takes in, once. False: it
        cannot this time, and nothing has changed."""
        ...

    def release(self) -> None:
        """After the optimizer had nothing to do: put the gradients back."""
        ...


class Stepping:
    """The parts of the step phase with their weights, param groups and contexts, and the buffers they share."""

    def __init__(self, optimizer: torch.optim.Optimizer, parts: Iterable[Regularizer],
                 touched: Callable[[Regularizer], Iterable[tuple[WeightInfo, nn.Parameter]]],
                 values: Callable[[Regularizer, WeightInfo | None], Values],
                 memory: Callable[[Regularizer, WeightInfo, nn.Parameter], dict[str, torch.Tensor]],
                 steps_per_epoch: int | None):
        self.optimizer, self._values, self._memory = optimizer, values, memory
        self.scratch = Scratch()
        self.group_of = {id(p): i for i, g in enumerate(optimizer.param_groups) for p in g["params"]}
        self.base_rates = [float(g.get("max_lr", g.get("initial_lr", g["lr"]))) for g in optimizer.param_groups]
        parts = list(parts)
        # refused at once where a proximal part needs it; any other part may still ask, and is told then
        self._metric = step_size_of(optimizer, self.scratch) if any(p.proximal for p in parts) else None
        self.parts = [(part, [self._touch(part, info, p, steps_per_epoch) for info, p in touched(part) if id(p) in self.group_of])
                      for part in parts]
        self._constant = {part: None if part.scheduled else values(part, None) for part in parts}

    def _touch(self, part: Regularizer, info: WeightInfo, parameter: nn.Parameter, steps_per_epoch: int | None) -> Touch:
        group = self.group_of[id(parameter)]
        values = self._values(part, info) if part.layered and not part.scheduled else None
        return Touch(info, parameter, group, values,
                      StepContext(float("nan"), self.base_rates[group], lambda: self._step_size(group, parameter), steps_per_epoch,
                                  self._memory(part, info, parameter), self.scratch))

    def _step_size(self, group: int, parameter: nn.Parameter) -> Any:
        if self._metric is None:
            self._metric = metric_of(self.optimizer)
        return self._metric(self.optimizer.param_groups[group], self.optimizer.state[parameter])

    def values(self, part: Regularizer) -> Values:
        """The hyperparameters of a part at this step."""
        return self._constant[part] or self._values(part, None)

    def context_of(self, touch: Touch, learning_rate: float) -> StepContext:
        """What a part is told of a weight at this step."""
        if touch.context.learning_rate != learning_rate:
            touch.context = replace(touch.context, learning_rate=learning_rate)
        return touch.context

    def values_of(self, part: Regularizer, touch: Touch, shared: Values) -> Values:
        """The hyperparameters for one weight, given those of the part at this step."""
        if not part.layered:
            return shared
        return touch.values if touch.values is not None else self._values(part, touch.info)

    def update(self, moment: str) -> None:
        """Let the parts of one moment act on every weight that has a gradient."""
        rates = [float(g["lr"]) for g in self.optimizer.param_groups]
        for part, touches in self.parts:
            if part.moment != moment:  # type: ignore[attr-defined]
                continue
            shared = self.values(part)
            for touch in touches:
                if touch.parameter.grad is None:
                    continue
                context = self.context_of(touch, rates[touch.group])
                if touch.context.memory:
                    self._memory(part, touch.info, touch.parameter)  # follows the weight to its device
                part.update_(touch.parameter, touch.info, self.values_of(part, touch, shared), context)  # type: ignore[attr-defined]
