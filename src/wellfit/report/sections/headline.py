"""The top of the page: the verdict in words and the three numbers that matter."""

from __future__ import annotations

from wellfit.report.artefacts import Run, as_list, as_map, as_number, as_text
from wellfit.report.markup import esc, p, tag
from wellfit.report.numbers import count
from wellfit.report.recipes import parts, setting_words
from wellfit.report.scores import Gain, Score, Scores, network_words

VERDICTS = {"overfits": "Left alone, this network overfits.",
            "underfits": "Left alone, this network underfits.",
            "fits well": "Left alone, this network already fits well."}


def headline_words(run: Run, scores: Scores) -> tuple[str, ...]:
    """The report in one or two short sentences."""
    kind = as_text(as_map(run.summary.get("verdict")).get("kind")).lower()
    first = VERDICTS.get(kind, "")
    metric, gain = scores.metric, scores.gain
    if scores.best.test is None or gain.value is None:
        second = "There is no tested recipe yet."
    elif nothing_chosen(run):
        second = "No recipe showed more than luck, so none is chosen."
    elif gain.settled > 0:
        second = (f"The recipe wins {metric.size(gain.value)}." if metric.is_share else
                  f"The recipe {'raises' if metric.higher_is_better else 'lowers'} "
                  f"{metric.short} by {metric.size(gain.value)}.")
    elif gain.settled < 0:
        second = "The chosen recipe makes it worse."
    else:
        second = "What the recipe buys cannot be told from zero."
    return tuple(s for s in (first, second) if s)


def nothing_chosen(run: Run) -> bool:
    """Whether the search preferred no regularization to every recipe."""
    recipe = as_map(as_map(run.summary.get("best")).get("recipe"))
    return "regularizers" in recipe and not parts(recipe)


def gain_sentence(run: Run, scores: Scores) -> str:
    """Whether the gain's interval excludes zero, in words."""
    metric, gain = scores.metric, scores.gain
    if gain.value is None:
        return "The run has no test score of both the unregularized network and a recipe, so there is no gain to state."
    if nothing_chosen(run):
        return ("On the validation rows no recipe was clearly better than no regularization, so the network stays as it is. "
                "The ensemble below still averages several.")
    rows = as_number(as_map(run.summary.get("n")).get("test"))
    on = f"the {count(rows)} test rows" if rows else "the test rows"
    if gain.ends is None:
        return f"The run states no interval for the gain on {on}, so whether it differs from zero is open."
    span = f"The 95% interval of the gain on {on}, {metric.gain_interval(gain.ends)},"
    if gain.settled > 0:
        return f"{span} excludes zero: on rows that no choice ever saw, the recipe helps."
    if gain.settled < 0:
        return f"{span} lies below zero: on rows that no choice ever saw, the recipe does harm."
    return f"{span} includes zero: this test set cannot tell the gain from chance."


def interval_svg(gain: Gain) -> str:
    """The gain's interval against zero as a small static picture."""
    if gain.value is None or gain.ends is None:
        return ""
    low, high = min(gain.ends[0], 0.0), max(gain.ends[1], 0.0)
    span = (high - low) or 1.0

    def at(value: float) -> str:
        return f"{8 + 144 * (min(max(value, low), high) - low) / span:.1f}"

    zero, x1, x2, dot = at(0.0), at(gain.ends[0]), at(gain.ends[1]), at(gain.value)
    return (f'<svg class="spark" viewBox="0 0 160 22" width="160" height="22" aria-hidden="true" focusable="false">'
            f'<line x1="{zero}" x2="{zero}" y1="1" y2="21" class="zero"/>'
            f'<line x1="{x1}" x2="{x2}" y1="11" y2="11" class="bar"/>'
            f'<circle cx="{dot}" cy="11" r="4.5" class="dot"/></svg>')


def _figure(label: str, value: str, below: str, class_: str, extra: str = "") -> str:
    return tag("div", tag("dt", esc(label)), tag("dd", tag("span", esc(value), class_="value"), extra,
                                                 tag("span", esc(below), class_="below")), class_=class_)


def _score_figure(label: str, score: Score, scores: Scores, class_: str) -> str:
    below = f"95% interval {scores.metric.interval(score.ends)}" if score.ends else "no interval"
    return _figure(label, scores.metric.score(score.test), below if score.test is not None else "not measured", class_)


def three_numbers(scores: Scores) -> str:
    """Unregularized, best and gain as large figures."""
    metric, gain = scores.metric, scores.gain
    settled = {1: "settled", 0: "open", -1: "harm"}[gain.settled]
    value = metric.gain(gain.value, unit=False)
    unit = tag("span", " points", class_="unit") if metric.is_share and gain.value is not None else ""
    below = f"95% interval {metric.gain_interval(gain.ends)}" if gain.ends else "no interval"
    label = "Gain" if metric.higher_is_better else f"Gain (lower {metric.short})"
    return tag("dl", _score_figure("Without regularization", scores.unregularized, scores, "none"),
               _score_figure("With the best recipe", scores.best, scores, "best"),
               _figure(label, value, below, f"gain {settled}", unit + interval_svg(gain)), class_="numbers")


def recipe_chips(recipe: object) -> str:
    """The parts of a recipe as a row of labels."""
    chips = []
    for name, settings in parts(recipe):
        words = ", ".join(setting_words(v) if len(settings) == 1 else f"{k} {setting_words(v)}"
                          for k, v in settings.items())
        chips.append(tag("li", tag("b", esc(name.replace("_", " "))), f" {esc(words)}" if words else ""))
    return tag("ul", *chips, class_="chips", aria_label="The best recipe") if chips else ""


def subject_words(run: Run) -> str:
    """What the run is about: data, size, task, network."""
    summary = run.summary
    data = as_map(run.info.get("data"))
    rows, width = as_number(data.get("rows")), len(as_list(data.get("columns")))
    classes = len(as_list(data.get("classes")))
    task = as_text(summary.get("task"))
    many = f"{classes} classes" if classes > 2 else "several classes"
    task = {"binary": "two classes", "multiclass": many}.get(task, task)
    words = [f"{count(rows)} rows" if rows is not None else "", f"{count(width)} columns" if width else "",
             task, network_words(summary)]
    return " · ".join(w for w in words if w)


def header(run: Run, scores: Scores) -> str:
    """The header element."""
    summary = run.summary
    dataset = as_text(summary.get("dataset")) or as_text(as_map(run.info.get("data")).get("name")) or run.path.name
    target = as_text(summary.get("target"))
    eyebrow = tag("span", "wellfit report", class_="brand") + " " + tag("bdi", esc(dataset), class_="subject")
    if target:
        eyebrow += tag("span", " predicting ", tag("bdi", esc(target)), class_="target")
    verdict = as_text(as_map(summary.get("verdict")).get("text"))
    chips = recipe_chips(as_map(summary.get("best")).get("recipe"))
    metric = scores.metric
    scale = f"Scores are {metric.name} on the test rows; {metric.direction}."
    return tag("header", p(eyebrow, class_="eyebrow"), tag("h1", "<br>".join(map(esc, headline_words(run, scores)))),
               p(esc(verdict), class_="lede") if verdict else "",
               three_numbers(scores), p(esc(gain_sentence(run, scores)), class_="finding"),
               chips, p(esc(scale), "<br>", esc(subject_words(run)), class_="about"), id="top")
