"""Averages of weights, and how they are weighted over time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import wellfit as wf
from wellfit.kernels.average import blend_
from wellfit.kernels.clip import clip_factor


def test_blending_is_exact_at_both_ends() -> None:
    generator = torch.Generator().manual_seed(0)
    average, current = (torch.randn(100, generator=generator) * 10.0**k for k in (-3, 5))
    assert torch.equal(blend_(average.clone(), current, 1.0), current)
    assert torch.equal(blend_(average.clone(), current, 0.0), average)
    half = blend_(average.clone(), current, 0.5)
    assert torch.allclose(half, (average + current) / 2)


def run(part: wf.EMA | wf.SWA, values: list[float]) -> list[float]:
    average, taken, out = torch.zeros(1).double(), np.zeros(1), []
    for n, value in enumerate(values):
        share, taken = part.weight_of_current(taken, (n + 1) / len(values), part.values_at(0.0))
        blend_(average, torch.tensor([value]).double(), float(np.reshape(share, -1)[0]))
        out.append(float(average))
    return out


def test_ema_follows_its_recurrence() -> None:
    values = list(np.random.default_rng(0).normal(size=50))
    expected, average = [], 0.0
    for t, value in enumerate(values):
        decay = min(0.9, (1 + t) / (10 + t))
        average = decay * average + (1 - decay) * value
        expected.append(average)
    assert run(wf.EMA(0.9), values) == pytest.approx(expected, rel=1e-12)


def test_swa_is_the_plain_mean_from_its_start() -> None:
    values = list(np.random.default_rng(1).normal(size=20))
    found = run(wf.SWA(0.5), values)
    assert found[:10] == pytest.approx(values[:10])            # before the start: the current weights
    assert found[-1] == pytest.approx(np.mean(values[10:]))    # epochs 11 to 20
    assert found[14] == pytest.approx(np.mean(values[10:15]))
    assert run(wf.SWA(0.0), values)[-1] == pytest.approx(np.mean(values))
    assert run(wf.SWA(1.0), values) == pytest.approx(values)


def test_swa_is_torchs_swa() -> None:
    model = torch.nn.Linear(2, 2).double()
    averaged = torch.optim.swa_utils.AveragedModel(model)
    mine, taken = model.weight.detach().clone(), np.zeros(1)
    for step in range(6):
        with torch.no_grad():
            model.weight.add_(0.1 * step)
        averaged.update_parameters(model)
        share, taken = wf.SWA(0.0).weight_of_current(taken, (step + 1) / 6, wf.SWA(0.0).values_at(0.0))
        blend_(mine, model.weight.detach(), float(share[0]))
    assert torch.allclose(mine, averaged.module.weight, rtol=1e-12)


def test_clipping_is_torchs_clipping() -> None:
    gradients = [torch.randn(5, generator=torch.Generator().manual_seed(k)).double() for k in range(3)]
    for bound in (0.1, 1.0, 100.0):
        parameters = [torch.nn.Parameter(torch.zeros(5).double()) for _ in gradients]
        for p, g in zip(parameters, gradients):
            p.grad = g.clone()
        torch.nn.utils.clip_grad_norm_(parameters, bound)
        factor = clip_factor(torch.stack([g.square().sum() for g in gradients]).sum(), bound)
        for p, g in zip(parameters, gradients):
            assert torch.allclose(g * factor, p.grad, rtol=1e-5)  # torch adds 1e-6 to the norm
        assert (factor == 1) == (bound == 100.0)


def test_a_gradient_of_zeros_is_left_alone() -> None:
    assert clip_factor(torch.tensor(0.0), 1.0) == 1
    assert clip_factor(torch.tensor([0.0, 4.0]), torch.tensor([float("inf"), 1.0])).tolist() == [1.0, 0.5]
