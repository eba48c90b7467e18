"""What the phases of a regularizer are handed: hyperparameter values, weights, batches, outputs and the optimizer's step.

Every one of them is for one network or for K stacked networks: values are then ``(K,)`` tensors, other tensors carry a leading
member axis, and :func:`over` lines the two up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from wellfit.core.scratch import Scratch

Value = float | Tensor


def over(value: Any, like: Tensor) -> Any:
    """A (K,) value shaped to broadcast over ``like`` (K, ...); numbers pass unchanged.

    >>> import torch
    >>> over(torch.ones(3), torch.ones(3, 4, 5)).shape, over(0.1, torch.ones(4))
    (torch.Size([3, 1, 1]), 0.1)
    """
    if isinstance(value, Tensor) and value.ndim == 1:
        return value.to(like.device).view(-1, *(1,) * (like.ndim - 1))
    return value


def member_sum(values: Tensor, members: bool) -> Tensor:
    """Sum over everything but the member axis: () for one network, (K,) for K."""
    return values.flatten(1).sum(1) if members else values.sum()


class Values:
    """The hyperparameters of one regularizer at one step, as attributes: numbers, or (K,) tensors for K members."""

    def __init__(self, values: Mapping[str, Any], *, members: bool = False):
        self.__dict__.update(values)
        self.__dict__["members"] = members

    members: bool

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"no hyperparameter {name!r}; there are {sorted(vars(self))}")


@dataclass(frozen=True)
class WeightInfo:
    """What is known of one parameter: its role, its geometry and its place.

    Attributes:
        name: dotted name in the model.
        kind: linear, convolution, transposed_convolution, recurrent, embedding, bias, norm or other.
        unit_axes: axes (negative, of the unit view) that run over one unit's incoming weights.
        input_axes: axes (of the unit view) that run over everything leaving one input; empty where there is none.
        groups: groups of a transposed convolution, whose output axis is dim 1 within each group.
        first: whether it reads the network's input.
        last: whether it writes the network's output.
        shape: of the parameter (of one network).
        depth: place of its layer in the network, 0 for the first to 1 for the last; a bias or gain counts with its layer.
        layers_behind: how many layers come after its own: 0 for the last.
        attention: whether it belongs to an attention block.
        feeds_norm: whether a normalisation follows at once, which makes the weight scale-invariant.
        feature_groups: for the first layer, (D,) numbers of the source feature behind each input.
    """

    name: str
    kind: str
    unit_axes: tuple[int, ...] = ()
    input_axes: tuple[int, ...] = ()
    groups: int = 1
    first: bool = False
    last: bool = False
    feeds_norm: bool = False
    feature_groups: Tensor | None = field(default=None, compare=False)
    shape: tuple[int, ...] = ()
    depth: float = 0.0
    layers_behind: int = 0
    attention: bool = False

    def unit_view(self, weight: Tensor) -> Tensor:
        """``weight`` seen so that ``unit_axes`` and ``input_axes`` apply (a view: writing to it writes the weight)."""
        if self.kind == "transposed_convolution" and self.groups > 1:
            return weight.unflatten(self.unit_axes[0], (self.groups, -1))
        return weight

    def matrices(self, weight: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """``weight`` as matrices (..., groups, units, incoming weights of a unit), and the way back to its own shape.

        Each group of a convolution is a matrix of its own, since groups see different inputs. A vector is one column.

        >>> info = WeightInfo("w", "convolution", (-2, -1), groups=2)
        >>> import torch
        >>> m, back = info.matrices(torch.zeros(6, 3, 5))
        >>> m.shape, back(m).shape
        (torch.Size([2, 3, 15]), torch.Size([6, 3, 5]))
        """
        view = self.unit_view(weight)
        if self.kind == "convolution" and self.groups > 1:
            view = view.unflatten(-len(self.unit_axes) - 1, (self.groups, -1))
        elif self.kind != "transposed_convolution" or self.groups == 1:
            lead = -len(self.unit_axes) - 1
            view = view.unsqueeze(view.ndim + lead)
        count = len(self.unit_axes)
        if not count:  # a vector
            return view.unsqueeze(-1), lambda m: m.squeeze(-1).reshape(weight.shape)
        ends = tuple(range(-count, 0))
        moved = view.movedim(self.unit_axes, ends)
        return moved.flatten(-count), lambda m: m.reshape(moved.shape).movedim(ends, self.unit_axes).reshape(weight.shape)


@dataclass(frozen=True)
class Site:
    """A place in a network where an activation is met. Axes are negative, so that a leading member axis changes nothing.

    Attributes:
        index: number of the site among those of its sort.
        name: dotted name of the module whose input (or, for dropout modules and branches, output) it is.
        kind: linear, convolution, recurrent, attention or dropout.
        batch_axis: over examples; None for a single example without one.
        channel_axis: over units or channels.
        time_axis: over the steps of a sequence; None where there are none.
        positions: all axes over which one channel repeats: time or space.
        width: number of channels.
    """

    index: int = 0
    name: str = ""
    kind: str = "linear"
    batch_axis: int | None = -2
    channel_axis: int = -1
    time_axis: int | None = None
    positions: tuple[int, ...] = ()
    width: int = 0

    def draw_shape(self, activation: Tensor, shared: Sequence[int], members: bool = False) -> tuple[int, ...]:
        """Shape of a draw for ``activation`` with one value along each of the ``shared`` axes (member axis left out).

        >>> import torch
        >>> Site(channel_axis=-3, batch_axis=-4).draw_shape(torch.zeros(2, 3, 5, 5), (-2, -1))
        (2, 3, 1, 1)
        """
        shape = list(activation.shape[1:] if members else activation.shape)
        for axis in shared:
            shape[axis] = 1
        return tuple(shape)


@lru_cache(maxsize=64)
def group_count(groups: Tensor) -> int:
    """How many groups a tensor of group numbers has. Counted once for each tensor: on a graphics card, asking it means waiting.

    >>> group_count(torch.tensor([0, 0, 1, 2]))
    3
    """
    return int(groups.max()) + 1


@dataclass(frozen=True)
class Batch:
    """One batch. ``inputs`` (B, ...) and ``targets``: classes (B,), class probabilities (B, C), or numbers (B,) or (B, O).

    ``classes`` is the number of classes C (None for regression); ``feature_groups`` (D,) numbers the source feature that
    each input column encodes (None: every column is a feature of its own). K members add a leading axis.
    """

    inputs: Tensor
    targets: Tensor
    classes: int | None = None
    feature_groups: Tensor | None = None

    def with_(self, **changes: Any) -> Batch:
        return replace(self, **changes)


Kind = Literal["classes", "binary", "numbers"]


@dataclass(frozen=True)
class Judged:
    """What a criterion is about to judge. ``kind`` says what the outputs are: ``classes``: scores, with the class axis behind the
    batch axis; ``binary``: one logit for each yes or no; ``numbers``: a regression. ``classes`` counts the classes, if there
    are any."""

    outputs: Tensor
    targets: Tensor
    kind: Kind
    classes: int | None = None

    def with_(self, **changes: Any) -> Judged:
        return replace(self, **changes)


@dataclass(frozen=True)
class Pass:
    """One forward pass: its objective and outputs, and what was added to the inputs (None: nothing)."""

    loss: Tensor
    outputs: Tensor
    kind: Kind
    shift: Tensor | None = None


class Again(Protocol):
    """Runs the forward pass once more, with ``shift`` added to the inputs; ``fresh`` draws other dropout masks than before.
    Batch-norm statistics stay those of the first pass."""

    def __call__(self, shift: Tensor | None = None, *, fresh: bool = False) -> Pass: ...


@dataclass(frozen=True)
class StepContext:
    """What the optimizer knows, for the step phase.

    Attributes:
        learning_rate: of this parameter at this step, a number or (K,).
        base_learning_rate: the schedule's peak, a number or (K,).
        step_size: gives the optimizer's own metric for the parameter: how far one unit of gradient that persists moves
            each weight. A number, (K,), or a tensor shaped like the weight (Adam).
        steps_per_epoch: None when the plan was not told.
        memory: what the part keeps for this weight (:class:`MemoryPhase`), to be changed in place only.
        scratch: buffers to compute in, from one step to the next; the step size may be in the first one.
    """

    learning_rate: Value
    base_learning_rate: Value
    step_size: Callable[[], Any]
    steps_per_epoch: int | None = None
    memory: Mapping[str, Tensor] = field(default_factory=dict)
    scratch: Scratch = field(default_factory=Scratch)

    def scaled_step(self, factor: Any, weight: Tensor) -> Any:
        """``step_size() * factor`` for a number or (K,) ``factor``, to broadcast over ``weight``; shaped like the weight it is in
        the first scratch buffer."""
        step, factor = over(self.step_size(), weight), over(factor, weight)
        if isinstance(step, Tensor) and step.shape == weight.shape and step.dtype == weight.dtype:
            return torch.mul(step, factor, out=step if step is self.scratch(step) else self.scratch(weight))
        return step * factor


@dataclass(frozen=True)
class Part:
    """A parameter with its gradient, for the gradient phase, and what the regularizer keeps for it."""

    info: WeightInfo
    weight: Tensor
    gradient: Tensor
    memory: Mapping[str, Tensor] = field(default_factory=dict)
