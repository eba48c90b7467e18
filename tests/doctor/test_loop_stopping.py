"""Early stopping: what fit depends on, and which weights it leaves."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import wellfit as wf
from doctor.loops import evaluate, fit_set_up, found, loader, mlp, train_epoch

STOP = ("stopping-on-training-data", "stopping-on-test-data", "stopping-wrong-direction", "patience-in-evaluations",
        "best-weights-not-restored", "best-weights-by-reference")


@dataclass
class Stopper:
    """Early stopping as people write it."""

    patience: int = 4
    better: str = "lower"
    keep: Callable[[nn.Module], Any] | None = lambda model: copy.deepcopy(model.state_dict())
    best: float | None = None
    best_state: Any = None
    waited: int = 0

    def __call__(self, value: float, model: nn.Module) -> bool:
        if self.best is None or (value < self.best if self.better == "lower" else value > self.best):
            self.best, self.waited = value, 0
            if self.keep is not None:
                self.best_state = self.keep(model)
        else:
            self.waited += 1
        return self.waited >= self.patience


def fitting(monitor: str = "loss", *, on: str = "val_loader", restore: str = "always", better: str | None = None, patience: int = 4,
            keep: Any = Stopper.keep, epochs: int | None = None, copies: bool = False) -> Any:
    """A fit that stops on the loss or accuracy of a loader."""
    given = epochs

    def fit(model: nn.Module, optimizer: Any, train_loader: Any, val_loader: Any, test_loader: Any, epochs: int) -> Any:
        better_ = better or ("lower" if monitor == "loss" else "higher")
        stopper = Stopper(patience, better_, keep)
        loaders = {"train_loader": train_loader, "val_loader": val_loader, "test_loader": test_loader}
        stopped = False
        try:
            for _ in range(given or epochs):
                running = train_epoch(model, optimizer, train_loader)
                logged = {name: evaluate(model, one)[0 if monitor == "loss" else 1] for name, one in loaders.items()}
                if stopper(running if on == "running" else logged[on], model):
                    stopped = True
                    break
        except KeyboardInterrupt:
            if restore == "not after ctrl-c":
                return model
        if restore == "always" or (restore == "when stopped" and stopped) or restore == "not after ctrl-c":
            model.load_state_dict(stopper.best_state)
        return copy.deepcopy(model) if copies else None
    return fit


def made(fit: Any, **more: Any) -> dict[str, Any]:
    return fit_set_up(fit, test_loader=loader(48, 24, seed=2, shuffle=False), epochs=25, **more)


# -------------------------------------------------------------------------------------------------------- right as it is

@pytest.mark.parametrize("fit", [fitting(), fitting("accuracy"), fitting(copies=True), fitting(patience=1), fitting(epochs=12),
                                 fitting(patience=30)],
                         ids=["loss", "accuracy", "returns a copy", "patience of one", "own epochs", "never stops"])
def test_early_stopping_done_right(fit: Any) -> None:
    assert not found(made(fit, model=mlp(dropout=0.2, norm=True), declared={"patience": 4}), *STOP)


@pytest.mark.parametrize("kind", ["number", "binary"])
def test_early_stopping_on_other_targets(kind: str) -> None:
    measure = F.mse_loss if kind == "number" else F.binary_cross_entropy_with_logits

    def fit(model: nn.Module, optimizer: Any, train_loader: Any, val_loader: Any) -> nn.Module:
        best, best_model, waited = float("inf"), None, 0
        for _ in range(30):
            model.train()
            for x, y in train_loader:
                optimizer.zero_grad()
                measure(model(x).squeeze(1), y).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                value = sum(float(measure(model(x).squeeze(1), y)) for x, y in val_loader) / len(val_loader)
            if value < best:
                best, best_model, waited = value, copy.deepcopy(model), 0
            else:
                waited += 1
                if waited > 3:
                    break
        assert best_model is not None
        return best_model
    right = fit_set_up(fit, model=mlp(out=1), criterion=nn.MSELoss(), train_loader=loader(targets=kind),
                       val_loader=loader(48, seed=1, targets=kind))
    assert not found(right, *STOP)


def test_a_plain_loop_has_no_stopping() -> None:
    def fit(model: nn.Module, optimizer: Any, train_loader: Any, val_loader: Any) -> None:
        history, parameters = [], dict(model.named_parameters())
        for _ in range(8):
            train_epoch(model, optimizer, train_loader)
            history.append((evaluate(model, val_loader), len(parameters)))
    assert not found(fit_set_up(fit), *STOP)


def test_a_checkpoint_file_that_is_read_back() -> None:
    def fit(model: nn.Module, optimizer: Any, train_loader: Any, val_loader: Any) -> None:
        best, waited = 0.0, 0
        for _ in range(30):
            train_epoch(model, optimizer, train_loader)
            value = evaluate(model, val_loader)[1]
            if value > best:
                best, waited = value, 0
                torch.save(model.state_dict(), "best.pt")
            else:
                waited += 1
                if waited == 5:
                    break
        model.load_state_dict(torch.load("best.pt", weights_only=True))
    assert not found(fit_set_up(fit), *STOP)


def test_a_plan_that_stops_and_finishes() -> None:
    def fit(model: nn.Module, optimizer: Any, train_loader: Any, val_loader: Any) -> nn.Module:
        plan = wf.Recipe(wf.EarlyStopping(patience=3)).compile(model)
        plan.attach(optimizer)
        for _ in range(30):
            train_epoch(model, optimizer, train_loader)
            if plan.observe(validation_loss=evaluate(model, val_loader)[0]).stop:
                break
        return plan.finish()
    assert not found(fit_set_up(fit), *STOP)


def test_reduce_on_plateau_without_stopping() -> None:
    def fit(model: nn.Module, optimizer: Any, train_loader: Any, val_loader: Any) -> None:
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=2)
        for _ in range(10):
            train_epoch(model, optimizer, train_loader)
            scheduler.step(evaluate(model, val_loader)[0])
    assert not found(fit_set_up(fit), *STOP)


def test_an_average_that_is_evaluated_and_kept() -> None:
    def fit(model: nn.Module, optimizer: Any, train_loader: Any, val_loader: Any) -> nn.Module:
        average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
        best, best_average, waited = float("inf"), None, 0
        for _ in range(30):
            train_epoch(model, optimizer, train_loader)
            average.update_parameters(model)
            value = evaluate(average, val_loader)[0]
            if value < best:
                best, best_average, waited = value, copy.deepcopy(average), 0
            else:
                waited += 1
                if waited == 4:
                    break
        assert best_average is not None
        return best_average
    assert not found(fit_set_up(fit), *STOP)


# ------------------------------------------------------------------------------------------------------------- which data

@pytest.mark.parametrize("fit", [fitting(on="running"), fitting(on="train_loader"), fitting("accuracy", on="train_loader")],
                         ids=["running loss", "training loss", "training accuracy"])
def test_stopping_on_training_data(fit: Any) -> None:
    assert found(made(fit), *STOP) == {"stopping-on-training-data": "error"}


def test_a_validation_loader_that_is_the_training_loader() -> None:
    def fit(model: nn.Module, optimizer: Any, train_loader: Any, val_loader: Any) -> None:
        fitting()(model, optimizer, train_loader, val_loader, val_loader, 25)
    given = fit_set_up(fit)
    given["val_loader"] = given["train_loader"]
    assert "stopping-on-training-data" in found(given, *STOP)


@pytest.mark.parametrize("fit", [fitting(on="test_loader"), fitting("accuracy", on="test_loader"),
                                 fitting("accuracy", on="test_loader", patience=1000)], ids=["loss", "accuracy", "best epoch"])
def test_stopping_on_test_data(fit: Any) -> None:
    assert found(made(fit), *STOP) == {"stopping-on-test-data": "error"}


# -------------------------------------------------------------------------------------------------------------- direction

@pytest.mark.parametrize("fit", [fitting("accuracy", better="lower"), fitting("loss", better="higher"),
                                 fitting("accuracy", better="lower", patience=1000)],
                         ids=["accuracy down", "loss up", "best epoch"])
def test_stopping_in_the_wrong_direction(fit: Any) -> None:
    assert found(made(fit), *STOP) == {"stopping-wrong-direction": "error"}


# --------------------------------------------------------------------------------------------------------------- patience

def by_batches(every: int, patience: int, *, in_epochs: bool = False) -> Any:
    def fit(model: nn.Module, optimizer: Any, train_loader: Any, val_loader: Any) -> None:
        stopper = Stopper(patience * len(train_loader) // every if in_epochs else patience)
        step = 0
        for _ in range(40):
            for x, y in train_loader:
                model.train()
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
                step += 1
                if step % every == 0 and stopper(evaluate(model, val_loader)[0], model):
                    model.load_state_dict(stopper.best_state)
                    return
        model.load_state_dict(stopper.best_state)
    return fit


@pytest.mark.parametrize(("every", "patience"), [(2, 6), (1, 8), (18, 4)])
def test_patience_counted_in_evaluations(every: int, patience: int) -> None:
    given = fit_set_up(by_batches(every, patience), declared={"patience": patience})
    assert found(given, *STOP) == {"patience-in-evaluations": "warning"}


@pytest.mark.parametrize(("every", "patience", "in_epochs"), [(6, 5, False), (2, 4, True)])
def test_patience_counted_in_epochs(every: int, patience: int, in_epochs: bool) -> None:
    assert not found(fit_set_up(by_batches(every, patience, in_epochs=in_epochs), declared={"patience": patience}), *STOP)


# ------------------------------------------------------------------------------------------------------------ best weights

@pytest.mark.parametrize(("fit", "severity"), [(fitting(restore="never"), "error"), (fitting(restore="when stopped"), "error"),
                                               (fitting(restore="not after ctrl-c"), "warning"),
                                               (fitting(restore="never", keep=None), "warning")],
                         ids=["never", "when stopped", "not after ctrl-c", "nothing kept"])
def test_best_weights_are_not_restored(fit: Any, severity: str) -> None:
    assert found(made(fit), *STOP) == {"best-weights-not-restored": severity}


@pytest.mark.parametrize("keep", [lambda m: m.state_dict(), lambda m: dict(m.state_dict().items()),
                                  lambda m: {k: v.cpu() for k, v in m.state_dict().items()}],
                         ids=["state_dict", "dict", "cpu"])
def test_best_weights_by_reference(keep: Any) -> None:
    assert found(made(fitting(keep=keep)), *STOP) == {"best-weights-by-reference": "error"}


def test_the_best_model_is_the_model() -> None:
    def fit(model: nn.Module, optimizer: Any, train_loader: Any, val_loader: Any) -> nn.Module:
        best, best_model = 0.0, model
        for _ in range(12):
            train_epoch(model, optimizer, train_loader)
            value = evaluate(model, val_loader)[1]
            if value > best:
                best, best_model = value, model
        return best_model
    assert found(fit_set_up(fit), *STOP) == {"best-weights-by-reference": "error"}


def test_best_weights_left_in_a_file_are_noted() -> None:
    def fit(model: nn.Module, optimizer: Any, train_loader: Any, val_loader: Any) -> None:
        best = float("inf")
        for _ in range(15):
            train_epoch(model, optimizer, train_loader)
            value = evaluate(model, val_loader)[0]
            if value < best:
                best = value
                torch.save(model.state_dict(), "best.pt")
    assert found(fit_set_up(fit), *STOP) == {"best-weights-not-restored": "note"}


@dataclass
class Trainer:
    """A trainer that holds what it trains."""

    model: nn.Module
    optimizer: Any
    log: list[float] = field(default_factory=list)

    def fit(self, train_loader: Any, val_loader: Any) -> None:
        stopper = Stopper(3)
        for _ in range(30):
            train_epoch(self.model, self.optimizer, train_loader)
            self.log.append(evaluate(self.model, val_loader)[0])
            if stopper(self.log[-1], self.model):
                break
        self.model.load_state_dict(stopper.best_state)


def test_a_method_is_run_on_a_copy_of_its_object() -> None:
    given = fit_set_up(None)
    trainer = Trainer(given["model"], given["optimizer"])
    assert not found({**given, "fit": trainer.fit}, *STOP)
    assert not trainer.log


def test_a_fit_that_fails_is_skipped() -> None:
    def fit(model: nn.Module, train_loader: Any) -> None:
        raise RuntimeError("no data")
    assert not found(fit_set_up(fit))
