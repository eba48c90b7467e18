"""From the parts of a diagnosis to its page."""

from __future__ import annotations

from collections.abc import Callable

from wellfit.report.diagnosis.artefacts import Diagnosis
from wellfit.report.diagnosis.data import label_noise, leaks, shift
from wellfit.report.diagnosis.headline import header
from wellfit.report.diagnosis.measures import considered, measurements
from wellfit.report.diagnosis.network import bias_variance, calibration, capacity, landscape, learning_rates
from wellfit.report.diagnosis.origin import provenance
from wellfit.report.diagnosis.remedies import remedies
from wellfit.report.diagnosis.training import curves, learning_curve
from wellfit.report.markup import Section
from wellfit.report.page import page

EVIDENCE: dict[str, Callable[[Diagnosis], Section | None]] = {
    "curves": curves, "learning_curve": learning_curve, "bias_variance": bias_variance, "capacity": capacity,
    "label_noise": label_noise, "leaks": leaks, "shift": shift, "learning_rates": learning_rates,
    "calibration": calibration, "landscape": landscape}
"""Sections of evidence in the order they have when no cause asks for another; each returns None when it has nothing to show."""

FIRST = (("over-regularized", ("curves", "capacity", "learning_rates")), ("overfit", ("curves", "bias_variance", "capacity")),
         ("underfit", ("curves", "learning_rates", "capacity")), ("little data", ("learning_curve", "bias_variance")),
         ("noise", ("label_noise",)), ("leak", ("leaks",)), ("shift", ("shift",)),
         ("broken", ("curves", "learning_rates")), ("fits well", ("curves", "learning_curve")))
"""Which evidence comes first, by a word of the cause."""


def order(cause: str) -> list[str]:
    """The evidence sections by weight for a cause.

    >>> order("label_noise")[:2], order("too little data")[0]
    (['label_noise', 'curves'], 'learning_curve')
    """
    words = cause.lower().replace("_", " ").replace("over regularized", "over-regularized")
    first = next((names for word, names in FIRST if word in words), ())
    return [*first, *(name for name in EVIDENCE if name not in first)]


def render(diagnosis: Diagnosis) -> str:
    """The report of a diagnosis as one HTML document."""
    builders = [remedies, *(EVIDENCE[name] for name in order(diagnosis.cause)), measurements, considered, provenance]
    sections = [section for build in builders if (section := build(diagnosis)) is not None]
    return page(f"{diagnosis.dataset}: wellfit diagnosis", header(diagnosis), sections, "")
