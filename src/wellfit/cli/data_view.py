"""What was inferred about a table, in a few lines."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from wellfit.cli.guard import for_shell
from wellfit.report.numbers import NAMES, count, significant

if TYPE_CHECKING:
    from rich.console import Group

    from wellfit.search.prepare import Prepared
    from wellfit.search.settings import Settings

_CLASSES, _NOTES = 6, 8  # shown at most


def facts(prepared: Prepared, settings: Settings) -> list[tuple[str, str]]:
    """Label and sentence, for what is worth knowing before training starts."""
    table, split = prepared.table, prepared.split
    kinds = Counter(c.kind for c in table.columns)
    used = [f"{kinds[k]} {k}" for k in ("numeric", "categorical", "boolean", "date") if kinds[k]]
    missing = sum(c.n_missing > 0 for c in table.columns if c.kind != "ignored")
    columns = ", ".join(used) + (f"; {missing} of them with missing cells" if missing else "")
    if kinds["ignored"]:
        columns += f"; {kinds['ignored']} not used"
    folds = len(split.folds)
    learning = f"{folds}-fold cross-validation" if folds > 1 else f"{count(len(split.validation))} of them for choosing"
    rows = (f"{count(len(table))}: {count(len(split.development))} to learn from ({learning}), "
            f"{count(len(split.test))} for the test")
    metric = NAMES.get(prepared.metric, prepared.metric)
    if prepared.weighting == "balanced":
        metric += "; classes weigh the same in the loss"
    network = (f"{'-'.join(map(str, settings.hidden))} {settings.activation}, {settings.epochs} epochs of batches of "
               f"{settings.batch_size}")
    return [("target", f"{table.target}: {_target(prepared)}"), ("rows", rows), ("columns", columns), ("metric", metric),
            ("network", network)]


def _target(prepared: Prepared) -> str:
    table = prepared.table
    if table.class_names is None:
        y = table.y
        return f"numbers from {significant(float(y.min()))} to {significant(float(y.max()))} (regression)"
    sizes = np.bincount(table.y, minlength=len(table.class_names))
    named = [f"{name} {count(int(size))}" for name, size in zip(table.class_names, sizes, strict=True)]
    if len(named) > _CLASSES:
        named = [*named[:_CLASSES - 1], f"{len(named) - _CLASSES + 1} more"]
    return f"{len(table.class_names)} classes ({', '.join(named)})"


def data_view(prepared: Prepared, settings: Settings) -> Group:
    """The facts as a grid, with the notes below: warnings first."""
    from rich.console import Group
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in facts(prepared, settings):
        grid.add_row(Text(f"  {label}", style="dim"), Text(text))
    notes = sorted(prepared.notes, key=lambda n: n.level != "warning")
    for found in notes[:_NOTES]:
        label, style = ("  warning", "yellow") if found.level == "warning" else ("  note", "dim")
        grid.add_row(Text(label, style=style), Text(for_shell(found.message)))
    if len(notes) > _NOTES:
        grid.add_row("", Text(f"{len(notes) - _NOTES} more notes in run.json", style="dim"))
    return Group(Text(prepared.table.name, style="bold"), grid)
