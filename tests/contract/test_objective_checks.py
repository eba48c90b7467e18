"""The checks of the loss phase, of gradient noise, slow weights and snapshots catch what they are for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from wellfit.core import registry
from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Again, Judged, Part, Pass, Values, WeightInfo
from wellfit.core.regularizer import Regularizer
from wellfit.testing import applicable, check_regularizer

pytestmark = pytest.mark.filterwarnings("ignore::wellfit.WellfitWarning")


@pytest.fixture(autouse=True)
def _registry_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    return


def strength(neutral: float = 0.0) -> Any:
    return hyper(0.1, neutral=neutral, search=(1e-3, 1.0), scale="log", unit="loss", meaning="coefficient")


@dataclass(frozen=True)
class Shrinking(Regularizer):
    """A correct term, from which the wrong ones differ in one thing."""

    strength: float = strength()

    def term(self, judged: Judged, h: Values) -> Tensor:
        return judged.outputs.square().mean() * h.strength


@dataclass(frozen=True)
class NeverNeutral(Shrinking):
    def term(self, judged: Judged, h: Values) -> Tensor:
        return judged.outputs.square().mean() * (h.strength + 1e-6)


@dataclass(frozen=True)
class Detached(Shrinking):
    def term(self, judged: Judged, h: Values) -> Tensor:
        return judged.outputs.detach().square().mean() * h.strength


@dataclass(frozen=True)
class Unbounded(Shrinking):
    def term(self, judged: Judged, h: Values) -> Tensor:
        return (judged.outputs - judged.outputs).abs().sqrt().sum() * h.strength


@dataclass(frozen=True)
class Random(Shrinking):
    def term(self, judged: Judged, h: Values) -> Tensor:
        return (judged.outputs * torch.rand_like(judged.outputs)).mean() * h.strength


@dataclass(frozen=True)
class Twice(Regularizer):
    """Counts the loss of a second pass without being divided like the first."""

    strength: float = strength()

    def extend(self, objective: Tensor, first: Pass, again: Again, h: Values, draw: Draw) -> Tensor:
        return (objective + again().loss * h.strength) / (1 + h.strength) * (1 + 1e-3)


@dataclass(frozen=True)
class Uphill(Regularizer):
    radius: float = strength()

    def ascend_(self, parts: Sequence[Part], h: Values) -> None:
        for part in parts:
            part.weight.add_(part.gradient.sign() * (h.radius + 1e-4))


@dataclass(frozen=True)
class GlobalNoise(Regularizer):
    variance: float = strength()

    def disturb_gradients_(self, parts: Sequence[Part], h: Values, draw_of: Callable[[WeightInfo], Draw], step: int) -> None:
        for part in parts:
            part.gradient.add_(torch.randn_like(part.gradient) * h.variance)


@dataclass(frozen=True)
class LateNeutral(Regularizer):
    share: float = hyper(0.5, high=1.0, neutral=0.9, search=(0.1, 0.9), unit="share", meaning="share")

    def share_of_fast(self, step: int, h: Values) -> float | None:
        return float(h.share) if step % 2 == 0 else None


@dataclass(frozen=True)
class ForgetsTheLast(Regularizer):
    cycles: int = hyper(2, low=1, whole=True, neutral=1, search=(2, 4), unit="cycles", dynamic=False, meaning="cycles")

    def takes_snapshot(self, epoch: int, epochs: int, h: Values) -> bool:
        return epoch < epochs


WRONG = [(NeverNeutral, "neutral_objective"), (Detached, "clean_loss"), (Unbounded, "clean_loss"), (Random, "objective_repeats"),
         (Twice, "neutral_objective"), (Uphill, "ascent"), (GlobalNoise, "gradient_noise"),
         (LateNeutral, "slow_weights"), (ForgetsTheLast, "snapshots")]


@pytest.mark.parametrize(("kind", "check"), WRONG, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_mistake_is_found(kind: type[Regularizer], check: str) -> None:
    registry.register(kind)
    with pytest.raises(AssertionError, match=f"fails the check '{check}'"):
        check_regularizer(kind(), only=[check])


def test_a_correct_one_passes() -> None:
    registry.register(Shrinking)
    assert {"neutral_objective", "clean_loss", "objective_repeats", "evaluation_objective"} < set(applicable(Shrinking()))
    check_regularizer(Shrinking(), leave_out=["docstring"])
