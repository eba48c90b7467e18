"""Finds, checks and loads the compiled engine; mirrors csrc/interface.h.

With WELLFIT_NO_NATIVE=1 in the environment there is none, whatever is built: everything runs on the reference tier.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from ctypes import POINTER, Structure, c_char_p, c_double, c_int, c_int64, c_uint64, c_void_p
from functools import cache
from pathlib import Path

from wellfit.population.native.build import source_hash

FOLDER = Path(__file__).parent / "lib"
ACTIVATION = {"relu": 0, "selu": 1, "silu": 2, "gelu": 3, "tanh": 4}
OPTIMIZER = {"adam": 0, "sgd": 1}
METRIC = {"balanced_accuracy": 0, "accuracy": 1, "log_loss": 2, "rmse": 3, "r2": 4}
SHRINK, RIDGE, SOFT, ELASTIC, GROUP_INPUTS, GROUP_UNITS, BALL = range(7)
REMEDY = "install a C++ compiler (g++ or clang++), then run: python -m wellfit.population.native.build"
_SUFFIX = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")
# what wf_processor() answers, and the builds that such a processor can run, the fastest first
_BUILDS = {0: ("generic",), 1: ("avx2", "generic"), 2: ("avx512", "avx2", "generic"), 3: ("neon", "generic")}


class Value(Structure):
    """A hyperparameter over the steps of an epoch."""

    _fields_ = [("values", c_void_p), ("stride", c_int64)]


class NativePart(Structure):
    """A regularizer's action on parameters."""

    _fields_ = [("kind", c_int64), ("touches", c_void_p), ("a", Value), ("b", Value)]


class NativeProblem(Structure):
    """Everything members share."""

    _fields_ = [*((n, c_void_p) for n in ("inputs", "labels", "numbers", "class_weights", "feature_groups", "widths",
                                          "branch_depths", "rates")),
                *((n, c_double) for n in ("beta1", "beta2", "epsilon", "norm_momentum", "norm_epsilon")),
                *((n, c_int64) for n in ("rows", "columns", "sources", "depth", "activation", "classes", "batch", "steps",
                                         "optimizer", "metric"))]


class NativeMember(Structure):
    """One member."""

    _fields_ = [*((n, c_void_p) for n in ("weights", "first", "second", "statistics", "averages", "train_rows", "parts",
                                          "average_shares", "mixup_shares", "dropout_keys", "depth_keys")),
                *((n, c_uint64) for n in ("order_key", "mixup_key", "cut_mix_key", "cutout_key", "noise_key")),
                *((n, Value) for n in ("dropout", "stochastic_depth", "noise", "cut_mix", "cutout", "cutout_share", "smoothing",
                                       "clip")),
                ("learning_rate", c_double),
                *((n, c_int64) for n in ("train_count", "part_count", "norm", "skip", "soft"))]


class NativeEvaluation(Structure):
    """Outputs, or loss and error, of one network on some rows, or its batch-norm statistics over them."""

    _fields_ = [*((n, c_void_p) for n in ("weights", "statistics", "rows", "outputs", "fresh", "scores")),
                *((n, c_int64) for n in ("count", "norm", "skip"))]


class NativeFused(Structure):
    """One parameter of any network, with what its step needs."""

    _fields_ = [*((n, c_void_p) for n in ("weight", "first", "second", "average", "gradient", "steps")),
                *((n, c_int64) for n in ("size", "unit")),
                *((n, c_double) for n in ("rate", "beta1", "beta2", "epsilon", "shrink", "soft", "ridge", "radius"))]


_STRUCTURES: Sequence[type[Structure]] = (Value, NativePart, NativeProblem, NativeMember, NativeEvaluation, NativeFused)


class Engine:
    """The loaded library.

    Attributes:
        name: which build it is: avx512, avx2, neon or generic.
        vector_bytes: width of its vectors.
    """

    def __init__(self, path: Path):
        self.name = path.name.split(".")[1]
        library = ctypes.CDLL(str(path))
        self.vector_bytes = _declare(library, "wf_vector_bytes", c_int64)()
        size = _declare(library, "wf_size", c_int64, c_int64)
        if [size(n) for n in range(len(_STRUCTURES))] != [ctypes.sizeof(s) for s in _STRUCTURES]:
            raise OSError(f"{path.name} has another interface than this version of wellfit")
        built_from = (_declare(library, "wf_source_hash", c_char_p)() or b"").decode()
        if built_from != source_hash():
            raise OSError(f"{path.name} was built from other sources")
        self.processor = int(_declare(library, "wf_processor", c_int64)())
        train = (POINTER(NativeProblem), POINTER(NativeMember), c_int64, c_int64, c_int64, c_int64)
        evaluate = (POINTER(NativeProblem), POINTER(NativeEvaluation), c_int64, c_int64)
        self._train = {4: _declare(library, "wf_train_f32", c_int, *train), 8: _declare(library, "wf_train_f64", c_int, *train)}
        self._evaluate = {4: _declare(library, "wf_evaluate_f32", c_int, *evaluate),
                          8: _declare(library, "wf_evaluate_f64", c_int, *evaluate)}
        fused = (POINTER(NativeFused), c_int64, c_double, c_int64)
        self._fused = {4: _declare(library, "wf_fused_f32", c_int, *fused), 8: _declare(library, "wf_fused_f64", c_int, *fused)}

    def train(self, size: int, problem: NativeProblem, members: ctypes.Array[NativeMember], epoch: int, step: int,
              threads: int) -> None:
        """One epoch of every member; ``size`` is that of a number, 4 or 8 bytes."""
        _check(self._train[size](ctypes.byref(problem), members, len(members), epoch, step, threads))

    def evaluate(self, size: int, problem: NativeProblem, items: ctypes.Array[NativeEvaluation], threads: int) -> None:
        """What each item asks of its network."""
        _check(self._evaluate[size](ctypes.byref(problem), items, len(items), threads))

    def fused(self, size: int, pieces: ctypes.Array[NativeFused], share: float, threads: int) -> None:
        """Optimizer, step phase and average, which takes in ``share`` of the weights, for every parameter."""
        _check(self._fused[size](pieces, len(pieces), share, threads))


def _declare(library: ctypes.CDLL, name: str, returns: object, *takes: object) -> ctypes._NamedFuncPointer:
    function = getattr(library, name)
    function.restype, function.argtypes = returns, list(takes)
    return function


def _check(code: int) -> None:
    if code:
        raise MemoryError("The native engine ran out of memory.")


@cache
def _loaded() -> tuple[Engine | None, str]:
    """The engine, or why there is none."""
    if os.environ.get("WELLFIT_NO_NATIVE", "") not in ("", "0"):
        return None, "switched off by WELLFIT_NO_NATIVE"
    found = {p.name.split(".")[1]: p for p in FOLDER.glob(f"engine.*{_SUFFIX}")}
    if not found:
        return None, f"the native engine is not built here: {REMEDY}"
    try:
        # any build can tell the processor, but only the plainest is sure to run on it
        first = next(n for n in ("generic", "neon", "avx2", "avx512") if n in found)
        engine = Engine(found[first])
        best = next((n for n in _BUILDS.get(engine.processor, ("generic",)) if n in found), first)
        return (engine if best == first else Engine(found[best])), ""
    except (OSError, AttributeError) as error:
        return None, f"the native engine cannot be used ({error}): {REMEDY}"


def engine() -> Engine | None:
    """The compiled engine for this processor, or None where there is none."""
    return _loaded()[0]


def why_not() -> str:
    """Why there is no engine, with the remedy; empty where there is one."""
    return _loaded()[1]

