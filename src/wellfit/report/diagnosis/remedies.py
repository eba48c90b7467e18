"""What would help: prescriptions with their gains, and what came of trying them."""

from __future__ import annotations

from typing import Any

from wellfit.report.artefacts import as_interval, as_list, as_map, as_number, as_text
from wellfit.report.charts.common import BEST, SINGLE, figure, legend
from wellfit.report.charts.intervals import Row, interval_chart
from wellfit.report.diagnosis.artefacts import Diagnosis
from wellfit.report.markup import Section, bullets, esc, p, tag
from wellfit.report.numbers import DASH, Metric
from wellfit.report.recipes import python_snippet, setting_words
from wellfit.report.sections.take import code
from wellfit.report.tables import table

KINDS = {"measured": (BEST, "diamond"), "expected": (SINGLE, "circle")}


def remedies(diagnosis: Diagnosis) -> Section | None:
    """The prescriptions, strongest first as given, and the trial."""
    rows = [row for row in diagnosis.rows("prescriptions") if as_text(row.get("regularizer"))]
    blocks = [tried(diagnosis)]
    if rows:
        lead = "Each row is a regularizer with a starting strength."
        if any(gained(row, diagnosis.metric)[0] is not None for row in rows):
            lead += (" A measured gain comes from trainings on these data; an expected gain is what similar cases showed.")
        blocks += [p(lead, class_="lead" if not blocks[0] else None), chart(rows, diagnosis.metric)
                   or listing(rows, diagnosis.metric), recipe(rows)]
    steps = [as_text(step) for step in as_list(diagnosis.content.get("advice")) if as_text(step)]
    if steps:
        blocks.insert(1, bullets(map(esc, steps), class_="notes"))
    content = "".join(blocks)
    return Section("remedies", "What would help", content, "What helps") if content else None


def tried(diagnosis: Diagnosis) -> str:
    """Whether the prescription held when it was applied."""
    part, metric = diagnosis.part("tried"), diagnosis.metric
    before, after = as_number(part.get("before")), as_number(part.get("after"))
    gain, ends, held = as_number(part.get("gain")), as_interval(part.get("ci")), part.get("held")
    if gain is None and before is not None and after is not None:
        gain = metric.better(after, before)
    if gain is None:
        return ""
    figures = [(label, metric.score(value), "") for label, value in (("Before", before), ("With the prescription", after))
               if value is not None]
    number, _, unit = metric.gain(gain).partition("\u00a0")
    settled = "settled" if ends and ends[0] > 0 else "harm" if ends and ends[1] < 0 else "open"
    cells = [tag("div", tag("dt", esc(label)), tag("dd", tag("span", esc(value), class_="value")),
                 class_="none" if label == "Before" else "best") for label, value, _ in figures]
    below = f"95% interval {metric.gain_interval(ends)}" if ends else "no interval"
    cells.append(tag("div", tag("dt", "Gain"), tag("dd", tag("span", esc(number), class_="value"),
                                                  tag("span", " " + esc(unit), class_="unit") if unit else "",
                                                  tag("span", esc(below), class_="below")), class_=f"gain {settled}"))
    said = {True: "It was tried, and it held: on held-out rows, with the same seeds before and after.",
            False: "It was tried, and it did not hold: the expected gain did not come."}
    words = said[held] if isinstance(held, bool) else "It was tried."
    return p(esc(words), class_="lead") + tag("dl", *cells, class_="numbers")


def settings_words(row: dict[str, Any]) -> str:
    """``strength 0.01, rate 0.3``."""
    return ", ".join(f"{key.replace('_', ' ')} {setting_words(value)}" for key, value in as_map(row.get("settings")).items())


def gained(row: dict[str, Any], metric: Metric) -> tuple[float | None, tuple[float, float] | None, str]:
    """Value, interval and how it is known."""
    part = as_map(row.get("gain"))
    value = as_number(part.get("value")) if part else as_number(row.get("gain"))
    how = as_text(part.get("how")).lower()
    return value, as_interval(part.get("ci")), how if how in KINDS else "expected"


def chart(rows: list[dict[str, Any]], metric: Metric) -> str:
    """The gains with their intervals, and the same as a table that stands open."""
    drawn: list[Row] = []
    for row in rows:
        value, ends, how = gained(row, metric)
        if value is None:
            continue
        span = None if ends is None else (metric.plotted(ends[0]) or 0.0, metric.plotted(ends[1]) or 0.0)
        drawn.append(Row(as_text(row.get("regularizer")).replace("_", " "), metric.plotted(value) or 0.0, span, how,
                         metric.gain(value, unit=False), metric.gain_interval(ends, unit=False) if ends else "",
                         settings_words(row)))
    if not drawn:
        return ""
    kinds = {kind: look for kind, look in KINDS.items() if any(row.kind == kind for row in drawn)}
    unit = "points" if metric.is_share else metric.short
    words = "; ".join(f"{row.label} {row.shown}" for row in drawn[:12])
    spec = interval_chart(drawn, kinds, description=f"Gain of each prescription: {words}.",
                          axis=f"gain ({unit}), to the right is better", tick=metric.tick_gain, reference=0.0,
                          words=("regularizer", "gain", "settings"))
    return figure(spec, "Bars are 95% intervals; the dashed line is no gain.", listing(rows, metric),
                  key=legend([(look[1], look[0], kind) for kind, look in kinds.items()]), open_table=True)


def listing(rows: list[dict[str, Any]], metric: Metric) -> str:
    """The prescriptions as a table with their reasons."""
    cells = []
    for row in rows:
        value, ends, how = gained(row, metric)
        gain = DASH if value is None else metric.gain(value) + (f" ({metric.gain_interval(ends, unit=False)})" if ends else "")
        evidence = as_text(row.get("evidence"))
        why = esc(as_text(row.get("why"))) + (" " + tag("small", esc(evidence)) if evidence else "")
        cells.append([esc(as_text(row.get("regularizer")).replace("_", " ")), esc(settings_words(row)),
                      esc(gain), esc(how if value is not None else ""), why])
    return table(["regularizer", "start with", "gain", "how known", "why"], cells, safe=range(5), wide=[4],
                 label="What would help")


def recipe(rows: list[dict[str, Any]]) -> str:
    """The first prescription as Python to paste."""
    first = rows[0]
    part = {"name": as_text(first.get("regularizer")), **as_map(first.get("settings"))}
    rate = as_number(as_map(first.get("settings")).get("learning_rate"))
    if rate is not None:
        part.pop("learning_rate")
    recipe_map: dict[str, Any] = {"format": 1, "regularizers": [part]}
    if rate is not None:
        recipe_map["learning_rate"] = rate
    if not part["name"].replace("_", "").isalnum():
        return ""
    return code("The first of them in Python", python_snippet(recipe_map), "prescription-python")
