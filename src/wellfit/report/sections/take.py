"""The recipe to take away: as YAML and as Python."""

from __future__ import annotations

from wellfit.report.artefacts import Run, as_map
from wellfit.report.markup import Section, esc, p, tag
from wellfit.report.numbers import plain
from wellfit.report.recipes import python_snippet, recipe_words, yaml_text
from wellfit.report.scores import Score, Scores


def code(title: str, text: str, name: str) -> str:
    """A block of code with a copy button (which the page's script wires up)."""
    button = tag("button", "Copy", type="button", class_="copy", data_copy=name, aria_label=f"Copy the {title}")
    block = tag("pre", tag("code", esc(text), id=name), tabindex="0", role="region", aria_label=title)
    return tag("div", tag("div", tag("h3", esc(title)), button, class_="code-head"), block, class_="code")


def take(run: Run, scores: Scores) -> Section | None:
    """The best recipe in two forms, and the simplest one that is about as good."""
    best = as_map(as_map(run.summary.get("best")).get("recipe"))
    if not best and run.recipe_yaml is None:
        return None
    if best and best.get("learning_rate") is None and as_map(run.summary.get("best")).get("learning_rate") is not None:
        best = {**best, "learning_rate": as_map(run.summary.get("best"))["learning_rate"]}
    blocks = [p("Copy the file into your project, or paste the Python. Both say the same.", class_="lead")]
    rate = best.get("learning_rate")
    if isinstance(rate, float):
        blocks.append(p(esc(f"It was chosen together with the learning rate {plain(rate, 3)}."), class_="note"))
    blocks.append(code("recipe.yaml", (run.recipe_yaml or yaml_text(best)).rstrip("\n") + "\n", "recipe-yaml"))
    if best:
        blocks.append(code("Python", python_snippet(best), "recipe-python"))
    simplest = as_map(run.summary.get("simplest_within_one_se"))
    other = as_map(simplest.get("recipe"))
    if other and other.get("regularizers") != best.get("regularizers"):
        score = Score.read(simplest).test
        words = f"About as good and simpler: {recipe_words(other)}"
        words += f", {scores.metric.score(score)} on the test rows." if score is not None else "."
        blocks.append(p(esc(words)))
    return Section("recipe", "Take the recipe", "".join(blocks), "Recipe")
