"""A training history: losses and metrics by epoch, and how columns of any name become one."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wellfit.core.errors import WellfitError

HELD = {"val", "valid", "validation", "eval", "evaluation", "dev", "holdout", "heldout"}
TEST = {"test", "testing"}
TRAIN = {"train", "training", "trn", "fit"}
LOSS = {"loss", "losses", "nll", "logloss", "crossentropy", "objective", "cost", "criterion"}
RATE = {"lr", "learningrate", "learning_rate", "rate"}
CLOCK = {"epoch", "epochs", "step", "steps", "global_step", "iteration", "iterations", "iter", "batch"}
HIGHER = {"acc", "accuracy", "auc", "auroc", "f1", "precision", "recall", "r2", "bleu", "rouge", "iou", "miou", "dice", "map",
          "score", "kappa", "mcc", "top1", "top5", "correct", "ap", "exact", "em"}
LOWER = {"error", "err", "mse", "mae", "rmse", "mape", "perplexity", "ppl", "wer", "cer", "deviance", "brier", "distance"}
EXPECTED = "columns such as epoch, loss and val_loss (or train_loss and validation_loss)"


@dataclass(frozen=True)
class History:
    """What is known of one training, by evaluation.

    Attributes:
        epochs: (n,) where each value was taken, in ``unit``s.
        train_loss, validation_loss, train_metric, validation_metric: (n,) values, nan where there is none; None where there is no
            such column.
        metric: name of the metric.
        higher_is_better: of the metric; None when nobody said and the name does not tell.
        rate: (n,) learning rates, or None.
        unit: "epoch" or "step".
        source: what was read.
        columns: which column each part was taken from.
        notes: remarks on the reading.
    """

    epochs: tuple[float, ...]
    train_loss: tuple[float, ...] | None = None
    validation_loss: tuple[float, ...] | None = None
    train_metric: tuple[float, ...] | None = None
    validation_metric: tuple[float, ...] | None = None
    metric: str = ""
    higher_is_better: bool | None = None
    rate: tuple[float, ...] | None = None
    unit: str = "epoch"
    source: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """How many evaluations there are."""
        return len(self.epochs)

    def as_curves(self) -> dict[str, Any]:
        """The curves as the report reads them: lists with None for what is missing."""
        parts = {name: getattr(self, name) for name in ("train_loss", "validation_loss", "train_metric", "validation_metric")}
        return {"epoch": list(self.epochs), **{name: [None if not math.isfinite(v) else v for v in values]
                                               for name, values in parts.items() if values is not None}}


def tokens(name: str) -> list[str]:
    """The words of a column name, lower case.

    >>> tokens("val/Loss_epoch"), tokens("trainAcc"), tokens("eval_learning rate")
    (['val', 'loss', 'epoch'], ['train', 'acc'], ['eval', 'learning', 'rate'])
    """
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return [word for word in re.split(r"[^A-Za-z0-9]+", split.lower()) if word]


@dataclass(frozen=True)
class Column:
    """What a column's name says: ``part`` is train, validation, test or "" (unsaid), ``quantity`` the rest of the name."""

    name: str
    part: str
    quantity: str
    kind: str  # loss, metric, rate, clock or "" (nothing a verdict uses)
    per_step: bool = False


def column(name: str) -> Column:
    """Read a column's name.

    >>> column("val_loss").part, column("val_loss").kind, column("eval/accuracy").quantity, column("lr-Adam").kind
    ('validation', 'loss', 'accuracy', 'rate')
    """
    words = tokens(name)
    joined = "_".join(words)
    if joined in CLOCK or joined in ("train_step", "train_epoch", "epoch_num", "epoch_number"):
        return Column(name, "", joined, "clock")
    part, rest = "", []
    for word in words:
        if word in HELD and not part:
            part = "validation"
        elif word in TEST and not part:
            part = "test"
        elif word in TRAIN and not part:
            part = "train"
        else:
            rest.append(word)
    per_step = bool(rest) and rest[-1] in ("step", "batch", "iter") and len(rest) > 1
    if per_step:
        rest = rest[:-1]
    rest = [w for w in rest if w not in ("epoch", "mean", "avg", "average")]
    if set(rest) & {"lr", "learningrate"} or rest[:2] == ["learning", "rate"]:
        return Column(name, part, "lr", "rate", per_step)
    quantity = "_".join(rest)
    if {"cross", "entropy"} <= set(rest) or set(rest) & LOSS:
        return Column(name, part, quantity, "loss", per_step)
    if set(rest) & (HIGHER | LOWER) or re.fullmatch(r"(f1|r2|top\d+|auc|ap|map)\w*", quantity):
        return Column(name, part, quantity, "metric", per_step)
    return Column(name, part, quantity, "", per_step)


def direction(quantity: str) -> bool | None:
    """Whether a metric of this name is better when it is higher; None when the name does not tell.

    >>> direction("balanced_accuracy"), direction("rmse"), direction("foo")
    (True, False, None)
    """
    words = set(quantity.lower().split("_"))
    if words & LOWER or words & LOSS:
        return False
    return True if words & HIGHER or re.match(r"(f1|r2|top\d+|auc)", quantity.lower()) else None


def number(value: object) -> float:
    """A cell as a float; nan for what is empty, text or not there."""
    if value is None or isinstance(value, bool):
        return math.nan
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan


def chosen(names: Sequence[str], filled: Mapping[str, int]) -> dict[str, Column]:
    """Which column is which part of a history: train_loss, validation_loss, train_metric, validation_metric, rate.

    Args:
        names: of all columns.
        filled: how many numbers each column holds.
    """
    found = [c for name in names if filled.get(name, 0) and (c := column(name)).kind in ("loss", "metric", "rate")]
    held_part = "validation" if any(c.part == "validation" and c.kind != "rate" for c in found) else "test"
    picked: dict[str, Column] = {}
    for kind in ("loss", "metric"):
        held = [c for c in found if c.kind == kind and c.part == held_part]
        train = [c for c in found if c.kind == kind and c.part in ("train", "")]
        pairs = [(h, t) for h in held for t in train if h.quantity == t.quantity]

        def order(c: Column, kind: str = kind) -> tuple[Any, ...]:
            return (c.per_step, c.quantity != "loss" if kind == "loss" else "acc" not in c.quantity, c.part == "", len(c.quantity))

        if pairs:
            best = min(pairs, key=lambda pair: (order(pair[0]), order(pair[1])))
            picked[f"validation_{kind}"], picked[f"train_{kind}"] = best
        else:
            if held:
                picked[f"validation_{kind}"] = min(held, key=order)
            if train and (kind == "loss" or not held):
                picked[f"train_{kind}"] = min(train, key=order)
    rates = [c for c in found if c.kind == "rate"]
    if rates:
        picked["rate"] = min(rates, key=lambda c: len(c.name))
    return picked


def from_rows(rows: Sequence[Mapping[str, object]], source: str, *, higher_is_better: bool | None = None) -> History:
    """A history from rows of cells, some of which may be empty: one row an epoch, or a row for each thing that was logged.

    Rows of the same epoch are put together. Training values logged between two evaluations are averaged and stand beside the
    later one.

    Raises:
        WellfitError: no column is a loss or a metric.
    """
    names = list(dict.fromkeys(str(name) for row in rows for name in row))
    values = {name: [number(row.get(name)) for row in rows] for name in names}
    filled = {name: sum(math.isfinite(v) or math.isinf(v) or _is_nan_text(row.get(name)) for v, row in zip(column_, rows))
              for name, column_ in values.items()}
    picked = chosen(names, filled)
    if not any(key in picked for key in ("train_loss", "validation_loss", "train_metric", "validation_metric")):
        raise WellfitError("There is no loss among the columns.", received=", ".join(names[:12]) or "no columns", expected=EXPECTED,
                           action="rename the columns, or pass the losses as arrays to wf.diagnosis.history.history_verdict")
    present = {name: [math.isfinite(v) or math.isinf(v) or _is_nan_text(row.get(name)) for v, row in zip(values[name], rows)]
               for name in {c.name for c in picked.values()}}
    clock, unit = _clock(names, values)
    groups = _groups(len(rows), clock, picked, present)
    parts: dict[str, tuple[float, ...]] = {}
    for key, found in picked.items():
        cells, there = values[found.name], present[found.name]
        parts[key] = tuple(_merged([cells[i] for i in group if there[i]], last=key.startswith("validation")) for group in groups)
    at = tuple(clock[group[-1]] if clock is not None else float(i + 1) for i, group in enumerate(groups))
    metric = next((picked[k].quantity for k in ("validation_metric", "train_metric") if k in picked), "")
    higher = higher_is_better if higher_is_better is not None else direction(metric) if metric else None
    notes = tuple([f"{picked[k].name} stands in for validation." for k in ("validation_loss", "validation_metric")
                   if k in picked and picked[k].part == "test"][:1])
    read = {name: parts.get(name) for name in ("train_loss", "validation_loss", "train_metric", "validation_metric", "rate")}
    return History(at, metric=metric, higher_is_better=higher, unit=unit, source=source, notes=notes,
                   columns={key: c.name for key, c in picked.items()}, **read)  # type: ignore[arg-type]


def _is_nan_text(value: object) -> bool:
    """A NaN that was logged, as opposed to an empty cell."""
    return (isinstance(value, str) and value.strip().lower() in ("nan", "-nan")) or (isinstance(value, float) and math.isnan(value))


def _merged(cells: Sequence[float], last: bool) -> float:
    if not cells:
        return math.nan
    return cells[-1] if last else sum(cells) / len(cells)


def _clock(names: Sequence[str], values: Mapping[str, list[float]]) -> tuple[list[float] | None, str]:
    """The column to order by: whole epochs, or steps, or epochs with fractions."""
    clocks = {column(n).quantity: n for n in names if column(n).kind == "clock"}
    epoch = next((clocks[k] for k in ("epoch", "epochs", "epoch_num", "epoch_number") if k in clocks), None)
    steps = ("step", "global_step", "steps", "iteration", "iterations", "iter", "train_step")
    step = next((clocks[k] for k in steps if k in clocks), None)

    def usable(name: str | None) -> bool:
        cells = [] if name is None else values[name]
        return bool(cells) and all(map(math.isfinite, cells)) and all(a <= b for a, b in zip(cells, cells[1:]))

    if usable(epoch):
        return values[epoch], "epoch"  # type: ignore[index]
    if usable(step):
        return values[step], "step"  # type: ignore[index]
    return None, "epoch"


def _groups(count: int, clock: list[float] | None, picked: Mapping[str, Column],
            present: Mapping[str, list[bool]]) -> list[list[int]]:
    """Rows that belong to one evaluation, in order."""
    held = [c.name for k, c in picked.items() if k.startswith("validation")]
    train = [c.name for k, c in picked.items() if k.startswith("train")]
    if clock is not None and all(c == int(c) for c in clock) and len(set(clock)) < count:
        groups: dict[float, list[int]] = {}
        for i in range(count):
            groups.setdefault(clock[i], []).append(i)
        kept = list(groups.values())
    else:
        ends = [i for i in range(count) if any(present[name][i] for name in held)]
        if not held or len(ends) >= 0.9 * count:
            kept = [[i] for i in range(count)]
        else:  # what was logged since the last evaluation, and with it (same clock) but written after it
            kept, start = [], 0
            for n, end in enumerate(ends):
                stop = end + 1
                following = ends[n + 1] if n + 1 < len(ends) else count
                while clock is not None and stop < following and clock[stop] == clock[end]:
                    stop += 1
                kept.append(list(range(start, stop)))
                start = stop
    wanted = held or train
    return [group for group in kept if any(present[name][i] for name in wanted for i in group)]
