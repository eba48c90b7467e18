"""Many configurations at a first glance: how they are drawn, thinned and kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.conftest import table
from wellfit.core.recipe import Recipe
from wellfit.core.registry import lookup
from wellfit.search.configuration import Configuration
from wellfit.search.menus import LEARNING_RATE, table_menu
from wellfit.search.rundir import RunDirectory
from wellfit.search.screening import COST, KEEP, RUNGS, draw, survivors
from wellfit.search.space import Space
from wellfit.search.trainer import Screened

SPACE = Space(table_menu(regression=False))


def test_the_cost_of_a_look_is_that_of_its_rungs() -> None:
    """Epochs trained per configuration when a share KEEP goes on after each rung, counted one by one."""
    configurations, epochs = 4096, 80
    trained, alive, before = 0.0, float(configurations), 0.0
    for rung in (*RUNGS, 1.0):
        trained += alive * (rung - before) * epochs
        alive, before = alive * KEEP, rung
    assert pytest.approx(trained / configurations / epochs) == COST


def test_what_is_drawn_is_legal_different_and_repeats() -> None:
    drawn = draw(SPACE, 200, seed=3, best=[])
    assert len({c.key for c in drawn}) == 200
    assert [c.key for c in drawn] == [c.key for c in draw(SPACE, 200, seed=3, best=[])]
    assert {p.name for c in drawn for p in c.recipe} >= SPACE.allowed - {"skip_connections"}
    assert all(LEARNING_RATE[0] <= c.learning_rate <= LEARNING_RATE[1] for c in drawn)
    assert 2 < np.mean([len(c.recipe) for c in drawn]) < 7, "most parts are absent"


def test_half_is_drawn_near_the_best() -> None:
    best = Configuration(Recipe(lookup("dropout")(0.31), lookup("max_norm")(1.7)), 2e-3)

    def alike(configuration: Configuration) -> bool:
        parts = {p.name: p for p in configuration.recipe}
        return set(parts) >= {"dropout", "max_norm"} and abs(parts["dropout"].rate - 0.31) < 0.25  # type: ignore[attr-defined]

    near = sum(map(alike, draw(SPACE, 300, seed=0, best=[best])))
    anywhere = sum(map(alike, draw(SPACE, 300, seed=0, best=[])))
    assert near > anywhere + 50


def test_what_is_drawn_can_be_proposed_again() -> None:
    """A survivor is handed to the proposer as parameters; it has to come back as the same configuration."""
    from wellfit.search.proposer import Proposer

    drawn = draw(SPACE, 40, seed=1, best=[])
    proposer = Proposer(SPACE, seed=0)
    proposer.enqueue(drawn)
    for (_, proposed), wanted in zip(proposer.ask(40), drawn, strict=True):
        assert proposed.parts == wanted.parts
        assert proposed.learning_rate == pytest.approx(wanted.learning_rate)


def test_only_what_got_to_the_end_survives() -> None:
    def look(error: float, ended: bool = True, loss: float = 1.0) -> Screened:
        return Screened(Configuration(Recipe(), error), 0, error, loss, 5, ended)

    looked = [look(0.3), look(0.1, ended=False), look(float("nan")), look(0.2), look(0.25)]
    assert [c.learning_rate for c in survivors(looked, 2)] == [0.2, 0.25]
    assert len(survivors(looked, 9)) == 3


def test_a_generation_is_noted_once(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run")
    run.append_screened(1, [{"validation": 0.5}])
    run.append_screened(2, [{"validation": float("nan")}])
    with (run.path / "screened.jsonl").open("a") as file:
        file.write('{"generation": 3, "valid')  # torn by a kill
    run.append_screened(1, [{"validation": 0.6}, {"validation": 0.7}])
    rows = [json.loads(line) for line in (run.path / "screened.jsonl").read_text().splitlines()]
    assert [(r["generation"], r["validation"]) for r in rows] == [(2, None), (1, 0.6), (1, 0.7)]


@pytest.fixture(scope="module")
def screened(tune: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[dict[str, Any]]]:
    """A run with a time budget that is long enough for a few generations, and what it looked at."""
    result = tune(table("binary", rows=120), budget="15s", out=tmp_path_factory.mktemp("screened") / "run", engine="auto")
    path = result.path / "screened.jsonl"
    return result, [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def test_a_search_looks_at_many_on_one_fold_each(screened: tuple[Any, list[dict[str, Any]]]) -> None:
    result, looked = screened
    assert looked, "fifteen seconds are many generations of a tiny network"
    assert {row["fold"] for row in looked} <= {0, 1}
    recipes = {json.dumps([row["recipe"], row["learning_rate"]], sort_keys=True) for row in looked}
    assert len(recipes) > 0.9 * len(looked)
    cost = result.summary["cost"]
    assert 0 < cost["glimpsed"] < cost["configurations"]
    assert cost["glimpsed"] <= len(looked)


def test_thinned_looks_were_short(screened: tuple[Any, list[dict[str, Any]]]) -> None:
    _, looked = screened
    pruned = [row["epochs"] for row in looked if row["pruned"]]
    assert pruned and max(pruned) < 4, "four epochs are a whole training here"
