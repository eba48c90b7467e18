"""The data of ``effects.py``: each column draws training, validation and test examples with a seed and gives a problem to train."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from common import read_json

import wellfit as wf
from wellfit.data import Recordings, load_images, load_recordings, load_table
from wellfit.kernels.objective import cross_entropy
from wellfit.population.modules.problem import Judge, ModuleProblem, adamw
from wellfit.population.modules.rows import TensorRows
from wellfit.population.problem import Fold
from wellfit.population.tiers import AnyProblem
from wellfit.search.architecture import traits_of
from wellfit.search.media import ConvNetMaker, SoundNetMaker, log_mel
from wellfit.search.menus import Menu, table_menu
from wellfit.search.network_menus import network_menu
from wellfit.search.prepare import prepare
from wellfit.search.settings import Settings

WIDTHS, BATCH, RATE = (16, 32, 64), 32, 1e-3
HIDDEN = (128, 128, 128)  # of the network for tables
HELD_OUT_SPEAKERS = 2
TABLES = ("vehicle", "credit_g", "concrete")


@dataclass(frozen=True)
class Drawn:
    """What one seed gives: a problem with one fold, the rows of the test, and how outputs on them are scored."""

    problem: AnyProblem
    test: torch.Tensor
    score: Callable[[torch.Tensor], float]
    menu: Menu
    metric: str
    higher_is_better: bool

    @property
    def sizes(self) -> dict[str, int]:
        fold = self.problem.folds[0]
        return {"train": len(fold.train), "validation": len(fold.validation), "test": len(self.test)}


@dataclass(frozen=True)
class Column:
    """One data set. ``kind`` is that of its inputs, ``passes`` its usual epochs, ``draw`` takes (folder, seed, epochs)."""

    name: str
    kind: str
    passes: int
    title: str
    draw: Callable[[Path, int, int], Drawn]


def _unit(images: torch.Tensor) -> torch.Tensor:
    return images.float().div_(255)


def _fresh(maker: ConvNetMaker, seed: int) -> torch.nn.Module:
    return maker()


def pick(labels: np.ndarray, per_class: int, rng: np.random.Generator) -> np.ndarray:
    """``per_class`` row numbers of each class, or all where there are fewer."""
    return np.sort(np.concatenate([rng.permutation(np.flatnonzero(labels == c))[:per_class] for c in np.unique(labels)]))


def _judged(maker: ConvNetMaker, values: torch.Tensor, labels: np.ndarray, parts: dict[str, np.ndarray], epochs: int, kind: str,
            features: object = None) -> Drawn:
    rows = TensorRows(values, torch.from_numpy(labels), prepare=_unit if kind == "images" else None)
    fold = Fold(torch.from_numpy(parts["train"]), torch.from_numpy(parts["validation"]))
    problem = ModuleProblem(
        build=partial(_fresh, maker), rows=rows, folds=(fold,), judge=Judge("multiclass", "accuracy", cross_entropy), epochs=epochs,
        batch_size=BATCH, optimizer=adamw, rate_schedule=wf.Cosine(1.0, 0.0), classes=maker.outputs, features=features)  # type: ignore[arg-type]
    model = maker()
    traits = traits_of(model, adamw(model.parameters(), RATE), torch.zeros(2, maker.channels, *maker.size), soft_targets=True)
    menu = network_menu(kind, traits, RATE, classes=True, steps_per_epoch=problem.steps_per_epoch)
    truth = labels[parts["test"]]

    def accuracy(outputs: torch.Tensor) -> float:
        return 100 * float((outputs.argmax(-1).numpy() == truth).mean())

    return Drawn(problem, torch.from_numpy(parts["test"]), accuracy, menu, "accuracy, %", True)


@lru_cache(maxsize=1)
def _image_set(path: Path) -> tuple[torch.Tensor, np.ndarray, dict[str, np.ndarray]]:
    found = load_images(path)
    assert isinstance(found.split, dict), f"{path} has no parts of its own"
    return torch.from_numpy(found.images), found.labels, found.split


def _images(file: str, per_class: int, folder: Path, seed: int, epochs: int) -> Drawn:
    """Training images drawn with the seed; a fifth as many of the given test images are for methods that look at validation, and
    the rest of those is the test."""
    values, labels, split = _image_set(folder / file)
    rng = np.random.default_rng([seed, 20])
    given, held = split["train"], split["test"]
    train = given[pick(labels[given], per_class, rng)]
    seen = pick(labels[held], max(1, per_class // 5), rng)
    parts = {"train": train, "validation": held[seen], "test": np.delete(held, seen)}
    some = values[torch.from_numpy(train)].float().div(255)
    mean, std = some.mean((0, 2, 3)), some.std((0, 2, 3)).clamp_min(1e-3)
    maker = ConvNetMaker(values.shape[1], int(labels.max()) + 1, (values.shape[2], values.shape[3]),
                         tuple(round(float(m), 4) for m in mean), tuple(round(float(s), 4) for s in std)).with_widths(WIDTHS)
    return _judged(maker, values, labels, parts, epochs, "images")


@lru_cache(maxsize=1)
def _recordings(path: Path) -> Recordings:
    return load_recordings(path, group="speaker")


def _sounds(folder: Path, seed: int, epochs: int) -> Drawn:
    """Two speakers drawn with the seed are the test; a tenth of the others' recordings is the validation part."""
    found = _recordings(folder / "fsdd")
    rng = np.random.default_rng([seed, 20])
    assert found.groups is not None
    away = rng.permutation(np.unique(found.groups))[:HELD_OUT_SPEAKERS]
    test = np.flatnonzero(np.isin(found.groups, away))
    rest = np.flatnonzero(~np.isin(found.groups, away))
    seen = pick(found.labels[rest], len(rest) // 10 // len(found.class_names), rng)
    features = log_mel(found.sample_rate)
    values = torch.from_numpy(found.waveforms)
    size = tuple(features(values[:1]).shape[-2:])
    maker = SoundNetMaker(1, len(found.class_names), size, (0.0,), (1.0,), (), found.sample_rate, values.shape[1])  # type: ignore[arg-type]
    parts = {"train": np.delete(rest, seen), "validation": rest[seen], "test": test}
    return _judged(maker.with_widths(WIDTHS), values, found.labels, parts, epochs, "waveforms", features)


def _rows(name: str, folder: Path, seed: int, epochs: int) -> Drawn:
    """A split of its own for each seed: a fifth for the test, a part for validation. Classes are weighted by inverse frequency."""
    row = next(r for r in read_json(folder / "manifest.json")["datasets"] if r["name"] == name)
    table = load_table(folder / row["file"], row["target"], task=row["task"], group=row.get("group_column"))
    prepared = prepare(table, seed=seed, folds=1, metric=str(row["metric"]).split()[0], weighting=None, encoding="plain")
    split = prepared.split
    settings = replace(Settings.for_size(len(split.train), prepared.inputs.shape[1], hidden=HIDDEN), epochs=epochs)
    problem = prepared.problem(settings, ((split.train, split.validation),))
    scorer = prepared.scorer(split.test)
    scale = prepared.scale

    def score(outputs: torch.Tensor) -> float:
        values = outputs.double()
        predictions = (values * scale[1] + scale[0] if scale else torch.softmax(values, -1)).numpy()
        found = scorer.score(scorer.error(scorer.rows(predictions)))
        return 100 * found if prepared.metric.endswith("accuracy") else found

    unit = ", %" if prepared.metric.endswith("accuracy") else ""
    return Drawn(problem, torch.from_numpy(split.test), score, table_menu(regression=not prepared.classes),
                 prepared.metric.replace("_", " ") + unit, scorer.higher_is_better)


COLUMNS: dict[str, Column] = {c.name: c for c in (
    Column("mnist", "images", 30, "MNIST, 500 training images", partial(_images, "mnist", 50)),
    Column("cifar10_a_100", "images", 30, "five classes of CIFAR-10, 100 images of each", partial(_images, "cifar10_a.npz", 100)),
    Column("cifar10_a_800", "images", 12, "five classes of CIFAR-10, 800 images of each", partial(_images, "cifar10_a.npz", 800)),
    Column("fsdd", "waveforms", 12, "spoken digits, four speakers to learn from, two for the test", _sounds),
    *(Column(name, "rows", 100, f"{name}, a table", partial(_rows, name)) for name in TABLES),
)}
