"""Numbers, recipes and the notebook snippet."""

from __future__ import annotations

import ast
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from report import synthetic_run
from wellfit.report import summary_html
from wellfit.report.charts.boundary import edges
from wellfit.report.charts.intervals import Row, outliers, unique
from wellfit.report.charts.scales import score_domain, value_scale
from wellfit.report.markup import json_script, listed
from wellfit.report.numbers import Metric, metric_of, plain, seconds, share, significant
from wellfit.report.recipes import class_name, hyperparameters, python_snippet, recipe_words, yaml_text
from wellfit.report.sections.exploration import best_so_far
from wellfit.report.sections.methods import attribution_words, effect_words

ACCURACY, RMSE = Metric("accuracy"), Metric("rmse", False, 3)


@pytest.mark.parametrize(("value", "expected"), [
    (0, "0"), (0.31, "0.31"), (1e-05, "1e−5"), (-1.25e-7, "−1.25e−7"), (40.0, "40"), (12345, "12,345"), (True, "yes"),
    (None, "–"), ("relu", "relu"), (3.14159265, "3.142"), (1.5e9, "1.5e9"), (0.1 + 0.2, "0.3"), (float("nan"), "nan")])
def test_plain(value: object, expected: str) -> None:
    assert plain(value) == expected


def test_scores_and_gains() -> None:
    assert ACCURACY.score(0.8434) == "84.3%"
    assert ACCURACY.gain(-0.0412) == "−4.1\u00a0points"
    assert ACCURACY.gain(0.0002, unit=False) == "0.0"
    assert ACCURACY.gain_interval((-0.01, 0.025)) == "−1.0 to +2.5\u00a0points"
    assert RMSE.score(3.92) == "3.920"
    assert RMSE.gain(-0.71) == "−0.710"
    assert RMSE.better(3.0, than=4.0) == 1.0
    assert ACCURACY.score(None) == ACCURACY.score(float("nan")) == "–"


@pytest.mark.parametrize(("metric", "test", "expected"), [
    ("rmse", 48231.7, "48,232"), ("rmse", 0.012341, "0.01234"), ("log_loss", 0.34218, "0.3422"),
    ("r2", 0.98765, "0.988"), ("rmse", 1.5e-9, "1.5e−9"), ("balanced_accuracy", 1.0, "100.0%")])
def test_decimals_follow_the_size_of_the_scores(metric: str, test: float, expected: str) -> None:
    found = metric_of({"metric": metric, "unregularized": {"test": test}})
    assert found.score(test) == expected
    assert found.higher_is_better == (metric in ("r2", "balanced_accuracy"))


def test_small_helpers() -> None:
    assert [seconds(v) for v in (4.25, 131.4, 7500, 3600, None)] == ["4.2 s", "2 min 11 s", "2 h 5 min", "1 h", "–"]
    assert [share(*v) for v in ((0, 9), (1, 99999), (99999, 100000), (1, 3), (1, 0))] == \
        ["0%", "<0.1%", ">99.9%", "33.3%", "–"]
    assert significant(123456.0) == "123,456"
    assert [listed(w) for w in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
    assert unique(["a", "b", "a"]) == ["a", "b", "a (2)"]
    assert edges([0, 1, 3]) == [-0.5, 0.5, 2, 4]


def test_json_for_a_script_element() -> None:
    given = {"a": "</script><!--&\u2028\ud800", "b": float("inf"), "c": (1.123456789, True, None)}
    text = json_script(given)
    assert not set("<>&\u2028") & set(text)
    text.encode("utf-8")
    assert json.loads(text) == {"a": given["a"], "b": None, "c": [1.123457, True, None]}


RECIPE = {"format": 1, "learning_rate": 1e-05, "regularizers": [
    {"name": "dropout", "rate": 0.31}, {"name": "l1", "strength": 1e-5}, {"name": "ema"},
    {"name": "swa", "start": 0.75}, {"name": "max_norm", "radius": 3},
    {"name": "cut_mix", "alpha": {"schedule": "flat_cosine", "start": 0.3, "end": 0}},
    {"name": "x<y", "a": 1}, {"name": "weird", "class": [1, 2], "a b": None, "s": "it's: #\"q\n", "k": {"n": []}}]}


def test_python_from_a_recipe() -> None:
    text = python_snippet(RECIPE)
    ast.parse(text)
    for expected in ("wf.Dropout(rate=0.31),", "wf.L1(strength=1e-05),", "wf.EMA(),", "wf.SWA(start=0.75),", "lr=1e-05",
                     "wf.MaxNorm(radius=3),", "wf.CutMix(alpha=wf.FlatCosine(start=0.3, end=0)),", "# not a name",
                     "**{'class': (1, 2), 'a b': None}", "plan.attach(optimizer)"):
        assert expected in text, expected
    ast.parse(python_snippet({}))


def test_yaml_from_a_recipe() -> None:
    assert yaml.safe_load(yaml_text(RECIPE)) == RECIPE
    odd = {"a": "yes", "b": "1e5", "c": 1e300, "d": "- x", "e": "🦉", "f": [[1, [2]], {}], "": "x"}
    assert yaml.safe_load(yaml_text(odd)) == odd


def test_class_names_are_those_of_the_registry() -> None:
    from wellfit.core.registry import registered
    from wellfit.core.schedule import SCHEDULES

    for known in (registered(), {k: v for k, v in SCHEDULES.items() if k}):
        assert {name: class_name(name) for name in known} == {name: cls.__name__ for name, cls in known.items()}


def test_the_python_builds_the_same_recipe() -> None:
    import wellfit as wf

    recipe = wf.Recipe(wf.Dropout(0.31), wf.L1(1e-4), wf.Mixup(0.2), wf.LabelSmoothing(0.1))
    mapping: dict[str, Any] = recipe.to_mapping()
    lines = python_snippet(mapping).split("\nplan = ")[0].replace("import torch\n", "")
    scope: dict[str, Any] = {}
    exec(lines, scope)
    assert scope["recipe"] == recipe
    assert wf.Recipe.from_yaml(yaml_text(mapping)) == recipe


def test_recipe_in_words() -> None:
    assert recipe_words(RECIPE).startswith("dropout rate=0.31 · l1 strength=1e−5 · ema · swa start=0.75")
    assert "cut_mix alpha=flat cosine 0.3 to 0" in recipe_words(RECIPE)
    assert recipe_words(None) == "no regularization"
    assert dict(hyperparameters(RECIPE))["dropout.rate"] == 0.31
    assert dict(hyperparameters(RECIPE))["learning_rate"] == 1e-05


def test_attribution_in_words() -> None:
    assert effect_words(0.012, (0.003, 0.021), True, ACCURACY) == "Keep: leaving it out costs 1.2\u00a0points"
    assert effect_words(-0.2, (-0.3, -0.1), False, RMSE) == "Drop: leaving it out wins 0.200"
    assert "may help" in effect_words(0.01, (-0.01, 0.02), True, ACCURACY)
    assert "no interval known" in effect_words(0.01, None, None, ACCURACY)
    assert "for 1 it shows harm; for the rest" in attribution_words([1, 1, 0, -1], 2)
    assert attribution_words([1], 0).endswith("For 1 of 1 part the interval shows a benefit.")


def test_axes_stay_readable() -> None:
    assert value_scale([0.1, 0.5, 0.9])["scale"].get("type") is None
    assert value_scale([1e-6, 1e-2])["scale"]["type"] == "log"
    assert value_scale([0.0, 1e-6, 1e-2])["scale"]["type"] == "symlog"
    low, high = score_domain([0.8, 0.81, 0.82, 0.83, 0.1], ACCURACY)
    assert 0.7 < low < 0.8
    assert 0.83 < high < 0.84
    low, high = score_domain([3.0, 3.1, 3.2, 3.3, 900.0], RMSE)
    assert high < 4
    rows = [Row(label, value, None, kind, "", "") for label, value, kind in
            (("none", 0.8, "none"), ("best", 0.9, "best"), ("odd", -50.0, "baseline"), ("fine", 0.7, "baseline"))]
    assert outliers(rows, {"none", "best"}) == {2}


def test_best_so_far_ignores_what_was_stopped() -> None:
    trials = [(0.0, 0.5, False, "", ""), (1.0, 0.9, True, "", ""), (2.0, 0.6, False, "", ""),
              (3.0, 0.55, False, "", "")]
    assert best_so_far(trials, ACCURACY.better) == [(0.0, 0.5), (2.0, 0.6), (3.0, 0.6)]


class Tags(HTMLParser):
    """Every start tag of a snippet."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)


def test_notebook_snippet(runs: dict[str, Path]) -> None:
    for kind, run in runs.items():
        text = summary_html(json.loads((run / "summary.json").read_text(encoding="utf-8")))
        assert not Tags(text).found & {"script", "img", "i", "b>target"}
        assert len(text) < 12_000
        assert ('class="best"' in text) == (kind != "minimal")
    assert "84.2%" in summary_html(synthetic_run.summary(synthetic_run.random.Random(1), False, False, ["a", "b"], 2))
    assert "no tested recipe" in summary_html({})
