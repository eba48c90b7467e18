"""What a Lightning module knows of its training, as parts of a set-up."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import nn
from torch.optim import Optimizer

from wellfit.doctor.copies import fresh
from wellfit.doctor.set_up import SetUp


def is_lightning(model: nn.Module) -> bool:
    """Whether a module has the methods of a LightningModule; the framework itself is not imported."""
    return all(callable(getattr(model, name, None)) for name in ("configure_optimizers", "training_step"))


def completed(set_up: SetUp) -> SetUp:
    """A set-up with what its Lightning module adds: optimizer, scheduler, train_step and loaders that were not given.

    Its methods are called on a copy, so everything that comes out belongs to that copy.
    """
    if not is_lightning(set_up.model):
        return set_up
    if set_up.optimizer is None:
        set_up = replace(set_up, model=fresh(SetUp(set_up.model)).model)
        with contextlib.suppress(Exception):
            optimizer, scheduler = _first(set_up.model.configure_optimizers())  # type: ignore[operator]
            set_up = replace(set_up, optimizer=optimizer, scheduler=set_up.scheduler or scheduler)
    found: dict[str, Any] = {}
    for part, method in ((p, f"{p.removesuffix('_loader')}_dataloader") for p in ("train_loader", "val_loader", "test_loader")):
        if getattr(set_up, part) is None and callable(getattr(set_up.model, method, None)):
            with contextlib.suppress(Exception):  # the framework's own raises when it is not written
                loader = getattr(fresh(SetUp(set_up.model)).model, method)()
                if hasattr(loader, "__iter__") and not isinstance(loader, Mapping | list | tuple):
                    found[part] = loader
    if set_up.train_step is None and getattr(set_up.model, "automatic_optimization", True):
        found["train_step"] = train_step()
    return replace(set_up, **found)


def _first(made: Any) -> tuple[Optimizer | None, Any]:
    """Optimizer and scheduler out of anything that configure_optimizers may return."""
    if isinstance(made, Optimizer):
        return made, None
    if isinstance(made, Mapping):
        scheduler = made.get("lr_scheduler")
        return made.get("optimizer"), scheduler.get("scheduler") if isinstance(scheduler, Mapping) else scheduler
    if isinstance(made, tuple | list) and made:
        if isinstance(made[0], list) and made[0]:
            schedulers = made[1] if len(made) > 1 else []
            first = schedulers[0] if schedulers else None
            return made[0][0], first.get("scheduler") if isinstance(first, Mapping) else first
        return _first(made[0])
    return None, None


def train_step() -> Callable[..., Any]:
    """One step as Lightning's automatic optimization makes it."""
    def step(model: nn.Module, optimizer: Optimizer, batch: Any, step: int = 0) -> Any:
        optimizer.zero_grad()
        returned = model.training_step(batch, step)  # type: ignore[operator]
        loss = returned["loss"] if isinstance(returned, Mapping) else returned
        loss.backward()
        optimizer.step()
        return loss.detach()
    return step
