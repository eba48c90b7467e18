"""What each method bought, and what each part of the chosen recipe is worth."""

from __future__ import annotations

from wellfit.report.artefacts import Run, as_interval, as_list, as_map, as_number, as_text
from wellfit.report.charts.common import BASELINE, BEST, MUTED, NONE, SINGLE, figure, legend
from wellfit.report.charts.intervals import Row, interval_chart, outliers
from wellfit.report.markup import Section, esc, listed, p, tag
from wellfit.report.numbers import Metric, plain
from wellfit.report.recipes import recipe_words
from wellfit.report.scores import Gain, Score, Scores
from wellfit.report.tables import table

KINDS = {"none": (NONE, "circle"), "single": (SINGLE, "circle"), "best": (BEST, "diamond"),
         "simplest": (BEST, "triangle-up"), "ensemble": (BEST, "square"), "baseline": (BASELINE, "cross")}
KIND_WORDS = {"none": "no regularization", "single": "one method alone", "best": "best recipe",
              "simplest": "simplest within one standard error", "ensemble": "ensemble", "baseline": "baseline"}

READING = 20
"""A table of at most this many rows stands open below its chart."""

Entry = tuple[str, str, Score, Gain, str]  # label, kind, score, gain, remark


def _entries(run: Run, scores: Scores) -> list[Entry]:
    """Every method with a test score, in reading order."""
    summary, metric, base = run.summary, scores.metric, scores.unregularized
    rows: list[Entry] = [("none", "none", base, Gain(None), "")]
    singles = [(name.replace("_", " "), "single", score, gain, "alone") for name, (score, gain) in
               scores.singles.items() if score.test is not None]
    rows += sorted(singles, key=lambda row: -metric.better(row[2].test or 0.0, 0.0))
    best = as_map(summary.get("best"))
    rows.append(("best recipe", "best", scores.best, scores.gain, recipe_words(best.get("recipe")) if best else ""))
    for key, label, kind in (("simplest_within_one_se", "simplest within 1 SE", "simplest"),
                             ("ensemble", "ensemble", "ensemble")):
        part = as_map(summary.get(key))
        score = Score.read(part)
        members = as_number(part.get("members"))
        remark = recipe_words(part.get("recipe")) if "recipe" in part else ""
        name = f"{label} of {members:g}" if members else label
        rows.append((name, kind, score, Gain.read(part.get("gain"), score, base, metric), remark))
    for name, value in as_map(summary.get("baselines")).items():
        score = Score.read(value)
        rows.append((name.replace("_", " "), "baseline", score, Gain.read(None, score, base, metric), "baseline"))
    return [row for row in rows if row[2].test is not None]


def _untested(scores: Scores) -> list[Entry]:
    """Single methods that were compared on validation rows alone, the best first."""
    rows: list[Entry] = [(name.replace("_", " "), "single", score, gain, "alone") for name, (score, gain) in scores.singles.items()
                         if score.test is None and score.validation is not None]
    return sorted(rows, key=lambda row: -scores.metric.better(row[2].validation or 0.0, 0.0))


def methods(run: Run, scores: Scores) -> Section | None:
    """None, each single, combined, simplest, ensemble and baselines on one scale."""
    metric = scores.metric
    entries = _entries(run, scores)
    if not entries:
        return None
    if len(entries) == 1:
        label, _, score, _, _ = entries[0]
        return Section("methods", "What each method bought", p(esc(
            f"Only one network was tested ({label}): {metric.score(score.test)}. The run stopped before any method "
            "could be compared with it.")), "Methods")
    rows = [Row(label, test, score.ends, kind, metric.score(test), metric.interval(score.ends) if score.ends else "",
                remark) for label, kind, score, _, remark in entries if (test := score.test) is not None]
    far = outliers(rows, {"none", "best", "single", "simplest"})
    drawn = [row for i, row in enumerate(rows) if i not in far]
    present = {row.kind for row in drawn}
    kinds = {kind: look for kind, look in KINDS.items() if kind in present}
    caption = "Bars are 95% intervals of the test score; the dashed line is the unregularized network."
    if far:
        caption += " Too far off to draw: " + listed(f"{rows[i].label} ({rows[i].shown})" for i in sorted(far)) + "."
    if scores.unregularized.test is None:
        caption = "Bars are 95% intervals of the test score."
    words = "; ".join(f"{r.label} {r.shown}" for r in rows[:12])
    spec = interval_chart(drawn, kinds, description=f"Test {metric.name} of each method with 95% intervals: {words}.",
                          axis=f"test {metric.short}, {metric.direction}", tick=metric.tick,
                          reference=scores.unregularized.test, words=("method", f"test {metric.short}", "what it is"))
    untested = _untested(scores)
    numbers = _table([*entries, *untested], metric)
    key = legend([(look[1], look[0], KIND_WORDS[kind]) for kind, look in kinds.items()])
    chart = figure(spec, caption, numbers, key=key, open_table=len(rows) + len(untested) <= READING)
    lead = p(esc(_lead(entries, untested, scores)), class_="lead")
    return Section("methods", "What each method bought", lead + chart, "Methods")


def _lead(entries: list[Entry], untested: list[Entry], scores: Scores) -> str:
    """The comparison in words."""
    metric = scores.metric
    singles = [e for e in entries if e[1] == "single"]
    sentences = []
    if singles:
        label, _, score, gain, _ = singles[0]
        sentences.append(f"The best single method on the test rows is {label}: {metric.score(score.test)}"
                         + (f" ({metric.gain(gain.value)})." if gain.value is not None else "."))
        helped = sum(e[3].settled > 0 for e in singles)
        if any(e[3].ends for e in singles):
            sentences.append(f"{helped} of {len(singles)} methods alone have a gain whose interval excludes zero.")
        if scores.best.test is not None and score.test is not None:
            more = metric.better(scores.best.test, score.test)
            sentences.append(f"The combined recipe scores {metric.score(scores.best.test)}, "
                             f"{metric.size(more)} {'more' if metric.higher_is_better else 'less'} than that."
                             if more > 0 else f"The combined recipe scores {metric.score(scores.best.test)}.")
        sentences.append("The order is for reading only: every choice was made on validation rows.")
    if untested:
        label, _, score, _, _ = untested[0]
        found = f"{label} did best with {metric.score(score.validation)}"
        if scores.unregularized.validation is not None:
            found += f", no regularization {metric.score(scores.unregularized.validation)}"
        sentences.append(f"{len(untested)} {'more were' if singles else 'single methods were'} compared on validation rows alone, "
                         f"where {found}: there was no time to train them again for the test rows.")
    return " ".join(sentences) or "The run stopped before any single method was tested."


def _table(entries: list[Entry], metric: Metric) -> str:
    rows = [[label, metric.score(score.validation), metric.score(score.test), metric.interval(score.ends),
             metric.gain(gain.value), metric.gain_interval(gain.ends, unit=False)]
            for label, _, score, gain, _ in entries]
    return table(["method", "validation", "test", "95% interval", "gain", "95% interval of the gain"], rows,
                 numeric=[1, 2, 3, 4, 5], label="Scores of each method",
                 marked=[i for i, e in enumerate(entries) if e[1] == "best"])


EFFECTS = {"keep": (BEST, "diamond"), "drop": (MUTED, "circle"), "open": (SINGLE, "square")}
VERDICTS = {True: "keep", False: "drop"}


def attribution_words(settled: list[int], dropped: int) -> str:
    """The attribution in words, from the sign that each part's interval settles (0 for none)."""
    helps, harms, rest = settled.count(1), settled.count(-1), settled.count(0)
    parts = "part" if len(settled) == 1 else "parts"
    words = f"For {helps} of {len(settled)} {parts} the interval shows a benefit"
    words += f", for {harms} it shows harm" if harms else ""
    words += "; for the rest these rows cannot tell." if rest else "."
    return ("Each part of the best recipe was left out in turn, all else unchanged. " + words
            + (f" {dropped} can be dropped." if dropped else ""))


def effect_words(effect: float, ends: tuple[float, float] | None, keep: object, metric: Metric) -> str:
    """What leaving a part out does, and whether to keep it."""
    settled = Gain(effect, ends).settled
    if settled > 0:
        reason = f"leaving it out costs {metric.size(effect)}"
    elif settled < 0:
        reason = f"leaving it out wins {metric.size(effect)}"
    elif ends is None:
        reason = f"leaving it out {'costs' if effect > 0 else 'wins'} {metric.size(effect)}, no interval known"
    elif keep is False:
        reason = "no measurable benefit, the interval includes zero"
    else:
        reason = "it may help, but the interval includes zero"
    return f"{verdict_of(keep).capitalize()}: {reason}"


def verdict_of(keep: object) -> str:
    """``keep``, ``drop``, or ``open`` when the run does not say."""
    return VERDICTS[keep] if isinstance(keep, bool) else "open"


def attribution(run: Run, scores: Scores) -> Section | None:
    """Each part of the best recipe left out in turn."""
    metric = scores.metric
    rows, cells = [], []
    entries = [e for e in map(as_map, as_list(run.summary.get("attribution")))
               if as_number(e.get("effect")) is not None]
    entries.sort(key=lambda e: -(as_number(e.get("effect")) or 0.0))
    for entry in entries:
        effect, ends = as_number(entry.get("effect")), as_interval(entry.get("ci"))
        if effect is None:
            continue
        name = as_text(entry.get("regularizer")).replace("_", " ") or "unnamed"
        value = "" if entry.get("value") is None else plain(entry["value"])
        words = effect_words(effect, ends, entry.get("keep"), metric)
        plotted = metric.plotted(effect)
        if plotted is None:
            continue
        scaled = None if ends is None else ((metric.plotted(ends[0]) or 0.0), (metric.plotted(ends[1]) or 0.0))
        rows.append(Row(name, plotted, scaled, verdict_of(entry.get("keep")),
                        metric.gain(effect, unit=False), metric.gain_interval(ends) if ends else "", value))
        part = esc(name) + (" " + tag("small", esc(value)) if value else "")
        cells.append([part, metric.gain(effect), metric.gain_interval(ends, unit=False), words])
    if not rows:
        return None
    lead = attribution_words([Gain(row.value, row.ends).settled for row in rows],
                             sum(row.kind == "drop" for row in rows))
    unit = " in points" if metric.is_share else ""
    spec = interval_chart(rows, {k: v for k, v in EFFECTS.items() if any(r.kind == k for r in rows)},
                          description=f"Effect of each part of the recipe on test {metric.name}: "
                          + "; ".join(f"{r.label} {r.shown}" for r in rows[:12]) + ".",
                          axis=f"what the part is worth{unit}, positive is better", tick=metric.tick_gain,
                          reference=0.0, words=("part", "effect", "value"))
    key = legend([(look[1], look[0], kind) for kind, look in EFFECTS.items() if any(r.kind == kind for r in rows)])
    numbers = table(["part", "effect", "95% interval", "verdict"], cells, numeric=[1, 2], wide=[3], safe=[0],
                    label="Effect of each part of the recipe")
    chart = figure(spec, "Bars are 95% intervals; the dashed line is no effect.", numbers, key=key,
                   open_table=len(rows) <= READING)
    return Section("attribution", "What each part of the recipe is worth", p(esc(lead), class_="lead") + chart,
                   "Attribution")

