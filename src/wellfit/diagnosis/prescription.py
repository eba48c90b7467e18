"""What is prescribed: regularizers with starting strengths, why, and the gain that was measured or is to be expected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wellfit.core.recipe import Recipe
from wellfit.diagnosis.allowance import Allowance
from wellfit.diagnosis.contributions import Gain
from wellfit.diagnosis.laboratory import Variant
from wellfit.diagnosis.measurement import between, percent
from wellfit.diagnosis.remedies import applicable
from wellfit.diagnosis.study import Study
from wellfit.diagnosis.verdict import Verdict

_MOST = 4
_EXTRA = 2          # trainings beyond the budget, to have a measured prescription to try
_UNCLEAR = 0.05     # a gain of at least so much that is less certain is no reason against a rule: with few rows nothing is certain


@dataclass(frozen=True)
class Prescription:
    """One thing to do.

    Attributes:
        title: in a few words.
        recipe, learning_rate, hidden, epochs: the set-up with it; None: as it is.
        added: what it adds or changes, for people.
        gain: measured on this data, or None.
        expected: (gain, low, high) in points of the metric from a publication, where it was not measured here.
        why, evidence: reasons, and where they are shown.
    """

    title: str
    recipe: Recipe
    learning_rate: float
    added: dict[str, Any]
    why: str
    evidence: str
    variant: Variant | None = None
    gain: Gain | None = None
    expected: tuple[float, float, float] | None = None
    hidden: tuple[int, ...] | None = None
    epochs: int | None = None

    @property
    def sure(self) -> bool:
        """Whether it was measured to gain, with an interval above zero: the best of many is flattered."""
        return self.gain is not None and self.gain.low > 0

    def said(self) -> str:
        """The gain in words."""
        if self.gain is not None:
            low, high = self.gain.low, min(self.gain.high, 1.0)
            return f"takes {percent(self.gain.value)} of the error away here ({between(low, high)}, measured)"
        if self.expected is not None:
            value, low, high = self.expected
            return f"{value:+.1f} points are to be expected ({low:+.1f} to {high:+.1f}, published)"
        return "not measured here"

    def to_mapping(self) -> dict[str, Any]:
        gain: dict[str, Any] | None = None
        if self.gain is not None:
            gain = {"value": self.gain.value, "ci": [self.gain.low, self.gain.high], "how": "measured", "unit": "share"}
        elif self.expected is not None:
            gain = {"value": self.expected[0], "ci": list(self.expected[1:]), "how": "expected", "unit": "points"}
        return {"title": self.title, "settings": self.added, "recipe": self.recipe.to_mapping(),
                "learning_rate": self.learning_rate, "hidden": list(self.hidden) if self.hidden else None, "epochs": self.epochs,
                "gain": gain, "why": self.why, "evidence": self.evidence}


def _costs(found: Study, variant: Variant | None) -> bool:
    """Whether the metric itself is worse on rows not learned from: the merit also counts the log loss."""
    outcome = found.outcome(variant) if variant is not None else None
    judge = found.laboratory.contributions
    return outcome is not None and outcome.finite and judge.error(outcome.judged) > judge.error(found.base.judged)


def prescribe(found: Study, verdict: Verdict) -> list[Prescription]:
    """What answers the cause, the largest certain gain first; then, in the order of the rules, what was not measured or is unclear.

    A change of the training is prescribed when it was measured to gain. Nothing is prescribed against what regularization cannot
    mend (a leak, a shift, a broken set-up).
    """
    cause = verdict.cause
    if cause in ("leakage", "shift", "broken_setup", "fits_well"):
        return []
    case = found.laboratory.case
    out: list[Prescription] = []
    if cause in ("underfits_optimisation", "underfits_capacity", "over_regularized"):
        changes: list[tuple[Variant, str, dict[str, Any], str]] = []
        changes += [(v, f"learning rate {v.learning_rate:.3g}", {"learning_rate": v.learning_rate},
                     "the step size decides how far training gets in its epochs") for v in found.rates.values()]
        changes += [(v, f"{v.epochs} epochs", {"epochs": v.epochs}, "the training loss was still falling")
                    for v in found.lengths.values()]
        changes += [(v, v.name, {"hidden": list(v.hidden or ())}, "more units can represent more")
                    for v in (*found.widths.values(), *found.larger) if sum(v.hidden or ()) > sum(case.settings.hidden)]
        changes += [(v, v.name, {"recipe": v.recipe.to_mapping()}, "what is held back cannot be fitted") for v in found.lighter]
        for variant, title, added, why in changes:
            gain = found.gain(variant)
            if gain is not None and gain.low > 0:
                out.append(Prescription(title, variant.recipe, variant.learning_rate, added, why, "measured here", variant, gain,
                                        None, variant.hidden, variant.epochs))
    else:
        for rule in applicable(case, found.facts, [cause, "overfits"]):
            tried = found.remedied[rule.id][1] if rule.id in found.remedied else None
            gain = found.gain(tried) if tried is not None else None
            if gain is not None and ((gain.low <= 0 and gain.value < _UNCLEAR) or _costs(found, tried)):
                continue  # it was tried, and gains nothing here
            out.append(Prescription(rule.id.replace("-", " "), rule.recipe(case.recipe), case.learning_rate * rule.learning_rate,
                                    {n: dict(s) for n, s in rule.parts.items()}, rule.why, rule.evidence, tried, gain,
                                    rule.expected if gain is None and case.prepared.classes else None))
    sure = [p for p in out if p.sure]
    return [*sorted(sure, key=_least_gain), *(p for p in out if p not in sure)][:_MOST]


def measured_first(found: Study, verdict: Verdict, allowance: Allowance, *, sure: bool) -> list[Prescription]:
    """Prescriptions of which the first has been measured, as far as the allowance pays for that; if it is to be tried (``sure``),
    up to two at its expense.

    What a publication expects may cost on the data at hand, and then it is not prescribed.
    """
    out = prescribe(found, verdict)
    extra = 0
    while out and out[0].gain is None and (first := out[0].variant) is not None:
        if not allowance.first([first]) and not (sure and extra < _EXTRA):
            break
        found.train([first])
        out, extra = prescribe(found, verdict), extra + 1
    return out


def _least_gain(prescription: Prescription) -> float:
    gain = prescription.gain
    return 0.0 if gain is None else gain.error - gain.value
