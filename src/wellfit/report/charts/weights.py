"""How large the weights are, and what the network still reads of its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from wellfit.report.artefacts import as_map, as_number, as_numbers
from wellfit.report.charts.common import BEST, INK, MUTED, Spec, columns, field, frame, tooltip
from wellfit.report.charts.intervals import unique
from wellfit.report.numbers import count, plain


@dataclass(frozen=True)
class Histogram:
    """Counts between edges; ``zeros`` of ``total`` weights are exactly zero."""

    edges: list[float]
    counts: list[float]
    zeros: float | None
    total: float | None

    @classmethod
    def read(cls, part: object) -> Histogram | None:
        """From the evidence, or None when edges and counts do not belong together."""
        given = as_map(part)
        edges = [e for e in as_numbers(given.get("edges")) if e is not None]
        counts = [c for c in as_numbers(given.get("counts")) if c is not None]
        if len(counts) < 1 or len(edges) != len(counts) + 1:
            return None
        return cls(edges, counts, as_number(given.get("zeros")), as_number(given.get("total")))


def histogram_chart(parts: Sequence[tuple[str, str, Histogram]]) -> Spec:
    """Outlines over one another; ``parts`` are (who, colour, histogram). Counts are on a square-root scale."""
    x = field("low", axis={"title": "weight", "grid": False, "format": "~g", "tickCount": 7}, scale={"nice": False})
    top = max(max(h.counts) for _, _, h in parts) or 1.0
    y_scale = {"type": "sqrt", "domain": [0, top * 1.04], "nice": False}
    y = field("count", stack=None, scale=y_scale,
              axis={"title": None, "labelExpr": "format(datum.value, '~s')", "tickCount": 5})
    layer: list[Spec] = []
    hovered: list[Spec] = []
    words = []
    for who, colour, part in parts:
        bins = columns(low=part.edges[:-1], high=part.edges[1:], count=part.counts,
                       range=[f"{plain(a, 3)} to {plain(b, 3)}" for a, b in pairwise(part.edges)],
                       n=[count(c) for c in part.counts], who=[who] * len(part.counts))
        outline = columns(low=part.edges, count=[*part.counts, 0.0])
        layer.append({"data": outline, "mark": {"type": "area", "interpolate": "step-after", "color": colour,
                                                "fillOpacity": 0.16, "line": {"strokeWidth": 1.8, "color": colour},
                                                "aria": False},
                      "encoding": {"x": x, "y": y}})
        hovered.append({"name": f"bins{len(hovered)}", "data": bins,
                        "mark": {"type": "rect", "color": colour, "fillOpacity": 0, "aria": False},
                        "encoding": {"x": x, "x2": {"field": "high"}, "y": y, "y2": {"datum": 0},
                                     "tooltip": tooltip(who="network", range="weight", n="weights")}})
        zeros = "" if part.zeros is None or part.total is None else \
            f", {count(part.zeros)} of {count(part.total)} exactly zero"
        words.append(f"{who}: weights from {plain(part.edges[0], 3)} to {plain(part.edges[-1], 3)}{zeros}")
    return frame("Histogram of the network's weights, counts on a square-root scale. " + "; ".join(words) + ".", 220,
                 layer + hovered)


def norms_chart(features: Sequence[tuple[str, float]], total: int) -> Spec:
    """Bars of the largest input norms, largest first; a removed input is a cross at zero."""
    labels = unique([n for n, _ in features])
    data = columns(label=labels, norm=[v for _, v in features], n=[plain(v) for _, v in features])
    y = field("label", "nominal", sort=labels, axis={"title": None, "ticks": False, "domain": False, "labelPadding": 6,
                                                   "labelColor": INK})
    x = field("norm", axis={"title": "norm of the input's weights", "format": "~g", "tickCount": 5},
              scale={"nice": False, "domainMin": 0})
    shown = tooltip(label="input", n="norm")
    layer: list[Spec] = [
        {"transform": [{"filter": "datum.norm > 0"}],
         "mark": {"type": "bar", "color": BEST, "opacity": 0.8, "height": 11, "cornerRadiusEnd": 2},
         "encoding": {"x": x, "y": y, "tooltip": shown}},
        {"transform": [{"filter": "datum.norm <= 0"}],
         "mark": {"type": "text", "text": "× removed", "align": "left", "dx": 4, "color": MUTED, "fontSize": 11.5},
         "encoding": {"x": x, "y": y, "tooltip": shown}},
    ]
    largest = ", ".join(n for n, _ in features[:3])
    return frame(f"Norms of the weights that read each input, {len(features)} of {total} inputs shown; the largest "
                 f"belong to {largest}.", 20 * max(2, len(features)), layer, data=data)
