"""Which parts the compiled engine knows, and as what. Formulas stay with the definitions; this says where they are mirrored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from wellfit.core.operands import StepContext, Values, WeightInfo
from wellfit.core.phases import phases_of
from wellfit.core.regularizer import Regularizer
from wellfit.core.select import matches
from wellfit.population.native import library
from wellfit.population.problem import Member, Problem
from wellfit.regularizers.inputs.cut_mix import CutMix
from wellfit.regularizers.inputs.cutout import Cutout
from wellfit.regularizers.inputs.input_noise import InputNoise
from wellfit.regularizers.inputs.mixup import Mixup
from wellfit.regularizers.network.batch_norm import BatchNorm
from wellfit.regularizers.network.dropout import Dropout
from wellfit.regularizers.network.skip_connections import SkipConnections
from wellfit.regularizers.network.stochastic_depth import StochasticDepth
from wellfit.regularizers.targets.label_smoothing import LabelSmoothing
from wellfit.regularizers.training.gradient_clipping import GradientClipping
from wellfit.regularizers.weights.elastic_net import ElasticNet
from wellfit.regularizers.weights.group_lasso import GroupLasso
from wellfit.regularizers.weights.group_mcp import GroupMCP
from wellfit.regularizers.weights.l1 import L1
from wellfit.regularizers.weights.l2 import L2
from wellfit.regularizers.weights.max_norm import MaxNorm
from wellfit.regularizers.weights.weight_decay import WeightDecay

# Exact types: a subclass may mean something else.
VALUES: dict[type[Regularizer], dict[str, str]] = {  # field of the definition -> member's field
    Dropout: {"rate": "dropout"}, StochasticDepth: {"rate": "stochastic_depth"}, InputNoise: {"std": "noise"},
    CutMix: {"rate": "cut_mix"}, Cutout: {"rate": "cutout", "share": "cutout_share"}, LabelSmoothing: {"amount": "smoothing"},
    GradientClipping: {"max_norm": "clip"},
}
PARTS: dict[type[Regularizer], Callable[[Any], int]] = {
    WeightDecay: lambda part: library.SHRINK, L2: lambda part: library.RIDGE, L1: lambda part: library.SOFT,
    ElasticNet: lambda part: library.ELASTIC, MaxNorm: lambda part: library.BALL,
    **dict.fromkeys((GroupLasso, GroupMCP), lambda part: library.GROUP_UNITS if part.groups == "units" else library.GROUP_INPUTS),
}
STRUCTURAL = (BatchNorm, SkipConnections, Mixup)


def part_values(part: Regularizer, h: Values, context: StepContext) -> tuple[np.ndarray, np.ndarray | None]:
    """The numbers a, b of an action on parameters (see interface.h), over members and steps."""
    if isinstance(part, WeightDecay):
        return part.factor(h, context), None
    if isinstance(part, ElasticNet):
        return h.strength, h.l1_ratio
    if isinstance(part, GroupMCP):
        return h.strength, 1.0 / np.asarray(h.release)
    return (h.radius if isinstance(part, MaxNorm) else h.strength), None  # type: ignore[union-attr]


def soft_and_ridge(a: Any, b: Any) -> tuple[Any, Any]:
    """Of the numbers of a lasso (b None) or an elastic net: the coefficients of |w| and of w²/2."""
    ratio = 1.0 if b is None else b
    return a * ratio, 2 * a * (1 - ratio)


def touched(part: Any, infos: Sequence[WeightInfo]) -> np.ndarray:
    """Per parameter, whether the part acts on it."""
    return np.array([matches(i, part.select) and not (type(part) is MaxNorm and i.feeds_norm) for i in infos], dtype=np.uint8)


def beyond(problem: Problem, member: Member) -> str:
    """Why the compiled engine cannot train a member; empty if it can."""
    if torch.device(problem.device).type != "cpu":
        return "the data is not in main memory"
    proximal = np.zeros(len(problem.network.shapes(True)), dtype=int)
    infos = list(problem.network.infos("batch_norm" in member.recipe, problem.feature_groups).values())
    for part in member.recipe:
        kind = type(part)
        elsewhere = set(phases_of(part)) <= {"monitor", "average"}  # which a stack of any tier judges itself
        if kind not in VALUES and kind not in PARTS and kind not in STRUCTURAL and not elsewhere:
            return f"{part.name} is not built in"
        if isinstance(part, InputNoise) and part.scale != "one":
            return "input_noise on the scale of the batch"
        if part.layered:
            return f"{part.name} differs from layer to layer"
        if kind in (L1, ElasticNet):
            proximal[:len(infos)] += touched(part, infos)
        if isinstance(part, GroupLasso | GroupMCP):
            if any(i.kind != "linear" for i in infos if matches(i, part.select)):
                return f"{part.name} on biases or norms"
    return "two proximal penalties on one weight" if proximal.max() > 1 else ""

