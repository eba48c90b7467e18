"""Which tier of the engine trains a member: the compiled one where it can, tensors otherwise. All tiers mean the same."""

from __future__ import annotations

from collections.abc import Sequence

from wellfit.core.errors import WellfitError
from wellfit.population.native import library
from wellfit.population.native.stack import NativeStack
from wellfit.population.native.translate import beyond
from wellfit.population.problem import Member, Problem
from wellfit.population.reference import ReferenceStack
from wellfit.population.stack import Stack

TIERS: dict[str, type[Stack]] = {"native": NativeStack, "reference": ReferenceStack}


def why_reference(problem: Problem, member: Member) -> str:
    """Why a member is trained by the reference tier; empty if the compiled engine trains it."""
    if problem.engine == "reference":
        return "asked for"
    engine = library.engine()
    reason = library.why_not() if engine is None else beyond(problem, member)
    if reason and problem.engine == "native":
        raise WellfitError("The native engine cannot train this.", received=reason, expected="what the compiled engine knows",
                           action='choose the engine "auto"')
    return reason


def tier_of(problem: Problem, member: Member) -> str:
    """The tier that trains a member."""
    return "reference" if why_reference(problem, member) else "native"


def make_stack(problem: Problem, members: Sequence[Member], *, tier: str, threads: int = 1) -> Stack:
    """A stack of members that share structure and tier."""
    stack = TIERS[tier](problem, members)
    if isinstance(stack, NativeStack):
        stack.threads = threads
    return stack


def describe_tiers(engine: str) -> dict[str, str]:
    """For run records: which tier trains what the search space holds, and why."""
    if engine == "reference":
        return {"tier": "reference", "why": "asked for"}
    found = library.engine()
    if found is None:
        return {"tier": "reference", "why": library.why_not()}
    return {"tier": "native", "build": found.name, "why": "compiled code knows every part of the search space; "
            "a recipe with anything else is trained by the reference tier"}
