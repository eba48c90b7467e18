"""Finding and refusing the compiled engine, and what runs in its place: nothing is lost without it, and everyone is told why."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris

import wellfit as wf
from population.solo import CASES, classification, member
from wellfit.core.draws import Draw
from wellfit.core.errors import WellfitError
from wellfit.core.operands import Batch, Values
from wellfit.core.regularizer import Regularizer
from wellfit.population.native import build, library
from wellfit.population.native.stack import NativeStack
from wellfit.population.pool import Pool
from wellfit.population.problem import Member, Problem
from wellfit.population.tiers import describe_tiers, make_stack, tier_of, why_reference
from wellfit.population.train import Record, Wants, plan_stacks

needs_engine = pytest.mark.skipif(library.engine() is None, reason=library.why_not() or "there is a native engine")


@dataclass(frozen=True)
class Halving(Regularizer):
    """A part from elsewhere: halves the inputs."""

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        return batch.with_(inputs=batch.inputs * 0.5)


#: What the compiled engine does not know, with the reason it gives.
UNKNOWN: dict[str, tuple[tuple[Regularizer, ...], str]] = {
    "a part from elsewhere": ((Halving(), wf.Dropout(0.2)), "halving is not built in"),
    "groups of biases": ((wf.GroupLasso(1e-3, select="all"),), "group_lasso on biases or norms"),
}
PROBLEM: Problem = classification(epochs=3)
PROBLEM = dataclasses.replace(PROBLEM, inputs=PROBLEM.inputs.float(),
                              objective=dataclasses.replace(PROBLEM.objective, class_weights=None))
PLAIN = Member(wf.Recipe(wf.Dropout(0.1)), 0.01)


def with_engine(engine: str) -> Problem:
    return dataclasses.replace(PROBLEM, engine=engine)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The engine is looked for anew, and again after the test."""
    monkeypatch.delenv("WELLFIT_NO_NATIVE", raising=False)
    library._loaded.cache_clear()
    yield
    library._loaded.cache_clear()


@pytest.fixture
def lib(fresh: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in place of the one with the libraries."""
    monkeypatch.setattr(library, "FOLDER", tmp_path)
    return tmp_path


def file_name(build: str) -> str:
    return f"engine.{build}{library._SUFFIX}"


def put(lib: Path, *builds: str) -> None:
    """Copies of the libraries that are there."""
    own = Path(library.__file__).parent / "lib"
    for name in builds:
        if not (own / file_name(name)).exists():
            pytest.skip(f"{name} is not built here")
        shutil.copy(own / file_name(name), lib)


def plainest() -> str:
    return build.variants_here()[-1]


# ------------------------------------------------------------------------------------------------------------- finding it


def test_the_engine_is_there_where_it_must_be() -> None:
    if os.environ.get("WELLFIT_REQUIRE_NATIVE", "") in ("", "0"):
        pytest.skip("WELLFIT_REQUIRE_NATIVE is not set")
    assert library.engine() is not None, library.why_not()


def test_the_names_are_those_that_the_build_gives() -> None:
    for variant in build.variants_here():
        assert build.library_name(variant) == file_name(variant)
    assert library.FOLDER == build.LIBRARIES
    assert library.REMEDY.endswith(build.COMMAND)


def test_without_a_library_there_is_a_reason_with_a_remedy(lib: Path) -> None:
    assert library.engine() is None
    assert "not built here" in library.why_not()
    assert build.COMMAND in library.why_not()


def test_other_files_are_no_libraries(lib: Path) -> None:
    (lib / "stamp.json").write_text("{}")
    (lib / "sanitize-address").mkdir()
    assert library.engine() is None
    assert "not built here" in library.why_not()


@needs_engine
def test_with_a_library_there_is_no_reason_against_it(fresh: None) -> None:
    engine = library.engine()
    assert engine is not None
    assert library.why_not() == ""
    assert engine.name in library._BUILDS[engine.processor]
    assert engine.vector_bytes in (16, 32, 64)


@needs_engine
def test_the_fastest_build_that_the_processor_runs_is_taken(lib: Path) -> None:
    here = [n for n in library._BUILDS[library.Engine(build.LIBRARIES / file_name(plainest())).processor]
            if (build.LIBRARIES / file_name(n)).exists()]
    put(lib, *here)
    for name in here:
        library._loaded.cache_clear()
        engine = library.engine()
        assert engine is not None
        assert engine.name == name
        (lib / file_name(name)).rename(lib / f"gone.{name}")


@needs_engine
def test_a_build_for_a_wider_processor_is_left_alone(lib: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(lib, *build.variants_here())
    monkeypatch.setattr(library, "_BUILDS", {})
    engine = library.engine()
    assert engine is not None
    assert engine.name == plainest()


# ------------------------------------------------------------------------------------------------------------- refusing it


def refused(reason: str) -> None:
    assert library.engine() is None
    assert reason in library.why_not()
    assert build.COMMAND in library.why_not(), "a reason without its remedy"
    assert tier_of(PROBLEM, PLAIN) == "reference"


@needs_engine
def test_a_library_built_from_other_sources_is_refused(lib: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(lib, plainest())
    monkeypatch.setattr(library, "source_hash", lambda: "0123456789abcdef")
    refused(f"{file_name(plainest())} was built from other sources")


@needs_engine
@pytest.mark.parametrize("which", range(len(library._STRUCTURES)))
def test_a_library_with_another_interface_is_refused(which: int, lib: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(lib, plainest())
    mine = list(library._STRUCTURES)
    mine[which] = type("Longer", (mine[which],), {"_fields_": [("more", library.c_int64)]})
    monkeypatch.setattr(library, "_STRUCTURES", mine)
    refused(f"{file_name(plainest())} has another interface")


def test_a_file_that_is_no_library_is_refused(lib: Path) -> None:
    (lib / file_name(plainest())).write_text("nothing to run")
    refused("the native engine cannot be used (")


def test_a_library_without_our_functions_is_refused(lib: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (lib / file_name(plainest())).touch()
    monkeypatch.setattr(library, "ctypes", SimpleNamespace(**{**vars(library.ctypes), "CDLL": lambda path: object()}))
    refused("the native engine cannot be used (")


@pytest.mark.parametrize("value", ["1", "yes"])
def test_it_can_be_switched_off(value: str, fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WELLFIT_NO_NATIVE", value)
    assert library.engine() is None
    assert library.why_not() == "switched off by WELLFIT_NO_NATIVE"
    assert why_reference(PROBLEM, PLAIN) == "switched off by WELLFIT_NO_NATIVE"
    assert describe_tiers("auto") == {"tier": "reference", "why": "switched off by WELLFIT_NO_NATIVE"}


@needs_engine
@pytest.mark.parametrize("value", ["", "0"])
def test_it_is_on_by_default(value: str, fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WELLFIT_NO_NATIVE", value)
    assert library.engine() is not None


# ---------------------------------------------------------------------------------------------------- which tier, and why


def test_an_engine_is_one_of_three() -> None:
    with pytest.raises(WellfitError, match="Unknown engine"):
        with_engine("turbo")


def test_the_reference_tier_can_be_asked_for() -> None:
    problem = with_engine("reference")
    assert why_reference(problem, PLAIN) == "asked for"
    assert tier_of(problem, PLAIN) == "reference"
    assert describe_tiers("reference") == {"tier": "reference", "why": "asked for"}
    assert plan_stacks(problem, {0: PLAIN, 1: PLAIN}) == [("reference", [0, 1])]


@needs_engine
@pytest.mark.parametrize("engine", ["auto", "native"])
@pytest.mark.parametrize("name", CASES)
def test_what_is_built_in_is_trained_by_the_native_tier(name: str, engine: str) -> None:
    assert why_reference(with_engine(engine), member(name)) == ""
    assert tier_of(with_engine(engine), member(name)) == "native"


@needs_engine
@pytest.mark.parametrize("name", UNKNOWN)
def test_what_the_native_tier_does_not_know_is_left_to_the_reference(name: str) -> None:
    parts, reason = UNKNOWN[name]
    assert why_reference(PROBLEM, Member(wf.Recipe(*parts), 0.01)) == reason


@needs_engine
@pytest.mark.parametrize("name", UNKNOWN)
def test_asking_for_the_native_tier_refuses_what_it_does_not_know(name: str) -> None:
    parts, reason = UNKNOWN[name]
    members = {0: PLAIN, 1: Member(wf.Recipe(*parts), 0.01)}
    with Pool(1) as pool, pytest.raises(WellfitError, match="The native engine cannot train this") as caught:
        pool.train("key", with_engine("native"), members)
    assert caught.value.received == reason
    assert "auto" in str(caught.value.action)


def test_asking_for_the_native_tier_where_there_is_none_says_how_to_get_it(lib: Path) -> None:
    with pytest.raises(WellfitError, match="The native engine cannot train this") as caught:
        tier_of(with_engine("native"), PLAIN)
    assert "not built here" in str(caught.value.received)
    assert build.COMMAND in str(caught.value)


@needs_engine
def test_a_record_names_the_build(fresh: None) -> None:
    engine = library.engine()
    assert engine is not None
    for asked in ("auto", "native"):
        told = describe_tiers(asked)
        assert told["tier"] == "native"
        assert told["build"] == engine.name


# ---------------------------------------------------------------------------------------------------------- training on both

MIXED: dict[int, Member] = {
    5: Member(wf.Recipe(wf.L1(1e-3), wf.EMA(0.9)), 0.01, seed=1),
    2: Member(wf.Recipe(wf.GroupLasso(1e-3, select="all")), 0.01, seed=2),
    9: Member(wf.Recipe(wf.BatchNorm(), wf.Dropout(0.2)), 0.02, seed=3, fold=1),
    1: Member(wf.Recipe(), 0.01, seed=4, epochs=2),
    7: Member(wf.Recipe(wf.BatchNorm(), wf.GroupLasso(1e-3, select="all")), 0.01, seed=5),
    4: Member(wf.Recipe(wf.EarlyStopping(patience=1), wf.Mixup(0.3)), 0.05, seed=6)}
WANTS = Wants(weights=True, extra_rows=torch.arange(7))


@cache
def records(workers: int, engine: str) -> dict[int, Record]:
    with Pool(workers) as pool:
        return pool.train("key", with_engine(engine), MIXED, wants=WANTS)


def assert_complete(found: dict[int, Record]) -> None:
    assert set(found) == set(MIXED)
    for number, record in found.items():
        own = MIXED[number]
        assert record.ended
        assert record.epochs == (own.epochs or PROBLEM.epochs) or "early_stopping" in own.recipe
        assert record.outputs is not None
        assert record.outputs.shape == (40, 3)
        assert record.extra is not None
        assert record.extra.shape == (7, 3)
        assert record.weights is not None
        assert all(np.isfinite(w).all() for w in record.weights.values())


def assert_same(a: Record, b: Record, slack: float) -> None:
    assert (a.best_epoch, a.ended, a.epochs) == (b.best_epoch, b.ended, b.epochs)
    assert a.weights is not None
    assert b.weights is not None
    assert set(a.weights) == set(b.weights)
    numbers = [(a.outputs, b.outputs), (a.extra, b.extra), *((w, b.weights[n]) for n, w in a.weights.items()),
               *((np.array(v), np.array(b.history[n])) for n, v in a.history.items())]
    for found, expected in numbers:
        np.testing.assert_allclose(found, expected, rtol=0, atol=slack)  # type: ignore[arg-type]


@needs_engine
def test_one_call_trains_on_both_tiers() -> None:
    tiers = {n: tier for tier, ids in plan_stacks(PROBLEM, MIXED) for n in ids}
    assert tiers == {5: "native", 2: "reference", 9: "native", 1: "native", 7: "reference", 4: "native"}
    assert_complete(records(1, "auto"))


@needs_engine
def test_results_do_not_depend_on_the_number_of_workers() -> None:
    one, two = records(1, "auto"), records(2, "auto")
    assert_complete(two)
    for number in MIXED:
        assert_same(two[number], one[number], 0.0)


@needs_engine
def test_a_pool_agrees_with_itself_on_the_reference_tier() -> None:
    found, expected = records(1, "auto"), records(1, "reference")
    assert_complete(expected)
    for number in MIXED:
        if "batch_norm" not in MIXED[number].recipe:  # biases before a norm are rounding noise, and these are single precision
            assert_same(found[number], expected[number], 1e-3)
    for number in (2,):
        assert_same(found[number], expected[number], 1e-6)


@needs_engine
def test_a_part_from_elsewhere_acts_on_the_reference_tier() -> None:
    """And is not left out on the native one."""
    members = {0: Member(wf.Recipe(), 0.01, seed=1), 1: Member(wf.Recipe(Halving()), 0.01, seed=1)}
    with Pool(1) as pool:
        found = pool.train("key", PROBLEM, members)
    assert found[0].ended
    assert found[1].ended
    assert found[0].history != found[1].history


def test_without_a_library_everything_trains_on_the_reference_tier(lib: Path) -> None:
    assert {tier for tier, _ in plan_stacks(PROBLEM, MIXED)} == {"reference"}
    with Pool(1) as pool:
        found = pool.train("key", PROBLEM, MIXED, wants=WANTS)
    assert_complete(found)
    for number, record in records(1, "reference").items():
        assert_same(found[number], record, 0.0)


@needs_engine
def test_the_pool_hands_its_workers_on_as_threads() -> None:
    stack = make_stack(PROBLEM, [PLAIN], tier="native", threads=3)
    assert isinstance(stack, NativeStack)
    assert stack.threads == 3


# ------------------------------------------------------------------------------------------------------------------- tuning


def tuned(out: Path, **given: Any) -> dict[str, Any]:
    """What run.json says of the engine, after a tiny search to its end."""
    frame = load_iris(as_frame=True).frame
    settings: dict[str, Any] = {"budget": "4c", "epochs": 2, "hidden": (8, 8), "folds": 1, "encoding": "plain", "workers": 1,
                                "progress": False, "regularizers": ["dropout", "l1"]}
    result = wf.tune(frame, "target", out=out, **{**settings, **given})
    assert 0 <= result.summary["best"]["test"] <= 1
    told = json.loads((out / "run.json").read_text())["engine"]
    assert isinstance(told, dict)
    return told


def test_tune_runs_without_a_library_and_says_why(lib: Path, tmp_path: Path) -> None:
    told = tuned(tmp_path / "run")
    assert told["tier"] == "reference"
    assert "not built here" in told["why"]
    assert build.COMMAND in told["why"]


def test_tune_runs_with_the_engine_switched_off_and_says_so(fresh: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WELLFIT_NO_NATIVE", "1")
    assert tuned(tmp_path / "run")["why"] == "switched off by WELLFIT_NO_NATIVE"


def test_tune_says_that_the_reference_tier_was_asked_for(tmp_path: Path) -> None:
    told = tuned(tmp_path / "run", engine="reference")
    assert (told["tier"], told["why"]) == ("reference", "asked for")


@needs_engine
@pytest.mark.parametrize("engine", ["auto", "native"])
def test_tune_says_that_the_native_tier_ran(engine: str, tmp_path: Path) -> None:
    told = tuned(tmp_path / "run", engine=engine)
    found = library.engine()
    assert found is not None
    assert (told["tier"], told["build"]) == ("native", found.name)
    assert told["why"]


def test_tune_refuses_an_engine_that_is_not_there_before_anything_is_written(lib: Path, tmp_path: Path) -> None:
    with pytest.raises(WellfitError, match="The native engine is not there") as caught:
        tuned(tmp_path / "run", engine="native")
    assert build.COMMAND in str(caught.value)
    assert not (tmp_path / "run").exists()
