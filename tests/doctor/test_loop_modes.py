"""Modes of the model in training, validation and recalibration; regularization of what does not fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel, update_bn

from doctor.loops import evaluate, fit_set_up, found, l2, loader, mlp, plain_step, step_set_up

MODES = ("left-in-eval-mode", "validation-in-train-mode", "recalibration-with-dropout")


def fitting(*, train: str = "epoch", evaluation: str = "eval") -> Any:
    def fit(model: nn.Module, optimizer: Any, train_loader: Any, val_loader: Any) -> None:
        if train == "once":
            model.train()
        for _ in range(4):
            if train == "epoch":
                model.train()
            for step, batch in enumerate(train_loader):
                if train == "bn frozen":
                    model.train()
                    for m in model.modules():
                        if isinstance(m, nn.BatchNorm1d):
                            m.eval()
                plain_step(model, optimizer, batch)
                if evaluation == "mid epoch" and step == 2:
                    evaluate(model, val_loader)
            with torch.no_grad():
                if evaluation == "eval":
                    model.eval()
                elif evaluation == "mc dropout":
                    model.eval()
                    for m in model.modules():
                        if isinstance(m, nn.Dropout):
                            m.train()
                for x, y in val_loader:
                    F.cross_entropy(model(x), y)
    return fit


def plain_validate(model: nn.Module, val_loader: Any) -> float:
    with torch.no_grad():
        return sum(float(F.cross_entropy(model(x), y)) for x, y in val_loader)


def restoring_validate(model: nn.Module, val_loader: Any) -> float:
    was = model.training
    value = evaluate(model, val_loader)[0]
    model.train(was)
    return value


@pytest.mark.parametrize("model", [lambda: mlp(dropout=0.5), lambda: mlp(norm=True)])
@pytest.mark.parametrize("fit", [fitting(train="once"), fitting(evaluation="mid epoch")])
def test_training_goes_on_in_eval_mode(fit: Any, model: Any) -> None:
    assert found(fit_set_up(fit, model=model()), *MODES).get("left-in-eval-mode") == "error"


def test_a_training_step_that_validates_and_forgets() -> None:
    def train_step(model: nn.Module, optimizer: Any, batch: Any, step: int, val_loader: Any) -> float:
        value = plain_step(model, optimizer, batch)
        evaluate(model, val_loader)
        return value
    made = step_set_up(train_step, model=mlp(dropout=0.5), val_loader=loader(32, seed=1))
    assert found(made, *MODES) == {"left-in-eval-mode": "error"}


@pytest.mark.parametrize("fit", [fitting(), fitting(train="bn frozen"), fitting(evaluation="mc dropout")])
def test_modes_done_right(fit: Any) -> None:
    assert not found(fit_set_up(fit, model=mlp(dropout=0.5, norm=True)), *MODES)


def test_without_dropout_and_norms_modes_do_not_matter() -> None:
    assert not found(fit_set_up(fitting(train="once", evaluation="none")), *MODES)


def test_validation_in_train_mode() -> None:
    assert found(fit_set_up(fitting(evaluation="none"), model=mlp(dropout=0.5)), *MODES) == {"validation-in-train-mode": "error"}
    made = step_set_up(plain_step, model=mlp(norm=True), validate=plain_validate, val_loader=loader(32, seed=1))
    assert found(made, *MODES) == {"validation-in-train-mode": "error"}


def test_validation_in_eval_mode() -> None:
    made = step_set_up(plain_step, model=mlp(dropout=0.5, norm=True), validate=restoring_validate, val_loader=loader(32, seed=1))
    assert not found(made, *MODES)


# -------------------------------------------------------------------------------------------------------- recalibration

class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Linear(16, 3)

    def forward(self, x: Any) -> Any:
        return self.b(torch.relu(self.norm(self.a(F.dropout(x, 0.5, self.training)))))


def before_norm() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 16), nn.Dropout(0.5), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))


def with_update_bn(averaged: nn.Module, train_loader: Any) -> None:
    update_bn(train_loader, averaged)


def by_hand(averaged: nn.Module, train_loader: Any) -> None:
    averaged.train()
    with torch.no_grad():
        for x, _ in train_loader:
            averaged(x)


def without_dropout(averaged: nn.Module, train_loader: Any) -> None:
    averaged.eval()
    for m in averaged.modules():
        if isinstance(m, nn.BatchNorm1d):
            m.reset_running_stats()
            m.train()
            m.momentum = None
    with torch.no_grad():
        for x, _ in train_loader:
            averaged(x)


@pytest.mark.parametrize("model", [before_norm, Functional])
@pytest.mark.parametrize("finalize", [with_update_bn, by_hand])
def test_recalibration_with_dropout_on(finalize: Any, model: Any) -> None:
    net = model()
    made = step_set_up(plain_step, model=net, averaged=AveragedModel(net), finalize=finalize)
    assert found(made, *MODES) == {"recalibration-with-dropout": "error"}


@pytest.mark.parametrize(("finalize", "model"), [(without_dropout, before_norm), (without_dropout, Functional),
                                                 (with_update_bn, lambda: mlp(dropout=0.5, norm=True))],
                         ids=["dropout off", "functional off", "dropout behind the last norm"])
def test_recalibration_without_dropout(finalize: Any, model: Any) -> None:
    net = model()
    assert not found(step_set_up(plain_step, model=net, averaged=AveragedModel(net), finalize=finalize), *MODES)


# ------------------------------------------------------------------------------------------------------------ underfitting

UNDER = ("regularization-while-underfitting",)


def heavy(decay: float, dropout: float, penalty: float = 0.0) -> dict[str, Any]:
    model = mlp(dropout=dropout, width=32)

    def train_step(model: nn.Module, optimizer: Any, batch: Any) -> float:
        optimizer.zero_grad()
        fit = F.cross_entropy(model(batch[0]), batch[1])
        (fit + penalty * l2(model)).backward()
        optimizer.step()
        return fit.item()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=decay)
    return step_set_up(train_step, model=model, optimizer=optimizer, epochs=25)


@pytest.mark.parametrize("made", [heavy(0.5, 0.0), heavy(0.2, 0.9), heavy(0.0, 0.0, 0.5)], ids=["decay", "both", "in the loss"])
def test_heavy_regularization_of_what_does_not_fit(made: dict[str, Any]) -> None:
    assert found(made, *UNDER) == {"regularization-while-underfitting": "warning"}


class Thresholding(torch.optim.SGD):
    """Soft-thresholds the weights in its own step."""

    strength = 0.3

    def step(self, closure: Any = None) -> Any:
        result = super().step(closure)
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p.ndim > 1:
                        p.copy_(F.softshrink(p, group["lr"] * self.strength))
        return result


def after_the_step(way: str, strength: float) -> dict[str, Any]:
    """Soft-thresholding or decay after the optimizer's update: in its own step, with a closure, or in the training step."""
    model = mlp(width=32)
    own = way in ("own", "closure")
    optimizer = (Thresholding if own else torch.optim.SGD)(model.parameters(), lr=0.1)
    optimizer.strength = strength

    def train_step(model: nn.Module, optimizer: Any, batch: Any) -> float:
        def closure() -> Any:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(batch[0]), batch[1])
            loss.backward()
            return loss
        if way == "closure":
            return float(optimizer.step(closure))
        loss = closure()
        optimizer.step()
        with torch.no_grad():
            for p in model.parameters() if not own else ():
                p.copy_(F.softshrink(p, 0.1 * strength) if way == "threshold" else p * (1 - 0.1 * strength))
        return float(loss)
    return step_set_up(train_step, model=model, optimizer=optimizer, epochs=25)


@pytest.mark.parametrize(("way", "strength"), [("threshold", 0.3), ("decay", 0.9), ("own", 0.3), ("closure", 0.3)])
def test_heavy_regularization_after_the_step(way: str, strength: float) -> None:
    assert found(after_the_step(way, strength), *UNDER) == {"regularization-while-underfitting": "warning"}


@pytest.mark.parametrize(("way", "strength"), [("threshold", 1e-3), ("decay", 1e-2), ("own", 1e-3)])
def test_light_regularization_after_the_step(way: str, strength: float) -> None:
    assert not found(after_the_step(way, strength), *UNDER)


@pytest.mark.parametrize("made", [heavy(1e-4, 0.5), heavy(0.0, 0.0), {**heavy(0.5, 0.9), "epochs": 0}])
def test_regularization_of_what_fits(made: dict[str, Any]) -> None:
    assert not found(made, *UNDER)


def test_a_rate_too_small_to_learn_is_not_blamed_on_dropout() -> None:
    made = heavy(0.01, 0.5)
    for group in made["optimizer"].param_groups:
        group["lr"] = 1e-6
    assert not found(made, *UNDER)
