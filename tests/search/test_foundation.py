"""What regularization is compared on: the network and the encoding, chosen once and kept."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from search.conftest import table
from wellfit.data import load_table
from wellfit.data.preprocess import ENCODINGS
from wellfit.population.pool import Pool
from wellfit.search.foundation import NETWORKS, Asked, Foundation
from wellfit.search.prepare import prepare
from wellfit.search.rundir import RunDirectory
from wellfit.search.settings import Budget, Settings


def foundation(path: Path, budget: str, monkeypatch: pytest.MonkeyPatch, merits: dict[tuple[tuple[int, ...], str], float],
               asked: Asked | None = None, rows: int = 90) -> tuple[Foundation, list[Any]]:
    """A foundation whose trials have given merits, and the list of trials made."""
    prepared = prepare(load_table(table("regression", rows), "y"), seed=0, folds=2, metric=None, weighting=None, encoding="plain")
    settings = Settings(epochs=4, folds=2)
    tried: list[Any] = []

    def merit(self: Foundation, prepared: Any, settings: Settings) -> float:
        tried.append((settings.hidden, prepared.encoding))
        return merits[settings.hidden, prepared.encoding]

    monkeypatch.setattr(Foundation, "_merit", merit)
    import time

    with Pool(1) as pool:
        made = Foundation(RunDirectory.create(path, overwrite=True), prepared, settings, pool, 0,
                          asked or Asked(None, 4, 2, "auto"), Budget.parse(budget), time.monotonic())
    return made, tried


SMALL, MIDDLE, LARGE = NETWORKS


def silent(_: str) -> None:
    pass


@pytest.mark.parametrize(("merits", "chosen"), [
    ((1.0, 0.5, 0.6), MIDDLE), ((0.5, 0.6, 0.4), LARGE), ((0.5, 0.495, 0.492), SMALL), ((math.inf, 0.9, 0.95), MIDDLE)])
def test_a_more_expensive_network_has_to_be_worth_it(merits: tuple[float, float, float], chosen: tuple[int, ...], tmp_path: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    given = {(h, e): m for h, m in zip(NETWORKS, merits, strict=True) for e in ("plain", "piecewise")}
    made, tried = foundation(tmp_path / "run", "1h", monkeypatch, given)
    prepared, settings = made.choose(silent)
    assert settings.hidden == chosen
    assert prepared.encoding == "plain"
    assert {h for h, _ in tried} == set(NETWORKS)


def test_the_encoding_is_chosen_for_the_chosen_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {(h, e): 1.0 + (e == "plain") for h in NETWORKS for e in ("plain", "piecewise")}
    made, tried = foundation(tmp_path / "run", "1h", monkeypatch, given)
    prepared, settings = made.choose(silent)
    assert (settings.hidden, prepared.encoding) == (SMALL, "piecewise")
    assert [e for _, e in tried].count("piecewise") == 1


@pytest.mark.parametrize(("rows", "merits", "chosen"), [
    (4200, (1.0, 0.9, 0.8), "fine"), (4200, (1.0, 0.9, 0.895), "piecewise"), (4200, (1.0, 1.1, 0.5), "plain"),
    (700, (1.0, 0.9, 0.8), "piecewise")])
def test_many_bins_need_many_rows_and_have_to_be_worth_it(rows: int, merits: tuple[float, ...], chosen: str, tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    given = {(SMALL, e): m for e, m in zip(ENCODINGS, merits, strict=True)}
    made, tried = foundation(tmp_path / "run", "1h", monkeypatch, given, Asked(SMALL, 4, 2, "auto"), rows)
    assert made.choose(silent)[0].encoding == chosen
    assert len(tried) == (2 if rows < 1000 or merits[1] > merits[0] else 3)


def test_a_choice_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {(h, e): float(h == SMALL) for h in NETWORKS for e in ("plain", "piecewise")}
    made, tried = foundation(tmp_path / "run", "1h", monkeypatch, given)
    first = made.choose(silent)[1]
    count = len(tried)
    given.update({k: -v for k, v in given.items()})
    assert made.choose(silent)[1] == first
    assert len(tried) == count


def test_what_is_asked_for_is_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, tried = foundation(tmp_path / "run", "1h", monkeypatch, {}, Asked((7, 7), 4, 2, "plain"))
    prepared, settings = made.choose(silent)
    assert (settings.hidden, settings.epochs, settings.folds, prepared.encoding, tried) == ((7, 7), 4, 2, "plain", [])


def test_work_as_the_budget_leaves_the_network_to_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No clock may decide anything there: a run has to repeat exactly."""
    given = {((128, 128, 128), "plain"): 1.0, ((128, 128, 128), "piecewise"): 2.0}
    made, _ = foundation(tmp_path / "run", "40c", monkeypatch, given)
    assert made.choose(silent)[1].hidden == Settings().hidden


def test_a_short_budget_tries_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {(h, e): 1.0 for h in NETWORKS for e in ("plain", "piecewise")}
    made, tried = foundation(tmp_path / "run", "1h", monkeypatch, given)
    made.started -= 3600.0  # the hour is over
    made.choose(silent)
    assert len(tried) == 1


def test_a_network_that_would_cost_folds_or_most_epochs_is_none_to_choose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {(h, e): 1.0 / sum(h) for h in NETWORKS for e in ("plain", "piecewise")}  # the wider, the better
    made, tried = foundation(tmp_path / "run", "1h", monkeypatch, given, Asked(None, None, None, "plain"))
    made.settings = Settings(epochs=100, folds=5)

    def fitted(self: Foundation, settings: Settings) -> Settings:
        self._seconds[settings.hidden] = 1e-6
        return {SMALL: replace(settings, epochs=60), MIDDLE: replace(settings, epochs=40),
                LARGE: replace(settings, folds=1)}[settings.hidden]

    monkeypatch.setattr(Foundation, "_fitted", fitted)
    assert made.choose(silent)[1].hidden == MIDDLE
    assert {h for h, _ in tried} == {SMALL, MIDDLE}
