"""The definition of a regularizer: a frozen dataclass of hyperparameters, which says how it composes with others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from wellfit.core.errors import WellfitError
from wellfit.core.hyper import hypers, options, validate
from wellfit.core.operands import Values
from wellfit.core.schedule import PerLayer, Schedule


@dataclass(frozen=True)
class Regularizer:
    """A frozen definition: plain data, validated on construction.

    Class attributes say how it composes:
        order: position within its phase (smaller first).
        conflicts: names of regularizers it cannot stand beside, with the reason.
        requires: names it cannot do without, with the reason.
        per_weight: whether it acts on selected weights (and has a ``select`` field), so that it may appear once per
            selection rather than once per recipe.
        proximal: whether its step is a proximal one, which needs the optimizer's metric and makes exact zeros.
        mixes_targets: whether its batch phase needs class targets as probabilities.
        stacked: whether K members can be trained as one stack of tensors; if not, they are trained one after the other.
        recordable: whether what it does can be recorded on a graphics card, where nothing may ask the host (a singular value
            decomposition does).
        takes: what the inputs of its batch phase are: "anything", "rows" (B, D), "images" (B, C, H, W), "waveforms"
            (B, T) or (B, 1, T), "spectrograms" (B, F, T) or (B, 1, F, T), or "tokens" (B, T) whole numbers.
        before_features: whether its batch phase needs the raw inputs, before features are computed from them.
        elementwise: whether what it does to a weight depends on no other weight, so that a population may hand it all weight
            matrices in one flat piece.
        smooths_targets: whether it softens class targets, which a criterion must then not do again.
        reads_inputs: whether its extra passes need the gradient by the inputs of the first one.
        convex: whether its penalty, or the set it projects onto, is convex. Without that a prox may bring weights further
            apart and a projection has no side that all feasible points lie on; both still find the best point.
        zero_at_zero: whether its penalty is 0 where all weights are 0.
        metric: "diagonal" if its prox is known with a step size per weight (Adam), "scalar" if one per weight matrix (SGD) is
            all it can do; a plan then refuses other optimizers.
        acts_as: "decay" (shrinks), "sparsity" (shrinks to zero), "bound" (keeps a norm in bounds) or "": what a plan looks at
            to find parts that work against each other or twice.
        leaves_scale_invariant: whether weights that feed a normalisation are left alone.
        formula: what it does, with its hyperparameters by name; for the audit.
        required_by: who cannot do without ``requires``: every "recipe", or only the "built_in" network (another may have it).
        zeroes: whether ``rate`` is the share of values that become exactly 0.
        unbiased: whether every value keeps its mean.
    """

    order: ClassVar[int] = 50
    conflicts: ClassVar[Mapping[str, str]] = {}
    requires: ClassVar[Mapping[str, str]] = {}
    per_weight: ClassVar[bool] = False
    stacked: ClassVar[bool] = True
    recordable: ClassVar[bool] = True
    elementwise: ClassVar[bool] = False
    proximal: ClassVar[bool] = False
    mixes_targets: ClassVar[bool] = False
    takes: ClassVar[str] = "anything"
    before_features: ClassVar[bool] = False
    smooths_targets: ClassVar[bool] = False
    reads_inputs: ClassVar[bool] = False
    convex: ClassVar[bool] = True
    zero_at_zero: ClassVar[bool] = True
    metric: ClassVar[Literal["diagonal", "scalar"]] = "diagonal"
    acts_as: ClassVar[Literal["", "decay", "sparsity", "bound"]] = ""
    leaves_scale_invariant: ClassVar[bool] = False
    formula: ClassVar[str] = ""
    required_by: ClassVar[Literal["recipe", "built_in"]] = "recipe"
    zeroes: ClassVar[bool] = True
    unbiased: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in hypers(self):  # numpy's numbers become Python's, which can be written down
            if isinstance(value := getattr(self, name), np.generic):
                object.__setattr__(self, name, value.item())
        validate(self)
        if self.layered and not self.per_weight:
            raise WellfitError(f"{type(self).__name__} acts on no single weight, so it has no value per layer.",
                               received=repr(self), expected="a number or a schedule over time")

    @property
    def name(self) -> str:
        return snake_case(type(self).__name__)

    @property
    def place(self) -> tuple[int, str, str]:
        """Sorts parts into the order in which they act, for one network and for a stack alike."""
        return (self.order, self.name, repr([getattr(self, n) for n in options(self)]))

    @classmethod
    def identifier(cls) -> str:
        return snake_case(cls.__name__)

    def values_at(self, progress: float, layers_behind: int = 0) -> Values:
        """The hyperparameters at ``progress`` of the run, schedules evaluated, for a weight with so many layers behind it."""
        return Values({n: _at(getattr(self, n), progress, layers_behind) for n in hypers(self)})

    @property
    def scheduled(self) -> bool:
        """Whether any hyperparameter changes over the run."""
        return any(isinstance(v := getattr(self, n), Schedule) and v.over_time for n in hypers(self))

    @property
    def layered(self) -> bool:
        """Whether any hyperparameter differs from layer to layer (:class:`~wellfit.core.schedule.PerLayer`)."""
        return any(isinstance(getattr(self, n), PerLayer) for n in hypers(self))

    @property
    def unused_phases(self) -> tuple[str, ...]:
        """Phases that the class has but this setting does not use."""
        return ()

    @classmethod
    def neutral(cls) -> dict[str, float]:
        """The values at which it does nothing."""
        return {n: h.neutral for n, h in hypers(cls).items() if h.has_neutral}


def _at(value: Any, progress: float, layers_behind: int) -> Any:
    if isinstance(value, PerLayer):
        return value.of_layer(layers_behind)
    return value.at(progress) if isinstance(value, Schedule) else value


def snake_case(name: str) -> str:
    """Registry id of a class name.

    >>> [snake_case(n) for n in ("L1", "GroupLasso", "CutMix", "EMA", "InputNoise")]
    ['l1', 'group_lasso', 'cut_mix', 'ema', 'input_noise']
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
