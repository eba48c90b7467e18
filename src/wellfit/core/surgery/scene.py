"""What every part of the structure phase works with: the model, the recipe's parts, and the draws of the present forward pass."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wellfit.core.draws import Draw, Streams
from wellfit.core.errors import WellfitError
from wellfit.core.operands import Values
from wellfit.core.regularizer import Regularizer
from wellfit.core.surgery import touch
from wellfit.core.surgery.changes import Change


class Scene:
    """One recipe on one model.

    Args:
        model: the network.
        parts: the recipe's parts by phase, in order.
        values: the hyperparameters of a part now.
        steps: how many optimizer steps were made.
        example: inputs to run the model on once, so that layers are known in the order in which they run.

    ``forwards`` counts forward passes in training. ``sampling`` (streams, number) makes everything random act in evaluation too.
    ``passing`` takes off what acts in training only, ``changes`` records what was installed.
    """

    def __init__(self, model: nn.Module, parts: Mapping[str, Sequence[Any]], values: Callable[[Regularizer], Values],
                 steps: Callable[[], int], example: Any = None):
        self.model, self.parts, self.values, self.steps, self.example = model, parts, values, steps, example
        self.fused = touch.fused(model)
        self.streams: Streams | None = None
        self.sampling: tuple[Streams, int] | None = None
        self.passing: list[Any] = []
        self.changes: list[Change] = []
        self._forwards = 0
        self._calls: dict[str, int] = {}
        self._moment: tuple[int, int] | None = None
        self._last: tuple[Any, int, list[Any], set[str], Tensor] | None = None

    @property
    def forwards(self) -> int:
        return self._forwards

    @forwards.setter
    def forwards(self, count: int) -> None:
        self._forwards, self._moment, self._last = count, None, None  # nothing was met in this pass yet

    def count(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """To be called before every forward pass of the whole model."""
        if module.training and self.sampling is None:
            self.forwards += 1

    def sample(self, sampling: tuple[Streams, int] | None) -> None:
        """Draw from other streams, for one sample; None: back to the run's own."""
        self.sampling, self._moment, self._last = sampling, None, None

    def quiet(self, module: nn.Module) -> bool:
        return id(module) in self.fused

    def active(self, module: nn.Module) -> bool:
        """Whether what is random acts now."""
        return module.training or self.sampling is not None

    def draw(self, component: str, call: int = 0) -> Draw:
        """The draw of a component at its ``call``-th meeting in the present forward pass."""
        name = f"{component}+{call}" if call else component
        if self.sampling is not None:
            return self.sampling[0].at(name, self.sampling[1])
        assert self.streams is not None
        # parts of the model that are called without the whole count by the optimizer's steps
        return self.streams.at(name, self._forwards - 1 if self._forwards else -1 - self.steps())

    def met_before(self, tensor: Tensor, acting: list[Any], key: str) -> Tensor | None:
        """What the same parts made of the same activation just before, at other places."""
        if self._last is not None:
            of, version, parts, keys, out = self._last
            if of() is tensor and version == tensor._version and parts == acting and key not in keys:
                keys.add(key)
                return out
        return None

    def remember(self, tensor: Tensor, acting: list[Any], key: str, out: Tensor) -> None:
        """Keep what was made of an activation until another one is met."""
        self._last = weakref.ref(tensor), tensor._version, acting, {key}, out

    def call(self, key: str) -> int:
        """How often this place was met before in this forward pass. Computed again for a checkpoint, it is the first time."""
        within = self.sampling[1] if self.sampling else 0 if self.forwards else -1 - self.steps()
        moment = (self.forwards, within)
        if moment != self._moment:
            self._moment, self._calls = moment, {}
        if torch._C._current_graph_task_id() != -1:  # within backward: a checkpoint is computed again
            if self._calls.get(key, 1) > 1:
                raise WellfitError("A checkpointed part meets one layer several times in a forward pass, so its draws cannot be "
                                   "told apart when it is computed again.", received=key,
                                   action="leave that part out of checkpointing, or give it layers of its own")
            return 0
        count = self._calls.get(key, 0)
        self._calls[key] = count + 1
        return count
