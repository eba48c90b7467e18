"""From a run directory to its report."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from wellfit.report import diagnosis
from wellfit.report.artefacts import RUN_FILES, Run, as_text, read_run
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
    """Write ``report.html`` into the directory of a run or of a diagnosis, and return its path.

    A directory with ``diagnosis.json`` and no run holds a diagnosis. A diagnosis made inside a run directory has its own page,
    ``diagnosis.html``, because the run's report stays.

    The file is complete in itself: no network access, no other files. It is built in memory and then put in place in
    one step, so a report that cannot be built leaves the old one as it was.

    Gains and effects in the artefacts are read as improvements: positive is better, whatever the metric's direction.

    Raises:
        WellfitError: the directory is neither, or it has no readable ``summary.json`` or ``diagnosis.json`` yet.
    """
    path = Path(run_dir)
    if (path / diagnosis.FILE).exists() and not any((path / name).exists() for name in RUN_FILES):
        return _put(path / "report.html", diagnosis.render(diagnosis.read_diagnosis(path)))
    run = read_run(path)
    return _put(run.path / "report.html", render(run))


def write_diagnosis(folder: Path) -> Path:
    """Write the page of ``diagnosis.json`` beside it and return its path.

    It is called ``report.html``, or ``diagnosis.html`` in a run directory.

    Raises:
        WellfitError: there is no readable ``diagnosis.json``.
    """
    path = Path(folder)
    name = "diagnosis.html" if any((path / file).exists() for file in RUN_FILES) else "report.html"
    return _put(path / name, diagnosis.render(diagnosis.read_diagnosis(path)))


def _put(target: Path, page: str) -> Path:
    """Put a page in place in one step."""
    # A lone surrogate, which a JSON file may hold, has no UTF-8 form: it becomes a question mark.
    content = page.encode("utf-8", errors="replace")
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return target
