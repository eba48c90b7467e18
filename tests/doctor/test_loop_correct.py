"""Correct trainings of many kinds: no finding at all."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

import wellfit as wf
from doctor.loops import evaluate, found, l2, loader, mlp, plain_step, train_epoch


def given(model: nn.Module, optimizer: Any, **more: Any) -> dict[str, Any]:
    return {"model": model, "optimizer": optimizer, "criterion": nn.CrossEntropyLoss(), "train_loader": loader(),
            "val_loader": loader(64, 32, seed=1, shuffle=False), "test_loader": loader(48, 24, seed=2, shuffle=False), **more}


def validate(model: nn.Module, val_loader: Any) -> float:
    was = model.training
    value = evaluate(model, val_loader)[0]
    model.train(was)
    return value


def plain() -> dict[str, Any]:
    model = mlp(dropout=0.2)
    return given(model, torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05), train_step=plain_step, validate=validate,
                 declared={"weight_decay": 0.05})


def amp() -> dict[str, Any]:
    model = mlp(dropout=0.2, norm=True)
    scaler = torch.amp.GradScaler("cpu")

    def train_step(model: nn.Module, optimizer: Any, batch: Any, step: int, criterion: Any) -> float:
        with torch.autocast("cpu", torch.bfloat16):
            loss = criterion(model(batch[0]), batch[1])
        scaler.scale((loss + 1e-3 * l2(model)) / 2).backward()
        if step % 2:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
        return loss.item()
    return given(model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), train_step=train_step,
                 declared={"l2": 1e-3, "accumulation": 2})


def mixup() -> dict[str, Any]:
    model = mlp()

    def train_step(model: nn.Module, optimizer: Any, batch: Any) -> float:
        x, y = batch
        share = float(torch.distributions.Beta(0.4, 0.4).sample())
        order = torch.randperm(len(x))
        out = model(share * x + (1 - share) * x[order])
        loss = share * F.cross_entropy(out, y) + (1 - share) * F.cross_entropy(out, y[order])
        optimizer.zero_grad()
        (loss + 1e-3 * l2(model)).backward()
        optimizer.step()
        return loss.item()
    return given(model, torch.optim.Adam(model.parameters()), train_step=train_step, declared={"l2": 1e-3})


def sharpness_aware() -> dict[str, Any]:
    model = mlp(norm=True)

    def train_step(model: nn.Module, optimizer: Any, batch: Any) -> float:
        x, y = batch
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        with torch.no_grad():
            norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
            moves = [p.grad * (0.05 / (norm + 1e-12)) for p in model.parameters()]
            for p, e in zip(model.parameters(), moves, strict=True):
                p.add_(e)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        with torch.no_grad():
            for p, e in zip(model.parameters(), moves, strict=True):
                p.sub_(e)
        optimizer.step()
        return loss.item()
    return given(model, torch.optim.SGD(model.parameters(), lr=0.05), train_step=train_step)


def newton_like() -> dict[str, Any]:
    model = mlp()

    def train_step(model: nn.Module, optimizer: Any, batch: Any) -> float:
        def closure() -> Any:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(batch[0]), batch[1]) + 1e-3 * l2(model)
            loss.backward()
            return loss
        optimizer.step(closure)
        with torch.no_grad():
            return float(F.cross_entropy(model(batch[0]), batch[1]))
    return given(model, torch.optim.LBFGS(model.parameters(), max_iter=4), train_step=train_step, declared={"l2": 1e-3})


def planned() -> dict[str, Any]:
    model = mlp(dropout=0.2)
    plan = wf.Recipe(wf.L1(1e-4), wf.MaxNorm(2.0), wf.WeightDecay(0.02), wf.Mixup(0.2), wf.LabelSmoothing(0.1)).compile(
        model, epochs=10, steps_per_epoch=6)
    optimizer = torch.optim.AdamW(plan.model.parameters(), lr=1e-3, weight_decay=0)
    plan.attach(optimizer)

    def train_step(model: nn.Module, optimizer: Any, batch: Any, criterion: Any) -> float:
        x, y = plan.batch(*batch)
        loss = plan.loss(criterion(model(x), y))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()
    return given(plan.model, optimizer, train_step=train_step, declared={"l1": 1e-4, "max_norm": 2.0, "weight_decay": 0.02})


def moving_average() -> dict[str, Any]:
    model = mlp(dropout=0.2, norm=True)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99), use_buffers=True)

    def train_step(model: nn.Module, optimizer: Any, batch: Any, averaged: Any) -> float:
        value = plain_step(model, optimizer, batch)
        averaged.update_parameters(model)
        return value
    return given(model, torch.optim.Adam(model.parameters()), train_step=train_step, averaged=average)


def stochastic_average() -> dict[str, Any]:
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))

    def finalize(averaged: Any, train_loader: Any) -> None:
        update_bn(train_loader, averaged)
    return given(model, torch.optim.SGD(model.parameters(), lr=0.05), train_step=plain_step, averaged=AveragedModel(model),
                 finalize=finalize)


def whole(scheduler: bool = False) -> dict[str, Any]:
    model = mlp(dropout=0.3, norm=True)

    def fit(model: nn.Module, optimizer: Any, train_loader: Any, val_loader: Any, test_loader: Any, epochs: int) -> nn.Module:
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", patience=1) if scheduler else None
        best, best_state, waited = -1.0, copy.deepcopy(model.state_dict()), 0
        try:
            for _ in range(epochs):
                train_epoch(model, optimizer, train_loader)
                value = evaluate(model, val_loader)[1]
                if plateau is not None:
                    plateau.step(value)
                if value > best:
                    best, best_state, waited = value, copy.deepcopy(model.state_dict()), 0
                else:
                    waited += 1
                    if waited >= 5:
                        break
        finally:
            model.load_state_dict(best_state)
        evaluate(model, test_loader)
        return model
    return given(model, torch.optim.Adam(model.parameters(), lr=3e-3), fit=fit, epochs=20,
                 declared={"patience": 5, "monitor": "val_accuracy", "mode": "max"})


def encoder() -> dict[str, Any]:
    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(20, 16)
            layer = nn.TransformerEncoderLayer(16, 2, 32, 0.1, batch_first=True)
            self.encoder, self.head = nn.TransformerEncoder(layer, 1), nn.Linear(16, 3)

        def forward(self, tokens: Any) -> dict[str, Any]:
            return {"logits": self.head(self.encoder(self.embed(tokens)).mean(1))}
    model = Classifier()
    generator = torch.Generator().manual_seed(0)
    rows = [{"tokens": torch.randint(20, (7,), generator=generator), "labels": torch.randint(3, (1,), generator=generator)[0]}
            for _ in range(48)]

    def train_step(model: nn.Module, optimizer: Any, batch: Any) -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch["tokens"])["logits"], batch["labels"], label_smoothing=0.1)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()
    data: Any = torch.utils.data.DataLoader(rows, batch_size=8, shuffle=True)  # type: ignore[arg-type]
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3), "criterion": nn.CrossEntropyLoss(),
            "train_loader": data, "train_step": train_step}


def two_networks() -> dict[str, Any]:
    model = nn.ModuleDict({"body": mlp(out=8), "head": nn.Linear(8, 3)})
    other = nn.Linear(8, 1)
    second = torch.optim.SGD(other.parameters(), lr=0.1)

    def train_step(model: Any, optimizer: Any, batch: Any) -> float:
        hidden = model["body"](batch[0])
        second.zero_grad()
        other(hidden.detach()).mean().backward()
        second.step()
        loss = F.cross_entropy(model["head"](hidden), batch[1]) + 0.1 * other(hidden).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()
    return given(model, torch.optim.Adam(model.parameters()), train_step=train_step, declared={"weight_decay": 0.0})


def gradient_penalty() -> dict[str, Any]:
    model = mlp()

    def train_step(model: nn.Module, optimizer: Any, batch: Any) -> float:
        x = batch[0].clone().requires_grad_()
        loss = F.cross_entropy(model(x), batch[1])
        slope, = torch.autograd.grad(loss, x, create_graph=True)
        optimizer.zero_grad()
        (loss + 0.1 * slope.square().sum()).backward()
        optimizer.step()
        return loss.item()
    return given(model, torch.optim.Adam(model.parameters()), train_step=train_step, declared={"l2": 1e-3})


BUILDS = {"plain": plain, "amp": amp, "mixup": mixup, "sam": sharpness_aware, "lbfgs": newton_like, "plan": planned,
          "ema": moving_average, "swa": stochastic_average, "fit": whole, "plateau": lambda: whole(True), "encoder": encoder,
          "two networks": two_networks, "gradient penalty": gradient_penalty}


@pytest.mark.parametrize("name", BUILDS)
def test_a_correct_training_has_no_finding(name: str) -> None:
    assert found(BUILDS[name]()) == {}
