"""Keras's penalties and constraints, from hand-made copies of its formulas (Keras 3; weights there are (in, out), (h, w, in, out)).

Keras is no dependency. Its constraints divide by (1e-7 + norm), so that they agree with exact projections to about 1e-7 only.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

import wellfit as wf
from wellfit.core.operands import StepContext
from wellfit.core.regularizer import Regularizer

EPSILON = 1e-7
CONTEXT = StepContext(0.1, 0.1, lambda: 0.1, 10)


def layer(kind: str) -> nn.Module:
    made: nn.Module = {"dense": nn.Linear(5, 4, bias=False), "convolution": nn.Conv2d(3, 4, 2, bias=False)}[kind].double()
    with torch.no_grad():
        made.weight.copy_(torch.from_numpy(np.random.default_rng(3).normal(size=tuple(made.weight.shape))) * 0.6)  # type: ignore[operator, arg-type]
    return made


def keras_kernel(made: nn.Module) -> np.ndarray:
    """The weight as Keras keeps it."""
    weight = made.weight.detach().numpy()  # type: ignore[union-attr, operator]
    return np.array(weight.T if weight.ndim == 2 else weight.transpose(2, 3, 1, 0))


def keras_axis(kernel: np.ndarray) -> tuple[int, ...]:
    """What the Keras documentation says to constrain: axis=0 for Dense, axis=[0, 1, 2] for Conv2D."""
    return tuple(range(kernel.ndim - 1))


PENALTIES: list[tuple[Regularizer, Callable[[np.ndarray], float]]] = [
    (wf.L1(0.01), lambda w: 0.01 * np.sum(np.abs(w))),
    (wf.L2(0.02), lambda w: 0.02 * np.sum(np.square(w))),
    (wf.ElasticNet(0.03, l1_ratio=1 / 3), lambda w: 0.01 * np.sum(np.abs(w)) + 0.02 * np.sum(np.square(w))),  # L1L2(0.01, 0.02)
]


@pytest.mark.parametrize("kind", ["dense", "convolution"])
@pytest.mark.parametrize(("part", "formula"), PENALTIES, ids=lambda v: v.name if isinstance(v, Regularizer) else "")
def test_penalties(part: Regularizer, formula: Callable[[np.ndarray], float], kind: str) -> None:
    made = layer(kind)
    plan = wf.Recipe(part).compile(made)
    assert plan.contributions()[part.name] == pytest.approx(formula(keras_kernel(made)), rel=1e-13)


def max_norm(w: np.ndarray, limit: float) -> np.ndarray:
    norms = np.sqrt(np.sum(np.square(w), axis=keras_axis(w), keepdims=True))
    return w * (np.clip(norms, 0, limit) / (EPSILON + norms))


def unit_norm(w: np.ndarray) -> np.ndarray:
    return w / (EPSILON + np.sqrt(np.sum(np.square(w), axis=keras_axis(w), keepdims=True)))


def constrained(part: Regularizer, made: nn.Module) -> np.ndarray:
    plan = wf.Recipe(part).compile(made)
    (info, parameter), = plan.parameters.values()
    with torch.no_grad():
        part.update_(parameter, info, part.values_at(0.0), CONTEXT)  # type: ignore[attr-defined]
    return keras_kernel(made)


@pytest.mark.parametrize("kind", ["dense", "convolution"])
@pytest.mark.parametrize("limit", [0.8, 1.5, 100.0])
def test_max_norm(kind: str, limit: float) -> None:
    before = keras_kernel(layer(kind))
    assert np.allclose(constrained(wf.MaxNorm(limit), layer(kind)), max_norm(before, limit), rtol=1e-6, atol=0)


@pytest.mark.skipif(not hasattr(wf, "UnitNorm"), reason="this wellfit has no UnitNorm")
@pytest.mark.parametrize("kind", ["dense", "convolution"])
def test_unit_norm(kind: str) -> None:
    assert np.allclose(constrained(wf.UnitNorm(), layer(kind)), unit_norm(keras_kernel(layer(kind))), rtol=1e-6, atol=0)


@pytest.mark.skipif(not hasattr(wf, "NonNegative"), reason="this wellfit has no NonNegative")
@pytest.mark.parametrize("kind", ["dense", "convolution"])
def test_non_neg(kind: str) -> None:
    w = keras_kernel(layer(kind))
    assert np.array_equal(constrained(wf.NonNegative(), layer(kind)), w * (w >= 0.0))


def test_an_activity_regularizer_divides_by_the_batch() -> None:
    """Keras: activity_regularizer=L1(0.01) adds 0.01 · Σ|a| / batch size."""
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    x = torch.randn(8, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    part = wf.ActivityPenalty(0.01)
    hidden = torch.relu(model[0](x))
    expected = 0.01 * np.sum(np.abs(hidden.detach().numpy())) / 8
    assert float(part.activity(hidden, part.values_at(0.0)).detach()) == pytest.approx(expected, rel=1e-13)


def test_early_stopping_counts_like_keras() -> None:
    """Keras: wait += 1 in an epoch without improvement, and stops when wait >= patience; restore_best_weights."""
    rng = np.random.default_rng(1)
    for patience in (1, 3, 6):
        for _ in range(50):
            losses, best, wait, stopped = rng.normal(size=40).cumsum(), np.inf, 0, None
            for epoch, loss in enumerate(losses, 1):
                wait += 1
                if loss < best:
                    best, wait = loss, 0
                    continue
                if wait >= patience and epoch > 1:
                    stopped = epoch
                    break
            part = wf.EarlyStopping(patience=patience)
            state, h, found = part.start(1), part.values_at(0.0), None
            for epoch, loss in enumerate(losses, 1):
                state, _, stop = part.observe(state, {"validation_loss": np.array([loss])}, h)
                if stop[0]:
                    found = epoch
                    break
            assert found == stopped
