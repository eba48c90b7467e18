"""The whole way from data to a verdict, on faults that are plain to see."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_digits
from torch import nn

import wellfit as wf

QUICK = {"hidden": [16], "epochs": 12, "batch_size": 16, "budget": "30c", "workers": 1}


def cells() -> pd.DataFrame:
    return load_breast_cancer(as_frame=True).frame.sample(300, random_state=0).reset_index(drop=True)


def test_too_much_decay_is_named_and_what_undoes_it(tmp_path: Path) -> None:
    found = wf.diagnose(cells(), "target", recipe=wf.Recipe(wf.L2(3.0)), out=tmp_path / "out", try_=True, **QUICK)
    assert found.cause == "over_regularized" and found.confidence > 0.8
    assert found.recipe is not None and len(found.recipe) == 0  # without it
    first = found.prescriptions[0]
    assert first.gain is not None and first.gain.low > 0
    assert found.trial is not None and found.trial.held and found.trial.after > found.trial.before
    written = json.loads((tmp_path / "out" / "diagnosis.json").read_text())
    assert written["verdict"]["cause"] == "over_regularized" and written["kind"] == "diagnosis"
    assert "Over-regularized" in (tmp_path / "out" / "report.html").read_text("utf-8")
    assert written["tried"]["held"] is True and written["cost"]["trainings"] > 6
    assert [m["id"] for m in written["measurements"] if m["decided"]] == ["lighter"]


def test_many_irrelevant_inputs_are_named_and_removed() -> None:
    rng = np.random.default_rng(0)
    frame = cells().head(160)
    useless = pd.DataFrame(rng.standard_normal((160, 300)), columns=[f"random {i}" for i in range(300)])
    found = wf.diagnose(pd.concat([useless, frame], axis=1), "target",
                        **{**QUICK, "hidden": [32], "epochs": 60, "budget": "12c"})
    assert found.cause == "overfits"
    inputs = next(m for m in found.measurements if m.id == "inputs")
    assert inputs.value > 3 and inputs.words in found.mapping["verdict"]["because"]
    kept, of = (int(n) for n in re.search(r"does with (\d+) of (\d+)", inputs.words).groups())  # type: ignore[union-attr]
    assert of == 330 and 0 < kept < 165
    assert any("group_mcp" in p.recipe for p in found.prescriptions)


def test_a_column_that_tells_the_target() -> None:
    frame = cells()
    frame["report"] = frame["target"] + 0.0
    found = wf.diagnose(frame, "target", **QUICK)
    assert found.cause == "leakage" and "'report'" in found.mapping["verdict"]["because"]
    assert found.prescriptions == () and found.mapping["advice"]


def test_a_step_size_that_never_gets_anywhere() -> None:
    found = wf.diagnose(cells(), "target", learning_rate=2e-6, **QUICK)
    assert found.cause == "underfits_optimisation"
    assert found.prescriptions and found.prescriptions[0].learning_rate > 2e-6


def test_a_network_with_dropout_before_its_norm() -> None:
    x, y = load_digits(return_X_y=True)

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.6), nn.BatchNorm1d(32), nn.Linear(32, 10))

    task = wf.Task(build=build, train=(torch.tensor(x[:300], dtype=torch.float32) / 16, torch.tensor(y[:300])), epochs=3)
    found = wf.diagnose(task, budget="2c", workers=1)
    assert found.cause == "broken_setup" and "variance" in found.mapping["verdict"]["because"]
    assert found.mapping["doctor"][0]["id"] == "dropout-before-batch-norm"
    assert {"sharpness", "smoothness"} <= {m.id for m in found.measurements}  # of one's own network as well
    assert len(found.mapping["landscape"]["plane"]["loss"]) == 13


def test_the_same_seed_measures_the_same() -> None:
    first, second = (wf.diagnose(cells(), "target", hidden=[4], epochs=3, batch_size=32, budget="9c", seed=3, workers=1)
                     for _ in "ab")
    assert first.mapping["signals"] == second.mapping["signals"] and "gap" in first.mapping["signals"]
    assert first.mapping["cost"]["trainings"] == second.mapping["cost"]["trainings"]


def test_what_cannot_be_diagnosed_is_said() -> None:
    with pytest.raises(wf.WellfitError, match="budget"):
        wf.diagnose(cells(), "target", budget="soon")
    with pytest.raises(wf.WellfitError, match="target"):
        wf.diagnose(cells())
