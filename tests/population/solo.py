"""The reference for the population: each member trained alone, through a plan and torch's own fused AdamW, in float64."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

import wellfit as wf
from wellfit.core.surgery import batch_norms
from wellfit.drivers.loop import train
from wellfit.population.network import MLP, NetworkSpec
from wellfit.population.problem import Fold, Member, Objective, Problem
from wellfit.population.stack import Stack
from wellfit.population.tiers import TIERS

ROWS, COLUMNS, CLASSES = 120, 6, 3
GENERATOR = torch.Generator().manual_seed(0)
INPUTS = torch.randn(ROWS, COLUMNS, generator=GENERATOR, dtype=torch.float64)
LABELS = torch.randint(0, CLASSES, (ROWS,), generator=GENERATOR)
NUMBERS = INPUTS @ torch.randn(COLUMNS, generator=GENERATOR, dtype=torch.float64) + 0.1
GROUPS = torch.tensor([0, 0, 1, 2, 3, 3])
FOLDS = (Fold(torch.arange(0, 80), torch.arange(80, 120)), Fold(torch.arange(40, 120), torch.arange(0, 40)))
EPOCHS, BATCH = 4, 16


def classification(hidden: tuple[int, ...] = (8, 8, 8), **changes: Any) -> Problem:
    settings: dict[str, Any] = {
        "network": NetworkSpec(COLUMNS, hidden, CLASSES, "silu"), "inputs": INPUTS, "targets": LABELS, "folds": FOLDS,
        "objective": Objective("multiclass", "balanced_accuracy", torch.tensor([1.0, 0.5, 1.5], dtype=torch.float64)),
        "epochs": EPOCHS, "batch_size": BATCH, "rate_schedule": wf.Cosine(1.0, 0.1), "feature_groups": GROUPS}
    return Problem(**{**settings, **changes})


def regression(**changes: Any) -> Problem:
    return classification(network=NetworkSpec(COLUMNS, (8, 8), 1, "tanh"), targets=NUMBERS,
                          objective=Objective("regression", "rmse"), **changes)


@dataclass
class Alone:
    """What a member trained alone gives: its final state, the metrics of each epoch, and the weights judged there."""

    state: dict[str, Tensor]
    history: list[dict[str, float]] = field(default_factory=list)
    judged: list[dict[str, Tensor]] = field(default_factory=list)


class _Enough(Exception):
    pass


def alone(problem: Problem, member: Member) -> Alone:
    """Train one member by the plain loop."""
    spec = problem.network
    model = MLP(spec.inputs, spec.hidden, spec.outputs, spec.activation, seed=member.seed, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wf.WellfitWarning)
        plan = member.recipe.compile(model, seed=member.seed, epochs=problem.epochs, steps_per_epoch=problem.steps_per_epoch,
                                     feature_groups=problem.feature_groups)
    optimizer: torch.optim.Optimizer
    if problem.optimizer == "sgd":
        optimizer = torch.optim.SGD(model.parameters(), lr=member.learning_rate, momentum=0.9)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=member.learning_rate, weight_decay=0, fused=True)
    fold = problem.folds[member.fold]
    rows = fold.train[:problem.rows_per_fold]
    probe = problem.probe(member.fold)
    out = Alone({})

    def after(plan: wf.Plan) -> dict[str, float]:
        with plan.evaluating([problem.inputs[probe]]) as net, torch.no_grad():
            values = {}
            for name, part in (("train", probe), ("validation", fold.validation)):
                outputs, targets = net(problem.inputs[part]), problem.targets[part]
                values[f"{name}_loss"] = float(problem.objective.loss(outputs, targets))
                values[f"{name}_error"] = float(problem.objective.error(outputs, targets))
            out.judged.append({n: t.clone() for n, t in net.state_dict().items()})
        out.history.append(values)
        if member.epochs is not None and len(out.history) >= member.epochs:
            plan.observe(**values)
            raise _Enough
        return values

    try:
        train(plan, optimizer, problem.inputs[rows], problem.targets[rows], problem.objective.loss, epochs=problem.epochs,
              batch_size=problem.batch_size, rate_schedule=problem.rate_schedule, after_epoch=after,
              calibration=[problem.inputs[probe]] if batch_norms(model) else None)
    except _Enough:
        pass
    out.state = {n: t.detach().clone() for n, t in model.state_dict().items()}
    return out


CURRENT_TIER = ["reference"]  # set by the fixture that runs every test with every tier


def new_stack(problem: Problem, members: list[Member], **settings: Any) -> Stack:
    """A stack of the tier under test, in float64."""
    return TIERS[CURRENT_TIER[0]](problem, members, **{"dtype": torch.float64, **settings})


def names(stack: Stack) -> list[str]:
    """Parameters and statistics by the names of MLP's state_dict."""
    return [*stack.shapes, *(statistic_name(n) for n in stack.statistics.shapes)]


def statistic_name(name: str) -> str:
    layer, kind = name.split(".")
    return f"layers.{layer}.wellfit_norm.{kind}"


def state_of(weights: Any, statistics: Any, row: int) -> dict[str, Tensor]:
    out = {n: weights.views[n][row].clone() for n in weights.shapes}
    out.update({statistic_name(n): statistics.views[n][row].clone() for n in statistics.shapes})
    return out


def gap(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """The largest difference over the tensors of ``a``."""
    return max(float((a[n] - b[n]).abs().max()) for n in a)


def allowed(member: Member) -> float:
    """Biases before a norm have gradients of pure rounding noise, which Adam blows up: they agree to fewer digits."""
    return 1e-8 if "batch_norm" in member.recipe else 1e-12


def trained(problem: Problem, members: list[Member], epochs: int | None = None, **settings: Any,
            ) -> tuple[Stack, list[dict[str, np.ndarray]]]:
    stack = new_stack(problem, members, **settings)
    history = []
    for _ in range(epochs or problem.epochs):
        history.append(stack.run_epoch())
    return stack, history


# ------------------------------------------------------------------------------------------------------ the table

S, B = wf.SkipConnections(), wf.BatchNorm()
CASES: dict[str, tuple[Any, ...]] = {
    "nothing": (), "l1": (wf.L1(1e-2),), "l1 first": (wf.L1(wf.Linear(0.0, 5e-2), select="first"),),  # type: ignore[arg-type]
    "l1 all": (wf.L1(1e-2, select="all"),), "l2": (wf.L2(1e-2),), "l2 biases": (wf.L2(wf.WarmUp(0.1), select="biases"),),
    "decay": (wf.WeightDecay(rate=0.5),), "decay unscaled": (wf.WeightDecay(rate=0.01, lr_scaled=False),),
    "timescale": (wf.WeightDecay(timescale=3.0),),
    "timescale schedule": (wf.WeightDecay(timescale=wf.Linear(2.0, 9.0), select="all"),),  # type: ignore[arg-type]
    "elastic net": (wf.ElasticNet(1e-2, l1_ratio=0.3),),
    "elastic net hidden": (wf.ElasticNet(1e-2, l1_ratio=wf.Linear(0.1, 0.9), select="hidden"),),  # type: ignore[arg-type]
    "group lasso": (wf.GroupLasso(2e-2),), "group lasso units": (wf.GroupLasso(1e-2, groups="units", select="weights"),),
    "group lasso twice": (wf.GroupLasso(1e-2, groups="units", select="weights"), wf.GroupLasso(2e-2)),
    "group lasso twice, written the other way": (wf.GroupLasso(2e-2), wf.GroupLasso(1e-2, groups="units", select="weights")),
    "max norm": (wf.MaxNorm(0.5),), "max norm all": (wf.MaxNorm(0.3, select="all"),),
    "dropout": (wf.Dropout(0.3),), "dropout schedule": (wf.Dropout(wf.Linear(0.0, 0.5)),),  # type: ignore[arg-type]
    "noise": (wf.InputNoise(0.2),), "mixup": (wf.Mixup(0.5),), "cut mix": (wf.CutMix(0.7),),
    "cutout": (wf.Cutout(0.7, share=0.3),), "smoothing": (wf.LabelSmoothing(wf.FlatCosine(0.2)),),  # type: ignore[arg-type]
    "patience": (wf.EarlyStopping(patience=1),), "patience 2": (wf.EarlyStopping(patience=2, monitor="validation_error"),),
    "generalization loss": (wf.EarlyStopping(criterion="gl", threshold=0.1),),
    "quotient": (wf.EarlyStopping(criterion="pq", threshold=0.1),), "up": (wf.EarlyStopping(criterion="up", threshold=1),),
    "ema": (wf.EMA(0.9),), "ema 0.5": (wf.EMA(0.5),), "swa": (wf.SWA(0.4),),
    "clipping": (wf.GradientClipping(0.3),), "clipping schedule": (wf.GradientClipping(wf.Linear(0.1, 1.0)),),  # type: ignore[arg-type]
    "skip": (S,), "stochastic depth": (S, wf.StochasticDepth(0.4)),
    "ema and patience": (wf.EMA(0.8), wf.EarlyStopping(patience=1)),
}
MANY: tuple[Any, ...] = (
    wf.L1(1e-3), wf.L2(1e-3), wf.WeightDecay(timescale=3.0), wf.GroupLasso(1e-3), wf.MaxNorm(0.5), wf.Dropout(0.3),
    wf.InputNoise(0.1), wf.Mixup(0.3), wf.CutMix(0.5), wf.Cutout(0.3), wf.LabelSmoothing(0.1), wf.EarlyStopping(patience=2),
    wf.EMA(0.9), wf.GradientClipping(1.0))
CASES["everything"] = MANY
CASES["everything with skips"] = (*MANY, S, wf.StochasticDepth(0.4))
CASES["norm"] = (B,)
CASES["norm and ema"] = (B, wf.EMA(0.8), wf.Dropout(0.2))
CASES["norm, swa and patience"] = (B, wf.SWA(0.3), wf.EarlyStopping(patience=1))
CASES["norm and max norm"] = (B, wf.MaxNorm(0.4))
CASES["norm and everything"] = (B, *MANY, S, wf.StochasticDepth(0.4))
CASES["norm and decay of norms"] = (B, wf.WeightDecay(rate=0.5, select="norms"), wf.L2(0.1, select="norms"))
CASES["group mcp"] = (wf.GroupMCP(2e-2),)  # a case's number is the seed of its member: new ones come last
CASES["group mcp units"] = (wf.GroupMCP(wf.WarmUp(5e-2), wf.Linear(2.0, 0.8), groups="units", select="weights"),)  # type: ignore[arg-type]


def member(name: str) -> Member:
    number = list(CASES).index(name)
    return Member(wf.Recipe(*CASES[name]), 0.03 * (1 + 0.02 * number), seed=number, fold=number % 2)


PROBLEMS = {"classification": classification(), "regression": regression(), "sgd": classification(optimizer="sgd")}


@cache
def alone_by_name(problem: str, name: str) -> Alone:
    return alone(PROBLEMS[problem], member(name))


def together(problem: str, norm: bool) -> tuple[list[str], Stack, list[dict[str, np.ndarray]]]:
    """All cases of one structure in one stack."""
    return _together(problem, norm, CURRENT_TIER[0])


@cache
def _together(problem: str, norm: bool, tier: str) -> tuple[list[str], Stack, list[dict[str, np.ndarray]]]:
    chosen = [n for n in CASES if ("batch_norm" in member(n).recipe) == norm]
    stack, history = trained(PROBLEMS[problem], [member(n) for n in chosen])
    return chosen, stack, history
