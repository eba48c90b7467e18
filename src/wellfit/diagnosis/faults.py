"""Faults of the data and of the set-up: each with what it measured, and the signal it gives the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wellfit.diagnosis.case import Case
from wellfit.diagnosis.measurement import Measurement, percent
from wellfit.diagnosis.signals import Signal
from wellfit.diagnosis.study import Study

_CERTAIN = 2.0


@dataclass(frozen=True)
class Fault:
    """What one look found: signals by name, a measurement, and details for diagnosis.json."""

    measurement: Measurement | None = None
    signals: Mapping[str, Signal] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


def in_data(case: Case) -> list[Fault]:
    """What can be seen without training."""
    return [_leaks(case)]


def in_training(found: Study) -> list[Fault]:
    """What the trained networks show."""
    return [_more_data(found)]


_LEAKS = {"leak_column": "column", "duplicate_rows": "duplicates"}


def _leaks(case: Case) -> Fault:
    """Columns that tell the target, and copies across the split: what reading the data found."""
    notes = [n for n in case.prepared.notes if n.code in _LEAKS and n.level == "warning"]
    if not notes:
        return Fault()
    words = " ".join(n.message for n in notes)
    return Fault(Measurement("leak", "Leakage", float(len(notes)), "findings", words, None, "alarm"),
                 {"leak": Signal(_CERTAIN, 0.1, notes[0].code)},
                 {"leaks": [{"kind": _LEAKS[n.code], "what": n.message, "measured": n.message} for n in notes]})


def _more_data(found: Study) -> Fault:
    """From half of the rows to all of them, carried on to twice as many."""
    both = [o for v in found.shares.get(0.5, []) if (o := found.outcome(v)) is not None and o.finite]
    if not both or not found.base.finite:
        return Fault()
    judge = found.laboratory.contributions
    half = float(np.mean([judge.merit(o.judged) for o in both]))
    whole = judge.merit(found.base.judged)
    error = max(judge.gain(o.judged, found.base.judged, found.noise).error for o in both) / len(both) ** 0.5
    gain = 1 - (whole / half) ** 0.85
    return Fault(None, {"data": Signal(gain, error, f"half of the rows: {percent(half / whole - 1)} more error")}, {})
