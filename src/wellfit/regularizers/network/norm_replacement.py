"""Group or layer norms in place of batch norms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from wellfit.core.hyper import hyper, option
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer


@register
@dataclass(frozen=True)
class NormReplacement(Regularizer):
    """Norm replacement: every batch norm becomes a group norm, which looks at one example at a time.

    z ← γ·(z - mean_g(z)) / √(var_g(z) + ε) + β over the positions and channels of a group g. ``kind="layer_norm"`` has one group,
    of all channels; ``"group_norm"`` has ``groups`` of them, or the largest number below that divides the channels. γ and β stay
    the same parameters under the same names; checkpoints of the network as it was still load, their running statistics left out.

    Shapes: (B, C, ...). Unit of groups: groups.
    When it helps: batches too small for batch norm, and training and use that differ in their distribution.
    When it hurts: large batches, where batch norm's noise regularizes.
    Raises WellfitError for groups below 1, or without a batch norm. Source: Wu & He 2018; Ba et al. 2016.

    >>> NormReplacement("layer_norm").kind
    'layer_norm'
    """

    kind: str = option("group_norm", choices=("group_norm", "layer_norm"), meaning="what takes the place of batch norms")
    groups: float = hyper(32, low=1, whole=True, dynamic=False, unit="groups", meaning="largest number of groups of a group norm")

    rewrites: ClassVar[Literal["batch_norm", "skip_connections", "ghost_batch_norm", "norm_replacement"]] = "norm_replacement"
    order: ClassVar[int] = 11
    stacked: ClassVar[bool] = False
    conflicts: ClassVar[Mapping[str, str]] = {"batch_norm": "what one inserts the other replaces"}
