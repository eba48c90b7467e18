"""What would help: prescriptions with their gains, and what came of trying them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wellfit.report.artefacts import as_interval, as_list, as_map, as_number, as_text
from wellfit.report.charts.common import BEST, SINGLE, figure, legend
from wellfit.report.charts.intervals import Row, interval_chart
from wellfit.report.diagnosis.artefacts import Diagnosis
from wellfit.report.markup import Section, bullets, esc, p, prose, tag
from wellfit.report.numbers import DASH, signed
from wellfit.report.recipes import part_words, parts, python_snippet, setting_words
from wellfit.report.sections.take import code
from wellfit.report.tables import table

KINDS = {"measured": (BEST, "diamond"), "expected": (SINGLE, "circle")}


def remedies(diagnosis: Diagnosis) -> Section | None:
    """The prescriptions, strongest first as given, and the trial."""
    rows = [row for row in diagnosis.rows("prescriptions") if label(row)]
    blocks = [tried(diagnosis)]
    if rows:
        lead = "Each row is a change to make, with starting strengths."
        if any(Gained.read(row).value is not None for row in rows):
            lead += (" A measured gain is the share of the error it took away in trainings on these data, on rows that were not "
                     "learned from; an expected gain is what a publication reports for other data.")
        blocks += [p(lead, class_="lead" if not blocks[0] else None), chart(rows) or listing(rows), recipe(rows)]
    steps = [as_text(step) for step in as_list(diagnosis.content.get("advice")) if as_text(step)]
    if steps:
        blocks.insert(1, bullets(map(prose, steps), class_="notes"))
    content = "".join(blocks)
    return Section("remedies", "What would help", content, "What helps") if content else None


def tried(diagnosis: Diagnosis) -> str:
    """Whether the prescription held when it was applied."""
    part, metric = diagnosis.part("tried"), diagnosis.metric
    before, after = as_number(part.get("before")), as_number(part.get("after"))
    gain, ends = as_number(part.get("gain")), as_interval(part.get("ci"))
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
    words = as_text(part.get("words")) or "It was tried on the test rows, with the same seeds before and after."
    return p(esc(words), class_="lead") + tag("dl", *cells, class_="numbers")


def label(row: dict[str, Any]) -> str:
    """What a prescription is called."""
    return as_text(row.get("title")).replace("_", " ")


def settings_words(row: dict[str, Any]) -> str:
    """``dropout rate=0.3 · weight_decay timescale=20``, or what of the training changes."""
    found = []
    for name, value in as_map(row.get("settings")).items():
        inner = as_map(value)
        found.append(part_words(name, inner) if inner or isinstance(value, dict) else
                     f"{name.replace('_', ' ')} {setting_words(value)}")
    return " · ".join(found)


@dataclass(frozen=True)
class Gained:
    """A prescription's gain: of the error taken away (a share), or in points of the metric."""

    value: float | None
    ends: tuple[float, float] | None
    how: str
    points: bool

    @classmethod
    def read(cls, row: dict[str, Any]) -> Gained:
        part = as_map(row.get("gain"))
        how = as_text(part.get("how")).lower()
        return cls(as_number(part.get("value")), as_interval(part.get("ci")), how if how in KINDS else "expected",
                   as_text(part.get("unit")) == "points")

    def one(self, value: float) -> str:
        number = value if self.points else 100 * value
        return signed(f"{abs(number):.1f}", number)

    @property
    def shown(self) -> str:
        if self.value is None:
            return DASH
        return self.one(self.value) + ("\u00a0points" if self.points else "%")

    @property
    def span(self) -> str:
        return "" if self.ends is None else f"{self.one(self.ends[0])} to {self.one(self.ends[1])}"


def chart(rows: list[dict[str, Any]]) -> str:
    """The measured gains with their intervals, and all prescriptions as a table that stands open."""
    drawn: list[Row] = []
    for row in rows:
        gain = Gained.read(row)
        if gain.value is None or gain.points:
            continue
        span = None if gain.ends is None else (100 * gain.ends[0], 100 * gain.ends[1])
        drawn.append(Row(label(row), 100 * gain.value, span, gain.how, gain.shown, gain.span, settings_words(row)))
    if not drawn:
        return ""
    kinds = {kind: look for kind, look in KINDS.items() if any(row.kind == kind for row in drawn)}
    words = "; ".join(f"{row.label} {row.shown}" for row in drawn[:12])
    spec = interval_chart(drawn, kinds, description=f"Share of the error that each prescription takes away: {words}.",
                          axis="% of the error taken away, to the right is better", tick="+.0f", reference=0.0,
                          words=("prescription", "gain", "settings"))
    return figure(spec, "Bars are 95% intervals; the dashed line is no gain.", listing(rows),
                  key=legend([(look[1], look[0], kind) for kind, look in kinds.items()]), open_table=True)


def listing(rows: list[dict[str, Any]]) -> str:
    """The prescriptions as a table with their reasons."""
    cells = []
    for row in rows:
        gain = Gained.read(row)
        evidence = as_text(row.get("evidence"))
        why = prose(as_text(row.get("why"))) + (" " + tag("small", esc(evidence)) if evidence else "")
        cells.append([esc(label(row)), esc(settings_words(row)), esc(gain.shown + (f" ({gain.span})" if gain.span else "")),
                      esc(gain.how if gain.value is not None else ""), why])
    return table(["prescription", "start with", "gain", "how known", "why"], cells, safe=range(5), wide=[4],
                 label="What would help")


def recipe(rows: list[dict[str, Any]]) -> str:
    """The first prescription as Python to paste."""
    first = rows[0]
    found = as_map(first.get("recipe"))
    if not parts(found):
        return ""
    return code("The first of them in Python", python_snippet({**found, "learning_rate": first.get("learning_rate")}),
                "prescription-python")
