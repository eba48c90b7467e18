#!/usr/bin/env python3
"""Does a recipe that ``tune`` found do the same in somebody else's training loop?

Takes a finished run, loads best/recipe.yaml and best/preprocess.json, and trains the recipe in the plain PyTorch loop written
out below (DataLoader, torch.optim.AdamW, a learning-rate scheduler: nothing of wellfit's engine), with seeds the run never
used. The test metric is compared with that of the run's own refits, which scatter over seeds too.

On all development rows there is nothing left to stop on, so a run replaces early stopping by the number of epochs it stopped
after (``stopped_after`` in recipe.yaml); the loop does the same.

Agreement: the difference of the two means is within the 99% t interval that follows from their common scatter over seeds.
Exit status 1 if it is not.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from common import RESULTS, environment, one_thread, read_json, table, write_json
from torch.utils.data import DataLoader, TensorDataset

import wellfit as wf

EXAMPLES = """examples:
  python benchmarks/recipe_elsewhere.py                                    a small run on scikit-learn's diabetes data
  python benchmarks/recipe_elsewhere.py --data table.csv --target y --budget 1m
  python benchmarks/recipe_elsewhere.py --run RUN --seeds 10
"""
FIRST_SEED = 1000  # of the loop; the run's own seeds lie elsewhere
SHIPPED = ("diabetes", "digits", "breast_cancer", "wine")


@dataclass(frozen=True)
class Trained:
    """What the loop needs of a run: tensors of the development rows, the test rows, and the task."""

    x: torch.Tensor
    y: torch.Tensor
    x_test: torch.Tensor
    groups: torch.Tensor
    classes: int
    class_weights: torch.Tensor | None
    mean: float
    std: float


# ---- the loop, as a person would write it


def train(recipe_file: Path, data: Trained, seed: int) -> np.ndarray:
    """Train the recipe from scratch and return predictions for the test rows."""
    recipe = wf.Recipe.load(recipe_file).without("early_stopping")  # every row is a training row: nothing to stop on
    settings = yaml.safe_load(recipe_file.read_text(encoding="utf-8"))
    training, shape = settings["training"], settings["network"]

    torch.manual_seed(seed)
    loader = DataLoader(TensorDataset(data.x, data.y), batch_size=min(training["batch_size"], len(data.x)), shuffle=True,
                        drop_last=True)
    model = wf.MLP(shape["inputs"], tuple(shape["hidden"]), shape["outputs"], shape["activation"], seed=seed)
    plan = recipe.compile(model, seed=seed, epochs=training["epochs"], steps_per_epoch=len(loader), feature_groups=data.groups)
    optimizer = torch.optim.AdamW(model.parameters(), lr=training["learning_rate"], betas=tuple(training["betas"]),
                                  weight_decay=0)  # decay is the recipe's
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=training["epochs"] * len(loader))
    plan.attach(optimizer)

    def criterion(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if not data.classes:
            return F.mse_loss(outputs.squeeze(-1), targets)
        if targets.ndim == 1:  # mixup and label smoothing make the targets soft, others leave them hard
            targets = F.one_hot(targets, data.classes).float()
        return F.cross_entropy(outputs, targets, weight=data.class_weights)

    for _ in range(training["stopped_after"]):
        model.train()
        for x, y in loader:
            x, y = plan.batch(x, y)
            loss = plan.loss(criterion(model(x), y))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
        plan.observe()
    model = plan.finish(x for x, _ in loader)  # the batches are for the batch norm of averaged weights, if there is any

    with torch.no_grad():
        outputs = model(data.x_test)
    return (outputs.softmax(1) if data.classes else outputs * data.std + data.mean).numpy()


# ---- a run and its data


def load(result: wf.TuneResult, source: Any) -> tuple[Trained, Any]:
    """The data of a run, made ready with its own split and preprocessing, and a scorer of the test rows."""
    from wellfit.data import Preprocessor, TargetCoder, load_split, load_table
    from wellfit.population.problem import class_weights
    from wellfit.search.score import Scorer

    about = read_json(result.path / "run.json")
    asked = about["arguments"]
    loaded = load_table(source if source is not None else asked["data"], asked["target"], task=asked["task"],
                        group=asked["group"], time=asked["time"], drop=asked["drop"], test=asked["test"])
    if loaded.fingerprint["sha256"] != about["data"]["sha256"]:
        raise SystemExit("these are not the data the run was made with")
    split, saved = load_split(result.path / "split.npz"), read_json(result.path / "best" / "preprocess.json")
    preprocessor, coder = Preprocessor.from_dict(saved["features"]), TargetCoder.from_dict(saved["target"])
    x, y = torch.from_numpy(preprocessor.transform(loaded.frame)), torch.from_numpy(coder.encode(loaded.y))
    rows, classes = torch.from_numpy(split.development), len(loaded.classes or ())
    weights = class_weights(loaded.y[split.development], classes, about["class_weights"]) if classes else None
    return (Trained(x[rows], y[rows], x[torch.from_numpy(split.test)], torch.as_tensor(preprocessor.groups), classes, weights,
                    coder.mean, coder.std),
            Scorer(result.summary["metric"], loaded.y[split.test], classes))


def shipped(name: str) -> tuple[Any, str]:
    """A data set that comes with scikit-learn."""
    from sklearn import datasets

    return getattr(datasets, f"load_{name}")(as_frame=True).frame, "target"


@dataclass(frozen=True)
class Scatter:
    """Scores over seeds."""

    n: int
    mean: float
    sd: float | None  # None for a single seed

    @classmethod
    def of(cls, scores: list[float]) -> Scatter:
        return cls(len(scores), statistics.fmean(scores), statistics.stdev(scores))

    def row(self, name: str) -> list[str]:
        return [name, str(self.n), f"{self.mean:.4f}", "-" if self.sd is None else f"{self.sd:.4f}"]


def noise(first: Scatter, second: Scatter, resolution: float) -> float:
    """Half the width of the 99% t interval of the difference of two means, with the scatter over seeds taken as common.

    ``resolution`` is the smallest scatter that means anything: one test row.
    """
    from scipy.stats import t

    known = [s for s in (first, second) if s.sd is not None]
    freedom = sum(s.n - 1 for s in known)
    variance = sum((s.n - 1) * s.sd**2 for s in known if s.sd is not None) / freedom
    return float(t.ppf(0.995, freedom)) * (max(variance, resolution**2) * (1 / first.n + 1 / second.n)) ** 0.5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a finished run (default: one is made)")
    parser.add_argument("--data", help=f"a table, or one of {', '.join(SHIPPED)} (default: the run's own, or {SHIPPED[0]})")
    parser.add_argument("--target", help="column to predict, where a run is made")
    parser.add_argument("--budget", default="16c", help="where a run is made (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the run (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=5, help="how often the loop trains (default %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS / "recipe_elsewhere.json", help="JSON file (default %(default)s)")
    arguments = parser.parse_args()
    if arguments.seeds < 2:
        parser.error("--seeds: a scatter needs at least 2")
    if arguments.data not in (None, *SHIPPED) and arguments.run is None and arguments.target is None:
        parser.error("--data needs --target")

    source, target = arguments.data, arguments.target
    if source in SHIPPED or (source is None and arguments.run is None):
        source, target = shipped(source or SHIPPED[0])
    scratch = None
    if arguments.run is None:
        scratch = Path(tempfile.mkdtemp())
        print("tuning ...", flush=True)
        result = wf.tune(source, target, budget=arguments.budget, out=scratch / "run", seed=arguments.seed, progress=False,
                         folds=None if isinstance(source, str) else 1)  # those of scikit-learn are to be quick
    else:
        result = wf.TuneResult(arguments.run)
    try:
        return compare(result, source, arguments)
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def compare(result: wf.TuneResult, source: Any, arguments: argparse.Namespace) -> int:
    summary, recipe_file = result.summary, result.path / "best" / "recipe.yaml"
    data, scorer = load(result, source)
    metric = summary["metric"]
    print(f"{summary['dataset']}: {len(data.x)} development rows, {len(data.x_test)} test rows, {metric}; recipe "
          f"{', '.join(p.name for p in result.recipe) or 'without regularization'}; {arguments.seeds} seeds", flush=True)
    scores, seconds = [], []
    with one_thread():
        for seed in range(FIRST_SEED, FIRST_SEED + arguments.seeds):
            began = time.perf_counter()
            predictions = train(recipe_file, data, seed)
            seconds.append(time.perf_counter() - began)
            scores.append(scorer.score(scorer.error(scorer.rows(predictions))))
        settings = environment()
    best = summary["best"]
    run, plain = (Scatter(**summary[k]["over_seeds"]) for k in ("best", "unregularized"))
    loop = Scatter.of(scores)
    difference = loop.mean - run.mean
    half = noise(run, loop, 0.0 if metric in ("rmse", "r2", "log_loss") else 1 / len(data.x_test))
    agrees = abs(difference) <= half
    print(table([metric, "seeds", "mean", "sd over seeds"],
                [run.row("the run's refits"), loop.row("the recipe in the plain loop"),
                 plain.row("(unregularized, the run's refits)")]))
    low, high = best["ci"]
    print(f"\ndifference {difference:+.4f}, seed noise ± {half:.4f} (99%): {'they agree' if agrees else 'THEY DISAGREE'}"
          f"\n(the 95% interval of the test metric over rows is ± {(high - low) / 2:.4f})")
    path = write_json(arguments.out, {
        "benchmark": "recipe_elsewhere", "environment": settings, "dataset": summary["dataset"], "metric": metric,
        "recipe": best["recipe"], "run": asdict(run), "loop": {**asdict(loop), "scores": scores, "seconds": seconds},
        "unregularized": asdict(plain), "difference": difference, "noise": half, "agrees": agrees})
    print(f"\nwritten: {path}")
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main())
