"""Intervals of gaps and differences against simulated truth."""

from __future__ import annotations

import numpy as np
import pytest

from wellfit.core.errors import WellfitError
from wellfit.diagnosis.measures.gap import generalization_gap, nested_interval, paired_difference
from wellfit.search.score import Scorer


def crossed(rng: np.random.Generator, seeds: int, n: int, level: float, *, row: float, seed: float, both: float) -> np.ndarray:
    return (level + row * rng.normal(size=n) + seed * rng.normal(size=(seeds, 1)) + both * rng.normal(size=(seeds, n)))


@pytest.mark.parametrize(("seeds", "n", "row", "seed", "both"), [
    (3, 40, 1.0, 0.0, 1.0), (5, 40, 0.3, 0.15, 0.5), (3, 200, 0.1, 0.2, 0.1), (1, 40, 1.0, 0.0, 0.0), (4, 40, 0.0, 0.0, 1.0)])
def test_differences_of_means_are_covered(seeds: int, n: int, row: float, seed: float, both: float) -> None:
    """Whatever scatters: rows, seeds, or both at once."""
    rng = np.random.default_rng(seeds * n)
    hits, widths, values = 0, [], []
    for trial in range(300):
        hard = rng.normal(size=n)
        a = crossed(rng, seeds, n, 1.0, row=row, seed=seed, both=both) + hard
        found = paired_difference(a, np.broadcast_to(hard, (seeds, n)), draws=300, seed=trial)
        hits += found.low <= 1.0 <= found.high
        widths.append(found.standard_error)
        values.append(found.value)
    assert 0.91 <= hits / 300 <= 0.995
    assert np.sqrt(np.mean(np.square(widths))) == pytest.approx(np.std(values), rel=0.25)


@pytest.mark.parametrize("metric", ["balanced_accuracy", "rmse"])
def test_a_statistic_that_is_no_mean_is_covered(metric: str) -> None:
    """Against the difference on a great many rows."""
    def sample(rng: np.random.Generator, n: int) -> tuple[Scorer, np.ndarray, np.ndarray]:
        if metric == "rmse":
            y, shared = rng.normal(size=n), rng.normal(size=n)
            a, b = ((y + shared + s * rng.normal(size=n))[:, None] for s in (1.0, 0.5))
            scorer = Scorer(metric, y)
        else:
            y, ease = rng.choice(2, n, p=[0.8, 0.2]), rng.random(n)
            a, b = (np.eye(2)[np.where(ease < p + 0.2 * (y == 0), y, 1 - y)] for p in (0.6, 0.7))
            scorer = Scorer(metric, y, 2)
        return scorer, scorer.rows(a), scorer.rows(b)

    rng = np.random.default_rng(0)
    scorer, a, b = sample(rng, 400_000)
    truth = float(scorer.errors(a)[0, 0] - scorer.errors(b)[0, 0])
    hits = 0
    for trial in range(200):
        scorer, a, b = sample(rng, 120)
        strata = scorer.y if scorer.classes else None
        found = paired_difference(a, b, statistic=scorer.errors, strata=strata, draws=300, seed=trial)
        hits += found.low <= truth <= found.high
    assert 0.9 <= hits / 200 <= 1.0


def test_groups_widen_the_interval() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(20), 30)
    hits = {True: 0, False: 0}
    for trial in range(100):
        a = 1.0 + rng.normal(size=20)[groups] + 0.3 * rng.normal(size=600)
        for known in hits:
            found = paired_difference(a, np.zeros(600), groups=groups if known else None, draws=200, seed=trial)
            hits[known] += found.low <= 1.0 <= found.high
    assert hits[True] >= 88 and hits[False] < 60


def test_no_error_at_all_is_not_certainty() -> None:
    wrong = np.zeros((3, 40))
    found = paired_difference(wrong, wrong)
    assert found.value == 0 and 0.02 < found.high < 0.1
    scorer = Scorer("balanced_accuracy", np.array([0] * 36 + [1] * 4), 2)
    assert paired_difference(wrong, wrong, statistic=scorer.errors, strata=scorer.y).high > 2 * found.high


@pytest.mark.parametrize("same_rows", [True, False])
def test_the_gap_is_covered_at_forty_rows(same_rows: bool) -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for trial in range(300):
        hard = rng.exponential(0.3, 40)
        train = hard[None] * rng.uniform(0.5, 1.5, (3, 40))
        held = (hard if same_rows else rng.exponential(0.3, 40)) + 0.2 + 0.1 * rng.normal(size=(3, 40))
        found = generalization_gap(train, held, same_rows=same_rows, draws=300, seed=trial)
        hits += found.low <= 0.2 <= found.high
    assert 0.9 <= hits / 300 <= 0.995


def test_folds_are_averaged_and_rows_paired() -> None:
    rng = np.random.default_rng(3)
    fold = np.arange(50) % 5
    held_here = np.arange(5)[:, None] == fold
    hard = rng.exponential(5.0, 50)
    train = np.where(held_here, np.nan, hard + 0.01 * rng.normal(size=(2, 5, 50)))
    held = np.where(held_here, hard + 1.0 + 0.01 * rng.normal(size=(2, 5, 50)), np.nan)
    found = generalization_gap(train, held)
    assert found.value == pytest.approx(1.0, abs=0.02)
    assert found.high - found.low < 0.05  # hard rows are hard in both: pairing takes that out


def test_folds_widen_the_interval_a_little() -> None:
    rows = np.random.default_rng(6).normal(size=(2, 60))
    plain, folded = (paired_difference(rows, np.zeros((2, 60)), folds=f) for f in (None, 5))
    assert folded.standard_error > plain.standard_error and folded.value == plain.value
    assert folded.standard_error < 1.2 * plain.standard_error
    held = np.where(np.arange(5)[:, None] == np.arange(60) % 5, rows[:, None], np.nan)
    other = np.where(np.isnan(held), 0.0, np.nan)
    assert generalization_gap(other, held).standard_error == pytest.approx(folded.standard_error)


def test_unpaired_seeds_stay_paired_by_row() -> None:
    rng = np.random.default_rng(4)
    hard = rng.normal(size=80) * 3
    found = paired_difference(hard + 0.5 + 0.1 * rng.normal(size=(4, 80)), hard + 0.1 * rng.normal(size=(2, 80)))
    assert found.low < 0.5 < found.high and found.high - found.low < 0.5


def test_nested_errors_widen_what_is_too_short() -> None:
    """A cross-validation whose folds disagree more than rows explain gets a wider interval; one that agrees does not."""
    rng = np.random.default_rng(5)
    folds = np.arange(50) % 5
    shift = rng.normal(size=5)[folds]
    calm = nested_interval(rng.normal(size=50), rng.normal(size=(5, 50)), folds)
    loud = nested_interval(rng.normal(size=50) + 2 * shift, rng.normal(size=(5, 50)) + 2 * shift, folds)
    assert calm.standard_error == pytest.approx(50**-0.5, rel=0.8)
    assert loud.standard_error > np.std(rng.normal(size=50) + 2 * shift) / 50**0.5 * 1.2


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(WellfitError, match="same rows"):
        paired_difference(np.zeros(5), np.zeros(6))
    with pytest.raises(WellfitError, match="no numbers"):
        paired_difference(np.full(5, np.nan), np.zeros(5))
    with pytest.raises(WellfitError, match="in any fold"):
        generalization_gap(np.full((1, 2, 5), np.nan), np.zeros((1, 2, 5)))
    with pytest.raises(WellfitError, match="strata"):
        paired_difference(np.zeros(5), np.zeros(5), strata=np.zeros(4))
    with pytest.raises(WellfitError, match="seeds"):
        generalization_gap(np.zeros((2, 5)), np.zeros((3, 7)))


def test_draws_are_the_caller_s_own() -> None:
    a = np.random.default_rng(0).normal(size=(2, 30))
    assert paired_difference(a, a[::-1] * 0.5, seed=1) == paired_difference(a, a[::-1] * 0.5, seed=1)
    assert paired_difference(a, a * 0.5, seed=1) != paired_difference(a, a * 0.5, seed=2)
