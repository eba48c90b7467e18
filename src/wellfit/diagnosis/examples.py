"""The examples of a case as plain arrays, where they can be had."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from wellfit.diagnosis.case import Case
from wellfit.population.modules.rows import TensorRows
from wellfit.search.prepare import PreparedTable
from wellfit.search.prepare_task import PreparedTask

_MOST_CELLS = 40_000_000


def inputs_of(case: Case, rows: np.ndarray) -> np.ndarray | None:
    """(n, D) inputs of these rows: of a table as the network gets them, of tensors flattened. None where there is no such thing."""
    prepared = case.prepared
    if isinstance(prepared, PreparedTable):
        return prepared.inputs[rows] if len(rows) * prepared.inputs.shape[1] <= _MOST_CELLS else None
    if isinstance(prepared, PreparedTask) and isinstance(prepared.rows, TensorRows) and isinstance(prepared.rows.inputs, Tensor):
        inputs = prepared.rows.inputs
        if inputs[0].numel() * len(rows) <= _MOST_CELLS and not inputs.is_complex() and prepared.kind in ("images", "rows"):
            return inputs[rows].reshape(len(rows), -1).float().numpy()
    return None


def targets_of(case: Case, rows: np.ndarray) -> np.ndarray:
    """(n,) targets of these rows: class numbers, or values in their own unit."""
    return case.prepared.scorer(rows).y
