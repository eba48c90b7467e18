"""Correct set-ups give neither errors nor warnings, and are as before when they have been examined."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import wellfit as wf
from doctor.networks import CORRECT, averaged, resnet


@pytest.mark.parametrize("name", CORRECT)
def test_nothing_is_found(name: str) -> None:
    report = wf.check(CORRECT[name]())
    assert not [f for f in report if f.severity != "note"], str(report)
    assert not [f for f in report if f.id == "could-not-examine"], str(report)
    assert len(report.ran) >= 15
    assert report.ok


@pytest.mark.parametrize("name", CORRECT)
def test_a_model_alone_is_examined_as_far_as_possible(name: str) -> None:
    report = wf.check(CORRECT[name]()["model"])
    assert not [f for f in report if f.severity != "note" or f.id == "could-not-examine"], str(report)
    why = report.skipped.get("dropout-active-in-eval", "")
    assert "dropout-active-in-eval" in report.ran or (name.startswith("time_first") and "no input is known" in why)
    assert report.skipped["averaged-weights-with-live-batch-norm"] == "no averaged"


def _state(parts: dict[str, Any]) -> Any:
    modules = [m for m in parts.values() if isinstance(m, nn.Module)]
    optimizer = parts["optimizer"]
    return {
        "weights": [{k: v.clone() for k, v in m.state_dict().items()} for m in modules],
        "gradients": [None if p.grad is None else p.grad.clone() for m in modules for p in m.parameters()],
        "modes": [[s.training for s in m.modules()] for m in modules],
        "hooks": [[(len(s._forward_hooks), len(s._forward_pre_hooks)) for s in m.modules()] for m in modules],
        "optimizer": copy.deepcopy(optimizer.state_dict()),
        "scheduler": None if parts.get("scheduler") is None else dict(parts["scheduler"].state_dict()),
        "loader": parts["train_loader"].generator.get_state(),
        "torch": torch.get_rng_state(), "numpy": np.random.get_state(), "random": random.getstate(),  # noqa: NPY002
    }


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(_equal(x, y) for x, y in zip(a, b))
    return bool(a == b)


@pytest.mark.parametrize("make", [resnet, averaged], ids=lambda f: f.__name__)
def test_everything_is_as_before(make: Any) -> None:
    parts = make()
    parts["train_loader"] = torch.utils.data.DataLoader(parts["train_loader"].dataset, 32, shuffle=True, drop_last=True,
                                                        generator=torch.Generator().manual_seed(8))
    model, optimizer = parts["model"], parts["optimizer"]
    model.train()
    inputs, targets = next(iter(parts["train_loader"]))
    parts["criterion"](model(inputs), targets).backward()
    optimizer.step()  # so that there is state, and there are gradients
    model[1].eval()
    before = _state(parts)
    wf.check(parts)
    after = _state(parts)
    assert [key for key in before if not _equal(before[key], after[key])] == []


def test_copies_belong_together() -> None:
    from wellfit.doctor.copies import fresh
    from wellfit.doctor.set_up import SetUp

    embedding, head = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
    head.weight = embedding.weight
    model = nn.Sequential(embedding, head)
    optimizer = torch.optim.Adam(model.parameters())
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    model(torch.tensor([1, 2])).sum().backward()
    optimizer.step()
    made = fresh(SetUp(model, optimizer, scheduler=scheduler))
    assert made.model[0].weight is made.model[1].weight is not embedding.weight
    assert made.optimizer.param_groups[0]["params"][0] is made.model[0].weight
    assert list(made.optimizer.state) == [made.model[0].weight]
    assert made.scheduler.optimizer is made.optimizer
