"""The summary in a terminal: it fits, and it says what summary.json says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from wellfit.cli.show import show_summary

SUMMARY: dict[str, Any] = {
    "format": 1, "task": "regression", "metric": "rmse", "higher_is_better": False, "dataset": "houses", "target": "price",
    "n": {"train": 300, "validation": 100, "test": 100},
    "verdict": {"kind": "overfits", "text": "The unregularized network overfits: rmse 12 on its rows, 61.2 on rows it never saw."},
    "unregularized": {"validation": 60.0, "test": 61.234, "ci": [55.0, 67.5], "train": 12.0},
    "singles": {"dropout": {"validation": 55.0, "test": 54.9, "ci": [50.0, 60.0], "gain": {"test": 6.3, "ci": [3.0, 9.0]}},
                "label_smoothing": {"validation": None, "test": None, "ci": None, "gain": None},
                "max_norm": {"validation": 50.0, "test": 62.0, "ci": [56.0, 68.0], "gain": {"test": -0.8, "ci": [-1.2, -0.4]}}},
    "best": {"recipe": {"format": 1, "regularizers": [{"name": "dropout", "rate": 0.3123456}, {"name": "l1", "strength": {
        "schedule": "warm_up", "value": 0.001, "start": 0.0, "fraction": 0.4}}], "learning_rate": 0.00212345},
        "validation": 50.0, "test": 51.0, "ci": [46.0, 56.0], "train": 40.0},
    "simplest_within_one_se": {"recipe": {"format": 1, "regularizers": []}, "test": 52.0},
    "ensemble": {"members": 4, "test": 50.5, "ci": [45.0, 56.0], "gain": {"test": 10.7, "ci": [5.0, 16.0]}},
    "gain": {"test": 10.2, "ci": [5.5, 15.1]},
    "attribution": [{"regularizer": "dropout", "value": "rate=0.31", "effect": 4.2, "ci": [1.0, 7.4], "keep": True},
                    {"regularizer": "ema", "value": "decay=0.99", "effect": -0.1, "ci": [-0.4, 0.2], "keep": False}],
    "dropped": ["ema"], "baselines": {"ridge_or_logistic": 53.0}, "warnings": [], "interrupted": False,
    "cost": {"seconds": 75.3, "configurations": 120, "epochs": 12345, "member_steps": 99},
}


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_it_fits_and_says_what_the_summary_says(columns: int, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    show_summary(SUMMARY, tmp_path)
    text = capsys.readouterr().out
    table = text.split("no regularization")[1].split("test rows that")[0]
    assert max(map(len, table.splitlines())) <= columns
    assert "…" not in text
    for words in ("overfits", "61.23", "tuned recipe", "51.00", "+10.20", "+5.50 to +15.10", "max norm", "ensemble of 4",
                  "ridge regression", "buys nothing", "dropout rate=0.3123", "learning rate 0.00212", "120 configurations",
                  "1 min 15 s", "dropped, because they bought nothing: ema", "100 test rows"):
        assert words in " ".join(text.split()), words
    assert "label smoothing" not in text  # it was not tested
    assert text.index("max norm") < text.index("dropout")  # ordered by validation, which is not the test


def test_on_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_summary(SUMMARY, tmp_path, brief=True)
    first, second = capsys.readouterr().out.splitlines()
    assert first == "houses: RMSE 51.00 tuned, 61.23 unregularized (+10.20, 95% interval +5.50 to +15.10)"
    assert second == str(tmp_path)


def test_a_summary_of_little_is_shown_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    little = json.loads(json.dumps(SUMMARY))
    little |= {"singles": {}, "attribution": [], "dropped": [], "ensemble": {"members": 1, "test": None, "ci": None},
               "gain": {"test": None, "ci": None}, "baselines": {"ridge_or_logistic": None}}
    little["best"]["recipe"]["regularizers"] = []
    show_summary(little, tmp_path)
    text = capsys.readouterr().out
    assert "no regularization" in text
    assert "ensemble" not in text
    assert "buys" not in text
