"""The verdict on curves: the right cause for curves made to have one, numbers with intervals, robustness, words, imports."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from diagnosis.event_files import overfitting
from wellfit.core.errors import WellfitError
from wellfit.diagnosis.history import CAUSES, HistoryVerdict, chart_svg, history_verdict, words
from wellfit.diagnosis.history.model import LEAVES, coefficients
from wellfit.diagnosis.history.smooth import minimum, smooth, thinned
from wellfit.report.diagnosis import Diagnosis, render

E = np.arange(80)


def noisy(values: np.ndarray, size: float = 0.004, seed: int = 0) -> np.ndarray:
    return values + np.random.default_rng(seed).normal(0, size, len(values))


def good() -> tuple[np.ndarray, np.ndarray]:
    return noisy(0.25 + 0.45 * np.exp(-E / 7)), noisy(0.29 + 0.42 * np.exp(-E / 7), seed=1)


def test_overfitting_with_its_epoch_and_what_was_lost() -> None:
    verdict = history_verdict(*overfitting(80))
    assert verdict.cause == "overfits" and verdict.confidence > 0.7
    assert verdict.when["began_low"] <= verdict.when["began"] == verdict.when["best"] <= verdict.when["began_high"]
    assert 12 <= verdict.when["began"] <= 32  # the rise begins at epoch 21
    assert 0 < verdict.numbers["lost_low"] <= verdict.numbers["lost"] <= verdict.numbers["lost_high"]
    assert verdict.numbers["gap"] > verdict.numbers["gap_at_best"] > 0
    assert "rises" in verdict.evidence[0]


def test_fits_well() -> None:
    verdict = history_verdict(*good())
    assert verdict.cause == "fits well" and verdict.probabilities["fits well"] == verdict.confidence > 0.4


@pytest.mark.parametrize("make", [
    lambda: (noisy(0.69 - 0.002 * E, 0.001), noisy(0.695 - 0.0019 * E, 0.001, 1)),
    lambda: (noisy(0.69 - 0.006 * E, 0.001), noisy(0.695 - 0.0059 * E, 0.001, 1)),
    lambda: (noisy(1.5 * np.exp(-E / 60), 0.004), noisy(1.51 * np.exp(-E / 61), 0.004, 1))])
def test_a_curve_that_is_still_falling_underfits(make: object) -> None:
    assert history_verdict(*make()).cause == "underfits"  # type: ignore[operator]


def test_training_loss_with_dropout_lies_above_validation() -> None:
    train, held = good()
    verdict = history_verdict(train + 0.15, held)
    assert verdict.cause == "over-regularized" and "dropout, augmentation or penalties" in verdict.evidence[0]


def test_not_a_number() -> None:
    train, held = (v.copy() for v in good())
    train[30:], held[30:] = np.nan, np.nan
    verdict = history_verdict(train, held, epochs=E + 1)
    assert (verdict.cause, verdict.detail, verdict.when["at"]) == ("broken set-up", "not a number", 31)
    held = good()[1]
    held[50] = np.inf
    assert history_verdict(good()[0], held).detail == "not a number"


def test_exploding_still_and_flat_curves() -> None:
    assert history_verdict(0.7 * 1.5**E, 0.7 * 1.5**E).detail == "diverged"
    assert history_verdict(np.full(40, 0.693), np.full(40, 0.694)).detail == "no movement"
    still = history_verdict(noisy(np.full(60, 0.693), 2e-4), noisy(np.full(60, 0.693), 2e-4, 1))
    assert (still.cause, still.detail) == ("broken set-up", "no movement")


def test_validation_summed_where_training_is_averaged() -> None:
    train, held = good()
    verdict = history_verdict(train, 0.1 * held)
    assert (verdict.cause, verdict.detail) == ("broken set-up", "validation far better")


def test_too_short_too_noisy_or_never_validated() -> None:
    assert history_verdict([0.5, 0.4], [0.6, 0.5]).cause == "cannot tell"
    assert "5" in history_verdict([0.5, 0.4, 0.3], [0.6, 0.5, 0.4]).evidence[0]
    wild = np.random.default_rng(3).lognormal(0, 0.8, 60)
    verdict = history_verdict(good()[0][:60], wild)
    assert verdict.cause == "cannot tell" and "jumps" in verdict.evidence[0]
    assert "no validation" in history_verdict(good()[0]).evidence[0]


def test_metrics_where_there_is_no_loss() -> None:
    train, held = overfitting(80)
    accuracy = [0.5 + 0.5 * (1 - t) for t in train], [0.5 + 0.5 * (1 - v) for v in held]
    for factor in (1.0, 100.0):
        train_accuracy, held_accuracy = ([factor * a for a in part] for part in accuracy)
        verdict = history_verdict(train_metric=train_accuracy, validation_metric=held_accuracy, metric="accuracy",
                                  higher_is_better=True)
        assert verdict.cause == "overfits" and "falls" in verdict.evidence[0]
        assert verdict.numbers["best_value"] == pytest.approx(factor * max(accuracy[1]), rel=0.03)
        assert verdict.numbers["last_value"] < verdict.numbers["best_value"]
        assert verdict.numbers["lost"] == pytest.approx(verdict.numbers["best_value"] - verdict.numbers["last_value"], rel=1e-6)


def test_negative_losses_are_judged_too() -> None:
    train, held = overfitting(80)
    verdict = history_verdict([t - 2 for t in train], [v - 2 for v in held])
    assert verdict.cause == "overfits" and verdict.numbers["best_value"] < -1


def test_scale_and_length_do_not_matter_much() -> None:
    train, held = map(np.array, overfitting(80))
    base = history_verdict(train, held)
    scaled = history_verdict(1000 * train, 1000 * held)
    assert scaled.cause == base.cause and scaled.confidence == pytest.approx(base.confidence, abs=0.02)
    assert history_verdict(*overfitting(2000)).cause == "overfits"


def test_single_spikes_do_not_decide() -> None:
    train, held = good()
    held[60] = 4.0
    verdict = history_verdict(train, held)
    assert verdict.cause == history_verdict(*good()).cause
    held = good()[1]
    held[70] = 0.05  # a lucky epoch
    assert abs(history_verdict(good()[0], held).numbers["best_value"] - 0.29) < 0.03


def test_probabilities_are_probabilities() -> None:
    for curves in (overfitting(60), good(), overfitting(8)):
        found = history_verdict(*curves)
        assert sum(found.probabilities.values()) == pytest.approx(1.0)
        assert set(found.probabilities) <= set(CAUSES) and max(found.probabilities.values()) == found.confidence


def test_the_model_is_whole() -> None:
    models, binary = coefficients()["models"], coefficients()["overfitting"]
    assert set(models) == set(binary) == {"loss", "loss without training", "metric", "metric without training"}
    for model in models.values():
        assert set(model["leaves"]) == set(LEAVES)
        assert np.array(model["weights"]).shape == (len(LEAVES), len(model["features"])) == (len(LEAVES), len(model["mean"]))


def test_the_interval_of_the_best_epoch_covers_it() -> None:
    covered, epochs = 0, np.arange(100.0)
    truth = 0.4 + 0.5 * np.exp(-epochs / 8) + 0.004 * np.clip(epochs - 35, 0, None)
    for seed in range(60):
        found = minimum(smooth(noisy(truth, 0.01, seed)), seed)
        covered += found.low <= int(np.argmin(truth)) <= found.high
    assert covered >= 48  # of 60, nominal 57: smoothing moves a sharp corner a little


def test_smoothing_keeps_lines_and_removes_noise() -> None:
    line = 2.0 - 0.01 * np.arange(50)
    assert np.abs(smooth(line).values - line).max() < 1e-9
    found = smooth(noisy(line, 0.05))
    assert np.abs(found.values - line)[5:].max() < 0.1 and found.noise == pytest.approx(0.05, rel=0.5)
    at, kept = thinned(np.arange(1000.0), np.arange(1000.0))
    assert len(kept) == 240 and kept.mean() == pytest.approx(499.5, rel=0.01) and (np.diff(at) > 0).all()


def test_words_chart_json_and_page() -> None:
    for verdict in (history_verdict(*overfitting(80)), history_verdict(*good()), history_verdict([1.0], [1.0]),
                    history_verdict([0.5, 0.4] + [math.nan] * 8, [0.5, 0.4] + [math.nan] * 8)):
        said = words(verdict)
        assert verdict.title in said[0] and f"{verdict.confidence:.0%}" in said[0] and str(verdict) == "\n".join(said)
        content = json.loads(json.dumps(verdict.to_dict(), allow_nan=False))
        assert content["kind"] == "diagnosis" and content["verdict"]["cause"] == verdict.cause
        page = render(Diagnosis.of(content))
        assert verdict.title in page and ('id="curves"' in page) == ("curves" in content)
        picture = chart_svg(verdict)
        assert not picture or (picture.startswith("<svg") and "script" not in picture and "nan" not in picture)
    assert "<circle" in chart_svg(history_verdict(*overfitting(80)))


def test_the_command_and_what_it_does_not_import(tmp_path: Path) -> None:
    train, held = overfitting(60)
    path = tmp_path / "history.csv"
    path.write_text("epoch,loss,val_loss\n" + "".join(f"{i},{t},{v}\n" for i, (t, v) in enumerate(zip(train, held))))
    code = ("import sys; from wellfit.diagnosis.history.__main__ import main; status = main([sys.argv[1]]); "
            "heavy = {'torch', 'pandas', 'sklearn', 'scipy', 'optuna', 'matplotlib', 'rich'} & set(sys.modules); "
            "print(sorted(heavy)); sys.exit(status)")
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Overfits") and done.stdout.rstrip().endswith("[]")
    command = [sys.executable, "-m", "wellfit.diagnosis.history", str(tmp_path / "no.csv")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "no such file" in done.stderr.lower() and "Traceback" not in done.stderr


def test_a_verdict_needs_a_direction() -> None:
    with pytest.raises(WellfitError, match="better when it is higher"):
        history_verdict(validation_metric=list(range(10)), metric="zork")
    assert isinstance(history_verdict(validation_metric=[0.5 + 0.01 * i for i in range(10)], metric="zork", higher_is_better=True),
                      HistoryVerdict)
