"""The search: every configuration in order, and the best so far."""

from __future__ import annotations

import math
from collections.abc import Sequence

from wellfit.report.charts.common import BEST, MUTED, NONE, SINGLE, Spec, columns, field, frame, padded, tooltip
from wellfit.report.charts.scales import DRAWN
from wellfit.report.numbers import Metric


def search_chart(trials: Sequence[tuple[float, float, bool, str, str]], steps: Sequence[tuple[float, float]],
                 unregularized: float | None, *, metric: Metric, domain: list[float]) -> Spec:
    """The search.

    Args:
        trials: number, validation, whether pruned, origin in words, recipe in words.
        steps: trial number and the best validation so far, from the first to the last trial.
        unregularized: the validation score to compare with.
        metric: its name and format.
        domain: the y axis.
    """
    picked = trials if len(trials) <= 2 * DRAWN else trials[:: math.ceil(len(trials) / (2 * DRAWN))]
    x = field("number", axis={"title": "configuration", "grid": False, "tickMinStep": 1, "format": "~s"},
              scale={"domain": padded([n for n, _, _, _, _ in trials], 0.02, 0.02), "nice": False})
    y = field("score", axis={"title": None, "format": metric.tick, "tickCount": 6},
              scale={"domain": domain, "nice": False, "zero": False})
    kinds = ["one method", "combination", "pruned"]
    data = columns(number=[t[0] for t in picked], score=[t[1] for t in picked],
                   kind=["pruned" if t[2] else "one method" if t[3].startswith("alone") else "combination"
                         for t in picked],
                   s=[metric.score(t[1]) for t in picked], origin=[t[3] for t in picked],
                   recipe=[t[4] for t in picked])
    best = columns(number=[n for n, _ in steps], score=[v for _, v in steps], s=[metric.score(v) for _, v in steps])
    layer: list[Spec] = []
    if unregularized is not None:
        layer.append({"data": {"values": [{"score": unregularized}]},
                      "mark": {"type": "rule", "color": NONE, "strokeDash": [5, 3], "strokeWidth": 1.8,
                               "aria": False},
                      "encoding": {"y": y}})
    layer += [
        {"data": data, "mark": {"type": "point", "filled": True, "size": 36, "clip": True, "aria": False},
         "encoding": {"x": x, "y": y,
                      "color": field("kind", "nominal", legend=None,
                                     scale={"domain": kinds, "range": [SINGLE, BEST, MUTED]}),
                      "shape": field("kind", "nominal", legend=None,
                                     scale={"domain": kinds, "range": ["diamond", "circle", "stroke"]}),
                      "opacity": {"condition": {"test": "datum.kind === 'pruned'", "value": 0.45}, "value": 0.6},
                      "tooltip": [field("number", title="configuration"),
                                  *tooltip(s="validation", origin="tried as", recipe="recipe")]}},
        {"data": best, "mark": {"type": "line", "interpolate": "step-after", "color": BEST, "strokeWidth": 2.4,
                                "clip": True, "aria": False},
         "encoding": {"x": x, "y": y}},
    ]
    first, last = (steps[0][1], steps[-1][1]) if steps else (None, None)
    description = (f"Validation {metric.name} of {len(trials)} configurations in the order they were tried; the best "
                   f"so far goes from {metric.score(first)} to {metric.score(last)}"
                   + ("" if unregularized is None else f", without regularization it is {metric.score(unregularized)}")
                   + ".")
    return frame(description, 260, layer)
