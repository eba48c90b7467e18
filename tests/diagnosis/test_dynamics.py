"""What curves and units say, on planted cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from wellfit.core.errors import WellfitError
from wellfit.diagnosis.measures.dynamics import chance_level, dynamics
from wellfit.diagnosis.measures.surface import Surface
from wellfit.diagnosis.measures.units import gradients, units

EPOCHS = np.arange(60)


def noisy(curve: np.ndarray, sd: float, seed: int = 0) -> np.ndarray:
    return curve * np.exp(sd * np.random.default_rng(seed).normal(size=len(curve)))


def test_still_falling_and_settled() -> None:
    falling = dynamics(noisy(np.exp(-EPOCHS / 40), 0.01))
    settled = dynamics(noisy(0.2 + np.exp(-EPOCHS / 4), 0.01))
    assert falling.falling.low > 0
    assert falling.falling.value == pytest.approx(1 - np.exp(-12 / 40), abs=0.05)
    assert settled.falling.low < 0 < settled.falling.high and abs(settled.falling.value) < 0.02


@pytest.mark.parametrize("follow", [0.0, 0.6])
def test_a_level_end_is_rarely_called_falling(follow: float) -> None:
    wrong = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        noise = np.zeros(60)
        for t in range(1, 60):
            noise[t] = follow * noise[t - 1] + 0.03 * rng.normal()
        wrong += dynamics(np.exp(noise)).falling.excludes(0)
    assert wrong / 200 < 0.15


def test_chance_is_found_for_every_task() -> None:
    y = np.array([0] * 90 + [1] * 10)
    prior = chance_level(y, 2)
    assert prior == pytest.approx(-(0.9 * np.log(0.9) + 0.1 * np.log(0.1)))
    assert dynamics(noisy(np.full(30, prior), 0.005), chance=prior).at_chance
    assert not dynamics(noisy(prior * np.exp(-EPOCHS / 30), 0.005), chance=prior).at_chance
    balanced = chance_level(y, 2, weights=np.array([100 / 180, 5.0]))
    assert balanced == pytest.approx(np.log(2))
    assert chance_level(np.array([0, 1, 2]), 4) == pytest.approx(np.log(3))
    assert dynamics(np.full(10, 4.0), chance=chance_level(np.array([1.0, 5.0]))).learned == pytest.approx(0)


def test_swings_spikes_and_divergence() -> None:
    calm = dynamics(noisy(np.exp(-EPOCHS / 20), 0.01))
    wild = dynamics(noisy(np.full(60, 0.8), 0.4))
    assert wild.swings and not calm.swings
    assert dynamics([1.0, 0.9, np.nan, np.nan]).diverged
    assert dynamics([1.0, 2.0, 30.0, 80.0]).diverged
    assert dynamics([0.7, 0.8, 4.0, 5.0], chance=0.69).diverged
    assert not dynamics([1.0, 0.9, 0.8, 0.7]).diverged


def test_overfitting_is_the_rise_of_the_validation_loss() -> None:
    train = np.exp(-EPOCHS / 10)
    rising = dynamics(train, noisy(0.5 + 0.5 * np.exp(-EPOCHS / 5) + EPOCHS / 100, 0.01))
    level = dynamics(train, noisy(0.5 + 0.5 * np.exp(-EPOCHS / 5), 0.02, seed=3))
    assert rising.overfit.low > 0.3 and 5 <= (rising.best_epoch or 0) <= 20 and rising.gap > 0.9
    assert level.overfit.value < 0.1
    assert dynamics(train).best_epoch is None


def test_runs_are_averaged() -> None:
    runs = np.stack([np.exp(-EPOCHS / 20), 3 * np.exp(-EPOCHS / 20)])
    assert dynamics(runs).falling.value == pytest.approx(dynamics(runs[0]).falling.value)


def test_perfect_fits_and_losses_below_zero_are_read() -> None:
    assert dynamics(np.zeros(10), np.ones(10), chance=0.7).learned == 1
    found = dynamics(1 - EPOCHS / 20)
    assert not found.diverged and np.isfinite(found.roughness)


def test_too_short_a_curve_is_refused() -> None:
    with pytest.raises(WellfitError, match="too short"):
        dynamics([1.0, 0.5])


class Functional(nn.Module):
    """The same rectifiers, called as functions."""

    def __init__(self, kind: str):
        super().__init__()
        self.kind, self.layer = kind, nn.Linear(3, 4)
        with torch.no_grad():
            self.layer.weight.zero_()
            self.layer.bias.copy_(torch.tensor([1.0, -1.0, 1.0, -1.0]))
        self.module = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        z = self.layer(x)
        return {"torch": torch.relu, "functional": nn.functional.relu, "method": lambda v: v.relu(),
                "module": self.module, "in place": lambda v: nn.functional.relu(v, inplace=True)}[self.kind](z)


@pytest.mark.parametrize("kind", ["torch", "functional", "method", "module", "in place"])
def test_dead_units_are_counted_however_they_are_called(kind: str) -> None:
    found = units(Surface(Functional(kind), torch.zeros(5, 3), torch.zeros(5, 4)))
    assert found.dead == (0.5,) and found.saturated == ()


def test_channels_and_tanh() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2), nn.Tanh())
    with torch.no_grad():
        network[0].bias[0] = -100.0
        network[3].bias[0] = 100.0
    found = units(Surface(network, torch.zeros(6, 1, 6, 6) + 0.1, torch.zeros(6, 2)))
    assert found.dead[0] >= 0.25 and found.saturated[0] >= 0.5


def test_gradients_that_vanish_and_explode() -> None:
    def deep(gain: float) -> Surface:
        network = nn.Sequential(*[nn.Linear(16, 16, bias=False) for _ in range(12)], nn.Linear(16, 1)).double()
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for n, layer in enumerate(network):
                # deep chains of tanh-free layers: the gradient of a layer is the product of all others
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator, dtype=torch.float64)
                                   * (gain if n == 0 else 1) / 4)
        return Surface(network, torch.randn(20, 16, generator=generator, dtype=torch.float64), torch.zeros(20, dtype=torch.float64))

    healthy = gradients(deep(1.0))
    assert not healthy.vanishing and not healthy.exploding and len(healthy.relative) == 13
    assert gradients(deep(1e4)).vanishing and gradients(deep(1e-4)).exploding
