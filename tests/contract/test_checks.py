"""The checks catch what they are for: each wrong regularizer below fails the check that is about its mistake."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

import wellfit as wf
from wellfit.core import registry
from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper
from wellfit.core.operands import Batch, Part, StepContext, Values, WeightInfo, member_sum, over
from wellfit.core.regularizer import Regularizer
from wellfit.core.select import selection
from wellfit.kernels.noise import drop
from wellfit.kernels.prox import soft_threshold_
from wellfit.testing import CHECKS, applicable, check_regularizer


@pytest.fixture(autouse=True)
def _registry_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    return


DOC = """One line.

When it hurts: never. Raises WellfitError. Source: Nobody 1900.

>>> 1 + 1
2
"""


def strength(neutral: float = 0.0) -> Any:
    return hyper(0.1, neutral=neutral, search=(1e-3, 1.0), scale="log", unit="loss", meaning="coefficient")


@dataclass(frozen=True)
class Sparse(Regularizer):
    """A correct lasso, from which the wrong ones below differ in one thing."""

    strength: float = strength()
    select: str = selection()
    per_weight: ClassVar[bool] = True
    moment: ClassVar[str] = "after"

    def penalty(self, weight: Tensor, info: WeightInfo, h: Values) -> Tensor:
        return h.strength * member_sum(weight.abs(), h.members)

    def update_(self, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> None:
        soft_threshold_(weight, over(context.step_size(), weight) * over(h.strength, weight))


@dataclass(frozen=True)
class TwiceTheThreshold(Sparse):
    def update_(self, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> None:
        soft_threshold_(weight, 2 * over(context.step_size(), weight) * over(h.strength, weight))


@dataclass(frozen=True)
class LearningRateOnly(Sparse):
    def update_(self, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> None:
        soft_threshold_(weight, over(context.learning_rate, weight) * over(h.strength, weight))


@dataclass(frozen=True)
class NeverQuiteZero(Sparse):
    def update_(self, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> None:
        super().update_(weight, info, h, context)
        weight.add_(1e-12 * over(h.strength, weight))


@dataclass(frozen=True)
class OutOfPlace(Sparse):
    def update_(self, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> None:
        new = soft_threshold_(weight.double(), over(context.step_size(), weight) * over(h.strength, weight))
        weight.copy_(new)


@dataclass(frozen=True)
class MixesMembers(Sparse):
    def update_(self, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> None:
        value = h.strength.mean() if isinstance(h.strength, Tensor) else h.strength
        soft_threshold_(weight, over(context.step_size(), weight) * value)


@dataclass(frozen=True)
class NotElementwise(Sparse):
    elementwise: ClassVar[bool] = True

    def update_(self, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> None:
        weight.mul_(1 - 0.1 * over(h.strength, weight) * weight.abs().mean(-1, keepdim=True))


@dataclass(frozen=True)
class WrongDerivative(Regularizer):
    strength: float = strength()
    select: str = selection()
    per_weight: ClassVar[bool] = True

    def penalty(self, weight: Tensor, info: WeightInfo, h: Values) -> Tensor:
        return h.strength * member_sum(weight.square(), h.members)

    def adjust_gradients_(self, parts: Sequence[Part], h: Values) -> None:
        for part in parts:
            part.gradient.add_(part.weight * over(h.strength, part.weight))  # the 2 is missing


@dataclass(frozen=True)
class SoftBall(Regularizer):
    """Divides by ε + norm: shrinks weights inside the ball as well."""

    radius: float = hyper(1.0, neutral=float("inf"), open_low=True, search=(0.1, 10.0), scale="log", unit="norm",
                          meaning="bound")
    select: str = selection()
    per_weight: ClassVar[bool] = True
    moment: ClassVar[str] = "after"

    def update_(self, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> None:
        norm = weight.norm(dim=-1, keepdim=True)
        weight.mul_(norm.clamp(max=over(h.radius, norm)) / (norm + 1e-7))


@dataclass(frozen=True)
class Noisy(Regularizer):
    std: float = hyper(0.1, neutral=0.0, search=(0.01, 1.0), scale="log", unit="std", meaning="noise")

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        shape = batch.inputs.shape[1:] if h.members else batch.inputs.shape
        return batch.with_(inputs=batch.inputs + draw.normal(shape, batch.inputs.dtype) * over(h.std, batch.inputs))


@dataclass(frozen=True)
class GlobalNoise(Noisy):
    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        draw.normal((1,))
        return batch.with_(inputs=batch.inputs + torch.randn_like(batch.inputs) * over(h.std, batch.inputs))


@dataclass(frozen=True)
class WritesIntoTheBatch(Noisy):
    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        new = super().transform(batch, h, draw)
        batch.inputs.copy_(new.inputs)
        return batch


@dataclass(frozen=True)
class SameNoiseForAll(Noisy):
    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        shape = batch.inputs.shape[1:] if h.members else batch.inputs.shape
        noise = draw.normal(shape, batch.inputs.dtype)
        noise = noise[:1].expand_as(noise) if h.members else noise
        return batch.with_(inputs=batch.inputs + noise * over(h.std, batch.inputs))


@dataclass(frozen=True)
class DoublePrecision(Noisy):
    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        shape = batch.inputs.shape[1:] if h.members else batch.inputs.shape
        return batch.with_(inputs=batch.inputs + draw.normal(shape) * over(h.std, batch.inputs))


@dataclass(frozen=True)
class Dropping(Regularizer):
    rate: float = hyper(0.3, high=1.0, open_high=True, neutral=0.0, search=(0.1, 0.7), unit="probability", meaning="rate")

    def on_hidden(self, activation: Tensor, h: Values, draw: Draw) -> Tensor:
        shape = activation.shape[1:] if h.members else activation.shape
        return drop(activation, draw.bits16(shape), over(h.rate, activation))


@dataclass(frozen=True)
class Unscaled(Dropping):
    def on_hidden(self, activation: Tensor, h: Values, draw: Draw) -> Tensor:
        return super().on_hidden(activation, h, draw) * (1 - over(h.rate, activation))


@dataclass(frozen=True)
class KeepsAtTheRate(Dropping):
    def on_hidden(self, activation: Tensor, h: Values, draw: Draw) -> Tensor:
        shape = activation.shape[1:] if h.members else activation.shape
        flipped = h.rate if isinstance(h.rate, float) and h.rate == 0 else 1 - over(h.rate, activation)
        return drop(activation, draw.bits16(shape), flipped)


@dataclass(frozen=True)
class DroppingFromTorch(Dropping):
    def on_hidden(self, activation: Tensor, h: Values, draw: Draw) -> Tensor:
        return activation * (torch.rand(activation.shape) > 0.5)


@dataclass(frozen=True)
class NoisyWeights(Regularizer):
    """A correct noise on weights."""

    std: float = hyper(0.1, neutral=0.0, unit="weight", meaning="standard deviation")
    select: str = selection()
    per_weight: ClassVar[bool] = True
    stacked: ClassVar[bool] = False
    kinds: ClassVar[tuple[str, ...]] = ("linear",)
    always: ClassVar[bool] = False

    def on_weight(self, weight: Tensor, info: WeightInfo, h: Values, draw: Draw) -> Tensor:
        return weight + h.std * draw.normal(weight.shape, weight.dtype)


@dataclass(frozen=True)
class NoisierThanNeutral(NoisyWeights):
    def on_weight(self, weight: Tensor, info: WeightInfo, h: Values, draw: Draw) -> Tensor:
        return weight + (h.std + 0.1) * draw.normal(weight.shape, weight.dtype)


@dataclass(frozen=True)
class WritesWeights(NoisyWeights):
    def on_weight(self, weight: Tensor, info: WeightInfo, h: Values, draw: Draw) -> Tensor:
        with torch.no_grad():
            weight.mul_(0.9)
        return super().on_weight(weight, info, h, draw)


@dataclass(frozen=True)
class DetachedWeights(NoisyWeights):
    def on_weight(self, weight: Tensor, info: WeightInfo, h: Values, draw: Draw) -> Tensor:
        return 0.5 * weight + super().on_weight(0.5 * weight.detach(), info, h, draw)


@dataclass(frozen=True)
class ForgetsNeutral(Regularizer):
    amount: float = hyper(0.1, search=(0.1, 0.5), unit="share", meaning="amount")

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        return batch


@dataclass(frozen=True)
class Undeclared(Sparse):
    extra: float = 1.0


@dataclass(frozen=True)
class IllegalNeutral(Regularizer):
    amount: float = hyper(0.5, low=0.1, neutral=0.0, search=(0.1, 0.5), unit="share", meaning="amount")

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        return batch


@dataclass(frozen=True)
class SearchesBeyond(Regularizer):
    amount: float = hyper(0.5, high=1.0, neutral=0.0, search=(0.1, 2.0), unit="share", meaning="amount")

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        return batch


@dataclass(frozen=True)
class Unvalidated(Sparse):
    def __post_init__(self) -> None:
        pass


@dataclass(frozen=True)
class Remembers(Sparse):
    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "calls", 0)


@dataclass(frozen=True)
class LosesDigits(Sparse):
    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strength != 0.1 and isinstance(self.strength, float):
            object.__setattr__(self, "strength", self.strength + 1e-9)


@dataclass(frozen=True)
class Stopping(Regularizer):
    patience: float = hyper(2, low=1, neutral=float("inf"), search=(1, 5), unit="epochs", dynamic=False, meaning="patience")

    def start(self, members: int) -> dict[str, np.ndarray]:
        return {"best": np.full(members, np.inf), "bad": np.zeros(members)}

    def observe(self, state: dict[str, np.ndarray], metrics: Mapping[str, np.ndarray],
                h: Values) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        better = metrics["validation_loss"] < state["best"].min()  # looks at the best of all members
        best = np.where(better, metrics["validation_loss"], state["best"])
        bad = np.where(better, 0, state["bad"] + 1)
        return {"best": best, "bad": bad}, better, bad >= np.asarray(h.patience)


@dataclass(frozen=True)
class Drifting(Regularizer):
    decay: float = hyper(0.5, high=1.0, neutral=0.0, search=(0.1, 0.9), unit="share", dynamic=False, meaning="decay")
    cadence: ClassVar[str] = "step"

    def weight_of_current(self, taken: np.ndarray, progress: float, h: Values) -> tuple[np.ndarray, np.ndarray]:
        return 0.99 * (1 - np.asarray(h.decay)) + 0 * taken, taken + 1


@dataclass(frozen=True)
class TextbookMCP(wf.MCP):
    """Firm thresholding by the usual formula also where the step is larger than gamma."""

    strength: float = strength()
    gamma: float = hyper(0.2, open_low=True, search=(0.1, 9.0), scale="log", unit="x", meaning="where it becomes flat")

    def update_(self, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> None:
        step, size = over(context.step_size(), weight), weight.abs()
        firm = (size - step * h.strength).clamp_min(0) / (1 - step / h.gamma)
        weight.copy_(torch.where(size > h.gamma * h.strength, weight, torch.copysign(firm, weight)))


@dataclass(frozen=True)
class RoughUnitNorm(wf.UnitNorm):
    def update_(self, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> None:
        view = info.unit_view(weight)
        norm = torch.linalg.vector_norm(view, dim=info.unit_axes, keepdim=True) if info.unit_axes else view.abs()
        view.mul_(torch.where(over(h.share, view) > 0, 1 / (norm + 1e-3), 1.0))


@dataclass(frozen=True)
class ForgetsItsStart(wf.L2SP):
    """Pulls towards zero whatever it remembers."""

    def adjust_gradients_(self, parts: Sequence[Part], h: Values) -> None:
        for part in parts:
            part.gradient.add_(2 * h.strength * part.weight)


class Halves(torch.nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a * b

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return weight / 2, torch.ones_like(weight)


@dataclass(frozen=True)
class LosesHalf(wf.FactorizedL1):
    def parametrize(self, info: WeightInfo) -> Any:
        return Halves()


@dataclass(frozen=True)
class RemembersOutside(wf.L2SP):
    """Keeps its own copy, which no state of a run knows of."""

    kept: ClassVar[dict[str, Tensor]] = {}

    def begin(self, weight: Tensor, info: WeightInfo) -> dict[str, Tensor]:
        self.kept[info.name] = weight.clone()
        return {"start": weight.clone()}

    def adjust_gradients_(self, parts: Sequence[Part], h: Values) -> None:
        for part in parts:
            part.gradient.add_(2 * h.strength * (part.weight - self.kept[part.info.name]))


WRONG: list[tuple[type[Regularizer], str]] = [
    (TwiceTheThreshold, "prox_minimises"), (TwiceTheThreshold, "prox_against_optimiser"), (LearningRateOnly, "prox_minimises"),
    (NeverQuiteZero, "critical_strength"), (OutOfPlace, "step_dtype"), (MixesMembers, "stacked_step"),
    (MixesMembers, "neutral_step_stacked"), (NotElementwise, "elementwise"), (WrongDerivative, "penalty_gradient"),
    (SoftBall, "projection"), (SoftBall, "neutral_step"), (GlobalNoise, "determinism"),
    (WritesIntoTheBatch, "batch_untouched"), (SameNoiseForAll, "stacked_batch"), (DoublePrecision, "batch_untouched"),
    (NoisierThanNeutral, "neutral_network"), (WritesWeights, "network_dtype"), (WritesWeights, "undo"),
    (DetachedWeights, "network_gradient"), (DroppingFromTorch, "idempotent"),
    (Unscaled, "unbiased"), (KeepsAtTheRate, "keep_rate"), (ForgetsNeutral, "declarations"), (Undeclared, "frozen"),
    (IllegalNeutral, "declarations"), (SearchesBeyond, "declarations"), (Unvalidated, "validation"), (Remembers, "frozen"),
    (LosesDigits, "round_trip"), (Stopping, "stacked_monitor"), (Drifting, "stacked_average"), (Sparse, "docstring"),
    (TextbookMCP, "prox_minimises"),
    (RoughUnitNorm, "projection"), (ForgetsItsStart, "penalty_gradient"), (LosesHalf, "factors"), (RemembersOutside, "resume"),
]


@pytest.mark.parametrize(("kind", "check"), WRONG, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_mistake_is_found(kind: type[Regularizer], check: str) -> None:
    if kind is not Sparse:
        kind.__doc__ = DOC
    registry.register(kind)
    with pytest.raises(AssertionError, match=f"fails the check '{check}'"):
        check_regularizer(kind(), only=[check])


@pytest.mark.parametrize("kind", [Sparse, Noisy, Dropping, NoisyWeights])
def test_a_correct_one_of_a_third_party_passes(kind: type[Regularizer]) -> None:
    registry.register(kind)
    check_regularizer(kind(), leave_out=["docstring"])


def test_one_that_is_not_registered_is_told_so() -> None:
    with pytest.raises(AssertionError, match="decorate the class with @register"):
        check_regularizer(Sparse())


def test_a_message_names_the_check_and_the_reason() -> None:
    registry.register(TwiceTheThreshold)
    with pytest.raises(AssertionError, match=r"TwiceTheThreshold\(.*fails the check 'prox_minimises' \(.*\): first.weight"):
        check_regularizer(TwiceTheThreshold(), only=["prox_minimises"])


def test_what_raises_fails_as_well() -> None:
    @registry.register
    @dataclass(frozen=True)
    class Raises(Sparse):
        def update_(self, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> None:
            raise TypeError("not for tensors")

    with pytest.raises(AssertionError, match="TypeError: not for tensors"):
        check_regularizer(Raises(), only=["stacked_step"])


def test_unknown_checks_are_named() -> None:
    with pytest.raises(wf.WellfitError, match="did you mean projection"):
        check_regularizer(wf.MaxNorm(), only=["projections"])
    with pytest.raises(wf.WellfitError, match="no such check"):
        check_regularizer(wf.MaxNorm(), leave_out=["xyzzy"])


def test_which_checks_apply_follows_from_the_definition() -> None:
    assert "prox_minimises" in applicable(wf.L1())
    assert "prox_minimises" not in applicable(wf.WeightDecay(rate=0.1))
    assert "projection" in applicable(wf.MaxNorm())
    assert "projection" not in applicable(wf.WeightDecay(rate=0.1))  # it acts before the optimizer
    assert "critical_strength" not in applicable(wf.L2())
    assert "keep_rate" in applicable(wf.StochasticDepth())
    assert set(applicable(wf.BatchNorm())) < set(CHECKS)

    @dataclass(frozen=True)
    class Masks(Regularizer):
        """Acts after the optimizer without being a projection onto a convex set, and says so."""

        projects: ClassVar[bool] = False
        moment: ClassVar[str] = "after"

        def update_(self, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> None: ...

    assert "projection" not in applicable(Masks())


def test_companions_are_added() -> None:
    check_regularizer(wf.StochasticDepth(0.3), only=["resume", "inert_in_evaluation"])
    with pytest.raises(AssertionError, match="needs skip_connections"):
        check_regularizer(wf.StochasticDepth(0.3), companions=[], only=["resume"])
    assert dataclasses.is_dataclass(wf.StochasticDepth)
