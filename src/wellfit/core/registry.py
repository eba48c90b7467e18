"""The registry: every regularizer by its id. Recipes load through it and through nothing else."""

from __future__ import annotations

import dataclasses
import importlib
from typing import TypeVar

from wellfit.core.errors import WellfitError, nearest
from wellfit.core.phases import phases_of
from wellfit.core.regularizer import Regularizer

_REGISTRY: dict[str, type[Regularizer]] = {}
_SHIPPED = "wellfit.regularizers"  # by name and when first looked for: the registry is below what it holds

R = TypeVar("R", bound=type[Regularizer])


def register(cls: R) -> R:
    """Class decorator: make a regularizer known under the snake_case of its name."""
    name = cls.identifier()
    if not dataclasses.is_dataclass(cls) or not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise WellfitError(f"{cls.__name__} is no frozen dataclass.", action="decorate it with @dataclass(frozen=True)")
    if name in _REGISTRY and _REGISTRY[name] is not cls:
        raise WellfitError(f"A regularizer named {name!r} exists already.", received=f"{cls.__module__}.{cls.__name__}",
                           expected="a new name", action="rename the class")
    if not phases_of(cls):
        raise WellfitError(f"{cls.__name__} implements no phase.", expected="a method of one of the protocols in core/phases.py")
    _REGISTRY[name] = cls
    return cls


def lookup(name: str) -> type[Regularizer]:
    """The class registered under ``name``."""
    importlib.import_module(_SHIPPED)
    if not isinstance(name, str) or name not in _REGISTRY:
        hint = nearest(str(name), _REGISTRY)
        raise WellfitError("Unknown regularizer.", received=repr(name), expected="one of " + ", ".join(sorted(_REGISTRY)),
                           action=f"did you mean {hint}?" if hint else "see `wellfit recipes`")
    return _REGISTRY[name]


def registered() -> dict[str, type[Regularizer]]:
    """All regularizers by id, in alphabetical order."""
    importlib.import_module(_SHIPPED)
    return dict(sorted(_REGISTRY.items()))
