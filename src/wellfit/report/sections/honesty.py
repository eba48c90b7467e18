"""How far the numbers can be trusted, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wellfit.report.artefacts import Run, as_list, as_map, as_number, as_text
from wellfit.report.charts.common import note
from wellfit.report.markup import Section, bullets, esc, p, tag
from wellfit.report.numbers import DASH, count, seconds, share
from wellfit.report.scores import Scores, network_words
from wellfit.report.tables import details, facts, table

SPLITS = (("train", "training"), ("validation", "validation"), ("test", "test"))


def honesty(run: Run, scores: Scores) -> Section | None:
    """How the choice was made, how much it flatters, and what is odd about the data."""
    flattery = optimism_words(run, scores)
    blocks = [p(esc(selection_words(run)), class_="lead"), p(esc(flattery)) if flattery else "", _split(run)]
    warnings = [as_text(w) for w in as_list(run.summary.get("warnings")) if as_text(w)]
    odd = scores.contradiction(run.summary)
    warnings += [odd] if odd else []
    warnings += run.problems
    if warnings:
        blocks += [tag("h3", "Warnings"), bullets((esc(w) for w in warnings), class_="warnings")]
    data = as_map(run.info.get("data"))
    notes = [_data_note(as_map(n)) for n in as_list(data.get("notes")) if as_map(n).get("message")]
    if notes:
        blocks += [tag("h3", "Notes on the data"), bullets(notes, class_="notes")]
    blocks.append(_columns(data))
    return Section("honesty", "How honest are these numbers?", "".join(blocks), "Honesty")


def selection_words(run: Run) -> str:
    """How the winner was chosen."""
    if not as_map(run.summary.get("best")):
        return "No recipe has been chosen yet, so there is no choice to account for."
    part = as_map(run.summary.get("selection"))
    mode, folds, repeats = as_text(part.get("mode")), as_number(part.get("folds")), as_number(part.get("seeds"))
    tried = as_number(as_map(run.summary.get("cost")).get("configurations"))
    among = f" among {count(tried)} configurations" if tried else ""
    seeds = f", each with {count(repeats)} random seeds" if repeats and repeats > 1 else ""
    if mode == "cross-validation":
        how = f"by cross-validation over {count(folds)} folds{seeds}" if folds else f"by cross-validation{seeds}"
    elif mode == "holdout":
        how = f"by its score on one set of validation rows{seeds}"
    else:
        how = f"by its score on validation rows{seeds}"
    return (f"The recipe was chosen{among} {how}. The test rows took no part in any choice and were read once, at "
            "the end.")


def optimism_words(run: Run, scores: Scores) -> str:
    """How much the winner's validation score flatters it."""
    part, metric = as_map(run.summary.get("optimism")), scores.metric
    held = as_number(part.get("validation"))
    tested = as_number(part.get("test"))
    held = scores.best.validation if held is None else held
    tested = scores.best.test if tested is None else tested
    if held is None or tested is None:
        return ""
    by = metric.better(held, tested)
    start = f"The winner scored {metric.score(held)} on validation rows and {metric.score(tested)} on test rows:"
    if by > 0:
        return (f"{start} choosing the best of many flattered it by {metric.size(by)}. Trust the test number, not the "
                "validation number.")
    return f"{start} choosing the best of many did not flatter it here."


def _split(run: Run) -> str:
    """The sizes of the three parts as a bar."""
    given = as_map(run.summary.get("n")) or as_map(run.info.get("split"))
    sizes = [(key, name, size) for key, name in SPLITS if (size := as_number(given.get(key))) and size > 0]
    total = sum(size for _, _, size in sizes)
    if not sizes:
        return ""
    bar = tag("div", *(tag("span", class_=key, style=f"flex-grow:{size:g}") for key, _, size in sizes),
              class_="split", aria_hidden="true")
    labels = [tag("li", tag("span", class_=f"key {key}", aria_hidden="true"),
                  esc(f"{name} {count(size)} ({share(size, total)})")) for key, name, size in sizes]
    return tag("h3", "Split of the rows") + bar + tag("ul", *labels, class_="split-key")


def _data_note(entry: Mapping[str, Any]) -> str:
    """One note: its level as a word, its message, its code."""
    level = as_text(entry.get("level")) or "note"
    known = level if level in ("error", "warning", "info") else "info"
    code = as_text(entry.get("code"))
    return (tag("span", esc(level), class_=f"level {known}") + " " + esc(entry.get("message"))
            + (" " + tag("code", esc(code)) if code else ""))


def _columns(data: Mapping[str, Any]) -> str:
    """The columns of the data, collapsed."""
    rows = []
    for entry in map(as_map, as_list(data.get("columns"))):
        rows.append([as_text(entry.get("name")) or "(no name)", as_text(entry.get("kind")), count(entry.get("missing")),
                     count(entry.get("unique")), as_text(entry.get("reason"))])
    if not rows:
        return ""
    numbers = table(["column", "kind", "missing", "unique", "why"], rows, numeric=[2, 3], wide=[4],
                    label="Columns of the data")
    return details(f"Columns of the data ({len(rows)})", numbers)


MISSING = (("fit", "training curves"), ("methods", "scores of the methods"),
           ("attribution", "leave-one-out effects of the recipe's parts"), ("response", "response curves"),
           ("weights", "weight statistics"), ("boundary", "a map over two inputs"), ("search", "the list of trials"),
           ("recipe", "a best recipe"))


def missing_words(present: set[str]) -> str:
    """Which sections this run has no data for."""
    absent = [words for name, words in MISSING if name not in present]
    if not absent:
        return ""
    return "This run has no data for: " + ", ".join(absent) + "."


def provenance(run: Run, scores: Scores) -> Section:
    """Cost, versions, seed and fingerprint."""
    info, cost = run.info, as_map(run.summary.get("cost"))
    data = as_map(info.get("data"))
    spent = facts([("time", seconds(cost["seconds"]) if as_number(cost.get("seconds")) is not None else ""),
                   ("configurations", _counted(cost, "configurations")), ("epochs", _counted(cost, "epochs")),
                   ("member steps", _counted(cost, "member_steps")), ("budget", _words(info.get("budget"))),
                   ("device", _words(info.get("device"))), ("engine", _words(info.get("engine")))])
    origin = facts([("command", _words(info.get("command"))), ("created", _moment(info.get("created"))),
                    ("seed", as_text(info.get("seed"))), ("network", network_words(run.summary)),
                    ("encoding of numbers", as_text(info.get("encoding"))),
                    ("class weights", as_text(run.summary.get("class_weights"))),
                    ("data", as_text(data.get("name"))), ("sha256", as_text(data.get("sha256")))])
    versions = [[name, as_text(v)] for name, v in as_map(info.get("versions")).items()]
    blocks = [spent, tag("h3", "Where it comes from") + origin if origin else "",
              details("Versions", table(["package", "version"], versions, label="Versions")) if versions else ""]
    if not any(blocks):
        blocks = [note("The run holds no record of its cost or its origin (run.json).")]
    return Section("provenance", "Cost and provenance", "".join(blocks), "Provenance")


def _counted(cost: Mapping[str, Any], key: str) -> str:
    text = count(cost.get(key))
    return "" if text == DASH else text


def _words(value: object) -> str:
    """Text, a list of words (a command line) or a small mapping as text."""
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_words(v)}" for k, v in value.items())
    return " ".join(map(_words, value)) if isinstance(value, list) else as_text(value)


def _moment(value: object) -> str:
    """An ISO time as people read it."""
    text = as_text(value)
    if len(text) > 16 and text[10] == "T":
        zone = " UTC" if text.endswith(("+00:00", "Z")) else ""
        return f"{text[:10]} {text[11:16]}{zone}"
    return text
