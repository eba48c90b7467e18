"""The third tier: it equals the others where they meet, repeats exactly, and goes on where it was stopped."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import wellfit as wf
from wellfit.core.regularizer import Regularizer
from wellfit.population.modules.problem import Judge, ModuleProblem
from wellfit.population.modules.rows import TensorRows
from wellfit.population.modules.stack import ModuleStack
from wellfit.population.modules.table import as_modules
from wellfit.population.network import NetworkSpec
from wellfit.population.pool import Pool, can_fork
from wellfit.population.problem import Fold, Member, Objective, Problem
from wellfit.population.reference import ReferenceStack
from wellfit.population.train import Wants

ROWS, COLUMNS, CLASSES = 90, 5, 3
INPUTS = torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = (INPUTS[:, 0] > 0).long() + (INPUTS[:, 1] > 0.5).long()
FOLDS = (Fold(torch.arange(0, 60), torch.arange(60, 90)), Fold(torch.arange(30, 90), torch.arange(0, 30)))


def table(classification: bool = True) -> Problem:
    task = "multiclass" if classification else "regression"
    return Problem(NetworkSpec(COLUMNS, (8, 8), CLASSES if classification else 1), INPUTS,
                   LABELS if classification else INPUTS[:, 0] * INPUTS[:, 1], FOLDS,
                   Objective(task, "accuracy" if classification else "rmse"), epochs=4, batch_size=16,
                   rate_schedule=wf.Cosine(1.0, 0.0))


RECIPES = [
    wf.Recipe(), wf.Recipe(wf.Dropout(0.3), wf.WeightDecay(timescale=5.0)), wf.Recipe(wf.L1(1e-3), wf.MaxNorm(1.0)),
    wf.Recipe(wf.Mixup(0.4), wf.LabelSmoothing(0.1)), wf.Recipe(wf.BatchNorm(), wf.EMA(0.9)),
    wf.Recipe(wf.SkipConnections(), wf.StochasticDepth(0.3)), wf.Recipe(wf.EarlyStopping(patience=1), wf.InputNoise(0.2)),
    wf.Recipe(wf.SWA(0.3), wf.GradientClipping(0.5), wf.CutMix(0.5)),
]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: "+".join(p.name for p in r) or "none")
def test_it_equals_the_stack_of_tensors(recipe: wf.Recipe) -> None:
    problem, member = table(), Member(recipe, 5e-3, seed=3, fold=1)
    stacked = ReferenceStack(problem, [member], dtype=torch.float64)
    alone = ModuleStack(replace(as_modules(problem), build=lambda seed: wf.MLP(COLUMNS, (8, 8), CLASSES, seed=seed,
                                                                              dtype=torch.float64),
                                rows=Float64Rows(INPUTS, LABELS)), [member])
    while not stacked.done:
        theirs, mine = stacked.run_epoch(), alone.run_epoch()
        for name, values in theirs.items():
            np.testing.assert_allclose(mine[name], values, rtol=1e-9, atol=1e-12, err_msg=name)
        assert stacked.done == alone.done
    rows = torch.arange(20)
    np.testing.assert_allclose(alone.final_outputs(rows, [0]), stacked.final_outputs(rows, [0]), rtol=1e-5, atol=1e-6)
    weights = stacked.final_weights(0)
    for name, value in alone.final_weights(0).items():
        if name in weights:
            # a bias in front of a batch norm has a gradient of rounding noise, which Adam blows up
            np.testing.assert_allclose(value, weights[name], rtol=1e-9, atol=1e-7 if "batch_norm" in recipe else 1e-12,
                                       err_msg=name)


class Float64Rows(TensorRows):
    """Examples in double precision, so that two implementations can be told from rounding."""

    def __init__(self, inputs: torch.Tensor, targets: torch.Tensor):
        super().__init__(inputs, targets)
        self.inputs = inputs


class Noisy(nn.Module):
    """A network that draws for itself, from torch's generator."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(COLUMNS, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, CLASSES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x + 0.1 * torch.randn_like(x) if self.training else x)


def own(epochs: int = 4, build: type[nn.Module] = Noisy) -> ModuleProblem:
    judge = Judge("multiclass", "accuracy", nn.CrossEntropyLoss())
    return ModuleProblem(lambda seed: build(), TensorRows(INPUTS, LABELS), FOLDS, judge, epochs, 16, classes=CLASSES)


def test_a_run_repeats_exactly_and_leaves_the_caller_alone() -> None:
    member = Member(wf.Recipe(wf.WeightDecay(timescale=5.0)), 1e-2, seed=5)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    histories = []
    for _ in range(2):
        stack = ModuleStack(own(), [member])
        histories.append([stack.run_epoch()["validation_loss"][0] for _ in range(4)])
        torch.rand(3)  # what happens around it does not matter
    assert histories[0] == histories[1]
    torch.set_rng_state(before)
    stack = ModuleStack(own(), [member])
    stack.run_epoch()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("part", [wf.L1(1e-3), wf.EMA(0.9), wf.EarlyStopping(patience=2), wf.Mixup(0.3), wf.BatchNorm()],
                         ids=lambda p: p.name)
def test_it_goes_on_from_a_checkpoint(part: Regularizer) -> None:
    member = Member(wf.Recipe(part), 1e-2, seed=2, fold=1)
    whole = ModuleStack(own(), [member])
    expected = [whole.run_epoch() for _ in range(4)]
    first = ModuleStack(own(), [member])
    for _ in range(2):
        first.run_epoch()
    second = ModuleStack(own(), [member])
    second.load_state({k: v.clone() for k, v in first.state().items()})
    for epoch in (2, 3):
        found = second.run_epoch()
        assert {k: v.tolist() for k, v in found.items()} == {k: v.tolist() for k, v in expected[epoch].items()}
    for name, value in second.final_weights(0).items():
        assert np.array_equal(value, whole.final_weights(0)[name]), name


def test_the_optimizers_own_decay_is_taken_out() -> None:
    problem = replace(own(), optimizer=lambda p, rate: torch.optim.SGD(p, lr=rate, weight_decay=0.1))
    assert [g["weight_decay"] for g in ModuleStack(problem, [Member(wf.Recipe(), 0.1)]).optimizer.param_groups] == [0.0]


@pytest.mark.skipif(not can_fork(), reason="processes cannot be copied here")
def test_copied_processes_give_what_one_process_gives(tmp_path: Path) -> None:
    members = {n: Member(wf.Recipe(wf.Dropout(0.1 * n)), 1e-2, seed=n, fold=n % 2) for n in range(4)}
    wants = Wants(weights=True, extra_rows=torch.arange(5))
    records = []
    for workers in (1, 2):
        with Pool(workers) as pool:
            records.append(pool.train("own", own(), members, wants=wants, folder=tmp_path / str(workers)))
    for n in members:
        assert records[0][n].history == records[1][n].history
        assert np.array_equal(records[0][n].outputs, records[1][n].outputs)  # type: ignore[arg-type]
        assert np.array_equal(records[0][n].extra, records[1][n].extra)  # type: ignore[arg-type]


ORPHANS = """
import os, sys, torch
from torch import nn
from wellfit import Recipe
from wellfit.population.modules.problem import Judge, ModuleProblem
from wellfit.population.modules.rows import TensorRows
from wellfit.population.pool import Pool
from wellfit.population.problem import Fold, Member

x, y = torch.rand(40, 3), torch.arange(40) % 2
problem = ModuleProblem(lambda seed: nn.Linear(3, 2), TensorRows(x, y), (Fold(torch.arange(30), torch.arange(30, 40)),),
                        Judge("binary", "accuracy", nn.CrossEntropyLoss()), 2, 8, classes=2)
with Pool(3) as pool:
    pool.train("one", problem, {n: Member(Recipe(), 1e-2, seed=n) for n in range(3)})
    print(*[p.pid for p in pool._processes], flush=True)
    os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(not can_fork(), reason="processes cannot be copied here")
def test_copied_processes_end_with_their_parent() -> None:
    done = subprocess.run([sys.executable, "-c", ORPHANS], capture_output=True, text=True, check=False)
    workers = [int(w) for w in done.stdout.split()]
    assert len(workers) == 3, done.stderr
    until = time.monotonic() + 20
    while time.monotonic() < until and any(Path(f"/proc/{w}").exists() for w in workers):
        time.sleep(0.05)
    assert not [w for w in workers if Path(f"/proc/{w}").exists()]
