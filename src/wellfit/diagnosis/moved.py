"""Shift: whether the rows that count in the end are like those that were learned from, and what the difference costs."""

from __future__ import annotations

import numpy as np

from wellfit.diagnosis.contributions import Contributions
from wellfit.diagnosis.examples import inputs_of
from wellfit.diagnosis.faults import Fault
from wellfit.diagnosis.measurement import Level, Measurement, percent
from wellfit.diagnosis.measures.near_copies import standardized
from wellfit.diagnosis.measures.shift import feature_shifts, two_sample
from wellfit.diagnosis.signals import Signal
from wellfit.diagnosis.study import Study
from wellfit.search.prepare import PreparedTable

_HARM = 0.10       # share of the error by which rows elsewhere are harder, from which on a shift counts
_TELLABLE = 0.55   # AUC
_FEATURES, _LEAST_ROWS = 12, 20


def in_test_rows(found: Study) -> list[Fault]:
    """Test rows that were given apart, or lie later in time, against the development rows; others are like them by construction."""
    case = found.laboratory.case
    test = case.prepared.split.test
    if not case.separate_test or not found.base.finite or found.base.tests is None or len(test) < _LEAST_ROWS:
        return []
    known, other = inputs_of(case, found.laboratory.development), inputs_of(case, test)
    if known is None or other is None:
        return []
    told = two_sample(*standardized(known, other), seed=case.seed)
    harm, error = _harm(found, Contributions.of(case.prepared, test))
    counts = told.found and told.auc >= _TELLABLE
    than = "higher" if harm >= 0 else "lower"
    words = (f"a classifier tells the test rows from the others with an AUC of {told.auc:.2f} ({told.low:.2f} to {told.high:.2f}; "
             f"0.5 is not at all), and the error on them is {percent(abs(harm))} {than} than in cross-validation.")
    level: Level = "alarm" if counts and harm > _HARM and harm > 2 * error else "notice" if counts else "good"
    details = {"shift": {"auc": told.auc, "ci": [told.low, told.high], "harm": harm, "features": _features(found, test)}}
    signal = Signal(harm / _HARM, error / _HARM, "test rows against the others") if counts else Signal(0.0)
    return [Fault(Measurement("shift", "Shift", told.auc, "AUC", words, (told.low, told.high), level), {"shift": signal}, details)]


def _harm(found: Study, there: Contributions) -> tuple[float, float]:
    """By which share of the cross-validated merit the test rows are harder, and its standard error."""
    here, base = found.laboratory.contributions, found.base
    assert base.tests is not None
    inside, outside = (np.mean([c.merits(p) for p in predictions], axis=0)
                       for c, predictions in ((here, base.judged), (there, base.tests)))
    own, other = float(here.weights @ inside), float(there.weights @ outside)

    def spread(c: Contributions, rows: np.ndarray) -> float:
        counts = c.resamples * c.weights
        return float(np.var((counts @ rows) / counts.sum(axis=1)))

    return other / max(own, 1e-12) - 1, float(np.sqrt(spread(here, inside) + spread(there, outside))) / max(own, 1e-12)


def _features(found: Study, test: np.ndarray) -> list[dict[str, float | str]]:
    prepared = found.laboratory.case.prepared
    if not isinstance(prepared, PreparedTable):
        return []
    frame = prepared.table.frame
    moved = feature_shifts(frame.iloc[found.laboratory.development], frame.iloc[test])
    return [{"name": f.name, "statistic": f.distance} for f in moved[:_FEATURES] if f.p < 0.05]
