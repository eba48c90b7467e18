"""What a population learns: the data as tensors, the objective, and the settings shared by all members."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from wellfit.core.draws import Streams
from wellfit.core.errors import WellfitError
from wellfit.core.recipe import Recipe
from wellfit.core.schedule import Constant, Schedule
from wellfit.kernels.objective import cross_entropy, squared_error
from wellfit.population.network import NetworkSpec

ENGINES = ("auto", "native", "reference")
OPTIMIZERS = ("adam", "sgd")
ADAM_BETAS, ADAM_EPSILON, MOMENTUM = (0.9, 0.999), 1e-8, 0.9


@dataclass(frozen=True)
class Objective:
    """Loss and error of a task. Losses are those of ``kernels.objective``.

    Attributes:
        task: binary, multiclass (both with one output per class) or regression (one output).
        metric: balanced_accuracy, accuracy, log_loss, rmse or r2.
        class_weights: (C,) weights of the loss with mean one over the rows, or None.
    """

    task: Literal["binary", "multiclass", "regression"]
    metric: str
    class_weights: Tensor | None = None

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """() or (K,): the mean over the batch."""
        if self.task == "regression":
            return squared_error(outputs, targets)
        return cross_entropy(outputs, targets, self.class_weights)

    def error(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(K,): the metric turned so that smaller is better: 1 - accuracy, log loss, RMSE, 1 - R²."""
        if self.task == "regression":
            square = (outputs.squeeze(-1) - targets).square().mean(-1)
            return square.sqrt() if self.metric == "rmse" else square / targets.var(unbiased=False)
        if self.metric == "log_loss":
            return cross_entropy(outputs, targets.expand(outputs.shape[:-1]))
        right = (outputs.argmax(-1) == targets).to(outputs.dtype)
        if self.metric == "accuracy":
            return 1 - right.mean(-1)
        classes = outputs.shape[-1]
        counts = torch.bincount(targets, minlength=classes).to(right.dtype)
        per_class = right.new_zeros(*right.shape[:-1], classes).index_add_(-1, targets, right)
        seen = counts > 0
        return 1 - (per_class[..., seen] / counts[seen]).mean(-1)


@dataclass(frozen=True)
class Fold:
    """Row numbers of one training and one validation part. ``validation`` may be empty."""

    train: Tensor
    validation: Tensor


class Timetable:
    """Batches and steps, which follow from the folds, the epochs and the batch size of a problem."""

    folds: tuple[Fold, ...]
    epochs: int
    batch_size: int
    probe_rows: int

    @property
    def rows_per_fold(self) -> int:
        """Training rows used in an epoch's shuffle: the smallest fold's, so that all members make the same steps."""
        return min(len(f.train) for f in self.folds)

    @property
    def batch(self) -> int:
        return min(self.batch_size, self.rows_per_fold)

    @property
    def steps_per_epoch(self) -> int:
        return max(1, self.rows_per_fold // self.batch)

    @property
    def total_steps(self) -> int:
        return self.epochs * self.steps_per_epoch

    def probe(self, fold: int) -> Tensor:
        """Training rows on which the clean training loss is measured: evenly spread, the same at every epoch."""
        rows = self.folds[fold].train
        wanted = min(len(rows), self.probe_rows)
        return rows[torch.linspace(0, len(rows) - 1, wanted).round().long()]


@dataclass(frozen=True)
class Problem(Timetable):
    """Everything members share.

    Attributes:
        network: shape of the network.
        inputs, targets: all rows, (n, D) and (n,).
        folds: the parts a member may be trained on.
        objective: loss and metric.
        epochs, batch_size: length of training; the last incomplete batch of an epoch is left out (each epoch shuffles anew).
        rate_schedule: factor on every member's learning rate over the run.
        feature_groups: (D,) source feature of each column.
        probe_rows: at most so many training rows are used for the clean training loss.
        engine: the tier that trains: "native", "reference", or "auto": the compiled one where it can, on a graphics card
            recorded steps.
        device: where it trains; the tensors given here may be anywhere.
        optimizer: "adam" (torch.optim.AdamW without its decay), or "sgd" (torch.optim.SGD with momentum 0.9).
    """

    network: NetworkSpec
    inputs: Tensor
    targets: Tensor
    folds: tuple[Fold, ...]
    objective: Objective
    epochs: int
    batch_size: int
    rate_schedule: Schedule = field(default_factory=lambda: Constant(1.0))
    feature_groups: Tensor | None = None
    probe_rows: int = 384
    engine: str = "auto"
    device: str = "cpu"
    optimizer: str = "adam"

    def __post_init__(self) -> None:
        for name, known in (("engine", ENGINES), ("optimizer", OPTIMIZERS)):
            if getattr(self, name) not in known:
                raise WellfitError(f"Unknown {name}.", received=repr(getattr(self, name)), expected=", ".join(known))

    @property
    def classes(self) -> int | None:
        return None if self.objective.task == "regression" else self.network.outputs

    @cached_property
    def there(self) -> Problem:
        """This problem with all tensors on its device."""
        def moved(tensor: Any) -> Any:
            return tensor.to(self.device) if isinstance(tensor, Tensor) else tensor

        if self.inputs.device == torch.device(self.device):
            return self
        return replace(self, inputs=moved(self.inputs), targets=moved(self.targets), feature_groups=moved(self.feature_groups),
                       folds=tuple(Fold(moved(f.train), moved(f.validation)) for f in self.folds),
                       objective=replace(self.objective, class_weights=moved(self.objective.class_weights)))


@dataclass(frozen=True)
class Member:
    """One configuration on one fold with one seed. ``epochs`` stops training early at a known epoch (refits)."""

    recipe: Recipe
    learning_rate: float
    seed: int = 0
    fold: int = 0
    epochs: int | None = None


def epoch_order(streams: Streams, epoch: int, rows: int) -> Tensor:
    """The order in which an epoch visits its rows, (rows,) or (K, rows): the same in every driver."""
    return streams.at("order", epoch).permutation(rows)


def class_weights(labels: np.ndarray, classes: int, scheme: str) -> Tensor | None:
    """Weights of the loss: "none", or "balanced": n / (C · n_c), whose mean over the rows is one."""
    if scheme == "none":
        return None
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    weights = np.where(counts > 0, counts.sum() / ((counts > 0).sum() * np.maximum(counts, 1)), 0.0)
    return torch.from_numpy(weights).float()


MetricNames: tuple[str, ...] = ("train_loss", "train_error", "validation_loss", "validation_error")
