"""Charts of a diagnosis: lines with bands over sizes, widths and rates; a plane of losses; a reliability diagram."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wellfit.report.artefacts import as_number
from wellfit.report.charts.boundary import RAMP, edges
from wellfit.report.charts.common import Spec, columns, field, frame, padded, tooltip
from wellfit.report.charts.scales import value_scale
from wellfit.report.markup import esc
from wellfit.report.numbers import plain, significant

Number = float | None


@dataclass(frozen=True)
class Line:
    """A named line; ``low`` and ``high`` are a band (``band``) or bars at its points. Places without a number are left out."""

    name: str
    colour: str
    x: list[float]
    y: list[Number]
    low: list[Number]
    high: list[Number]
    dashed: bool = False
    points: bool = True
    band: bool = False

    @classmethod
    def of(cls, name: str, colour: str, x: Sequence[Number], y: Sequence[Number], low: Sequence[Number] = (),
           high: Sequence[Number] = (), *, dashed: bool = False, points: bool = True, band: bool = False) -> Line | None:
        """The places with both numbers in order of x; None when there is none."""
        rows = sorted((x[i], y[i], low[i] if i < len(low) else None, high[i] if i < len(high) else None)  # type: ignore[type-var]
                      for i in range(min(len(x), len(y))) if x[i] is not None and y[i] is not None)
        if not rows:
            return None
        return cls(name, colour, [float(r[0] or 0.0) for r in rows], [r[1] for r in rows], [r[2] for r in rows],
                   [r[3] for r in rows], dashed, points, band)

    def values(self) -> list[float]:
        """All numbers on the y axis."""
        return [v for v in (*self.y, *self.low, *self.high) if v is not None]


def lines_chart(lines: Sequence[Line], *, description: str, across: str, show: Callable[[Number], str], tick: str = "~g",
                height: int = 240, zero: bool = False) -> Spec:
    """Lines over numbers; the x axis is logarithmic where the numbers span two decades.

    Args:
        lines: at least one.
        description: read aloud by screen readers.
        across: title of the x axis.
        show: a value of the y axis as text.
        tick: d3 format of the y axis.
        height: in pixels.
        zero: whether the y axis starts at 0.
    """
    places = sorted({v for line in lines for v in line.x})
    shape = value_scale(places)
    wide = places[0] > 0 and places[-1] / places[0] > 7 and "type" not in shape["scale"]
    scale = {"type": "log", "nice": False, "domain": [places[0] / 1.08, places[-1] * 1.08]} if wide else shape["scale"]
    axis = {"format": "~s", "grid": False, **({"values": places} if len(places) < 10 else {"tickCount": 5})} if wide \
        else shape["axis"]
    x = field("x", scale=scale, axis={**axis, "title": across})
    values = [v for line in lines for v in line.values()]
    domain = padded(values, 0.05, 0.06, [0.0] if zero else [])
    y = field("y", scale={"domain": domain, "nice": False, "zero": False}, axis={"title": None, "format": tick, "tickCount": 5,
                                                                                 "minExtent": 38})
    layer: list[Spec] = []
    for line in lines:
        has_span = [i for i in range(len(line.x)) if line.low[i] is not None and line.high[i] is not None]
        data = columns(x=line.x, y=line.y, low=line.low, high=line.high, at=[plain(v) for v in line.x],
                       shown=[show(v) for v in line.y], who=[line.name] * len(line.x),
                       span=[f"{show(line.low[i])} to {show(line.high[i])}" if i in set(has_span) else "" for i in
                             range(len(line.x))])
        shown = tooltip(who="line", at=across, shown="value", **({"span": "95% interval"} if has_span else {}))
        inner: list[Spec] = []
        if has_span and line.band:
            inner.append({"mark": {"type": "area", "color": line.colour, "opacity": 0.16, "aria": False, "clip": True},
                          "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}}})
        elif has_span:
            inner.append({"transform": [{"filter": "isValid(datum.low) && isValid(datum.high)"}],
                          "mark": {"type": "rule", "color": line.colour, "opacity": 0.45, "strokeWidth": 2.5, "aria": False,
                                   "clip": True},
                          "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}}})
        if len(line.x) > 1:
            inner.append({"mark": {"type": "line", "color": line.colour, "strokeWidth": 2, "aria": False, "clip": True,
                                   **({"strokeDash": [5, 3]} if line.dashed else {})},
                          "encoding": {"x": x, "y": y}})
        mark = {"type": "point", "filled": True, "color": line.colour, "aria": False, "clip": True}
        look = {"size": 60, "opacity": 1} if line.points else {"size": 160, "opacity": 0}
        inner.append({"mark": {**mark, **look}, "encoding": {"x": x, "y": y, "tooltip": shown}})
        layer.append({"data": data, "layer": inner})
    return frame(description, height, layer)


def plane_chart(x: list[float], y: list[float], loss: list[list[Number]], description: str) -> Spec:
    """The loss over two directions, on a logarithmic colour scale where it spans decades; the trained weights at (0, 0)."""
    known = [v for row in loss for v in row if v is not None]
    low, high = min(known), max(known)
    logarithmic = low > 0 and high / low > 30
    x_edges, y_edges = edges(x), edges(y)
    grid: Spec = {"grid": {"x": x_edges, "y": y_edges, "z": loss, "p": None, "names": None}}
    across = field("x", axis={"title": "first direction", "grid": False, "tickCount": 5, "format": "~g"},
                   scale={"domain": [x_edges[0], x_edges[-1]], "nice": False, "zero": False})
    up = field("y", axis={"title": "second direction", "grid": False, "tickCount": 5, "format": "~g"},
               scale={"domain": [y_edges[0], y_edges[-1]], "nice": False, "zero": False})
    scale: Spec = {"range": list(RAMP), "domain": [low, high], "nice": False, "clamp": True}
    if logarithmic:
        scale["type"] = "log"
    cells: Spec = {"name": "cells", "data": grid, "mark": {"type": "rect", "aria": False, "strokeWidth": 0},
                   "encoding": {"x": across, "x2": {"field": "x2"}, "y": up, "y2": {"field": "y2"},
                                "color": field("z", scale=scale, legend={"title": "loss", "orient": "bottom",
                                                                         "gradientLength": 160, "format": "~g"}),
                                "tooltip": [field("z", title="loss", format=".4~g")]}}
    layer = [cells]
    if x_edges[0] <= 0 <= x_edges[-1] and y_edges[0] <= 0 <= y_edges[-1]:
        layer.append({"data": {"values": [{"x": 0, "y": 0}]},
                      "mark": {"type": "point", "shape": "cross", "filled": True, "size": 110, "color": "#fff",
                               "stroke": "#000", "strokeWidth": 1, "opacity": 1, "aria": False},
                      "encoding": {"x": across, "y": up}})
    return frame(description, 320, layer)


def reliability_svg(bins: Sequence[tuple[float, float, float]], description: str) -> str:
    """Confidence against accuracy as a static picture: the larger a dot, the more rows it stands for."""
    size, left, bottom = 260.0, 40.0, 30.0
    most = max((count for _, _, count in bins), default=1.0) or 1.0

    def at(confidence: float, accuracy: float) -> tuple[float, float]:
        return left + size * confidence, 8 + size * (1 - accuracy)

    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = at(share, share)
        parts.append(f'<line class="grid" x1="{left}" x2="{left + size}" y1="{y:.1f}" y2="{y:.1f}"/>'
                     f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{share:.0%}</text>'
                     f'<text x="{x:.1f}" y="{8 + size + 18:.1f}" text-anchor="middle">{share:.0%}</text>')
    (x1, y1), (x2, y2) = at(0, 0), at(1, 1)
    parts.append(f'<line class="ideal" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>')
    for confidence, accuracy, count in bins:
        x, y = at(min(1.0, max(0.0, confidence)), min(1.0, max(0.0, accuracy)))
        _, ideal = at(confidence, min(1.0, max(0.0, confidence)))
        radius = 3.5 + 8 * math.sqrt(max(0.0, count) / most)
        parts.append(f'<line class="miss" x1="{x:.1f}" x2="{x:.1f}" y1="{y:.1f}" y2="{ideal:.1f}"/>'
                     f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>{confidence:.0%} confident, '
                     f'{accuracy:.0%} right, {count:,.0f} rows</title></circle>')
    return (f'<svg class="still reliability" viewBox="0 0 {left + size + 14:.0f} {8 + size + bottom:.0f}" role="img" '
            f'aria-label="{esc(description)}">{"".join(parts)}</svg>')


def loss_text(value: Number) -> str:
    """A loss or an error as text."""
    return "–" if as_number(value) is None else significant(float(value or 0.0))
