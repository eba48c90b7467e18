"""A whole search on small tables: what it writes, that it repeats, and that no choice sees a test row."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import wellfit as wf
from search.conftest import TINY, settled, table
from wellfit.core.errors import WellfitError
from wellfit.data import load_split
from wellfit.population.inference import load_networks
from wellfit.search import prepare as prepare_module
from wellfit.search.result import TuneResult
from wellfit.search.score import Scorer
from wellfit.search.tune import tune as search

# ------------------------------------------------------------------------------------------------------ what it writes

NUMBER, SCORE = (int, float), (int, float, type(None))
SCHEMA: dict[str, Any] = {
    "format": int, "task": str, "metric": str, "higher_is_better": bool,
    "n": {"train": int, "validation": int, "test": int},
    "unregularized": {"validation": NUMBER, "test": NUMBER, "ci": [NUMBER, NUMBER], "train": NUMBER},
    "singles": dict,
    "best": {"recipe": {"format": int, "regularizers": list, "learning_rate": NUMBER}, "validation": NUMBER, "test": NUMBER,
             "ci": [NUMBER, NUMBER], "train": NUMBER},
    "simplest_within_one_se": {"recipe": {"format": int, "regularizers": list}, "test": SCORE},
    "ensemble": {"members": int, "test": SCORE},
    "gain": {"test": NUMBER, "ci": [NUMBER, NUMBER]},
    "attribution": list, "dropped": list, "baselines": {"ridge_or_logistic": SCORE},
    "verdict": {"kind": str, "text": str},
    "optimism": {"validation": NUMBER, "test": NUMBER},
    "warnings": list, "interrupted": bool,
    "cost": {"seconds": NUMBER, "configurations": int, "epochs": int, "member_steps": int},
}


def check(value: Any, schema: Any, where: str = "summary") -> None:
    """Every key of the schema is there, with a value of its type."""
    if isinstance(schema, dict):
        assert isinstance(value, dict), where
        for key, inner in schema.items():
            assert key in value, f"{where}.{key} is missing"
            check(value[key], inner, f"{where}.{key}")
    elif isinstance(schema, list):
        assert isinstance(value, list), where
        assert len(value) == len(schema), where
        for number, inner in enumerate(schema):
            check(value[number], inner, f"{where}[{number}]")
    else:
        types = schema if isinstance(schema, tuple) else (schema,)
        assert isinstance(value, types), f"{where} is {value!r}"
        assert not isinstance(value, bool) or bool in types, f"{where} is {value!r}"


def test_the_summary_has_its_documented_shape(finished: tuple[str, pd.DataFrame, TuneResult]) -> None:
    task, frame, result = finished
    summary = json.loads((result.path / "summary.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert summary == result.summary
    check(summary, SCHEMA)
    assert summary["task"] == task
    assert sum(summary["n"].values()) == len(frame)
    for name, single in summary["singles"].items():
        check(single, {"validation": NUMBER, "test": SCORE, "recipe": dict}, f"singles.{name}")
        assert name in {p["name"] for p in single["recipe"]["regularizers"]}
    for row in summary["attribution"]:
        check(row, {"regularizer": str, "effect": NUMBER, "ci": [NUMBER, NUMBER], "keep": bool}, "attribution")
    for part in ("unregularized", "best"):
        low, high = summary[part]["ci"]
        assert low <= summary[part]["test"] <= high


def test_the_run_directory_is_complete(finished: tuple[str, pd.DataFrame, TuneResult]) -> None:
    _, _, result = finished
    names = {str(p.relative_to(result.path)) for p in result.path.rglob("*") if p.is_file()}
    assert {"run.json", "split.npz", "trials.jsonl", "summary.json", "evidence.json", "best/recipe.yaml",
            "best/model.safetensors", "best/preprocess.json"} <= names
    assert not (result.path / "work").exists()
    run = json.loads((result.path / "run.json").read_text())
    check(run, {"command": str, "versions": {"wellfit": str, "torch": str}, "seed": int, "budget": str,
                "data": {"sha256": str, "columns": list}, "split": {"train": int, "validation": int, "test": int}, "device": str})
    trials = [json.loads(line) for line in (result.path / "trials.jsonl").read_text().splitlines()]
    assert [t["number"] for t in trials] == list(range(8))
    assert trials[0]["origin"] == "unregularized"
    assert result.summary["cost"]["configurations"] == 8
    for trial in trials:
        wf.Recipe.from_mapping(trial["recipe"])
        assert len(trial["history"]["train_loss"]) >= 1


def test_the_saved_recipe_can_be_loaded(finished: tuple[str, pd.DataFrame, TuneResult]) -> None:
    _, _, result = finished
    recipe = wf.Recipe.load(result.path / "best" / "recipe.yaml")
    assert recipe == result.recipe
    assert recipe == wf.Recipe.from_mapping(result.summary["best"]["recipe"])
    assert result.learning_rate == result.summary["best"]["recipe"]["learning_rate"]


def test_the_saved_network_gets_the_reported_score(finished: tuple[str, pd.DataFrame, TuneResult]) -> None:
    task, frame, result = finished
    rows = load_split(result.path / "split.npz").test
    predicted = result.predict(frame.iloc[rows])
    assert list(predicted.index) == list(range(len(rows)))
    if task == "regression":
        scorer = Scorer("rmse", frame["y"].to_numpy()[rows])
        score = scorer.error(scorer.rows(predicted[["prediction"]].to_numpy()))
        assert list(predicted.columns) == ["prediction"]
    else:
        names = sorted(frame["y"].unique())
        assert list(predicted.columns) == ["prediction", *(f"p_{n}" for n in names)]
        p = predicted[[f"p_{n}" for n in names]].to_numpy()
        assert np.allclose(p.sum(axis=1), 1)
        assert [names[c] for c in p.argmax(axis=1)] == list(predicted["prediction"])
        scorer = Scorer("balanced_accuracy", np.array([names.index(v) for v in frame["y"].iloc[rows]]), len(names))
        score = scorer.score(scorer.error(scorer.rows(p)))
    assert score == pytest.approx(result.summary["best"]["test"], rel=1e-4)
    if result.summary["ensemble"]["members"] > 1:
        mixed = result.predict(frame.iloc[rows], model="ensemble")
        assert list(mixed.columns) == list(predicted.columns)


def test_the_result_in_a_notebook(finished: tuple[str, pd.DataFrame, TuneResult]) -> None:
    _, _, result = finished
    assert result.summary["metric"] in repr(result)
    assert "<" in result._repr_html_()
    assert TuneResult(result.path).summary == result.summary


# ------------------------------------------------------------------------------------------------- predicting new rows


@pytest.fixture(scope="module")
def model(tune: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, TuneResult]:
    """A run whose features are text that looks like numbers, numbers, a category and a flag."""
    frame = table("binary")
    frame["code"] = np.where(frame["a"] > 0, "007", "x7")
    return frame, tune(frame, out=tmp_path_factory.mktemp("predict") / "run", drop=["where"])


def test_column_order_extra_columns_and_files_make_no_difference(model: tuple[pd.DataFrame, TuneResult], tmp_path: Path) -> None:
    frame, result = model
    expected = result.predict(frame)
    shuffled = frame[["code", "d", "b", "a", "c"]].assign(more=1)
    pd.testing.assert_frame_equal(result.predict(shuffled), expected)
    shuffled.to_csv(tmp_path / "new.csv", index=False)
    pd.testing.assert_frame_equal(result.predict(tmp_path / "new.csv"), expected)
    some = frame[frame["code"] == "007"]  # a file that holds nothing but 007 there: text all the same
    some.to_csv(tmp_path / "some.csv", index=False)
    pd.testing.assert_frame_equal(result.predict(tmp_path / "some.csv"), expected[(frame["code"] == "007")].reset_index(drop=True))


def test_unseen_categories_and_missing_cells_just_work(model: tuple[pd.DataFrame, TuneResult]) -> None:
    frame, result = model
    new = frame.head(6).copy()
    new["c"] = ["red", "purple", None, "blue", "", "teal"]
    new.loc[2, "a"] = np.nan
    new.loc[3, "b"] = np.inf
    predicted = result.predict(new)
    assert len(predicted) == 6
    assert np.isfinite(predicted[["p_no", "p_yes"]].to_numpy()).all()


def test_a_missing_column_is_named(model: tuple[pd.DataFrame, TuneResult]) -> None:
    frame, result = model
    with pytest.raises(WellfitError, match="'code'"):
        result.predict(frame.drop(columns="code"))
    with pytest.raises(WellfitError, match="best or ensemble"):
        result.predict(frame, model="beast")


# ----------------------------------------------------------------------------------------------------------- repeating


def same_network(a: TuneResult, b: TuneResult) -> bool:
    """Whether two runs saved the same weights, bit for bit."""
    first, second = (load_networks(r.path / "best" / "model.safetensors")[""].weights for r in (a, b))
    return first.keys() == second.keys() and all(first[n].tobytes() == second[n].tobytes() for n in first)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_a_work_budget_and_a_seed_repeat_a_run(task: str, tune: Callable[..., Any], tmp_path: Path) -> None:
    frame = table(task)
    given = {"budget": "26c", "regularizers": ("dropout", "l1", "mixup", "ema", "early_stopping")}
    first, second = (tune(frame, out=tmp_path / name, **given) for name in "ab")
    assert settled(first.summary) == settled(second.summary)
    for name in ("best/recipe.yaml", "best/preprocess.json", "evidence.json", "split.npz"):
        assert (first.path / name).read_bytes() == (second.path / name).read_bytes(), name
    assert same_network(first, second)
    other = tune(frame, out=tmp_path / "c", seed=1, **given)
    assert other.summary["unregularized"] != first.summary["unregularized"]


def test_the_run_says_what_ground_it_stands_on(tune: Callable[..., Any], tmp_path: Path) -> None:
    result = tune(table("regression"), out=tmp_path / "run", budget="4c", encoding="auto")
    run = json.loads((result.path / "run.json").read_text())
    assert set(run["tried"]) == {"12-12 plain", "12-12 piecewise"}
    assert run["encoding"] == min(run["tried"], key=run["tried"].get).split()[1]


def test_the_number_of_processes_makes_no_difference(tune: Callable[..., Any], tmp_path: Path) -> None:
    frame = table("binary")
    one, two = (tune(frame, out=tmp_path / str(n), workers=n, budget="22c", regularizers=("dropout", "batch_norm", "swa"))
                for n in (1, 2))
    assert settled(one.summary) == settled(two.summary)
    assert same_network(one, two)


def test_a_time_budget_is_kept(tune: Callable[..., Any], tmp_path: Path) -> None:
    begun = time.monotonic()
    result = tune(table("binary"), budget="4s", out=tmp_path / "run", epochs=None, folds=None)
    assert time.monotonic() - begun < 4 + 8  # a loaded machine may be slow to notice; an endless search never does
    assert result.summary["cost"]["seconds"] > 1.0
    assert result.summary["cost"]["configurations"] >= 1


def test_a_budget_too_small_for_anything_still_gives_an_answer(tune: Callable[..., Any], tmp_path: Path) -> None:
    for budget in ("1c", "0.05s"):
        summary = tune(table("regression"), budget=budget, out=tmp_path / budget).summary
        assert summary["unregularized"]["test"] is not None
        assert summary["best"]["test"] is not None


# ----------------------------------------------------------------------------------------------------------- test rows


def test_no_choice_ever_sees_a_test_row(tune: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every problem that the engine is given, what the preprocessing and the target's coder are fitted on, every judged row."""
    seen: list[np.ndarray] = []
    problem = prepare_module.PreparedTable.problem
    fit_inputs, fit_target = prepare_module.Preprocessor.fit.__func__, prepare_module.TargetCoder.fit.__func__  # type: ignore[attr-defined]

    def spying_problem(self: Any, settings: Any, folds: Any) -> Any:
        seen.extend(part for fold in folds for part in fold)
        return problem(self, settings, folds)

    def spying_fit(original: Any) -> Any:
        def fit(cls: Any, of: Any, rows: np.ndarray, *args: Any, **kwargs: Any) -> Any:
            seen.append(np.asarray(rows))
            return original(cls, of, rows, *args, **kwargs)

        return classmethod(fit)

    monkeypatch.setattr(prepare_module.PreparedTable, "problem", spying_problem)
    monkeypatch.setattr(prepare_module.Preprocessor, "fit", spying_fit(fit_inputs))
    monkeypatch.setattr(prepare_module.TargetCoder, "fit", spying_fit(fit_target))
    result = tune(table("multiclass"), out=tmp_path / "run", encoding="auto")
    split = load_split(result.path / "split.npz")
    assert len(seen) >= 6
    for rows in seen:
        assert not np.intersect1d(rows, split.test).size
    for train, validation in split.folds:
        assert not np.intersect1d(train, validation).size
        assert not np.intersect1d(np.union1d(train, validation), split.test).size
    assert np.array_equal(np.sort(np.concatenate([v for _, v in split.folds])), split.development)


def test_changing_the_test_rows_changes_no_choice(tune: Callable[..., Any], tmp_path: Path) -> None:
    learn, test = table("regression"), table("regression", rows=60, seed=1)
    changed = test.assign(y=test["y"] + 1000, a=-3 * test["a"], c="blue")
    first, second = (tune(learn, test=t, out=tmp_path / name) for name, t in (("a", test), ("b", changed)))
    assert second.summary["best"]["recipe"] == first.summary["best"]["recipe"]
    assert second.summary["attribution"] == first.summary["attribution"]
    for part in ("best", "unregularized", "simplest_within_one_se"):
        assert second.summary[part]["validation"] == first.summary[part]["validation"]
        assert second.summary[part]["test"] != first.summary[part]["test"]
    assert same_network(first, second)


def test_a_group_is_never_split(tune: Callable[..., Any], tmp_path: Path) -> None:
    frame = table("multiclass", rows=240)
    result = tune(frame, out=tmp_path / "run", group="where")
    split = load_split(result.path / "split.npz")
    groups = frame["where"].to_numpy()
    for a, b in [(split.development, split.test), *split.folds]:
        assert not np.intersect1d(groups[a], groups[b]).size
    features = json.loads((result.path / "best" / "preprocess.json").read_text())["features"]
    assert "where" not in {c["name"] for c in features["columns"]}  # it marks rows, it predicts nothing


def test_time_goes_forward(tune: Callable[..., Any], tmp_path: Path) -> None:
    frame = table("regression", rows=200)
    frame["when"] = np.random.default_rng(0).permutation(200)
    result = tune(frame, out=tmp_path / "run", time="when")
    split = load_split(result.path / "split.npz")
    when = frame["when"].to_numpy()
    for past, future in [(split.development, split.test), *split.folds]:
        assert when[past].max() < when[future].min()


def test_a_test_table_of_its_own(tune: Callable[..., Any], tmp_path: Path) -> None:
    frame = table("binary", rows=200)
    learn, test = frame.head(150), frame.tail(50)
    paths = [tmp_path / "learn.csv", tmp_path / "test.csv"]
    learn.to_csv(paths[0], index=False)
    test.to_csv(paths[1], index=False)
    result = tune(paths[0], test=paths[1], out=tmp_path / "run")
    assert result.summary["n"]["test"] == 50
    split = load_split(result.path / "split.npz")
    assert np.array_equal(split.test, np.arange(150, 200))
    predicted = result.predict(test)
    names = ["no", "yes"]
    scorer = Scorer("balanced_accuracy", np.array([names.index(v) for v in test["y"]]), 2)
    p = predicted[["p_no", "p_yes"]].to_numpy()
    assert scorer.score(scorer.error(scorer.rows(p))) == pytest.approx(result.summary["best"]["test"], rel=1e-6)


@pytest.mark.parametrize("metric", ["balanced_accuracy", "accuracy", "log_loss"])
def test_every_metric_of_classes(metric: str, tune: Callable[..., Any], tmp_path: Path) -> None:
    summary = tune(table("multiclass"), metric=metric, out=tmp_path / "run", budget="4c").summary
    assert summary["metric"] == metric
    assert summary["class_weights"] == ("balanced" if metric == "balanced_accuracy" else "none")
    plain, best, gain = summary["unregularized"]["test"], summary["best"]["test"], summary["gain"]["test"]
    assert gain == pytest.approx(best - plain if summary["higher_is_better"] else plain - best, abs=1e-9)


def test_r2(tune: Callable[..., Any], tmp_path: Path) -> None:
    summary = tune(table("regression"), metric="r2", out=tmp_path / "run", budget="4c").summary
    assert summary["best"]["test"] <= 1


# ------------------------------------------------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(("given", "words"), [
    ({"budget": "0"}, "budget"), ({"budget": "soon"}, "budget"), ({"target": "z"}, "no target column"),
    ({"metric": "rmse"}, "metric"), ({"task": "clustering"}, "task"), ({"class_weights": "equal"}, "class weighting"),
    ({"group": "wher"}, "'where'"), ({"drop": ["q"]}, "to drop"), ({"regularizers": ["dropot"]}, "dropout"),
    ({"activation": "rleu"}, "relu"), ({"encoding": "wise"}, "piecewise"), ({"epochs": 0}, "epochs"), ({"folds": 0}, "folds"),
    ({"folds": 500}, "folds"), ({"batch_size": 1}, "batch_size"), ({"hidden": (0,)}, "hidden"), ({"workers": 0}, "process"),
    ({"target": None}, "target"), ({"test": "nowhere.csv"}, "no such file"),
])
def test_a_mistake_is_refused_before_anything_is_written(given: dict[str, Any], words: str, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"target": "y", "budget": "2c", **TINY, "out": tmp_path / "run", **given}
    with pytest.raises(WellfitError, match=words):
        search(table("binary"), **arguments)
    assert not (tmp_path / "run").exists()


def test_a_mistake_does_not_cost_the_run_that_is_to_be_replaced(tune: Callable[..., Any], tmp_path: Path) -> None:
    first = tune(table("binary"), out=tmp_path / "run", budget="2c")
    content = (first.path / "summary.json").read_bytes()
    for given in ({"target": "z"}, {"folds": 500}, {"regularizers": ["skip_connections"], "hidden": (8,)}, {"metric": "r2"}):
        with pytest.raises(WellfitError):
            tune(table("binary"), out=tmp_path / "run", overwrite=True, **given)
    assert (first.path / "summary.json").read_bytes() == content
    tune(table("binary"), out=tmp_path / "run", overwrite=True, budget="3c")
    assert (first.path / "summary.json").read_bytes() != content


def test_a_round_of_finalists_that_was_cut_short_decides_nothing(tune: Callable[..., Any], tmp_path: Path,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """Who happened to be trained before the deadline must not win by that."""
    from wellfit.search.trainer import Trainer

    whole = tune(table("binary"), budget="30c", out=tmp_path / "whole").summary
    evaluate = Trainer.evaluate

    def cut_short(self: Trainer, job: str, *arguments: Any, **named: Any) -> Any:
        results = evaluate(self, job, *arguments, **named)
        if job == "finalists-2":
            results[0][0].finished = False
        return results

    monkeypatch.setattr(Trainer, "evaluate", cut_short)
    short = tune(table("binary"), budget="30c", out=tmp_path / "short").summary
    assert (whole["selection"]["seeds"], short["selection"]["seeds"]) == (2, 1)
