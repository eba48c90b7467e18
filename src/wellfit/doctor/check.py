"""``wf.check``: examine a model with its optimizer and data, or a script that builds them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from wellfit.core.errors import WellfitError
from wellfit.core.reference import load_reference
from wellfit.doctor.registry import examine
from wellfit.doctor.report import Place, Report
from wellfit.doctor.set_up import SetUp

_IGNORE = re.compile(r"#\s*wellfit:\s*ignore\[([^\]]*)\]")
FUNCTIONS = ("train_step", "validate", "fit", "finalize")


def check(model: Any, optimizer: Any = None, train_loader: Any = None, val_loader: Any = None, *,
          suppress: Collection[str] = (), only: Collection[str] = (), **parts: Any) -> Report:
    """Find regularization mistakes in a training set-up, mostly by measuring on copies of it.

    ::

        report = wf.check(model, optimizer, train_loader, val_loader, criterion=criterion, epochs=90)
        print(report)
        assert not report.errors

    Nothing that is given is changed: not weights, statistics, modes, the optimizer's state, loaders, nor any random state.
    What is not given is not examined, and the report says so.

    Args:
        model: a network; or a mapping of parts, or a :class:`~wellfit.doctor.set_up.SetUp`, as ``build()`` of a script returns.
        optimizer, train_loader, val_loader: as they are used in training.
        suppress: ids of checks to leave out.
        only: ids of the only checks to make.
        **parts: more parts of a :class:`~wellfit.doctor.set_up.SetUp`: criterion, test_loader, scheduler, averaged, train_step,
            validate, fit, finalize, epochs, declared.

    Raises:
        WellfitError: a part or an id that does not exist, or no model.
    """
    named = {"optimizer": optimizer, "train_loader": train_loader, "val_loader": val_loader, **parts}
    given = {k: v for k, v in named.items() if v is not None}
    if not given:
        set_up = SetUp.of(model)
    elif isinstance(model, dict):
        set_up = SetUp.of({**model, **given})
    elif isinstance(model, SetUp):
        raise WellfitError("A whole set-up was given, and parts beside it.", received=", ".join(given),
                           expected="parts inside the SetUp", action="dataclasses.replace(set_up, ...)")
    else:
        set_up = SetUp.of({"model": model, **given})
    report = examine(set_up, suppress=suppress, only=only)
    report.places = places(set_up)
    return report


def load_set_up(reference: str) -> tuple[SetUp, dict[str, Place], set[str]]:
    """What ``package.module:build`` or ``path/to/script.py:build`` makes: (set-up, lines of its functions, suppressed ids).

    Raises:
        WellfitError: it cannot be imported or fails, or makes no set-up.
    """
    expected = "package.module:build or path/to/script.py:build, a function that returns a dict with model, optimizer, " \
               "train_loader, ..."
    found = load_reference(reference, expected)
    made = found.value
    if callable(made) and not isinstance(made, SetUp) and not hasattr(made, "parameters"):
        try:
            made = made()
        except WellfitError:
            raise
        except Exception as error:
            raise WellfitError(f"{found.name} fails.", received=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}",
                               expected="a function without arguments that returns a dict with model, optimizer, ...",
                               action=f"call {reference.replace(':', '.')}() and see where") from error
    set_up = SetUp.of(made)
    lines = places(set_up)
    files = {Path(p.file) for p in lines.values()}
    if (file := getattr(found.module, "__file__", None)) is not None:
        files.add(Path(file))
        here = place_of(found.value) if callable(found.value) else None
        lines["build"] = here or Place(file, _line_of(Path(file), found.name))
    return set_up, lines, {id for f in files for id in suppressed_in(f)}


def places(set_up: SetUp) -> dict[str, Place]:
    """The lines at which the functions of a set-up begin."""
    found = {name: place_of(getattr(set_up, name)) for name in FUNCTIONS if getattr(set_up, name) is not None}
    return {name: place for name, place in found.items() if place is not None}


def place_of(function: Callable[..., Any]) -> Place | None:
    """Where a function is defined; None where that cannot be known."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return None if code is None else Place(code.co_filename, code.co_firstlineno)


def _line_of(file: Path, name: str) -> int:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((number for number, line in enumerate(lines, 1) if re.match(rf"{re.escape(name)}\s*[:=]", line)), 1)


def suppressed_in(file: Path) -> list[str]:
    """Ids in comments ``# wellfit: ignore[id, id]`` anywhere in a source file."""
    if not file.is_file():
        return []
    text = file.read_text(encoding="utf-8", errors="replace")
    return [id.strip() for found in _IGNORE.findall(text) for id in found.split(",") if id.strip()]
