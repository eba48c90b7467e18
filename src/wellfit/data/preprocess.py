"""Turn the columns of a table into the float32 matrix a network sees, the same way again for new rows."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wellfit.core.errors import WellfitError, WellfitWarning
from wellfit.data.columns import Cells, Column, coerce
from wellfit.data.encode import COARSE, Calendar, Categories, Flag, Numbers, day_count
from wellfit.data.notes import plural, quoted
from wellfit.data.read import with_plain_names
from wellfit.data.table import Table, missing_columns_error

FORMAT = 1
BINS = {"plain": 0, "piecewise": COARSE, "fine": 48}  # of a column of numbers
ENCODINGS = tuple(BINS)
SCALINGS = ("robust", "standard")
CHUNK_CELLS = 1 << 24


@dataclass(frozen=True, eq=False, repr=False)
class Preprocessor:
    """Fitted on some rows of a table; maps any frame with the same columns to numbers.

    Numeric columns: median where missing plus an output that says so, robust scaling and a smooth clip to ±3, see
    ``encode.Numbers``; with ``encoding="piecewise"`` also 8 piecewise-linear bins, with ``"fine"`` 48. Categories: one
    output each, see ``encode.Categories``. Flags: ±1. Dates: running days, and month, weekday and hour on a circle.
    Outputs that are constant on the fitted rows are left out.

    Attributes:
        names: the name of every output column, length D.
        groups: for every output column the index into ``group_names`` of the source column it came from, shape (D,).
        group_names: the source columns that have at least one output, in table order.
        settings: encoding, scaling, max_categories, n_bins.
        columns: the source columns needed.
    """

    columns: tuple[Column, ...]
    settings: dict[str, Any]
    numbers: Numbers
    encoders: dict[str, Categories | Flag | Calendar]
    names: tuple[str, ...]
    groups: np.ndarray
    group_names: tuple[str, ...]
    places: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def fit(cls, table: Table, rows: np.ndarray | Sequence[int], *, encoding: str = "plain", scaling: str = "robust",
            max_categories: int = 32, n_bins: int | None = None) -> Preprocessor:
        """Learn medians, scales, categories and bins from ``rows`` of the table, normally the training rows.

        ``n_bins`` is another number of bins than the encoding's own.
        """
        for what, value, known in (("encoding", encoding, ENCODINGS), ("scaling", scaling, SCALINGS)):
            if value not in known:
                raise WellfitError(f"This {what} is not known.", received=value, expected=" or ".join(known))
        bins = 0 if encoding == "plain" else n_bins or BINS[encoding]
        for what, count, least in (("max_categories", max_categories, 1), ("n_bins", 2 if n_bins is None else n_bins, 2)):
            if count < least:
                raise WellfitError(f"{what} is too small.", received=count, expected=f"at least {least}")
        rows = np.asarray(rows)
        if rows.size == 0:
            raise WellfitError("There are no rows to fit the preprocessing on.", expected="at least one row number")
        columns = table.features
        cells, _ = _read_cells(table.frame.iloc[rows], columns)
        numbers = Numbers.fit(_matrix(cells, columns), scaling=scaling,
                              n_bins=bins)
        encoders: dict[str, Categories | Flag | Calendar] = {}
        for column in columns:
            values = cells[column.name]
            if isinstance(values, pd.Categorical):
                encoders[column.name] = Categories.fit(values, max_categories)
            elif column.kind == "boolean":
                encoders[column.name] = Flag.fit(values)
            elif column.kind == "date":
                encoders[column.name] = Calendar.fit(values)
        settings = {"encoding": encoding, "scaling": scaling, "max_categories": max_categories, "n_bins": bins}
        whole = cls._assemble(columns, settings, numbers, encoders, None)
        encoded = whole._encode(cells, len(rows))
        keep = np.flatnonzero(encoded.max(axis=0) > encoded.min(axis=0)) if encoded.size else np.empty(0, dtype=int)
        if len(keep) == 0:
            raise WellfitError("No column varies over the rows the preprocessing is fitted on.",
                               received=plural(len(rows), "row"), expected="at least one column with two values")
        return cls._assemble(columns, settings, numbers, encoders, keep)

    @classmethod
    def _assemble(cls, columns: tuple[Column, ...], settings: dict[str, Any], numbers: Numbers,
                  encoders: dict[str, Categories | Flag | Calendar], keep: np.ndarray | None) -> Preprocessor:
        """Lay the outputs out in table order, all outputs of one source together, without those not in ``keep``."""
        numeric = _numeric_names(columns)
        blocks = [("", [(numeric[i], name) for i, name in numbers.outputs(numeric)])]
        blocks += [(source, [(source, name) for name in encoder.outputs(source)])
                   for source, encoder in encoders.items()]
        flat = [(source, name, block, i) for block, outputs in blocks for i, (source, name) in enumerate(outputs)]
        rank = {column.name: i for i, column in enumerate(columns)}
        order = sorted(range(len(flat)), key=lambda j: rank[flat[j][0]])
        laid = [flat[j] for j in order]
        chosen = laid if keep is None else [laid[int(j)] for j in keep]
        places = {block: np.full(len(outputs), -1, dtype=np.int64) for block, outputs in blocks}
        for position, (_, _, block, i) in enumerate(chosen):
            places[block][i] = position
        sources = [source for source, *_ in chosen]
        group_names = tuple(dict.fromkeys(sources))
        number_of = {name: i for i, name in enumerate(group_names)}
        return cls(columns, settings, numbers, encoders, tuple(name for _, name, *_ in chosen),
                   np.array([number_of[source] for source in sources], dtype=np.int64), group_names, places)

    def __repr__(self) -> str:
        return f"Preprocessor({len(self.columns)} columns -> {len(self.names)} numbers, {self.settings['encoding']})"

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Columns to pass to ``read_frame(text=...)`` so that a category ``007`` is not read as the number 7."""
        return tuple(column.name for column in self.columns if column.kind == "categorical")

    def transform(self, frame: pd.DataFrame) -> np.ndarray:
        """The matrix of shape (rows, D), float32 and always finite.

        Columns may be in any order and more than needed. Cells that cannot be read count as missing, with a warning.
        """
        if not isinstance(frame, pd.DataFrame):
            raise WellfitError("transform needs a data frame.", received=type(frame).__name__,
                               expected="a pandas DataFrame", action="read_frame(path) makes one from a file")
        if list(frame.columns) != [column.name for column in self.columns]:
            frame = with_plain_names(frame.copy(deep=False), "the table to predict", [])
        missing = [column.name for column in self.columns if column.name not in frame.columns]
        if missing:
            raise missing_columns_error("The table lacks columns that the network was trained on.", missing,
                                        list(frame.columns))
        cells, unreadable = _read_cells(frame, self.columns)
        if unreadable:
            parts = [f"{name!r}: {plural(count, 'cell')} such as {quoted(examples)}"
                     for name, (count, examples) in list(unreadable.items())[:8]]
            more = f"; and {len(unreadable) - 8} more columns" if len(unreadable) > 8 else ""
            warnings.warn(f"Cells that could not be read are taken as missing. {'; '.join(parts)}{more}.",
                          WellfitWarning, stacklevel=2)
        step = max(1, CHUNK_CELLS // (len(self.names) + 1))
        if len(frame) <= step:
            return self._encode(cells, len(frame))
        return np.concatenate([self._encode({name: values[a:a + step] for name, values in cells.items()},
                                            min(step, len(frame) - a)) for a in range(0, len(frame), step)])

    def _encode(self, cells: dict[str, Cells], n_rows: int) -> np.ndarray:
        out = np.empty((n_rows, len(self.names)), dtype=np.float32)
        self._put(out, "", self.numbers.transform(_matrix(cells, self.columns, n_rows)))
        for source, encoder in self.encoders.items():
            values: Any = cells[source]
            self._put(out, source, encoder.transform(values))
        return out

    def _put(self, out: np.ndarray, block: str, values: np.ndarray) -> None:
        place = self.places[block]
        used = place >= 0
        out[:, place[used]] = values if used.all() else values[:, used]

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; floats survive json exactly."""
        encoders = {source: {"type": type(encoder).__name__, **encoder.to_dict()}
                    for source, encoder in self.encoders.items()}
        return {"format": FORMAT, "kind": "wellfit.preprocessor", "settings": dict(self.settings),
                "columns": [asdict(column) for column in self.columns], "numbers": self.numbers.to_dict(),
                "encoders": encoders, "outputs": self._kept()}

    def _kept(self) -> list[int]:
        """Positions of the outputs in use within the full layout."""
        whole = self._assemble(self.columns, self.settings, self.numbers, self.encoders, None)
        kept = [whole.places[block][place >= 0] for block, place in self.places.items()]
        return sorted(int(i) for i in np.concatenate(kept))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Preprocessor:
        """The inverse of :meth:`to_dict`."""
        if not isinstance(data, dict) or data.get("kind") != "wellfit.preprocessor":
            raise WellfitError("This is no saved preprocessing.", expected="what Preprocessor.to_dict() returned")
        if data.get("format") != FORMAT:
            raise WellfitError("The saved preprocessing has an unknown format.", received=data.get("format"),
                               expected=FORMAT, action="use the version of wellfit that wrote it")
        kinds: dict[str, Any] = {"Categories": Categories, "Flag": Flag, "Calendar": Calendar}
        try:
            columns = tuple(Column(**column) for column in data["columns"])
            encoders = {source: kinds[state["type"]](**{k: v for k, v in state.items() if k != "type"})
                        for source, state in data["encoders"].items()}
            return cls._assemble(columns, dict(data["settings"]), Numbers(**data["numbers"]), encoders,
                                 np.array(data["outputs"], dtype=np.int64))
        except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
            raise WellfitError("The saved preprocessing is damaged.", received=f"{type(error).__name__}: {error}",
                               expected="what Preprocessor.to_dict() returned") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write as JSON."""
        Path(path).write_text(json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False), encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Preprocessor:
        """Read what :meth:`save` wrote."""
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise WellfitError("The saved preprocessing cannot be read.", received=f"{path}: {error}",
                               expected="a JSON file written by Preprocessor.save") from error


def _numeric_names(columns: Sequence[Column]) -> list[str]:
    return [column.name for column in columns if column.kind in ("numeric", "date")]


def _read_cells(frame: pd.DataFrame, columns: Sequence[Column]
                ) -> tuple[dict[str, Cells], dict[str, tuple[int, tuple[str, ...]]]]:
    """Every needed column in its uniform type, and per column how many cells could not be read."""
    cells: dict[str, Cells] = {}
    unreadable: dict[str, tuple[int, tuple[str, ...]]] = {}
    for column in columns:
        try:
            cells[column.name], n_bad, examples = coerce(frame[column.name], column)
        except TypeError as error:
            raise WellfitError(f"Column {column.name!r} holds values that are no table cells.",
                               expected=f"{column.kind} values") from error
        if n_bad:
            unreadable[column.name] = (n_bad, examples)
    return cells, unreadable


def _matrix(cells: dict[str, Cells], columns: Sequence[Column], n_rows: int | None = None) -> np.ndarray:
    """Numbers and day counts side by side, float64 with NaN where missing."""
    parts = [day_count(np.asarray(cells[column.name])) if column.kind == "date" else np.asarray(cells[column.name])
             for column in columns if column.kind in ("numeric", "date")]
    rows = n_rows if n_rows is not None else len(next(iter(cells.values())))
    return np.stack(parts, axis=1) if parts else np.empty((rows, 0))
