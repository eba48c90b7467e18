"""Targets as the network sees them, and predictions as a person reads them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from wellfit.core.errors import WellfitError, nearest
from wellfit.data.notes import quoted
from wellfit.data.table import Table
from wellfit.data.target import Label, Task
from wellfit.data.values import as_text

FORMAT = 1


@dataclass(frozen=True)
class TargetCoder:
    """Class labels to indices and back; regression targets standardised, (y - mean) / std, and back.

    ``classes`` are Python values, ``names`` the same labels as written in the source.
    """

    task: Task
    classes: tuple[Label, ...] | None = None
    names: tuple[str, ...] | None = None
    mean: float = 0.0
    std: float = 1.0

    @classmethod
    def fit(cls, table: Table, rows: np.ndarray) -> TargetCoder:
        """Mean and deviation of the given rows, normally the training rows; the classes are the table's."""
        if table.task != "regression":
            return cls(table.task, table.classes, table.class_names)
        y = table.y[np.asarray(rows)]
        if y.size == 0:
            raise WellfitError("There are no rows to fit the target scale on.", expected="at least one row number")
        std = float(y.std())
        return cls("regression", mean=float(y.mean()), std=std if std > 0 else 1.0)

    def encode(self, y: np.ndarray) -> np.ndarray:
        """A table's ``y`` as the network's target: standardised float32, or the class indices (int64) unchanged."""
        if self.classes is not None:
            return np.asarray(y, dtype=np.int64)
        return ((np.asarray(y, dtype=np.float64) - self.mean) / self.std).astype(np.float32)

    def decode(self, output: np.ndarray) -> np.ndarray:
        """The network's output in the target's own unit, or class indices as labels (an object array)."""
        if self.classes is None:
            return np.asarray(output, dtype=np.float64) * self.std + self.mean
        labels = np.empty(len(self.classes), dtype=object)
        labels[:] = self.classes
        return labels[np.asarray(output, dtype=np.int64)]

    def decode_names(self, index: np.ndarray) -> list[str]:
        """Class indices as the label text of the source."""
        if self.names is None:
            raise WellfitError("A regression target has no class names.", action="use decode()")
        return [self.names[i] for i in np.asarray(index, dtype=np.int64).reshape(-1)]

    def index_of(self, labels: Iterable[object]) -> np.ndarray:
        """Labels of another table as class indices, whether given as text, numbers or booleans."""
        if self.classes is None or self.names is None:
            raise WellfitError("A regression target has no classes.", action="use encode()")
        known: dict[str, int] = {}
        for spelling in ([as_text(label) for label in self.classes], self.names):
            known |= {text: i for i, text in enumerate(spelling)}
        by_case = {text.casefold(): i for text, i in known.items()} if all(
            isinstance(label, bool) for label in self.classes) else known
        texts = [as_text(label) for label in labels]
        found = [known.get(text, by_case.get(text.casefold())) for text in texts]
        strange = sorted({text for text, i in zip(texts, found, strict=True) if i is None})
        if strange:
            close = nearest(strange[0], self.names)
            raise WellfitError("There are labels that the network was not trained on.", received=quoted(strange),
                               expected=quoted(self.names), action=f"did you mean {close!r}?" if close else None)
        return np.array(found, dtype=np.int64)

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; floats survive json exactly."""
        state = asdict(self)
        for key in ("classes", "names"):
            state[key] = None if state[key] is None else list(state[key])
        return {"format": FORMAT, "kind": "wellfit.target", **state}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TargetCoder:
        """The inverse of :meth:`to_dict`."""
        if not isinstance(data, dict) or data.get("kind") != "wellfit.target" or data.get("format") != FORMAT:
            raise WellfitError("This is no saved target coding of this version.",
                               expected=f"what TargetCoder.to_dict() returned, format {FORMAT}")
        try:
            lists = {key: None if data[key] is None else tuple(data[key]) for key in ("classes", "names")}
            return cls(task=data["task"], mean=float(data["mean"]), std=float(data["std"]), **lists)
        except (KeyError, TypeError, ValueError) as error:
            raise WellfitError("The saved target coding is damaged.", received=f"{type(error).__name__}: {error}",
                               expected="what TargetCoder.to_dict() returned") from error
