"""What a regularizer may do, and when: phases, each a small protocol of pure functions.

A regularizer is a frozen dataclass of hyperparameters (:class:`Regularizer`) that implements one or more of the protocols
below. It holds no state, draws nothing and knows no training loop. Every method works for one network and for K stacked
networks: hyperparameter values then come as ``(K,)`` tensors, other tensors carry a leading member axis, and
:func:`over` lines the two up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from wellfit.core.draws import Draw
from wellfit.core.operands import Again, Batch, Judged, Part, Pass, Site, StepContext, Values, WeightInfo
from wellfit.core.regularizer import Regularizer


@runtime_checkable
class HiddenPhase(Protocol):
    """Structure phase, on hidden activations: called where a hidden activation enters the next layer, in training only.

    With a ``where`` field (:func:`~wellfit.core.select.placement`) it may take the places of dropout modules instead.
    """

    def on_hidden(self, activation: Tensor, h: Values, draw: Draw) -> Tensor: ...


@runtime_checkable
class SitePhase(Protocol):
    """Structure phase, on hidden activations whose axes matter: as the hidden phase, at sites of the kinds in ``sites``."""

    sites: ClassVar[tuple[str, ...]]

    def on_site(self, activation: Tensor, site: Site, h: Values, draw: Draw) -> Tensor: ...


@runtime_checkable
class WeightPhase(Protocol):
    """Structure phase, on selected weights: the layer computes with the result, and gradients pass through to the parameter.

    ``kinds`` of parameters it is for; ``always`` says whether also in evaluation, where ``finish`` folds the result into the
    parameter. One draw serves a whole forward pass.
    """

    kinds: ClassVar[tuple[str, ...]]
    always: ClassVar[bool]

    def on_weight(self, weight: Tensor, info: WeightInfo, h: Values, draw: Draw) -> Tensor: ...


@runtime_checkable
class DrivePhase(Protocol):
    """Structure phase, on rates that the network's own modules hold: its ``rate`` is theirs while they run in training."""

    drives: ClassVar[Literal["attention_dropout"]]


@runtime_checkable
class BranchPhase(Protocol):
    """Structure phase, on residual branches: called on a branch before it joins the skip path, in training only.

    ``depth`` in (0, 1] is the block's relative position.
    """

    def on_branch(self, branch: Tensor, depth: float, h: Values, draw: Draw) -> Tensor: ...


@runtime_checkable
class RewritePhase(Protocol):
    """Structure phase, once, before the optimizer exists: names the architectural change it wants."""

    rewrites: ClassVar[Literal["batch_norm", "skip_connections", "ghost_batch_norm", "norm_replacement"]]


@runtime_checkable
class ParametrizePhase(Protocol):
    """Structure phase on one selected weight, once, before the optimizer exists: the weight becomes a function of factors.

    Returns a module whose ``forward(*factors)`` is the weight and whose ``right_inverse(weight)`` are factors that give it.
    The factors, of kind ``"factor"``, are what the optimizer and this part's other phases see; ``plan.finish()`` puts the
    weight back, after ``collapse(weight)``, which returns it with what has become nothing set to exact zero.
    """

    def parametrize(self, info: WeightInfo) -> Any: ...

    def collapse(self, weight: Tensor, info: WeightInfo) -> Tensor: ...


@runtime_checkable
class MemoryPhase(Protocol):
    """Run state of one selected weight, made when the plan is compiled: tensors by name, with a leading member axis for K.

    The plan owns, saves and restores it; the part finds it as ``StepContext.memory`` and ``Part.memory``, changes it in place,
    and takes it as ``penalty(weight, info, h, memory)``.
    """

    def begin(self, weight: Tensor, info: WeightInfo) -> dict[str, Tensor]: ...


@runtime_checkable
class BatchPhase(Protocol):
    """Maps a training batch with given draws."""

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch: ...


@runtime_checkable
class WarpPhase(Protocol):
    """Batch phase of image geometry: says from where each output pixel is read, so that neighbours sample once.

    ``warp`` gives maps (B, 3, 3), or (K, B, 3, 3), from output to input pixels for ``size`` (B, H, W). Pixel centres are
    whole numbers and the first coordinate runs along the width. ``lattice`` says that every map takes whole numbers to whole
    numbers, so that nothing has to be interpolated; ``border`` is what lies outside of the image (zero, reflect), None for a
    map that never looks there. A part that has a transform as well warps first and is given the same draw again.
    """

    lattice: ClassVar[bool]
    border: str | None

    def warp(self, size: tuple[int, int, int], h: Values, draw: Draw) -> Tensor: ...


@runtime_checkable
class PenaltyPhase(Protocol):
    """A term of the objective, for each selected weight: its value () or (K,), for reports and checks.

    How the term acts is the business of the gradient phase (its derivative) or the step phase (its prox).
    """

    def penalty(self, weight: Tensor, info: WeightInfo, h: Values) -> Tensor: ...


@runtime_checkable
class OutputPhase(Protocol):
    """Loss phase: maps outputs and targets before the criterion sees them, in training only."""

    def on_outputs(self, judged: Judged, h: Values) -> Judged: ...


@runtime_checkable
class TermPhase(Protocol):
    """Loss phase: a differentiable term () of the outputs, added to the loss that is differentiated and not to the one reported."""

    def term(self, judged: Judged, h: Values) -> Tensor: ...


@runtime_checkable
class ActivityPhase(Protocol):
    """Loss phase: a differentiable term () of each hidden activation, added like :class:`TermPhase`'s."""

    def activity(self, activation: Tensor, h: Values) -> Tensor: ...


@runtime_checkable
class PassPhase(Protocol):
    """Loss phase that needs more than one forward pass: returns the objective that takes the place of ``objective``.

    Such a part is never stacked: ``h`` holds numbers, and it may leave out passes that a value of zero makes useless.
    """

    def extend(self, objective: Tensor, first: Pass, again: Again, h: Values, draw: Draw) -> Tensor: ...


@runtime_checkable
class AscentPhase(Protocol):
    """Loss phase: moves weights, in place, to where the gradient is taken; the plan puts them back afterwards."""

    def ascend_(self, parts: Sequence[Part], h: Values) -> None: ...


@runtime_checkable
class GradientPhase(Protocol):
    """Changes gradients in place, once per optimizer step, before the optimizer sees them."""

    def adjust_gradients_(self, parts: Sequence[Part], h: Values) -> None: ...


@runtime_checkable
class RandomGradientPhase(Protocol):
    """A gradient phase with draws: ``draw_of(info)`` is one parameter's at this step, ``step`` counts the steps before."""

    def disturb_gradients_(self, parts: Sequence[Part], h: Values, draw_of: Callable[[WeightInfo], Draw], step: int) -> None: ...


@runtime_checkable
class StepPhase(Protocol):
    """Acts on one selected weight in place: ``moment`` is before or after the optimizer's update."""

    moment: ClassVar[Literal["before", "after"]]

    def update_(self, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> None: ...


@runtime_checkable
class AveragePhase(Protocol):
    """Step and finish phase: keeps averaged weights, which are the ones evaluated and returned.

    ``weight_of_current`` says how much of the current weights the average takes in now: () or (K,) float64 numbers.
    ``taken`` counts the contributions so far.
    """

    cadence: ClassVar[Literal["step", "epoch"]]

    def weight_of_current(self, taken: np.ndarray, progress: float, h: Values) -> tuple[np.ndarray, np.ndarray]: ...


@runtime_checkable
class SlowPhase(Protocol):
    """Step phase: keeps slow weights that take in a share of the fast ones now and then, which then start again from there.

    Returns that share after step number ``step`` (from 1), or None between two meetings.
    """

    def share_of_fast(self, step: int, h: Values) -> float | None: ...


@runtime_checkable
class SnapshotPhase(Protocol):
    """Finish phase: whether the weights at the end of ``epoch`` (from 1) of ``epochs`` are kept as a member of an ensemble."""

    def takes_snapshot(self, epoch: int, epochs: int, h: Values) -> bool: ...


@runtime_checkable
class MonitorPhase(Protocol):
    """Looks at an epoch's metrics. State is a dict of (K,) arrays, so it saves and restores exactly."""

    def start(self, members: int) -> dict[str, np.ndarray]: ...

    def observe(self, state: dict[str, np.ndarray], metrics: Mapping[str, np.ndarray],
                h: Values) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """Returns the new state, which members improved, and which should stop."""
        ...


@runtime_checkable
class FinishPhase(Protocol):
    """Finish phase: names what is done to the final weights; ``batches`` is the largest number of batches it takes."""

    finishing: ClassVar[Literal["recalibrate"]]


def phases_of(regularizer: Regularizer | type[Regularizer]) -> tuple[str, ...]:
    """Names of the phases a regularizer implements."""
    marks = {"parametrize": "parametrize", "memory": "begin", "hidden": "on_hidden", "site": "on_site", "weight": "on_weight",
             "drive": "drives", "branch": "on_branch", "rewrite": "rewrites", "warp": "warp", "batch": "transform",
             "outputs": "on_outputs", "term": "term", "activity": "activity", "passes": "extend", "ascent": "ascend_",
             "penalty": "penalty", "gradient": "adjust_gradients_", "noise": "disturb_gradients_", "step": "update_",
             "slow": "share_of_fast", "average": "weight_of_current", "monitor": "observe", "snapshot": "takes_snapshot",
             "finish": "finishing"}
    unused = () if isinstance(regularizer, type) else regularizer.unused_phases
    return tuple(phase for phase, mark in marks.items() if hasattr(regularizer, mark) and phase not in unused)


def penalty_of(part: Any, weight: Tensor, info: WeightInfo, h: Values, memory: Mapping[str, Tensor] | None = None) -> Tensor:
    """The penalty of a part on one weight, with its memory where it keeps one."""
    arguments = (weight, info, h, memory or {}) if hasattr(part, "begin") else (weight, info, h)
    return part.penalty(*arguments)  # type: ignore[no-any-return]
