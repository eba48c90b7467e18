"""One examination: what the checks share, made once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from wellfit.doctor.copies import NotExaminable, copied_loader, fresh, to_device
from wellfit.doctor.set_up import SetUp

__all__ = ["Exam", "NotExaminable"]

Found = TypeVar("Found")


class Exam:
    """A set-up under examination. Checks take copies from here and never touch ``set_up`` itself.

    Attributes:
        set_up: what was given. Read it, do not run it.
        facts: results that several checks share, by the function that makes them.
    """

    def __init__(self, set_up: SetUp):
        self.set_up = set_up
        self._facts: dict[Callable[..., Any], Any] = {}

    def once(self, make: Callable[[Exam], Found]) -> Found:
        """``make(exam)``, run once; an exception is kept too, and raised at each asking."""
        if make not in self._facts:
            try:
                self._facts[make] = make(self)
            except Exception as error:
                self._facts[make] = error
        found = self._facts[make]
        if isinstance(found, Exception):
            raise found
        return found  # type: ignore[no-any-return]

    def fresh(self) -> SetUp:
        """Copies of model, optimizer, scheduler, averaged, criterion and functions that belong together. See
        :func:`~wellfit.doctor.copies.fresh`."""
        return fresh(self.set_up)

    def loader(self, part: str) -> Any:
        """A copy of ``train_loader``, ``val_loader`` or ``test_loader``, without workers."""
        loader = getattr(self.set_up, part)
        if loader is None:
            raise NotExaminable(f"no {part}")
        return copied_loader(loader)

    def batches(self, part: str, count: int) -> list[Any]:
        """The first batches of a copy of a loader."""
        return list(itertools.islice(iter(self.loader(part)), count))
