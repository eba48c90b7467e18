"""The rule from signals to a cause, and the tables it reads."""

from __future__ import annotations

import pytest

from wellfit.core.recipe import Recipe
from wellfit.core.registry import registered
from wellfit.diagnosis.remedies import Remedy, remedies
from wellfit.diagnosis.rules import rules
from wellfit.diagnosis.signals import Signal, Signals
from wellfit.diagnosis.verdict import CAUSES, decide, judge


def cause(**values: float) -> str:
    return decide(values, rules()["least"])


@pytest.mark.parametrize(("values", "wanted"), [
    ({}, "fits_well"),
    ({"gap": 0.9}, "fits_well"),
    ({"gap": 0.9, "regularized": 0.2}, "overfits"),
    ({"gap": 0.9, "regularized": 0.2, "data": 0.25}, "overfits"),
    ({"gap": 0.9, "regularized": 0.02, "data": 0.25}, "too_little_data"),
    ({"gap": 0.9, "regularized": 0.08, "data": 0.25}, "too_little_data"),
    ({"gap": 0.0, "regularized": 0.01, "data": 0.25}, "fits_well"),
    ({"gap": 0.1, "optimisation": 0.3}, "underfits_optimisation"),
    ({"gap": 0.1, "capacity": 0.3, "optimisation": 0.1}, "underfits_capacity"),
    ({"gap": 0.1, "capacity": 0.3, "optimisation": 0.1, "lighter": 0.25}, "over_regularized"),
    ({"gap": 0.9, "optimisation": 0.1, "regularized": 0.3}, "overfits"),
    ({"gap": 0.4, "optimisation": 0.13, "data": 0.2}, "too_little_data"),
    ({"gap": 0.4, "optimisation": 0.2, "data": 0.13}, "underfits_optimisation"),
    ({"gap": 0.1, "optimisation": 0.13, "data": 0.2}, "underfits_optimisation"),
    ({"gap": 0.0, "lighter": 0.77, "regularized": 0.78}, "over_regularized"),
    ({"gap": 0.9, "noise": 0.2, "regularized": 0.3}, "label_noise"),
    ({"gap": 0.9, "noise": 0.2, "leak": 2.0}, "leakage"),
    ({"gap": 0.4, "noise": 0.06, "regularized": 0.5}, "overfits"),
    ({"gap": 0.4, "noise": 0.06, "regularized": 0.2}, "label_noise"),
    ({"noise": 0.06, "regularized": 0.5}, "label_noise"),
    ({"gap": 0.9, "lost": 0.4}, "label_noise"),
    ({"gap": 0.9, "lost": 0.4, "regularized": 0.3}, "overfits"),
    ({"gap": 0.9, "lost": 0.4, "data": 0.3}, "too_little_data"),
    ({"lost": 0.2}, "fits_well"),
    ({"gap": 0.9, "shift": 2.0, "regularized": 0.3}, "shift"),
    ({"broken": 1.0, "leak": 2.0}, "broken_setup"),
])
def test_which_values_lead_where(values: dict[str, float], wanted: str) -> None:
    assert cause(**values) == wanted


def test_confidence_is_that_of_the_measurements() -> None:
    sure, doubtful = Signals(), Signals()
    for signals, error in ((sure, 0.01), (doubtful, 0.2)):
        signals.put("gap", Signal(0.9, 0.01))
        signals.put("regularized", Signal(0.2, error, "dropout"))
    assert judge(sure).cause == judge(doubtful).cause == "overfits"
    for signals in (sure, doubtful):
        signals.put("data", Signal(0.0, 0.0))
        signals.put("optimisation", Signal(0.0, 0.0))
        signals.put("capacity", Signal(0.0, 0.0))
    assert judge(sure).confidence == 1.0
    assert 0.6 < judge(doubtful).confidence < 0.95
    assert judge(doubtful).probabilities["fits_well"] == pytest.approx(1 - judge(doubtful).confidence)


def test_what_was_not_measured_is_not_certain() -> None:
    signals = Signals()
    signals.put("gap", Signal(0.9, 0.01))
    signals.put("regularized", Signal(0.01, 0.01))
    found = judge(signals)
    assert found.cause in ("fits_well", "too_little_data") and found.confidence < 0.9
    assert judge(measured_to_be_nothing()).confidence == 1.0


def measured_to_be_nothing() -> Signals:
    signals = Signals()
    signals.put("gap", Signal(0.9, 0.01))
    for name in ("regularized", "data", "optimisation", "capacity"):
        signals.put(name, Signal(0.01, 0.005))
    return signals


def test_the_stronger_of_two_signals_stays() -> None:
    signals = Signals()
    signals.put("leak", Signal(0.5, 0.1, "copies"))
    signals.put("leak", Signal(2.0, 0.1, "column"))
    signals.put("leak", Signal(0.1, 0.1, "time"))
    signals.put("leak", None)
    assert signals.found["leak"].by == "column"


def test_the_table_of_causes_is_whole() -> None:
    assert set(rules()["causes"]) == set(CAUSES)
    for row in rules()["causes"].values():
        assert row["title"] and row["words"] and isinstance(row["advice"], list)


@pytest.mark.parametrize("rule", remedies(), ids=lambda r: r.id)
def test_every_rule_makes_a_recipe_and_says_why(rule: Remedy) -> None:
    recipe = rule.recipe()
    assert [p.name for p in recipe] and {p.name for p in recipe} == set(rule.parts) <= set(registered())
    assert rule.why and rule.evidence and set(rule.causes) <= set(CAUSES)
    assert Recipe.from_yaml(recipe.to_yaml()) == recipe
    assert rule.applies({"kind": "nothing known"}) is (not rule.when)


def test_a_rule_replaces_parts_of_the_same_name() -> None:
    from wellfit import Dropout, MaxNorm

    rule = next(r for r in remedies() if r.id == "dropout")
    made = rule.recipe(Recipe(Dropout(0.9), MaxNorm(2.0)))
    assert made == Recipe(MaxNorm(2.0), Dropout(0.3))


def test_conditions_on_facts() -> None:
    rule = Remedy("x", (), {"kind": ["rows"], "inputs": ">= 40", "normalised": "0"}, {})
    assert rule.applies({"kind": "rows", "inputs": 40, "normalised": 0})
    assert not rule.applies({"kind": "rows", "inputs": 39, "normalised": 0})
    assert not rule.applies({"kind": "rows", "inputs": 40, "normalised": 1})
    assert not rule.applies({"kind": "rows", "normalised": 0})
