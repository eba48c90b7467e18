"""What the network predicts over two inputs, with and without the recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from wellfit.report.artefacts import as_list, as_map, as_number, as_numbers, as_text
from wellfit.report.charts.common import CLASS_COLOURS, CLASS_SHAPES, Spec, columns, field, frame, tooltip

CELLS = 64  # along each axis at most
POINTS = 400
RAMP = ("#00224e", "#35456c", "#666970", "#948e77", "#c8b866", "#fee838")  # cividis: even for colour-blind readers


def class_colour(index: int) -> str:
    """The page's colour of a class."""
    return f"var(--class-{index % CLASS_COLOURS})"


def class_shape(index: int) -> str:
    """The shape of a class's points: beyond the colours, shapes keep classes apart."""
    return CLASS_SHAPES[index % len(CLASS_SHAPES)]


@dataclass(frozen=True)
class Boundary:
    """A map over two inputs; ``maps`` and ``confidence`` are rows of y by columns of x, keyed by network."""

    x_name: str
    y_name: str
    x: list[float]
    y: list[float]
    classes: list[str]
    maps: dict[str, list[list[float | None]]]
    confidence: dict[str, list[list[float | None]]]
    points: list[tuple[float, float, str]]
    regression: bool

    @classmethod
    def read(cls, part: object) -> Boundary | None:
        """From the evidence, or None when there is no complete map."""
        given = as_map(part)
        x_part, y_part = as_map(given.get("x")), as_map(given.get("y"))
        x = [v for v in as_numbers(x_part.get("values")) if v is not None]
        y = [v for v in as_numbers(y_part.get("values")) if v is not None]
        if len(x) < 2 or len(y) < 2:
            return None
        columns_kept, rows_kept = _kept(len(x)), _kept(len(y))
        maps = {who: grid for who in ("unregularized", "best")
                if (grid := _grid(given.get(who), len(x), len(y), columns_kept, rows_kept)) is not None}
        if not maps:
            return None
        sure = as_map(given.get("confidence"))
        confidence = {who: grid for who in maps
                      if (grid := _grid(sure.get(who), len(x), len(y), columns_kept, rows_kept)) is not None}
        points = [(px, py, as_text(row.get("label"))) for row in map(as_map, as_list(given.get("points")))
                  if (px := as_number(row.get("x"))) is not None and (py := as_number(row.get("y"))) is not None]
        if len(points) > POINTS:
            step = len(points) / POINTS
            points = [points[int(i * step)] for i in range(POINTS)]
        classes = [as_text(c) for c in as_list(given.get("classes"))]
        regression = given.get("kind") == "regression"
        if not regression and not classes:
            top = max((v for grid in maps.values() for row in grid for v in row if v is not None), default=0.0)
            classes = [str(i) for i in range(min(int(top), 999) + 1)]
        return cls(as_text(x_part.get("name")) or "first input", as_text(y_part.get("name")) or "second input",
                   [x[i] for i in columns_kept], [y[i] for i in rows_kept],
                   classes, maps, confidence, points, regression)

    def extent(self) -> list[float]:
        """The smallest and largest predicted value of all maps."""
        values = [v for grid in self.maps.values() for row in grid for v in row if v is not None] or [0.0, 1.0]
        return [min(values), max(values)]

    def class_name(self, value: float | None) -> str:
        """The class at an index, or the index itself when it has no name."""
        if value is None:
            return ""
        index = int(value)
        return self.classes[index] if 0 <= index < len(self.classes) else str(index)

    def shares(self, who: str) -> dict[str, float]:
        """The share of the map that each class wins."""
        cells = [v for row in self.maps[who] for v in row if v is not None]
        return {name: sum(self.class_name(v) == name for v in cells) / max(1, len(cells)) for name in self.classes}

    def disagreement(self) -> float | None:
        """The share of the map on which the two networks name different classes."""
        if len(self.maps) < 2 or self.regression:
            return None
        first, second = ([v for row in grid for v in row] for grid in self.maps.values())
        apart = sum(a != b for a, b in zip(first, second, strict=True))
        return apart / len(first)


def _kept(length: int) -> list[int]:
    """Evenly spread indices, at most ``CELLS`` of them."""
    if length <= CELLS:
        return list(range(length))
    return [round(i * (length - 1) / (CELLS - 1)) for i in range(CELLS)]


def _grid(value: object, width: int, height: int, columns_kept: list[int],
          rows_kept: list[int]) -> list[list[float | None]] | None:
    """The kept cells of a map, or None when it has another shape."""
    rows = [as_numbers(row) for row in as_list(value)]
    if len(rows) != height or any(len(row) != width for row in rows):
        return None
    return [[rows[i][j] for j in columns_kept] for i in rows_kept]


def edges(values: Sequence[float]) -> list[float]:
    """The borders of the cells whose centres are given."""
    middles = [(a + b) / 2 for a, b in pairwise(values)]
    return [2 * values[0] - middles[0], *middles, 2 * values[-1] - middles[-1]]


def boundary_chart(boundary: Boundary, who: str, words: str) -> Spec:
    """One map with the points on top."""
    x_edges, y_edges = edges(boundary.x), edges(boundary.y)
    confidence = boundary.confidence.get(who)
    grid: Spec = {"grid": {"x": x_edges, "y": y_edges, "z": boundary.maps[who],
                           "p": None if confidence is None else
                           [[None if v is None else round(v, 3) for v in row] for row in confidence],
                           "names": None if boundary.regression else boundary.classes}}
    # The title is an array: a plain string would be taken apart at line breaks of a user's column name.
    x = field("x", axis={"title": [boundary.x_name[:60]], "grid": False, "tickCount": 5, "format": "~g"},
              scale={"domain": [x_edges[0], x_edges[-1]], "nice": False, "zero": False})
    y = field("y", axis={"title": [boundary.y_name[:44]], "grid": False, "tickCount": 5, "format": "~g"},
              scale={"domain": [y_edges[0], y_edges[-1]], "nice": False, "zero": False})
    names = boundary.classes
    indices = list(range(len(names)))
    cell: Spec = {"x": x, "x2": {"field": "x2"}, "y": y, "y2": {"field": "y2"}}
    if boundary.regression:
        cell["color"] = field("z", legend={"title": None, "orient": "bottom", "gradientLength": 160, "format": "~g"},
                              scale={"range": list(RAMP), "domain": boundary.extent(), "nice": False, "clamp": True})
        cell["tooltip"] = [field("z", title="prediction", format=".4~g")]
    else:
        cell["color"] = field("z", "ordinal", legend=None,
                              scale={"domain": indices, "range": [class_colour(i) for i in indices]})
        cell["tooltip"] = tooltip(name="predicted", **({"sure": "confidence"} if confidence is not None else {}))
        if confidence is not None:
            cell["opacity"] = field("p", legend=None, scale={"domain": [1 / max(2, len(names)), 1],
                                                             "range": [0.1, 0.6], "clamp": True})
    mark: Spec = {"type": "rect", "aria": False, "strokeWidth": 0}
    if not boundary.regression and confidence is None:
        mark["opacity"] = 0.42
    points: Spec = {
        "data": columns(x=[q[0] for q in boundary.points], y=[q[1] for q in boundary.points],
                        label=[q[2] for q in boundary.points]),
        "mark": {"type": "point", "filled": True, "size": 34, "opacity": 0.95, "stroke": "var(--paper)",
                 "strokeWidth": 0.9, "clip": True, "aria": False},
        "encoding": {"x": x, "y": y, "tooltip": tooltip(label="label")}}
    if boundary.regression:
        try:
            points["data"]["columns"]["z"] = [float(q[2]) for q in boundary.points]
            points["encoding"]["color"] = cell["color"]
            points["mark"].update(size=46, stroke="#fff", strokeWidth=1.2)
        except ValueError:
            points["mark"].update(color="var(--ink)", opacity=0.55)
    else:
        points["encoding"]["color"] = field("label", "nominal", legend=None, scale={
            "domain": names, "range": [f"var(--class-{i % CLASS_COLOURS}-deep)" for i in indices]})
        points["encoding"]["shape"] = field("label", "nominal", legend=None, scale={
            "domain": names, "range": [class_shape(i) for i in indices]})
    kind = "Predicted value" if boundary.regression else "Predicted class"
    description = f"{kind} over {boundary.x_name} and {boundary.y_name}, {words}, with {len(boundary.points)} rows."
    cells: Spec = {"name": "cells", "data": grid, "mark": mark, "encoding": cell}
    resolve = {"scale": {"color": "shared" if boundary.regression else "independent", "shape": "independent"}}
    return frame(description, 320, [cells, points], resolve=resolve)
