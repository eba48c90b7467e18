"""Validation against one hyperparameter."""

from __future__ import annotations

import math
from collections.abc import Sequence

from wellfit.report.artefacts import as_number
from wellfit.report.charts.common import BEST, NONE, Spec, columns, field, frame, safe_title, tooltip
from wellfit.report.charts.scales import DRAWN, value_scale
from wellfit.report.numbers import Metric, plain


def response_chart(points: Sequence[tuple[object, float, bool]], chosen: object, *, name: str, metric: Metric,
                   domain: list[float]) -> Spec:
    """A scatter of ``(value, validation, alone)``; numbers on a scale, anything else as categories."""
    numbers = [v for v, _, _ in points if isinstance(v, (int, float)) and not isinstance(v, bool)]
    numeric = len(numbers) == len(points)
    picked = points if len(points) <= DRAWN else points[:: math.ceil(len(points) / DRAWN)]
    x_title = {"title": None, "labelAngle": 0, "labelOverlap": True}
    if numeric:
        shape = value_scale([float(v) for v in numbers])
        x = field("value", scale=shape["scale"], axis={**shape["axis"], **x_title})
    else:
        x = field("value", "nominal", sort=None, axis={**x_title, "labelLimit": 80})
    data = columns(value=[v if numeric else plain(v) for v, _, _ in picked], score=[s for _, s, _ in picked],
                   alone=[int(a) for _, _, a in picked])
    y = field("score", scale={"domain": domain, "nice": False, "zero": False},
              axis={"title": None, "format": metric.tick, "tickCount": 4, "minExtent": 34})
    how = {"domain": ["combined", "alone"]}
    layer: list[Spec] = []
    if chosen is not None and (as_number(chosen) is not None or not numeric):
        layer.append({"data": {"values": [{"value": chosen if numeric else plain(chosen)}]},
                      "mark": {"type": "rule", "color": BEST, "strokeWidth": 1.5, "strokeDash": [2, 3],
                               "aria": False},
                      "encoding": {"x": x}})
    shown_value = field("value", title=safe_title(name), format=".4~g") if numeric else tooltip(value=name)[0]
    layer.append({"transform": [{"calculate": "datum.alone ? 'alone' : 'combined'", "as": "how"}],
                  "mark": {"type": "point", "filled": True, "clip": True, "aria": False},
                  "encoding": {"x": x, "y": y,
                               "color": field("how", "nominal", legend=None,
                                              scale={**how, "range": [BEST, NONE]}),
                               "shape": field("how", "nominal", legend=None,
                                              scale={**how, "range": ["circle", "diamond"]}),
                               "opacity": {"condition": {"test": "datum.how === 'alone'", "value": 0.95},
                                           "value": 0.5},
                               "size": {"condition": {"test": "datum.how === 'alone'", "value": 75}, "value": 42},
                               "tooltip": [shown_value, field("score", title="validation", format=metric.precise),
                                           *tooltip(how="tried")]}})
    best = max(points, key=lambda point: metric.better(point[1], 0.0))
    at = "" if chosen is None else f" The chosen value is {plain(chosen)}."
    description = (f"Validation {metric.name} against {name}, {len(points)} configurations; the best, "
                   f"{metric.score(best[1])}, is at {plain(best[0])}.{at}")
    return frame(description, 150, layer, data=data)
