"""The loss surface of the first network of a case, on some of the rows that it learned from."""

from __future__ import annotations

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
_PASSES, _WORK = 500, 3e11  # forward passes that the views take (those with gradients count as three), and operations they may


def surface_of(case: Case, weights: Mapping[str, np.ndarray]) -> Surface | None:
    """None for a network that takes no single tensor of numbers, gives no row for each, or takes too much work."""
    rows = np.random.default_rng(case.seed).permutation(case.folds[0][0])[:_ROWS]
    if isinstance(case.prepared, PreparedTable):
        return _of_table(case, case.prepared, weights, np.sort(rows))
    return _of_task(case, case.prepared, weights, rows) if isinstance(case.prepared, PreparedTask) else None


def _of_table(case: Case, prepared: PreparedTable, weights: Mapping[str, np.ndarray], rows: np.ndarray) -> Surface:
    network = Network(prepared.spec(case.settings), dict(weights), "skip_connections" in case.recipe)
    targets: Any = torch.from_numpy(prepared.targets[rows])
    return Surface(module_of(network), torch.from_numpy(prepared.inputs[rows]), targets)


def _of_task(case: Case, prepared: PreparedTask, weights: Mapping[str, np.ndarray], rows: np.ndarray) -> Surface | None:
    from torch.utils.flop_counter import FlopCounterMode

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
    with torch.no_grad(), FlopCounterMode(display=False) as counted:  # counted, not timed: a seed repeats a diagnosis exactly
        outputs = network(inputs[:_FEWEST])
    if not isinstance(outputs, Tensor) or outputs.ndim > 2 or len(outputs) != len(inputs[:_FEWEST]):
        return None
    room = int(_WORK * len(outputs) / (_PASSES * max(counted.get_total_flops(), 1)))
    return Surface(network, inputs[:room], targets[:room]) if room >= min(_FEWEST, len(rows)) else None
