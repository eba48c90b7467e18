"""Taking back the regularization that a training does to its weights after the optimizer's own update."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer

from wellfit.doctor.loop.actions import action
from wellfit.doctor.loop.replay import replayed


class Undo:
    """Keeps the weights as the optimizer's update left them, and puts them back where they were thresholded or decayed since.

    Args:
        trained: the weights, by name.
    """

    def __init__(self, trained: Mapping[str, Tensor]):
        self.trained = trained
        self._updated: dict[str, Tensor] | None = None

    def begins(self, optimizer: Optimizer) -> None:
        """Its step comes now, with the gradients that are there."""
        plain = type(optimizer).__module__.startswith("torch.optim.") and not optimizer._optimizer_step_post_hooks
        self._updated = None if plain else replayed(optimizer, self.trained)

    def ended(self) -> None:
        if self._updated is None:
            self._updated = {n: p.detach().clone() for n, p in self.trained.items()}

    @torch.no_grad()
    def settle(self) -> None:
        """The training goes on, so that what comes after a step has been done."""
        for name, updated in (self._updated or {}).items():
            now = self.trained[name]
            if not torch.equal(now, updated) and (action(updated, now).kind in ("threshold", "decay") or not now.any()):
                now.copy_(updated)
        self._updated = None
