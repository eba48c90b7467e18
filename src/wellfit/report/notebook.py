"""A summary as a compact HTML snippet for a notebook: no scripts, its own colours, light and dark."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wellfit.report.artefacts import Run, as_map, as_number, as_text
from wellfit.report.markup import esc, p, tag
from wellfit.report.numbers import count, metric_of, seconds
from wellfit.report.recipes import recipe_words
from wellfit.report.scores import Score, Scores
from wellfit.report.sections.headline import gain_sentence, headline_words

STYLE = """
.wellfit-summary{font:14px/1.5 system-ui,-apple-system,"Segoe UI","Noto Sans",sans-serif;max-width:44rem;
font-variant-numeric:tabular-nums}
.wellfit-summary .h{font-size:1.25em;font-weight:600;margin:0 0 .3em}
.wellfit-summary p{margin:.3em 0}
.wellfit-summary .soft{opacity:.75}
.wellfit-summary .n{display:flex;flex-wrap:wrap;gap:.4em 2.2em;margin:.7em 0}
.wellfit-summary .n b{display:block;font-size:1.6em;font-weight:600;line-height:1.2}
.wellfit-summary table{border-collapse:collapse;margin:.6em 0}
.wellfit-summary th,.wellfit-summary td{padding:.2em 1em .2em 0;text-align:right;border-bottom:1px solid #8886;
background:none}
.wellfit-summary th:first-child{text-align:left}
.wellfit-summary tbody th{font-weight:400}
.wellfit-summary thead th{font-weight:600}
.wellfit-summary tr.best :is(th,td){font-weight:600}
"""


def summary_html(summary: Mapping[str, Any]) -> str:
    """A snippet for a notebook's rich display: verdict, the three numbers, a table of methods.

    Args:
        summary: the content of ``summary.json``; parts may be missing.
    """
    given = as_map(summary)
    scores = Scores.read(given, metric_of(given))
    run = Run(path=Path("."), summary=given)
    metric, base, best, gain = scores.metric, scores.unregularized, scores.best, scores.gain
    figures = [("Without regularization", metric.score(base.test), metric.interval(base.ends)),
               ("With the best recipe", metric.score(best.test), metric.interval(best.ends)),
               ("Gain", metric.gain(gain.value), metric.gain_interval(gain.ends, unit=False))]
    numbers = [tag("div", esc(label), tag("b", esc(value)), tag("span", esc(span), class_="soft"))
               for label, value, span in figures]
    verdict = as_text(as_map(given.get("verdict")).get("text"))
    recipe = as_map(given.get("best")).get("recipe")
    parts = [f"<style>{STYLE}</style>", p(esc(" ".join(headline_words(run, scores))), class_="h"),
             p(esc(verdict)) if verdict else "", tag("div", *numbers, class_="n"),
             p(esc(gain_sentence(run, scores))), p("Recipe: ", esc(recipe_words(recipe))) if recipe else "",
             _table(given, scores), p(esc(_small_print(given, scores)), class_="soft")]
    return tag("div", *parts, class_="wellfit-summary")


def _table(summary: Mapping[str, Any], scores: Scores) -> str:
    """None, the singles from best to worst, and the best recipe."""
    metric = scores.metric
    rows = [("none", scores.unregularized, "–", "")]
    singles = sorted(((n, s, g) for n, (s, g) in scores.singles.items() if s.test is not None),
                     key=lambda row: -metric.better(row[1].test or 0.0, 0.0))
    rows += [(name.replace("_", " "), score, metric.gain(gain.value), "") for name, score, gain in singles]
    rows.append(("best recipe", scores.best, metric.gain(scores.gain.value), "best"))
    simplest = Score.read(summary.get("simplest_within_one_se"))
    rows.append(("simplest within 1 SE", simplest, "–" if simplest.test is None or scores.unregularized.test is None
                 else metric.gain(metric.better(simplest.test, scores.unregularized.test)), ""))
    body = [tag("tr", tag("th", esc(name), scope="row"), tag("td", esc(metric.score(score.validation))),
                tag("td", esc(metric.score(score.test))), tag("td", esc(metric.interval(score.ends))),
                tag("td", esc(gain)), class_=class_ or None)
            for name, score, gain, class_ in rows if score.test is not None]
    head = "".join(tag("th", t, scope="col") for t in ("method", "validation", "test", "95% interval", "gain"))
    return tag("table", tag("thead", tag("tr", head)), tag("tbody", *body)) if body else ""


def _small_print(summary: Mapping[str, Any], scores: Scores) -> str:
    """The metric, the test rows and the cost."""
    metric, cost = scores.metric, as_map(summary.get("cost"))
    rows = as_number(as_map(summary.get("n")).get("test"))
    words = [f"{metric.name}, {metric.direction}", f"{count(rows)} test rows" if rows else "",
             f"{count(cost.get('configurations'))} configurations" if as_number(cost.get("configurations")) else "",
             seconds(cost.get("seconds")) if as_number(cost.get("seconds")) is not None else ""]
    return " · ".join(w for w in words if w)
