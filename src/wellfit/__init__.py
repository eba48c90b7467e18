"""wellfit finds, applies and proves the right regularization for a neural network.

In a training loop of your own: :class:`Recipe`, its regularizers, and :class:`Plan`. On a table: :func:`tune`.

Names are loaded when they are first asked for: ``wellfit diagnose history.csv`` and ``wellfit report`` read files and have no
use for PyTorch, whose import takes longer than their work.
"""

from __future__ import annotations

import importlib
import threading
from typing import TYPE_CHECKING, Any

from wellfit.core.errors import WellfitError, WellfitWarning

if TYPE_CHECKING:
    from wellfit.core.plan import Plan as Plan
    from wellfit.core.recipe import Recipe as Recipe
    from wellfit.core.schedule import Constant as Constant
    from wellfit.core.schedule import Cosine as Cosine
    from wellfit.core.schedule import CosineRestarts as CosineRestarts
    from wellfit.core.schedule import FlatCosine as FlatCosine
    from wellfit.core.schedule import Linear as Linear
    from wellfit.core.schedule import PerLayer as PerLayer
    from wellfit.core.schedule import WarmUp as WarmUp
    from wellfit.core.surgery import existing_regularization as existing_regularization
    from wellfit.diagnosis.diagnose import Diagnosis as Diagnosis
    from wellfit.diagnosis.diagnose import diagnose as diagnose
    from wellfit.doctor.check import check as check
    from wellfit.drivers.mc_dropout import mc_dropout as mc_dropout
    from wellfit.population.native.fused import native as native
    from wellfit.population.native.fused import native_if_possible as native_if_possible
    from wellfit.population.network import MLP as MLP
    from wellfit.regularizers import *  # noqa: F403
    from wellfit.search.result import TuneResult as TuneResult
    from wellfit.search.task import Task as Task
    from wellfit.search.tune import tune as tune

    __all__: list[str]
    __version__: str

# with PyTorch, and together: whoever asks for one of them gets all
_OWN = {"Plan": "wellfit.core.plan", "Recipe": "wellfit.core.recipe", "MLP": "wellfit.population.network",
        **dict.fromkeys(("Constant", "Cosine", "CosineRestarts", "FlatCosine", "Linear", "PerLayer", "WarmUp"),
                        "wellfit.core.schedule")}
# what is made here needs pandas, scikit-learn and optuna, or is rarely asked for
_LAZY = {"tune": "wellfit.search.tune", "TuneResult": "wellfit.search.result", "Task": "wellfit.search.task",
         "diagnose": "wellfit.diagnosis.diagnose", "Diagnosis": "wellfit.diagnosis.diagnose",
         "check": "wellfit.doctor.check",
         **dict.fromkeys(("native", "native_if_possible"), "wellfit.population.native.fused"),
         "mc_dropout": "wellfit.drivers.mc_dropout", "existing_regularization": "wellfit.core.surgery"}
_loading = threading.RLock()


def _load() -> None:
    """Put the regularizers and what they are used with among the names of this package."""
    with _loading:
        names = globals()
        if "__all__" in names:
            return
        regularizers = importlib.import_module("wellfit.regularizers")
        names.update({name: getattr(regularizers, name) for name in regularizers.__all__})
        names.update({name: getattr(importlib.import_module(module), name) for name, module in _OWN.items()})
        names["__all__"] = [*regularizers.__all__, *_OWN, *_LAZY, "WellfitError", "WellfitWarning"]


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("wellfit")
    except PackageNotFoundError:  # used from a source tree that was never installed
        return "unknown"


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return globals().setdefault(name, _version())
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    if name == "__all__" or not name.startswith("_"):
        _load()
        if name in globals():
            return globals()[name]
    raise AttributeError(f"module 'wellfit' has no attribute {name!r}")


def __dir__() -> list[str]:
    _load()
    return sorted({*globals(), *globals()["__all__"]})
