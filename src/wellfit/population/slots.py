"""Slots: the parts of K recipes lined up, so that one call of a kernel serves all members.

Members that lack a part take its neutral value, which is the bitwise identity (the contract tests hold every part to it).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from wellfit.core.hyper import hypers, options
from wellfit.core.phases import Regularizer, Values, phases_of
from wellfit.core.recipe import Recipe
from wellfit.core.schedule import Schedule


class Slot:
    """One kind of part across K members: ``part`` is a template whose methods are called with (K,) values."""

    def __init__(self, part: Regularizer, members: Sequence[Regularizer | None], dtype: torch.dtype, device: Any):
        self.part, self.members = part, list(members)
        self.phases = phases_of(part)
        self._dtype, self._device = dtype, device
        self.present = np.array([m is not None for m in members])
        self._fields = [n for n in hypers(part) if getattr(part, n) is not None]
        self.scheduled = any(m is not None and m.scheduled for m in members)
        self._fixed: tuple[Values, Values] | None = None

    def _row(self, name: str, progress: float) -> list[float]:
        declared = hypers(self.part)[name]
        rest = declared.neutral if declared.has_neutral else _any_value(getattr(self.part, name), progress)
        return [rest if m is None else _any_value(getattr(m, name), progress) for m in self.members]

    def _make(self, progress: float) -> tuple[Values, Values]:
        rows = {n: self._row(n, progress) for n in self._fields}
        return (Values({n: torch.tensor(r, dtype=self._dtype, device=self._device) for n, r in rows.items()}, members=True),
                Values({n: np.array(r, dtype=np.float64) for n, r in rows.items()}, members=True))

    def at(self, progress: float) -> tuple[Values, Values]:
        """The values at ``progress``: as tensors for the kernels, and as double-precision arrays."""
        if self.scheduled:
            return self._make(progress)
        if self._fixed is None:
            self._fixed = self._make(0.0)
        return self._fixed

    def tensors(self, progress: float) -> Values:
        return self.at(progress)[0]

    def numbers(self, progress: float) -> Values:
        return self.at(progress)[1]

    def keep(self, members: Sequence[int]) -> Slot | None:
        """The slot for some of the members; None when none of them has the part."""
        left = [self.members[m] for m in members]
        template = next((m for m in left if m is not None), None)
        return None if template is None else Slot(template, left, self._dtype, self._device)


def _any_value(value: Any, progress: float) -> float:
    return value.at(progress) if isinstance(value, Schedule) else float(value)


def slot_key(part: Regularizer) -> tuple[Any, ...]:
    """Parts with equal keys can be lined up: same class, same named choices, same optional fields in use."""
    return (type(part), *(getattr(part, n) for n in options(part)),
            *(n for n, h in hypers(part).items() if h.optional and getattr(part, n) is not None))


def line_up(recipes: Sequence[Recipe], dtype: torch.dtype, device: Any) -> list[Slot]:
    """The slots of K recipes, in the order in which their parts act."""
    found: dict[tuple[Any, ...], list[Regularizer | None]] = {}
    for k, recipe in enumerate(recipes):
        for part in recipe.ordered:
            found.setdefault(slot_key(part), [None] * len(recipes))[k] = part
    slots = [Slot(next(m for m in members if m is not None), members, dtype, device) for members in found.values()]
    # by place, never by value: a stack that was thinned and one built anew for its members line up alike
    return sorted(slots, key=lambda s: (s.part.place, repr(slot_key(s.part)[1:])))


def structure_key(recipe: Recipe) -> tuple[bool, bool]:
    """Members of one stack share their structure: (batch norm, skip connections)."""
    return ("batch_norm" in recipe, "skip_connections" in recipe)
