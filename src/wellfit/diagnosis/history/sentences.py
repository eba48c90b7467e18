"""The verdict in sentences: what it rests on, and what to do."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wellfit.diagnosis.history.verdict import HistoryVerdict

TITLES = {"fits well": "Fits well", "underfits": "Underfits", "overfits": "Overfits", "over-regularized": "Over-regularized",
          "broken set-up": "The set-up is broken", "cannot tell": "The curves cannot tell"}


def title(cause: str, detail: str) -> str:
    """``Underfits: train longer``."""
    return f"{TITLES.get(cause, cause.capitalize())}: {detail}" if detail else TITLES.get(cause, cause.capitalize())


def shown(value: float) -> str:
    """Three significant digits.

    >>> shown(0.123456), shown(12.0), shown(0.0)
    ('0.123', '12', '0')
    """
    return f"{value:.3g}"


def span(low: float, high: float) -> str:
    """``12 to 19``, or one number where both are the same."""
    return shown(low) if shown(low) == shown(high) else f"{shown(low)} to {shown(high)}"


def evidence(verdict: HistoryVerdict, hidden: bool) -> tuple[str, ...]:
    """Sentences with the numbers behind a verdict, the deciding one first."""
    curves, shape = verdict.curves, verdict.shape
    assert curves is not None and shape is not None
    f, when, numbers, unit = shape.features, verdict.when, verdict.numbers, verdict.history.unit
    what, worse = f"validation {curves.name}", "falls" if curves.higher_is_better else "rises"
    rises = numbers["lost_low"] > 0 and f["rise"] > 0.01
    about, lost = span(when["best_low"], when["best_high"]), span(numbers["lost_low"], numbers["lost_high"])
    early = f.get("early_train", f["early_validation"])
    sentences = {
        "rise": (f"The {what} is best at {unit} {shown(when['best'])} (95% interval {about}) and then {worse} from "
                 f"{shown(numbers['best_value'])} to {shown(numbers['last_value'])}: {shown(numbers['lost'])} is lost (95% "
                 f"interval {lost})."),
        "no rise": (f"The {what} is best at {unit} {shown(when['best'])} of {shown(when['last'])} and does not get worse after it "
                    "by more than its noise."),
        "gap": _gap(verdict), "late": _late(verdict),
        "early": f"{max(0.0, early):.0%} of the fall of the {curves.name} is over after a tenth of the training.",
        "noise": f"From one {unit} to the next the {what} jumps by about {shown(numbers['noise'])}.",
        "hidden": (f"The training {curves.name} is worse than validation throughout: it was measured with dropout, augmentation or "
                   "penalties on, or the regularization is too strong. How sure that is has not been calibrated."),
        "jumps": f"The training {curves.name} goes up in {f.get('upward_train', 0):.0%} of the {unit}s."}
    order = {"overfits": ["rise" if rises else "gap", "gap" if rises else "no rise", "late"],
             "fits well": ["no rise" if not rises else "rise", "gap", "late"], "over-regularized": ["late", "gap", "no rise"],
             "underfits": {"train longer": ["late", "gap", "no rise"], "learning rate too low": ["late", "early", "gap"],
                           "learning rate too high": ["jumps" if f.get("upward_train", 0) > 0.3 else "early", "noise", "gap"],
                           "plateau high": ["late", "gap", "early"]}.get(verdict.detail, ["late", "gap"])}[verdict.cause]
    if hidden:
        order = ["hidden", *(k for k in order if k != "gap")]
    return tuple(s for key in order if (s := sentences[key]))


def _gap(verdict: HistoryVerdict) -> str:
    curves, shape, numbers = verdict.curves, verdict.shape, verdict.numbers
    assert curves is not None and shape is not None
    if "gap" not in numbers:
        return "There is no training curve, so the gap is not known."
    ratio = math.exp(abs(shape.features["gap_end"]))
    times = f", {shown(ratio)} times" if curves.kind == "loss" and ratio >= 1.2 else ""
    return (f"At the end training is at {shown(numbers['last_train'])} and validation at {shown(numbers['last_value'])}: "
            f"a gap of {shown(numbers['gap'])}{times}.")


def _late(verdict: HistoryVerdict) -> str:
    curves, shape = verdict.curves, verdict.shape
    assert curves is not None and shape is not None
    late = shape.features["late_validation"]
    change = 1 - math.exp(-late)
    last = "Over the last third of the training the validation"
    if abs(change) < 0.005:
        return f"{last} {curves.name} hardly changes."
    better = f"improves by {change:.1%}" if change > 0 else f"gets worse by {-change:.1%}"
    return f"{last} {curves.name if curves.kind == 'loss' else 'error'} {better}."


def advice(verdict: HistoryVerdict, hidden: bool) -> tuple[str, ...]:
    """What to do, by cause."""
    when, unit = verdict.when, verdict.history.unit
    sure = verdict.confidence
    wellfit_tune = "wellfit tune finds which regularizer wins, and by how much, on the data themselves."
    if verdict.cause == "overfits":
        first = (f"Stop at {unit} {shown(when['best'])} (early stopping with the best weights restored) and add weight decay or "
                 "dropout.")
        return (first, "More training rows or augmentation narrow the gap as well.", wellfit_tune)
    if verdict.cause == "over-regularized":
        extra = ("Measure the training loss in evaluation mode, without penalties, to see the true gap.",) if hidden else ()
        return (*extra, "Halve the strength of the strongest regularizer, and look whether validation improves.")
    if verdict.cause == "underfits":
        return {"train longer": ("Train two to four times as long; validation is still improving.",),
                "learning rate too low": ("Raise the learning rate: try three and ten times as much.",),
                "learning rate too high": ("Lower the learning rate to a third or a tenth, or let it decay.",)}.get(
            verdict.detail, ("Try a wider or deeper network, better inputs, or less regularization: training itself stays high.",))
    close = "" if sure >= 0.6 else " The curves alone do not settle it: wellfit diagnose DATA measures the causes."
    return (f"Keep the weights of {unit} {shown(when['best'])}.{close}",)
