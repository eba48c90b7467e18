"""Copies to experiment on: of a model with its optimizer, and of loaders."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from wellfit.doctor.set_up import SetUp

_LOADERS = ("train_loader", "val_loader", "test_loader")
_SHARE_ABOVE = 1 << 26  # bytes of arrays: beyond that, a copied data set shares them
_LONG = 1000  # entries from which a list of rows is shared


class NotExaminable(Exception):
    """Why a check cannot look at this set-up, in words for a person. The check counts as skipped."""


def fresh(set_up: SetUp) -> SetUp:
    """The same set-up with copies of everything but the loaders.

    One deep copy of all parts together: tied weights stay tied, the optimizer's groups and state and the scheduler belong to the
    copied parameters, functions that are methods belong to copied objects. Gradients and hooks on the optimizer are not copied.
    """
    parts = {f.name: getattr(set_up, f.name) for f in fields(set_up) if f.name not in _LOADERS}
    memo: dict[int, Any] = {}
    for module in (m for p in parts.values() if isinstance(p, nn.Module) for m in p.modules()):
        for value in vars(module).values():
            if isinstance(value, Tensor) and not value.is_leaf:  # a weight that is computed anew for each pass
                memo[id(value)] = value.detach().clone()
    try:
        copies = copy.deepcopy(parts, memo)
    except Exception as error:
        raise NotExaminable(f"the set-up cannot be copied ({type(error).__name__}: {str(error)[:120]})") from error
    return replace(set_up, **copies)


def copied_loader(loader: Any) -> Any:
    """A loader that can be read without moving the generators, samplers and data sets of the given one.

    Workers are left out. Large arrays (more than 64 MB) and long lists of rows are shared, not copied.
    """
    if iter_once(loader):
        raise NotExaminable("the loader is an iterator that can be read only once")
    held = list(_held(loader))
    arrays = [v for v in held if not isinstance(v, list | dict)]
    shared = [v for v in held if isinstance(v, list | dict)] + (arrays if sum(map(_bytes, arrays)) > _SHARE_ABOVE else [])
    memo: dict[int, Any] = {id(v): v for v in shared}
    try:
        made = copy.deepcopy(loader, memo)
    except Exception as error:
        raise NotExaminable(f"the loader cannot be copied ({type(error).__name__}: {str(error)[:120]})") from error
    if isinstance(made, DataLoader):
        made.num_workers, made.timeout, made.pin_memory = 0, 0, False
    return made


def iter_once(loader: Any) -> bool:
    """Whether a loader is an iterator itself, so that reading it uses it up."""
    return hasattr(loader, "__next__")


def _held(root: Any) -> Iterator[Any]:
    """Tensors, numpy arrays, and long lists and mappings of rows that an object holds, as far as attributes lead.

    Long lists of numbers are no rows but indices, which a sampler may shuffle in place.
    """
    seen: set[int] = set()
    todo = [root]
    while todo and len(seen) < 20_000:
        item = todo.pop()
        if id(item) in seen or isinstance(item, str | bytes | int | float | type(None) | type):
            continue
        seen.add(id(item))
        long = isinstance(item, list | dict) and len(item) > _LONG and not isinstance(next(iter(item)), int)
        if long or isinstance(item, Tensor | np.ndarray):
            yield item
        elif isinstance(item, dict):
            todo += item.values()
        elif isinstance(item, list | tuple):
            todo += item[:_LONG]
        elif hasattr(item, "__dict__"):
            todo += vars(item).values()


def _bytes(array: Any) -> int:
    return int(array.nbytes) if isinstance(array, np.ndarray) else array.numel() * array.element_size()


def unwrapped(set_up: SetUp) -> SetUp:
    """The same with the networks inside what torch.compile and data-parallel training put around them."""
    def inside(model: nn.Module | None) -> nn.Module | None:
        while isinstance(model, nn.Module):
            wrapper = type(model).__name__
            inner: Any = model
            if wrapper == "OptimizedModule":
                model = inner._orig_mod
            elif wrapper in ("DataParallel", "DistributedDataParallel"):
                model = inner.module
            else:
                break
        return model
    model, averaged = inside(set_up.model), inside(set_up.averaged)
    return set_up if model is set_up.model and averaged is set_up.averaged else replace(
        set_up, model=model, averaged=averaged)  # type: ignore[arg-type]


def to_device(value: Any, device: torch.device) -> Any:
    """Tensors in tuples, lists and mappings, on a device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict) or hasattr(value, "items"):
        return {k: to_device(v, device) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(to_device(v, device) for v in value) if not hasattr(value, "_fields") else value
    return value
