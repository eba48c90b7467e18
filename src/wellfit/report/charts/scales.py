"""Axes that stay readable: disasters left out of the picture, decades where values span many."""

from __future__ import annotations

import math
from collections.abc import Sequence

from wellfit.report.charts.common import Spec, padded
from wellfit.report.numbers import Metric

DRAWN = 400
"""Points in one small chart at most; a large one may have twice as many."""

DECADE = ("datum.value === 0 || (datum.value >= 0.01 && datum.value < 1e5) ? format(datum.value, '~g') : "
          "format(datum.value, '~e')")
"""How a power of ten is written on an axis: as a plain number where it is short."""


def quantile(values: Sequence[float], q: float) -> float:
    """The linearly interpolated quantile of at least one value."""
    ordered = sorted(values)
    place = q * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def score_domain(values: Sequence[float], metric: Metric, include: Sequence[float | None] = ()) -> list[float]:
    """A y domain in which a few disastrous configurations do not flatten all others."""
    if not values:
        return [0.0, 1.0]
    middle, spread = quantile(values, 0.5), quantile(values, 0.75) - quantile(values, 0.25)
    reach = 5 * max(spread, 0.01 * max(abs(middle), 1e-9))
    kept = [v for v in values if metric.better(v, middle) > -reach]
    return padded(kept, 0.06, 0.08, include)


def value_scale(values: Sequence[float]) -> Spec:
    """Linear, or logarithmic when the values span more than two decades; zeros get a place left of the decades."""
    positive = [v for v in values if v > 0]
    if not positive or min(values) < 0 or max(positive) / min(positive) < 99.9:
        return {"scale": {"zero": False, "nice": False, "domain": padded(values)},
                "axis": {"format": ".3~g", "tickCount": 5, "grid": False}}
    low, high = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    step = max(1, math.ceil((high - low) / 4))
    decades = [10.0 ** e for e in range(low, high + 1, step)]
    if len(positive) == len(values):
        return {"scale": {"type": "log", "nice": False, "domain": [min(positive) / 1.5, max(positive) * 1.5]},
                "axis": {"labelExpr": DECADE, "grid": False, "values": decades}}
    return {"scale": {"type": "symlog", "constant": min(positive) / 2, "nice": False, "domain": [0, max(values) * 1.5]},
            "axis": {"labelExpr": DECADE, "grid": False, "values": [0.0, *decades]}}
