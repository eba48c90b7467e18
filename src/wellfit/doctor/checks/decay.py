"""Weight decay: on what it acts, and how."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator

import torch
from torch import nn
from torch.optim import Optimizer

from wellfit.doctor.exam import Exam, NotExaminable
from wellfit.doctor.registry import Observed, check
from wellfit.doctor.roles import Role, decay_of, named, roles

GROUPS = """decay = [p for m in model.modules() for n, p in m.named_parameters(recurse=False)
         if p.ndim >= 2 and "bias" not in n and "norm" not in type(m).__name__.lower()]
kept = {{id(p) for p in decay}}
rest = [p for p in model.parameters() if p.requires_grad and id(p) not in kept]
optimizer = torch.optim.{optimizer}([{{"params": decay, "weight_decay": {decay:g}}},
                              {{"params": rest, "weight_decay": 0.0}}], lr={lr:g})
# wellfit check ... --fix FILE writes the groups of this model by name"""


def groups_code(optimizer: Optimizer, decay: float) -> str:
    rate = float(optimizer.param_groups[0].get("lr", 1e-3))
    return GROUPS.format(optimizer=type(optimizer).__name__, decay=decay, lr=rate)


def _swapped(found: list[Role]) -> bool:
    """Whether decay lies on gains and biases while the weights have none."""
    weights = [r for r in found if r.kind == "weight" and r.decay is not None]
    small = [r for r in found if r.kind in ("bias", "gain") and r.decay is not None]
    if not weights or not small or len({r.decay for r in (*weights, *small)}) < 2:
        return False

    def mean(these: list[Role]) -> float:
        return sum((r.decay or 0.0) * r.parameter.numel() for r in these) / sum(r.parameter.numel() for r in these)
    return mean(small) > 4 * mean(weights) and sum(bool(r.decay) for r in small) > len(small) / 2


@check("decay-groups-swapped", severity="error", evidence="static", needs=("optimizer",),
       why="The parameters that overfit are the weights; without decay on them, and with decay on gains and biases, the groups "
           "do the opposite of what they are made for.",
       source="Goodfellow, Bengio, Courville (2016), Deep Learning, 7.1; Loshchilov & Hutter (2019), arXiv:1711.05101")
def decay_groups_swapped(exam: Exam) -> Iterator[Observed]:
    found = roles(exam)
    if not _swapped(found):
        return
    small = [r for r in found if r.kind in ("bias", "gain") and r.decay]
    bare = [r for r in found if r.kind == "weight" and r.decay is not None]
    value = max(r.decay or 0.0 for r in small)
    yield Observed(
        f"optimizer.param_groups[{small[0].group}]",
        f"weight_decay is {value:g} on {len(small)} gains and biases ({named([r.name for r in small], 3)}) and "
        f"{max(r.decay or 0.0 for r in bare):g} on {len(bare)} weights ({named([r.name for r in bare], 3)})",
        groups_code(_optimizer(exam), value))


@check("decay-on-norms-and-biases", severity="warning", evidence="static", needs=("optimizer",),
       why="A gain that is pulled to zero switches its channel off, and a bias cannot overfit: decay on them only moves the "
           "function away from the data.",
       source="He et al. (2019), Bag of Tricks, arXiv:1812.01187, 3.1; Goodfellow et al. (2016), Deep Learning, 7.1")
def decay_on_norms_and_biases(exam: Exam) -> Iterator[Observed]:
    found = roles(exam)
    if _swapped(found):
        return  # said by decay-groups-swapped
    small = [r for r in found if r.kind in ("bias", "gain") and r.decay]
    if not small:
        return
    gains = [r for r in small if r.kind == "gain"]
    decay = max(r.decay or 0.0 for r in small)
    first = gains[0] if gains else small[0]
    yield Observed(
        named([r.name for r in (gains or small)], 3),
        f"weight_decay is {decay:g} on {len(gains)} gains and {len(small) - len(gains)} biases or shifts "
        f"({sum(r.parameter.numel() for r in small)} numbers; group {first.group})",
        groups_code(_optimizer(exam), decay), None if gains or decay >= 1e-3 else "note")


def _optimizer(exam: Exam) -> Optimizer:
    optimizer = exam.set_up.optimizer
    if optimizer is None:
        raise NotExaminable("no optimizer")
    return optimizer


# ------------------------------------------------------------------------------------------------ coupled decay, measured

WARM = 12
"""Steps before the measured ones. Rectified Adam is adaptive from its sixth step on."""


def decay_effect(exam: Exam) -> list[tuple[int, float, float]]:
    """For each group with decay: (number, share of decay that is left under large gradients, growth of the step with them).

    Copies of the optimizer, after some steps without decay (RAdam's first ones are not adaptive), make three steps with made
    gradients g ~ N(0, 1) and with 100·g, each once with decay and once without. Decay that is divided by the gradient's size
    takes a hundredth when gradients are a hundred times as large (share ≈ 0.01, where decoupled decay has 1), and steps that are
    divided by it do not grow (growth ≈ 1).
    """
    optimizer = _optimizer(exam)
    found = []
    for number, group in enumerate(optimizer.param_groups):
        decay = decay_of(group)
        weights = [p for p in group["params"] if p.requires_grad and p.numel() > 1 and p.is_floating_point()]
        if not decay or not weights:
            continue
        ends = {(d, s): _stepped(optimizer, number, decay=d, scale=s) for d in (decay, 0.0) for s in (1.0, 100.0)}
        rate = ends[0.0, 1.0][2]
        taken, moved = {}, {}
        for s in (1.0, 100.0):
            start, plain, _ = ends[0.0, s]
            taken[s] = float(((ends[decay, s][1] - plain) * -start).sum() / (start * start).sum())
            moved[s] = float((plain - start).norm())
        growth = moved[100.0] / max(moved[1.0], 1e-30)
        found.append((number, taken[100.0] / taken[1.0] if taken[1.0] > 1e-9 * rate * decay else 0.0, growth))
    return found


def _stepped(optimizer: Optimizer, number: int, *, decay: float, scale: float) -> tuple[torch.Tensor, torch.Tensor, float]:
    """The last three steps of a bare copy of one group on a made vector: (start, end, learning rate). Only they have decay."""
    generator = torch.Generator().manual_seed(5)
    parameter = nn.Parameter(torch.randn(256, generator=generator, dtype=torch.float64))
    gradients = scale * torch.randn(WARM + 3, 256, generator=generator, dtype=torch.float64)
    group = optimizer.param_groups[number]
    rate = float(group.get("lr", 1e-3)) or 1e-3
    options = {k: copy.deepcopy(v) for k, v in group.items() if k != "params"}
    options |= {"lr": rate, "weight_decay": 0.0, "params": [parameter]}
    options |= {k: v for k, v in (("capturable", False), ("fused", None), ("foreach", None)) if k in options}
    made = object.__new__(type(optimizer))  # its __init__ may want anything; this is what unpickling does
    vars(made).update({k: v for k, v in vars(optimizer).items()
                       if k not in ("param_groups", "state", "step", "defaults") and "hook" not in k})
    made.__setstate__({"state": defaultdict(dict), "defaults": copy.deepcopy(optimizer.defaults), "param_groups": [options]})
    for place, gradient in enumerate(gradients):
        if place == WARM:
            made.param_groups[0]["weight_decay"], start = decay, parameter.detach().clone()
        parameter.grad = gradient.clone()
        made.step()
    return start, parameter.detach(), rate


@check("coupled-decay-under-adam", severity="warning", evidence="probe", needs=("optimizer",),
       why="Decay that is added to the gradient is divided by the gradient's size like the gradient itself: weights with large "
           "gradients are hardly decayed, whatever the number says.",
       source="Loshchilov & Hutter (2019), Decoupled Weight Decay Regularization, arXiv:1711.05101")
def coupled_decay(exam: Exam) -> Iterator[Observed]:
    optimizer = _optimizer(exam)
    for number, share, growth in exam.once(decay_effect):
        if share < 0.5 and growth < 10:
            decay, name = decay_of(optimizer.param_groups[number]), type(optimizer).__name__
            rate = float(optimizer.param_groups[number].get("lr", 1e-3))
            decoupled = "AdamW" if "W" not in name and "dam" in name else None
            fix = (f"optimizer = torch.optim.{decoupled}(groups, lr={rate:g}, weight_decay=...)  # decoupled; 0.01 to 0.1 is usual"
                   if decoupled else f"optimizer = torch.optim.{name}(groups, lr={rate:g}, weight_decay=0.0)\n"
                   f"# and after each step: with torch.no_grad(): [p.mul_(1 - {rate:g} * decay) for p in weights]")
            yield Observed(f"optimizer.param_groups[{number}] ({name})",
                           f"with gradients 100 times as large, weight_decay={decay:g} takes {share:.2g} times as much off the "
                           f"weights (decoupled: 1), and the steps are {growth:.2g} times as long", fix)
            return
