"""A verdict as lines of text, and in the format of ``diagnosis.json``."""

from __future__ import annotations

import math
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from wellfit.diagnosis.history.sentences import shown

if TYPE_CHECKING:
    from wellfit.diagnosis.history.verdict import HistoryVerdict


def lines(verdict: HistoryVerdict) -> list[str]:
    """The verdict as lines of plain text."""
    from wellfit.diagnosis.history.verdict import CAUSES

    history = verdict.history
    out = [f"{verdict.title}  (confidence {verdict.confidence:.0%}, from the curves alone)"]
    out += [f"  {sentence}" for sentence in verdict.evidence]
    out += [f"  -> {sentence}" for sentence in verdict.advice]
    others = [(c, p) for c, p in verdict.probabilities.items() if c != verdict.cause and p >= 0.05 and c in CAUSES]
    if others:
        out.append("  else: " + ", ".join(f"{cause} {p:.0%}" for cause, p in others))
    read = ", ".join(f"{key.replace('_', ' ')} = {name}" for key, name in history.columns.items() if key != "rate")
    source = f" of {history.source}" if history.source else ""
    out.append(f"  read: {len(history)} {history.unit}s{source}" + (f" ({read})" if read else ""))
    return out + [f"  note: {note}" for note in history.notes]


def as_diagnosis(verdict: HistoryVerdict) -> dict[str, Any]:
    """The verdict in the format of ``diagnosis.json``."""
    history, curves = verdict.history, verdict.curves
    name = PurePath(history.source.split(",")[0]).name if history.source else "history"
    metric = history.metric or (curves.name if curves is not None else "loss")
    higher = history.higher_is_better if history.metric else False
    content: dict[str, Any] = {
        "format": 1, "kind": "diagnosis", "source": "history", "dataset": name, "metric": metric,
        "higher_is_better": bool(higher),
        "verdict": {"cause": verdict.cause, "detail": verdict.detail, "title": verdict.title, "confidence": verdict.confidence,
                    "because": " ".join(verdict.evidence[:2]), "probabilities": verdict.probabilities,
                    "others": [{"cause": cause, "score": p} for cause, p in verdict.probabilities.items()
                               if cause != verdict.cause and p >= 0.05]},
        "overfitting": verdict.overfitting, "advice": list(verdict.advice),
        "measurements": measurements(verdict), "when": verdict.when, "numbers": verdict.numbers}
    if len(history):
        content["curves"] = history.as_curves()
    if verdict.cause == "overfits":
        when = verdict.when
        patience = max(3, math.ceil((when["best_high"] - when["best_low"]) / 2)) if history.unit == "epoch" else 10
        settings = {"patience": min(patience, 50)}
        content["prescriptions"] = [{"title": "early stopping", "settings": {"early_stopping": settings},
                                     "recipe": {"format": 1, "regularizers": [{"name": "early_stopping", **settings}]},
                                     "why": f"The best {history.unit} is {shown(when['best'])} of {shown(when['last'])}.",
                                     "evidence": "the curves themselves"}]
    if history.notes:
        content["warnings"] = list(history.notes)
    return content


def measurements(verdict: HistoryVerdict) -> list[dict[str, Any]]:
    """What was measured on the curves."""
    curves, numbers, when, unit = verdict.curves, verdict.numbers, verdict.when, verdict.history.unit
    if curves is None or not numbers:
        return []
    overfits = verdict.cause == "overfits"
    rises = overfits and numbers["lost_low"] > 0
    found = [{"id": "gap_lost", "title": "Lost after the best " + unit, "value": numbers["lost"],
              "ci": [numbers["lost_low"], numbers["lost_high"]], "unit": "",
              "words": f"Validation {curves.name}: {shown(numbers['best_value'])} at {unit} {shown(when['best'])}, "
                       f"{shown(numbers['last_value'])} at the end.",
              "level": "alarm" if rises else "good", "decided": rises}]
    if "gap" in numbers:
        found.append({"id": "gap", "title": "Gap at the end", "value": numbers["gap"], "ci": None, "unit": "",
                      "words": f"Between training and validation {curves.name}, smoothed.",
                      "level": "notice" if overfits else "",
                      "decided": overfits and not rises})
    found.append({"id": "best_epoch", "title": f"Best {unit}", "value": when["best"], "ci": [when["best_low"], when["best_high"]],
                  "unit": "", "words": f"Where the smoothed validation {curves.name} is best, of {shown(when['last'])}.",
                  "level": "", "decided": False})
    return found
