"""The curves as one static picture: raw points faint, smooth lines on top, the best epoch marked with its interval."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wellfit.diagnosis.history.sentences import shown

if TYPE_CHECKING:
    from wellfit.diagnosis.history.verdict import HistoryVerdict

_LEFT, _TOP, _WIDE, _HIGH, _RIGHT, _BELOW = 52.0, 12.0, 560.0, 240.0, 16.0, 40.0


def chart_svg(verdict: HistoryVerdict) -> str:
    """An inline SVG element without scripts, in the colours of the page around it (``--none``, ``--best``, ``--muted``, …), with
    defaults where there is no such page; empty where there is nothing to draw."""
    curves, shape = verdict.curves, verdict.shape
    if curves is None or not len(curves.epochs):
        return ""
    held = [curves.back(float(v)) for v in curves.validation]
    train = [curves.back(float(v)) for v in curves.train] if curves.train is not None else []
    at = [float(e) for e in curves.epochs]
    values = sorted(held + train)
    low, high = values[0], values[min(len(values) - 1, math.ceil(0.995 * len(values)))]
    logarithmic = low > 0 and high / low > 100
    low, high = (math.log(low), math.log(high)) if logarithmic else (low, high)
    low, high = low - 0.04 * ((high - low) or 1.0), high + 0.04 * ((high - low) or 1.0)
    first, last = at[0], max(at[-1], at[0] + 1)

    def x(epoch: float) -> float:
        return _LEFT + _WIDE * (epoch - first) / (last - first)

    def y(value: float) -> float:
        v = math.log(max(value, 1e-300)) if logarithmic else value
        return _TOP + _HIGH * (1 - (min(max(v, low), high) - low) / (high - low))

    def path(xs: Sequence[float], ys: Sequence[float]) -> str:
        return "M" + "L".join(f"{x(a):.1f} {y(b):.1f}" for a, b in zip(xs, ys))

    parts = []
    for tick in _ticks(low, high):
        value = math.exp(tick) if logarithmic else tick
        parts.append(f'<line class="grid" x1="{_LEFT:g}" x2="{_LEFT + _WIDE:g}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
                     f'<text x="{_LEFT - 6:g}" y="{y(value) + 4:.1f}" text-anchor="end">{shown(value)}</text>')
    for tick in _ticks(first, last, whole=True):
        parts.append(f'<text x="{x(tick):.1f}" y="{_TOP + _HIGH + 17:g}" text-anchor="middle">{tick:g}</text>')
    unit, when = html.escape(verdict.history.unit), verdict.when
    parts.append(f'<text x="{_LEFT + _WIDE / 2:g}" y="{_TOP + _HIGH + 34:g}" text-anchor="middle">{unit}</text>')
    if shape is not None and "best" in when:
        left, right = x(when["best_low"]), x(when["best_high"])
        parts.append(f'<rect class="doubt" x="{left:.1f}" width="{max(1.5, right - left):.1f}" '
                     f'y="{_TOP:g}" height="{_HIGH:g}"/>')
    for name, raw in (("train", train), ("held", held)):
        if raw:
            parts.append(f'<path class="raw {name}" d="{path(at, raw)}"/>')
    if shape is not None:
        ends = [float(e) for e in shape.epochs]
        for name, curve in (("train", shape.train), ("held", shape.validation)):
            if curve is not None:
                parts.append(f'<path class="{name}" d="{path(ends, [curves.back(float(v)) for v in curve.values])}"/>')
        place = x(when["best"]), y(verdict.numbers["best_value"])
        said = f"best: {unit} {shown(when['best'])}, {shown(verdict.numbers['best_value'])}"
        parts.append(f'<circle class="best" cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="5"><title>{said}</title></circle>')
    label = f"Training (dashed) and validation {curves.name} by {verdict.history.unit}"
    if "best" in when:
        label += f"; validation is best at {verdict.history.unit} {shown(when['best'])}"
    style = ("<style>.wf-curves path{fill:none;stroke-width:2.2;stroke-linejoin:round}.wf-curves .held{stroke:var(--none,#b4500b)}"
             ".wf-curves .train{stroke:var(--none,#b4500b);stroke-dasharray:5 3;stroke-width:1.7}"
             ".wf-curves .raw{opacity:.28;stroke-width:1;stroke-dasharray:none}.wf-curves .grid{stroke:var(--line,#ddd)}"
             ".wf-curves .doubt{fill:var(--best,#1a63a0);opacity:.13}"
             ".wf-curves .best{fill:var(--best,#1a63a0);stroke:var(--paper,#fff);stroke-width:1.5}"
             ".wf-curves text{font:11.5px sans-serif;fill:var(--muted,#585d66)}</style>")
    width, height = _LEFT + _WIDE + _RIGHT, _TOP + _HIGH + _BELOW
    return (f'<svg class="wf-curves" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
            f'style="max-width:{width:g}px;width:100%;height:auto" aria-label="{html.escape(label)}">{style}{"".join(parts)}</svg>')


def _ticks(low: float, high: float, whole: bool = False) -> list[float]:
    """About five round places between two numbers."""
    rough = (high - low) / 5
    size = 10 ** math.floor(math.log10(rough)) if rough > 0 else 1.0
    step = next((m * size for m in (1, 2, 5, 10) if m * size >= rough), 10 * size)
    step = max(1.0, round(step)) if whole else step
    start = math.ceil(low / step)
    return [i * step for i in range(start, math.floor(high / step) + 1)]
