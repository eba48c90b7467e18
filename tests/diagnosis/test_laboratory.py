"""Variants of a case, trained: which rows they learn from, and that they are what they say."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes

import wellfit as wf
from wellfit.core.errors import WellfitError
from wellfit.core.recipe import Recipe
from wellfit.diagnosis.allowance import Allowance
from wellfit.diagnosis.case import Case, open_case, read_recipe
from wellfit.diagnosis.laboratory import Laboratory
from wellfit.population.pool import Pool


@pytest.fixture(scope="module")
def case() -> Case:
    frame = load_breast_cancer(as_frame=True).frame.iloc[:240]
    return open_case(frame, "target", hidden=[8], epochs=6, batch_size=16)


@pytest.fixture
def laboratory(case: Case) -> Iterator[Laboratory]:
    with Pool(1) as pool:
        yield Laboratory(case, pool)


def test_a_case_as_it_is_by_default(case: Case) -> None:
    assert len(case.recipe) == 0 and case.learning_rate == 1e-3 and not case.separate_test
    assert sorted(case.judged) == sorted(case.prepared.split.development)  # every development row is judged once


def test_every_row_is_judged_by_networks_that_did_not_learn_from_it(laboratory: Laboratory) -> None:
    outcome = laboratory.train([laboratory.variant("a")], (0, 1), tests=True)["a"]
    n, folds = len(laboratory.judged), len(laboratory.case.folds)
    assert outcome.judged.shape == (2, n, 2) and outcome.learned.shape == (2, n, 2)
    assert outcome.tests is not None and outcome.tests.shape == (2 * folds, len(laboratory.case.prepared.split.test), 2)
    assert np.allclose(outcome.judged.sum(axis=2), 1) and np.isfinite(outcome.learned).all()
    assert laboratory.trainings == 2 * folds
    assert laboratory.contributions.merit(outcome.judged) > laboratory.on_training.merit(outcome.learned)


def test_more_seeds_are_added_and_none_is_trained_twice(laboratory: Laboratory) -> None:
    first = laboratory.train([laboratory.variant("a")], (0,))["a"].judged.copy()
    both = laboratory.train([laboratory.variant("a")], (0, 3))["a"]
    assert both.seeds == [0, 3] and np.array_equal(both.judged[0], first[0])
    assert not np.array_equal(both.judged[0], both.judged[1])


def test_parts_of_the_rows_are_disjoint_and_keep_classes_in_proportion(laboratory: Laboratory) -> None:
    train = laboratory.case.folds[0][0]
    halves = [laboratory._portion(train, 0.5, part, 0) for part in (0, 1)]
    assert sorted(np.concatenate(halves)) == sorted(train)
    quarter = laboratory._portion(train, 0.25, 0, 0)
    assert abs(len(quarter) - len(train) / 4) <= 1
    shares = [laboratory.case.prepared.scorer(rows).y.mean() for rows in (train, *halves, quarter)]
    assert max(shares) - min(shares) < 0.05


def test_parts_of_a_single_training_part_keep_classes_in_proportion() -> None:
    frame = load_breast_cancer(as_frame=True).frame.iloc[:240]
    case = open_case(frame, "target", hidden=[8], epochs=2, folds=1)
    with Pool(1) as pool:
        laboratory = Laboratory(case, pool)
    train = case.folds[0][0]
    assert len(case.folds) == 1 and not set(train) & set(case.judged)  # rows that are learned from are judged by nobody
    shares = [case.prepared.scorer(rows).y.mean() for rows in (train, *(laboratory._portion(train, 0.125, p, 0) for p in range(8)))]
    assert max(shares) - min(shares) < 0.08


def test_fewer_rows_are_trained_for_as_many_steps(laboratory: Laboratory) -> None:
    half = laboratory.variant("half", share=0.5)
    assert laboratory._epochs(half) == 12
    outcome = laboratory.train([half])["half"]
    assert np.isnan(outcome.learned).any()  # rows of the other half were learned from by nobody, where all folds agree
    assert len(outcome.history["train_loss"]) == 12


def test_shuffled_targets_leave_nothing_to_learn(case: Case) -> None:
    with Pool(1) as pool:
        laboratory = Laboratory(case, pool)
        found = laboratory.train([laboratory.variant("real"), laboratory.variant("random", shuffled=True)])
    assert found["random"].history["train_loss"][-1] > 1.2 * found["real"].history["train_loss"][-1]


def test_gain_against_itself_is_nothing_and_worse_is_negative(laboratory: Laboratory) -> None:
    found = laboratory.train([laboratory.variant("a"), laboratory.variant("slow", learning_rate=1e-6)])
    judge = laboratory.contributions
    same = judge.gain(found["a"].judged, found["a"].judged)
    assert same.value == 0 and same.low <= 0 <= same.high
    worse = judge.gain(found["a"].judged, found["slow"].judged)
    assert worse.high < 0 and not worse.sure
    assert judge.gain(found["slow"].judged, found["a"].judged).sure


def test_values_are_judged_in_units_of_their_variance() -> None:
    frame = load_diabetes(as_frame=True).frame
    case = open_case(frame, "target", hidden=[8], epochs=4)
    with Pool(1) as pool:
        laboratory = Laboratory(case, pool)
        constant = np.full((1, len(laboratory.judged), 1), laboratory.contributions.scorer.y.mean())
        assert laboratory.contributions.merit(constant) == pytest.approx(1.0)


def test_an_allowance_pays_for_the_first_that_fit(laboratory: Laboratory) -> None:
    variants = [laboratory.variant(str(i)) for i in range(5)]
    work = Allowance(laboratory, trainings=4)
    assert len(work.first(variants)) == 4 and len(work.first(variants, share=0.5)) == 2 and len(work.first(variants, seeds=3)) == 1
    laboratory.train(variants[:3])
    assert work.left == 1 and len(work.first(variants)) == 1 and len(work.first(variants, least=2)) == 2
    laboratory._unit = 1.0
    seconds = Allowance(laboratory, seconds=2.5 * len(laboratory.case.folds))
    assert [v.name for v in seconds.first(variants)] == ["0", "1"]


def test_recipes_are_read_from_files_and_objects(tmp_path, case: Case) -> None:  # type: ignore[no-untyped-def]
    recipe = Recipe(wf.Dropout(0.4))
    recipe.save(tmp_path / "recipe.yaml")
    assert read_recipe(tmp_path / "recipe.yaml").recipe == read_recipe(recipe).recipe == recipe
    assert read_recipe({**recipe.to_mapping(), "learning_rate": 0.02}).learning_rate == 0.02
    with pytest.raises(WellfitError, match="no such recipe"):
        read_recipe(tmp_path / "none.yaml")
    with pytest.raises(WellfitError, match="no recipe"):
        read_recipe(3)
    with pytest.raises(WellfitError, match="positive"):
        open_case(load_diabetes(as_frame=True).frame, "target", learning_rate=-1.0)
