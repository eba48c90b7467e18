"""Dots with intervals in rows: what each method bought, and what each part is worth."""

from __future__ import annotations

from dataclasses import dataclass

from wellfit.report.charts.common import INK, MUTED, RULE, Spec, columns, field, frame, padded, tooltip

ROW = 27  # pixels
SIZES = {"diamond": 150, "triangle-up": 120, "circle": 90}  # so that all shapes look equally large


@dataclass(frozen=True)
class Row:
    """One row: ``shown`` and ``span`` are the texts of the value and its interval, ``kind`` picks colour and shape."""

    label: str
    value: float
    ends: tuple[float, float] | None
    kind: str
    shown: str
    span: str
    remark: str = ""


def unique(labels: list[str]) -> list[str]:
    """The labels with a number behind repeated ones, because a row of the chart is found by its label."""
    seen: dict[str, int] = {}
    result = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        result.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return result


def outliers(rows: list[Row], protected: set[str]) -> set[int]:
    """Indices of rows so far off that drawing them would squeeze the others together.

    Rows of a ``protected`` kind always stay on the chart.
    """
    core = [e for r in rows if r.kind in protected for e in (r.value, *(r.ends or ()))]
    if not core:
        return set()
    low, high = min(core), max(core)
    reach = 3 * max(high - low, 0.02 * max(abs(low), abs(high)), 1e-12)
    return {i for i, r in enumerate(rows) if not low - reach <= r.value <= high + reach}


def interval_chart(rows: list[Row], kinds: dict[str, tuple[str, str]], *, description: str, axis: str, tick: str,
                   reference: float | None, words: tuple[str, str, str]) -> Spec:
    """A chart of rows.

    Args:
        rows: from top to bottom.
        kinds: kind to (colour, shape).
        description: read aloud by screen readers.
        axis: title of the x axis.
        tick: d3 format of its numbers.
        reference: x of the dashed line to compare with.
        words: what a row, its value and its remark are called in the tooltip.
    """
    labels = unique([r.label for r in rows])
    names = list(kinds)
    data = columns(label=labels, value=[r.value for r in rows],
                   low=[r.ends[0] if r.ends else None for r in rows],
                   high=[r.ends[1] if r.ends else None for r in rows],
                   edge=[max(r.value, r.ends[1]) if r.ends else r.value for r in rows],
                   kind=[r.kind for r in rows], shown=[r.shown for r in rows], span=[r.span for r in rows],
                   remark=[r.remark for r in rows])
    ends = [e for r in rows for e in (r.ends or (r.value,))]
    x = field("value", scale={"domain": padded(ends + [r.value for r in rows], 0.04, 0.02, [reference]),
                              "rangeMax": {"expr": "width - 46"}, "nice": False, "zero": False},
              axis={"title": axis, "format": tick, "grid": True,
                                             "tickCount": {"expr": "max(3, min(8, ceil(width / 90)))"}})
    y = field("label", "nominal", sort=labels, axis={"title": None, "ticks": False, "domain": False, "labelPadding": 8,
                                                   "labelFontSize": 12.5, "labelColor": INK})
    colour = field("kind", "nominal", legend=None, scale={"domain": names, "range": [kinds[n][0] for n in names]})
    shape = field("kind", "nominal", legend=None, scale={"domain": names, "range": [kinds[n][1] for n in names]})
    size = {"condition": [{"test": f"datum.kind === '{n}'", "value": SIZES[look[1]]} for n, look in kinds.items()
                          if look[1] in SIZES], "value": 95}
    shown = tooltip(label=words[0], shown=words[1], **({"span": "95% interval"} if any(r.ends for r in rows) else {}),
                    **({"remark": words[2]} if any(r.remark for r in rows) else {}))
    layer: list[Spec] = []
    if reference is not None:
        layer.append({"data": {"values": [{"value": reference}]},
                      "mark": {"type": "rule", "color": RULE, "strokeDash": [4, 3], "strokeWidth": 1.5, "aria": False},
                      "encoding": {"x": x}})
    layer += [
        {"transform": [{"filter": "isValid(datum.low)"}],
         "mark": {"type": "rule", "strokeWidth": 3, "strokeCap": "round", "opacity": 0.42, "aria": False},
         "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}, "y": y, "color": colour,
                      "tooltip": shown}},
        {"mark": {"type": "point", "filled": True, "opacity": 1},
         "encoding": {"x": x, "y": y, "color": colour, "shape": shape, "size": size, "tooltip": shown}},
        {"mark": {"type": "text", "align": "left", "dx": 10, "fontSize": 11.5, "color": MUTED, "aria": False},
         "encoding": {"x": {**x, "field": "edge"}, "y": y, "text": field("shown", "nominal")}},
    ]
    return frame(description, ROW * max(2, len(rows)), layer, data=data)
