"""What is said when a recipe does not fit its run, its optimizer, or the loop around it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch

from wellfit.core import audit
from wellfit.core.errors import WellfitError, WellfitWarning
from wellfit.core.metric import metric_of
from wellfit.core.phases import phases_of
from wellfit.core.recipe import Recipe

if TYPE_CHECKING:
    from wellfit.core.plan import Plan


def warn_of_idle_parts(recipe: Recipe) -> None:
    """Parts at the value at which they do nothing."""
    for part in recipe:
        neutral = {n: v for n, v in part.neutral().items() if getattr(part, n) is not None}
        if neutral and "monitor" not in phases_of(part) and all(getattr(part, n) == v for n, v in neutral.items()):
            warnings.warn(f"{part!r} changes nothing at this setting. Leave it out, or set "
                          f"{' or '.join(f'{n} to something else than {v:g}' for n, v in neutral.items())}.",
                          WellfitWarning, stacklevel=4)


def check_length(plan: Plan) -> None:
    """Schedules, averages over a share of the run, cycles and decay by timescale need the length of the run."""
    needs = [type(p).__name__ for p in plan.recipe if p.scheduled]
    if needs and plan.total_steps is None:
        raise WellfitError(f"A schedule ({', '.join(needs)}) needs the length of the run.",
                           received=f"epochs={plan.epochs}, steps_per_epoch={plan.steps_per_epoch}",
                           expected="recipe.compile(model, epochs=..., steps_per_epoch=len(loader))")
    if plan.epochs is None and (late := [type(p).__name__ for p in plan.recipe if getattr(p, "cadence", "") == "epoch"]):
        raise WellfitError(f"{late[0]} starts at a share of the run, whose length is not known.",
                           expected="recipe.compile(model, epochs=...)")
    if plan.epochs is None and (cyclic := [type(p).__name__ for p in plan.recipe if "snapshot" in phases_of(p)]):
        raise WellfitError(f"{cyclic[0]} divides the run into cycles, and its length is not known.",
                           expected="recipe.compile(model, epochs=...)")
    timed = [p for p in plan.recipe if getattr(p, "timescale", None) is not None]
    if timed and plan.steps_per_epoch is None:
        raise WellfitError("WeightDecay(timescale=...) counts in epochs, but the plan does not know their length.",
                           expected="recipe.compile(model, steps_per_epoch=len(loader))",
                           action="pass steps_per_epoch, or use WeightDecay(rate=...)")


def check_optimizer(plan: Plan, optimizer: torch.optim.Optimizer) -> None:
    """The optimizer's metric is known where it has to be, it has the weights, and does not decay them too."""
    owned = {id(p) for g in optimizer.param_groups for p in g["params"]}
    proximal = [p for p in plan._parts.get("step", []) if p.proximal]
    if proximal:
        metric_of(optimizer)
    audit.check_metric(proximal, optimizer)
    for part in [p for phase in ("step", "gradient", "noise", "ascent") for p in plan._parts.get(phase, [])]:
        absent = [info.name for info, p in plan._of(part) if id(p) not in owned]
        if absent and part.per_weight:
            raise WellfitError(f"{part.name} is to act on parameters this optimizer does not have.",
                               received=", ".join(absent[:5]), expected="an optimizer made from plan.model.parameters()",
                               action="make the optimizer after compiling the recipe")
    audit.check_coupling(plan, optimizer)
    decayed = [g for g in optimizer.param_groups if g.get("weight_decay")]
    if decayed and any(p.acts_as == "decay" for p in plan.recipe):
        warnings.warn(f"Weights decay twice: by the recipe and by the optimizer's weight_decay={decayed[0]['weight_decay']}. "
                      "Set weight_decay=0 in the optimizer.", WellfitWarning, stacklevel=3)


def warn_of_what_never_acted(plan: Plan) -> None:
    """At the end of a run: what the loop around the plan left out."""
    if plan.epoch == 0 and plan.steps == 0:
        return
    stepping = set(plan._parts) & {"step", "gradient", "noise", "slow"}
    if plan.steps == 0 and (stepping or getattr(plan._averages.part, "cadence", "") == "step"):
        warnings.warn("The recipe never acted on the weights: plan.attach(optimizer) was not called, or no step was made.",
                      WellfitWarning, stacklevel=3)
    needing = list(dict.fromkeys(plan._objective.needs_outputs + plan._objective.needs_closure))
    if needing and plan.steps and not plan._objective.acted:
        warnings.warn(f"{', '.join(needing)} never acted: call plan.backward(lambda: plan.objective(criterion, "
                      "plan.model(x), y)) in place of loss.backward().", WellfitWarning, stacklevel=3)
    if plan._mapping and plan._batches == 0 and plan.steps:
        warnings.warn("The recipe never saw a batch: call plan.batch(x, y) in the loop.", WellfitWarning, stacklevel=3)
