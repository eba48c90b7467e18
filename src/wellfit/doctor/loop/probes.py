"""Training steps from weights that make a constraint show: far outside of any ball, and far inside."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wellfit.doctor.exam import Exam
from wellfit.doctor.loop.actions import Action, Ball, action, ball, factors_along, norms_along, unit_axis
from wellfit.doctor.loop.steps import StepRun, observe
from wellfit.doctor.set_up import SetUp

_MOST = 8  # weights made large at once: more would overflow


def _chosen(model: nn.Module) -> list[str]:
    names = [n for n, p in model.named_parameters() if p.requires_grad and p.ndim >= 2 and min(p.shape[:2]) > 1
             and p.is_floating_point()]
    if len(names) <= _MOST:
        return names
    by_kind: dict[str, list[str]] = {}
    for name in names:
        by_kind.setdefault(type(model.get_submodule(name.rpartition(".")[0])).__name__, []).append(name)
    picked = [n for group in by_kind.values() for n in (group[0], group[-1])]
    return list(dict.fromkeys(picked + names))[:_MOST]


def _spread(weight: Tensor, generator: torch.Generator, size: float) -> Tensor:
    """A weight whose units along either of the first two axes have norms of different size, about ``size``."""
    new = torch.randn(weight.shape, generator=generator)
    rows = torch.exp(0.7 * torch.rand(weight.shape[0], generator=generator))
    columns = torch.exp(0.7 * torch.rand(weight.shape[1], generator=generator))
    new = new * rows.reshape(-1, *([1] * (weight.ndim - 1))) * columns.reshape(1, -1, *([1] * (weight.ndim - 2)))
    smallest = min(float(norms_along(new, (0,)).min()), float(norms_along(new, (1,)).min()))
    return (new * (size / smallest)).to(weight)


def large(exam: Exam) -> StepRun:
    """One step from weights whose norms are far above any bound."""
    bound = exam.set_up.declared.get("max_norm")
    size = 4 * float(bound) if isinstance(bound, int | float) and bound > 0 else 25.0

    def prepare(parts: SetUp) -> None:
        generator = torch.Generator().manual_seed(1)
        named = dict(parts.model.named_parameters())
        with torch.no_grad():
            for name in _chosen(parts.model):
                named[name].copy_(_spread(named[name], generator, size))
    return observe(exam, steps=1, prepare=prepare)


def small(exam: Exam) -> StepRun:
    """One step from weights whose norms are far below any bound, where also small thresholds are seen exactly."""
    def prepare(parts: SetUp) -> None:
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for parameter in parts.model.parameters():
                if parameter.requires_grad and parameter.ndim >= 2 and min(parameter.shape[:2]) > 1:
                    parameter.copy_(_spread(parameter, generator, 2e-3))
    return observe(exam, steps=1, prepare=prepare)


@dataclass(frozen=True)
class Bounded:
    """A weight that was projected on a ball."""

    name: str
    ball: Ball
    right: tuple[int, ...] | None
    shape: tuple[int, ...]


def bounded(exam: Exam) -> tuple[list[Bounded], bool]:
    """Weights that a step takes back to a ball; and whether nothing at all was done after the step."""
    step = exam.once(large).watch.steps[0]
    if step.updated is None or step.after is None:
        return [], False
    found, still = [], True
    for name in _chosen(exam.set_up.model):
        if name not in step.updated or not step.updated[name].isfinite().all():
            still = False
            continue
        done = ball(step.updated[name], step.after[name])
        if done is not None:
            found.append(Bounded(name, done, unit_axis(exam.set_up.model, name), tuple(step.updated[name].shape)))
        elif action(step.updated[name], step.after[name]).kind not in ("none", "decay", "threshold"):
            still = False
    return found, still and not found


def shrinking(exam: Exam) -> list[tuple[str, float]]:
    """Weights inside the ball that shrink as by ``norm / (norm + eps)``, with eps."""
    step = exam.once(small).watch.steps[0]
    if step.updated is None or step.after is None:
        return []
    result = []
    for name, updated in step.updated.items():
        if updated.ndim < 2 or min(updated.shape[:2]) < 2:
            continue
        for kept in ((0,), (1,)):
            factor = factors_along(updated, step.after[name], kept)
            if factor is None or bool((factor <= 0).any()):
                continue
            norms = norms_along(updated, kept)
            loss = 1 / factor - 1  # eps / norm
            eps = loss * norms
            resolution = 4 * torch.finfo(updated.dtype).eps
            if (bool((loss > 4 * resolution).all()) and float(eps.std(correction=0)) < 0.05 * float(eps.mean())
                    and float(norms.std(correction=0)) > 0.1 * float(norms.mean())):
                result.append((name, float(eps.mean())))
                break
    return result


def blown_up(exam: Exam) -> list[tuple[str, float]]:
    """Weights far inside the ball whose units are all scaled up to one norm, with that norm."""
    step = exam.once(small).watch.steps[0]
    if step.updated is None or step.after is None:
        return []
    result = []
    for name, updated in step.updated.items():
        if updated.ndim < 2 or min(updated.shape[:2]) < 2:
            continue
        for kept in ((), (0,), (1,)):
            factor = factors_along(updated, step.after[name], kept)
            if factor is None or not bool((factor > 1.5).all()):
                continue
            norms = norms_along(step.after[name], kept)
            if float((norms - norms.mean()).abs().max()) <= 2e-3 * float(norms.mean()):
                result.append((name, float(norms.mean())))
                break
    return result


def thresholds(exam: Exam) -> dict[str, tuple[Action, float]]:
    """What the step from small weights does beside the optimizer, with the learning rate."""
    step = exam.once(small).watch.steps[0]
    if step.updated is None or step.after is None:
        return {}
    return {n: (action(u, step.after[n]), step.rates.get(n, 0.0)) for n, u in step.updated.items() if u.ndim >= 2}
