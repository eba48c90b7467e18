"""What the variables of running functions hold: copies of the weights, or the weights themselves under another name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import BuiltinFunctionType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from wellfit.doctor.loop.calling import call
from wellfit.doctor.loop.copies import users_code
from wellfit.doctor.set_up import SetUp

_NO_STATE = (str, bytes, int, float, type, Optimizer, DataLoader, FunctionType, MethodType, BuiltinFunctionType, ModuleType)


@dataclass
class Held:
    """Names of variables.

    Attributes:
        aliases: that hold the live weights as if they were a copy; copies: that hold a copy.
        best: called "best..." and the live model itself.
    """

    aliases: list[str] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)
    best: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        return [*self.aliases, *self.copies, *self.best]


def held_above(parts: SetUp, frame: FrameType | None) -> Held:
    """By every function of the user's that is running, from ``frame`` up to the call of the watched one."""
    held = Held()
    while frame is not None and frame.f_code is not call.__code__:
        if users_code(frame.f_code):
            held_in(parts, frame, held)
        frame = frame.f_back
    return held


def held_in(parts: SetUp, frame: FrameType, held: Held) -> None:
    """By the variables of one function, three attributes, items or elements deep."""
    live = {p.data_ptr() for p in parts.model.parameters()}
    names = set(parts.model.state_dict())
    given = {id(v) for v in vars(parts).values()} - {id(parts.model)}
    seen: set[int] = set()

    def visit(label: str, item: Any, depth: int) -> None:
        if id(item) in seen or isinstance(item, _NO_STATE):
            return
        seen.add(id(item))
        if isinstance(item, nn.Module):
            if item is parts.model:
                if "best" in label.lower():
                    held.best.append(label)
            elif item is not parts.averaged and set(item.state_dict()) == names:
                held.copies.append(label)
            return
        if isinstance(item, Mapping):
            tensors = [v for k, v in item.items() if isinstance(v, Tensor) and k in names]
            if len(tensors) >= max(1, len(live) // 2):
                shared = any(t.data_ptr() in live for t in tensors)
                if not shared or "best" in label.lower() or not any(isinstance(t, nn.Parameter) for t in tensors):
                    (held.aliases if shared else held.copies).append(label)
                return
        if isinstance(item, list) and len(item) >= max(1, len(live)) and all(isinstance(t, Tensor) for t in item):
            if not any(isinstance(t, nn.Parameter) for t in item):
                (held.aliases if any(t.data_ptr() in live for t in item) else held.copies).append(label)
            return
        if depth >= 3:
            return
        if isinstance(item, Mapping):
            for key, inner in list(item.items())[:50]:
                visit(f"{label}[{key!r}]", inner, depth + 1)
        elif isinstance(item, tuple | list):
            for inner in item[:50]:
                visit(label, inner, depth + 1)
        elif hasattr(item, "__dict__"):
            for key, inner in list(vars(item).items())[:50]:
                visit(f"{label}.{key}", inner, depth + 1)

    for name, value in list(frame.f_locals.items()):
        if (value is not parts.model or "best" in name.lower()) and id(value) not in given:
            seen.discard(id(value))
            visit(name, value, 0)
