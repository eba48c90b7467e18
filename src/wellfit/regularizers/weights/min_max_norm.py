"""Norm between two bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from wellfit.core.errors import WellfitError
from wellfit.core.hyper import hyper
from wellfit.core.operands import StepContext, Values, WeightInfo, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.core.schedule import Schedule
from wellfit.core.select import selection
from wellfit.kernels.project import project_l2_shell_


@register
@dataclass(frozen=True)
class MinMaxNorm(Regularizer):
    """Min-max norm: low ≤ ‖w_unit‖₂ ≤ high for every unit's incoming weights, by exact projection after each step.

    w_unit ← w_unit · (1 - share + share · clamp(‖w_unit‖, low, high) / ‖w_unit‖); share 1, the default, enforces the bounds at
    once (Keras' rate). Units are those of MaxNorm; those within the bounds stay bit for bit. A lower bound is no convex set: a
    unit that is all zero has no nearest point and stays zero. Weights that feed a normalisation are left alone.

    Shapes: (O, I, ...) or (K, O, I, ...). Unit: norm of a weight vector.
    When it helps: units that should neither die nor take over.
    When it hurts: a lower bound keeps alive units that L1 or group lasso would remove.
    Raises WellfitError for values out of range or low above high. Source: Keras (MinMaxNorm), 2015.

    >>> MinMaxNorm(0.5, 2.0).high
    2.0
    """

    low: float = hyper(0.0, neutral=0.0, search=(0.01, 0.3), scale="log", unit="norm", meaning="smallest norm of a unit's weights")
    high: float = hyper(3.0, neutral=float("inf"), open_low=True, search=(0.3, 6.0), scale="log", unit="norm",
                        meaning="largest norm of a unit's weights")
    share: float = hyper(1.0, neutral=0.0, high=1.0, unit="share", meaning="share of the way to the bounds at each step")
    select: str = selection()

    order: ClassVar[int] = 80
    per_weight: ClassVar[bool] = True
    convex: ClassVar[bool] = False
    leaves_scale_invariant: ClassVar[bool] = True
    moment: ClassVar[Literal["before", "after"]] = "after"
    acts_as: ClassVar[Literal["", "decay", "sparsity", "bound"]] = "bound"
    formula: ClassVar[str] = "low ≤ ‖w_unit‖₂ ≤ high"

    def __post_init__(self) -> None:
        super().__post_init__()
        ordered("MinMaxNorm", self.low, self.high)

    @property
    def projects(self) -> bool:
        return self.share == 1

    def update_(self, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> None:
        if not info.feeds_norm:
            view = info.unit_view(weight)
            project_l2_shell_(view, over(h.low, view), over(h.high, view), over(h.share, view), info.unit_axes)


def ordered(what: str, low: float | Schedule, high: float | Schedule) -> None:
    """Raise unless ``low`` ≤ ``high`` throughout."""
    def ends(value: float | Schedule) -> tuple[float, ...]:
        return value.extremes if isinstance(value, Schedule) else (value,)

    if max(ends(low)) > min(ends(high)):
        raise WellfitError(f"{what}: low is above high.", received=f"low={low!r}, high={high!r}", expected="low ≤ high")
