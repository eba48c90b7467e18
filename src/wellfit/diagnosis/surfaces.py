"""The loss surface of the first network of a case, on some of the rows that it learned from."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wellfit.diagnosis.case import Case
from wellfit.diagnosis.measures.surface import Surface, module_of
from wellfit.population.inference import Network
from wellfit.search.predict_task import network_with
from wellfit.search.prepare import PreparedTable
from wellfit.search.prepare_task import PreparedTask, fresh

_ROWS, _FEWEST = 384, 32
_PASSES, _SECONDS = 500, 12.0  # forward passes that the views take (those with gradients count as three), and how long they may


def surface_of(case: Case, weights: Mapping[str, np.ndarray]) -> Surface | None:
    """None for a network whose inputs are no single tensor of numbers, whose outputs are no row each, or that is too slow."""
    rows = np.random.default_rng(case.seed).permutation(case.folds[0][0])[:_ROWS]
    if isinstance(case.prepared, PreparedTable):
        return _of_table(case, case.prepared, weights, np.sort(rows))
    return _of_task(case, case.prepared, weights, rows) if isinstance(case.prepared, PreparedTask) else None


def _of_table(case: Case, prepared: PreparedTable, weights: Mapping[str, np.ndarray], rows: np.ndarray) -> Surface:
    network = Network(prepared.spec(case.settings), dict(weights), "skip_connections" in case.recipe)
    targets: Any = torch.from_numpy(prepared.targets[rows])
    return Surface(module_of(network), torch.from_numpy(prepared.inputs[rows]), targets)


def _of_task(case: Case, prepared: PreparedTask, weights: Mapping[str, np.ndarray], rows: np.ndarray) -> Surface | None:
    inputs, _ = prepared.rows.take(torch.from_numpy(rows))
    features = prepared.source.features
    with torch.no_grad():
        inputs = inputs if features is None else features(inputs)
    labels = prepared.labelled.y[rows]
    if not isinstance(inputs, Tensor) or not inputs.dtype.is_floating_point or labels.ndim != 1:
        return None
    inputs = inputs.detach().cpu()
    network = network_with(partial(fresh, prepared.build(case.settings)), case.recipe,
                           {n: torch.from_numpy(np.ascontiguousarray(w)) for n, w in weights.items()}).cpu()
    targets = torch.from_numpy(labels).long() if prepared.classes else torch.from_numpy(labels).float()
    begun = time.perf_counter()
    with torch.no_grad():
        outputs = network(inputs[:_FEWEST])
    if not isinstance(outputs, Tensor) or outputs.ndim > 2 or len(outputs) != len(inputs[:_FEWEST]):
        return None
    a_row = (time.perf_counter() - begun) / _FEWEST
    room = int(_SECONDS / max(_PASSES * a_row, 1e-9))
    return Surface(network, inputs[:room], targets[:room]) if room >= min(_FEWEST, len(rows)) else None
