"""From signals to one main cause, with a confidence: the rule is applied to the signals as they might have been measured again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from wellfit.diagnosis.rules import rules
from wellfit.diagnosis.signals import Signals

_DRAWS = 400


@dataclass(frozen=True)
class Verdict:
    """What is wrong, mainly.

    Attributes:
        cause: one of ``causes.yaml``.
        confidence: share of 400 measurements, drawn anew within their errors, that lead to this cause.
        probabilities: the same for every cause that came up.
        decided_by: name of the signal that decided.
    """

    cause: str
    confidence: float
    probabilities: Mapping[str, float]
    decided_by: str

    @property
    def title(self) -> str:
        return str(rules()["causes"][self.cause]["title"])

    @property
    def words(self) -> str:
        return str(rules()["causes"][self.cause]["words"])


CAUSES = ("fits_well", "underfits_optimisation", "underfits_capacity", "overfits", "too_little_data", "label_noise", "leakage",
          "shift", "over_regularized", "broken_setup")
_DECIDING = {"fits_well": "gap", "underfits_optimisation": "optimisation", "underfits_capacity": "capacity",
             "overfits": "regularized", "too_little_data": "data", "label_noise": "noise", "leakage": "leak", "shift": "shift",
             "over_regularized": "lighter", "broken_setup": "broken"}


def judge(signals: Signals, seed: int = 0) -> Verdict:
    """The cause that most draws of the signals lead to."""
    rng = np.random.default_rng(seed)
    least = least_gains(signals.merit)
    drawn = Counter(decide(signals.draw(rng), least) for _ in range(_DRAWS))
    cause = max(CAUSES, key=lambda c: (drawn[c], -CAUSES.index(c)))
    shares = {c: drawn[c] / _DRAWS for c in CAUSES if drawn[c]}
    return Verdict(cause, shares[cause], shares, _DECIDING[cause])


_GAINS = ("optimisation", "capacity", "lighter", "regularized", "data")


def least_gains(merit: float) -> dict[str, float]:
    """What each signal has to reach; a gain also so many points of the merit that it is worth having.

    >>> least_gains(1.0)["data"], least_gains(0.05)["data"]
    (0.07, 0.3)
    """
    floor = rules()["worth"] / max(merit, 1e-9)
    return {name: max(value, round(floor, 6)) if name in _GAINS else value for name, value in rules()["least"].items()}


def decide(values: Mapping[str, float], least: Mapping[str, float]) -> str:
    """The cause that these values stand for.

    >>> decide({"regularized": 0.2, "data": 0.1, "gap": 0.5}, rules()["least"])
    'overfits'
    """
    def of(name: str) -> float:
        return values.get(name, 0.0)

    def counts(name: str) -> bool:
        return of(name) >= least[name]

    if of("broken") >= 0.5:
        return "broken_setup"
    if counts("leak"):
        return "leakage"
    if counts("shift"):
        return "shift"
    under = {c: of(n) for c, n in (("over_regularized", "lighter"), ("underfits_optimisation", "optimisation"),
                                   ("underfits_capacity", "capacity")) if counts(n)}
    over = of("regularized")
    starved = counts("gap") and counts("data")  # what could be fitted better, and what more rows would bring: the larger counts
    if under and max(under.values()) >= (of("data") if starved else 0.0) and (max(under.values()) >= over or not counts("gap")):
        return "over_regularized" if "over_regularized" in under and of("lighter") >= 0.6 * max(under.values()) else max(
            under, key=lambda c: under[c])
    if counts("noise") and not (counts("gap") and over >= rules()["regularization_for_noise"] * of("noise")):
        return "label_noise"
    if counts("gap"):
        if counts("regularized") and over >= rules()["regularization_for_data"] * of("data"):
            return "overfits"
        if counts("data"):
            return "too_little_data"
        if counts("regularized"):
            return "overfits"
    # wrong labels or classes that the inputs cannot tell apart: whichever it is, such a network does not fit well
    return "label_noise" if counts("lost") else "fits_well"
