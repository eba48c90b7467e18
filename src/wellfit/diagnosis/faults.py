"""Faults of the data: each with what it measured, and the signal it gives the verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wellfit.diagnosis.case import Case
from wellfit.diagnosis.examples import inputs_of
from wellfit.diagnosis.laboratory import Outcome
from wellfit.diagnosis.measurement import Level, Measurement, between, percent
from wellfit.diagnosis.measures.label_noise import (
    NOTICED,
    TOLERATED,
    estimate_label_noise,
    forest_probabilities,
    label_quality,
    neighbour_labels,
    neighbour_probabilities,
    residual_outliers,
    stacked,
)
from wellfit.diagnosis.measures.learning_curve import LearningCurve, learning_curve
from wellfit.diagnosis.rules import rules
from wellfit.diagnosis.signals import Signal, towards, usual_gains
from wellfit.diagnosis.study import Study

_FOREST_ROWS, _FEW_INPUTS, _SUSPECTS, _JUDGES = 20_000, 2000, 200, 3
_CAUTION = 0.7
_DOUBLED = 0.6  # what doubling the data gains, as a share of what halving them loses, roughly
_SEEN = 0.02  # lower end of the share of wrong labels from which on it is no accident


@dataclass(frozen=True)
class Fault:
    """What one look found: signals by name, a measurement, and details for diagnosis.json."""

    measurement: Measurement | None = None
    signals: Mapping[str, Signal] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


def in_training(found: Study) -> list[Fault]:
    """What the trained networks show."""
    if not found.base.finite:
        return []
    return [_more_data(found), _label_noise(found)]


# ---- more data


def _more_data(found: Study) -> Fault:
    """The learning curve over training size, carried on to twice as many rows."""
    judge = found.laboratory.contributions
    curve, of_merit = _curve(found, judge.error), _curve(found, judge.merit)
    if curve is None or of_merit is None:
        return Fault()
    rows = len(found.laboratory.development)  # all that there is, of which a fold's training part is only a share
    share, expected = curve.doubling(rows)[0], of_merit.doubling(rows)[1]
    level: Level = "alarm" if share.low > 0.1 else "notice" if share.low > 0 else "good"
    words = (f"twice the rows ({2 * rows} instead of {rows}) would take {percent(share.value)} of the error away "
             f"(95% interval {between(share.low, share.high)}).")
    points = curve.sizes
    ahead = np.geomspace(points[0], 4 * points[-1], 40)
    middle, low, high = curve.curve(ahead)
    details = {"learning_curve": {"sizes": points.tolist(), "error": curve.errors.tolist(),
                                  "fit": {"n": ahead.tolist(), "error": middle.tolist(), "low": low.tolist(),
                                          "high": high.tolist()},
                                  "twice": curve.to_dict()}}
    today = max(float(of_merit.errors[-1]), 1e-12)
    error = max((expected.high - expected.low) / (2 * 1.96) / today, _DOUBLED * _of_rows(found))
    gain = expected.value / today - _CAUTION * error  # curves through few sizes promise more than comes
    usual = usual_gains(float(np.mean(found.gaps())), 0.0)["data"]
    return Fault(Measurement("data", "What twice the data would gain", share.value, "share", words, (share.low, share.high), level),
                 {"data": towards(usual, gain, error, "the learning curve")}, details)


def _of_rows(found: Study) -> float:
    """How uncertain the loss by halving the data is for the choice of judged rows, which all points of the curve share."""
    errors = [g.error for v in found.shares.get(0.5, ()) if (g := found.gain(v)) is not None and np.isfinite(g.error)]
    return float(np.mean(errors)) if errors else 0.0


def _curve(found: Study, of: Callable[[np.ndarray], float]) -> LearningCurve | None:
    sizes, errors = [found.facts["rows"]], [[of(p[None]) for p in found.base.judged[:1]]]
    for share, variants in found.shares.items():
        outcomes = [o for v in variants if (o := found.outcome(v)) is not None and o.finite]
        if outcomes:
            sizes.append(round(found.facts["rows"] * share))
            errors.append([of(o.judged[:1]) for o in outcomes])
    if len(sizes) < 3:
        return None
    table = np.full((len(sizes), max(map(len, errors))), np.nan)
    for row, values in enumerate(errors):
        table[row, : len(values)] = values
    return learning_curve(sizes, table, resolution=0.5 / len(found.laboratory.judged))


# ---- wrong labels


def _label_noise(found: Study) -> Fault:
    """The share of wrong labels, and which they are; for numbers, how heavy the tails of the residuals are."""
    case, judge = found.laboratory.case, found.laboratory.contributions
    if judge.scorer.own is not None:
        return Fault()
    best = _judges(found)
    if judge.scorer.classes == 0:
        return _outliers(np.mean([o.judged.mean(axis=0)[:, 0] for o in best], axis=0), judge.scorer.y)
    probabilities = np.mean([o.judged.mean(axis=0) for o in best], axis=0)
    labels = judge.scorer.y
    inputs = inputs_of(case, judge.rows) if len(judge.rows) <= _FOREST_ROWS else None
    others = [forest_probabilities(inputs, labels, seed=case.seed)] if inputs is not None else []
    scaled = _standardized(inputs) if inputs is not None and inputs.shape[1] <= _FEW_INPUTS else None
    near = neighbour_labels(scaled, labels, k=20) if scaled is not None else None
    noise = estimate_label_noise(labels, probabilities, *others, neighbours=near)
    # the lower end that two witnesses share: one that cannot tell does not acquit the labels, one alone does not convict them
    low = float(sorted([noise.floor.low, *(w.low for w in noise.witnesses.values())])[-2])
    noisy = noise.rate >= NOTICED and low >= _SEEN
    lost = not noisy and noise.answer == "unclear" and noise.rate >= rules()["least"]["lost"]
    # which rows they are is ranked best by a mixture of models of several kinds
    ranked = stacked(labels, probabilities, *others, *([neighbour_probabilities(scaled, labels)] if scaled is not None else []))
    rate = noise.rate
    low, high = min(low, rate), max(noise.high, rate)
    level: Level = "alarm" if noisy else "notice" if noise.answer == "unclear" and rate > NOTICED else "good"
    surest = f"{percent(noise.floor.top_disagreement)} disagree even where the predictions are surest"
    words = (f"{percent(rate)} of the labels seem wrong ({between(low, high)}): {surest}." if noisy else
             f"{percent(rate)} of the labels are wrong, or of classes that these networks cannot tell apart: {surest}." if lost else
             noise.sentence())
    signal = Signal(rate, max(0.25 * rate, 0.005), "the floor of disagreement") if noisy else Signal(
        min(rate, 0.5 * TOLERATED), 0.002, "the floor of disagreement")
    signals = {"noise": signal, **({"lost": Signal(rate, 0.1 * rate, "the floor of disagreement")} if lost else {})}
    return Fault(Measurement("noise", "Label noise", rate, "share", words, (low, high), level), signals,
                 {"label_noise": {"rate": rate, "ci": [low, high], "answer": "noisy" if noisy else noise.answer,
                                  "suspects": _suspects(found, ranked, labels) if noisy else []}})


def _judges(found: Study) -> list[Outcome]:
    """The case and what predicts new rows best: a network that learned wrong labels by heart is a poor witness against them."""
    judge = found.laboratory.contributions
    remedied = [o for _, v in found.remedied.values() if (o := found.outcome(v)) is not None and o.finite]
    return sorted([found.base, *remedied], key=lambda o: judge.merit(o.judged))[:_JUDGES]


def _suspects(found: Study, probabilities: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
    quality = label_quality(probabilities, labels)
    names = _class_names(found.laboratory.case)
    return [{"row": int(found.laboratory.judged[i]), "given": names(labels[i]), "suggested": names(probabilities[i].argmax()),
             "score": float(quality[i])} for i in np.argsort(quality)[:_SUSPECTS] if probabilities[i].argmax() != labels[i]]


def _class_names(case: Case) -> Any:
    known = case.prepared.describe().get("classes")
    return (lambda c: str(known[int(c)])) if known else (lambda c: str(int(c)))


def _outliers(predictions: np.ndarray, y: np.ndarray) -> Fault:
    tails = residual_outliers(y - predictions)
    level: Level = "notice" if tails.share > 0.01 else "good"
    return Fault(Measurement("outliers", "Outlying targets", tails.share, "share",
                             f"{percent(tails.share, 1)} of the rows lie more than {tails.limit:g} robust standard deviations from "
                             f"their prediction.", None, level))


def _standardized(inputs: np.ndarray) -> np.ndarray:
    spread = inputs.std(axis=0)
    return (inputs - inputs.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
