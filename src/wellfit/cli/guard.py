"""What every command does about mistakes, faults, warnings and Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from wellfit.core.errors import WellfitError, WellfitWarning

FAULT, MISTAKE, INTERRUPTED, GONE = 1, 2, 130, 141  # the last is what a shell shows for a program that SIGPIPE ended

Debug = Annotated[bool, typer.Option("--debug", help="Show the whole traceback of an error.", rich_help_panel="Output")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else there.", rich_help_panel="Output")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the result.", rich_help_panel="Output")]


@contextlib.contextmanager
def guarded(debug: bool, resume: Callable[[], str | None] = lambda: None) -> Iterator[None]:
    """Turn whatever goes wrong inside into a message and an exit status.

    Args:
        debug: show tracebacks.
        resume: the command that goes on with what was begun, if anything was.
    """
    with warnings.catch_warnings():
        warnings.showwarning = _warned  # type: ignore[assignment]
        if not debug:
            warnings.simplefilter("ignore")
        warnings.simplefilter("always", WellfitWarning)
        try:
            yield
        except (typer.Exit, typer.Abort):
            raise
        except BrokenPipeError:
            raise typer.Exit(reader_gone()) from None
        except WellfitError as error:
            if debug:
                traceback.print_exc()
            complain(str(error))
            raise typer.Exit(MISTAKE) from None
        except KeyboardInterrupt:
            if debug:
                traceback.print_exc()
            command = resume()
            complain("interrupted." if command is None else f"interrupted. Nothing is lost; go on with\n  {command}", label="")
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            if debug:
                traceback.print_exc()
            complain(fault(error, resume(), debug))
            raise typer.Exit(FAULT) from None


def reader_gone() -> int:
    """Whoever read the output has left (``| head``): no more is written, and nobody is told. The exit status."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return GONE


def fault(error: BaseException, command: str | None, debug: bool) -> str:
    """Words for an error that is not the user's mistake, as far as one can tell."""
    what = " ".join(f"{type(error).__name__}: {error}".split())
    rows = [f"{what[:500]}"]
    if isinstance(error, OSError):
        rows = [f"the system refused: {error.strerror or error}" + (f" ({error.filename})" if error.filename else "")]
    elif isinstance(error, MemoryError):
        rows = ["there is not enough memory."]
    if command is not None:
        rows.append(f"  what is done is kept; go on with: {command}")
    if not debug:
        rows.append("  the whole traceback: the same command with --debug")
    return "\n".join(rows)


def complain(message: str, *, label: str = "error") -> None:
    """A message on stderr, coloured where that is wanted."""
    _say(message, f"{label}: " if label else "", "bold red")


def note(message: str, *, warning: bool = False) -> None:
    """A remark on stderr."""
    _say(message, "warning: " if warning else "", "yellow")


def _say(message: str, label: str, style: str) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    for number, line in enumerate(for_shell(message).split("\n")):
        text = Text(label, style=style).append(line, style="not bold default") if label and number == 0 else Text(line)
        # a command stays on one line, so that it can be copied
        console.print(text, soft_wrap=not console.is_terminal or line.lstrip().startswith("wellfit "))


_PYTHON = (
    (re.compile(r"\b(task|group|time|encoding|metric)='([^']*)'"), lambda m: f"--{m[1]} {shlex.quote(m[2])}"),
    (re.compile(r"\bdrop=\['([^']*)'\]"), lambda m: f"--drop {shlex.quote(m[1])}"),
    (re.compile(r"\b(folds|epochs)=(\d+)"), lambda m: f"--{m[1]} {m[2]}"),
    (re.compile(r" \(id_policy='keep' keeps them\)"), lambda m: ""),
)  # what the library says in Python, as one types it in a shell


def for_shell(message: str) -> str:
    """A message of the library with its Python arguments as options.

    >>> for_shell("leave it out with drop=['row id'], or pass group='patient'")
    "leave it out with --drop 'row id', or pass --group patient"
    """
    for pattern, option in _PYTHON:
        message = pattern.sub(option, message)
    return message


def _warned(message: Any, category: type[Warning], filename: str, lineno: int, file: Any = None,
            line: str | None = None) -> None:
    if issubclass(category, WellfitWarning):
        note(str(message), warning=True)
    else:
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))


def comma_list(text: str | None) -> list[str] | None:
    """``a,b`` as a list; None stays None.

    >>> comma_list("l1, dropout,"), comma_list(None)
    (['l1', 'dropout'], None)
    """
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def quoted_path(path: object) -> str:
    return shlex.quote(str(path))
