"""``wellfit tune``: from data to the regularization a network needs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from wellfit.cli.guard import INTERRUPTED, Debug, Json, Quiet, comma_list, complain, guarded, quoted_path
from wellfit.core.errors import WellfitError

EPILOG = """
[bold]Examples[/bold]

wellfit tune houses.csv --target price

wellfit tune patients.csv --target outcome --group patient --budget 10m

wellfit tune data.parquet --target y --budget 200c --json > summary.json

wellfit tune photos/ --budget 20m                    [dim]a folder per class, an npz file, or MNIST's idx files[/dim]

wellfit tune recordings/ --group speaker --budget 20m

wellfit tune mymodel:task --budget 30m               [dim]task = wf.Task(build=..., train=...) in mymodel.py[/dim]

wellfit tune --resume RUN
"""
_DATA, _NETWORK, _SEARCH, _OUTPUT = "Data", "Network and training", "Search", "Output"


def tune(
    data: Annotated[str | None, typer.Argument(metavar="DATA", help="A csv, csv.gz, tsv or parquet file; a folder of images or "
                                                                 "sounds, an npz file; or package.module:task.",
                                               show_default=False)] = None,
    target: Annotated[str | None, typer.Option("--target", "-t", metavar="COL", help="The column of a table to predict.",
                                               rich_help_panel=_DATA)] = None,
    budget: Annotated[str | None, typer.Option("--budget", "-b", metavar="TIME|WORK", rich_help_panel=_SEARCH,
                                               help="Wall-clock time (90s, 3m, 1h) or work (200c: configurations); with work, "
                                                    "a seed repeats a run exactly. \\[default: 3m]")] = None,
    out: Annotated[str | None, typer.Option("--out", "-o", metavar="RUN", rich_help_panel=_OUTPUT,
                                            help="The run directory. \\[default: the next free one under "
                                                 "wellfit-runs]")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the split, the start weights and all draws. \\[default: 0]",
                                             rich_help_panel=_SEARCH)] = None,
    task: Annotated[str | None, typer.Option("--task", help="binary, multiclass or regression. \\[default: from the target]",
                                             rich_help_panel=_DATA)] = None,
    metric: Annotated[str | None, typer.Option("--metric", rich_help_panel=_SEARCH,
                                               help="balanced_accuracy, accuracy or log_loss; rmse or r2. \\[default: "
                                                    "balanced_accuracy, or rmse for numbers]")] = None,
    class_weights: Annotated[str | None, typer.Option("--class-weights", rich_help_panel=_NETWORK,
                                                      help="balanced (by inverse frequency) or none. \\[default: what suits "
                                                           "the metric]")] = None,
    group: Annotated[str | None, typer.Option("--group", metavar="COL", rich_help_panel=_DATA,
                                              help="Rows (sounds) with the same value here are never "
                                                   "split.")] = None,
    time: Annotated[str | None, typer.Option("--time", metavar="COL", rich_help_panel=_DATA,
                                             help="Split by this time: learn from the past, be judged on the future.")] = None,
    test: Annotated[str | None, typer.Option("--test", metavar="FILE", rich_help_panel=_DATA,
                                             help="A test table or folder. \\[default: what the data say, else a fifth]")] = None,
    drop: Annotated[list[str] | None, typer.Option("--drop", metavar="COL", rich_help_panel=_DATA,
                                                   help="A column to leave out; repeat for more.")] = None,
    regularizers: Annotated[str | None, typer.Option("--regularizers", metavar="A,B", rich_help_panel=_SEARCH,
                                                     help="Search these only (see wellfit recipes).")] = None,
    hidden: Annotated[str | None, typer.Option("--hidden", metavar="W,W", rich_help_panel=_NETWORK,
                                               help="Widths of the hidden layers, or channels of the "
                                                   "convolutional stages. \\[default: chosen by validation]")] = None,
    activation: Annotated[str | None, typer.Option("--activation", rich_help_panel=_NETWORK,
                                                   help="Of the hidden layers. \\[default: relu]")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", rich_help_panel=_NETWORK,
                                               help="Of one training. \\[default: from the size of the data]")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", rich_help_panel=_NETWORK,
                                                   help="\\[default: from the size of the data]")] = None,
    folds: Annotated[int | None, typer.Option("--folds", rich_help_panel=_SEARCH,
                                              help="Of the cross-validation; 1 is a single validation part. "
                                                   "\\[default: from the size of the data]")] = None,
    encoding: Annotated[str | None, typer.Option("--encoding", rich_help_panel=_NETWORK,
                                                 help="Of numbers: plain, piecewise (8 bins), fine (48) or auto. "
                                                      "\\[default: auto]")] = None,
    workers: Annotated[int | None, typer.Option("--workers", rich_help_panel=_SEARCH,
                                                help="Cores to use. \\[default: all]")] = None,
    engine: Annotated[str | None, typer.Option("--engine", rich_help_panel=_SEARCH,
                                               help="native (compiled), reference (tensors) or auto. \\[default: auto]")] = None,
    device: Annotated[str | None, typer.Option("--device", rich_help_panel=_SEARCH,
                                               help="cpu, cuda, cuda:1 or mps. \\[default: cpu; of your own task the best there "
                                                    "is]")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", rich_help_panel=_OUTPUT, help="Replace a run in --out.")] = False,
    resume: Annotated[str | None, typer.Option("--resume", metavar="RUN", rich_help_panel=_OUTPUT,
                                               help="Go on with an interrupted run; everything but --workers and --device is read "
                                                    "from it.")] = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Find which regularizers help a network, how strong, and what each one buys: on a table, images, sounds, or any task.

    Compares no regularization, every method alone and combinations; says what each part of the winner is worth, with 95%
    intervals on rows that no choice ever saw. Ctrl-C ends early with the best so far; a killed run resumes.
    """
    given: dict[str, Any] = {
        "target": target, "budget": budget, "out": out, "seed": seed, "task": task, "metric": metric,
        "class_weights": class_weights, "group": group, "time": time, "test": test, "drop": drop,
        "regularizers": regularizers, "hidden": hidden, "activation": activation, "epochs": epochs,
        "batch_size": batch_size, "folds": folds, "encoding": encoding, "engine": engine, "device": device,
        "overwrite": overwrite or None}
    given = {name: value for name, value in given.items() if value is not None and value != []}
    session = Session(json=json, quiet=quiet)
    with guarded(debug, session.resume_command):
        if resume is not None:
            _check_resume(data, {name: value for name, value in given.items() if name != "device"})
            session.run({"resume": resume, "workers": workers, "device": device})
        else:
            check_data(data, target)
            session.run({"data": data, **as_arguments(given), "workers": workers})


class Session:
    """One search as the command line shows it."""

    def __init__(self, *, json: bool, quiet: bool):
        self.json, self.quiet = json, quiet
        self.path: Path | None = None  # the run directory, once it stands

    def resume_command(self) -> str | None:
        if self.path is None or not (self.path / "run.json").is_file() or not (self.path / "work").is_dir():
            return None
        return f"wellfit tune --resume {quoted_path(self.path)}"

    def run(self, arguments: dict[str, Any]) -> None:
        """Search, report, show; raises typer.Exit(130) when it was cut short by Ctrl-C."""
        from wellfit.cli.progress import Progress, Watch
        from wellfit.report import write_report
        from wellfit.search.tune import tune as search

        if arguments.get("resume") is not None:
            self.path = Path(arguments["resume"])
        listener = Watch(self._begun) if self.quiet else Progress(self._begun)
        result = search(**arguments, progress=listener)
        self.path = result.path
        summary = result.summary
        problem: Exception | None = None
        try:
            write_report(result.path)
        except Exception as error:  # the numbers are shown whatever becomes of the page
            problem = error
        if self.json:
            sys.stdout.write((result.path / "summary.json").read_text(encoding="utf-8"))
        else:
            from wellfit.cli.show import show_summary

            show_summary(summary, result.path, brief=self.quiet)
        if problem is not None:
            raise problem
        command = self.resume_command()
        if summary.get("interrupted") and command is not None:
            complain(f"interrupted: this is the best so far. Go on with\n  {command}", label="")
            raise typer.Exit(INTERRUPTED)

    def _begun(self, path: Path) -> None:
        self.path = path


def as_arguments(given: dict[str, Any]) -> dict[str, Any]:
    """Options as :func:`wellfit.tune` takes them."""
    out = dict(given)
    if "regularizers" in out:
        out["regularizers"] = [identifier(name) for name in comma_list(out["regularizers"]) or []]
        if not out["regularizers"]:
            raise WellfitError("--regularizers names none.", received=repr(given["regularizers"]),
                               expected="names such as dropout,weight_decay", action="wellfit recipes lists them")
    if "hidden" in out:
        widths = comma_list(out["hidden"]) or []
        if not widths or not all(w.isascii() and w.isdigit() and int(w) > 0 for w in widths):
            raise WellfitError("--hidden holds the widths of the hidden layers.", received=repr(given["hidden"]),
                               expected="whole numbers of at least 1, such as 128,128")
        out["hidden"] = [int(w) for w in widths]
    return out


def identifier(name: str) -> str:
    """A regularizer's id from any way to write it.

    >>> [identifier(n) for n in ("GroupLasso", "max-norm", "l1", "L1")]
    ['group_lasso', 'max_norm', 'l1', 'l1']
    """
    import re

    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip()).replace("-", "_").replace(" ", "_").lower()


def _check_resume(data: str | None, given: dict[str, Any]) -> None:
    if data is not None or given:
        shown = [data] if data is not None else []
        shown += [f"--{name.replace('_', '-')}" for name in given]
        raise WellfitError("A resumed run keeps its data and settings.", received=" ".join(shown),
                           expected="wellfit tune --resume RUN, and at most --workers, --device, --json, --quiet",
                           action="leave the other options out, or start a new run")


def check_data(data: str | None, target: str | None, command: str = "tune") -> None:
    """An error that says what to type, unless there are data, and for a table a target."""
    example = f"wellfit {command} data.csv --target price"
    if data is None:
        raise WellfitError(f"{command} needs data.", expected="a table, a folder of images or sounds, or package.module:task",
                           action=example)
    if target is None:
        from wellfit.data import read_frame
        from wellfit.search.opening import kind_of

        if kind_of(data) != "table":
            return  # which know their own targets
        columns = [str(c) for c in read_frame(data).columns]
        shown = ", ".join(columns[:12]) + (f" and {len(columns) - 12} more" if len(columns) > 12 else "")
        raise WellfitError(f"{command} needs to know which column to predict.", received=f"{data} with the columns {shown}",
                           expected="--target COL",
                           action=f"wellfit {command} {quoted_path(data)} --target {quoted_path(columns[-1])}")
