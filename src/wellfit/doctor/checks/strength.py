"""Weight decay over a whole training: far too little, or far too much."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer

from wellfit.doctor.batches import call, main_output
from wellfit.doctor.checks.decay import decay_effect
from wellfit.doctor.exam import Exam, NotExaminable
from wellfit.doctor.registry import Observed, check
from wellfit.doctor.roles import Role, decay_of, roles

TOO_WEAK = 1e-4
"""Σlr·λ below which decay takes less than a ten-thousandth off the weights in the whole training."""
SLIGHT = 1e-3
NOTABLE = 5.0
"""Σlr·λ above which decay is worth a remark; above five times that it is more than any schedule needs."""
FORGETS = 0.1
"""Epochs after which decay has forgotten what was learned, that are certainly too few."""
SOURCE = ("Loshchilov & Hutter (2019), arXiv:1711.05101, B.1; Wang & Aitchison (2024), How to set AdamW's weight decay, "
          "arXiv:2405.13698 (the timescale 1/(lr·λ) belongs between one epoch and the whole training)")


@dataclass(frozen=True)
class Budget:
    """Weight decay of one group over the run.

    Attributes:
        total: Σ lr·λ over all steps, with lr/(1-momentum) where momentum carries it on: decay alone shrinks a weight to
            exp(-total).
        per_epoch: the same for an epoch at the first learning rate.
    """

    group: int
    decay: float
    steps: int
    total: float
    per_epoch: float
    default: bool


def budgets(exam: Exam) -> list[Budget]:
    """For each group with decay on weights, unless a step that is scaled by the gradient's size swallows it."""
    set_up = exam.set_up
    optimizer, epochs = set_up.optimizer, set_up.epochs
    if optimizer is None or not epochs:
        raise NotExaminable("no optimizer and epochs")
    per_epoch = batches_per_epoch(set_up.train_loader) / max(1, int(set_up.declared.get("accumulation", 1)))
    steps = max(1, round(per_epoch * epochs))
    coupled = {number for number, share, growth in exam.once(decay_effect) if share < 0.5 and growth < 10}
    with_weights = {r.group for r in roles(exam) if r.kind == "weight"}
    sums = _rate_sums(exam, steps, int(epochs))
    found = []
    for number, group in enumerate(optimizer.param_groups):
        decay = decay_of(group)
        if not decay or number in coupled or number not in with_weights:
            continue
        momentum = float(group.get("momentum") or 0)
        carried = 1 / (1 - momentum) if 0 < momentum < 1 and not group.get("dampening") else 1.0
        rate = float(group.get("initial_lr", group.get("lr", 0.0)))
        found.append(Budget(number, decay, steps, decay * carried * sums[number], decay * carried * rate * per_epoch,
                            decay == optimizer.defaults.get("weight_decay") == _class_default(optimizer)))
    return found


def batches_per_epoch(loader: Any) -> float:
    try:
        return float(len(loader))
    except TypeError as error:
        raise NotExaminable("train_loader has no length") from error


def _class_default(optimizer: Optimizer) -> float | None:
    import inspect

    parameter = inspect.signature(type(optimizer).__init__).parameters.get("weight_decay")
    return parameter.default if parameter is not None else None


def _rate_sums(exam: Exam, steps: int, epochs: int) -> list[float]:
    """Σ lr over the run for each group, with the scheduler stepped on a copy: once per step if it counts them, else per epoch."""
    optimizer = exam.set_up.optimizer
    rates = [float(g.get("lr", 0.0)) for g in optimizer.param_groups]  # type: ignore[union-attr]
    scheduler = exam.set_up.scheduler
    if scheduler is None or not hasattr(scheduler, "last_epoch") or "Plateau" in type(scheduler).__name__:
        return [r * steps for r in rates]

    def walk(count: int) -> list[float]:
        parts = exam.fresh()
        sums = [0.0] * len(rates)
        taken = min(count, 2000)
        for _ in range(taken):
            for number, group in enumerate(parts.optimizer.param_groups):  # type: ignore[union-attr]
                sums[number] += float(group.get("lr", 0.0))
            try:
                parts.scheduler.step()
            except Exception:  # past its last step
                break
        return [s * steps / taken for s in sums]
    horizon = getattr(scheduler, "total_steps", None) or getattr(scheduler, "T_max", None)
    if horizon is not None:
        per_step = abs(math.log(horizon / steps)) < abs(math.log(horizon / epochs))
        return walk(steps if per_step and steps <= 2000 else min(steps, 2000) if per_step else epochs)
    return walk(epochs)


def _decayed(exam: Exam, number: int) -> list[Role]:
    return [r for r in roles(exam) if r.group == number and r.kind == "weight"]


@check("decay-too-weak", severity="warning", evidence="static", needs=("optimizer", "train_loader", "epochs"),
       why="Decay acts as exp(-Σlr·λ) on a weight that gets no gradient. So near to 1 it changes nothing in this many steps.",
       source=SOURCE)
def decay_too_weak(exam: Exam) -> Iterator[Observed]:
    for budget in budgets(exam):
        if 0 < budget.total < SLIGHT:
            wanted = budget.decay / budget.total
            yield Observed(f"optimizer.param_groups[{budget.group}]",
                           f"weight_decay={budget.decay:g} over {budget.steps} steps: Σlr·λ = {budget.total:.2g}, so decay alone "
                           f"takes {-math.expm1(-budget.total):.2%} off a weight",
                           f"optimizer.param_groups[{budget.group}][\"weight_decay\"] = {_round(wanted)}  # Σlr·λ ≈ 1\n"
                           "# or 0.0, if no decay is meant",
                           "warning" if budget.total < TOO_WEAK and not budget.default else "note")


def _round(value: float) -> str:
    return f"{value:.1g}"


@check("decay-too-strong", severity="warning", evidence="probe", needs=("optimizer", "train_loader", "epochs"),
       why="Decay that outweighs the gradient pulls every weight to zero faster than the data can hold it: the network underfits.",
       source=SOURCE)
def decay_too_strong(exam: Exam) -> Iterator[Observed]:
    for budget in budgets(exam):
        weights = _decayed(exam, budget.group)
        largest = max(float(r.parameter.detach().abs().max()) for r in weights)
        timescale = 1 / budget.per_epoch if budget.per_epoch else math.inf
        said = (f"weight_decay={budget.decay:g}: Σlr·λ = {budget.total:.3g} over {budget.steps} steps; decay alone takes a weight "
                f"to a third in {timescale:.2g} epochs")
        ratio = _against_gradient(exam, budget)
        strong = budget.total > 3 and timescale < FORGETS
        if ratio is not None:
            strong = strong or (ratio > 5 and budget.total > 1)
            said += f"; its pull λ·‖w‖ is {ratio:.3g} times the loss gradient's norm on the first batch"
        elif _adaptive(exam, budget.group):
            bound = 1 / budget.decay
            strong = strong or (budget.total > 3 and bound < 3 * largest)
            said += f"; steps of size lr hold no weight above 1/λ = {bound:.2g} (largest now: {largest:.2g})"
        if strong or budget.total > NOTABLE:
            yield Observed(f"optimizer.param_groups[{budget.group}]", said,
                           f"optimizer.param_groups[{budget.group}][\"weight_decay\"] = {_round(budget.decay / budget.total)}"
                           "  # Σlr·λ ≈ 1", "warning" if strong or budget.total > 5 * NOTABLE else "note")


def _adaptive(exam: Exam, number: int) -> bool:
    return any(n == number and growth < 10 for n, _, growth in exam.once(decay_effect))


def _against_gradient(exam: Exam, budget: Budget) -> float | None:
    """λ·‖w‖ / ‖gradient of the criterion‖ over a group's weights, where decay is part of the gradient; None where it is not."""
    if exam.set_up.criterion is None or _adaptive(exam, budget.group):
        return None
    parts = exam.fresh()
    model = parts.model.train()
    sample = exam.sample()
    inputs, targets = sample.inputs, sample.targets
    out = call(model, inputs)
    try:
        loss = parts.criterion(out, targets)  # type: ignore[misc]
    except Exception:
        try:
            loss = parts.criterion(main_output(out), targets)  # type: ignore[misc]
        except Exception:
            return None
    names = {r.name for r in _decayed(exam, budget.group)}
    weights = [p for n, p in model.named_parameters() if n in names]
    gradients = torch.autograd.grad(loss.mean(), weights, allow_unused=True)
    pull = math.sqrt(sum(float(w.detach().square().sum()) for w in weights)) * budget.decay
    size = math.sqrt(sum(float(g.square().sum()) for g in gradients if g is not None))
    return pull / size if size else None
