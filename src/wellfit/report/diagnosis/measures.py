"""Every measurement in one table, and what else the verdict could have been."""

from __future__ import annotations

from wellfit.report.artefacts import as_list, as_map, as_number, as_text
from wellfit.report.diagnosis.artefacts import LEVELS, Diagnosis, percent
from wellfit.report.diagnosis.headline import cause_words, span_svg
from wellfit.report.markup import Section, bullets, esc, p, prose, tag
from wellfit.report.tables import table


def level_word(level: str) -> str:
    """A level as a word with its colour."""
    return tag("span", esc(level), class_=f"level {level}") if level else ""


def measurements(diagnosis: Diagnosis) -> Section | None:
    """All that was measured, what matters most first."""
    found = sorted(diagnosis.measurements, key=lambda m: (not m.decided, LEVELS.index(m.level) if m.level else len(LEVELS)))
    if not found:
        return None
    rows = []
    for m in found:
        span = tag("small", esc(m.span)) if m.span else ""
        name = esc(m.title) + (" " + tag("small", "what decided") if m.decided else "")
        rows.append([name, level_word(m.level), esc(m.shown) + (" " + span if span else ""), span_svg(m.value, m.ends),
                     prose(m.words)])
    lead = p("Every measurement with its 95% interval, in its own scale; the dashed line in each small picture is zero.",
             class_="lead")
    marked = [i for i, m in enumerate(found) if m.decided]
    return Section("measurements", "All measurements", lead + table(
        ["measurement", "", "value", "interval", "in words"], rows, safe=range(5), wide=[4], marked=marked,
        label="All measurements", class_="measurements"), "Measurements")


def considered(diagnosis: Diagnosis) -> Section | None:
    """The other causes, with why they were set aside."""
    items = []
    for other in map(as_map, as_list(diagnosis.part("verdict").get("others"))):
        name, because = cause_words(as_text(other.get("cause"))), as_text(other.get("because"))
        score = as_number(other.get("score"))
        if name:
            weight = "" if score is None else f" ({percent(score)})" if 0 <= score <= 1 else f" (score {score:.3g})"
            items.append(tag("b", esc(name)) + esc(weight) + (": " + esc(because) if because else ""))
    if not items:
        return None
    return Section("considered", "What else it could be", p("Causes that were considered and found less likely.",
                                                            class_="lead") + bullets(items, class_="notes"), "Other causes")
