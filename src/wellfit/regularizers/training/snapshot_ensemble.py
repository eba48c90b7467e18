"""Snapshot ensemble."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from wellfit.core.hyper import hyper
from wellfit.core.operands import Values
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer


@register
@dataclass(frozen=True)
class SnapshotEnsemble(Regularizer):
    """Snapshot ensemble: the run is divided into ``cycles``, the weights at the end of each are kept, and predictions are averaged.

    A learning rate that falls and starts again in each cycle makes the snapshots differ:
    ``wf.CosineRestarts(1.0, cycles=...)`` as the loop's rate schedule. ``plan.snapshots`` are the state dicts, ``plan.predict(x)``
    the averaged probabilities. Training and the network that ``plan.finish()`` returns are unchanged. Cycles end with an epoch.

    Shapes: any. Unit: cycles.
    When it helps: the gain of an ensemble for the time of one training.
    When it hurts: cycles too short to converge; memory and prediction time grow with the cycles.
    Raises WellfitError for cycles that are no whole number, or when the plan was not told the number of epochs.
    Source: Huang et al. 2017.

    >>> SnapshotEnsemble(5).cycles
    5
    """

    cycles: int = hyper(5, low=1, whole=True, neutral=1, search=(2, 10), unit="cycles", dynamic=False,
                        meaning="parts of the run, each of which gives one network")

    order: ClassVar[int] = 95
    stacked: ClassVar[bool] = False
    conflicts: ClassVar[dict[str, str]] = {
        "ema": "an average of the weights over cycles is no snapshot of one.",
        "swa": "an average of the weights over cycles is no snapshot of one.",
    }

    def takes_snapshot(self, epoch: int, epochs: int, h: Values) -> bool:
        done = epoch * int(h.cycles)  # in 1/epochs of a cycle: whole numbers, so that no rounding moves an end
        return epoch <= epochs and done // epochs > (done - int(h.cycles)) // epochs
