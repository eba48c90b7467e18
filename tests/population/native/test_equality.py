"""The native tier means what the reference tier means: every component, alone and together, in every mode, to the last digits."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import wellfit as wf
from population import solo
from population.solo import CASES, classification, member, regression
from wellfit.core.errors import WellfitError
from wellfit.core.hyper import hypers, options
from wellfit.core.operands import Batch, Values
from wellfit.core.phases import phases_of
from wellfit.core.registry import registered
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.noise import threshold16
from wellfit.population.native import library
from wellfit.population.native.library import Engine
from wellfit.population.native.translate import PARTS, STRUCTURAL, VALUES, beyond
from wellfit.population.network import ACTIVATIONS, NetworkSpec
from wellfit.population.problem import Fold, Member, MetricNames, Objective, Problem
from wellfit.population.stack import Stack
from wellfit.population.tiers import TIERS

pytestmark = pytest.mark.skipif(library.engine() is None, reason=library.why_not() or "there is a native engine")


# ---------------------------------------------------------------------------------------------------- what is compared


@dataclass
class Trained:
    """What a tier made of some members: every number it holds, by name and (K, ...), and the metrics of each epoch, (K, epochs)."""

    stack: Stack
    state: dict[str, torch.Tensor]
    metrics: dict[str, np.ndarray]

    def rows(self, which: Sequence[int]) -> dict[str, np.ndarray]:
        """All of it, for some members."""
        return {**{n: v[list(which)].double().numpy() for n, v in self.state.items()},
                **{n: v[list(which)] for n, v in self.metrics.items()}}


NOISE = ", of rounding noise"


def train(tier: str, problem: Problem, members: Sequence[Member], *, epochs: int | None = None, threads: int = 1,
          dtype: torch.dtype = torch.float64, nudge: bool = False) -> Trained:
    """``nudge``: from weights that differ in their last digit."""
    stack = TIERS[tier](problem, members, dtype=dtype)
    if nudge:
        noise = torch.randn(stack.weights.values.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        stack.weights.values.mul_(1 + 4e-16 * noise)
    if tier == "native":
        stack.threads = threads  # type: ignore[attr-defined]
    history = [stack.run_epoch() for _ in range(problem.epochs if epochs is None else epochs)]
    final, judged = stack.final(), stack.judged()
    state = {"best epoch": torch.from_numpy(stack.best_epoch.copy()), "stopped": torch.from_numpy(stack.stopped.copy())}
    for kind, flat in (("weights", stack.weights), ("first moments", stack.first), ("second moments", stack.second),
                       ("statistics", stack.statistics), ("final weights", final[0]), ("final statistics", final[1]),
                       ("judged weights", judged[0]), ("judged statistics", judged[1]), ("averages", stack.averages)):
        for name, view in flat.views.items() if flat is not None else ():
            if name in stack.shapes or name in stack.statistics.shapes:  # else a view of several
                state[kind + " " + name + (NOISE if is_noise(stack, name) else "")] = view.clone()
    if stack.averages is not None:
        own = np.any([s.present for s in stack._slots("average")], axis=0)
        for name, value in state.items():
            if name.startswith("averages"):
                value[torch.from_numpy(~own)] = 0.0
    return Trained(stack, state, {n: np.stack([row[n] for row in history], axis=1) for n in history[0]} if history else {})


def is_noise(stack: Stack, name: str) -> bool:
    """A bias before a norm has a gradient of rounding noise, which Adam blows up; the running mean takes the bias out again."""
    layer = int(name.removeprefix("layers.").split(".")[0])
    return (stack.norm and stack.problem.optimizer == "adam" and layer < len(stack.problem.network.hidden)
            and (name == f"layers.{layer}.bias" or name.endswith("running_mean")))


def differ(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> dict[str, float]:
    """The largest differences, relative to what is larger than one. Equal infinities and nans are equal."""
    out = {}
    for name, a in found.items():
        b = expected.get(name, np.zeros(1))
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        with np.errstate(invalid="ignore"):
            away = np.where(same, 0.0, np.abs(a - b) / np.maximum(1.0, np.abs(b)))
        out[name] = float(np.nan_to_num(away, nan=math.inf).max(initial=0.0))
    return out


def allowed(name: str, norm: bool) -> float:
    """What rounding in another order may come to after 50 steps.

    With a norm every number but the noise itself agrees as well as without; metrics see a running mean that lags behind the noise.
    """
    if name.endswith(NOISE):
        return 1e-6
    return 1e-8 if norm and name in MetricNames else 1e-10


def close(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], norm: bool) -> None:
    too_far = {n: away for n, away in differ(found, expected).items() if away > allowed(n, norm)}
    assert not too_far


def agree(problem: Problem, members: Sequence[Member], *, epochs: int | None = None, threads: int = 1) -> None:
    for own in members:
        assert beyond(problem, own) == ""
    found = train("native", problem, members, epochs=epochs, threads=threads)
    expected = train("reference", problem, members, epochs=epochs)
    close(found.rows(range(len(members))), expected.rows(range(len(members))), found.stack.norm)


# ----------------------------------------------------------------------------------------------------------- the table

FIFTY: dict[str, Any] = {"epochs": 5, "batch_size": 8}  # 80 rows a fold: 10 steps an epoch
FOLDS = (*solo.FOLDS, Fold(torch.arange(20, 105), torch.cat([torch.arange(0, 20), torch.arange(105, 120)])))
PROBLEMS = {"classification": classification(**FIFTY, folds=FOLDS), "regression": regression(**FIFTY, folds=FOLDS),
            "sgd": classification(**FIFTY, folds=FOLDS, optimizer="sgd")}

NOT_NATIVE: dict[str, str] = {}
"""Cases of ``solo.CASES`` that the compiled engine leaves to the reference tier, with the reason it gives."""

NATIVE_CASES = [n for n in CASES if n not in NOT_NATIVE]


def one(name: str) -> list[Member]:
    return [member(name)]


def many(name: str) -> list[Member]:
    base = member(name)
    return [dataclasses.replace(base, seed=100 + k, learning_rate=base.learning_rate * (0.25 + 0.25 * k)) for k in range(7)]


def over_folds(name: str) -> list[Member]:
    base = member(name)
    return [dataclasses.replace(base, seed=base.seed + 10 * k, fold=k % 3) for k in range(4)]


MODES = {"one member": one, "many members": many, "folds": over_folds}


def test_the_table_trains_fifty_steps() -> None:
    assert {p.total_steps for p in PROBLEMS.values()} == {50}


def normed(name: str) -> bool:
    return "batch_norm" in member(name).recipe


@cache
def by_reference(problem: str, mode: str, norm: bool) -> tuple[Trained, dict[str, list[int]]]:
    """All cells of a mode in one stack of the reference tier, which saves most of the time; and which of its rows are whose."""
    members: list[Member] = []
    rows = {}
    for name in (n for n in NATIVE_CASES if normed(n) == norm):
        own = MODES[mode](name)
        rows[name] = list(range(len(members), len(members) + len(own)))
        members += own
    return train("reference", PROBLEMS[problem], members), rows


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", NATIVE_CASES)
def test_the_tiers_agree(name: str, problem: str, mode: str) -> None:
    members = MODES[mode](name)
    found = train("native", PROBLEMS[problem], members, threads=2 if mode == "many members" else 1)
    expected, rows = by_reference(problem, mode, normed(name))
    close(found.rows(range(len(members))), expected.rows(rows[name]), normed(name))


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("norm", [False, True], ids=["plain", "normed"])
def test_the_tiers_agree_on_all_cases_at_once(problem: str, norm: bool) -> None:
    agree(PROBLEMS[problem], [member(n) for n in NATIVE_CASES if normed(n) == norm], threads=2)


# ------------------------------------------------------------------------------- every choice and every schedule there is

SELECTIONS = ("weights", "first", "hidden", "last", "biases", "norms", "all", "layers.1.*")
BEYOND = {(name, s): f"{name} on biases or norms" for name in ("group_lasso", "group_mcp")
          for s in ("biases", "norms", "all", "layers.1.*")}
BEYOND["input_noise", "batch"] = "input_noise on the scale of the batch"
"""Variants that the compiled engine leaves to the reference tier."""


def built_in() -> dict[str, type[Regularizer]]:
    """What wellfit registers itself for rows of features; tests and programs may have added to the registry."""
    return {n: kind for n, kind in registered().items()
            if kind.__module__.startswith("wellfit.") and kind.takes in ("anything", "rows") and kind.stacked}


def known() -> dict[str, type[Regularizer]]:
    """Those of them that the compiled engine has, or that a stack of any tier judges itself."""
    return {n: kind for n, kind in built_in().items() if kind in VALUES or kind in PARTS or kind in STRUCTURAL
            or set(phases_of(kind)) <= {"monitor", "average"}}


UNKNOWN = {n: f"{n} is not built in" for n in built_in() if n not in known()}
"""Registered regularizers that are in no cell, with the reason the compiled engine gives."""


def variants(kind: type[Regularizer]) -> Iterator[Regularizer]:
    """A part for each choice of each option, and for each hyperparameter on a schedule and at its neutral value."""
    starts: list[dict[str, Any]] = [{}] if kind is not wf.WeightDecay else [{"rate": 0.1}, {"timescale": 4.0}]
    for start in starts:
        yield kind(**start)
        for name, declared in hypers(kind).items():
            usable = start.get(name, getattr(kind, name)) is not None
            if usable and declared.has_neutral:
                yield kind(**{**start, name: declared.neutral})
            if usable and declared.dynamic:
                low, high = declared.search or (declared.low, min(declared.high, 1.0))
                yield kind(**{**start, name: wf.Linear(high, low)})
                if declared.accepts(0.0):
                    yield kind(**{**start, name: wf.WarmUp(high)})
        for name, declared in options(kind).items():
            for choice in declared.choices or SELECTIONS:
                if choice != "existing":  # dropout modules, of which the built-in network has none
                    yield kind(**{**start, name: choice})


def members_with(parts: Sequence[Regularizer], norm: bool) -> list[Member]:
    out = []
    for n, part in enumerate(parts):
        beside = [wf.BatchNorm()] if norm and part.name != "batch_norm" else []
        beside += [wf.SkipConnections()] if "skip_connections" in part.requires else []
        out.append(Member(wf.Recipe(*beside, part), 0.02, seed=n, fold=n % 3))
    return out


@pytest.mark.parametrize("norm", [False, True], ids=["plain", "normed"])
@pytest.mark.parametrize("name", known())
def test_the_tiers_agree_on_every_choice_and_schedule(name: str, norm: bool) -> None:
    problem = dataclasses.replace(PROBLEMS["classification"], epochs=2)
    members = members_with(list(variants(built_in()[name])), norm or name == "batch_norm")
    native = []
    for own in members:
        part = own.recipe.parts[-1]
        reason = beyond(problem, own)
        # without a norm "norms" selects nothing, which is nothing to refuse
        expected = BEYOND.get((name, getattr(part, "select", getattr(part, "scale", ""))), "")
        assert reason == (expected if norm or getattr(part, "select", "") != "norms" else ""), part
        native += [own] if not reason else []
    agree(problem, native)


def test_every_regularizer_is_in_the_table_or_said_not_to_be() -> None:
    cells = {part.name for name in NATIVE_CASES for part in CASES[name]}
    assert set(built_in()) - cells == set(UNKNOWN)
    assert not cells & set(UNKNOWN)


def test_what_is_not_native_gives_its_reason() -> None:
    problem = PROBLEMS["classification"]
    assert {n: reason for n in CASES if (reason := beyond(problem, member(n)))} == NOT_NATIVE
    for name, reason in UNKNOWN.items():
        (own,) = members_with([next(variants(built_in()[name]))], norm=False)
        assert beyond(problem, own) == reason


@dataclass(frozen=True)
class Halving(Regularizer):
    """A part from elsewhere: halves the inputs."""

    def transform(self, batch: Batch, h: Values, draw: Any) -> Batch:
        return batch.with_(inputs=batch.inputs * 0.5)


@dataclass(frozen=True)
class OtherDropout(wf.Dropout):  # type: ignore[misc]
    """A part that may mean something else than the one it derives from."""


@dataclass(frozen=True)
class StopAndHalve(wf.EarlyStopping):  # type: ignore[misc]
    """A monitor that does more than watch."""

    def transform(self, batch: Batch, h: Values, draw: Any) -> Batch:
        return batch.with_(inputs=batch.inputs * 0.5)


@dataclass(frozen=True)
class OtherStopping(wf.EarlyStopping):  # type: ignore[misc]
    """A monitor from elsewhere: stacks of any tier ask it themselves."""


@pytest.mark.parametrize(("parts", "reason"), [
    ((Halving(),), "halving is not built in"),
    ((wf.L1(1e-3), OtherDropout(0.2)), "other_dropout is not built in"),
    ((StopAndHalve(),), "stop_and_halve is not built in"),
    ((wf.GroupLasso(1e-3, select="all"),), "group_lasso on biases or norms"),
    ((wf.L1(1e-3, select="first"), wf.L1(1e-3)), "two proximal penalties on one weight"),
    ((wf.ElasticNet(1e-3, select="first"), wf.ElasticNet(1e-3, select="layers.0.*")), "two proximal penalties on one weight"),
], ids=lambda v: v if isinstance(v, str) else "")
def test_what_the_compiled_engine_does_not_know_it_refuses(parts: tuple[Regularizer, ...], reason: str) -> None:
    assert beyond(PROBLEMS["classification"], Member(wf.Recipe(*parts), 0.01)) == reason


def test_a_monitor_from_elsewhere_is_no_obstacle() -> None:
    agree(PROBLEMS["classification"], [Member(wf.Recipe(OtherStopping(patience=1), wf.Dropout(0.1)), 0.05, seed=3)])


def test_proximal_penalties_on_different_weights_are_known() -> None:
    recipe = wf.Recipe(wf.L1(1e-2, select="first"), wf.L1(2e-2, select="last"), wf.GroupLasso(1e-2))
    agree(PROBLEMS["classification"], [Member(recipe, 0.02, seed=3)])


# ------------------------------------------------------------------------------------------------- networks of any shape

EVERYTHING = ("everything with skips", "group lasso units", "nothing")
NORMED = ("norm and everything", "norm and decay of norms")


def of_shape(inputs: int, hidden: Sequence[int], outputs: int, activation: str = "silu", *, rows: int = 45, batch: int = 11,
             groups: str = "none", **changes: Any) -> Problem:
    """A problem of some shape. ``groups``: none, pairs of columns, pairs and features without columns, or one behind them all."""
    generator = torch.Generator().manual_seed(inputs + 1000 * rows)
    x = torch.randn(rows + 20, inputs, generator=generator, dtype=torch.float64)
    pairs = torch.arange(inputs) // 2
    columns = {"none": None, "pairs": pairs, "gaps": 2 * pairs + 1, "one": torch.zeros_like(pairs)}[groups]
    if outputs == 1:
        targets, objective = x.sum(1).sin(), Objective("regression", "r2")
    else:
        targets, objective = torch.randint(0, outputs, (len(x),), generator=generator), Objective("multiclass", "log_loss")
    settings: dict[str, Any] = {
        "network": NetworkSpec(inputs, tuple(hidden), outputs, activation), "inputs": x, "targets": targets,
        "folds": (Fold(torch.arange(rows), torch.arange(rows, rows + 20)),), "objective": objective, "epochs": 2,
        "batch_size": batch, "feature_groups": columns, "probe_rows": 30}
    return Problem(**{**settings, **changes})


def on_shape(problem: Problem, names: Sequence[str]) -> None:
    agree(problem, [Member(wf.Recipe(*CASES[n]), 0.01, seed=k) for k, n in enumerate(names)])


@pytest.mark.parametrize("norm", [False, True], ids=["plain", "normed"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", [(5,), (1,), (33, 17), (16, 16, 16), (9, 9, 4, 4), (3, 8, 2, 7, 5)], ids=str)
def test_any_depth_width_and_activation(hidden: tuple[int, ...], activation: str, norm: bool) -> None:
    on_shape(of_shape(6, hidden, 3, activation), NORMED[:1] if norm else EVERYTHING)


@pytest.mark.parametrize("groups", ["none", "pairs", "gaps", "one"])
@pytest.mark.parametrize("inputs", [1, 3, 16, 17])
def test_any_number_of_inputs(inputs: int, groups: str) -> None:
    on_shape(of_shape(inputs, (7, 7), 3, groups=groups), EVERYTHING)


@pytest.mark.parametrize("outputs", [1, 2, 3, 7, 9, 17, 40])
def test_any_number_of_outputs(outputs: int) -> None:
    on_shape(of_shape(4, (10, 10), outputs), EVERYTHING)
    on_shape(of_shape(4, (10, 10), outputs), NORMED)


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 8, 9, 16, 17, 45, 1000])
def test_any_batch_size(batch: int) -> None:
    """45 rows: a batch of 1000 is cut to them."""
    on_shape(of_shape(5, (8, 8), 3, batch=batch), EVERYTHING)
    if batch > 3:  # a norm over two or three rows leaves gradients of rounding noise
        on_shape(of_shape(5, (8, 8), 3, batch=batch), NORMED)


@pytest.mark.parametrize("rows", [1, 2, 6])
def test_fewer_rows_than_a_batch(rows: int) -> None:
    problem = of_shape(5, (8, 8), 3, rows=rows, batch=16)
    assert problem.batch == rows
    on_shape(problem, EVERYTHING)


@pytest.mark.parametrize("width", [33, 40, 72, 80])
@pytest.mark.parametrize("inputs", [24, 60])
def test_a_feature_behind_many_columns(inputs: int, width: int) -> None:
    """A group that is spread over every row of every panel, the last panel a narrow one."""
    on_shape(of_shape(inputs, (width, 4), 2, groups="one"), ("group lasso", "everything"))


@pytest.mark.parametrize("groups", ["inputs", "units"])
@pytest.mark.parametrize("columns", ["pairs", "one"])
def test_groups_whose_weights_move_at_very_different_speeds(columns: str, groups: str) -> None:
    """The root that shrinks a group takes the most steps where its metric spans many orders of magnitude."""
    problem = of_shape(12, (9, 5), 3, groups=columns)
    problem = dataclasses.replace(problem, inputs=problem.inputs * torch.logspace(-4, 2, 12, dtype=torch.float64), epochs=4)
    parts = [wf.GroupLasso(strength, groups=groups, select="weights") for strength in (1e-4, 1e-3, 3e-3, 1e-2, 3e-2)]
    parts += [wf.GroupMCP(strength, release, groups=groups, select="weights")
              for strength in (1e-3, 3e-2) for release in (0.3, 1.5)]
    agree(problem, [Member(wf.Recipe(part), rate, seed=n) for n, part in enumerate(parts) for rate in (1e-3, 1e-2)])


SHAPES = st.fixed_dictionaries({
    "inputs": st.integers(1, 40), "hidden": st.lists(st.integers(1, 40), min_size=1, max_size=5),
    "outputs": st.integers(1, 20), "activation": st.sampled_from(sorted(ACTIVATIONS)), "batch": st.integers(5, 20),
    "rows": st.integers(20, 60), "groups": st.sampled_from(["none", "pairs", "gaps", "one"])})


@settings(max_examples=60)
@given(shape=SHAPES, norm=st.booleans())
def test_any_shape(shape: dict[str, Any], norm: bool) -> None:
    on_shape(of_shape(**shape), NORMED[:1] if norm else EVERYTHING)


@pytest.mark.parametrize("batch", [5, 6, 7, 11])
def test_a_unit_that_is_the_same_for_every_row_is_nothing_behind_a_norm(batch: int) -> None:
    """Exactly nothing, where relu passes no gradient; noise around it would be passed on every other row."""
    problem = of_shape(4, (8, 8), 3, "relu", batch=batch)
    agree(dataclasses.replace(problem, inputs=torch.zeros_like(problem.inputs)), [Member(wf.Recipe(wf.BatchNorm()), 0.01, seed=1)])


def any_part(kind: type[Regularizer], chance: random.Random) -> Regularizer:
    """A part with values from its search ranges, on a schedule now and then, and any of its choices."""
    given: dict[str, Any] = {n: chance.choice([c for c in d.choices or SELECTIONS if c != "existing"])
                             for n, d in options(kind).items() if chance.random() < 0.5}
    for name, declared in hypers(kind).items():
        if declared.search and not declared.optional:
            a, b = (chance.uniform(*declared.search) for _ in range(2))
            given[name] = int(a) if declared.whole else wf.Linear(a, b) if declared.dynamic and chance.random() < 0.4 else a
    if kind is wf.WeightDecay:
        given |= chance.choice([{"rate": chance.random()}, {"timescale": wf.Linear(2.0, 9.0)}])
    return kind(**given)


def any_recipe(norm: bool, chance: random.Random) -> wf.Recipe:
    kinds = [kind for kind in known().values() if kind is not wf.BatchNorm]
    while True:
        parts = [any_part(kind, chance) for kind in kinds if chance.random() < 0.35] + [wf.BatchNorm()] * norm
        names = {p.name for p in parts}
        if all(other in names for p in parts for other in p.requires):
            with contextlib.suppress(WellfitError):  # some cannot stand together
                return wf.Recipe(*chance.sample(parts, len(parts)))


@pytest.mark.parametrize("seed", range(40))
def test_any_recipes_on_any_network(seed: int) -> None:
    """The tiers are as close as the reference is to itself from weights that differ in their last digit."""
    chance = random.Random(seed)
    norm = seed % 4 == 0
    hidden = [chance.choice([8, 16, 32, chance.randint(1, 50)]) for _ in range(chance.randint(1, 4))]
    problem = of_shape(chance.randint(1, 40), hidden, chance.choice([1, 2, 3, chance.randint(4, 40)]),
                       chance.choice(sorted(ACTIVATIONS)), rows=chance.randint(20, 60), batch=chance.randint(5, 20),
                       groups=chance.choice(["none", "pairs", "gaps", "one"]), optimizer=chance.choice(["adam", "adam", "sgd"]))
    drawn = (Member(any_recipe(norm, chance), 10**chance.uniform(-4, -1.3), seed=n) for n in range(12))
    members = [own for own in drawn if not beyond(problem, own)][:3]
    found, expected, nudged = (train(tier, problem, members, nudge=nudge).rows(range(len(members)))
                               for tier, nudge in (("native", False), ("reference", False), ("reference", True)))
    own, away = differ(nudged, expected), differ(found, expected)
    bound = 100 * max(v for n, v in own.items() if not n.endswith(NOISE))
    assert not {n: v for n, v in away.items() if v > max(allowed(n, norm), 100 * own[n], 0 if n.endswith(NOISE) else bound)}


# ------------------------------------------------------------------------------------------------------ threads, neighbours


def identical(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    """Bit for bit."""
    assert set(a) == set(b)
    assert not [n for n in a if not np.array_equal(a[n], b[n], equal_nan=True)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("norm", [False, True], ids=["plain", "normed"])
def test_threads_change_nothing(norm: bool, dtype: torch.dtype) -> None:
    members = [member(n) for n in NATIVE_CASES if normed(n) == norm]
    everyone = range(len(members))
    first = train("native", PROBLEMS["classification"], members, epochs=2, dtype=dtype).rows(everyone)
    for threads in (2, 3, 64):
        again = train("native", PROBLEMS["classification"], members, epochs=2, threads=threads, dtype=dtype)
        identical(again.rows(everyone), first)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("norm", [False, True], ids=["plain", "normed"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_neighbours_change_nothing(problem: str, norm: bool, dtype: torch.dtype) -> None:
    """A member is the same bit for bit, alone and in the middle of all others."""
    names = [n for n in NATIVE_CASES if normed(n) == norm]
    whole = train("native", PROBLEMS[problem], [member(n) for n in names], epochs=2, dtype=dtype)
    for row, name in enumerate(names):
        only = train("native", PROBLEMS[problem], [member(name)], epochs=2, dtype=dtype).rows([0])
        beside = whole.rows([row])
        identical(only, {n: beside[n] for n in only})  # averages and noted weights are there if any member has them


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("norm", [False, True], ids=["plain", "normed"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_member_that_diverges_leaves_no_trace(activation: str, norm: bool, dtype: torch.dtype) -> None:
    """One thread trains them all in turn, over the same memory: what a diverged member leaves there must not be read."""
    problem = classification(network=NetworkSpec(6, (9, 9, 5), 3, activation), epochs=2)
    parts = CASES["norm and everything" if norm else "everything with skips"]
    good = [Member(wf.Recipe(*parts), 0.02, seed=1), Member(wf.Recipe(*parts[:1]), 0.02, seed=2)]
    bad = Member(wf.Recipe(*parts), 1e200, seed=9)
    clean = train("native", problem, good, dtype=dtype)
    for members, rows in (([bad, *good], (1, 2)), ([good[0], bad, good[1]], (0, 2)), ([good[0], bad, bad, good[1]], (0, 3))):
        beside = train("native", problem, members, dtype=dtype)
        assert not beside.metrics["train_loss"][members.index(bad), -1] < 1e3
        for row, other in zip(rows, (0, 1)):
            identical(beside.rows([row]), clean.rows([other]))
    train("native", problem, [bad], dtype=dtype)  # a call leaves its memory to later ones
    identical(train("native", problem, good, dtype=dtype).rows([0, 1]), clean.rows([0, 1]))


@pytest.mark.parametrize("name", [n for n, kind in built_in().items() if kind.neutral()])
def test_neutral_values_do_nothing_bit_for_bit(name: str) -> None:
    kind = built_in()[name]
    soft = bool({"mixup", "cut_mix", "label_smoothing"} & {name})
    problem = PROBLEMS["regression" if soft else "classification"]  # one-hot targets round the loss once more than class numbers
    neutral = {n: v for n, v in kind.neutral().items() if getattr(kind, n) is not None}
    parts = [kind(**neutral)] if kind is not wf.WeightDecay else [wf.WeightDecay(rate=0.0), wf.WeightDecay(timescale=math.inf)]
    beside = [wf.SkipConnections()] if "skip_connections" in kind.requires else []
    plain = train("native", problem, [Member(wf.Recipe(*beside), 0.02, seed=4)], epochs=2).rows([0])
    kept = [n for n in plain if not n.startswith(("best", "final"))]  # which epoch counts is another matter
    for part in parts:
        own = train("native", problem, [Member(wf.Recipe(*beside, part), 0.02, seed=4)], epochs=2).rows([0])
        identical({n: own[n] for n in kept}, {n: plain[n] for n in kept})


# ------------------------------------------------------------------------------------------------------------- every build


def builds() -> list[str]:
    return sorted(p.name.split(".")[1] for p in library.FOLDER.glob(f"engine.*{library._SUFFIX}"))


@cache
def build_of(name: str) -> Engine:
    found = library.engine()
    assert found is not None
    path = Path(library.FOLDER) / f"engine.{name}{library._SUFFIX}"
    if name not in library._BUILDS.get(found.processor, ("generic",)):
        pytest.skip(f"this processor cannot run {name}")
    try:
        return Engine(path)
    except OSError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("build", builds())
@pytest.mark.parametrize("case", [*PROBLEMS, "wide"])
def test_every_build_agrees_with_the_reference(build: str, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = build_of(build)
    monkeypatch.setattr(library, "engine", lambda: own)
    if case == "wide":
        on_shape(of_shape(17, (33, 33, 7), 5, "gelu", groups="pairs"), EVERYTHING)
        on_shape(of_shape(17, (33, 33, 7), 5, "selu", groups="one"), NORMED)
        on_shape(of_shape(60, (33, 40), 5, "tanh", groups="one"), ["group lasso"])
        return
    for norm in (False, True):
        agree(PROBLEMS[case], [member(n) for n in NATIVE_CASES if normed(n) == norm], epochs=2)


@pytest.mark.parametrize("build", builds())
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_build_stays_close_in_single_precision(build: str, activation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = build_of(build)
    monkeypatch.setattr(library, "engine", lambda: own)
    assert in_single_precision(of_shape(17, (33, 33, 7), 5, activation), SMOOTH) < 1e-4


# -------------------------------------------------------------------------------------------------------- single precision

SMOOTH = (wf.L2(1e-3), wf.WeightDecay(rate=0.1), wf.Dropout(0.2), wf.InputNoise(0.1), wf.Mixup(0.3), wf.CutMix(0.5),
          wf.Cutout(0.3), wf.LabelSmoothing(0.1), wf.MaxNorm(0.5), wf.EMA(0.9), wf.GradientClipping(1.0), wf.SkipConnections(),
          wf.StochasticDepth(0.3))
"""Nothing with a threshold, on whose edge two roundings part ways."""


def in_single_precision(problem: Problem, parts: Sequence[Regularizer]) -> float:
    """How far native float32 is from reference float64 after an epoch."""
    members = [Member(wf.Recipe(*parts), 1e-3, seed=s) for s in range(3)]
    found = train("native", problem, members, epochs=1, dtype=torch.float32)
    assert found.stack.weights.values.dtype == torch.float32
    expected = train("reference", problem, members, epochs=1)
    return max(differ(found.rows(range(3)), expected.rows(range(3))).values())


@pytest.mark.parametrize("name", ["nothing", *(p.name for p in SMOOTH if p.name != "stochastic_depth"), "all"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_single_precision_stays_close(problem: str, name: str) -> None:
    parts = [p for p in SMOOTH if name in (p.name, "all")]
    assert in_single_precision(PROBLEMS[problem], parts) < 1e-4


def test_single_precision_stays_close_with_norms() -> None:
    """Under SGD: Adam blows up the rounding noise in the gradients of biases before a norm."""
    parts = [wf.BatchNorm(), *(p for p in SMOOTH if p.name not in ("max_norm", "ema")), wf.SWA(0.0)]
    assert in_single_precision(PROBLEMS["sgd"], parts) < 1e-4


def test_a_long_run_in_single_precision_ends_where_the_reference_does() -> None:
    """Paths part after hundreds of steps; how well they fit does not."""
    problem = classification(epochs=20, batch_size=8)
    members = [Member(wf.Recipe(*SMOOTH), 3e-3, seed=s) for s in range(8)]
    found, expected = (train(t, problem, members, dtype=torch.float32).metrics["train_loss"] for t in ("native", "reference"))
    assert found[:, -1].mean() == pytest.approx(expected[:, -1].mean(), abs=0.02)


@pytest.mark.parametrize("groups", ["inputs", "units"])
@pytest.mark.parametrize("strength", [1e-38, 1e-44, 1e-50])
def test_a_strength_below_single_precision_does_nothing(strength: float, groups: str) -> None:
    for part in (wf.GroupLasso(strength, groups=groups, select="weights"), wf.GroupMCP(strength, groups=groups, select="weights")):
        own, plain = (train("native", PROBLEMS["classification"], [Member(wf.Recipe(*parts), 0.02, seed=4)], epochs=1,
                            dtype=torch.float32) for parts in ((part,), ()))
        assert max(differ(own.rows([0]), plain.rows([0])).values()) < 1e-6


def one_unit_each(activation: str, biases: np.ndarray) -> Stack:
    """Members with one hidden unit on an input of 0, so that its bias is what the activation is taken of; the output is it."""
    problem = Problem(NetworkSpec(1, (1,), 1, activation), torch.zeros(2, 1), torch.tensor([9.0, 9.0]),
                      (Fold(torch.tensor([0]), torch.tensor([1])),), Objective("regression", "rmse"), 1, 1)
    stack = TIERS["native"](problem, [Member(wf.Recipe(), 1e-3) for _ in biases])
    for name, value in (("layers.0.weight", 0), ("layers.0.bias", biases), ("layers.1.weight", 1), ("layers.1.bias", 0)):
        view = stack.weights.views[name]
        view.copy_(torch.as_tensor(value, dtype=torch.float32).reshape(-1, *[1] * (view.ndim - 1)).expand_as(view))
    return stack


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_and_their_slopes_are_exact_to_single_precision(activation: str) -> None:
    """Float has polynomials of its own. The slope is what a gradient is multiplied by on its way through the unit."""
    few = np.array([0.0, -0.0, 1e-30, -1e-30, 0.625, -0.625, 30.0, -30.0, 88.0, -88.0, 90.0, -90.0, 1e4, -1e4])
    x = np.concatenate([few, np.linspace(-12, 12, 2000)]).astype(np.float32)
    stack = one_unit_each(activation, x)
    everyone = range(len(x))
    found = stack.outputs(torch.tensor([1]), everyone, stack.weights, stack.statistics).flatten().double().numpy()
    exact = torch.from_numpy(x).double().requires_grad_()
    value = ACTIVATIONS[activation](exact)
    value.sum().backward()
    np.testing.assert_allclose(found, value.detach().numpy(), rtol=2e-6, atol=2e-7)
    stack.run_epoch()
    first = stack.first.views
    slope = (first["layers.0.bias"] / first["layers.1.bias"]).flatten().double().numpy()
    assert exact.grad is not None
    sure = np.abs(found - 9) > 1e-3  # a gradient of nothing has no direction
    np.testing.assert_allclose(slope[sure], exact.grad.numpy()[sure], rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------------------------------------- the draws of float32 itself
#
# One step on one row: after it the first moment is a tenth of the gradient. A layer's gradient by weight (o, i) is its
# gradient by bias o times the i-th input, so that their quotient is what entered the layer.

WIDTH, RUNS = 200, 100


def entered(layer: int, parts: Sequence[Regularizer], *, hidden: int = 1, inputs: int = WIDTH, tier: str = "native",
            ) -> tuple[np.ndarray, list[np.ndarray]]:
    """What entered a layer in training, (RUNS, width); and what would have entered each layer without the parts."""
    x = torch.linspace(0.5, 1.5, inputs, dtype=torch.float64).repeat(2, 1)
    problem = Problem(NetworkSpec(inputs, (WIDTH,) * hidden, 1, "tanh"), x, torch.tensor([50.0, 50.0], dtype=torch.float64),
                      (Fold(torch.tensor([0]), torch.tensor([1])),), Objective("regression", "rmse"), 1, 1)
    members = [Member(wf.Recipe(*parts), 1e-6, seed=s) for s in range(RUNS)]
    stack = TIERS[tier](problem, members)
    before = {n: v.numpy().astype(np.float64).copy() for n, v in stack.weights.views.items()}
    stack.run_epoch()
    by_weight, by_bias = (stack.first.views[f"layers.{layer}.{n}"].numpy().astype(np.float64) for n in ("weight", "bias"))
    rows, unit = np.arange(RUNS), np.abs(by_bias).argmax(1)
    found = by_weight[rows, unit] / by_bias[rows, unit][:, None]
    plain = [np.tile(x[0].numpy(), (RUNS, 1))]
    for i in range(hidden):
        value = np.tanh(np.einsum("koi,ki->ko", before[f"layers.{i}.weight"], plain[-1]) + before[f"layers.{i}.bias"])
        plain.append(value if i == 0 or "skip_connections" not in members[0].recipe else plain[-1] + value)
    return found, plain


def share_within(times: int, of: int, probability: float) -> None:
    """A share of independent draws is within five standard errors."""
    assert abs(times - of * probability) < 5 * math.sqrt(of * probability * (1 - probability)) + 1e-9


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_keeps_its_share_and_scales_it(rate: float) -> None:
    found, plain = entered(1, [wf.Dropout(rate)])
    kept = found != 0
    share_within(int(kept.sum()), kept.size, 1 - rate)
    np.testing.assert_allclose(found[kept], plain[1][kept] / (1 - rate), rtol=2e-3, atol=1e-5)
    for share, count in ((kept.mean(0), RUNS), (kept.mean(1), WIDTH)):  # the spread is that of independent draws, too
        assert share.var() == pytest.approx(rate * (1 - rate) / count, rel=0.6)


def test_layers_are_dropped_independently() -> None:
    first, second = (entered(layer, [wf.Dropout(0.5)], hidden=2)[0] != 0 for layer in (1, 2))
    share_within(int((first == second).sum()), first.size, 0.5)


@pytest.mark.parametrize("rate", [0.2, 0.6])
def test_stochastic_depth_drops_its_share_of_branches(rate: float) -> None:
    found, plain = entered(2, [wf.SkipConnections(), wf.StochasticDepth(rate)], hidden=2)
    scale = ((found - plain[1]) * (plain[2] - plain[1])).sum(1) / ((plain[2] - plain[1])**2).sum(1)
    kept = scale > 0.5
    np.testing.assert_allclose(scale[~kept], 0, atol=1e-3)
    np.testing.assert_allclose(scale[kept], 1 / (1 - rate), rtol=1e-3)
    share_within(int(kept.sum()), RUNS, 1 - rate)


@pytest.mark.parametrize("columns", [WIDTH, WIDTH + 1, WIDTH - 8])
def test_input_noise_is_standard_normal(columns: int) -> None:
    """Moments, quantiles, and no correlation between neighbours, members, or the halves that come from one word."""
    found, plain = entered(0, [wf.InputNoise(2.0)], inputs=columns)
    noise = (found - plain[0]) / 2
    n, half = noise.size, columns // 2
    for power, (moment, variance) in enumerate(((0, 1), (1, 2), (0, 15), (3, 96)), start=1):
        assert abs((noise**power).mean() - moment) < 5 * math.sqrt(variance / n), f"moment {power}"
    for a, b in ((noise[:, 1:], noise[:, :-1]), (noise[1:], noise[:-1]), (noise[:, :half], noise[:, -half:])):
        assert abs((a * b).mean()) < 5 / math.sqrt(a.size)
        assert abs((a**2 * b**2).mean() - 1) < 5 * math.sqrt(8 / a.size)
    for point in (-3.0, -1.5, -0.5, 0.0, 0.5, 1.5, 3.0):
        share_within(int((noise < point).sum()), n, 0.5 * math.erfc(-point / math.sqrt(2)))


def test_cutout_cuts_its_share_of_rows_and_features() -> None:
    found, plain = entered(0, [wf.Cutout(0.6, share=0.3)])
    lost = found == 0
    cut = lost.any(1)
    share_within(int(cut.sum()), RUNS, 0.6)
    share_within(int(lost[cut].sum()), lost[cut].size, 0.3)
    np.testing.assert_allclose(found[~lost], plain[0][~lost], rtol=1e-3)


@pytest.mark.parametrize(("layer", "part"), [(1, wf.Dropout(0.37)), (0, wf.Cutout(0.6, share=0.3)), (0, wf.InputNoise(1.0))],
                         ids=lambda v: getattr(v, "name", ""))
def test_the_draws_of_float32_are_those_of_the_reference(layer: int, part: Regularizer) -> None:
    """The same bits fall the same way; normal deviates differ in their last digits only."""
    found, expected = (entered(layer, [part], inputs=21, tier=tier)[0] for tier in ("native", "reference"))
    np.testing.assert_array_equal(found == 0, expected == 0)
    np.testing.assert_allclose(found, expected, rtol=5e-6, atol=5e-6)


def test_nothing_is_drawn_in_evaluation() -> None:
    parts = [p for p in SMOOTH if p.name != "ema"]
    stack = train("native", PROBLEMS["classification"], [Member(wf.Recipe(*parts), 1e-3, seed=s) for s in range(3)],
                  epochs=1, dtype=torch.float32).stack
    first, second = stack.measure(), stack.measure()
    assert str(first) == str(second)
    plain = TIERS["reference"](PROBLEMS["classification"], stack.members)
    plain.weights.values.copy_(stack.weights.values)
    rows = torch.arange(40)
    torch.testing.assert_close(stack.outputs(rows, range(3), stack.weights, stack.statistics),
                               plain.outputs(rows, range(3), plain.weights, plain.statistics), rtol=1e-5, atol=1e-5)


def test_a_rate_is_met_to_a_65536th() -> None:
    """A rate next to one leaves almost nothing, at a scale that is finite."""
    rate = 1 - 2.0**-20
    assert threshold16(rate) == 32767
    found, _ = entered(1, [wf.Dropout(rate)])
    assert np.isfinite(found).all()
    assert (found != 0).mean() < 1e-3
