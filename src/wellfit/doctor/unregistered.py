"""Tensors that a model computes with and does not list among its parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from wellfit.doctor.batches import call, main_output, tensors
from wellfit.doctor.exam import Exam, NotExaminable

_MOST = 20_000  # graph nodes or objects looked at


def unregistered(exam: Exam) -> dict[str, Tensor]:
    """Trainable tensors that the model holds and its output depends on, that are neither its parameters nor in the optimizer.

    They lie in plain lists, dicts and attributes, where ``nn.Module`` does not look. A tensor that the training step is seen to
    change is left out: something else trains it. Names are paths such as ``hidden[0].weight``.
    """
    parts = exam.fresh()
    model = parts.model.eval()
    groups = parts.optimizer.param_groups if parts.optimizer is not None else []
    known = {id(p) for p in model.parameters()} | {id(p) for g in groups for p in g["params"]}
    held = {n: t for n, t in _held(model) if id(t) not in known}
    if not held:
        return {}
    try:
        inputs = exam.sample().inputs
    except NotExaminable:
        return {}
    with torch.enable_grad():
        out = call(model, inputs)
    reached = _leaves(tensors(out) or [main_output(out)])
    found = {n: t for n, t in held.items() if id(t) in reached}
    return {n: t for n, t in found.items() if n not in _changed(exam, found)} if found else {}


def _leaves(outputs: list[Tensor]) -> set[int]:
    """ids of the leaf tensors to which gradients of the outputs go."""
    todo: list[Any] = [t.grad_fn for t in outputs if t.grad_fn is not None]
    seen, leaves = set(todo), {id(t) for t in outputs if t.grad_fn is None and t.requires_grad}
    while todo and len(seen) < _MOST:
        node = todo.pop()
        if (variable := getattr(node, "variable", None)) is not None:
            leaves.add(id(variable))
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                todo.append(following)
    return leaves


def _held(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Leaf tensors that require a gradient, each with one path to it, as far as attributes, lists and mappings lead."""
    todo: list[tuple[str, Any]] = [("", model)]
    seen: set[int] = set()
    while todo and len(seen) < _MOST:
        path, item = todo.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, Tensor):
            if item.requires_grad and item.is_leaf:
                yield path, item
        elif isinstance(item, Mapping):
            todo += [(f"{path}[{key!r}]", value) for key, value in item.items()]
        elif isinstance(item, list | tuple):
            todo += [(f"{path}[{place}]", value) for place, value in enumerate(item)]
        elif isinstance(item, nn.Module):
            own = {k: v for k, v in vars(item).items() if not k.startswith("_")} | item._parameters | item._modules
            own |= {k: v for k, v in vars(item).items() if k.startswith("_") and k not in vars(_EMPTY)}
            todo += [(f"{path}.{name}" if path else name, value) for name, value in own.items()]


_EMPTY = nn.Module()


def _changed(exam: Exam, found: Mapping[str, Tensor]) -> set[str]:
    """Names of those that a run of the training step changes."""
    from wellfit.doctor.loop.steps import observed

    try:
        run = exam.once(observed)
    except NotExaminable:
        return set()
    return {n for n, t in _held(run.parts.model) if n in found and not torch.equal(t.detach(), found[n].detach())}
