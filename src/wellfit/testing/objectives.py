"""Checks of the loss phase and of what acts between steps: neutral, clean in what is reported, and leaving no trace."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from wellfit.core.draws import Streams
from wellfit.core.errors import WellfitWarning
from wellfit.core.operands import Part, Values
from wellfit.core.plan import Plan
from wellfit.core.recipe import Recipe
from wellfit.core.registry import lookup
from wellfit.core.regularizer import Regularizer
from wellfit.testing.subject import Subject, awkward, check, generator, gradient_parts, largest_gap, normal, same

EPOCHS, STEPS, ROWS = 4, 3, 12


def _differentiates(subject: Subject) -> bool:
    return subject.has("outputs", "term", "activity", "passes", "ascent")


class _Normed(nn.Module):
    """(B, 4) → (B, 3), with a batch norm and hidden activations."""

    def __init__(self, dtype: torch.dtype):
        super().__init__()
        self.first, self.norm, self.second, self.last = nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 5), nn.Linear(5, 3)
        self.to(dtype)
        with torch.no_grad():
            for n, parameter in enumerate(self.parameters()):
                parameter.copy_(normal(parameter.shape, dtype, seed=60 + n) * 0.5 + (1 if n == 2 else 0))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.second(torch.tanh(self.norm(self.first(x))))))  # type: ignore[no-any-return]


@dataclass
class _Outcome:
    loss: float
    gradients: list[Tensor]
    weights: list[Tensor]
    statistics: list[Tensor]
    plan: Plan


def _once(part: Regularizer | None, dtype: torch.dtype, divide: float = 1) -> _Outcome:
    """Gradients of one batch, with dropout, batch norm and soft targets, which need no rewriting."""
    model = _Normed(dtype)
    parts: tuple[Any, ...] = (lookup("dropout")(0.3), *(() if part is None else (part,)))  # type: ignore[call-arg]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", WellfitWarning)
        plan: Plan = Recipe(*parts).compile(model, seed=3, epochs=EPOCHS, steps_per_epoch=STEPS, classes=3)
    plan.steps = EPOCHS * STEPS // 2
    x, y = normal((ROWS, 4), dtype, seed=71), torch.softmax(normal((ROWS, 3), dtype, seed=72), 1)
    loss = plan.backward(lambda: plan.objective(functional.cross_entropy, model(x), y), divide=divide)
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    return _Outcome(float(loss), grads, [p.detach() for p in model.parameters()], list(model.buffers()), plan)


@check("at its neutral value the gradient is that of the criterion, bit for bit", _differentiates)
def check_neutral_objective(subject: Subject) -> None:
    for dtype in (torch.float64, torch.float32):
        plain, found = _once(None, dtype), _once(subject.neutral(), dtype)
        for a, b in zip(found.gradients, plain.gradients, strict=True):
            assert same(a, b), f"{dtype}: {largest_gap(a, b)}"


@check("it changes the gradient, while the loss reported, the weights and the batch-norm statistics are those without it",
       _differentiates)
def check_clean_loss(subject: Subject) -> None:
    for dtype in (torch.float64, torch.float32):
        plain, found = _once(None, dtype), _once(subject.part, dtype)
        assert found.loss == plain.loss, f"{dtype}: the loss reported is {found.loss}, without it {plain.loss}"
        assert not all(same(a, b) for a, b in zip(found.gradients, plain.gradients)), f"{dtype}: the gradient is that without it"
        assert all(bool(g.isfinite().all()) for g in found.gradients), f"{dtype}: a gradient that is not finite"
        for what in ("weights", "statistics"):
            assert all(same(a, b) for a, b in zip(getattr(found, what), getattr(plain, what), strict=True)), \
                f"{dtype}: {what} are others than without it"


@check("the same draws give the same gradient, and dividing the loss divides it", _differentiates)
def check_objective_repeats(subject: Subject) -> None:
    first, again, half = (_once(subject.part, torch.float64, divide) for divide in (1, 1, 2))
    for a, b, c in zip(first.gradients, again.gradients, half.gradients, strict=True):
        assert same(a, b), f"two equal passes differ: {largest_gap(a, b)}"
        assert torch.allclose(c * 2, a, rtol=1e-10, atol=1e-14), f"divide=2 does not halve the gradient: {largest_gap(c * 2, a)}"


@check("in evaluation mode the objective is the criterion itself", _differentiates)
def check_evaluation_objective(subject: Subject) -> None:
    plan = _once(subject.part, torch.float64).plan
    plan.model.eval()
    x, y = normal((ROWS, 4), seed=71), torch.arange(ROWS) % 3
    outputs = plan.model(x)
    assert same(plan.objective(functional.cross_entropy, outputs, y), functional.cross_entropy(outputs, y)), "it is not"


@check("its ascent is nothing at the neutral value, moves weights otherwise, keeps their type, and leaves gradients alone",
       lambda s: s.has("ascent"))
def check_ascent(subject: Subject) -> None:
    for dtype in (torch.float64, torch.float32):
        for setting, moves in ((subject.neutral(), False), (subject.part, True)):
            parts = [Part(p.info, p.weight.clone(), p.gradient.clone()) for p in gradient_parts(subject, dtype, awkward)]
            setting.ascend_(parts, setting.values_at(0.5))  # type: ignore[attr-defined]
            for part, old in zip(parts, gradient_parts(subject, dtype, awkward), strict=True):
                assert same(part.gradient, old.gradient), f"{part.info.name}, {dtype}: the gradient changed"
                assert part.weight.dtype == dtype, f"{part.info.name}: {dtype} became {part.weight.dtype}"
                assert same(part.weight, old.weight) != moves, f"{part.info.name}, {dtype}: {largest_gap(part.weight, old.weight)}"


# ---------------------------------------------------------------------------------------------- noise, slow weights, snapshots


def _disturbed(subject: Subject, parts: list[Part], h: Values, seed: int, step: int) -> list[Tensor]:
    streams = Streams(seed)
    subject.part.disturb_gradients_(  # type: ignore[attr-defined]
        parts, h, lambda info: streams.at(f"{subject.part.name}/{info.name}", step), step)
    return [p.gradient for p in parts]


@check("its noise is nothing at the neutral value, a pure function of the draw otherwise, and of the gradient's type",
       lambda s: s.has("noise"))
def check_gradient_noise(subject: Subject) -> None:
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        def made(h: Values, seed: int = 1, step: int = 0, dtype: torch.dtype = dtype) -> list[Tensor]:
            return _disturbed(subject, gradient_parts(subject, dtype, awkward), h, seed, step)

        before = [p.gradient for p in gradient_parts(subject, dtype, awkward)]
        assert all(same(a, b) for a, b in zip(made(subject.neutral().values_at(0.5)), before)), f"{dtype}: not neutral"
        h = subject.part.values_at(0.5)
        first = made(h)
        assert all(g.dtype == dtype for g in first), f"{dtype}: another type"
        assert all(same(a, b) for a, b in zip(first, made(h))), f"{dtype}: the same draw gave two results"
        for other in (made(h, seed=2), made(h, step=1), before):
            assert not any(same(a, b) for a, b in zip(first, other) if a.numel() > 1), f"{dtype}: no new noise"


def _trained(subject: Subject, part: Regularizer | None) -> tuple[Plan, list[dict[str, Tensor]]]:
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).to(torch.float64)
    with torch.no_grad():
        for n, parameter in enumerate(model.parameters()):
            parameter.copy_(normal(parameter.shape, seed=n))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", WellfitWarning)
        plan: Plan = Recipe(*(() if part is None else (part,))).compile(model, epochs=EPOCHS, steps_per_epoch=STEPS)
    plan.attach(optimizer := torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9))
    ends = []
    for _ in range(EPOCHS):
        for step in range(STEPS):
            optimizer.zero_grad()
            x, y = normal((ROWS, 4), seed=step), torch.randint(0, 3, (ROWS,), generator=generator(step))
            functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        plan.observe()
        ends.append({n: t.clone() for n, t in model.state_dict().items()})
    return plan, ends


@check("slow weights at the neutral value change nothing, others do", lambda s: s.has("slow"))
def check_slow_weights(subject: Subject) -> None:
    plain, neutral, found = (_trained(subject, p)[1][-1] for p in (None, subject.neutral(), subject.part))
    assert all(same(neutral[n], t) for n, t in plain.items()), "the neutral value changed the weights"
    assert not all(same(found[n], t) for n, t in plain.items()), "it changed nothing"


@check("snapshots are weights at the ends of epochs, the last one among them, and training is as without",
       lambda s: s.has("snapshot"))
def check_snapshots(subject: Subject) -> None:
    (_, plain), (plan, ends) = _trained(subject, None), _trained(subject, subject.part)
    for a, b in zip(ends, plain, strict=True):
        assert all(same(a[n], t) for n, t in b.items()), "training is not as without it"
    places = [next(k for k, end in enumerate(ends) if all(same(end[n], t) for n, t in s.items())) for s in plan.snapshots]
    assert places == sorted(set(places)), f"snapshots of the epochs {places}"
    assert places and places[-1] == EPOCHS - 1, "the last epoch is no snapshot"
    single = _trained(subject, subject.neutral())[0]
    assert len(single.snapshots) == 1, "at the neutral value there is one network"


CHECKS = (check_neutral_objective, check_clean_loss, check_objective_repeats, check_evaluation_objective, check_ascent,
          check_gradient_noise, check_slow_weights, check_snapshots)
