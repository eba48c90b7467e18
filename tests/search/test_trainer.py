"""The trainer: every seed divides the rows anew, and its outcomes stay comparable row by row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from wellfit.core.recipe import Recipe
from wellfit.population.pool import Pool
from wellfit.regularizers import Dropout, EarlyStopping
from wellfit.search.configuration import Configuration
from wellfit.search.foundation import trainer_for
from wellfit.search.opening import opened
from wellfit.search.rundir import RunDirectory

ASKED = {"target": "y", "seed": 3, "task": None, "metric": None, "class_weights": None, "group": None, "time": None, "test": None,
         "drop": [], "hidden": (16,), "activation": None, "epochs": 30, "batch_size": 16, "folds": 3, "encoding": "plain"}


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(160, 4))
    return pd.DataFrame({**{f"x{i}": x[:, i] for i in range(4)}, "when": np.arange(160),
                         "y": np.where(x[:, 0] + x[:, 1] > 0, "yes", "no")})


def trainer(frame: pd.DataFrame, folder: Path, pool: Pool, **asked: object):
    prepared, settings = opened({**ASKED, **asked, "data": frame})
    prepared = prepared.with_folds(3, settings.folds)
    return trainer_for(RunDirectory.create(folder), prepared, settings, pool, 3, "t"), prepared


@pytest.mark.parametrize("parts", [(), (Dropout(rate=0.1), EarlyStopping(patience=5))])
def test_outcomes_of_all_seeds_hold_the_rows_in_one_order(frame: pd.DataFrame, tmp_path: Path, parts: tuple) -> None:
    with Pool(1) as pool:
        made, prepared = trainer(frame, tmp_path / "run", pool)
        (outcomes,) = made.evaluate("job", [Configuration(Recipe(*parts), 1e-2)], (0, 1, 2))
    assert [o.seed for o in outcomes] == [0, 1, 2]
    judged = np.concatenate([rows for _, rows in prepared.split.folds])
    classes = prepared.table.y[judged]
    for outcome in outcomes:
        assert outcome.predictions is not None
        # in another order than that of the labels an easy task would be guessed at
        assert (outcome.predictions.argmax(axis=1) == classes).mean() > 0.85
        assert outcome.error < 0.15
    # the hard rows are hard for all: contributions of different divisions agree row by row
    losses = [-np.log(o.predictions[np.arange(len(classes)), classes]) for o in outcomes]
    assert np.corrcoef(losses)[0, 1:].min() > 0.5


def test_every_seed_divides_the_rows_anew(frame: pd.DataFrame, tmp_path: Path) -> None:
    with Pool(1) as pool:
        made, prepared = trainer(frame, tmp_path / "run", pool)
    first, second = made._divided(0), made._divided(1)
    assert first is made.problem
    for a, b in zip(first.folds, second.folds, strict=True):
        assert set(a.validation.tolist()) != set(b.validation.tolist())
        assert not set(b.train.tolist()) & set(b.validation.tolist())
    assert sorted(np.concatenate([f.validation for f in second.folds])) == prepared.split.development.tolist()


@pytest.mark.parametrize("asked", [{"folds": 1}, {"time": "when"}])
def test_a_single_fold_and_folds_by_time_stay_as_they_are(frame: pd.DataFrame, tmp_path: Path, asked: dict) -> None:
    with Pool(1) as pool:
        made, _ = trainer(frame, tmp_path / "run", pool, **asked)
        for a, b in zip(made.problem.folds, made._divided(1).folds, strict=True):
            assert a.validation.tolist() == b.validation.tolist()
        plain, halved = Configuration(Recipe(), 1e-2), Configuration(Recipe(Dropout(rate=0.3)), 1e-2)
        results = made.evaluate("job", [plain, halved], (0, 1))
    assert all(o.usable and o.rows is not None for outcomes in results for o in outcomes)


def test_groups_stay_together_in_every_division(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame["who"] = np.arange(160) // 5
    with Pool(1) as pool:
        made, prepared = trainer(frame, tmp_path / "run", pool, group="who")
    who = prepared.table.groups
    assert who is not None
    for fold in made._divided(4).folds:
        assert not set(who[fold.train.numpy()]) & set(who[fold.validation.numpy()])


def test_a_finished_job_is_read_and_not_done_again(frame: pd.DataFrame, tmp_path: Path) -> None:
    wanted = [Configuration(Recipe(), 1e-2)]
    with Pool(1) as pool:
        made, _ = trainer(frame, tmp_path / "run", pool)
        (before,) = made.evaluate("job", wanted, (0, 1))
        trained = pool.member_epochs
        (after,) = made.evaluate("job", wanted, (0, 1))
        assert pool.member_epochs == trained
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a.predictions, b.predictions)


def test_with_several_seeds_nobody_can_be_left_behind(frame: pd.DataFrame, tmp_path: Path) -> None:
    with Pool(1) as pool:
        made, _ = trainer(frame, tmp_path / "run", pool)
        with pytest.raises(ValueError, match="several seeds"):
            made.evaluate("job", [Configuration(Recipe())], (0, 1), rungs=[5])
