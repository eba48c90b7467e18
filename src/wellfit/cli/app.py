"""The ``wellfit`` command: its subcommands and its way out."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from wellfit.cli import check, demo, predict, recipes, report, tune
from wellfit.cli.guard import INTERRUPTED, reader_gone

_EPILOG = """
[bold]Examples[/bold]

wellfit demo

wellfit tune data.csv --target price --budget 5m --out RUN

wellfit predict RUN new.csv --out predictions.csv

wellfit recipes dropout

wellfit check train.py:build
"""



def flowing(text: str) -> str:
    """Paragraphs without line breaks of their own, so that the terminal's width decides."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


app = typer.Typer(name="wellfit", add_completion=False, no_args_is_help=True, rich_markup_mode="rich", epilog=_EPILOG,
                  pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]})
for _module, _command in ((demo, demo.demo), (tune, tune.tune), (predict, predict.predict), (report, report.report),
                          (recipes, recipes.recipes), (check, check.check)):
    app.command(_command.__name__, help=flowing(_command.__doc__ or ""), epilog=_module.EPILOG)(_command)


def _version(wanted: bool) -> None:
    if wanted:
        from wellfit import __version__

        typer.echo(f"wellfit {__version__}")
        raise typer.Exit


@app.callback()
def _wellfit(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True,
                                          help="Show the version and exit.")] = False,
) -> None:
    """Find, apply and prove the right regularization for a neural network."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status: 0, 1 (a fault of wellfit, or findings of `check`), 2 (a mistake in what it was
    given), 130 (Ctrl-C)."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        app(args=None if arguments is None else list(arguments), prog_name="wellfit")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BrokenPipeError:
        status = reader_gone()
    else:
        status = 0
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = reader_gone()
    return status
