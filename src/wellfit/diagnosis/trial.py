"""``--try``: the first prescription against the set-up as it is, with paired seeds, on test rows that nothing else looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wellfit.diagnosis.laboratory import Laboratory
from wellfit.diagnosis.measures.gap import paired_difference
from wellfit.diagnosis.prescription import Prescription
from wellfit.diagnosis.study import AS_IS

_SEEDS = (11, 12, 13)


@dataclass(frozen=True)
class Trial:
    """What the prescription did.

    Attributes:
        before, after: scores on the test rows, means over networks.
        gain, low, high: improvement of the metric with its 95% interval; positive is better.
        held: whether it is not worse by more than one standard error.
    """

    title: str
    before: float
    after: float
    gain: float
    low: float
    high: float
    held: bool

    def words(self) -> str:
        """What came of it, in a sentence."""
        verdict = ("It helped" if self.low > 0 else "It did not hold" if not self.held else
                   "These test rows cannot tell whether it helps; it does no harm that they could show")
        return (f"Tried ({self.title}): {self.before:.4g} before, {self.after:.4g} with it, gain {self.gain:+.3g} "
                f"({self.low:+.3g} to {self.high:+.3g}) on the test rows. {verdict}.")

    def to_mapping(self) -> dict[str, Any]:
        return {"title": self.title, "before": self.before, "after": self.after, "gain": self.gain, "ci": [self.low, self.high],
                "held": self.held, "words": self.words()}


def try_out(laboratory: Laboratory, prescription: Prescription, tell: Callable[[str], None]) -> Trial:
    """Train both on every fold with three new seeds; every network predicts the test rows."""
    case = laboratory.case
    tell("trying the prescription on the test rows")
    plain = laboratory.variant(f"{AS_IS}, on test rows")
    with_it = replace(plain, name=f"{prescription.title}, on test rows", recipe=prescription.recipe,
                      learning_rate=prescription.learning_rate, hidden=prescription.hidden, epochs=prescription.epochs)
    outcomes = laboratory.train([plain, with_it], _SEEDS, tests=True)
    scorer = case.prepared.scorer(case.prepared.split.test)
    rows = []
    for variant in (plain, with_it):
        tests = outcomes[variant.name].tests
        assert tests is not None
        rows.append(np.stack([scorer.rows(p) for p in tests]))
    strata = scorer.y if scorer.classes else None
    found = paired_difference(rows[0], rows[1], statistic=scorer.errors, strata=strata)
    before, after = (scorer.score(float(np.mean(scorer.errors(r)))) for r in rows)
    return Trial(prescription.title, before, after, found.value, found.low, found.high, found.value >= -found.standard_error)
