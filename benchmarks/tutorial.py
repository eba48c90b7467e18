"""The usual tutorial way to train a regularized network: nn.Sequential, a DataLoader, AdamW, penalties in the loss; and Optuna's
objective around it. What ``search.py`` compares wellfit with."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
import torch.nn.functional as F
from common import read_json
from tables import Entry
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, TensorDataset

from wellfit.data import Preprocessor, load_split, load_table
from wellfit.population.problem import class_weights
from wellfit.search.configuration import Configuration
from wellfit.search.menus import table_menu
from wellfit.search.score import Scorer
from wellfit.search.space import Space

# ---- the data, as a wellfit run prepared them


@dataclass(frozen=True)
class Data:
    """Tensors of all rows, their parts, and how a wellfit run trained on them."""

    x: Tensor
    y: Tensor
    train: Tensor
    validation: Tensor
    test: Tensor
    weights: Tensor | None
    groups: Tensor  # source feature of each column
    classes: int
    hidden: tuple[int, ...]
    epochs: int
    batch: int
    metric: str

    @property
    def development(self) -> Tensor:
        return torch.cat([self.train, self.validation]).sort().values

    def space(self) -> Space:
        """What the run searched."""
        return Space(table_menu(regression=False, keeps_width=any(a == b for a, b in zip(self.hidden, self.hidden[1:]))))

    def score(self, outputs: Tensor, rows: Tensor) -> float:
        scorer = Scorer(self.metric, self.y[rows].numpy(), self.classes)
        return scorer.score(scorer.error(scorer.rows(outputs.numpy())))


def data_of(entry: Entry, run: Path) -> Data:
    about, loaded = read_json(run / "run.json"), load_table(entry.path, entry.target, task=entry.task, group=entry.group)
    split, settings = load_split(run / "split.npz"), about["settings"]
    if settings["activation"] != "relu":
        raise SystemExit(f"{run} has networks with {settings['activation']}: the loop here is written with relu")
    preprocessor = Preprocessor.from_dict(read_json(run / "best" / "preprocess.json")["features"])
    classes = len(loaded.classes or ())
    train, validation, test = (torch.from_numpy(rows) for rows in (split.train, split.validation, split.test))
    return Data(torch.from_numpy(preprocessor.transform(loaded.frame)), torch.from_numpy(loaded.y.astype(np.int64)),
                train, validation, test,
                class_weights(loaded.y[split.development], classes, about["class_weights"]), torch.as_tensor(preprocessor.groups),
                classes, tuple(settings["hidden"]), settings["epochs"], settings["batch_size"], about["metric"])


def training_of(run: Path) -> dict[str, Any]:
    """What decides how a configuration is trained in this run; runs that agree in it share a study."""
    about = read_json(run / "run.json")
    return {**{k: about["settings"][k] for k in ("hidden", "epochs", "batch_size")}, "encoding": about["encoding"]}


# ---- what people write


class Residual(nn.Module):
    """A block with a skip around it, dropped whole for some rows (stochastic depth)."""

    def __init__(self, block: nn.Module, rate: float):
        super().__init__()
        self.block, self.rate = block, rate

    def forward(self, x: Tensor) -> Tensor:
        value = self.block(x)
        if self.training and self.rate:
            value = value * (torch.rand(len(x), 1) >= self.rate) / (1 - self.rate)
        return x + value


def network(data: Data, has: dict[str, Any]) -> nn.Sequential:
    widths = (data.x.shape[1], *data.hidden)
    skipped = [i for i in range(1, len(data.hidden)) if widths[i] == widths[i + 1]] if "skip_connections" in has else []
    depth_rate = has["stochastic_depth"].rate if "stochastic_depth" in has else 0.0
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(zip(widths, widths[1:])):
        block = [nn.Linear(a, b), *([nn.BatchNorm1d(b)] if "batch_norm" in has else []), nn.ReLU()]
        if i in skipped:
            layers.append(Residual(nn.Sequential(*block), depth_rate * (skipped.index(i) + 1) / len(skipped)))
        else:
            layers += block
        if "dropout" in has:
            layers.append(nn.Dropout(has["dropout"].rate))
    return nn.Sequential(*layers, nn.Linear(data.hidden[-1], data.classes))


def augment(x: Tensor, y: Tensor, data: Data, has: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Mixup, CutMix or Cutout on the features of a row, and noise. Targets become probabilities where they are mixed."""
    sources = int(data.groups.max()) + 1
    if "mixup" in has:
        share = random.betavariate(has["mixup"].alpha, has["mixup"].alpha)
        soft, other = F.one_hot(y, data.classes).float(), torch.randperm(len(x))
        x, y = share * x + (1 - share) * x[other], share * soft + (1 - share) * soft[other]
    elif "cut_mix" in has:
        cut = torch.rand(len(x), 1) * (torch.rand(len(x), 1) < has["cut_mix"].rate)
        taken = torch.rand(len(x), sources) < cut
        share = 1 - taken.float().mean(1, keepdim=True)
        soft, other = F.one_hot(y, data.classes).float(), torch.randperm(len(x))
        x, y = torch.where(taken[:, data.groups], x[other], x), share * soft + (1 - share) * soft[other]
    elif "cutout" in has:
        cut = has["cutout"].share * (torch.rand(len(x), 1) < has["cutout"].rate)
        taken = torch.rand(len(x), sources) < cut
        x = x.masked_fill(taken[:, data.groups], 0.0)
    if "input_noise" in has:
        x = x + has["input_noise"].std * torch.randn_like(x)
    return x, y


def penalty(matrices: Sequence[Tensor], data: Data, has: dict[str, Any], progress: float) -> Tensor | float:
    """What is added to the loss. Sparsity rises over the training, as it does in wellfit's space."""
    total: Tensor | float = 0.0
    if "l2" in has:
        total = total + has["l2"].strength * sum(w.square().sum() for w in matrices)
    if "l1" in has:
        total = total + has["l1"].strength.at(progress) * sum(w.abs().sum() for w in matrices)
    if "elastic_net" in has:
        share = has["elastic_net"].l1_ratio
        mixed = sum(share * w.abs().sum() + (1 - share) * w.square().sum() for w in matrices)
        total = total + has["elastic_net"].strength.at(progress) * mixed
    if part := has.get("group_lasso") or has.get("group_mcp"):
        size = torch.bincount(data.groups) * data.hidden[0]
        norm = (torch.zeros(len(size)).index_add(0, data.groups, matrices[0].square().sum(0)) + 1e-12).sqrt()
        if part.name == "group_mcp":
            limit = part.release * (size / matrices[0].shape[1]).sqrt()
            norm = torch.minimum(norm, limit)
            norm = norm - norm.square() / (2 * limit)
        total = total + part.strength.at(progress) * (size.sqrt() * norm).sum()
    return total


def train(data: Data, configuration: Configuration, rows: Tensor, epochs: int,
          look: Callable[[int, nn.Module], bool] = lambda epoch, model: True) -> nn.Module:
    """Train a configuration; after every epoch ``look`` sees the network to be judged and says whether to go on."""
    has: dict[str, Any] = {part.name: part for part in configuration.recipe}
    batch = min(data.batch, len(rows))
    loader = DataLoader(TensorDataset(data.x[rows], data.y[rows]), batch_size=batch, shuffle=True, drop_last=True)
    model, rate = network(data, has), configuration.learning_rate
    decay = 1 / (rate * has["weight_decay"].timescale * len(loader)) if "weight_decay" in has else 0.0  # epochs -> AdamW's own
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=data.epochs * len(loader))
    criterion = nn.CrossEntropyLoss(weight=data.weights,
                                    label_smoothing=has["label_smoothing"].amount if "label_smoothing" in has else 0.0)
    matrices = [m.weight for m in model.modules() if isinstance(m, nn.Linear)]
    averaged = None
    if "ema" in has:
        averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(has["ema"].decay), use_buffers=True)
    elif "swa" in has:
        averaged = AveragedModel(model, use_buffers=True)
    for epoch in range(epochs):
        model.train()
        for step, (x, y) in enumerate(loader):
            x, y = augment(x, y, data, has)
            loss = criterion(model(x), y) + penalty(matrices, data, has, (epoch + step / len(loader)) / data.epochs)
            optimizer.zero_grad()
            loss.backward()
            if "gradient_clipping" in has:
                nn.utils.clip_grad_norm_(model.parameters(), has["gradient_clipping"].max_norm)
            optimizer.step()
            scheduler.step()
            if "max_norm" in has:
                with torch.no_grad():
                    for weight in matrices:
                        weight.copy_(torch.renorm(weight, 2, 0, has["max_norm"].radius))
            if averaged is not None and "ema" in has:
                averaged.update_parameters(model)
        if averaged is not None and "swa" in has and (epoch + 1) / data.epochs > has["swa"].start:
            averaged.update_parameters(model)
        judged = model if averaged is None or not averaged.n_averaged else averaged
        if not look(epoch + 1, judged):
            break
    return judged


def seed_everything(seed: int) -> None:
    torch.manual_seed(seed)
    random.seed(seed)  # of mixup


@torch.no_grad()
def outputs_of(model: nn.Module, x: Tensor) -> Tensor:
    model.eval()
    return model(x)


class OutOfTime(Exception):
    """The study's time is up in the middle of a trial, which then counts for nothing."""


def objective(trial: optuna.Trial, data: Data, space: Space, deadline: float) -> float:
    configuration = space.suggest(trial)
    has: dict[str, Any] = {part.name: part for part in configuration.recipe}
    stopping = has.get("early_stopping")
    x, y = data.x[data.validation], data.y[data.validation]
    found = {"score": 0.0, "loss": math.inf, "epoch": 0}

    def look(epoch: int, model: nn.Module) -> bool:
        outputs = outputs_of(model, x)
        score = data.score(outputs, data.validation)
        if time.monotonic() > deadline:
            raise OutOfTime
        trial.report(score, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
        if stopping is None:
            found.update(score=score, epoch=epoch)
            return True
        loss = F.cross_entropy(outputs, y, weight=data.weights).item()
        if loss < found["loss"]:
            found.update(score=score, loss=loss, epoch=epoch)
        return bool(epoch - found["epoch"] < stopping.patience)

    train(data, configuration, data.train, data.epochs, look)
    trial.set_user_attr("epochs", found["epoch"])
    return float(found["score"])
