"""``wellfit check``: mistakes of regularization in somebody's own training script."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wellfit.cli.guard import Debug, Json, comma_list, guarded, note, quoted_path

if TYPE_CHECKING:
    from rich.console import Console

    from wellfit.doctor.report import Report

FOUND = 1

EPILOG = """
[bold]Examples[/bold]

wellfit check train.py:build

wellfit check mypackage.training:build --fail-on warning --sarif doctor.sarif

wellfit check train.py:build --only overlapping-splits,duplicate-rows --json

wellfit check train.py:build --fix groups.py

wellfit check --list

[bold]build[/bold] is a function that returns a dict with model and, as far as there is: optimizer, criterion, train_loader,
val_loader, test_loader, scheduler, averaged, train_step, validate, fit, finalize, epochs, declared. A comment
# wellfit: ignore\\[check-id] in the script leaves a check out.

Exit status: 0 nothing at or above --fail-on, 1 something, 2 a mistake in what was given.
"""


class FailOn(StrEnum):
    error = "error"
    warning = "warning"
    never = "never"


def check(
    reference: Annotated[str | None, typer.Argument(metavar="MODULE:BUILD", show_default=False,
                                                    help="package.module:build or path/to/script.py:build.")] = None,
    suppress: Annotated[str | None, typer.Option(metavar="ID,ID", help="Checks to leave out.", show_default=False)] = None,
    only: Annotated[str | None, typer.Option(metavar="ID,ID", help="The only checks to make.", show_default=False)] = None,
    fail_on: Annotated[FailOn, typer.Option(help="The mildest finding that ends with status 1.")] = FailOn.error,
    sarif: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the findings as SARIF 2.1.0.", show_default=False,
                                               rich_help_panel="Output")] = None,
    fix: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the corrected parameter groups as Python code.",
                                             show_default=False, rich_help_panel="Output")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Show every check, and why it matters.", rich_help_panel="Output")] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Find regularization mistakes in a model, its optimizer, its data and its training loop, by measuring on copies of them.

    Nothing is trained for long, and nothing of the script's own objects is changed.
    """
    with guarded(debug):
        if list_:
            _list(json)
            return
        status = _check(reference, comma_list(suppress) or [], comma_list(only) or [], fail_on, sarif, fix, json, debug)
        if status:
            raise typer.Exit(status)


def _check(reference: str | None, suppress: list[str], only: list[str], fail_on: FailOn, sarif: Path | None, fix: Path | None,
           json: bool, debug: bool) -> int:
    from wellfit.core.errors import WellfitError

    if reference is None:
        raise WellfitError("There is nothing to check.", expected="package.module:build or path/to/script.py:build",
                           action="wellfit check train.py:build, or wellfit check --list")
    if Path(reference).is_dir():
        raise WellfitError("A folder cannot be checked.", received=reference,
                           expected="package.module:build or path/to/script.py:build: live objects, not the files of a run")
    from wellfit.doctor.check import load_set_up
    from wellfit.doctor.registry import examine

    set_up, lines, ignored = load_set_up(reference)
    report = examine(set_up, suppress={*suppress, *ignored}, only=only, debug=debug)
    report.places = lines
    if fix is not None:
        from wellfit.doctor.fix import check_fixable, source_code

        check_fixable(set_up)
        _write(fix, source_code(set_up))
        note(f"the corrected groups are in {quoted_path(fix)}: from {fix.stem} import parameter_groups")
    if sarif is not None:
        _write(sarif, report.to_sarif() + "\n")
    if json:
        sys.stdout.write(report.to_json() + "\n")
    else:
        from rich.console import Console

        _show(report, Console())
    if fail_on is FailOn.never:
        return 0
    return FOUND if report.at_least("error" if fail_on is FailOn.error else "warning") else 0


def _write(path: Path, text: str) -> None:
    from wellfit.core.errors import WellfitError

    if path.is_dir() or not path.parent.is_dir():
        raise WellfitError("There is no such place for a file.", received=str(path), expected="a file in a folder that is there")
    path.write_text(text, encoding="utf-8")


_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def _show(report: Report, console: Console) -> None:
    from rich.padding import Padding
    from rich.text import Text

    for f in report:
        console.print(Text.assemble((f.severity, _STYLES[f.severity]), "  ", (f.id, "bold"), f"  {f.where}  ",
                                    (f"[{f.evidence}]", "dim")))
        console.print(Padding(Text(f.measured), (0, 0, 0, 2)))
        console.print(Padding(Text(f"{f.why} ({f.source})", style="dim"), (0, 0, 0, 2)))
        for line in f.fix.splitlines():
            console.print(Text(f"    {line}", style="green"), soft_wrap=True)
        console.print()
    for reason, ids in _grouped(report.skipped).items():
        console.print(Text(f"not examined, {reason}: {', '.join(ids)}", style="dim"))
    console.print(Text(report.headline, style="bold"))


def _grouped(skipped: dict[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for id, reason in skipped.items():
        found.setdefault(reason, []).append(id)
    return found


def _list(json: bool) -> None:
    from wellfit.doctor.registry import registered

    checks = registered().values()
    if json:
        import json as module

        rows = [{"id": c.id, "severity": c.severity, "evidence": c.evidence, "needs": list(c.needs), "why": c.why,
                 "source": c.source}
                for c in checks]
        sys.stdout.write(module.dumps(rows, indent=2, ensure_ascii=False) + "\n")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for _ in range(3):
        table.add_column(overflow="fold")
    for c in checks:
        table.add_row(Text(c.id, style="bold"), Text(c.severity, style=_STYLES[c.severity]), Text(c.why))
    Console().print(table)
