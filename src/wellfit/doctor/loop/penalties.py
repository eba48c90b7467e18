"""What is declared, compared with what acts on the weights."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from wellfit.doctor.exam import Exam
from wellfit.doctor.loop.actions import Action, action
from wellfit.doctor.loop.explain import Explained
from wellfit.doctor.loop.steps import StepRun, observed

ADAPTIVE = ("Adam", "AdamW", "NAdam", "RAdam", "Adamax", "RMSprop", "Adagrad", "Adadelta", "SparseAdam", "Adafactor")


@dataclass
class Acting:
    """What acts on the weights beside the gradient of the data, relative to the loss of the data.

    Attributes:
        loss_l1, loss_l2: weight -> coefficient of sign(w) and of w in the gradient.
        threshold: weight -> threshold over learning rate after the step, if it is one number for the weight.
        decay: weight -> shrinking over learning rate after the step.
        optimizer: weight -> weight_decay of its group.
        other: something else acts after the step.
        sure: nothing is left that is not understood, so that what was not seen is not there.
        floor_l1, floor_l2: coefficients below which nothing could be seen.
    """

    run: StepRun
    explained: Explained
    loss_l1: dict[str, float] = field(default_factory=dict)
    loss_l2: dict[str, float] = field(default_factory=dict)
    threshold: dict[str, float] = field(default_factory=dict)
    coordinate: list[str] = field(default_factory=list)
    decay: dict[str, float] = field(default_factory=dict)
    optimizer: dict[str, float] = field(default_factory=dict)
    other: bool = False
    sure: bool = False
    scaled: bool = True
    floor_l1: float = 0.0
    floor_l2: float = 0.0
    cycle: int = 1


def weight_names(run: StepRun) -> list[str]:
    """Weights that penalties are about: matrices and filters; everything if there are none."""
    norms = {f"{m}.{p}" if m else p for m, module in run.parts.model.named_modules()
             if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.LayerNorm | nn.GroupNorm)
             for p, _ in module.named_parameters(recurse=False)}
    names = [n for n, p in run.watch.trained.items() if p.ndim >= 2]
    return names or [n for n in run.watch.trained if n not in norms]


def actions_of(explained: Explained) -> dict[str, Action]:
    step = explained.step
    if step.updated is None or step.after is None:
        return {n: Action("unexplained") for n in step.before}
    return {n: action(step.updated[n], step.after[n]) for n in step.before}


def acting(exam: Exam) -> Acting | None:
    """What acts, from the last recorded step that could be taken apart."""
    run = exam.once(observed)
    explained = next((e for e in reversed(run.explained) if e is not None and e.trusted),
                     next((e for e in reversed(run.explained) if e is not None), None))
    if explained is None:
        return None
    found = Acting(run, explained, cycle=run.cycle)
    plain = all(abs(a - 1) < 1e-3 or abs(a) < 1e-6 for a in explained.factors)
    found.scaled = explained.share is not None or (plain and run.cycle == 1 and not any(k == "scale" for k, _ in run.watch.log))
    names = weight_names(run)
    for name in names:
        direct = explained.weights.get(name)
        if direct is None:
            continue
        if direct.kind in ("l1", "elastic"):
            found.loss_l1[name] = explained.strength(name, "l1")
        if direct.kind in ("l2", "elastic"):
            found.loss_l2[name] = explained.strength(name, "l2")
        found.floor_l1 = max(found.floor_l1, explained.strength(name, "floor"))
        found.floor_l2 = max(found.floor_l2, explained.strength(name, "floor_l2"))
    for name, done in actions_of(explained).items():
        rate = explained.step.rates.get(name, 0.0)
        if done.kind == "threshold" and rate > 0:
            found.threshold[name] = done.amount / rate
        elif done.kind == "decay" and rate > 0:
            found.decay[name] = done.amount / rate
        elif done.kind == "coordinate":
            found.coordinate.append(name)
        elif done.kind != "none":
            found.other = True
    for name in names:
        wd = float(explained.step.groups.get(name, {}).get("weight_decay", 0.0) or 0.0)
        if wd:
            found.optimizer[name] = wd
    optimizer = explained.step.optimizer
    hooked = any(getattr(p, "_post_accumulate_grad_hooks", None) for p in exam.set_up.model.parameters())
    odd = any(d.kind not in ("none", "l1", "l2", "elastic", "either") for n, d in explained.weights.items() if n in names)
    computed = any(hasattr(m, "parametrizations") for m in exam.set_up.model.modules())
    found.sure = (explained.trusted and found.scaled and not odd and not hooked and not computed and not explained.several_outputs
                  and not _scalar_output(explained) and not found.other and type(optimizer).__module__.startswith("torch.optim"))
    return found


def _scalar_output(explained: Explained) -> bool:
    """The model returns a loss itself, and it is not just the criterion's: it may hold a penalty."""
    return any(f.outputs[i].numel() == 1 and v.count_nonzero() > 0 and matched is None
               for (f, _), matched in zip(explained.step.contributions, explained.matched, strict=True)
               for i, v in f.arrived.items())


def declared_l1_l2(declared: Mapping[str, Any]) -> dict[str, float]:
    """Declared strengths: "l1" of Σ|w|, "l2" of Σw², "weight_decay" as a rate; elastic nets are taken apart."""
    wanted: dict[str, float] = {}
    for name in ("l1", "l2", "weight_decay"):
        value = declared.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            wanted[name] = float(value)
    net = declared.get("elastic_net")
    if isinstance(net, Mapping):
        strength = next((net[k] for k in ("strength", "alpha", "lambda") if k in net), None)
        ratio = next((net[k] for k in ("l1_ratio", "ratio") if k in net), None)
        if strength is not None and ratio is not None:
            net = (strength, ratio)
        elif "l1" in net and "l2" in net:
            wanted.setdefault("l1", float(net["l1"]))
            wanted.setdefault("l2", float(net["l2"]))
    if isinstance(net, tuple | list) and len(net) == 2 and all(isinstance(v, int | float) for v in net):
        wanted.setdefault("l1", float(net[0]) * float(net[1]))
        wanted.setdefault("l2", float(net[0]) * (1 - float(net[1])))
    return {k: v for k, v in wanted.items() if v > 0}


@dataclass(frozen=True)
class Verdict:
    """On one declared penalty."""

    id: str
    name: str
    meant: float
    measured: float
    ways: tuple[str, ...] = ()


def verdicts(exam: Exam) -> list[Verdict]:
    """Declared penalties that are missing, doubled, or scaled by the number of accumulated batches."""
    found = exam.once(acting)
    wanted = declared_l1_l2(exam.set_up.declared)
    if found is None or not wanted or not found.explained.trusted or not found.scaled:
        return []
    n = found.cycle
    result: list[Verdict] = []
    ways: dict[str, float]
    if "l1" in wanted:
        meant = wanted["l1"]
        ways = {"in the loss": _middle(found.loss_l1), "after the step": _middle(found.threshold)}
        ways = {k: v for k, v in ways.items() if v}
        if not ways:
            if found.sure and not found.coordinate and found.floor_l1 < 0.2 * meant:
                result.append(Verdict("penalty-missing", "l1", meant, 0.0))
        else:
            result += _compared("l1", meant, (1.0,), ways, n)
    loss, decay = _middle(found.loss_l2), _middle(found.decay)
    coupled = _middle(found.optimizer)
    every = {k: v for k, v in {"in the loss": loss, "weight_decay of the optimizer": coupled, "after the step": decay}.items() if v}
    if "l2" in wanted and "weight_decay" in wanted:
        pairs = [("l2", {"in the loss": loss} if loss else {}),
                 ("weight_decay", {k: v for k, v in every.items() if k != "in the loss"})]
    else:
        pairs = [(k, every) for k in ("l2", "weight_decay") if k in wanted]
    for name, ways in pairs:
        meant = wanted[name]
        if not ways:
            if name == "l2" and "weight_decay" in wanted and every:
                continue
            if found.sure and not found.coordinate and found.floor_l2 < 0.2 * meant:
                result.append(Verdict("penalty-missing", name, meant, 0.0))
        else:
            result += _compared(name, meant, (2.0, 1.0) if name == "l2" else (1.0, 2.0), ways, n)
    return result


def _middle(values: Mapping[str, float]) -> float:
    """The strength that most weights have."""
    positive = [v for v in values.values() if v > 0]
    return statistics.median_low(positive) if positive else 0.0


def _near(value: float, target: float, slack: float = 0.05) -> bool:
    return abs(value - target) <= slack * target


def _compared(name: str, meant: float, conventions: tuple[float, ...], ways: Mapping[str, float], n: int) -> list[Verdict]:
    """Strengths found in each way against the declared one, whose gradient is ``convention · strength · w``."""
    right = [k for k, v in ways.items() if any(_near(v, c * meant) for c in conventions)]
    total = sum(ways.values())
    if len(right) >= 2:
        return [Verdict("penalty-doubled", name, meant, total, tuple(ways))]
    if right:
        return []
    strongest = max(ways.values())
    for c in conventions:
        if n > 1 and (_near(strongest, c * meant * n) or _near(strongest, c * meant / n)):
            return [Verdict("penalty-scaled-by-accumulation", name, meant, strongest / c, tuple(ways))]
    top = max(conventions) * meant
    whole = round(strongest / top)
    if 2 <= whole <= 12 and _near(strongest, whole * top, 0.03):
        return [Verdict("penalty-doubled", name, meant, strongest / max(conventions), tuple(ways))]
    return []
