"""Running a user's function: with the parts it names, silently, in a directory of its own."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from wellfit.doctor.copies import NotExaminable
from wellfit.doctor.randomness import random_state_kept
from wellfit.doctor.set_up import SetUp


class Enough(BaseException):
    """Ends a run that has been watched long enough. Not an Exception, so that a user's ``except Exception`` lets it pass."""


class Interrupt(KeyboardInterrupt):
    """A Ctrl-C that the doctor makes, to see what is kept after one."""


def parts_of(set_up: SetUp, **more: Any) -> dict[str, Any]:
    """What a function can ask for by name."""
    names = ("model", "optimizer", "criterion", "train_loader", "val_loader", "test_loader", "scheduler", "averaged", "epochs",
             "declared", "validate", "train_step")
    return {**{n: getattr(set_up, n) for n in names if getattr(set_up, n) is not None}, **more}


def call(function: Callable[..., Any], parts: Mapping[str, Any]) -> Any:
    """``function`` with those of the parts that it names.

    Raises:
        NotExaminable: it needs something that is not there.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise NotExaminable("the parameters of the function cannot be read") from error
    positional, named = [], {}
    for name, parameter in signature.parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if name not in parts:
            if parameter.default is parameter.empty:
                who = getattr(function, "__name__", "the function")
                raise NotExaminable(f"{who} asks for {name}, which the set-up does not have")
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY:
            positional.append(parts[name])
        else:
            named[name] = parts[name]
    return function(*positional, **named)


@contextlib.contextmanager
def undisturbed(seed: int = 0) -> Iterator[None]:
    """No output, no warnings, files in a temporary directory, random states put back."""
    place, level = os.getcwd(), logging.root.manager.disable
    threads = torch.get_num_threads()
    default, deterministic = torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, random_state_kept(seed), torch.enable_grad(), \
            warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(place)
            logging.disable(level)
            torch.set_default_dtype(default)
            torch.use_deterministic_algorithms(deterministic)
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
