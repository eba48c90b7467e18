"""``wellfit report``: write a run's report again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from wellfit.cli.guard import Debug, Json, guarded

EPILOG = """
[bold]Examples[/bold]

wellfit report RUN
"""


def report(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A directory that wellfit tune or wellfit diagnose wrote.",
                                       show_default=False)],
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write RUN/report.html again, and print its path.

    One file that needs no network: the verdict, learning curves, what every method bought, the recipe to paste.
    """
    with guarded(debug):
        from wellfit.report import write_report

        path = write_report(Path(run).expanduser())
        if json:
            import json as lines

            sys.stdout.write(lines.dumps({"report": str(path), "bytes": path.stat().st_size}, ensure_ascii=False) + "\n")
        else:
            print(path)
