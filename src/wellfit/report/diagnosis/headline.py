"""The top of the page: what is wrong in large plain words, how sure that is, and the measurement that decided."""

from __future__ import annotations

from wellfit.report.artefacts import as_map, as_number, as_text
from wellfit.report.diagnosis.artefacts import Diagnosis, Measurement, percent
from wellfit.report.markup import esc, p, prose, tag

BARS = 5
"""Causes shown with their probability at most."""

TASKS = {"binary": "two classes", "multiclass": "several classes"}


def cause_words(cause: str) -> str:
    """A cause as people read it: ``too_little_data`` is "too little data"."""
    return cause.replace("_", " ")


def header(diagnosis: Diagnosis) -> str:
    """The header element."""
    verdict = diagnosis.part("verdict")
    eyebrow = (tag("span", "wellfit diagnosis", class_="brand") + " "
               + tag("bdi", esc(diagnosis.dataset), class_="subject"))
    title = as_text(verdict.get("title")) or cause_words(diagnosis.cause).capitalize() or "There is no verdict yet."
    because = as_text(verdict.get("because"))
    return tag("header", p(eyebrow, class_="eyebrow"), tag("h1", esc(title), class_="verdict"),
               p(esc(because), class_="lede") if because else "", probabilities(diagnosis), deciding(diagnosis.decided),
               p(esc(scale_words(diagnosis)), class_="about") if scale_words(diagnosis) else "", id="top")


def probabilities(diagnosis: Diagnosis) -> str:
    """The causes with their probabilities as bars, the named one first."""
    verdict = diagnosis.part("verdict")
    sure = as_number(verdict.get("confidence"))
    given = {name: value for name, v in as_map(verdict.get("probabilities")).items() if (value := as_number(v)) is not None}
    if sure is not None and diagnosis.cause and diagnosis.cause not in given:
        given[diagnosis.cause] = sure
    if not given:
        return ""
    ranked = sorted(given.items(), key=lambda item: (item[0] != diagnosis.cause, -item[1]))[:BARS]
    rows = [tag("li", tag("span", esc(cause_words(name)), class_="cause"),
                tag("span", tag("span", style=f"width:{100 * min(1.0, max(0.0, value)):.1f}%"), class_="bar", aria_hidden="true"),
                tag("span", esc(percent(value)), class_="share"), class_="main" if name == diagnosis.cause else None)
            for name, value in ranked if name == diagnosis.cause or value >= 0.005]
    return tag("ul", *rows, class_="causes", aria_label="How likely each cause is")


def deciding(found: Measurement | None) -> str:
    """The measurement that the verdict rests on, large."""
    if found is None:
        return ""
    if found.value is None:
        return p(prose(found.words), class_="finding")
    value, _, unit = found.shown.partition("\u00a0")
    below = f"95% interval {found.span}" if found.span else "no interval"
    number = tag("div", tag("dt", esc(f"What decided: {found.title}")),
                 tag("dd", tag("span", esc(value), class_="value"), tag("span", " " + esc(unit), class_="unit") if unit else "",
                     span_svg(found.value, found.ends), tag("span", esc(below), class_="below")),
                 class_=f"decided {found.level}".strip())
    words = tag("div", p(prose(found.words), class_="finding"), class_="said") if found.words else ""
    return tag("div", tag("dl", number, class_="numbers one"), words, class_="deciding")


def span_svg(value: float | None, ends: tuple[float, float] | None) -> str:
    """An interval against zero as a small static picture."""
    if value is None or ends is None:
        return ""
    low, high = min(ends[0], value, 0.0), max(ends[1], value, 0.0)
    size = (high - low) or 1.0

    def at(x: float) -> str:
        return f"{8 + 144 * (x - low) / size:.1f}"

    zero, first, last, dot = at(0.0), at(ends[0]), at(ends[1]), at(value)
    return ('<svg class="spark" viewBox="0 0 160 22" width="160" height="22" aria-hidden="true" focusable="false">'
            f'<line x1="{zero}" x2="{zero}" y1="1" y2="21" class="zero"/>'
            f'<line x1="{first}" x2="{last}" y1="11" y2="11" class="bar"/>'
            f'<circle cx="{dot}" cy="11" r="4.5" class="dot"/></svg>')


def scale_words(diagnosis: Diagnosis) -> str:
    """What the numbers are on."""
    metric, task = diagnosis.metric, as_text(diagnosis.content.get("task"))
    words = [f"Scores are {metric.name}; {metric.direction}." if diagnosis.content.get("metric") else "",
             f"Task: {TASKS.get(task, cause_words(task))}." if task else ""]
    return " ".join(w for w in words if w)
