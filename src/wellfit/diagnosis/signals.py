"""The few numbers a verdict rests on, each with its standard error, taken from all that was measured.

Gains are shares of the set-up's own merit on rows it did not learn from (see ``contributions``): 0.2 says that the change takes
a fifth of the error away. What a change does to the training rows tells how it works: a better learning rate, a larger network
or less regularization fit them better; a remedy for overfitting does not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from wellfit.diagnosis.contributions import Gain
from wellfit.diagnosis.laboratory import Variant
from wellfit.diagnosis.rules import rules
from wellfit.diagnosis.study import Study

#: sd of gains that were not measured: what is not known must not look certain. Their mean is the usual gain (causes.yaml).
_UNMEASURED = {"data": 0.06, "optimisation": 0.04, "capacity": 0.04, "regularized": 0.05}
_SPREAD = 0.1        # of gains around the usual one
_FITS_BETTER = 0.03  # of the merit: what the training rows have to gain before a change counts as one against underfitting


@dataclass(frozen=True)
class Signal:
    """One number of a verdict.

    Attributes:
        value, error: with its standard error.
        by: the variant, or the measurement, that it comes from.
    """

    value: float
    error: float = 0.0
    by: str = ""

    def to_mapping(self) -> dict[str, float | str]:
        return {"value": self.value, "error": self.error, "by": self.by}


@dataclass
class Signals:
    """By name; what was not measured is not there.

    Names: ``broken`` (0 or 1), ``leak``, ``shift``, ``noise``, ``lost`` (shares), ``optimisation``, ``capacity``, ``lighter``,
    ``regularized``, ``data`` (gains), ``gap`` (validation less training, as a share of validation). ``merit`` is
    that of the set-up, of which gains are shares; ``usual`` what gains are before they are measured.
    """

    found: dict[str, Signal] = field(default_factory=dict)
    merit: float = 1.0
    usual: dict[str, float] = field(default_factory=dict)

    def put(self, name: str, signal: Signal | None) -> None:
        """Keep a signal; of two of one name the stronger."""
        if signal is not None and (name not in self.found or signal.value > self.found[name].value):
            self.found[name] = signal

    def draw(self, rng: np.random.Generator) -> dict[str, float]:
        """Every signal as it might have been measured another time; those that were not, as they usually are."""
        unmeasured = {n: (self.usual.get(n, 0.0), sd) for n, sd in _UNMEASURED.items()}
        known = {n: (s.value, s.error) for n, s in self.found.items()}
        return {n: value + error * float(rng.standard_normal()) for n, (value, error) in {**unmeasured, **known}.items()}


def change_of_fit(study: Study, variant: Variant) -> float:
    """How much better the training rows are fitted, as a share of the merit on the others."""
    outcome = study.outcome(variant)
    laboratory = study.laboratory
    if outcome is None or not outcome.finite:
        return -np.inf
    before, after = (laboratory.on_training.merit(o.learned) for o in (study.base, outcome))
    return (before - after) / max(laboratory.contributions.merit(study.base.judged), 1e-12)


def training_signals(study: Study) -> Signals:
    """What the trained variants say."""
    signals = Signals()
    if not study.base.finite:
        tamed = [v for f, v in study.rates.items() if f < 1 and (o := study.outcome(v)) is not None and o.finite]
        signals.put("optimisation" if tamed else "broken", Signal(1.0, 0.0, tamed[0].name if tamed else "outputs not finite"))
        return signals
    signals.merit = study.laboratory.contributions.merit(study.base.judged)
    signals.put("gap", _gap(study))
    signals.usual = usual_gains(signals.found["gap"].value, study.facts.get("inputs_per_row", 0.0))
    narrower: list[Variant] = []
    wider: list[Variant] = []
    for hidden, variant in study.widths.items():
        (narrower if sum(hidden) < sum(study.laboratory.case.settings.hidden) else wider).append(variant)
    steps = [*study.rates.values(), *study.lengths.values()]
    signals.put("optimisation", _best(study, steps, fits_better=True))
    signals.put("capacity", _best(study, [*wider, *study.larger], fits_better=True))
    signals.put("lighter", _best(study, study.lighter, fits_better=None))
    remedied = [v for _, v in study.remedied.values()]
    prescribed = _best(study, remedied, fits_better=False, usual=signals.usual["regularized"])
    otherwise = _best(study, [*narrower, *study.rates.values()], fits_better=False)
    signals.put("regularized", _stronger(prescribed, otherwise))
    return signals


def _gap(study: Study) -> Signal:
    shares = study.gaps()
    return Signal(float(np.mean(shares)), float(np.std(shares) / len(shares) ** 0.5), "training rows against others")


def _stronger(first: Signal | None, second: Signal | None) -> Signal | None:
    """The first, unless the second is clearly more."""
    if first is None or second is None:
        return first or second
    return first if first.value - first.error >= 0.7 * (second.value - second.error) else second


def usual_gains(gap: float, inputs_per_row: float) -> dict[str, float]:
    """What twice the data and regularization usually gain where the gap is this large; regularization more where inputs are many.

    >>> usual_gains(1.0, 0.01)["regularized"] < usual_gains(1.0, 100.0)["regularized"]
    True
    """
    usual = rules()["usual"]
    name = "regularized_many_inputs" if inputs_per_row >= rules()["many_inputs"] else "regularized"
    return {"data": usual["data"] * max(gap, 0.0), "regularized": usual[name] * max(gap, 0.0)}


def _best(study: Study, variants: Iterable[Variant], fits_better: bool | None, usual: float = 0.0) -> Signal | None:
    """The largest gain among variants that fit the training rows better (or no better), as far as it is not luck."""
    found: list[tuple[float, Gain, Variant]] = []
    measured = False
    for variant in variants:
        gain = study.gain(variant)
        if gain is None:
            continue
        measured = True
        if not np.isfinite(gain.value):
            continue
        if fits_better is not None and (change_of_fit(study, variant) > _FITS_BETTER) != fits_better:
            continue
        outcome = study.outcome(variant)
        assert outcome is not None
        # what was trained once may have been lucky: it has to show one standard error more
        sure = gain.value - (gain.error if len(outcome.seeds) == 1 else 0.0)
        found.append((sure, gain, variant))
    if not measured:
        return None
    if not found:
        return Signal(0.0, 0.0, "")
    _, gain, variant = max(found, key=lambda f: f[0])
    return towards(usual, gain.value, gain.error, variant.name)  # the best of several is flattered


def towards(usual: float, gain: float, error: float, by: str) -> Signal:
    """A measured gain, drawn towards what is usual as far as its error allows for luck: the posterior of two normal laws.

    >>> towards(0.1, 0.3, 0.0, "dropout").value, round(towards(0.1, 0.3, 0.1, "dropout").value, 3)
    (0.3, 0.2)
    """
    trust = _SPREAD**2 / (_SPREAD**2 + error**2)
    return Signal(trust * gain + (1 - trust) * usual, trust**0.5 * error, by)
