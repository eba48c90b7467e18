"""From a run directory to its report."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from wellfit.report.artefacts import Run, as_text, read_run
from wellfit.report.markup import Section
from wellfit.report.numbers import metric_of
from wellfit.report.page import page
from wellfit.report.scores import Scores
from wellfit.report.sections.exploration import boundary, response, search
from wellfit.report.sections.fit import overfitting, weights
from wellfit.report.sections.headline import header
from wellfit.report.sections.honesty import honesty, missing_words, provenance
from wellfit.report.sections.methods import attribution, methods
from wellfit.report.sections.take import take

SECTIONS: tuple[Callable[[Run, Scores], Section | None], ...] = (
    overfitting, methods, attribution, response, weights, boundary, search, take, honesty, provenance)
"""In reading order; a section that has nothing to show returns None."""


def render(run: Run) -> str:
    """The report of a run as one HTML document."""
    scores = Scores.read(run.summary, metric_of(run.summary))
    sections = [section for build in SECTIONS if (section := build(run, scores)) is not None]
    dataset = as_text(run.summary.get("dataset")) or run.path.name
    return page(f"{dataset}: wellfit report", header(run, scores), sections,
                missing_words({section.id for section in sections}))


def write_report(run_dir: Path) -> Path:
    """Write ``report.html`` into a run directory and return its path.

    The file is complete in itself: no network access, no other files. It is built in memory and then put in place in
    one step, so a report that cannot be built leaves the old one as it was.

    Gains and effects in the artefacts are read as improvements: positive is better, whatever the metric's direction.

    Raises:
        WellfitError: the directory is not a run, or it has no readable ``summary.json`` yet.
    """
    run = read_run(Path(run_dir))
    # A lone surrogate, which a JSON file may hold, has no UTF-8 form: it becomes a question mark.
    content = render(run).encode("utf-8", errors="replace")
    target = run.path / "report.html"
    temporary = run.path / f".report.html.{os.getpid()}.tmp"
    try:
        temporary.write_bytes(content)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return target
