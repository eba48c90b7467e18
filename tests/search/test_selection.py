"""Choosing: paired intervals, the one-standard-error rule, ensembles."""

from __future__ import annotations

import numpy as np
import pytest

from wellfit.core.recipe import Recipe
from wellfit.core.registry import lookup
from wellfit.search.configuration import Configuration
from wellfit.search.score import Scorer, softmax
from wellfit.search.selection import (
    Candidate,
    best_supported,
    ensemble_weights,
    greedy_ensemble,
    paired,
    paired_merit,
    simplest_within,
    spread,
)
from wellfit.search.trainer import Outcome


def candidate(scorer: Scorer, predictions: list[np.ndarray], *names: str, rate: float = 1e-3) -> Candidate:
    configuration = Configuration(Recipe(*(lookup(n)() for n in names)), rate)
    outcomes = []
    for seed, p in enumerate(predictions):
        rows = scorer.rows(p)
        outcomes.append(Outcome(configuration, seed, scorer.error(rows), scorer.merit(p), p, rows, 5.0, finished=True))
    return Candidate(configuration, outcomes)


def noisy(y: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    return (y + noise * rng.normal(size=len(y))).reshape(-1, 1)


def test_a_paired_interval_covers_the_true_difference() -> None:
    """95% intervals of a known difference of RMSE, from samples of rows and seeds: covered in about 95% of cases."""
    true = 1.3 - 1.0
    covered, excluded = 0, 0
    runs = 150
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        y = rng.normal(size=150)
        scorer = Scorer("rmse", y)
        worse = candidate(scorer, [noisy(y, 1.3, rng) for _ in range(3)])
        better = candidate(scorer, [noisy(y, 1.0, rng) for _ in range(3)], "dropout")
        effect, (low, high) = paired(scorer, worse, better, scorer.resamples(100, seed))
        assert low <= effect <= high
        covered += low <= true <= high
        excluded += low > 0
    assert covered / runs >= 0.9
    assert excluded / runs >= 0.9  # and it is no wider than it must be


def test_paired_seeds_that_agree_leave_no_doubt_about_seeds() -> None:
    y = np.arange(50.0)
    scorer = Scorer("rmse", y)
    same = [y.reshape(-1, 1) + 1.0] * 3
    effect, (low, high) = paired(scorer, candidate(scorer, same), candidate(scorer, same), scorer.resamples(50))
    assert effect == low == high == 0.0


def test_the_simplest_within_a_margin() -> None:
    y = np.zeros(40)
    scorer = Scorer("rmse", y)

    def flat(error: float, *names: str) -> Candidate:
        return candidate(scorer, [np.full((40, 1), error)], *names)

    none, one, two = flat(1.20), flat(1.05, "dropout"), flat(1.00, "dropout", "l2")
    everyone = [none, one, two]
    assert simplest_within(everyone, two, 0.0) is two
    assert simplest_within(everyone, two, 0.06) is one
    assert simplest_within(everyone, two, 0.50) is none
    other = flat(1.04, "mixup")
    assert simplest_within([*everyone, other], two, 0.06) is other  # equally simple: the better one
    broken = flat(1.0)
    broken.outcomes[0].pruned_at = 3
    assert simplest_within([*everyone, broken], two, 0.0) is two  # one that was left behind is no choice


def test_an_ensemble_is_no_worse_than_its_best_member_and_uses_different_errors() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    scorer = Scorer("accuracy", y, 3)

    def member(strength: float) -> np.ndarray:
        return softmax(2 * rng.normal(size=(300, 3)) + strength * np.eye(3)[y])

    members = [candidate(scorer, [member(s)], rate=1e-3 * (k + 1)) for k, s in enumerate((3.0, 2.9, 2.8, 2.8, 0.0))]
    weights = greedy_ensemble(scorer, members)
    mean = sum(times * members[i].predictions for i, times in weights.items()) / sum(weights.values())
    assert scorer.merit(mean) <= min(m.merit for m in members)
    assert len(weights) >= 3
    assert 4 not in weights  # the useless one
    assert greedy_ensemble(scorer, members) == weights


def test_an_ensemble_of_one() -> None:
    y = np.arange(20.0)
    scorer = Scorer("rmse", y)
    only = candidate(scorer, [y.reshape(-1, 1)])
    assert set(greedy_ensemble(scorer, [only])) == {0}


def test_the_spread_is_a_standard_error() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=400)
    scorer = Scorer("rmse", y)
    found = spread(scorer, candidate(scorer, [noisy(y, 1.0, rng)]), scorer.resamples(400))
    assert found == pytest.approx(1 / np.sqrt(2 * 400), rel=0.2)


def test_half_of_an_ensembles_weight_is_the_plain_mean_of_the_best() -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 200)
    scorer = Scorer("accuracy", y, 2)
    members = [candidate(scorer, [softmax(rng.normal(size=(200, 2)) + s * np.eye(2)[y])], rate=1e-3 * (k + 1))
               for k, s in enumerate((2.0, 1.9, 1.8, 1.7, 0.1))]
    weights = ensemble_weights(scorer, members, equal=3)
    assert sum(weights.values()) == pytest.approx(1.0)
    best = sorted(range(5), key=lambda i: members[i].merit)[:3]
    assert all(weights[i] >= 0.5 / 3 for i in best)
    greedy = greedy_ensemble(scorer, members)
    for i, weight in weights.items():
        assert weight == pytest.approx(0.5 * greedy.get(i, 0) / sum(greedy.values()) + (0.5 / 3 if i in best else 0.0))


@pytest.mark.parametrize(("better_by", "supported"), [(0.5, True), (0.0, False), (-0.5, False)])
def test_a_recipe_has_to_show_more_than_luck(better_by: float, supported: bool) -> None:
    rng = np.random.default_rng(3)
    y = rng.normal(size=120)
    scorer = Scorer("rmse", y)
    plain = candidate(scorer, [noisy(y, 1.0, rng) for _ in range(3)])
    other = candidate(scorer, [plain.outcomes[s].predictions + 0.01 * rng.normal(size=(120, 1)) if better_by == 0  # type: ignore[operator]
                               else noisy(y, 1.0 - better_by, rng) for s in range(3)], "dropout")
    chosen = best_supported(scorer, [other, plain], plain, scorer.resamples(200))
    assert chosen is (other if supported else plain)


def test_a_supported_recipe_is_preferred_to_a_luckier_one() -> None:
    rng = np.random.default_rng(4)
    y = rng.normal(size=200)
    scorer = Scorer("rmse", y)
    plain = candidate(scorer, [noisy(y, 1.0, rng) for _ in range(2)])
    sure = candidate(scorer, [noisy(y, 0.8, rng) for _ in range(2)], "dropout")
    lucky = candidate(scorer, [noisy(y, 0.1, rng), noisy(y, 1.3, rng)], "l1")  # better in the mean, by one seed of two
    assert lucky.merit < sure.merit
    assert best_supported(scorer, [sure, lucky, plain], plain, scorer.resamples(200)) is sure


def test_the_merit_tells_apart_what_an_accuracy_cannot() -> None:
    """Two networks that err on the same rows, one of them much surer of the right ones."""
    rng = np.random.default_rng(5)
    y = rng.integers(0, 2, 150)
    scorer = Scorer("balanced_accuracy", y, 2)
    wrong = rng.random(150) < 0.2
    towards = np.where(wrong, -1.0, 1.0)[:, None] * np.eye(2)[y]
    vague = candidate(scorer, [softmax(towards * (0.3 + 0.5 * rng.random((150, 1)))) for _ in range(3)])
    clear = candidate(scorer, [softmax(towards * np.where(wrong, 0.2, 3.0)[:, None]) for _ in range(3)], "dropout")
    resamples = scorer.resamples(300)
    assert paired(scorer, vague, clear, resamples) == (0.0, (0.0, 0.0))
    effect, (low, high) = paired_merit(scorer, vague, clear, resamples)
    assert effect == pytest.approx(vague.merit - clear.merit) and 0 < low < effect < high
    backwards, _ = paired_merit(scorer, clear, vague, resamples)
    assert backwards == pytest.approx(-effect)


@pytest.mark.parametrize(("surer", "expected"), [(3.0, "dropout"), (1.0, "unregularized")])
def test_a_tie_in_the_metric_goes_to_the_clearly_better_merit(surer: float, expected: str) -> None:
    """The same rows are wrong with and without the recipe. Where it is clearly surer of the right ones it is preferred."""
    rng = np.random.default_rng(6)
    y = rng.integers(0, 2, 150)
    scorer = Scorer("balanced_accuracy", y, 2)
    wrong = rng.random(150) < 0.2
    towards = np.where(wrong, -0.3, 0.3 + rng.random(150))[:, None] * np.eye(2)[y]
    plain = candidate(scorer, [softmax(towards * (1 + 0.1 * rng.random((150, 1)))) for _ in range(3)])
    other = candidate(scorer, [softmax(towards * np.where(wrong, 1.0, surer)[:, None] * (1 + 0.1 * rng.random((150, 1))))
                               for _ in range(3)], "dropout")
    chosen = best_supported(scorer, [other, plain], plain, scorer.resamples(300))
    assert chosen is (other if expected == "dropout" else plain)
