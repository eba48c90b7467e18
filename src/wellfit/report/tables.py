"""Tables, definition lists and the collapsible data behind a chart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from wellfit.report.markup import esc, p, tag

ROWS_SHOWN = 200
"""More rows than this are cut, with a line that says so."""


LONG = 34
"""A fact longer than this gets a line of its own."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: Sequence[int] = (), label: str = "Table",
          safe: Sequence[int] = (), marked: Sequence[int] = (), wide: Sequence[int] = (),
          class_: str | None = None) -> str:
    """A table that scrolls sideways inside its own box when the page is narrow.

    Args:
        head: column titles.
        rows: cells as text; the first cell of a row is its header.
        numeric: indices of columns set flush right in tabular figures.
        label: what a screen reader calls the scrolling box.
        safe: indices of columns whose cells are markup already.
        marked: indices of rows to set off.
        wide: indices of columns that hold sentences.
        class_: extra class of the table.
    """
    all_rows = list(rows)
    body = []
    for index, row in enumerate(all_rows[:ROWS_SHOWN]):
        cells = []
        for column, cell in enumerate(row):
            text = cell if column in safe else esc(cell)
            class_cell = "num" if column in numeric else "wide" if column in wide else None
            cells.append(tag("th", text, scope="row", class_=class_cell) if column == 0
                         else tag("td", text, class_=class_cell))
        body.append(tag("tr", *cells, class_="marked" if index in marked else None))
    header = tag("tr", *(tag("th", esc(title), scope="col", class_="num" if i in numeric else None)
                         for i, title in enumerate(head)))
    shown = tag("table", tag("thead", header), tag("tbody", *body), class_=class_)
    box = tag("div", shown, class_="scroll", role="region", tabindex="0", aria_label=label)
    left = len(all_rows) - ROWS_SHOWN
    return box + (p(f"{left:,} more rows are not shown.", class_="note") if left > 0 else "")


def details(title: str, content: str, *, open_: bool = False, class_: str | None = None) -> str:
    """A collapsible block; ``title`` is text, ``content`` is markup."""
    return tag("details", tag("summary", esc(title)), content, open=open_, class_=class_)


def facts(items: Iterable[tuple[str, str]]) -> str:
    """A definition list of text pairs; pairs without a value are left out."""
    rows = [tag("div", tag("dt", esc(name)), tag("dd", esc(value)), class_="long" if len(value) > LONG else None)
            for name, value in items if value]
    return tag("dl", *rows, class_="facts") if rows else ""


def thinned(rows: Sequence[Sequence[str]], most: int = 40) -> list[Sequence[str]]:
    """Evenly spread rows, first and last among them, when there are more than ``most``."""
    if len(rows) <= most:
        return list(rows)
    step = (len(rows) - 1) / (most - 1)
    return [rows[round(i * step)] for i in range(most)]
