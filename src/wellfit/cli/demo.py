"""``wellfit demo``: the main job on real data that ships with scikit-learn."""

from __future__ import annotations

import json as lines
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wellfit.cli.guard import Debug, Json, Quiet, guarded, note, quoted_path
from wellfit.core.errors import WellfitError, nearest

if TYPE_CHECKING:
    import pandas as pd

EPILOG = """
[bold]Examples[/bold]

wellfit demo

wellfit demo --data digits --budget 2m --out my-demo
"""


@dataclass(frozen=True)
class Example:
    """A data set that ships with scikit-learn.

    Attributes:
        target: the column to predict.
        story: what it is, in a sentence.
        learn: rows to learn from, the others being the test; None leaves the split to tune.
    """

    target: str
    story: str
    learn: int | None = None


EXAMPLES = {
    "diabetes": Example("progression", "442 patients with diabetes: how far has the disease gone a year after ten measurements? "
                                       "A network learns from 200 of them and is judged on the other 242.", 200),
    "digits": Example("digit", "1,797 handwritten digits of 8 × 8 pixels: which is it? A network learns from 300 of them and is "
                               "judged on the other 1,497.", 300),
    "breast_cancer": Example("diagnosis", "569 tumours: malignant or benign, from thirty measurements of cell nuclei."),
    "wine": Example("cultivar", "178 wines: which of three cultivars, from thirteen chemical measurements."),
}


def demo(
    data: Annotated[str, typer.Option("--data", help=f"{', '.join(EXAMPLES)}.")] = "diabetes",
    budget: Annotated[str, typer.Option("--budget", "-b", metavar="TIME|WORK", help="As for wellfit tune.")] = "75s",
    out: Annotated[str, typer.Option("--out", "-o", metavar="RUN", help="The run directory; an earlier demo there is replaced.",
                                     rich_help_panel="Output")] = "wellfit-demo",
    seed: Annotated[int, typer.Option("--seed", help="Of the split, the start weights and all draws.")] = 0,
    workers: Annotated[int | None, typer.Option("--workers", help="Processes. \\[default: one per core]")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="Of one training. \\[default: from the size of the "
                                                                "data]")] = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Diagnose, tune and report on real data that ships with scikit-learn, in about two minutes.

    The table is written beside the run (RUN-data), so that everything can be tried again on it with wellfit tune and
    wellfit predict.
    """
    from wellfit.cli.tune import Session

    session = Session(json=json, quiet=quiet)
    with guarded(debug, session.resume_command):
        from wellfit.search.settings import Budget

        example = _example(data)
        Budget.parse(budget)
        run = Path(out).expanduser()
        folder = run.with_name(run.name + "-data")
        _make_room(run, folder)
        if not quiet:
            note(f"{example.story}\n")
        table, test = write_tables(data, folder)
        session.run({"data": str(table), "target": example.target, "test": None if test is None else str(test),
                     "budget": budget, "out": run, "seed": seed, "workers": workers, "epochs": epochs, "overwrite": True})
        if not json and not quiet:
            new = quoted_path(test if test is not None else table)
            note(f"\nNow open {quoted_path(run / 'report.html')} in a browser, or go on with\n"
                 f"  wellfit predict {quoted_path(run)} {new} --out predictions.csv\n"
                 f"  wellfit tune YOUR.csv --target COLUMN")


def _example(name: str) -> Example:
    if name not in EXAMPLES:
        hint = nearest(name, EXAMPLES)
        raise WellfitError("The demo does not know this data set.", received=repr(name), expected=", ".join(EXAMPLES),
                           action=f"did you mean {hint}?" if hint else
                           f"for a table of your own: wellfit tune {quoted_path(name)} --target COL")
    return EXAMPLES[name]


def _make_room(run: Path, folder: Path) -> None:
    """Only what an earlier demo wrote is ever replaced."""
    known = {f"{name}{end}.csv" for name in EXAMPLES for end in ("", "_test")}
    foreign = [p.name for p in folder.iterdir() if p.name not in known] if folder.is_dir() else []
    if foreign or (folder.exists() and not folder.is_dir()):
        raise WellfitError("The folder for the demo's data holds something else.",
                           received=f"{folder}" + (f" with {', '.join(sorted(foreign)[:5])}" if foreign else ", a file"),
                           expected="nothing, or what an earlier demo wrote", action="choose another --out")
    if (run / "run.json").is_file():
        try:
            earlier = lines.loads((run / "run.json").read_text(encoding="utf-8"))["arguments"]["data"]
        except (OSError, ValueError, KeyError, TypeError):
            earlier = None
        if not isinstance(earlier, str) or Path(earlier).parent.resolve() != folder.resolve():
            raise WellfitError("The output folder holds a run that is no demo.", received=str(run),
                               expected="a new folder, or an earlier demo", action="choose another --out")


def write_tables(name: str, folder: Path) -> tuple[Path, Path | None]:
    """The example as csv files: the table, and the test table where it has one."""
    frame = load(name)
    example = EXAMPLES[name]
    parts: list[tuple[Path, pd.DataFrame]] = [(folder / f"{name}.csv", frame)]
    if example.learn is not None:
        from sklearn.model_selection import train_test_split

        classes = frame[example.target] if frame[example.target].nunique() < 20 else None
        learn, test = train_test_split(frame, train_size=example.learn, stratify=classes, random_state=0)
        parts = [(folder / f"{name}.csv", learn), (folder / f"{name}_test.csv", test)]
    try:
        if folder.is_dir():
            shutil.rmtree(folder)  # _make_room has looked at it
        folder.mkdir(parents=True)
        for path, part in parts:
            part.to_csv(path, index=False, lineterminator="\n")
    except OSError as error:
        raise WellfitError("The demo cannot write its data.", received=f"{folder} ({error.strerror})",
                           expected="a place you may write to", action="choose another --out") from error
    return parts[0][0], parts[1][0] if len(parts) > 1 else None


def load(name: str) -> pd.DataFrame:
    """The example as a frame, classes by their names."""
    from sklearn import datasets

    loaders: dict[str, Callable[..., Any]] = {"digits": datasets.load_digits, "diabetes": datasets.load_diabetes,
                                              "breast_cancer": datasets.load_breast_cancer, "wine": datasets.load_wine}
    bunch = loaders[name](as_frame=True)
    frame = bunch.frame.rename(columns={"target": EXAMPLES[name].target})
    if name in ("breast_cancer", "wine"):
        frame[EXAMPLES[name].target] = [str(bunch.target_names[t]) for t in bunch.target]
    return frame

