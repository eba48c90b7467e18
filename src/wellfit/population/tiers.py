"""Which tier of the engine trains a member: the compiled one where it can, tensors otherwise. All tiers mean the same."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from wellfit.core.errors import WellfitError
from wellfit.population.cuda.stack import CudaStack
from wellfit.population.modules.problem import ModuleProblem
from wellfit.population.modules.stack import ModuleStack
from wellfit.population.modules.table import as_modules
from wellfit.population.native import library
from wellfit.population.native.stack import NativeStack
from wellfit.population.native.translate import beyond
from wellfit.population.problem import Member, Problem
from wellfit.population.reference import ReferenceStack
from wellfit.population.stack import Stack

AnyProblem = Problem | ModuleProblem
AnyStack = Stack | ModuleStack

TIERS: dict[str, type[Stack]] = {"native": NativeStack, "cuda": CudaStack, "reference": ReferenceStack}


def why_reference(problem: Problem, member: Member) -> str:
    """Why a member is trained by the reference tier; empty if a faster one trains it."""
    if problem.engine == "reference":
        return "asked for"
    if problem.engine == "auto" and on_card(problem.device):
        return next((f"{part.name} cannot be recorded" for part in member.recipe if not part.recordable), "")
    engine = library.engine()
    reason = library.why_not() if engine is None else beyond(problem, member)
    if reason and problem.engine == "native":
        raise WellfitError("The native engine cannot train this.", received=reason, expected="what the compiled engine knows",
                           action='choose the engine "auto"')
    return reason


def tier_of(problem: AnyProblem, member: Member) -> str:
    """The tier that trains a member."""
    if isinstance(problem, ModuleProblem) or not all(part.stacked for part in member.recipe):
        return "modules"
    if why_reference(problem, member):
        return "reference"
    return "cuda" if on_card(problem.device) else "native"


def on_card(device: str) -> bool:
    """Whether a device is a graphics card that can record steps."""
    return torch.device(device).type == "cuda"


def make_stack(problem: AnyProblem, members: Sequence[Member], *, tier: str, threads: int = 1) -> AnyStack:
    """A stack of members that share structure and tier."""
    if tier == "modules":
        alone = ModuleStack(problem if isinstance(problem, ModuleProblem) else as_modules(problem), members)
        alone.threads = threads
        return alone
    assert isinstance(problem, Problem)
    stack = TIERS[tier](problem, members)
    if isinstance(stack, NativeStack):
        stack.threads = threads
    return stack


def describe_tiers(engine: str, device: str = "cpu") -> dict[str, str]:
    """For run records: which tier trains what the search space holds, and why."""
    if engine == "reference":
        return {"tier": "reference", "why": "asked for"}
    if engine == "auto" and on_card(device):
        return {"tier": "cuda", "why": "the device is a graphics card"}
    found = library.engine()
    if found is None:
        return {"tier": "reference", "why": library.why_not()}
    return {"tier": "native", "build": found.name, "why": "compiled code knows every part of the search space; "
            "a recipe with anything else is trained by the reference tier"}
