"""The built-in network on a table as a problem of the third tier, for recipes that cannot be stacked."""

from __future__ import annotations

from functools import partial

import torch

from wellfit.population.modules.problem import Judge, MakeOptimizer, ModuleProblem, adamw
from wellfit.population.modules.rows import TensorRows
from wellfit.population.network import MLP, NetworkSpec
from wellfit.population.problem import MOMENTUM, Problem


def as_modules(problem: Problem) -> ModuleProblem:
    """The same data, network, objective and length, for :class:`~wellfit.population.modules.stack.ModuleStack`."""
    optimizers: dict[str, MakeOptimizer] = {"adam": adamw, "sgd": partial(torch.optim.SGD, momentum=MOMENTUM)}
    problem = problem.there
    return ModuleProblem(
        build=partial(_build, problem.network), rows=TensorRows(problem.inputs, problem.targets), folds=problem.folds,
        judge=Judge(problem.objective.task, problem.objective.metric, problem.objective.loss), epochs=problem.epochs,
        batch_size=problem.batch_size, optimizer=optimizers[problem.optimizer], rate_schedule=problem.rate_schedule,
        classes=problem.classes, feature_groups=problem.feature_groups, probe_rows=problem.probe_rows,
        device=problem.device, evaluation_batch=4096)


def _build(spec: NetworkSpec, seed: int) -> MLP:
    return MLP(spec.inputs, spec.hidden, spec.outputs, spec.activation, seed=seed)
