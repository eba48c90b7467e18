"""Averaged weights (EMA, SWA): when they take in the current ones, and the model with them in place, to be judged."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from wellfit.core import surgery
from wellfit.core.errors import WellfitError
from wellfit.kernels.average import blend_all_

if TYPE_CHECKING:
    from wellfit.core.plan import Plan


class Averages:
    """The averages of a plan's parameters; empty, and without effect, where no part averages.

    Attributes:
        part: which averages; None for none.
        weights: average of every parameter, by name.
    """

    def __init__(self, plan: Plan):
        self._plan = plan
        self.part: Any = next(iter(plan._parts.get("average", [])), None)
        self.weights: dict[str, Tensor] = {} if self.part is None else {
            n: p.detach().clone() for n, (_, p) in plan.parameters.items()}
        self._taken = np.zeros(1)
        self._closed_at = 0  # the step at which the last epoch was taken in
        self._statistics: tuple[int, dict[str, Tensor]] | None = None  # of batch norms under the averages: when, which

    @property
    def moved(self) -> bool:
        """Whether anything was taken in."""
        return bool(self.weights) and bool(self._taken.any())

    @property
    def needs_statistics(self) -> bool:
        """Whether batch norms have to be recalibrated under the averages."""
        return bool(self.weights) and bool(surgery.batch_norms(self._plan.model))

    # ---- taking in

    def share(self, progress: float) -> float:
        """What the average takes in of the current weights now."""
        plan = self._plan
        weight, self._taken = self.part.weight_of_current(self._taken, progress, plan._values(self.part))
        return float(np.asarray(weight).reshape(-1)[0])

    @torch.no_grad()
    def _take_in(self, progress: float) -> None:
        share = self.share(progress)
        parameters = self._plan.parameters
        blend_all_([self.weights[name] for name in parameters], [p for _, p in parameters.values()], share)

    def end_step(self) -> None:
        """After an optimizer step, for an average that moves by steps."""
        if self.part is not None and self.part.cadence == "step":
            self._take_in(self._plan.progress)

    def end_epoch(self) -> None:
        """For an average that moves by epochs: take the epoch's end in, once, before anything is evaluated."""
        if self._ends_an_epoch:
            self._closed_at = self._plan.steps
            self._take_in((self._plan.epoch + 1) / self._plan.epochs)  # type: ignore[operator]

    @property
    def _ends_an_epoch(self) -> bool:
        return self.part is not None and self.part.cadence == "epoch" and self._closed_at != self._plan.steps

    # ---- judging

    def _judged(self, name: str, parameter: nn.Parameter) -> Tensor:
        """The average of a parameter, with the zeros that a proximal part has made in it: an average of weights that once were
        not zero never is."""
        average = self.weights[name].clone()
        if self._plan.made_sparse(name):
            average[parameter.detach() == 0] = 0
        return average

    def put_into(self, state: dict[str, Tensor]) -> bool:
        """Write the averages, and the statistics that belong to them, into a model's ``state_dict``; whether there are such."""
        if not self.weights:
            return False
        plan = self._plan
        own = {id(p): n for n, (_, p) in plan.parameters.items()}
        state.update({n: self._judged(own[id(p)], p)  # a tied parameter under each of its names
                      for n, p in plan.model.named_parameters(remove_duplicate=False) if id(p) in own})
        if self._statistics is None or self._statistics[0] != plan.steps:
            return False
        state.update(self._statistics[1])
        return True

    @torch.no_grad()
    def use(self, batches: Iterable[Any] | None) -> None:
        """Put the averages into the model, with batch-norm statistics of their own from ``batches``."""
        plan = self._plan
        for name, (_, parameter) in plan.parameters.items():
            parameter.copy_(self._judged(name, parameter))
        if surgery.batch_norms(plan.model):
            if batches is None:
                raise without_statistics()
            surgery.recalibrate(plan.model, batches)
            persistent = plan.model.state_dict()
            self._statistics = plan.steps, {n: b.clone() for n, b in plan.model.named_buffers() if n in persistent}

    @contextlib.contextmanager
    def evaluating(self, batches: Iterable[Any] | None) -> Iterator[nn.Module]:
        """See :meth:`wellfit.core.plan.Plan.evaluating`."""
        model = self._plan.model
        modes = [(m, m.training) for m in model.modules()]
        kept = {n: t.detach().clone() for n, t in model.state_dict().items()} if self.weights else None
        with self._as_if_the_epoch_ended():
            try:
                if self.weights:
                    self.use(batches)
                model.eval()
                yield model
            finally:
                if kept is not None:
                    model.load_state_dict(kept)
                for module, mode in modes:
                    module.training = mode

    @contextlib.contextmanager
    def _as_if_the_epoch_ended(self) -> Iterator[None]:
        """An evaluation before ``observe`` judges what ``observe`` will; only that one ends the epoch."""
        if not self._ends_an_epoch:
            yield
            return
        before = self.weights, self._taken.copy(), self._closed_at
        self.weights = {n: t.clone() for n, t in self.weights.items()}
        self.end_epoch()
        try:
            yield
        finally:
            self.weights, self._taken, self._closed_at = before

    # ---- state

    def state_dict(self) -> dict[str, Any]:
        return {"averages": {n: t.clone() for n, t in self.weights.items()}, "closed_at": self._closed_at,
                "taken": torch.from_numpy(np.asarray(self._taken, np.float64).copy())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, tensor in state["averages"].items():
            self.weights[name].copy_(tensor)
        self._taken, self._closed_at = state["taken"].numpy().copy(), state["closed_at"]


def without_statistics() -> WellfitError:
    """What is said where averaged weights cannot be judged."""
    return WellfitError("Averaged weights need batch-norm statistics of their own.", expected="batches of training inputs",
                        action="pass them: plan.evaluating(loader), plan.finish(loader)")
