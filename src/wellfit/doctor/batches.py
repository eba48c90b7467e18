"""Batches of any form taken apart, models called on them, and their outputs read."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wellfit.doctor.copies import NotExaminable
from wellfit.doctor.set_up import SetUp

TARGETS = ("labels", "label", "targets", "target", "y")
INPUTS = ("input_ids", "pixel_values", "inputs_embeds", "inputs", "input", "x", "image", "images", "input_values", "features")


def taken_apart(batch: Any, model: nn.Module | None = None) -> tuple[Any, Any]:
    """(inputs, targets) of a batch; targets are None where there are none.

    ``(x, y)``; ``(x, mask, y)`` when the model needs two inputs; a mapping by the names that targets usually have.

    >>> taken_apart({"input_ids": 1, "labels": 2})
    ({'input_ids': 1}, 2)
    >>> taken_apart((1, 2))
    (1, 2)
    """
    if isinstance(batch, Mapping):
        names = [n for n in TARGETS if n in batch]
        inputs: Any = {k: v for k, v in batch.items() if k not in TARGETS}
        accepted = _parameters(model)
        if accepted is not None:
            wanted = {k: v for k, v in inputs.items() if k in accepted}
            plain = [k for k in INPUTS if k in inputs] or list(inputs)
            inputs = wanted or inputs.get(plain[0]) if plain else inputs
        return inputs, batch[names[0]] if names else None
    if isinstance(batch, tuple | list):
        if len(batch) < 2:
            return (batch[0] if batch else None), None
        wanted_count = _required(model)
        if len(batch) > 2 and 1 < wanted_count < len(batch):
            return tuple(batch[:wanted_count]), batch[wanted_count]
        return batch[0], batch[1]
    return batch, None


def _parameters(model: nn.Module | None) -> set[str] | None:
    """Names that forward takes, or None if it takes any."""
    if model is None:
        return None
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return None
    return None if any(p.kind is p.VAR_KEYWORD for p in parameters) else {p.name for p in parameters}


def _required(model: nn.Module | None) -> int:
    if model is None:
        return 1
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return 1
    return sum(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def call(model: nn.Module, inputs: Any) -> Any:
    """The model on inputs given as one value, a tuple of arguments or a mapping of keywords."""
    if isinstance(inputs, Mapping):
        accepted = _parameters(model)
        return model(**inputs) if accepted is None or set(inputs) <= accepted else model(inputs)
    if isinstance(inputs, tuple | list) and _required(model) != 1:
        return model(*inputs)
    return model(inputs)


def main_output(out: Any) -> Tensor:
    """The tensor of an output that predictions are read from: itself, ``.logits``, or the first floating one."""
    if isinstance(out, Tensor):
        return out
    for name in ("logits", "out", "prediction", "predictions", "last_hidden_state"):
        value = out.get(name) if isinstance(out, Mapping) else getattr(out, name, None)
        if isinstance(value, Tensor):
            return value
    found = tensors(out)
    if not found:
        raise NotExaminable("the model's output holds no tensor")
    return next((t for t in found if t.dim()), found[0])


def tensors(value: Any) -> list[Tensor]:
    """Floating tensors in nested tuples, lists and mappings.

    >>> [t.shape for t in tensors({"a": torch.zeros(2), "b": (torch.zeros(3), 1)})]
    [torch.Size([2]), torch.Size([3])]
    """
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() else []
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        return [t for v in value for t in tensors(v)]
    return []


def first_tensor(value: Any) -> Tensor | None:
    """The first tensor of any kind in nested inputs; arrays become tensors."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return torch.as_tensor(value)
    if isinstance(value, Mapping):
        value = [value[k] for k in sorted(value, key=lambda k: (k not in INPUTS, INPUTS.index(k) if k in INPUTS else 0))]
    if isinstance(value, tuple | list):
        return next((t for v in value if (t := first_tensor(v)) is not None), None)
    return None


def rows_of(value: Any, change: Callable[[Tensor], Tensor], count: int | None = None) -> Any:
    """``change`` applied to every tensor whose first axis holds the rows."""
    if count is None:
        first = first_tensor(value)
        count = len(first) if first is not None and first.dim() else 0
    if isinstance(value, Tensor):
        return change(value) if value.dim() and len(value) == count else value
    if isinstance(value, Mapping):
        return {k: rows_of(v, change, count) for k, v in value.items()}
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        return type(value)(rows_of(v, change, count) for v in value)
    return value


def mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """``change`` applied to the floating tensors of an output, whatever holds them."""
    if isinstance(value, Tensor):
        return change(value) if value.is_floating_point() else value
    if isinstance(value, Mapping):  # a Hugging Face output is one, and keeps its class
        changed = {k: mapped(v, change) for k, v in value.items()}
        return type(value)(**changed) if type(value) is not dict else changed
    if isinstance(value, tuple | list):
        items = [mapped(v, change) for v in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def device_of(model: nn.Module) -> torch.device:
    return next((t.device for t in (*model.parameters(), *model.buffers())), torch.device("cpu"))


def call_with_parts(function: Callable[..., Any], set_up: SetUp, **more: Any) -> Any:
    """Call a function of the set-up with the parts that its parameters name.

    Raises:
        NotExaminable: a parameter without default names nothing there is.
    """
    given: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        value = more.get(parameter.name, getattr(set_up, parameter.name, None))
        if value is None and parameter.name not in more:
            if parameter.default is parameter.empty:
                raise NotExaminable(f"{getattr(function, '__name__', 'a function')} wants {parameter.name!r}, which is not given")
            continue
        given[parameter.name] = value
    return function(**given)
