"""The plantings of the pathology benchmark: what they change, what they leave alone, and how cases are judged and counted."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import wellfit as wf
from wellfit.population.pool import Pool

ROOT = Path(__file__).resolve().parents[2]


def module(name: str) -> ModuleType:
    folder = str(ROOT / "benchmarks")
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(name)


@pytest.fixture(scope="module")
def data() -> ModuleType:
    return module("pathology_data")


@pytest.fixture(scope="module")
def rows() -> ModuleType:
    return module("pathology_rows")


@pytest.fixture(scope="module")
def plants() -> ModuleType:
    return module("pathology_plants")


@pytest.fixture(scope="module")
def digits(data: ModuleType) -> Any:
    return data.divided("digits", None, 0)


def test_parts_have_no_row_in_common_and_a_seed_draws_them_anew(data: ModuleType, digits: Any) -> None:
    found = data.SETS["digits"]
    assert (len(digits.visible), len(digits.reserve), len(digits.hidden)) == (found.visible, found.reserve, found.hidden)
    together = pd.concat([digits.visible, digits.reserve, digits.hidden]).drop(columns="target")
    assert not together.duplicated().any()
    pd.testing.assert_frame_equal(data.divided("digits", None, 0).visible, digits.visible)
    assert not data.divided("digits", None, 1).visible.equals(digits.visible)
    shares = digits.visible["target"].value_counts(normalize=True)
    assert shares.min() > 0.08 and shares.max() < 0.12


def test_both_halves_have_sets_with_classes_with_numbers_and_from_scikit_learn(data: ModuleType) -> None:
    for half in data.HALVES:
        mine = [s for s in data.SETS.values() if s.half == half]
        assert any(s.regression for s in mine) and any(not s.regression for s in mine) and any(s.bundled for s in mine)
    assert sum(s.half == "judgement" for s in data.SETS.values()) == len(data.SETS) // 2


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_label_noise_flips_this_share_to_other_classes(rows: ModuleType, digits: Any, share: float) -> None:
    spoiled = rows.flipped(digits.visible, share, 3)
    wrong = spoiled["target"] != digits.visible["target"]
    assert wrong.sum() == round(share * len(spoiled))
    assert set(spoiled["target"]) == set(digits.visible["target"])
    pd.testing.assert_frame_equal(spoiled.drop(columns="target"), digits.visible.drop(columns="target"))
    assert not rows.flipped(digits.visible, share, 4).equals(spoiled)


def test_duplicates_are_exact_and_slightly_moved_copies_with_their_label(rows: ModuleType, digits: Any) -> None:
    spoiled = rows.duplicated(digits.visible, 0.5, 0)
    copied = len(digits.visible) // 2
    assert len(spoiled) == len(digits.visible) + 2 * copied
    assert spoiled.duplicated().sum() == copied
    known = digits.visible.drop(columns="target").to_numpy(float)
    for i in range(0, 300, 25):
        distance = np.abs(known - spoiled.drop(columns="target").to_numpy(float)[i]).max(1)
        assert distance.min() < 1.0 and digits.visible["target"][int(distance.argmin())] == spoiled["target"][i]


def test_units_share_a_label_and_are_near_copies(rows: ModuleType, digits: Any) -> None:
    for seed in (0, 1):
        spoiled = rows.repeated(digits.visible, 60, 4, seed)
        groups = spoiled.groupby("unit")
        assert len(spoiled) == 4 * groups.ngroups and groups.ngroups >= 60
        assert (groups["target"].nunique() == 1).all()
        features = spoiled.drop(columns=["unit", "target"])
        fresh = rows.unit_names(200, seed, taken=groups.ngroups)
        assert len(set(fresh)) == 200 and not set(fresh) & set(spoiled["unit"])
        assert groups[list(features)].std().mean().mean() < 0.3 * features.std().mean()


def test_the_telling_column_tells(rows: ModuleType, digits: Any) -> None:
    exact = rows.revealed(digits.visible, 0.0, 0)
    assert (exact.groupby("billed")["target"].nunique() == 1).all()
    noisy = rows.revealed(digits.visible, 0.03, 0)
    likeliest = noisy.groupby(noisy["billed"].round())["target"].agg(lambda s: s.mode()[0])
    right = (noisy["billed"].round().map(likeliest) == noisy["target"]).mean()
    assert 0.94 < right < 1.0
    numbers = digits.visible.assign(target=np.arange(len(digits.visible), dtype=float))
    assert abs(np.corrcoef(rows.revealed(numbers, 0.03, 0)["billed"], numbers["target"])[0, 1]) > 0.99


@pytest.mark.parametrize("seed", [0, 1])
def test_selection_moves_the_rows_along_the_direction(rows: ModuleType, digits: Any, seed: int) -> None:
    later = rows.selected(digits.visible, seed, 4.0)
    place = rows.direction(digits.visible, seed)
    assert 0.3 < later.mean() < 0.7
    assert abs(place[later].mean() - place[~later].mean()) > 0.6


def test_a_planting_in_the_set_up_changes_one_thing(plants: ModuleType, data: ModuleType, digits: Any) -> None:
    engine = module("pathology_engine")
    base = engine.SetUp((64, 64), wf.Recipe(wf.WeightDecay(timescale=20.0), wf.LabelSmoothing(0.1)), 3e-3)
    found = data.SETS["digits"]
    made = {p: plants.PLANTS[p](found, digits, base, 0) for p in plants.PLANTS}
    for name in ("too_much_decay", "too_much_dropout", "rate_too_high", "rate_too_low"):
        given = made[name].given.set_up
        changed = [f for f in ("hidden", "recipe", "learning_rate") if getattr(given, f) != getattr(base, f)]
        assert changed == (["recipe"] if name.startswith("too") else ["learning_rate"])
        assert made[name].cures["sound"].set_up == base and "more data" in made[name].rivals
        pd.testing.assert_frame_equal(made[name].given.rows, digits.visible)
    assert made["too_much_decay"].given.set_up.recipe.get("label_smoothing") is not None
    assert max(made["capacity_too_small"].given.set_up.hidden) <= 2
    assert not len(made["excess_width"].given.set_up.recipe)
    assert len(made["scarce_data"].given.rows) == found.scarce
    shifted = made["covariate_shift"]
    assert shifted.test is not None and shifted.judged is not None
    parts = pd.concat([shifted.given.rows, shifted.test, shifted.judged])
    assert not parts.duplicated().any()


def test_every_planting_has_a_verdict_and_a_set_of_scikit_learn(plants: ModuleType, data: ModuleType) -> None:
    assert set(plants.ACCEPTED) == set(plants.PLANTS)
    for plant in plants.PLANTS:
        assert any(plants.applies(plant, s) for s in data.SETS.values() if s.bundled)
    assert not plants.applies("label_noise_10", data.SETS["abalone"])


def test_the_spoiled_network_has_dropout_before_its_norms() -> None:
    network = module("pathology_network")
    names = [type(m).__name__ for m in network.network(5, 3, 0.5, spoiled=True)]
    assert all(names[i - 1] == "Dropout" for i, n in enumerate(names) if n == "BatchNorm1d")
    cured = [type(m).__name__ for m in network.network(5, 3, 0.5, spoiled=False)]
    assert cured.count("Dropout") == 1 and cured.index("Dropout") > max(i for i, n in enumerate(cured) if n == "BatchNorm1d")
    model = network.network(5, 3, 0.5, spoiled=True).eval()
    assert model(torch.zeros(4, 5)).shape == (4, 3)
    network._take_statistics(model, torch.randn(64, 5, generator=torch.Generator().manual_seed(0)))
    assert not any(m.training for m in model) and model[3].running_mean.abs().sum() > 0


# ---- truth


def test_a_gain_is_a_difference_in_merit_with_the_error_of_paired_rows() -> None:
    engine = module("pathology_engine")
    rng = np.random.default_rng(0)
    worse = rng.random((1, 400)) / 400
    better = worse - 0.1 / 400 * rng.random((1, 400))
    gain, error = engine.Rows(better, False).gain_over(engine.Rows(worse, False))
    assert gain == pytest.approx((worse - better).sum()) and 0 < error < 0.1 * gain
    clusters = np.arange(400) // 100
    assert engine.Rows(better, False, clusters).spread((worse - better)[0]) != error


def test_a_planting_holds_only_if_its_cure_is_sure_and_beats_the_rivals_and_what_is_needed_gains() -> None:
    truth, engine = module("pathology_truth"), module("pathology_engine")
    noise = np.random.default_rng(1).random((3, 500)) / 500

    def lower(gain: float) -> Any:
        return engine.Rows(noise - gain / 500, False)

    rows = {"given": lower(0.0), "cure": lower(0.2), "rival": lower(0.1), "twice": lower(0.05), "little": lower(0.001)}
    assert truth.margin(rows["given"]) == pytest.approx(0.025, rel=0.05)
    assert truth._cured(rows, ["cure"], ["rival"], ["twice"])["holds"]
    assert not truth._cured(rows, ["cure"], ["rival"], ["little"])["holds"]
    beaten = truth._cured(rows, ["rival"], ["cure"])
    assert not beaten["holds"] and beaten["rivalled"]
    assert not truth._cured(rows, ["little"], [])["holds"]
    assert truth._sound({"given": rows["given"], "little": rows["little"]})["holds"]
    assert truth._sound(rows)["better"] == ["cure", "rival", "twice"]


def test_the_truth_is_measured_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth, engine = module("pathology_truth"), module("pathology_engine")
    monkeypatch.setattr(truth.Truth, "base", lambda self, plant, name: engine.SetUp((16,), epochs=20))
    with Pool(1) as pool:
        known = truth.Truth(engine.Engine(pool), None, tmp_path)
        leak = known.of("leak_column_exact", "digits", 0)
        assert leak["holds"] and leak["gain"] > leak["margin"]
        slow = known.of("rate_too_low", "breast_cancer", 0)
        assert slow["holds"] and slow["cure"] == "sound"
    monkeypatch.setattr(engine.Engine, "judged", lambda *a, **k: pytest.fail("trained again"))
    assert truth.Truth(engine.Engine(Pool(1)), None, tmp_path).of("rate_too_low", "breast_cancer", 0) == slow


# ---- the runner


@dataclass
class Found:
    cause: str
    confidence: float = 0.9

    def to_mapping(self) -> dict[str, Any]:
        return {"verdict": {"cause": self.cause}}


def test_a_case_that_is_not_true_is_left_out_and_one_that_fails_is_wrong() -> None:
    runner = module("pathologies")

    class Known:
        def __init__(self, holds: bool):
            self.holds = holds

        def of(self, *case: Any) -> dict[str, Any]:
            return {"holds": self.holds}

        def planted(self, *case: Any) -> Any:
            plants, engine = module("pathology_plants"), module("pathology_engine")
            return plants.Planted(plants.Arm(pd.DataFrame({"target": [1.0]}), engine.SetUp((3,), learning_rate=0.5)))

    case = runner.Case("rate_too_high", "digits", 2)
    asked: dict[str, Any] = {}

    def diagnose(rows: pd.DataFrame, **given: Any) -> Found:
        asked.update(given)
        return Found("underfits_optimisation")

    assert "cause" not in runner.judged(case, Known(False), "5s", diagnose)
    line = runner.judged(case, Known(True), "5s", diagnose)
    assert line["right"] and line["half"] == "development"
    assert asked["hidden"] == (3,) and asked["learning_rate"] == 0.5 and asked["seed"] == 2 and asked["budget"] == "5s"
    failed = runner.judged(case, Known(True), "5s", lambda rows, **given: 1 / 0)
    assert failed["cause"] == "failed" and not failed["right"] and "ZeroDivisionError" in failed["error"]


def line(plant: str, name: str, cause: str | None, right: bool = False) -> dict[str, Any]:
    half = module("pathology_data").SETS[name].half
    head = {"case": f"{plant}/{name}/0", "plant": plant, "set": name, "half": half, "seed": 0, "holds": cause is not None}
    return head if cause is None else {**head, "cause": cause, "right": right, "seconds": 3.0}


def test_the_matrix_counts_verdicts_by_half_and_the_page_shows_them(tmp_path: Path) -> None:
    report = module("pathology_report")
    lines = [line("healthy", "digits", "fits_well", True), line("healthy", "car", "overfits"), line("healthy", "vehicle", None),
             line("scarce_data", "vehicle", "too_little_data", True), line("scarce_data", "digits", "too_little_data", True)]
    path = tmp_path / "results.jsonl"
    report.append(path, [line("healthy", "digits", "overfits"), *lines])
    with path.open("a") as file:
        file.write('{"case": "cut o')
    found = report.summary(report.read(path))
    both = found["parts"]["both"]
    assert (both["all"]["right"], both["all"]["cases"], both["left_out"]) == (3, 4, 1)
    assert both["plants"]["healthy"]["verdicts"] == {"fits_well": 1, "overfits": 1}
    assert found["parts"]["judgement"]["all"]["share"] == 1.0
    low, high = both["all"]["interval"]
    assert 0 <= low <= 0.75 <= high <= 1
    text = report.page(found)
    assert "| healthy | **1** |" in text and "75%" in text
    assert "MISS" in report.shown(found)


def test_done_cases_are_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    runner = module("pathologies")
    ran: list[str] = []

    def work(case: Any, **more: Any) -> dict[str, Any]:
        ran.append(case.key)
        return line(case.plant, case.name, "fits_well", True)

    monkeypatch.setattr(runner, "_work", work)
    given = ["--datasets", "digits", "--cases", "healthy,scarce_data", "--seeds", "0", "--folder", str(tmp_path)]
    assert runner.main(given) == 0 and ran == ["healthy/digits/0", "scarce_data/digits/0"]
    assert runner.main(given) == 0 and len(ran) == 2
    assert "2 of 2" in capsys.readouterr().out
