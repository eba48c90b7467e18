"""Penalties in the training step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import wellfit as wf
from doctor.loops import found, l1, l2, loader, mlp, step_set_up

PENALTY = ("penalty-missing", "penalty-doubled", "penalty-scaled-by-accumulation", "l1-by-subgradient", "l1-threshold-after-adam",
           "penalty-in-logged-loss")


def stepping(penalty: Any = None, *, log: str = "data", clip: float = 0.0, smoothing: float = 0.0) -> Any:
    def train_step(model: nn.Module, optimizer: Any, batch: Any) -> float:
        x, y = batch
        optimizer.zero_grad()
        fit = F.cross_entropy(model(x), y, label_smoothing=smoothing)
        loss = fit if penalty is None else fit + penalty(model)
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        return (loss if log == "total" else fit).item()
    return train_step


def accumulating(every: int, penalty: Any, *, divide_penalty: bool, once: bool = False) -> Any:
    def train_step(model: nn.Module, optimizer: Any, batch: Any, step: int) -> float:
        x, y = batch
        fit = F.cross_entropy(model(x), y)
        last = (step + 1) % every == 0
        extra = penalty(model) if last or not once else 0.0
        loss = (fit + extra) / every if divide_penalty else fit / every + extra
        loss.backward()
        if last:
            optimizer.step()
            optimizer.zero_grad()
        return fit.item()
    return train_step


# ------------------------------------------------------------------------------------------------------------- missing

@pytest.mark.parametrize("declared", [{"l1": 1e-3}, {"l2": 1e-3}, {"weight_decay": 1e-2}, {"elastic_net": (1e-3, 0.5)}])
def test_a_declared_penalty_that_is_not_there(declared: dict[str, Any]) -> None:
    assert found(step_set_up(stepping(), declared=declared), *PENALTY) == {"penalty-missing": "error"}


def test_a_penalty_without_gradient_is_missing() -> None:
    def detached(model: nn.Module) -> Any:
        return 1e-3 * sum(p.detach().abs().sum() for p in model.parameters())
    model = mlp(dropout=0.3, norm=True)
    made = step_set_up(stepping(detached, clip=0.5), model=model, declared={"l1": 1e-3})
    assert found(made, *PENALTY) == {"penalty-missing": "error"}


def test_max_norm_that_is_not_there() -> None:
    assert found(step_set_up(stepping(), declared={"max_norm": 2.0}), *PENALTY) == {"penalty-missing": "warning"}


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_penalty_that_is_there(smoothing: float) -> None:
    made = step_set_up(stepping(lambda m: 1e-3 * l2(m), clip=0.1, smoothing=smoothing), declared={"l2": 1e-3})
    assert not found(made, *PENALTY)


def test_half_the_squares_is_a_convention_too() -> None:
    assert not found(step_set_up(stepping(lambda m: 0.5e-3 * l2(m)), declared={"l2": 1e-3}), *PENALTY)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_decay_of_the_optimizer_counts(kind: Any) -> None:
    model = mlp()
    made = step_set_up(stepping(), model=model, optimizer=kind(model.parameters(), lr=0.01, weight_decay=0.05),
                       declared={"weight_decay": 0.05})
    assert not found(made, *PENALTY)


def test_decay_by_hand_after_the_step_counts() -> None:
    def train_step(model: nn.Module, optimizer: Any, batch: Any) -> float:
        value = stepping()(model, optimizer, batch)
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(1 - 0.05 * 0.1)
        return float(value)
    assert not found(step_set_up(train_step, declared={"weight_decay": 0.1}), *PENALTY)


def test_a_step_that_cannot_be_explained_is_left_alone() -> None:
    def train_step(model: nn.Module, optimizer: Any, batch: Any) -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        for p in model.parameters():
            p.grad += 0.01 * torch.randn_like(p)
        optimizer.step()
        return loss.item()
    assert not found(step_set_up(train_step, declared={"l1": 1e-3, "l2": 1e-3}), *PENALTY)


def test_a_penalty_inside_the_model_is_not_called_missing() -> None:
    class WithLoss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp()

        def forward(self, x: Any, y: Any) -> Any:
            return F.cross_entropy(self.net(x), y) + 1e-3 * l1(self.net)

    def train_step(model: nn.Module, optimizer: Any, batch: Any) -> float:
        optimizer.zero_grad()
        loss = model(*batch)
        loss.backward()
        optimizer.step()
        return float(loss)
    assert "penalty-missing" not in found(step_set_up(train_step, model=WithLoss(), declared={"l1": 1e-3}), *PENALTY)


# ------------------------------------------------------------------------------------------------------------- doubled

def test_in_the_loss_and_in_the_optimizer() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=2e-3)
    made = step_set_up(stepping(lambda m: 1e-3 * l2(m)), model=model, optimizer=optimizer, declared={"l2": 1e-3})
    assert found(made, *PENALTY) == {"penalty-doubled": "error"}


def test_each_weight_counted_for_every_module_above_it() -> None:
    def nested(model: nn.Module) -> Any:
        return 1e-3 * sum(p.square().sum() for m in model.modules() for p in m.parameters())
    assert found(step_set_up(stepping(nested), declared={"l2": 1e-3}), *PENALTY) == {"penalty-doubled": "error"}


def test_adamw_beside_the_same_l2_with_nothing_declared() -> None:
    model = mlp()
    made = step_set_up(stepping(lambda m: 0.5e-2 * l2(m)), model=model,
                       optimizer=torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2))
    assert found(made, *PENALTY) == {"penalty-doubled": "warning"}


def test_l2_and_decay_both_declared() -> None:
    model = mlp()
    made = step_set_up(stepping(lambda m: 1e-3 * l2(m)), model=model, declared={"l2": 1e-3, "weight_decay": 2e-3},
                       optimizer=torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=2e-3))
    assert not found(made, *PENALTY)


def test_penalties_of_different_groups_are_not_doubled() -> None:
    model = mlp()
    groups = [{"params": [model[0].weight], "weight_decay": 2e-3}, {"params": [*model[2].parameters(), model[0].bias]}]
    made = step_set_up(stepping(lambda m: 1e-3 * m[2].weight.square().sum()), model=model,
                       optimizer=torch.optim.SGD(groups, lr=0.05, weight_decay=0.0))
    assert not found(made, *PENALTY)


# -------------------------------------------------------------------------------------------------------- accumulation

@pytest.mark.parametrize("every", [2, 4])
def test_a_penalty_added_to_every_micro_batch(every: int) -> None:
    made = step_set_up(accumulating(every, lambda m: 1e-3 * l1(m), divide_penalty=False),
                       declared={"l1": 1e-3, "accumulation": every})
    assert found(made, *PENALTY) == {"penalty-scaled-by-accumulation": "error", "l1-by-subgradient": "warning"}


def test_a_penalty_added_once_and_divided() -> None:
    made = step_set_up(accumulating(4, lambda m: 1e-3 * l2(m), divide_penalty=True, once=True), declared={"l2": 1e-3})
    assert found(made, *PENALTY) == {"penalty-scaled-by-accumulation": "error"}


@pytest.mark.parametrize(("divide", "once"), [(True, False), (False, True)])
def test_accumulation_done_right(divide: bool, once: bool) -> None:
    made = step_set_up(accumulating(4, lambda m: 1e-3 * l2(m), divide_penalty=divide, once=once), declared={"l2": 1e-3})
    assert not found(made, *PENALTY)


# ------------------------------------------------------------------------------------------------------------------ L1

def test_l1_in_the_loss_under_amp() -> None:
    scaler = torch.amp.GradScaler("cpu")

    def train_step(model: nn.Module, optimizer: Any, batch: Any) -> float:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            fit = F.cross_entropy(model(batch[0]), batch[1])
        scaler.scale(fit + 1e-3 * l1(model)).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 0.2)
        scaler.step(optimizer)
        scaler.update()
        return fit.item()
    assert found(step_set_up(train_step, declared={"l1": 1e-3}), *PENALTY) == {"l1-by-subgradient": "warning"}


def test_l1_as_a_sign_added_to_the_gradient() -> None:
    def train_step(model: nn.Module, optimizer: Any, batch: Any) -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        for p in model.parameters():
            p.grad.add_(p.detach().sign(), alpha=1e-3)
        optimizer.step()
        return loss.item()
    assert found(step_set_up(train_step), *PENALTY) == {"l1-by-subgradient": "warning"}


def thresholding(strength: float, *, metric: bool = False) -> Any:
    def train_step(model: nn.Module, optimizer: Any, batch: Any) -> float:
        value = stepping()(model, optimizer, batch)
        with torch.no_grad():
            for group in optimizer.param_groups:
                for p in group["params"]:
                    t: Any = group["lr"] * strength
                    if metric:
                        state = optimizer.state[p]
                        t = t / ((state["exp_avg_sq"] / (1 - 0.999 ** float(state["step"]))).sqrt() + 1e-8)
                    p.copy_(p.sign() * (p.abs() - t).clamp(min=0))
        return float(value)
    return train_step


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop])
def test_thresholding_by_one_number_after_adam(kind: Any) -> None:
    model = mlp()
    made = step_set_up(thresholding(1e-3), model=model, optimizer=kind(model.parameters(), lr=1e-3), declared={"l1": 1e-3})
    assert found(made, *PENALTY) == {"l1-threshold-after-adam": "error"}


def test_thresholding_after_sgd_is_right() -> None:
    assert not found(step_set_up(thresholding(1e-2), declared={"l1": 1e-2}), *PENALTY)


def test_thresholding_in_adams_metric_is_right() -> None:
    model = mlp()
    made = step_set_up(thresholding(1e-3, metric=True), model=model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
                       declared={"l1": 1e-3})
    assert not found(made, *PENALTY)


def test_decay_after_adam_is_no_threshold() -> None:
    def train_step(model: nn.Module, optimizer: Any, batch: Any) -> float:
        value = stepping()(model, optimizer, batch)
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(1 - 1e-5)
        return float(value)
    model = mlp()
    assert not found(step_set_up(train_step, model=model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-3)), *PENALTY)


def test_a_plan_with_l1_has_no_finding() -> None:
    model = mlp(dropout=0.2)
    plan = wf.Recipe(wf.L1(1e-3), wf.MaxNorm(3.0), wf.WeightDecay(0.01)).compile(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0)
    plan.attach(optimizer)

    def train_step(model: nn.Module, optimizer: Any, batch: Any) -> float:
        fit = F.cross_entropy(model(batch[0]), batch[1])
        plan.loss(fit).backward()
        optimizer.step()
        optimizer.zero_grad()
        return fit.item()
    assert not found(step_set_up(train_step, model=model, optimizer=optimizer, declared={"l1": 1e-3, "max_norm": 3.0}))
    assert plan.steps == 0


# ------------------------------------------------------------------------------------------------------------- logging

@pytest.mark.parametrize("penalty", [lambda m: 1e-2 * l2(m), lambda m: 1e-3 * l2(m) + 1e-3 * l1(m)])
def test_the_logged_loss_holds_the_penalty(penalty: Any) -> None:
    assert "penalty-in-logged-loss" in found(step_set_up(stepping(penalty, log="total")), *PENALTY)


def test_the_logged_loss_is_clean() -> None:
    assert not found(step_set_up(stepping(lambda m: 1e-2 * l2(m))), *PENALTY)


def test_another_logged_loss_is_not_taken_for_a_penalty() -> None:
    def train_step(model: nn.Module, optimizer: Any, batch: Any) -> float:
        stepping(lambda m: 1e-2 * l2(m))(model, optimizer, batch)
        return 100.0
    assert not found(step_set_up(train_step), *PENALTY)


def test_a_penalty_in_fit_is_seen_without_a_training_step() -> None:
    def fit(model: nn.Module, optimizer: Any, train_loader: Any) -> None:
        for _ in range(2):
            for x, y in train_loader:
                optimizer.zero_grad()
                (F.cross_entropy(model(x), y) + 1e-3 * l1(model)).backward()
                optimizer.step()
    model = mlp()
    made = {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.05), "criterion": nn.CrossEntropyLoss(),
            "fit": fit, "train_loader": loader()}
    assert found({**made, "declared": {"l1": 1e-3}}, *PENALTY) == {"l1-by-subgradient": "warning"}
    assert found({**made, "declared": {"l1": 5e-4}}, *PENALTY) == {"l1-by-subgradient": "warning", "penalty-doubled": "error"}


# ------------------------------------------------------------------------------------------------- in unusual places

class Proximal(torch.optim.Adam):
    """Adam that thresholds by one number in its own step."""

    def step(self, closure: Any = None) -> Any:
        result = super().step(closure)
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    p.copy_(p.sign() * (p.abs() - group["lr"] * 1e-2).clamp(min=0))
        return result


def test_thresholding_inside_an_optimizer_of_ones_own() -> None:
    model = mlp()
    torch.optim.Adam(model.parameters())  # from now on torch runs hooks in Adam.step too, inside of Proximal.step
    made = step_set_up(stepping(), model=model, optimizer=Proximal(model.parameters(), lr=1e-3), declared={"l1": 1e-2})
    assert found(made, *PENALTY) == {"l1-threshold-after-adam": "error"}


@pytest.mark.parametrize(("twice", "ids"), [(True, {"penalty-doubled": "error"}), (False, {})])
def test_a_penalty_by_hooks_on_the_gradients(twice: bool, ids: dict[str, str]) -> None:
    model = mlp()
    for p in model.parameters():
        p.register_hook(lambda g, p=p: g + 2e-3 * p.detach())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, weight_decay=2e-3 if twice else 0.0)
    assert found(step_set_up(stepping(), model=model, optimizer=optimizer, declared={"l2": 1e-3}), *PENALTY) == ids


class ReturnsLoss(nn.Module):
    """A model that computes its loss, as those of Hugging Face do."""

    def __init__(self, strength: float = 0.0):
        super().__init__()
        self.net, self.strength = mlp(), strength

    def forward(self, x: Any, y: Any) -> dict[str, Any]:
        logits = self.net(x)
        return {"loss": F.cross_entropy(logits, y) + self.strength * l1(self.net), "logits": logits}


@pytest.mark.parametrize(("strength", "ids"), [(0.0, {"penalty-missing": "error"}), (1e-3, {})])
def test_a_model_that_returns_its_loss(strength: float, ids: dict[str, str]) -> None:
    def train_step(model: nn.Module, optimizer: Any, batch: Any) -> float:
        optimizer.zero_grad()
        loss = model(*batch)["loss"]
        loss.backward()
        optimizer.step()
        return float(loss)
    assert found(step_set_up(train_step, model=ReturnsLoss(strength), declared={"l1": 1e-3}), *PENALTY) == ids


@pytest.mark.parametrize(("with_penalty", "ids"), [(True, {"penalty-in-logged-loss": "warning"}), (False, {})])
def test_the_penalty_in_the_validation_loss(with_penalty: bool, ids: dict[str, str]) -> None:
    def validate(model: nn.Module, val_loader: Any) -> float:
        model.eval()
        with torch.no_grad():
            value = sum(float(F.cross_entropy(model(x), y)) for x, y in val_loader) / len(val_loader)
            return value + (float(1e-2 * l2(model)) if with_penalty else 0.0)
    made = step_set_up(stepping(lambda m: 1e-2 * l2(m)), validate=validate, val_loader=loader(48, seed=1), model=mlp(dropout=0.2))
    assert found(made, *PENALTY) == ids
