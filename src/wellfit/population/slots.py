"""Slots: the parts of K recipes lined up, so that one call of a kernel serves all members.

Members that lack a part take its neutral value, which is the bitwise identity (the contract tests hold every part to it).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from wellfit.core.errors import WellfitError
from wellfit.core.hyper import hypers, options
from wellfit.core.operands import Values
from wellfit.core.phases import phases_of
from wellfit.core.recipe import Recipe
from wellfit.core.registry import lookup
from wellfit.core.regularizer import Regularizer
from wellfit.core.schedule import PerLayer, Schedule


class Slot:
    """One kind of part across K members: ``part`` is a template whose methods are called with (K,) values.

    ``runs`` are the stretches of neighbouring members that have the part. Phases that write in place work on these views only;
    phases on activations work on all members, with neutral values where a member lacks the part.
    """

    def __init__(self, part: Regularizer, members: Sequence[Regularizer | None], dtype: torch.dtype, device: Any):
        self.part, self.members = part, list(members)
        self.phases = phases_of(part)
        self._dtype, self._device = dtype, device
        self.present = np.array([m is not None for m in members])
        self.fields = [n for n in hypers(part) if getattr(part, n) is not None]
        self.scheduled = any(m is not None and m.scheduled for m in members)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], self.present.astype(np.int8), [0]])))
        self.runs = [slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
        self.everyone = slice(0, len(self.members))
        self._fixed: dict[tuple[int, int, int], Values] = {}

    def row(self, name: str, progress: float, run: slice, layers_behind: int = 0) -> list[float]:
        """The values of one hyperparameter for a run of members, neutral or any where a member lacks the part."""
        declared = hypers(self.part)[name]
        rest = declared.neutral if declared.has_neutral else _any_value(getattr(self.part, name), progress, layers_behind)
        return [rest if m is None else _any_value(getattr(m, name), progress, layers_behind) for m in self.members[run]]

    def tensors(self, progress: float, run: slice | None = None, layers_behind: int = 0) -> Values:
        """The values at ``progress`` for a run of members (default: all), as tensors for the kernels, for a weight with so many
        layers behind it."""
        run = run or self.everyone
        key = (run.start, run.stop, layers_behind if self.part.layered else 0)
        known = self._fixed.get(key)
        if known is None:
            known = Values({n: torch.tensor(self.row(n, progress, run, key[2]), dtype=self._dtype, device=self._device)
                            for n in self.fields}, members=True)
            if not self.scheduled:
                self._fixed[key] = known
        return known

    def numbers(self, progress: float) -> Values:
        """The values of all members as double-precision arrays."""
        return Values({n: np.array(self.row(n, progress, self.everyone), dtype=np.float64) for n in self.fields}, members=True)

    def over_steps(self, name: str, progress: Sequence[float], run: slice | None = None, layers_behind: int = 0) -> np.ndarray:
        """(steps, K) values of one hyperparameter in double precision; (1, K) where none of them moves."""
        run = run or self.everyone
        out = np.array([self.row(name, progress[0], run, layers_behind)], dtype=np.float64)
        if not self.scheduled:
            return out
        out, seen = np.repeat(out, len(progress), axis=0), {}
        for k, member in enumerate(self.members[run]):
            value = getattr(member, name, None)
            if isinstance(value, Schedule) and value.over_time:
                if value not in seen:
                    seen[value] = [value.at(p) for p in progress]
                out[:, k] = seen[value]
        return out

    def keep(self, members: Sequence[int]) -> Slot | None:
        """The slot for some of the members; None when none of them has the part."""
        left = [self.members[m] for m in members]
        template = next((m for m in left if m is not None), None)
        return None if template is None else Slot(template, left, self._dtype, self._device)


def _any_value(value: Any, progress: float, layers_behind: int = 0) -> float:
    if isinstance(value, PerLayer):
        return value.of_layer(layers_behind)
    return value.at(progress) if isinstance(value, Schedule) else float(value)


def slot_key(part: Regularizer) -> tuple[Any, ...]:
    """Parts with equal keys can be lined up: same class, same named choices, same optional fields in use, and alike in whether
    their values differ from layer to layer."""
    return (type(part), part.layered, *(getattr(part, n) for n in options(part)),
            *(n for n, h in hypers(part).items() if h.optional and getattr(part, n) is not None))


def line_up(recipes: Sequence[Recipe], dtype: torch.dtype, device: Any) -> list[Slot]:
    """The slots of K recipes, in the order in which their parts act."""
    found: dict[tuple[Any, ...], list[Regularizer | None]] = {}
    for k, recipe in enumerate(recipes):
        for part in recipe.ordered:
            _check(part, recipe)
            found.setdefault(slot_key(part), [None] * len(recipes))[k] = part
    slots = [Slot(next(m for m in members if m is not None), members, dtype, device) for members in found.values()]
    # by place, never by value: a stack that was thinned and one built anew for its members line up alike
    return sorted(slots, key=lambda s: (s.part.place, repr(slot_key(s.part)[1:])))


def _check(part: Regularizer, recipe: Recipe) -> None:
    """A part that would not act in a stack of the built-in network is refused rather than left out."""
    if not part.stacked:
        raise WellfitError(f"{part.name} does not train stacked.", received=repr(part),
                           action="use it on a network of its own: recipe.compile(model)")
    if getattr(part, "where", "auto") == "existing":
        raise WellfitError(f"{part.name} is to act in place of dropout modules, but the built-in network has none.",
                           received=repr(part), action="where='auto'")
    for other, reason in part.requires.items():
        if other not in recipe:
            raise WellfitError(f"{part.name} needs {other} in the built-in network: {reason}", received=repr(recipe),
                               action=f"add wf.{lookup(other).__name__}()")


def structure_key(recipe: Recipe) -> bool:
    """Members of one stack share their structure: whether they have a batch norm. (Skip connections are a factor 0 or 1.)"""
    return "batch_norm" in recipe
