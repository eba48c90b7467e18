"""One examination: what the checks share, made once."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from wellfit.doctor.batches import call, call_with_parts, device_of, first_tensor, main_output, rows_of, taken_apart
from wellfit.doctor.copies import NotExaminable, copied_loader, fresh, to_device
from wellfit.doctor.examples import invented
from wellfit.doctor.set_up import SetUp

__all__ = ["Exam", "NotExaminable", "Sample"]

ROWS = 64
"""Rows of a batch that models are probed with."""
SECONDS = 0.3
"""Longest pass of a probe, roughly; where a pass takes longer, fewer rows are taken."""
LOADERS = ("train_loader", "val_loader", "test_loader")

Found = TypeVar("Found")


@dataclass(frozen=True)
class Sample:
    """Inputs to probe a model with, at most :data:`ROWS` rows.

    Attributes:
        inputs: as the model takes them, on its device.
        targets: that belong to them; None if there are none.
        part: the loader it is from, or "invented".
    """

    inputs: Any
    targets: Any
    part: str

    @property
    def rows(self) -> int:
        first = first_tensor(self.inputs)
        return len(first) if first is not None and first.dim() else 0


class Exam:
    """A set-up under examination. Checks take copies from here and never touch ``set_up`` itself.

    Attributes:
        set_up: what was given. Read it, do not run it.
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

    def model(self, *, train: bool) -> nn.Module:
        """A copy of the model alone, in train or eval mode."""
        return fresh(SetUp(self.set_up.model)).model.train(train)

    def loader(self, part: str) -> Any:
        """A copy of ``train_loader``, ``val_loader`` or ``test_loader``, without workers."""
        loader = getattr(self.set_up, part)
        if loader is None:
            raise NotExaminable(f"no {part}")
        return copied_loader(loader)

    def batches(self, part: str, count: int) -> list[Any]:
        """The first batches of a copy of a loader."""
        return list(itertools.islice(iter(self.loader(part)), count))

    def batch(self) -> Any:
        """The first batch of the training loader, whole."""
        return self.once(_first_batch)

    def sample(self) -> Sample:
        """Inputs the model can be run on: from the first loader there is, else the model's own example, else invented."""
        return self.once(_sample)

    def fewer(self, count: int) -> Any:
        """The sample's inputs with at most ``count`` rows; all of them if the model does not run on fewer."""
        sample = self.sample()
        few = rows_of(sample.inputs, lambda t: t[:count])
        try:
            self.output(self.model(train=False), few)
        except Exception:  # the first axis is not that of rows
            return sample.inputs
        return few

    def output(self, model: nn.Module, inputs: Any) -> Tensor:
        """The main output, without gradient."""
        with torch.no_grad():
            return main_output(call(model, inputs)).detach()


def _first_batch(exam: Exam) -> Any:
    found = exam.batches("train_loader", 1)
    if not found:
        raise NotExaminable("train_loader gives no batch")
    return found[0]


def _sample(exam: Exam) -> Sample:
    for part in LOADERS:
        if getattr(exam.set_up, part) is None:
            continue
        found = exam.batches(part, 1)
        if not found:
            continue
        model = exam.set_up.model
        inputs, targets = taken_apart(found[0], model)
        count = len(first) if (first := first_tensor(inputs)) is not None and first.dim() else 0
        if not count:
            raise NotExaminable("the loader's batches hold no tensor of inputs")
        both = to_device(rows_of((inputs, targets), lambda t: t[:ROWS], count), device_of(model))
        try:
            began = time.monotonic()
            exam.output(exam.model(train=False), both[0])
        except NotExaminable:
            raise
        except Exception:
            both = to_device((inputs, targets), device_of(model))
            try:
                exam.output(exam.model(train=False), both[0])
            except Exception as error:
                what = " ".join(str(error).split())[:120]
                if part != "train_loader" or (seen := _as_trained(exam)) is None:
                    raise NotExaminable(f"the model does not run on a batch of {part} ({type(error).__name__}: {what})") from error
                both = seen, both[1]
            return Sample(both[0], both[1], part)
        if (taken := time.monotonic() - began) > SECONDS:  # a large network is probed with fewer rows
            few = max(8, int(min(count, ROWS) * SECONDS / taken))
            both = rows_of(both, lambda t, few=few: t[:few], min(count, ROWS))  # type: ignore[misc]
        return Sample(both[0], both[1], part)
    return Sample(invented(exam.model(train=False)), None, "invented")


class _Seen(BaseException):
    """Ends a training at its first call of the model; no ``except Exception`` of the user's holds it up."""


def _as_trained(exam: Exam) -> Any:
    """The inputs that ``train_step`` or ``fit`` gives the model, which may prepare batches first; None if that cannot be seen."""
    parts = exam.fresh()
    seen: list[Any] = []

    def look(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.append(kwargs if kwargs and not args else args[0] if len(args) == 1 else args)
        raise _Seen
    parts.model.register_forward_pre_hook(look, with_kwargs=True)
    try:
        if parts.train_step is not None:
            call_with_parts(parts.train_step, parts, batch=exam.batch(), step=0)
        elif parts.fit is not None:
            loaders = {part: exam.loader(part) for part in LOADERS if getattr(exam.set_up, part) is not None}
            call_with_parts(parts.fit, parts, **loaders)
    except _Seen:
        pass
    except Exception:
        return None
    if not seen:
        return None
    try:
        exam.output(exam.model(train=False), seen[0])
    except Exception:
        return None
    return seen[0]
