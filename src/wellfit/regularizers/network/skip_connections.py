"""Skip connections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer


@register
@dataclass(frozen=True)
class SkipConnections(Regularizer):
    """Skip connections: identity skips around the hidden layers of the built-in network, a_l ← a_{l-1} + f_l(a_{l-1}).

    Added where a hidden layer keeps the width. Deep networks become easier to fit, and shallow solutions are within reach.

    When it helps: three hidden layers and more that train worse than two.
    When it hurts: networks of one or two hidden layers. Raises WellfitError for networks other than wf.MLP.
    Source: He et al. 2016; as a regularizer on tables Kadra et al. 2021.

    >>> SkipConnections().name
    'skip_connections'
    """

    rewrites: ClassVar[Literal["batch_norm", "skip_connections", "ghost_batch_norm", "norm_replacement"]] = "skip_connections"
    order: ClassVar[int] = 5
