"""Dropout before batch norm, in a network of one's own.

In training, dropout adds variance to what enters the normalisation, which keeps it as its running variance; in evaluation dropout
is off, and the normalisation divides by a variance that its inputs no longer have (Li, Chen, Hu & Yang 2019). There are two cures:
the same dropout after the last normalisation, and the very same weights with statistics of the training rows taken without dropout.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import torch
from pathology_engine import TRAINED, Rows, _Judge, prepared_for
from torch import nn

import wellfit as wf
from wellfit.search.prepare import PreparedTable

CURES = ("dropout after", "statistics without dropout")
RATES, WIDTH, EPOCHS, BATCH, RATE = (0.75, 0.7, 0.8), 128, 60, 32, 1e-3


def network(inputs: int, outputs: int, rate: float, *, spoiled: bool) -> nn.Sequential:
    """Three hidden layers with batch norm; dropout before each, or once after the last."""
    layers: list[nn.Module] = []
    for width in (inputs, WIDTH, WIDTH):
        layers += [nn.Linear(width, WIDTH), nn.ReLU()]
        layers += [nn.Dropout(rate), nn.BatchNorm1d(WIDTH)] if spoiled else [nn.BatchNorm1d(WIDTH)]
    return nn.Sequential(*layers, *([] if spoiled else [nn.Dropout(rate)]), nn.Linear(WIDTH, outputs))


def _adamw(parameters: object, learning_rate: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.0)  # type: ignore[arg-type]


def task_of(rows: pd.DataFrame, seed: int, name: str) -> wf.Task:
    """What is diagnosed."""
    prepared = prepared_for(rows, rows.iloc[:50])
    learned = prepared.split.development
    build = partial(network, prepared.inputs.shape[1], prepared.classes or 1, RATES[seed % 3], spoiled=True)
    targets = prepared.targets[learned]
    return wf.Task(build=build, train=(torch.from_numpy(prepared.inputs[learned]), torch.from_numpy(targets)), optimizer=_adamw,
                   learning_rate=RATE, epochs=EPOCHS, batch_size=BATCH, classes=prepared.classes or None, name=name)


def judged(rows: pd.DataFrame, hidden: pd.DataFrame, seed: int) -> dict[str, Rows]:
    """The spoiled and the cured networks (see :data:`CURES`), trained on the same rows and judged on the hidden ones."""
    prepared = prepared_for(rows, hidden)
    judge = _Judge(prepared, prepared.split.test, None)
    spoiled = [_trained(prepared, RATES[seed % 3], True, start) for start in range(TRAINED)]
    cured = [_trained(prepared, RATES[seed % 3], False, start) for start in range(TRAINED)]
    given = judge([_outputs(m, prepared) for m in spoiled])
    for model in spoiled:
        _take_statistics(model, torch.from_numpy(prepared.inputs[prepared.split.development]))
    return {"given": given, CURES[0]: judge([_outputs(m, prepared) for m in cured]),
            CURES[1]: judge([_outputs(m, prepared) for m in spoiled])}


def _trained(prepared: PreparedTable, rate: float, spoiled: bool, start: int) -> nn.Sequential:
    learned = prepared.split.development
    inputs, targets = torch.from_numpy(prepared.inputs), torch.from_numpy(prepared.targets)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(start)
        model = network(inputs.shape[1], prepared.classes or 1, rate, spoiled=spoiled)
        optimizer = _adamw(model.parameters(), RATE)
        steps = len(learned) // BATCH * EPOCHS
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(EPOCHS):
            order = torch.from_numpy(learned)[torch.randperm(len(learned))]
            for batch in order[: len(learned) // BATCH * BATCH].split(BATCH):
                z = model(inputs[batch])
                loss = (nn.functional.cross_entropy(z, targets[batch]) if prepared.classes
                        else nn.functional.mse_loss(z[:, 0], targets[batch]))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    return model.eval()


def _take_statistics(model: nn.Sequential, inputs: torch.Tensor) -> None:
    """Running means and variances of all training rows at once, with dropout off."""
    for module in model:
        if isinstance(module, nn.BatchNorm1d):
            module.momentum = 1.0
            module.train()
            with torch.no_grad():
                model(inputs)
            module.eval()  # one after the other: what enters the next depends on it


def _outputs(model: nn.Sequential, prepared: PreparedTable) -> np.ndarray:
    with torch.no_grad():
        return model(torch.from_numpy(prepared.inputs[prepared.split.test])).numpy()  # type: ignore[no-any-return]
