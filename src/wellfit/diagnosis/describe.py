"""What was measured, in numbers and in plain words, for the terminal, the report and diagnosis.json."""

from __future__ import annotations

from typing import Any

import numpy as np

from wellfit.diagnosis.inputs import many_inputs
from wellfit.diagnosis.measurement import Level, Measurement, between, percent
from wellfit.diagnosis.measures.bias_variance import BiasVariance, bias_variance
from wellfit.diagnosis.measures.gap import generalization_gap
from wellfit.diagnosis.measures.memorization import memorization
from wellfit.diagnosis.rules import rules
from wellfit.diagnosis.signals import Signals
from wellfit.diagnosis.study import Study
from wellfit.diagnosis.verdict import Verdict
from wellfit.report.numbers import NAMES, plain


def measurements(study: Study, signals: Signals) -> list[Measurement]:
    """All that the trainings say, the gap first."""
    found = [_gap(study)]
    found += [_gain(study, signals, *row) for row in _GAINS if row[0] in signals.found]
    variance = _bias_variance(study)
    if variance is not None:
        found.append(variance)
    found += [m for m in (_memorization(study), many_inputs(study)) if m is not None]
    return found


def _gap(study: Study) -> Measurement:
    laboratory, base = study.laboratory, study.base
    here, there = laboratory.on_training, laboratory.contributions
    scorer = there.scorer
    name = NAMES.get(scorer.metric, scorer.metric)
    if not base.finite:
        return Measurement("gap", "Generalization gap", float("nan"), scorer.metric,
                           "The network's outputs are not finite numbers: its training diverged.", None, "alarm")
    # the same rows, once as training rows and once as held-out rows
    place = np.searchsorted(here.rows, there.rows)
    learned = np.stack([scorer.rows(p[place]) for p in base.learned]) if len(study.laboratory.case.folds) > 1 else None
    held = np.stack([scorer.rows(p) for p in base.judged])
    strata = scorer.y if scorer.classes else None
    folds = len(laboratory.case.folds)
    if learned is not None and np.isfinite(learned).all():
        estimate = generalization_gap(learned, held, statistic=scorer.errors, same_rows=True, strata=strata, folds=folds)
    else:
        known = np.isfinite(base.learned[0]).all(axis=1)
        train = here.only(known).scorer
        estimate = generalization_gap(np.stack([train.rows(p[known]) for p in base.learned]), held, statistic=scorer.errors,
                                      train_statistic=train.errors, same_rows=False, strata=strata,
                                      train_strata=train.y if train.classes else None)
    train_error, error = here.error(base.learned), there.error(base.judged)
    shown = [plain(scorer.score(e), 4) for e in (train_error, error)]
    level: Level = "alarm" if estimate.low > 0 and estimate.value > 0.3 * error else "notice" if estimate.low > 0 else "good"
    return Measurement("gap", "Generalization gap", estimate.value, scorer.metric,
                       f"{name}: {shown[0]} on the rows it learned from, {shown[1]} on rows it did not (no augmentation, no "
                       f"dropout, no penalty in either).", (estimate.low, estimate.high), level)


_GAINS = (
    ("regularized", "What regularization would gain", "{by}: takes {gain} of the error away on rows it did not learn from"),
    ("optimisation", "What other training would gain", "{by}: fits the training rows better, and takes {gain} of the error away"),
    ("capacity", "What a larger network would gain", "{by}: fits the training rows better, and takes {gain} of the error away"),
    ("lighter", "What less regularization would gain", "{by}: takes {gain} of the error away"),
)


def _gain(study: Study, signals: Signals, name: str, title: str, words: str) -> Measurement:
    signal = signals.found[name]
    outcome = study.laboratory.outcomes.get(signal.by)
    if outcome is None or signal.value <= 0:
        return Measurement(name, title, max(signal.value, 0.0), "share", "nothing that was tried gains anything.",
                           None, "good")
    # as it was measured; what the verdict goes by is drawn towards nothing
    gain = study.laboratory.contributions.gain(study.base.judged, outcome.judged, study.noise)
    low, high, least = gain.low, min(gain.high, 1.0), rules()["least"].get(name, 0.0)
    level: Level = "alarm" if signal.value >= least and low > 0 else "notice" if signal.value >= least else "good"
    said = words.format(by=signal.by, gain=percent(gain.value))
    return Measurement(name, title, gain.value, "share", f"{said} (95% interval {between(low, high)}).",
                       (low, high), level)


def halves(study: Study) -> np.ndarray | None:
    """(1, 2, n, C) predictions of networks trained on disjoint halves, for the judged rows."""
    both = [o for v in study.shares.get(0.5, []) if (o := study.outcome(v)) is not None and o.finite]
    return np.stack([o.judged[0] for o in both])[None] if len(both) == 2 else None


def spread(study: Study) -> BiasVariance | None:
    """Bias and variance of networks trained on half of the rows; numbers in units of their spread."""
    predictions = halves(study)
    judge = study.laboratory.contributions
    scorer = judge.scorer
    if predictions is None or scorer.own is not None:
        return None
    if scorer.classes:
        return bias_variance(predictions, scorer.y)
    scale = judge.variance**0.5
    return bias_variance(predictions[..., 0] / scale, scorer.y / scale)


def _bias_variance(study: Study) -> Measurement | None:
    found, scorer = spread(study), study.laboratory.contributions.scorer
    if found is None:
        return None
    share = found.share.value
    what = "squared error" if scorer.classes == 0 else "log loss"
    level: Level = "alarm" if share > 0.5 else "notice" if share > 0.25 else "good"
    return Measurement("variance", "Variance", share, "share",
                       f"{percent(share)} of the {what} of networks trained on half of the rows comes from which half it was; the "
                       f"rest is bias and noise.", (max(0.0, found.share.low), found.share.high), level)


def parts(study: Study) -> dict[str, Any]:
    """Bias and variance for diagnosis.json."""
    found = spread(study)
    if found is None:
        return {}
    return {"bias_variance": {"bias": found.bias.value, "variance": found.variance.value, "kind": found.kind,
                              "share": found.share.to_dict()}}


def _memorization(study: Study) -> Measurement | None:
    outcome = study.outcome(study.shuffled) if study.shuffled is not None else None
    if outcome is None or not outcome.finite:
        return None
    histories = [h["train_loss"] for h in study.base.histories[: len(outcome.histories)]]
    shuffled = [h["train_loss"] for h in outcome.histories]
    if len({len(h) for h in (*histories, *shuffled)}) != 1 or not np.isfinite([*histories, *shuffled]).all():
        return None
    chance = max(max(h[0] for h in shuffled), 1e-9)
    memory = memorization(np.array(histories), np.array(shuffled), chance).final.value
    level: Level = "alarm" if memory > 0.8 else "notice" if memory > 0.4 else "good"
    return Measurement("memorization", "Memorization", memory, "share",
                       f"With targets exchanged at random the same training still reaches {percent(memory)} of the fit: so much "
                       f"room it has to learn rows by heart.", None, level)


def curves(study: Study) -> dict[str, Any]:
    """Learning curves over epochs, in the metric as named."""
    history, scorer = study.base.history, study.laboratory.contributions.scorer
    scale = study.laboratory.case.prepared.scale
    unit = scale[1] if scale is not None and scorer.metric == "rmse" else 1.0
    return {"epoch": list(range(1, len(history["train_loss"]) + 1)),
            "train_loss": history["train_loss"], "validation_loss": history["validation_loss"],
            "train_metric": [scorer.score(v * unit) for v in history["train_error"]],
            "validation_metric": [scorer.score(v * unit) for v in history["validation_error"]]}


def scans(study: Study) -> dict[str, Any]:
    """Training and validation error over learning rates, and over widths."""
    laboratory = study.laboratory
    case, scorer = laboratory.case, laboratory.contributions.scorer

    def point(variant: Any) -> dict[str, float] | None:
        outcome = study.base if variant is None else study.outcome(variant)
        if outcome is None or not outcome.finite:
            return None
        return {"train": scorer.score(laboratory.on_training.error(outcome.learned)),
                "validation": scorer.score(laboratory.contributions.error(outcome.judged))}

    rates = [(case.learning_rate * f, v) for f, v in study.rates.items()] + [(case.learning_rate, None)]
    widths = [(h, v) for h, v in study.widths.items()] + ([(tuple(case.settings.hidden), None)] if case.settings.hidden else [])
    return {"learning_rates": [{"rate": r, **p} for r, v in sorted(rates, key=lambda x: x[0]) if (p := point(v))],
            "capacity": [{"width": "-".join(map(str, h)), **p} for h, v in sorted(widths, key=lambda x: sum(x[0]))
                         if (p := point(v))]}


def because(verdict: Verdict, found: list[Measurement]) -> str:
    """The sentence that says why."""
    deciding = next((m for m in found if m.id == verdict.decided_by), None)
    words = verdict.words[0].upper() + verdict.words[1:] + "."
    if deciding is not None:
        words += f" {deciding.title}: {deciding.words}"
    inputs = next((m for m in found if m.id == "inputs"), None)
    if inputs is not None and verdict.cause in ("overfits", "too_little_data"):
        words += f" {inputs.title}: {inputs.words}"
    return words
