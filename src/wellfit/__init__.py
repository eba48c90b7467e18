"""wellfit finds, applies and proves the right regularization for a neural network.

In a training loop of your own: :class:`Recipe`, its regularizers, and :class:`Plan`. On a table: :func:`tune`.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from wellfit.core.errors import WellfitError, WellfitWarning
from wellfit.core.plan import Plan
from wellfit.core.recipe import Recipe
from wellfit.core.schedule import Constant, Cosine, CosineRestarts, FlatCosine, Linear, PerLayer, WarmUp
from wellfit.population.network import MLP
from wellfit.regularizers import *  # noqa: F403
from wellfit.regularizers import __all__ as _regularizers

try:
    __version__ = version("wellfit")
except PackageNotFoundError:  # used from a source tree that was never installed
    __version__ = "unknown"

if TYPE_CHECKING:
    from wellfit.core.surgery import existing_regularization
    from wellfit.doctor.check import check
    from wellfit.drivers.mc_dropout import mc_dropout
    from wellfit.search.result import TuneResult
    from wellfit.search.task import Task
    from wellfit.search.tune import tune

# what is made here needs pandas, scikit-learn and optuna, or is rarely asked for
_LAZY = {"tune": "wellfit.search.tune", "TuneResult": "wellfit.search.result", "Task": "wellfit.search.task",
         "mc_dropout": "wellfit.drivers.mc_dropout", "existing_regularization": "wellfit.core.surgery",
         "check": "wellfit.doctor.check"}

__all__ = [
    *_regularizers,
    "MLP", "Constant", "Cosine", "CosineRestarts", "FlatCosine", "Linear", "PerLayer", "Plan", "Recipe", "Task", "TuneResult",
    "WarmUp", "WellfitError", "WellfitWarning", "check", "existing_regularization", "mc_dropout", "tune",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'wellfit' has no attribute {name!r}")
