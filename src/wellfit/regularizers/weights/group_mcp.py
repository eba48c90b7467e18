"""MCP on groups."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from wellfit.core.hyper import hyper, option
from wellfit.core.operands import StepContext, Values, WeightInfo, member_sum, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.core.select import selection
from wellfit.kernels.threshold import group_firm_threshold_
from wellfit.regularizers.weights.groups import geometry, spread_over_columns


@register
@dataclass(frozen=True)
class GroupMCP(Regularizer):
    """Group MCP: adds strength · Σ_g √|g| · (t - t²/(2B)) with t = ‖w_g‖₂ up to t = B and B/2 beyond, B = release · √(|g|/I) for a
    layer of I inputs: switches whole groups off exactly, and does not shrink those that matter.

    Near zero it is the group lasso, whose pull never ends: strong enough to switch hundreds of noise inputs off, it also shrinks
    the ones that carry the signal. Here the pull fades as a group grows, and is gone where the root mean square of its weights
    reaches release/√I. ``groups`` and ``select`` as in GroupLasso: everything that leaves one input feature, or enters one unit.

    Applied as a proximal step in the optimizer's metric: the global minimiser, by a one-dimensional root per group (derived in
    kernels/threshold.py). The penalty is not convex, so the solution found depends on where training starts.

    Shapes: linear (O, I), convolution (O, I, ...), or (K, ...) of them. Units: loss per unit of norm (strength); root mean square
    weight times √I (release), where torch's linear layers start at 1/√3 = 0.58.
    When it helps: many inputs of which few matter. Of 500 inputs of which 20 do (madelon), 10 are left and 89% of two classes are
    right, where the group lasso keeps 497 and gets 79%, and no regularization 54% (``benchmarks/feature_selection.py``).
    When it hurts: where most inputs matter, at a strength that is right where few do; from the first step on it locks in early
    guesses (use a WarmUp schedule). A small release drops features for good that are weak.
    Raises WellfitError for a negative strength or a release that is not positive. Source: Breheny & Huang 2009; Huang, Breheny & Ma
    2012; Zhang 2010 for MCP.

    >>> GroupMCP(2e-2).release
    1.2
    """

    strength: float = hyper(1e-3, neutral=0.0, search=(1e-3, 6e-2), scale="log", unit="loss / ‖w‖",
                            meaning="coefficient of Σ √|g|·‖w_g‖ near zero")
    release: float = hyper(1.2, open_low=True, search=(0.7, 6.0), scale="log", unit="rms weight · √inputs",
                           meaning="size of a group at which the pull has faded")
    groups: str = option("inputs", choices=("inputs", "units"), meaning="what forms a group")
    select: str = selection("first")

    order: ClassVar[int] = 65
    per_weight: ClassVar[bool] = True
    acts_as: ClassVar[Literal["", "decay", "sparsity", "bound"]] = "sparsity"
    formula: ClassVar[str] = "strength · Σ √|g| · (t - t²/(2B)), t = min(‖w_g‖₂, B), B = release · √(|g|/I)"
    proximal: ClassVar[bool] = True
    convex: ClassVar[bool] = False
    moment: ClassVar[Literal["before", "after"]] = "after"
    conflicts: ClassVar[dict[str, str]] = dict.fromkeys(("group_lasso", "sparse_group_lasso"), "both put a threshold on each group")

    def penalty(self, weight: Tensor, info: WeightInfo, h: Values) -> Tensor:
        view, total, root_size = geometry(weight, info, self.groups)
        limit = self._limit(view, info, h, root_size)
        norm = torch.minimum(total(view.square()).sqrt(), limit)
        values = over(h.strength, view) * root_size * (norm - norm.square() / (2 * limit))
        return member_sum(spread_over_columns(values, view, root_size), h.members)

    def update_(self, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> None:
        view, total, root_size = geometry(weight, info, self.groups)
        step = context.step_size()
        step = info.unit_view(step) if isinstance(step, Tensor) and step.ndim > 1 else over(step, view)
        group_firm_threshold_(view, step * over(h.strength, view) * root_size, self._limit(view, info, h, root_size), total)

    @staticmethod
    def _limit(view: Tensor, info: WeightInfo, h: Values, root_size: Tensor) -> Tensor:
        """Norm of each group at which the pull ends."""
        return over(h.release, view) / math.sqrt(math.prod(view.shape[axis] for axis in info.unit_axes)) * root_size
