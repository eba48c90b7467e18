"""What the search saw: response curves, the decision boundary, and the best score so far."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wellfit.report.artefacts import Run, as_list, as_map, as_number, as_text
from wellfit.report.charts.boundary import Boundary, boundary_chart, class_colour, class_shape
from wellfit.report.charts.common import BEST, MUTED, NONE, SINGLE, figure, legend, note, panels
from wellfit.report.charts.response import response_chart
from wellfit.report.charts.scales import score_domain
from wellfit.report.charts.search import search_chart
from wellfit.report.markup import Section, esc, p
from wellfit.report.numbers import count, plain, share
from wellfit.report.recipes import hyperparameters, parts, recipe_words
from wellfit.report.scores import Scores
from wellfit.report.tables import table

PANELS = 24
"""Response curves at most; what was tried least is left out."""

LEGEND = 30
"""Classes named in a legend at most."""

Points = list[tuple[Any, float, bool]]


def responses(run: Run) -> dict[str, Points]:
    """Values, validation scores and whether alone, by hyperparameter: from the evidence or else from the trials."""
    given = as_map(run.evidence.get("response"))
    found: dict[str, Points] = {}
    for name, rows in given.items():
        for row in map(as_map, as_list(rows)):
            score, value = as_number(row.get("validation")), row.get("value")
            if score is not None and (isinstance(value, (str, bool)) or as_number(value) is not None):
                found.setdefault(name, []).append((value, score, row.get("alone") is True))
    if given:
        return found
    for trial in run.trials:
        score = as_number(trial.get("validation"))
        if score is None or trial.get("pruned") is True:
            continue
        alone = len(parts(trial.get("recipe"))) == 1
        for name, value in hyperparameters(trial.get("recipe"), trial.get("learning_rate")):
            if not isinstance(value, (str, bool)) and as_number(value) is None:
                continue
            found.setdefault(name, []).append((value, score, alone))
    return found


def response(run: Run, scores: Scores) -> Section | None:
    """Small multiples, one for each hyperparameter, on one y scale."""
    metric = scores.metric
    found = {name: points for name, points in responses(run).items()
             if len(points) > 2 and len({repr(v) for v, _, _ in points}) > 1}
    if not found:
        return None
    best = as_map(run.summary.get("best"))
    chosen = dict(hyperparameters(best.get("recipe"), best.get("learning_rate")))
    order = sorted(found, key=lambda name: (name not in chosen, -len(found[name]), name))
    domain = score_domain([s for points in found.values() for _, s, _ in points], metric)
    low_end = domain[0] if metric.higher_is_better else domain[1]
    hidden = sum(metric.better(s, low_end) < 0 for points in found.values() for _, s, _ in points)
    figures = []
    for name in order[:PANELS]:
        points = found[name]
        cells = [[plain(v), metric.score(s), "alone" if a else "combined"]
                 for v, s, a in sorted(points, key=lambda point: -metric.better(point[1], 0.0))]
        numbers = table(["value", "validation", "tried"], cells[:20], numeric=[0, 1], label=name)
        if len(cells) > 20:
            numbers += note(f"The 20 best of {len(cells)}.")
        title = name.replace("_", " ").replace(".", " · ", 1)
        figures.append(figure(response_chart(points, chosen.get(name), name=title, metric=metric, domain=domain),
                              "", numbers, title=title))
    lead = (f"Validation {metric.name} against each hyperparameter, all panels on one vertical scale. A flat cloud "
            "means that the value hardly matters; a slope or a bend means that it does.")
    if len(order) > PANELS:
        lead += f" The {PANELS} hyperparameters that matter to the recipe or were tried most, of {len(order)}."
    off = note(f"{count(hidden)} points of far worse configurations lie outside the vertical scale.") if hidden else ""
    key = legend([("circle", BEST, "with other methods"), ("diamond", NONE, "alone"),
                  ("dashed", BEST, "value in the best recipe")])
    return Section("response", "How strong should it be?", p(esc(lead), class_="lead") + key
                   + panels(figures, "multiples") + off, "Strengths")


def boundary(run: Run, scores: Scores) -> Section | None:
    """The prediction over two inputs, without and with the recipe."""
    part = Boundary.read(run.evidence.get("boundary"))
    if part is None:
        return None
    words = {"unregularized": "without regularization", "best": "with the best recipe"}
    figures = []
    for who in part.maps:
        spec = boundary_chart(part, who, words[who])
        figures.append(figure(spec, "", _boundary_table(part, who), title=words[who].capitalize()))
    over = f"the plane of {part.x_name} and {part.y_name}"
    if part.regression:
        lead = f"What the network predicts over {over}. Wrinkles that the points do not ask for are overfitting."
        key = ""
    else:
        lead = (f"Which class the network names over {over}: the stronger the colour, the surer it is. Islands around "
                "single points, and certainty where there are none, are overfitting.")
        key = legend([(class_shape(i), f"{class_colour(i)[:-1]}-deep)", name)
                      for i, name in enumerate(part.classes[:LEGEND])])
        if len(part.classes) > LEGEND:
            key += note(f"And {len(part.classes) - LEGEND} more classes.")
    apart = part.disagreement()
    if apart is not None:
        lead += f" The two networks disagree on {share(apart, 1)} of the plane."
    return Section("boundary", "What it learned, seen in two inputs", p(esc(lead), class_="lead") + key
                   + panels(figures), "Boundary")


def _boundary_table(part: Boundary, who: str) -> str:
    """A coarse reading of a map: nine places, or the share of each class."""
    if not part.regression and part.classes:
        cells = [[name, share(s, 1)] for name, s in part.shares(who).items()]
        return table(["class", "share of the plane"], cells, numeric=[1], label="Share of the plane by class")
    grid = part.maps[who]
    rows = [[plain(part.x[j]), plain(part.y[i]), plain(grid[i][j])]
            for i in sorted({0, len(part.y) // 2, len(part.y) - 1})
            for j in sorted({0, len(part.x) // 2, len(part.x) - 1})]
    return table([part.x_name, part.y_name, "prediction"], rows, numeric=[0, 1, 2], label="Prediction at nine places")


def _origin_words(origin: str) -> str:
    """``single:dropout`` as ``alone: dropout``."""
    return f"alone: {origin.removeprefix('single:').replace('_', ' ')}" if origin.startswith("single") else origin


def search(run: Run, scores: Scores) -> Section | None:
    """Every configuration in order and the best so far, against the unregularized line."""
    metric = scores.metric
    trials = []
    for index, trial in enumerate(run.trials):
        score, number = as_number(trial.get("validation")), as_number(trial.get("number"))
        if score is not None:
            trials.append((float(index) if number is None else number, score, trial.get("pruned") is True,
                           _origin_words(as_text(trial.get("origin"))), recipe_words(trial.get("recipe"))))
    trials.sort(key=lambda trial: trial[0])
    if len(trials) < 2:
        return None
    base = scores.unregularized.validation
    if base is None:
        base = next((t[1] for t in trials if t[3] == "unregularized"), None)
    steps = best_so_far(trials, metric.better)
    pruned = sum(t[2] for t in trials)
    lead = f"{count(len(trials))} configurations were scored on validation rows"
    lead += f", {count(pruned)} of them stopped early as hopeless." if pruned else "."
    if len(steps) > 1:
        last = steps[-2] if steps[-1][1] == steps[-2][1] else steps[-1]
        lead += f" The best one was found as number {count(last[0])}."
        if last[0] > 0.9 * trials[-1][0]:
            lead += " That is late: a larger budget may find a better one."
    by_number = {t[0]: t for t in trials}
    cells = [[count(n), metric.score(s), by_number[n][3], by_number[n][4]] for n, s in steps[:-1]] or \
        [[count(t[0]), metric.score(t[1]), t[3], t[4]] for t in trials[:1]]
    numbers = table(["number", "validation", "tried as", "recipe"], cells, numeric=[0, 1],
                    wide=[2, 3], label="Configurations that were the best so far")
    key = legend([("line", BEST, "best so far"), ("circle", BEST, "combination"), ("diamond", SINGLE, "one method"),
                  *([("stroke", MUTED, "stopped early")] if pruned else []),
                  *([("dashed", NONE, "without regularization")] if base is not None else [])])
    finished = [t[1] for t in trials if not t[2]] or [t[1] for t in trials]
    domain = score_domain(finished, metric, [base, *(s for _, s in steps)])
    hidden = sum(not domain[0] <= t[1] <= domain[1] for t in trials)
    outside = {0: "", 1: "One configuration far worse than the rest lies outside the scale. "}.get(
        hidden, f"{count(hidden)} configurations far worse than the rest lie outside the scale. ")
    caption = (f"Validation {metric.name}, {metric.direction}. {outside}The winner's score here flatters it: see "
               "“How honest are these numbers?”.")
    chart = search_chart(trials, steps, base, metric=metric, domain=domain)
    return Section("search", "The search", p(esc(lead), class_="lead") + figure(chart, caption, numbers, key=key),
                   "Search")


def best_so_far(trials: list[tuple[float, float, bool, str, str]],
                better: Callable[[float, float], float]) -> list[tuple[float, float]]:
    """``(number, score)`` at each improvement by a finished trial, and once more at the last trial."""
    steps: list[tuple[float, float]] = []
    for number, score, pruned, _, _ in trials:
        if not pruned and (not steps or better(score, steps[-1][1]) > 0):
            steps.append((number, score))
    if steps:
        steps.append((trials[-1][0], steps[-1][1]))
    return steps


