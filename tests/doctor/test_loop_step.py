"""What happens to gradients before the step and to weights after it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from doctor.loops import found, loader, mlp, plain_step, step_set_up

STEP = ("max-norm-axis", "max-norm-shrinks-inside", "decay-moves-frozen", "gradients-not-cleared", "clipping-after-step",
        "clipping-scaled-gradients", "scheduler-per-batch-as-epoch", "penalty-missing")


def after(change: Any) -> Any:
    def train_step(model: nn.Module, optimizer: Any, batch: Any) -> float:
        value = plain_step(model, optimizer, batch)
        with torch.no_grad():
            for m in model.modules():
                if isinstance(m, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                    change(m)
        return value
    return train_step


class Images(nn.Module):
    def __init__(self, transposed: bool = False):
        super().__init__()
        self.conv = nn.ConvTranspose2d(3, 5, 3, padding=1) if transposed else nn.Conv2d(3, 5, 3, padding=1)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Any) -> Any:
        image = x[:, :3, None, None] * x[:, 3:, None, None].transpose(2, 1).transpose(1, 2)[:, :3].reshape(len(x), 3, 1, 1)
        return self.head(F.relu(self.conv(image.expand(-1, 3, 4, 4))).mean((2, 3)))


# ------------------------------------------------------------------------------------------------------------ max-norm

def columns(m: Any) -> None:
    m.weight.copy_(torch.renorm(m.weight, 2, 1, 2.0))


def rows(m: Any) -> None:
    m.weight.copy_(torch.renorm(m.weight, 2, 1 if isinstance(m, nn.ConvTranspose2d) else 0, 2.0))


def pixels(m: Any) -> None:
    norm = m.weight.norm(dim=1, keepdim=True)
    m.weight.mul_((2.0 / norm).clamp(max=1))


def whole(m: Any) -> None:
    m.weight.mul_((2.0 / m.weight.norm()).clamp(max=1))


def keras(m: Any) -> None:
    norm = m.weight.flatten(1).norm(dim=1).reshape(-1, *([1] * (m.weight.ndim - 1)))
    m.weight.mul_(norm.clamp(max=2.0) / (1e-7 + norm))


def first_axis(m: Any) -> None:
    m.weight.copy_(torch.renorm(m.weight, 2, 0, 2.0))


@pytest.mark.parametrize(("change", "model", "declared", "severity"), [
    (columns, mlp, {"max_norm": 2.0}, "error"), (columns, mlp, {}, "warning"), (whole, mlp, {"max_norm": 2.0}, "error"),
    (pixels, Images, {"max_norm": 2.0}, "error"), (first_axis, lambda: Images(True), {"max_norm": 2.0}, "error")])
def test_norms_over_the_wrong_axis(change: Any, model: Any, declared: Any, severity: str) -> None:
    assert found(step_set_up(after(change), model=model(), declared=declared), *STEP) == {"max-norm-axis": severity}


@pytest.mark.parametrize("model", [mlp, lambda: mlp(norm=True), Images, lambda: Images(True)])
@pytest.mark.parametrize("declared", [{"max_norm": 2.0}, {}])
def test_norms_over_the_right_axis(model: Any, declared: Any) -> None:
    assert not found(step_set_up(after(rows), model=model(), declared=declared), *STEP)


def test_a_bound_under_adam_with_other_axes_free() -> None:
    model = mlp()
    assert not found(step_set_up(after(rows), model=model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-3)), *STEP)


def test_weights_clamped_one_by_one_are_no_max_norm() -> None:
    assert not found(step_set_up(after(lambda m: m.weight.clamp_(-1, 1))), *STEP)


@pytest.mark.parametrize("model", [mlp, Images])
def test_division_by_norm_plus_epsilon_shrinks_inside(model: Any) -> None:
    made = step_set_up(after(keras), model=model(), declared={"max_norm": 2.0})
    assert found(made, *STEP) == {"max-norm-shrinks-inside": "warning"}


def edge(m: Any) -> None:
    m.weight.mul_(2.0 / m.weight.flatten(1).norm(dim=1).reshape(-1, *([1] * (m.weight.ndim - 1))))


@pytest.mark.parametrize("model", [mlp, Images])
def test_scaling_to_the_radius_moves_what_is_inside(model: Any) -> None:
    made = step_set_up(after(edge), model=model(), declared={"max_norm": 2.0})
    assert found(made, *STEP) == {"max-norm-shrinks-inside": "warning"}


@pytest.mark.parametrize("declared", [{}, {"max_norm": 5.0}])
def test_weights_kept_at_one_norm_are_no_max_norm(declared: Any) -> None:
    assert "max-norm-shrinks-inside" not in found(step_set_up(after(edge), declared=declared), *STEP)


@pytest.mark.parametrize("change", [rows, lambda m: m.weight.mul_(0.999)])
def test_projection_and_decay_do_not_shrink_like_an_epsilon(change: Any) -> None:
    assert "max-norm-shrinks-inside" not in found(step_set_up(after(change)), *STEP)


# -------------------------------------------------------------------------------------------------------------- frozen

def frozen() -> nn.Sequential:
    model = mlp()
    model[0].requires_grad_(False)
    return model


@pytest.mark.parametrize("factor", [0.999, 1 - 1e-4])
def test_decay_of_frozen_weights(factor: float) -> None:
    model = frozen()
    optimizer = torch.optim.SGD(model[2].parameters(), lr=0.1)
    made = step_set_up(after(lambda m: m.weight.mul_(factor)), model=model, optimizer=optimizer)
    assert found(made, *STEP) == {"decay-moves-frozen": "warning"}


def test_frozen_weights_that_stay() -> None:
    model = frozen()
    assert not found(step_set_up(plain_step, model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1)), *STEP)


def test_a_frozen_average_may_move() -> None:
    model = frozen()

    def train_step(model: Any, optimizer: Any, batch: Any) -> float:
        value = plain_step(model, optimizer, batch)
        with torch.no_grad():
            model[0].weight.lerp_(torch.ones_like(model[0].weight), 0.01)
        return value
    assert not found(step_set_up(train_step, model=model, optimizer=torch.optim.SGD(model[2].parameters(), lr=0.1)), *STEP)


# ----------------------------------------------------------------------------------------------------------- gradients

def uncleared(model: nn.Module, optimizer: Any, batch: Any) -> float:
    loss = F.cross_entropy(model(batch[0]), batch[1])
    loss.backward()
    optimizer.step()
    return loss.item()


@pytest.mark.parametrize("clip", [False, True])
def test_gradients_that_are_not_cleared(clip: bool) -> None:
    def train_step(model: nn.Module, optimizer: Any, batch: Any) -> float:
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        return loss.item()
    model = mlp(dropout=0.5)
    made = step_set_up(train_step if clip else uncleared, model=model, optimizer=torch.optim.Adam(model.parameters()))
    assert found(made, *STEP) == {"gradients-not-cleared": "error"}


@pytest.mark.parametrize("how", ["model", "none", "zero"])
def test_gradients_cleared_in_other_ways(how: str) -> None:
    def train_step(model: nn.Module, optimizer: Any, batch: Any) -> float:
        value = uncleared(model, optimizer, batch)
        if how == "model":
            model.zero_grad()
        elif how == "none":
            for p in model.parameters():
                p.grad = None
        else:
            optimizer.zero_grad(set_to_none=False)
        return value
    assert not found(step_set_up(train_step), *STEP)


def test_accumulated_gradients_are_meant_to_stay() -> None:
    def train_step(model: nn.Module, optimizer: Any, batch: Any, step: int) -> float:
        loss = F.cross_entropy(model(batch[0]), batch[1]) / 3
        loss.backward()
        if step % 3 == 2:
            optimizer.step()
            optimizer.zero_grad()
        return loss.item()
    assert not found(step_set_up(train_step), *STEP)


# ------------------------------------------------------------------------------------------------------------ clipping

def clipped(order: str) -> Any:
    scaler = torch.amp.GradScaler("cpu", enabled="disabled" not in order)

    def train_step(model: nn.Module, optimizer: Any, batch: Any) -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        if order.startswith("scaled"):
            scaler.scale(loss).backward()
            if "unscaled" in order:
                scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            return loss.item()
        loss.backward()
        if order == "before":
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if order == "after":
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        elif order == "value after":
            nn.utils.clip_grad_value_(model.parameters(), 0.5)
            optimizer.zero_grad()
        elif order == "norm read after":
            nn.utils.clip_grad_norm_(model.parameters(), float("inf"))
        return loss.item()
    return train_step


@pytest.mark.parametrize(("order", "id"), [
    ("after", "clipping-after-step"), ("value after", "clipping-after-step"), ("scaled", "clipping-scaled-gradients"),
    ("scaled disabled", "clipping-scaled-gradients")])
def test_clipping_at_the_wrong_time(order: str, id: str) -> None:
    assert found(step_set_up(clipped(order)), *STEP) == {id: "error"}


@pytest.mark.parametrize("order", ["before", "scaled unscaled", "scaled unscaled disabled", "norm read after"])
def test_clipping_at_the_right_time(order: str) -> None:
    assert not found(step_set_up(clipped(order)), *STEP)


@pytest.mark.parametrize(("scale_first", "ids"), [(False, {"clipping-scaled-gradients": "error"}), (True, {})])
def test_clipping_with_a_scale_by_hand(scale_first: bool, ids: dict[str, str]) -> None:
    def unscale(model: nn.Module) -> None:
        for p in model.parameters():
            p.grad.div_(1024)

    def train_step(model: nn.Module, optimizer: Any, batch: Any) -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        (1024 * loss).backward()
        if scale_first:
            unscale(model)
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        if not scale_first:
            unscale(model)
        optimizer.step()
        return loss.item()
    assert found(step_set_up(train_step), *STEP) == ids


# ------------------------------------------------------------------------------------------------------------ schedule

def scheduled(length: int, kind: str = "cosine", *, per_batch: bool = True) -> dict[str, Any]:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler: Any = (torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, length) if kind == "cosine" else
                      torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=length))

    def train_step(model: nn.Module, optimizer: Any, batch: Any, scheduler: Any) -> float:
        value = plain_step(model, optimizer, batch)
        if per_batch:
            scheduler.step()
        return value
    return step_set_up(train_step, model=model, optimizer=optimizer, scheduler=scheduler, epochs=20)


@pytest.mark.parametrize("kind", ["cosine", "one cycle"])
def test_a_schedule_in_epochs_advanced_by_batches(kind: str) -> None:
    assert found(scheduled(20, kind), *STEP) == {"scheduler-per-batch-as-epoch": "warning"}


@pytest.mark.parametrize("made", [scheduled(120), scheduled(20, per_batch=False), scheduled(120, "one cycle")])
def test_a_schedule_of_the_right_length(made: dict[str, Any]) -> None:
    assert not found(made, *STEP)


def test_nothing_of_the_set_up_changes() -> None:
    model = mlp(dropout=0.3, norm=True)
    optimizer = torch.optim.Adam(model.parameters())
    seen: list[int] = []
    generator = torch.Generator().manual_seed(5)

    def train_step(model: nn.Module, optimizer: Any, batch: Any) -> float:
        seen.append(int(torch.randint(10, (1,), generator=generator)))
        return plain_step(model, optimizer, batch)
    made = step_set_up(train_step, model=model, optimizer=optimizer, declared={"max_norm": 2.0})
    made["train_loader"] = loader()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state, own = torch.get_rng_state(), generator.get_state()
    found(made)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not optimizer.state and not seen and all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), state) and torch.equal(generator.get_state(), own)
    assert not optimizer._optimizer_step_pre_hooks and not model._forward_hooks
