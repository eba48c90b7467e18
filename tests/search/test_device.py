"""Where a search trains: what is refused, and what is handed on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_diabetes

import wellfit as wf
from wellfit.search.device import best_device, check_device
from wellfit.search.opening import opened


@pytest.fixture(scope="module")
def diabetes() -> Any:
    return load_diabetes(as_frame=True).frame


@pytest.mark.parametrize(("name", "table", "said"), [
    ("gpu", True, "This device cannot be used"), ("gpu", False, "This device cannot be used"),
    ("mps", True, "tables need double precision"), ("xla", False, "This device cannot be used"), ("cpu:1", True, "is not there"),
    ("cuda:99", True, "is not there"), ("cuda:99", False, "is not there")])
def test_a_device_that_cannot_be_used_is_refused(name: str, table: bool, said: str) -> None:
    with pytest.raises(wf.WellfitError, match=said):
        check_device(name, table=table)


def test_the_processor_is_always_there() -> None:
    check_device("cpu", table=True)
    check_device(best_device(), table=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a graphics card")
def test_a_missing_card_is_said_before_anything_is_written(tmp_path: Path, diabetes: Any) -> None:
    with pytest.raises(wf.WellfitError, match="finds none"):
        wf.tune(diabetes, target="target", device="cuda", budget="5c", out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_the_problem_of_a_table_knows_its_device(diabetes: Any) -> None:
    asked = {"data": diabetes, "target": "target", "drop": [], "encoding": "auto", "seed": 0,
             **dict.fromkeys(("task", "group", "time", "test", "metric", "hidden", "activation", "epochs", "batch_size", "folds",
                              "class_weights"))}
    for device, expected in ((None, "cpu"), ("cuda:1", "cuda:1")):
        prepared, settings = opened({**asked, "device": device})
        problem = prepared.problem(settings, tuple(prepared.split.folds))
        assert (prepared.device, problem.device) == (expected, expected)
        assert problem.inputs.device.type == "cpu"  # moved where it is trained, not before
        assert prepared.engines()["tier"] == ("cuda" if device else prepared.engines()["tier"])
