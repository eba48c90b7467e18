"""Declared hyperparameters: ranges, messages, numbers of every kind."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wellfit as wf
from wellfit.core.hyper import Hyper, hyper, hypers, option, options
from wellfit.core.registry import registered
from wellfit.core.regularizer import Regularizer

BUILT_IN = [c for c in registered().values() if c.__module__.startswith("wellfit.")]


def declared(**settings: object) -> Hyper:
    return hyper(1.0, **settings).metadata["hyper"]  # type: ignore[arg-type, no-any-return]


def test_ends_of_a_range_count_unless_open() -> None:
    closed, opened = declared(low=0.0, high=1.0), declared(low=0.0, high=1.0, open_low=True, open_high=True)
    assert [closed.accepts(v) for v in (-0.1, 0.0, 0.5, 1.0, 1.1)] == [False, True, True, True, False]
    assert [opened.accepts(v) for v in (0.0, 0.5, 1.0)] == [False, True, False]
    assert (closed.range_text, opened.range_text) == ("a number in [0, 1]", "a number in (0, 1)")


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_what_is_accepted_lies_in_the_range(value: float) -> None:
    for kind in BUILT_IN:
        for h in hypers(kind).values():
            if h.accepts(value):
                assert h.low <= value <= h.high
                assert math.isfinite(value) or value == h.neutral


def test_infinity_is_legal_only_where_it_switches_off() -> None:
    assert wf.MaxNorm(math.inf).radius == math.inf
    assert declared(neutral=math.inf).range_text.endswith("inf]")
    assert declared(neutral=0.0).range_text.endswith("inf)")
    for make in (wf.L1, wf.L2, wf.InputNoise, wf.Mixup):
        with pytest.raises(wf.WellfitError, match="out of range"):
            make(math.inf)


def test_whole_numbers() -> None:
    h = declared(whole=True, low=1)
    assert [h.accepts(v) for v in (1, 2.0, 2.5, 0)] == [True, True, False, False]
    assert h.range_text.startswith("a whole number")


@pytest.mark.parametrize("number", [np.float64(0.25), np.float32(0.25), np.float16(0.25), np.int64(0)], ids=repr)
def test_numbers_of_numpy_become_pythons(number: np.generic) -> None:
    part = wf.L1(number)  # type: ignore[arg-type]
    assert type(part.strength) in (int, float)
    assert wf.Recipe.from_yaml(wf.Recipe(part).to_yaml()) == wf.Recipe(part)
    assert "np." not in wf.Recipe(part).to_python()


def test_a_message_says_what_was_received_and_expected() -> None:
    with pytest.raises(wf.WellfitError) as caught:
        wf.Dropout(1.0)
    assert str(caught.value).splitlines() == [
        "Dropout.rate is out of range.", "  received: 1.0", "  expected: a number in [0, 1)"]


@pytest.mark.parametrize("value", ["0.1", None, True, [0.1], 1j, object()], ids=lambda v: type(v).__name__)
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(wf.WellfitError, match="not a number"):
        wf.L2(value)  # type: ignore[arg-type]


def test_a_schedule_where_none_is_possible() -> None:
    with pytest.raises(wf.WellfitError, match="cannot change during training"):
        wf.EMA(wf.Linear(0.9, 0.99))  # type: ignore[arg-type]


def test_a_schedule_that_leaves_the_range_says_where() -> None:
    with pytest.raises(wf.WellfitError, match="reaches 1"):
        wf.Dropout(wf.Linear(0.0, 1.0))  # type: ignore[arg-type]
    with pytest.raises(wf.WellfitError, match="reaches -1"):
        wf.Dropout(wf.WarmUp(0.5, start=-1.0))  # type: ignore[arg-type]


def test_unknown_choice_lists_the_choices() -> None:
    with pytest.raises(wf.WellfitError, match="'patience', 'gl', 'pq', 'up'"):
        wf.EarlyStopping(criterion="loss")


@pytest.mark.parametrize("kind", BUILT_IN, ids=lambda k: k.__name__)
def test_neutral_values_are_those_declared(kind: type[Regularizer]) -> None:
    assert kind.neutral() == {n: h.neutral for n, h in hypers(kind).items() if h.has_neutral}


@pytest.mark.parametrize("kind", BUILT_IN, ids=lambda k: k.__name__)
def test_every_field_is_a_hyper_or_an_option(kind: type[Regularizer]) -> None:
    assert {f.name for f in dataclasses.fields(kind)} == set(hypers(kind)) | set(options(kind))


def test_required_fields_have_no_default() -> None:
    @dataclasses.dataclass(frozen=True)
    class Needs(Regularizer):
        amount: float = hyper(..., low=0.0)
        kind: str = option("a", choices=("a", "b"))

    assert Needs(1.0).amount == 1.0
    with pytest.raises(TypeError):
        Needs()  # type: ignore[call-arg]


def test_weight_decay_takes_exactly_one_of_rate_and_timescale() -> None:
    for given_ in ({}, {"rate": 0.1, "timescale": 3.0}):
        with pytest.raises(wf.WellfitError, match="exactly one of rate and timescale"):
            wf.WeightDecay(**given_)
