"""What every chart shares: colours, data, the frame of a specification and the figure around it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from wellfit.report.markup import esc, json_script, p, tag
from wellfit.report.tables import details

Spec = dict[str, Any]

NONE, BEST, SINGLE, BASELINE = "var(--none)", "var(--best)", "var(--single)", "var(--baseline)"
INK, MUTED, RULE, PAPER = "var(--ink)", "var(--muted)", "var(--axis)", "var(--paper)"

CLASS_COLOURS = 8
"""How many class colours the page defines (``--class-0`` and so on); more classes reuse them with other shapes."""
CLASS_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")

SWATCHES = {
    "circle": '<circle cx="9" cy="6" r="4.2"/>',
    "square": '<rect x="5" y="2" width="8" height="8"/>',
    "triangle-up": '<path d="M9 1.2 14 10H4z"/>',
    "triangle-down": '<path d="M9 10.8 4 2h10z"/>',
    "diamond": '<path d="M9 .6 13 6 9 11.4 5 6z"/>',
    "cross": '<path d="M7.2 1.5h3.6v2.7h2.7v3.6h-2.7v2.7H7.2V7.8H4.5V4.2h2.7z"/>',
    "stroke": '<rect x="5" y="5" width="8" height="2"/>',
    "line": '<rect y="4.8" width="18" height="2.4"/>',
    "dashed": '<path d="M0 5h5v2H0zM6.5 5h5v2h-5zM13 5h5v2h-5z"/>',
    "band": '<rect width="18" height="12" opacity=".22"/>',
}
"""The shapes of a legend, drawn in an 18 by 12 box in the current colour."""


def columns(**values: Sequence[Any]) -> Spec:
    """Data by column, which the page's script turns into rows: half the size of repeating every field name."""
    return {"columns": {name: list(column) for name, column in values.items()}}


def frame(description: str, height: int, layer: list[Spec], **rest: Any) -> Spec:
    """A layered chart as wide as its container."""
    return {"description": description, "width": "container", "height": height,
            "autosize": {"type": "fit-x", "contains": "padding"}, "layer": layer, **rest}


def field(name: str, kind: str = "quantitative", **rest: Any) -> Spec:
    """An encoding of one of our own fields (their names never come from the user)."""
    return {"field": name, "type": kind, **rest}


def tooltip(**titles: str) -> list[Spec]:
    """A tooltip of ready-made texts: field name to the words in front of it."""
    return [field(name, "nominal", title=safe_title(title)) for name, title in titles.items()]


def safe_title(title: str) -> str:
    """A tooltip's row title; two words mean something else to vega-tooltip and get a trailing space."""
    return f"{title} " if title.strip().lower() in ("title", "image") else title


def hover(data: Spec, x: Spec, shown: list[Spec], count: int) -> Spec:
    """Invisible full-height rules that carry the tooltip of a line chart, one for each place on the x axis."""
    return {"name": "hover", "data": data,
            "mark": {"type": "rule", "strokeOpacity": 0, "color": MUTED, "aria": False,
                     "strokeWidth": {"expr": f"max(3, width / {max(1, count)})"}},
            "encoding": {"x": x, "tooltip": shown}}


def padded(values: Iterable[float | None], left: float = 0.06, right: float = 0.06,
           include: Iterable[float | None] = ()) -> list[float]:
    """A domain around the values with room on both sides, never empty."""
    known = [v for v in (*values, *include) if v is not None]
    if not known:
        return [0.0, 1.0]
    low, high = min(known), max(known)
    span = (high - low) or abs(high) * 0.1 or 1.0
    return [low - left * span, high + right * span]


def legend(items: Iterable[tuple[str, str, str]]) -> str:
    """A legend in HTML, so that it wraps on a narrow page: ``(swatch, colour, text)``."""
    entries = [tag("li", f'<svg class="swatch" viewBox="0 0 18 12" width="18" height="12" aria-hidden="true" '
                   f'focusable="false" style="fill:{esc(colour)}">{SWATCHES[shape]}</svg>', tag("bdi", esc(text)))
               for shape, colour, text in items]
    return tag("ul", *entries, class_="legend")


def figure(spec: Spec, caption: str, data_table: str, *, title: str = "", key: str = "",
           open_table: bool = False) -> str:
    """A chart with its caption and, in a collapsed block, its numbers as a table.

    Args:
        spec: the Vega-Lite specification; its ``description`` is what a screen reader says.
        caption: text below the chart; empty for none.
        data_table: markup of the table with the same numbers.
        title: heading above the chart, for a panel among others.
        key: markup of a legend.
        open_table: whether the table is part of the reading and stands open.
    """
    height = int(spec["height"]) + 26
    return tag("figure",
               tag("h3", esc(title)) if title else "",
               key,
               tag("div", class_="plot", style=f"min-height:{height}px", data_chart=True),
               tag("script", json_script(spec), type="application/json"),
               tag("figcaption", esc(caption)) if caption else "",
               details("Data as a table", data_table, open_=open_table,
                       class_="data reading" if open_table else "data"),
               class_="chart", role="group", aria_label=title or spec["description"])


def panels(figures: Sequence[str], class_: str = "pair") -> str:
    """Charts beside each other where there is room, below each other where there is not."""
    return tag("div", *figures, class_=class_)


def note(*sentences: str) -> str:
    """A small remark; text."""
    return p(esc(" ".join(sentences)), class_="note")
