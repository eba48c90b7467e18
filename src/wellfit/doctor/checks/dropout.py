"""Dropout: where it must not be, and where it does nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from wellfit.doctor.batches import call
from wellfit.doctor.checks.invariance import deterministic
from wellfit.doctor.exam import Exam, NotExaminable
from wellfit.doctor.randomness import random_state_kept
from wellfit.doctor.registry import Observed, check
from wellfit.doctor.roles import named
from wellfit.doctor.watch import Calls, watching

PASSES = 12
SHIFT = 1.10
"""Ratio of variances in training and in evaluation from which a batch norm is said to be misled."""


@dataclass(frozen=True)
class VarianceShift:
    """At one batch norm: median over channels of Var(training) / Var(evaluation) of its input, and what draws in front of it."""

    norm: str
    ratio: float
    before: tuple[str, ...]


def variance_shifts(exam: Exam) -> list[VarianceShift]:
    """For each batch norm, the variance of its input with dropout on, over that with dropout off, on the same rows."""
    norms = [n for n, m in exam.set_up.model.named_modules() if isinstance(m, _BatchNorm)]
    if not norms:
        return []
    sample = exam.sample()
    if sample.rows < 2:
        raise NotExaminable("a batch of one row has no variance")
    noisy = exam.model(train=True)
    with watching(noisy) as calls, torch.no_grad():
        call(noisy, sample.inputs)
    if not calls.draws:
        return []
    on = [_moments(noisy, norms, sample.inputs, seed) for seed in range(PASSES)]
    off = _moments(deterministic(exam.model(train=False)), norms, sample.inputs, 0)
    where = tuple(dict.fromkeys(_place(d.module, d.function) for d in calls.draws))
    found = []
    for norm in norms:
        if norm not in off or any(norm not in o for o in on):
            continue
        mean = torch.stack([o[norm][0] for o in on]).mean(0)
        square = torch.stack([o[norm][1] for o in on]).mean(0)
        plain = off[norm][1] - off[norm][0].square()
        alive = plain > 1e-6 * float(plain.max().clamp_min(1e-30))
        if bool(alive.any()):
            ratio = ((square - mean.square())[alive] / plain[alive]).median()
            found.append(VarianceShift(norm, float(ratio), where))
    return found


def _place(module: str, function: str) -> str:
    return f"{module or 'forward'} ({function})"


def _moments(model: nn.Module, norms: list[str], inputs: object, seed: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and mean square per channel of what enters each norm."""
    found: dict[str, tuple[Tensor, Tensor]] = {}

    def hook(name: str):  # type: ignore[no-untyped-def]
        def keep(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            x = args[0].detach().double().transpose(0, 1).flatten(1) if args[0].dim() > 1 else args[0].detach().double()[None]
            found[name] = (x.mean(1), x.square().mean(1))
        return keep
    handles = [model.get_submodule(n).register_forward_pre_hook(hook(n)) for n in norms]
    try:
        with random_state_kept(seed), torch.no_grad():
            call(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found


@check("dropout-before-batch-norm", severity="warning", evidence="probe",
       why="Dropout raises the variance that batch norm meets in training; in evaluation the running variance is too large, and "
           "everything behind the norm is shrunk.",
       source="Li et al. (2019), Understanding the Disharmony between Dropout and Batch Normalization, arXiv:1801.05134")
def dropout_before_batch_norm(exam: Exam) -> Iterator[Observed]:
    shifted = [s for s in exam.once(variance_shifts) if s.ratio > SHIFT]
    if not shifted:
        return
    worst = max(shifted, key=lambda s: s.ratio)
    yield Observed(named([s.norm for s in shifted]),
                   f"the variance at the input of {worst.norm} is {worst.ratio:.3g} times as large in training as in evaluation "
                   f"({PASSES} passes over the same rows; drawing in front of it or behind: {named(list(worst.before), 3)})",
                   "# dropout behind the last batch norm only: Linear -> BatchNorm1d -> ReLU -> ... -> Dropout -> Linear (the "
                   "last)")


@dataclass(frozen=True)
class EvalDraws:
    """Two passes in eval mode: by how much they differ, relative to the outputs' size, and what drew."""

    difference: float
    calls: Calls


def eval_draws(exam: Exam) -> EvalDraws:
    """The two-pass probe, with the functions that draw."""
    sample = exam.sample()
    model = exam.model(train=False)
    passes = []
    for seed in (0, 0, 1):
        with random_state_kept(seed):
            passes.append(exam.output(model, sample.inputs))
    first, again, other = passes
    with watching(model) as calls, random_state_kept(0):  # apart: torch takes other, faster paths when nobody watches
        exam.output(model, sample.inputs)
    if not torch.allclose(first, again, equal_nan=True):
        raise NotExaminable("passes differ even with the same random numbers: the model keeps a state between them")
    size = float(first.double().norm()) or 1.0
    return EvalDraws(float((first.double() - other.double()).norm()) / size, calls)


@check("dropout-active-in-eval", severity="error", evidence="probe",
       why="Every prediction is that of a random smaller network: the metric is worse than the model, and changes from run to run.",
       source="Srivastava et al. (2014), Dropout, JMLR 15: at test time no unit is dropped")
def dropout_active_in_eval(exam: Exam) -> Iterator[Observed]:
    found = exam.once(eval_draws)
    certain = [d for d in found.calls.draws if d.kind != "mask"]
    draws = certain or found.calls.draws
    if not draws or found.difference <= 1e-6:
        return  # equal outputs, or noise that is not dropout (a sampled latent variable)
    where = list(dict.fromkeys(_place(d.module, f"{d.function}, p={d.rate:g}" if d.rate == d.rate else d.function) for d in draws))
    modules = dict(exam.set_up.model.named_modules())
    kind = {d.kind for d in draws}
    if "attention" in kind:
        fix = "F.scaled_dot_product_attention(q, k, v, dropout_p=self.p if self.training else 0.0)"
    elif "mask" in kind:
        fix = "if self.training: x = x * mask  # or use nn.Dropout, which asks that itself"
    elif any(isinstance(modules.get(d.module), nn.modules.dropout._DropoutNd) for d in draws):
        fix = "model.eval()  # has to reach this module: do not override train(), and keep modules in nn.ModuleList"
    else:
        fix = "x = F.dropout(x, self.p, training=self.training)"
    yield Observed(named(where, 3), f"after model.eval() two passes over the same rows differ by {found.difference:.2g} of the "
                                    f"output's norm; {len(draws)} calls drew", fix, None if certain else "warning")


@check("single-layer-lstm-dropout", severity="error", evidence="static",
       why="A recurrent layer drops between its layers only: with one layer the rate is accepted and nothing is dropped.",
       source="PyTorch documentation, nn.LSTM: dropout acts on the outputs of each layer except the last")
def single_layer_dropout(exam: Exam) -> Iterator[Observed]:
    for name, module in exam.set_up.model.named_modules():
        if isinstance(module, nn.RNNBase) and module.num_layers == 1 and module.dropout > 0:
            kind = type(module).__name__
            yield Observed(name or kind, f"{kind} with num_layers=1 has dropout={module.dropout:g}, which is never applied",
                           f"self.dropout = nn.Dropout({module.dropout:g})  # on the outputs: out, state = self.lstm(x); "
                           f"out = self.dropout(out)\n# or nn.{kind}(..., num_layers=2, dropout={module.dropout:g})")
