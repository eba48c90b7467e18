"""A training whose functions can be run: parts copied together with the functions' closures, defaults, globals and hooks."""

from __future__ import annotations

import contextlib
import copy
import functools
import sysconfig
import types
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from wellfit.doctor.copies import NotExaminable
from wellfit.doctor.set_up import SetUp

LOADERS = ("train_loader", "val_loader", "test_loader")
_LIBRARIES = tuple({str(Path(sysconfig.get_path(name))) for name in ("stdlib", "purelib", "platlib")})
_PACKAGE = str(Path(__file__).resolve().parents[2])
_ATOMS = (str, bytes, int, float, complex, bool, type(None), type, types.ModuleType, types.BuiltinFunctionType, types.CodeType,
          types.FrameType, torch.dtype, torch.device, torch.Size)
_LARGE = 1 << 26  # bytes: a tensor without gradient above that is shared, not copied


def copied(set_up: SetUp, loaders: Mapping[str, Any] | None = None) -> SetUp:
    """The same training on copies, which can be run without anything of the given one changing.

    One deep copy of all parts. Functions come with copies of what they close over and of the globals they name, so that an
    average, a scaler or a plan inside them belongs to the copied model. Optimizers keep their hooks and extra attributes.

    Args:
        set_up: what was given.
        loaders: part -> loader that takes its place, wherever the functions find it.

    Raises:
        NotExaminable: something essential cannot be copied.
    """
    given = {f.name: getattr(set_up, f.name) for f in fields(set_up)}
    memo: dict[int, Any] = {}
    for name in LOADERS:
        loader = given.pop(name)
        if loader is not None:
            new = (loaders or {}).get(name, loader)
            memo[id(loader)] = new
            data = getattr(loader, "dataset", None)
            if data is not None:
                memo[id(data)] = getattr(new, "dataset", data)
    found = _Reachable(given)
    keep: list[Any] = []  # what memo points at by id has to live as long as memo
    for tensor in found.tensors:
        if tensor.is_leaf and not tensor.requires_grad and tensor.numel() * tensor.element_size() > _LARGE:
            memo.setdefault(id(tensor), tensor)
        elif not tensor.is_leaf:
            memo.setdefault(id(tensor), tensor.detach().clone())
            keep.append(tensor)
    shells: list[tuple[types.FunctionType, types.FunctionType]] = []
    globals_of: dict[int, dict[str, Any]] = {}
    for function in found.functions:
        space = function.__globals__
        if is_users(function):
            space = globals_of.setdefault(id(space), dict(space))
        cells = tuple(types.CellType() for _ in function.__closure__ or ())
        shell = types.FunctionType(function.__code__, space, function.__name__, None, cells or None)
        shell.__qualname__, shell.__module__, shell.__doc__ = function.__qualname__, function.__module__, function.__doc__
        shells.append((function, shell))
        memo[id(function)] = shell
    try:
        parts = {name: copy.deepcopy(value, memo) if not callable(value) or isinstance(value, nn.Module) else _callable(value, memo)
                 for name, value in given.items()}
    except Exception as error:
        raise NotExaminable(f"the set-up cannot be copied ({type(error).__name__}: {str(error)[:120]})") from error
    for function, shell in shells:
        _fill(function, shell, memo)
    for optimizer in found.optimizers:
        if id(optimizer) in memo:
            _whole(optimizer, memo[id(optimizer)], memo)
    for tensor in found.tensors:
        _hooks(tensor, memo)
    return replace(set_up, **parts, **{name: (loaders or {}).get(name, getattr(set_up, name)) for name in LOADERS})


def is_users(function: types.FunctionType) -> bool:
    """Whether a function was written by the user: neither by a library nor in this package."""
    return users_code(function.__code__)


def users_code(code: types.CodeType) -> bool:
    return not code.co_filename.startswith((*_LIBRARIES, _PACKAGE, "<frozen"))


def _callable(value: Any, memo: dict[int, Any]) -> Any:
    if isinstance(value, functools.partial):
        return functools.partial(_callable(value.func, memo), *_soft(list(value.args), memo), **_soft(dict(value.keywords), memo))
    return copy.deepcopy(value, memo)


def _soft(value: Any, memo: dict[int, Any]) -> Any:
    """A copy, or the thing itself where it cannot be copied (a file, a lock, a generator)."""
    try:
        return _callable(value, memo) if callable(value) and not isinstance(value, nn.Module) else copy.deepcopy(value, memo)
    except Exception:
        return value


def _fill(function: types.FunctionType, shell: types.FunctionType, memo: dict[int, Any]) -> None:
    for old, new in zip(function.__closure__ or (), shell.__closure__ or (), strict=True):
        try:
            content = old.cell_contents
        except ValueError:  # not bound yet
            continue
        new.cell_contents = _soft(content, memo)
    shell.__defaults__ = None if function.__defaults__ is None else tuple(_soft(v, memo) for v in function.__defaults__)
    if function.__kwdefaults__:
        shell.__kwdefaults__ = {k: _soft(v, memo) for k, v in function.__kwdefaults__.items()}
    shell.__dict__.update({k: _soft(v, memo) for k, v in vars(function).items()})
    if is_users(function):
        for name in _names(function.__code__):
            if name in function.__globals__ and not isinstance(function.__globals__[name], _ATOMS):
                shell.__globals__[name] = _soft(function.__globals__[name], memo)


def _names(code: types.CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names(constant)
    return names


def _whole(old: Optimizer, new: Optimizer, memo: dict[int, Any]) -> None:
    """What an optimizer's deep copy leaves out: hooks, and attributes of classes of one's own."""
    for name, value in vars(old).items():
        if name in ("defaults", "state", "param_groups") or (name == "step" and hasattr(value, "_wrapped_by_lr_sched")):
            continue
        if (name.startswith("_optimizer_") and name.endswith("hooks")) or name not in vars(new):
            setattr(new, name, _soft(value, memo))
    new._opt_called = True  # type: ignore[attr-defined]  # a scheduler asks for it


def _hooks(tensor: Tensor, memo: dict[int, Any]) -> None:
    new = memo.get(id(tensor))
    if not isinstance(new, Tensor) or new is tensor or not new.requires_grad or not tensor.is_leaf:
        return
    for hook in (getattr(tensor, "_backward_hooks", None) or {}).values():
        new.register_hook(_suspendable(_soft(hook, memo)))
    for hook in (getattr(tensor, "_post_accumulate_grad_hooks", None) or {}).values():
        new.register_post_accumulate_grad_hook(_soft(hook, memo))


_suspended = [0]


@contextlib.contextmanager
def gradient_hooks_suspended() -> Iterator[None]:
    """Hooks on the gradients of copied weights do nothing inside: for gradients that the doctor asks for."""
    _suspended[0] += 1
    try:
        yield
    finally:
        _suspended[0] -= 1


def _suspendable(hook: Any) -> Any:
    return lambda gradient: None if _suspended[0] else hook(gradient)


class _Reachable:
    """Functions, optimizers and tensors that a set-up leads to."""

    def __init__(self, root: Any):
        self.functions: list[types.FunctionType] = []
        self.optimizers: list[Optimizer] = []
        self.tensors: list[Tensor] = []
        seen: dict[int, Any] = {}
        todo = [root]
        while todo and len(seen) < 200_000:
            item = todo.pop()
            if isinstance(item, _ATOMS) or id(item) in seen:
                continue
            seen[id(item)] = item
            if isinstance(item, Tensor):
                self.tensors.append(item)
                todo += (getattr(item, "_backward_hooks", None) or {}).values()
                todo += (getattr(item, "_post_accumulate_grad_hooks", None) or {}).values()
                continue
            if isinstance(item, types.FunctionType):
                if not (item.__closure__ or is_users(item)):
                    continue
                self.functions.append(item)
            elif isinstance(item, Optimizer):
                self.optimizers.append(item)
            todo += self._below(item)

    def _below(self, item: Any) -> Iterator[Any]:
        if isinstance(item, types.FunctionType):
            for cell in item.__closure__ or ():
                try:
                    yield cell.cell_contents
                except ValueError:
                    pass
            yield from item.__defaults__ or ()
            yield from (item.__kwdefaults__ or {}).values()
            if is_users(item):
                yield from (item.__globals__[n] for n in _names(item.__code__) if n in item.__globals__)
        elif isinstance(item, types.MethodType):
            yield item.__self__
        elif isinstance(item, functools.partial):
            yield from (item.func, item.args, item.keywords)
        elif isinstance(item, Mapping):
            yield from list(item.values())[:20_000]
        elif isinstance(item, list | tuple | set | frozenset):
            yield from list(item)[:20_000]
        for name in getattr(type(item), "__slots__", ()) if not isinstance(item, Mapping) else ():
            if isinstance(name, str) and hasattr(item, name):
                yield getattr(item, name)
        yield from vars(item).values() if hasattr(item, "__dict__") and not isinstance(item, types.FunctionType) else ()
