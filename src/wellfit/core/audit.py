"""What a plan does to each parameter, in words and numbers, and what in its composition deserves a word."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from wellfit.core.errors import WellfitError, WellfitWarning
from wellfit.core.hyper import hypers
from wellfit.core.metric import one_step_size
from wellfit.core.operands import WeightInfo
from wellfit.core.regularizer import Regularizer

if TYPE_CHECKING:
    from wellfit.core.plan import Plan

Rates = float | Sequence[float] | Callable[[int], float]
#: Hyperparameters that the learning rate multiplies.
_PULLS = ("strength", "rate")


@dataclass(frozen=True)
class Problem:
    """Something in the composition: what, and what to do. A ``serious`` one is a mistake; others are worth knowing."""

    what: str
    remedy: str
    serious: bool

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}"


# ------------------------------------------------------------------------------------------------------- composition


def _reach(plan: Plan) -> dict[Regularizer, list[WeightInfo]]:
    """The parameters that each part really changes."""
    return {part: [plan.parameters[n][0] for n in names if not (part.leaves_scale_invariant and plan.parameters[n][0].feeds_norm)]
            for part, names in plan._touched.items()}


def problems(plan: Plan) -> list[Problem]:
    """What in a plan's composition works against itself, twice, or not at all."""
    reach = _reach(plan)
    return [*_idle(reach), *_on_factors(plan, reach), *_on_scale_invariant(reach), *_twice(reach), *_bounds(reach)]


def _named(infos: Iterable[WeightInfo]) -> str:
    names = [i.name for i in infos]
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _idle(reach: dict[Regularizer, list[WeightInfo]]) -> list[Problem]:
    return [Problem(f"{part.name} changes nothing: everything it selects feeds a normalisation, where it leaves weights alone.",
                    "Select other weights, or leave it out.", True) for part, infos in reach.items() if not infos]


def _on_scale_invariant(reach: dict[Regularizer, list[WeightInfo]]) -> list[Problem]:
    out = []
    for part, infos in reach.items():
        free = [i for i in infos if i.feeds_norm]
        if free and part.acts_as == "sparsity":
            out.append(Problem(f"{part.name} acts on weights that feed a normalisation ({_named(free)}), which undoes any "
                               "shrinking: the penalty can fall to nothing without a change to what the network computes.",
                               "Leave these weights out with `select`, or bound their scale with UnitNorm.", True))
        if free and part.acts_as == "decay":
            out.append(Problem(f"{part.name} acts on weights that feed a normalisation ({_named(free)}): there it sets the "
                               "effective learning rate and does not restrain the function.",
                               "Leave them out with `select` if restraint is meant.", False))
    return out


def _on_factors(plan: Plan, reach: dict[Regularizer, list[WeightInfo]]) -> list[Problem]:
    owners = {part for part, _, _, _ in plan._factored}
    return [Problem(f"{part.name} acts on factors ({_named(own)}) and not on the weights they amount to.",
                    "Leave these weights to the part that put them there, with `select`.", True)
            for part, infos in reach.items() if part not in owners and (own := [i for i in infos if i.kind == "factor"])]


def _twice(reach: dict[Regularizer, list[WeightInfo]]) -> list[Problem]:
    out = []
    parts = list(reach)
    for n, first in enumerate(parts):
        for second in parts[n + 1:]:
            both = [i for i in reach[first] if i in reach[second]]
            if not both:
                continue
            if type(first) is type(second):
                out.append(Problem(f"Two parts {first.name} act on {_named(both)}: their selections overlap.",
                                   "Make the selections disjoint, or use one part.", True))
            elif first.acts_as == second.acts_as == "decay":
                out.append(Problem(f"{first.name} and {second.name} both decay {_named(both)}.",
                                   "Keep one of them, or make their selections disjoint.", True))
    return out


def _bounds(reach: dict[Regularizer, list[WeightInfo]]) -> list[Problem]:
    out = []
    bounds = [p for p in reach if p.acts_as == "bound"]
    for n, first in enumerate(bounds):
        for second in bounds[n + 1:]:
            both = [i for i in reach[first] if i in reach[second]]
            if both and type(first) is not type(second):
                last = max(first, second, key=lambda p: p.place)
                out.append(Problem(f"{first.name} and {second.name} both bound {_named(both)}: {last.name} acts last and has its "
                                   "way, and may break the other's bound.",
                                   "Keep one of them, or make their selections disjoint.", True))
    return out


def warn_of_problems(plan: Plan) -> None:
    """A warning for every serious problem; an error where factors would be decayed on their own."""
    for part, infos in _reach(plan).items():
        if part.acts_as == "decay" and part in plan._parts.get("step", []) and any(i.kind == "factor" for i in infos):
            raise WellfitError(f"{part.name} would decay the factors of a weight on its own, which changes what they amount to.",
                               received=_named(i for i in infos if i.kind == "factor"), action="select other parameters for it")
    for problem in problems(plan):
        if problem.serious:
            warnings.warn(str(problem), WellfitWarning, stacklevel=5)


def check_metric(parts: Iterable[Regularizer], optimizer: torch.optim.Optimizer) -> None:
    """Refuse an optimizer with a step size per weight where a part has no prox for that."""
    for part in parts:
        if part.metric == "scalar" and not one_step_size(optimizer):
            raise WellfitError(f"{part.name} has no exact step in the metric of this optimizer, which gives every weight a step "
                               "size of its own.", received=type(optimizer).__name__, expected="SGD, with or without momentum",
                               action="use torch.optim.SGD, or mode='subgradient' where the method has it")


def check_coupling(plan: Plan, optimizer: torch.optim.Optimizer) -> None:
    """Refuse decoupled decay on factors: their equivalence to a penalty on the product needs the coupled one."""
    factors = {id(p) for i, p in plan.parameters.values() if i.kind == "factor"}
    decayed = [g for g in optimizer.param_groups if g.get("weight_decay") and any(id(p) in factors for p in g["params"])]
    if decayed:
        raise WellfitError("The optimizer decays the factors of a weight, which changes what they amount to; the recipe does so "
                           "already, coupled, as the equivalence needs it.",
                           received=f"{type(optimizer).__name__}(weight_decay={decayed[0]['weight_decay']})",
                           expected="weight_decay=0", action="set weight_decay=0 in the optimizer")


# ------------------------------------------------------------------------------------------------------------- audit


def _shown(part: Regularizer, values: Any) -> str:
    """The part's formula with its values in place of their names; without a formula, the values by name."""
    numbers = {n: getattr(values, n) for n in hypers(part) if getattr(part, n) is not None}
    if not part.formula:
        return ", ".join(f"{n}={v:g}" for n, v in numbers.items())
    return re.sub(r"[a-z_]\w*", lambda m: f"{numbers[m[0]]:g}" if m[0] in numbers else m[0], part.formula)


def _rates(plan: Plan, given: Rates | None) -> list[float] | None:
    if given is None:
        return None
    if isinstance(given, Sequence):
        return [float(r) for r in given]
    if plan.total_steps is None:
        raise WellfitError("The audit needs the length of the run to add up its learning rates.",
                           expected="recipe.compile(model, epochs=..., steps_per_epoch=...), or one learning rate per step")
    return [float(given(step)) if callable(given) else float(given) for step in range(plan.total_steps)]


def _total(part: Regularizer, info: WeightInfo, rates: list[float] | None) -> float | None:
    """Σ lr·λ over the run."""
    name = next((n for n in _PULLS if n in hypers(part) and getattr(part, n) is not None), None)
    if rates is None or name is None:
        return None
    count = len(rates)
    return sum(rate * float(getattr(part.values_at(step / count, info.layers_behind), name)) for step, rate in enumerate(rates))


def rows(plan: Plan, learning_rate: Rates | None = None) -> list[dict[str, Any]]:
    """See :meth:`~wellfit.core.plan.Plan.audit`."""
    rates, reach = _rates(plan, learning_rate), _reach(plan)
    table = []
    for name, (info, parameter) in plan.parameters.items():
        parts = [p for p, infos in reach.items() if any(i.name == name for i in infos)]
        table.append({"parameter": name, "kind": info.kind, "shape": tuple(parameter.shape), "depth": info.depth,
                      "touched_by": [p.name for p in parts],
                      "effects": [{"part": p.name, "formula": _shown(p, plan._values(p, info)), "total": _total(p, info, rates)}
                                  for p in parts]})
    return table


def text(plan: Plan, learning_rate: Rates | None = None) -> str:
    """See :meth:`~wellfit.core.plan.Plan.audit_text`."""
    lines = [("parameter", "kind", "shape", "touched by", "as", "Σ lr·λ" if learning_rate is not None else "")]
    for row in rows(plan, learning_rate):
        own = (row["parameter"], row["kind"], "×".join(map(str, row["shape"])))
        for n, effect in enumerate(row["effects"]):
            total = "" if effect["total"] is None else f"{effect['total']:.4g}"
            lines.append((*(own if n == 0 else ("", "", "")), effect["part"], effect["formula"], total))
        if not row["effects"]:
            lines.append((*own, "-", "", ""))
    widths = [max(len(line[c]) for line in lines) for c in range(len(lines[0]))]
    table = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([*table, *(f"{'warning' if p.serious else 'note'}: {p}" for p in problems(plan))])
