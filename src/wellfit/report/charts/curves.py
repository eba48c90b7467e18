"""Training against validation over the epochs, the gap between them shaded."""

from __future__ import annotations

import math

from wellfit.report.artefacts import as_map, as_numbers
from wellfit.report.charts.common import Spec, columns, field, frame, hover, padded, tooltip
from wellfit.report.numbers import Metric, significant

POINTS = 240  # more epochs than this are thinned out: a line has no use for them


class Curve:
    """One training run: epochs with a training and a validation value each."""

    def __init__(self, part: object, quantity: str) -> None:
        """Read ``quantity`` ("loss" or "metric") from one network's curves; epochs with neither value are left out."""
        given = as_map(part)
        train, held = as_numbers(given.get(f"train_{quantity}")), as_numbers(given.get(f"validation_{quantity}"))
        length = max(len(train), len(held))
        epochs = as_numbers(given.get("epoch"))
        if len(epochs) < length:
            epochs = [float(i + 1) for i in range(length)]
        rows = [(e, t, v) for e, t, v in zip(epochs, _filled(train, length), _filled(held, length), strict=False)
                if e is not None and (t is not None or v is not None)]
        self.epoch = [r[0] for r in rows]
        self.train = [r[1] for r in rows]
        self.validation = [r[2] for r in rows]

    def __len__(self) -> int:
        """How many epochs there are."""
        return len(self.epoch)

    def best(self, higher_is_better: bool) -> tuple[float, float] | None:
        """Epoch and value at which validation was best."""
        known = [(v, e) for e, v in zip(self.epoch, self.validation, strict=True) if v is not None]
        if not known:
            return None
        value, epoch = max(known) if higher_is_better else min(known)
        return epoch, value

    def last(self) -> tuple[float | None, float | None]:
        """The last training and validation values."""
        train = [v for v in self.train if v is not None]
        held = [v for v in self.validation if v is not None]
        return (train[-1] if train else None), (held[-1] if held else None)

    def thinned(self) -> list[int]:
        """Indices to draw."""
        if len(self) <= POINTS:
            return list(range(len(self)))
        step = (len(self) - 1) / (POINTS - 1)
        return sorted({round(i * step) for i in range(POINTS)})


def _filled(values: list[float | None], length: int) -> list[float | None]:
    return values + [None] * (length - len(values))


def shared_scale(curves: list[Curve]) -> Spec:
    """The y scale that all panels use; logarithmic when the values are positive and span more than two decades."""
    values = [v for c in curves for v in (*c.train, *c.validation) if v is not None]
    if values and min(values) > 0 and max(values) / min(values) > 300:
        return {"type": "log", "domain": [10 ** math.floor(math.log10(min(values))), max(values) * 1.1], "nice": False}
    return {"domain": padded(values, 0.04, 0.04), "nice": True, "zero": False}


def curve_chart(curve: Curve, *, colour: str, scale: Spec, who: str, quantity: str, higher_is_better: bool,
                metric: Metric | None = None) -> Spec:
    """One panel. ``metric`` formats the values when the quantity is the metric and not the loss."""

    def shown(value: float | None) -> str:
        return "–" if value is None else metric.score(value) if metric else significant(value)

    pick = curve.thinned()
    train, held = [curve.train[i] for i in pick], [curve.validation[i] for i in pick]
    data = columns(epoch=[curve.epoch[i] for i in pick], train=train, validation=held,
                   t=[shown(v) for v in train], v=[shown(v) for v in held])
    x = field("epoch", axis={"title": "epoch", "grid": False, "format": "~s", "tickMinStep": 1, "tickCount": 6},
              scale={"domain": [curve.epoch[0], max(curve.epoch[-1], curve.epoch[0] + 1)], "nice": False})
    axis = {"title": None, "minExtent": 38, "format": metric.tick if metric else "~g", "tickCount": 5}
    if scale.get("type") == "log":
        axis["format"] = "~e"

    def y(name: str) -> Spec:
        return field(name, axis=axis, scale=scale)

    layer: list[Spec] = [
        {"mark": {"type": "area", "opacity": 0.16, "color": colour, "aria": False, "clip": True},
         "encoding": {"x": x, "y": y("train"), "y2": {"field": "validation"}}},
        {"mark": {"type": "line", "strokeWidth": 1.6, "strokeDash": [5, 3], "color": colour, "clip": True,
                  "aria": False},
         "encoding": {"x": x, "y": y("train")}},
        {"mark": {"type": "line", "strokeWidth": 2.4, "color": colour, "clip": True, "aria": False},
         "encoding": {"x": x, "y": y("validation")}},
    ]
    best = curve.best(higher_is_better)
    best_words = ""
    if best:
        best_words = f" Validation is best at epoch {best[0]:g}, {shown(best[1])}."
        layer.append({"data": {"values": [{"epoch": best[0], "validation": best[1]}]},
                      "mark": {"type": "point", "filled": True, "size": 85, "color": colour, "opacity": 1,
                               "stroke": "var(--paper)", "strokeWidth": 1.5, "aria": False},
                      "encoding": {"x": x, "y": y("validation")}})
    layer.append(hover({**data}, x, [field("epoch", title="epoch"), *tooltip(t="training", v="validation")],
                       len(pick)))
    train_end, held_end = curve.last()
    description = (f"Training and validation {quantity} by epoch, {who}: the last training value is "
                   f"{shown(train_end)}, the last validation value {shown(held_end)}.{best_words}")
    return frame(description, 210, layer, data=data)
