"""The corrected parameter groups, as objects and as Python code."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer

from wellfit.core.errors import WellfitError
from wellfit.doctor.exam import Exam, NotExaminable
from wellfit.doctor.roles import Role, decay_of, roles_of
from wellfit.doctor.set_up import SetUp

DEFAULT_DECAY = 0.01
_KEPT = ("momentum", "nesterov", "betas", "eps", "alpha", "amsgrad")


@dataclass(frozen=True)
class Groups:
    """Names of parameters that are treated alike.

    Attributes:
        decayed, plain: names of those with weight decay, and of those without.
        decay: weight decay of the first.
        rate: learning rate of both; None if it is the optimizer's own.
    """

    decayed: tuple[str, ...]
    plain: tuple[str, ...]
    decay: float
    rate: float | None


@dataclass(frozen=True)
class Corrected:
    """What the optimizer should hold.

    Attributes:
        groups: one for each learning rate that the optimizer has.
        optimizer: name of the class, "AdamW" in place of an Adam whose decay is coupled.
        options: of the optimizer.
        changes: what is other than before, in words.
    """

    groups: tuple[Groups, ...]
    optimizer: str
    options: dict[str, Any]
    changes: tuple[str, ...]


def corrected(set_up: SetUp) -> Corrected:
    """Groups in which weights are decayed and gains, biases and shifts are not; every trainable parameter once.

    Decay that the checks found to be far too weak or too strong is set to where Σlr·λ over the run is 1.
    """
    optimizer, model = set_up.optimizer, set_up.model
    found = roles_of(model, optimizer)
    if optimizer is None:
        weights, rest = _split(found)
        return Corrected((Groups(weights, rest, DEFAULT_DECAY, None),), "AdamW", {"lr": 1e-3}, ("there was no optimizer",))
    changes: list[str] = []
    everywhere = max((decay_of(g) for g in optimizer.param_groups), default=0.0)
    strengths = _strengths(set_up)
    by_rate: dict[float, list[Role]] = {}
    for role in found:
        group = optimizer.param_groups[role.group] if role.group is not None else optimizer.param_groups[0]
        by_rate.setdefault(float(group.get("initial_lr", group.get("lr", 1e-3))), []).append(role)
    groups = []
    for rate, members in by_rate.items():
        weights, rest = _split(members)
        own = [r.decay for r in members if r.name in set(weights) and r.decay]
        decay = max(own, default=everywhere)
        numbers = {r.group for r in members}
        for number, better in strengths.items():
            if number in numbers:
                changes.append(f"weight_decay {decay:g} -> {better:.2g}, where Σlr·λ over the run is 1")
                decay = float(f"{better:.2g}")
        groups.append(Groups(weights, rest, decay, rate if len(by_rate) > 1 else None))
    small = [r for r in found if r.decay and r.name in {n for g in groups for n in g.plain}]
    if small:
        changes.append(f"no decay on {len(small)} gains, biases and other vectors")
    bare = [r for r in found if r.kind == "weight" and r.group is not None and not r.decay]
    if bare and everywhere:
        changes.append(f"decay on {len(bare)} weights that had none")
    if left := [r.name for r in found if r.group is None]:
        changes.append(f"{len(left)} parameters that were in no group: {', '.join(left[:4])}")
    name, options = type(optimizer).__name__, {"lr": next(iter(by_rate), 1e-3)}
    if _coupled(set_up):
        changes.append(f"{name} divides its decay by the gradient's size: AdamW does not")
        name = "AdamW"
    usual = inspect.signature(type(optimizer).__init__).parameters
    options |= {k: v for k, v in optimizer.param_groups[0].items() if k in _KEPT and k in usual and v != usual[k].default}
    return Corrected(tuple(groups), name, options, tuple(changes))


def _split(members: list[Role]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names to be decayed, and the others."""
    decayed = [r.name for r in members if r.kind == "weight" or (r.kind == "other" and r.parameter.dim() >= 2 and r.decay != 0.0)]
    return tuple(decayed), tuple(r.name for r in members if r.name not in set(decayed))


def _coupled(set_up: SetUp) -> bool:
    from wellfit.doctor.checks.decay import decay_effect

    try:
        return any(share < 0.5 and growth < 10 for _, share, growth in decay_effect(Exam(set_up)))
    except Exception:
        return False


def _strengths(set_up: SetUp) -> dict[int, float]:
    """Group -> better decay, for groups whose decay is far off."""
    from wellfit.doctor.checks import strength

    exam = Exam(set_up)
    try:
        found = {b.group: b.decay / b.total for b in strength.budgets(exam) if b.total > 0}
        wrong = {f"optimizer.param_groups[{n}]": n for n in found}
        seen = [*strength.decay_too_weak(exam), *strength.decay_too_strong(exam)]
    except NotExaminable:
        return {}
    return {wrong[o.where]: found[wrong[o.where]] for o in seen if o.where in wrong}


def parameter_groups(set_up: SetUp) -> list[dict[str, Any]]:
    """The corrected groups of the given model, ready for an optimizer."""
    return _live(corrected(set_up), set_up.model)


def _live(found: Corrected, model: nn.Module) -> list[dict[str, Any]]:
    by_name = dict(model.named_parameters())
    made: list[dict[str, Any]] = []
    for group in found.groups:
        rate = {} if group.rate is None else {"lr": group.rate}
        made += [{"params": [by_name[n] for n in names], "weight_decay": decay, **rate}
                 for names, decay in ((group.decayed, group.decay), (group.plain, 0.0)) if names]
    return made


def source_code(set_up: SetUp) -> str:
    """Python code with ``parameter_groups(model)`` and ``make_optimizer(model)``, which needs torch and nothing else."""
    found = corrected(set_up)
    model = type(set_up.model).__name__
    known = hasattr(__import__("torch").optim, found.optimizer)
    lines = [f'"""Parameter groups of {model}, written by `wellfit check --fix`."""', ""]
    if found.changes:
        lines += [f"# {change}" for change in found.changes] + [""]
    lines += ["import torch", "", ""]
    constants = []
    for number, group in enumerate(found.groups):
        suffix = f"_{number + 1}" if len(found.groups) > 1 else ""
        for label, names, said in (("DECAYED", group.decayed, "weights"), ("PLAIN", group.plain, "gains, biases and other "
                                                                                                 "vectors")):
            if names:
                constants.append((label + suffix, group.decay if label == "DECAYED" else 0.0, group.rate))
                lines += [f"{label}{suffix} = [  # {said}", *(f"    {_quoted(n)}," for n in names), "]"]
    lines += ["", "", "def parameter_groups(model):",
              '    """Weights with decay, everything else without; every trainable parameter once."""',
              "    by_name = dict(model.named_parameters())",
              "    listed = {" + ", ".join(f"*{label}" for label, *_ in constants) + "}",
              "    left = [n for n, p in by_name.items() if p.requires_grad and n not in listed]",
              "    if left or listed - set(by_name):",
              "        raise ValueError(f\"the model has changed: not listed {left}, not there {sorted(listed - set(by_name))}\")",
              "    return ["]
    for label, decay, rate in constants:
        extra = "" if rate is None else f', "lr": {rate!r}'
        lines.append(f'        {{"params": [by_name[n] for n in {label}], "weight_decay": {decay!r}{extra}}},')
    lines += ["    ]"]
    if known:
        options = ", ".join(f"{k}={v!r}" for k, v in found.options.items())
        lines += ["", "", "def "
                          "make_optimizer(model):", f"    return torch.optim.{found.optimizer}(parameter_groups(model), {options})"]
    else:
        lines.remove("import torch")
    return "\n".join(lines) + "\n"


def _quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def check_fixable(set_up: SetUp) -> Optimizer:
    """The optimizer whose groups are to be corrected.

    Raises:
        WellfitError: there is none.
    """
    if set_up.optimizer is None:
        raise WellfitError("There are no parameter groups to correct.", received="a set-up without optimizer",
                           expected="build() to return an optimizer too")
    return set_up.optimizer
