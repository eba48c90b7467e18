"""``wellfit recipes``: which regularizers exist, and what each of them does."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wellfit.cli.guard import Debug, Json, guarded

if TYPE_CHECKING:
    from rich.console import Console

EPILOG = """
[bold]Examples[/bold]

wellfit recipes

wellfit recipes group_lasso

wellfit recipes --json | jq '.[].name'
"""


def recipes(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A regularizer, such as dropout.",
                                               show_default=False)] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show the regularizers: formula, fields with their ranges, when each one hurts."""
    with guarded(debug):
        from wellfit.cli.tune import identifier
        from wellfit.core.describe import describe
        from wellfit.core.registry import lookup, registered

        found = registered() if name is None else {identifier(name): lookup(identifier(name))}
        rows = {key: describe(cls) for key, cls in found.items()}
        if json:
            from wellfit.search.rundir import to_json

            sys.stdout.write(to_json(list(rows.values()) if name is None else next(iter(rows.values()))))
            return
        from rich.console import Console

        console = Console()
        if name is None:
            _list(rows, console)
        else:
            _one(next(iter(rows.values())), console)


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _list(rows: dict[str, dict[str, Any]], console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, row in rows.items():
        table.add_row(Text(name, style="bold"), Text(row["formula"]))
    console.print(table)
    console.print(Text("\nwellfit recipes NAME tells more; in Python: wf.Recipe(wf.Dropout(0.3), wf.L1(1e-4))", style="dim"))


def _one(row: dict[str, Any], console: Console) -> None:
    from rich.padding import Padding
    from rich.text import Text

    console.print(Text.assemble((row["title"], "bold"), (f"  {row['name']}, wf.{row['class']}", "dim")))
    console.print(Padding(Text(row["formula"]), (0, 0, 1, 2)))
    from wellfit.core.describe import LABELS, paragraphs

    for paragraph in paragraphs(row["text"])[1:]:
        label = next((name for name in LABELS if paragraph.startswith(name)), "")
        console.print(Padding(Text.assemble((label, "bold"), paragraph[len(label):]), (0, 0, 0 if label else 1, 0)))
    if row["fields"]:
        console.print(Text("\nFields", style="bold"))
    for field in row["fields"]:
        default = "required" if field["required"] else f"= {_number(field['default'])}"
        console.print(Text.assemble("  ", (field["name"], "bold"), f" {default}  ", (_limits(field), "dim")))
        if field.get("meaning"):
            console.print(Padding(Text(field["meaning"]), (0, 0, 0, 6)))
    console.print(Text.assemble(("\nActs in phase ", "bold"), ", ".join(row["phases"])))
    for label, pairs in (("Conflicts with", row["conflicts"]), ("Needs", row["requires"])):
        for other, reason in pairs.items():
            console.print(Text.assemble((f"{label} ", "bold"), f"{other}: {reason}"))


def _limits(field: dict[str, Any]) -> str:
    """Range, search range and unit of a field in a few words."""
    if field.get("kind") == "choice":
        return f"one of {', '.join(map(str, field['choices']))}" if field["choices"] else ""
    words = [field.get("range", "")]
    if ends := field.get("search"):
        scale = ", log scale" if field["scale"] == "log" else ""
        words.append(f"searched from {_number(ends[0])} to {_number(ends[1])}{scale}")
    words.append(f"unit: {field['unit']}" if field.get("unit") else "")
    return "; ".join(w for w in words if w)
