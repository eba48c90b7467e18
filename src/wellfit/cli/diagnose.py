"""``wellfit diagnose``: what is wrong with a training, how sure that is, and what would help."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wellfit.cli.guard import Debug, Json, Quiet, guarded, note, quoted_path
from wellfit.core.errors import WellfitError

if TYPE_CHECKING:
    from wellfit.diagnosis.diagnose import Diagnosis

EPILOG = """
[bold]Examples[/bold]

wellfit diagnose data.csv --target price

wellfit diagnose data.csv --target outcome --group patient --try

wellfit diagnose RUN                                   [dim]the recipe that a search chose[/dim]

wellfit diagnose data.csv -t y --recipe recipe.yaml --hidden 256,256 --learning-rate 3e-3

wellfit diagnose mymodel:task --budget 10m             [dim]task = wf.Task(build=..., train=...) in mymodel.py[/dim]

wellfit diagnose --rules                               [dim]what is prescribed when, and why[/dim]

wellfit diagnose history.csv                           [dim]curves alone: Keras, Lightning, Hugging Face, TensorBoard[/dim]
"""
_DATA, _SET_UP, _OUTPUT = "Data", "The set-up that is diagnosed", "Output"


def diagnose(
    data: Annotated[str | None, typer.Argument(metavar="DATA", show_default=False,
                                               help="A table, a folder of images or sounds, an npz file, a run directory, "
                                                    "package.module:task, or a training history.")] = None,
    target: Annotated[str | None, typer.Option("--target", "-t", metavar="COL", help="The column of a table to predict.",
                                               rich_help_panel=_DATA)] = None,
    budget: Annotated[str, typer.Option("--budget", "-b", metavar="TIME|WORK", help="Wall-clock time, or work (40c: trainings), "
                                                                                    "with which a seed repeats exactly.")] = "60s",
    try_: Annotated[bool, typer.Option("--try", help="Apply the first prescription, with paired seeds, on the test rows.")] = False,
    out: Annotated[str | None, typer.Option("--out", "-o", metavar="DIR", rich_help_panel=_OUTPUT,
                                            help="Where to write. \\[default: the next free folder under wellfit-runs]")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the split, the start weights and all draws.")] = 0,
    task: Annotated[str | None, typer.Option("--task", help="binary, multiclass or regression. \\[default: from the target]",
                                             rich_help_panel=_DATA)] = None,
    metric: Annotated[str | None, typer.Option("--metric", help="As in wellfit tune.", rich_help_panel=_DATA)] = None,
    class_weights: Annotated[str | None, typer.Option("--class-weights", help="balanced or none.", rich_help_panel=_DATA)] = None,
    group: Annotated[str | None, typer.Option("--group", metavar="COL", rich_help_panel=_DATA,
                                              help="Rows with the same value here are never split.")] = None,
    time: Annotated[str | None, typer.Option("--time", metavar="COL", help="Split by this time.", rich_help_panel=_DATA)] = None,
    test: Annotated[str | None, typer.Option("--test", metavar="FILE", help="A test table or folder.",
                                             rich_help_panel=_DATA)] = None,
    drop: Annotated[list[str] | None, typer.Option("--drop", metavar="COL", help="A column to leave out; repeat for more.",
                                                   rich_help_panel=_DATA)] = None,
    recipe: Annotated[str | None, typer.Option("--recipe", metavar="FILE", rich_help_panel=_SET_UP,
                                               help="A recipe.yaml. \\[default: no regularization]")] = None,
    hidden: Annotated[str | None, typer.Option("--hidden", metavar="W,W", rich_help_panel=_SET_UP,
                                               help="Widths of the hidden layers.")] = None,
    activation: Annotated[str | None, typer.Option("--activation", help="Of the hidden layers.", rich_help_panel=_SET_UP)] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", help="Peak learning rate of Adam.",
                                                        rich_help_panel=_SET_UP)] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="Of one training.", rich_help_panel=_SET_UP)] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Rows of one step.", rich_help_panel=_SET_UP)] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Cores to use. \\[default: all]")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a diagnosis in --out.", rich_help_panel=_OUTPUT)] = False,
    rules: Annotated[bool, typer.Option("--rules", help="Print the table of what is prescribed when, with its evidence, and "
                                                        "exit.", rich_help_panel=_OUTPUT)] = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Measure what is wrong with a training, and what helps: over- and underfitting, too little data, wrong labels, leaks, shift.

    Trains the set-up as it is and with one thing changed at a time, names one main cause with the measurement that decided, and
    prescribes regularizers with the gain they had here. From a history file alone it judges the curves.
    """
    with guarded(debug):
        if rules:
            _rules(json)
            return
        if data is None:
            raise WellfitError("diagnose needs something to look at.", action="wellfit diagnose data.csv --target price",
                               expected="a table, a folder of images or sounds, a run, package.module:task, or a history")
        if target is None and _is_history(data):
            _history(data, json)
            return
        from wellfit.cli.tune import as_arguments, check_data

        if not (Path(data) / "run.json").is_file():
            check_data(data, target, "diagnose")
        widths = as_arguments({"hidden": hidden})["hidden"] if hidden is not None else None
        folder = _folder(out, data, overwrite)
        from wellfit.diagnosis.diagnose import diagnose as look

        with _Status(quiet or json) as status:
            found = look(data, target, recipe=recipe, hidden=widths, learning_rate=learning_rate, epochs=epochs,
                         batch_size=batch_size, activation=activation, budget=budget, out=folder, seed=seed, task=task,
                         metric=metric, class_weights=class_weights, group=group, time=time, test=test, drop=drop or (), try_=try_,
                         workers=workers, progress=status.say)
        page = folder / "report.html"
        if json:
            sys.stdout.write((folder / "diagnosis.json").read_text(encoding="utf-8"))
        else:
            _show(found, page, brief=quiet)
            if try_ and found.trial is None:
                typer.echo(" Nothing was tried: " + ("no prescription was measured to gain for certain." if found.prescriptions else
                                                     "nothing is prescribed."))


def _rules(json: bool) -> None:
    """The table behind the prescriptions."""
    from dataclasses import asdict

    from wellfit.diagnosis.remedies import remedies
    from wellfit.search.rundir import to_json

    if json:
        sys.stdout.write(to_json([asdict(rule) for rule in remedies()]))
        return
    for rule in remedies():
        conditions = ", ".join(f"{fact} {' or '.join(w) if isinstance(w, list) else w}" for fact, w in rule.when.items())
        typer.echo(f"{rule.id}: for {', '.join(rule.causes)}{'; when ' + conditions if conditions else ''}")
        typer.echo(f"  {_settings(dict(rule.parts))}")
        typer.echo(f"  {rule.why}\n  {rule.evidence}")
        if rule.expected is not None:
            typer.echo("  {:+.1f} points of balanced accuracy ({:+.1f} to {:+.1f})".format(*rule.expected))


def _is_history(data: str) -> bool:
    from wellfit.diagnosis.history import is_history

    return is_history(data)


def _history(data: str, json: bool) -> None:
    from wellfit.diagnosis.history import history_verdict, read_history, words

    verdict = history_verdict(read_history(data))
    if json:
        from wellfit.search.rundir import to_json

        sys.stdout.write(to_json(verdict.to_dict()))
        return
    for line in words(verdict):
        typer.echo(line)


def _folder(out: str | None, data: str, overwrite: bool) -> Path:
    if out is None:
        name = Path(data.split(":")[0].rstrip("/")).name.split(".")[0] or "data"
        number = 1
        while (Path("wellfit-runs") / f"{name}-diagnosis-{number}").exists():
            number += 1
        return Path("wellfit-runs") / f"{name}-diagnosis-{number}"
    folder = Path(out)
    if folder.is_file():
        raise WellfitError("The output is a file, not a folder.", received=out, expected="a new or empty folder")
    held = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
    if held and not ("diagnosis.json" in held and overwrite):
        ours = "diagnosis.json" in held
        raise WellfitError("The output folder is not empty.", received=f"{out} with {', '.join(held[:5])}",
                           expected="a new or empty folder",
                           action="replace the diagnosis in it (--overwrite)" if ours else "choose another --out")
    return folder


class _Status:
    """What is being done, on one line of a terminal."""

    def __init__(self, silent: bool):
        self.silent = silent
        self._status: Any = None

    def __enter__(self) -> _Status:
        if not self.silent:
            from rich.console import Console

            console = Console(stderr=True)
            if console.is_terminal:
                self._status = console.status("")
                self._status.start()
        return self

    def say(self, what: str) -> None:
        if self._status is not None:
            self._status.update(what)

    def __exit__(self, *exception: Any) -> None:
        if self._status is not None:
            self._status.stop()


_MARK = {"alarm": ("!", "red"), "notice": ("-", "yellow"), "good": (" ", "dim")}


def _show(found: Diagnosis, page: Path, *, brief: bool) -> None:
    """The verdict, what it rests on, what would help, and where the report is."""
    from rich.console import Console, Group
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    console = Console()
    mapping = found.mapping
    if brief:
        console.print(Text(f"{mapping['dataset']}: {found.verdict.title} (confidence {_share(found.confidence)})"), soft_wrap=True)
        console.print(Text(str(page)), soft_wrap=True)
        return
    pieces: list[Any] = [Text.assemble((found.verdict.title, "bold"), (f"  confidence {_share(found.confidence)}", "dim")),
                         Text(mapping["verdict"]["because"]), Text("")]
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", max_width=34)
    table.add_column(overflow="fold")
    for measured in found.measurements:
        mark, style = _MARK[measured.level]
        table.add_row(Text(mark, style=style), Text(measured.title, style="bold" if measured.decided else ""), Text(measured.words))
    pieces.append(table)
    if mapping["advice"]:
        pieces += [Text(""), *(Text(f"  {step}") for step in mapping["advice"])]
    if found.prescriptions:
        pieces += [Text(""), Text("What would help", style="bold")]
        for one in found.prescriptions:
            pieces.append(Text.assemble("  ", (one.title, "bold"), f": {one.said()}"))
            pieces.append(Padding(Text(f"{_settings(one.added)} - {one.why}", style="dim"), (0, 0, 0, 4)))
    if found.trial is not None:
        pieces += [Text(""), Text(found.trial.words(), style="bold" if found.trial.held else "bold red")]
    console.print(Padding(Group(*pieces), (1, 1, 0, 1)))
    console.print(Text.assemble((" report  ", "dim"), quoted_path(page)), soft_wrap=True)
    cost = mapping["cost"]
    console.print(Text(f" {cost['trainings']} trainings, {cost['seconds']:.0f} s", style="dim"))
    if mapping["left_out"]:
        note(f"the budget left out {len(mapping['left_out'])} trainings; a longer --budget measures them too")


def _share(probability: float) -> str:
    """In whole percent, never certain."""
    return ">99%" if probability > 0.99 else f"{probability:.0%}"


def _settings(added: dict[str, Any]) -> str:
    from wellfit.report.recipes import part_words

    return ", ".join(part_words(n, s) if isinstance(s, dict) else f"{n} {s}" for n, s in added.items())
