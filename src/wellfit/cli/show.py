"""The result of a search as a person reads it in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wellfit.cli.guard import quoted_path
from wellfit.report.artefacts import as_interval, as_list, as_map, as_number
from wellfit.report.numbers import Metric, count, metric_of, plain, seconds
from wellfit.report.recipes import part_words, parts
from wellfit.report.scores import Gain, Score, Scores

if TYPE_CHECKING:
    from rich.table import Table

_WIDE = 80
_BASELINES = {"ridge_or_logistic": {"regression": "ridge regression", "": "logistic regression"}}


def show_summary(summary: Mapping[str, Any], path: Path, *, brief: bool = False) -> None:
    """Verdict, every method with its interval, what the parts buy, the recipe, and where things are."""
    from rich.console import Console, Group
    from rich.padding import Padding
    from rich.text import Text

    console = Console()
    metric = metric_of(summary)
    scores = Scores.read(summary, metric)
    if brief:
        console.print(Text(result_line(summary, scores)), soft_wrap=True)
        console.print(Text(str(path)), soft_wrap=True)
        return
    rows = as_number(as_map(summary.get("n")).get("test"))
    verdict = as_map(summary.get("verdict"))
    table = methods(summary, scores, narrow=console.width < _WIDE)
    pieces: list[Any] = [Text(str(verdict.get("text") or ""), style="bold"), Text(""), table,
                         Text(f"{metric.name} on {count(rows)} test rows that no choice ever saw; {metric.direction}",
                              style="dim")]
    if bought := attribution(summary, metric):
        pieces += [Text(""), Text("What each part of the recipe buys", style="bold"), bought,
                   Text("the part left out, paired seeds, on the validation rows", style="dim")]
    dropped = [str(name).replace("_", " ") for name in as_list(summary.get("dropped"))]
    if dropped:
        pieces.append(Text(f"dropped, because they bought nothing: {', '.join(dropped)}", style="dim"))
    pieces += [Text(""), Text("Recipe", style="bold"), recipe(summary), Text("")]
    console.print(Padding(Group(*pieces), (1, 1, 0, 1)))
    for label, value in places(path):
        console.print(Text.assemble((f" {label:<8}", "dim"), value), soft_wrap=True)
    console.print(Text(f" {cost_words(summary)}", style="dim"), soft_wrap=True)


def result_line(summary: Mapping[str, Any], scores: Scores) -> str:
    """The result on one line."""
    metric, gain = scores.metric, scores.gain
    interval = "" if gain.ends is None else f", 95% interval {metric.gain_interval(gain.ends)}"
    return (f"{summary.get('dataset')}: {metric.short} {metric.score(scores.best.test)} tuned, "
            f"{metric.score(scores.unregularized.test)} unregularized ({metric.gain(gain.value)}{interval})")


def methods(summary: Mapping[str, Any], scores: Scores, *, narrow: bool = False) -> Table:
    """None, each method alone, the recipe, the ensemble and the linear model: test score and gain with 95% intervals.

    ``narrow`` leaves the scores' own intervals out.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    metric = scores.metric
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("", no_wrap=True)
    gained = "gain" + (" (points)" if metric.is_share and not narrow else "")
    for title in ("test", gained, "95% interval") if narrow else ("test", "95% interval", gained, "95% interval"):
        table.add_column(title, justify="right", no_wrap=True)

    def add(label: str, score: Score, gain: Gain, style: str = "") -> None:
        colour = {1: "green", -1: "red", 0: ""}[gain.settled]
        ends = "" if score.ends is None else f"{bare(metric, score.ends[0])} to {bare(metric, score.ends[1])}"
        own = [] if narrow else [Text(ends, style="dim")]
        table.add_row(Text(label, style=style), Text(metric.score(score.test), style=style), *own,
                      Text("" if gain.value is None else metric.gain(gain.value, unit=False), style=colour),
                      Text("" if gain.ends is None else metric.gain_interval(gain.ends, unit=False), style="dim"))

    def order(item: tuple[str, tuple[Score, Gain]]) -> float:
        validation = item[1][0].validation
        return 0.0 if validation is None else -metric.better(validation, 0.0)

    add("no regularization", scores.unregularized, Gain(None))
    for name, (score, gain) in sorted(scores.singles.items(), key=order):
        if score.test is not None:
            add(f"  {name.replace('_', ' ')}", score, gain)
    table.add_section()
    add("tuned recipe", scores.best, scores.gain, "bold")
    for key, label in (("simplest_within_one_se", "simplest within 1 SE"), ("ensemble", "ensemble")):
        part = as_map(summary.get(key))
        score = Score.read(part)
        if score.test is not None:
            members = as_number(part.get("members"))
            add(f"{label} of {members:g}" if members else label, score, _gain(part, score, scores))
    for key, value in as_map(summary.get("baselines")).items():
        score = Score.read(value)
        if score.test is not None:
            names = _BASELINES.get(key, {})
            label = names.get(str(summary.get("task")), names.get("", key.replace("_", " ")))
            add(label, score, _gain({}, score, scores), "dim")
    return table


def _gain(part: Mapping[str, Any], score: Score, scores: Scores) -> Gain:
    return Gain.read(part.get("gain"), score, scores.unregularized, scores.metric)


def bare(metric: Metric, value: float) -> str:
    """A score without its percent sign, for the ends of an interval."""
    return metric.score(value).removesuffix("%")


def attribution(summary: Mapping[str, Any], metric: Metric) -> Table | None:
    """What leaving each part out costs; None where nothing was measured."""
    from rich.table import Table
    from rich.text import Text

    found = [as_map(row) for row in as_list(summary.get("attribution"))]
    if not found:
        return None
    table = Table.grid(padding=(0, 2))
    for side in ("left", "left", "right", "left", "left"):
        table.add_column(justify=side, overflow="fold")  # type: ignore[arg-type]
    for row in found:
        ends = as_interval(row.get("ci"))
        gain = Gain(as_number(row.get("effect")), ends)
        name = str(row.get("regularizer")).replace("_", " ")
        table.add_row(Text(f"  {name}"), Text(str(row.get("value") or ""), style="dim"),
                      Text(metric.gain(gain.value, unit=False), style={1: "green", -1: "red", 0: ""}[gain.settled]),
                      Text("" if ends is None else metric.gain_interval(ends, unit=False), style="dim"),
                      Text("" if row.get("keep") else "buys nothing", style="yellow"))
    return table


def recipe(summary: Mapping[str, Any]) -> Any:
    """The parts of the chosen recipe, one a line, and the learning rate."""
    from rich.text import Text

    mapping = as_map(as_map(summary.get("best")).get("recipe"))
    rows = [f"  {part_words(name, settings)}" for name, settings in parts(mapping)] or ["  no regularization"]
    rate = as_number(mapping.get("learning_rate"))
    if rate is not None:
        rows.append(f"  Adam, learning rate {plain(rate, 3)}")
    return Text("\n".join(rows))


def places(path: Path) -> list[tuple[str, str]]:
    """Where the results are, and what to do with them next."""
    found = [(label, path / name) for label, name in (("report", "report.html"), ("recipe", "best/recipe.yaml"))]
    return [(label, quoted_path(file)) for label, file in found if file.exists()] + [
        ("predict", f"wellfit predict {quoted_path(path)} NEW.csv --out PRED.csv")]


def cost_words(summary: Mapping[str, Any]) -> str:
    """How much work it was."""
    cost = as_map(summary.get("cost"))
    return (f"{count(cost.get('configurations'))} configurations, {count(cost.get('epochs'))} epochs, "
            f"{seconds(cost.get('seconds'))}")
