"""Gradients on their way to the optimizer: cleared, clipped, and the learning rate's schedule."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch

from wellfit.doctor.exam import Exam
from wellfit.doctor.loop.steps import observed
from wellfit.doctor.registry import Observed, check


@check("gradients-not-cleared", severity="error", evidence="probe", needs=("train_step|fit", "train_loader"),
       why="Each step uses the gradients of all steps before it too, as if the batch grew and its old part were never recomputed.",
       source="PyTorch documentation, torch.optim.Optimizer.zero_grad")
def gradients_not_cleared(exam: Exam) -> Iterator[Observed]:
    run = exam.once(observed)
    kept = 0
    for before, step in zip(run.watch.steps, run.watch.steps[1:]):
        if step.stale is None or before.optimizer is not step.optimizer:
            continue
        same = [n for n, g in step.stale.items() if n in before.gradients and g.count_nonzero()
                and float((g - before.gradients[n]).norm()) <= 1e-4 * float(g.norm())]
        if same and len(same) * 2 >= len(step.stale):
            kept += 1
    if kept:
        yield Observed(run.function, f"at {kept} of {len(run.watch.steps) - 1} steps the gradients of the step before were still "
                       "there when the next ones were added",
                       "optimizer.zero_grad()\nloss.backward()\noptimizer.step()")


@check("clipping-after-step", severity="error", evidence="probe", needs=("train_step|fit", "train_loader"),
       why="The gradients are clipped when the optimizer has used them already: nothing is clipped.",
       source="Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural networks, ICML 2013")
def clipping_after_step(exam: Exam) -> Iterator[Observed]:
    run = exam.once(observed)
    last, late, early = "", 0, 0
    for kind, value in run.watch.log:
        if kind in ("backward", "step"):
            last = kind
        elif kind == "clip" and math.isfinite(value):
            late += last == "step"
            early += last == "backward"
    if late and not early:
        yield Observed(run.function, f"gradients were clipped {late} times after optimizer.step(), never between backward and step",
                       "loss.backward()\ntorch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)\noptimizer.step()")


@check("clipping-scaled-gradients", severity="error", evidence="probe", needs=("train_step|fit", "train_loader"),
       why="A gradient scaler multiplies gradients by thousands; clipped before unscale_ they are clipped at every step.",
       source="PyTorch documentation, Automatic Mixed Precision examples: gradient clipping")
def clipping_scaled_gradients(exam: Exam) -> Iterator[Observed]:
    run = exam.once(observed)
    scaled, unscaled, wrong, right = False, False, 0, 0
    for kind, value in run.watch.log:
        if kind == "scale":
            scaled = True
        elif kind == "unscale":
            unscaled = True
        elif kind == "step":
            scaled = unscaled = False
        elif kind == "clip" and math.isfinite(value) and scaled:
            wrong += not unscaled
            right += unscaled
    for number, step in enumerate(run.watch.steps):
        bound, norm = run.watch.clips.get(number, (0.0, 0.0))
        used = float(torch.stack([g.norm() for g in step.gradients.values()]).norm()) if step.gradients else 0.0
        if math.isfinite(bound) and 0 < 1.001 * bound < norm and 0 < used < 0.5 * bound:
            wrong += 1  # clipped to the bound, and divided by something afterwards
    if wrong and not right:
        yield Observed(run.function, f"gradients were clipped {wrong} times while they were still multiplied by the scaler's scale",
                       "scaler.scale(loss).backward()\nscaler.unscale_(optimizer)\n"
                       "torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)\nscaler.step(optimizer)")


@check("scheduler-per-batch-as-epoch", severity="warning", evidence="probe", needs=("train_step", "train_loader", "epochs"),
       why="A schedule whose length is given in epochs is advanced at every batch: it is over after a few batches.",
       source="PyTorch documentation, torch.optim.lr_scheduler: how to adjust the learning rate")
def scheduler_per_batch(exam: Exam) -> Iterator[Observed]:
    run = exam.once(observed)
    made = [value for kind, value in run.watch.log if kind == "schedule"]
    epochs = exam.set_up.epochs or 0
    try:
        batches = len(exam.set_up.train_loader)
    except TypeError:
        return
    if not made or len(made) < run.watch.step_count or batches < 2 or epochs < 2:
        return
    scheduler = made[0]
    name, length = _length(scheduler)
    if length is not None and length <= epochs and length < batches * epochs / 2:
        yield Observed("train_step", f"{type(scheduler).__name__}({name}={length:g}) is advanced at every batch; a run has "
                       f"{epochs} epochs of {batches} batches",
                       "for epoch in range(epochs):\n    for batch in train_loader:\n        train_step(...)\n    scheduler.step()")


def _length(scheduler: Any) -> tuple[str, float | None]:
    kind = type(scheduler).__name__
    if kind == "CosineAnnealingLR":
        return "T_max", scheduler.T_max
    if kind == "OneCycleLR":
        return "total_steps", scheduler.total_steps
    if kind == "PolynomialLR":
        return "total_iters", scheduler.total_iters
    if kind == "MultiStepLR" and scheduler.milestones:
        return "milestones", max(scheduler.milestones)
    return "", None
