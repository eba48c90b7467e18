"""What parts on waveforms and spectrograms promise: exact facts, and distributions within five standard errors."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

import wellfit as wf
from wellfit.core.draws import Streams
from wellfit.core.operands import Batch

ROWS, LENGTH = 3000, 101
WAVES = Streams(5).at("waves", 0).normal((ROWS, LENGTH))
LABELS = torch.zeros(ROWS, dtype=torch.long)


def made(part: Any, inputs: Tensor = WAVES, step: int = 0) -> Tensor:
    batch = Batch(inputs, torch.zeros(len(inputs), dtype=torch.long), 2)
    found: Batch = part.transform(batch, part.values_at(0.0), Streams(8).at(part.name, step))
    assert torch.equal(found.targets, batch.targets)
    return found.inputs


def near(share: float, rate: float, trials: int) -> bool:
    return abs(share - rate) <= 5 * math.sqrt(rate * (1 - rate) / trials) + 1 / 65536


def uniform(values: Tensor, low: float, high: float) -> None:
    assert float(values.min()) >= low
    assert float(values.max()) <= high
    assert stats.kstest(values.numpy(), "uniform", args=(low, high - low)).pvalue > 1e-3


def test_gain_is_uniform_in_decibels() -> None:
    ratio = made(wf.Gain(8.0)) / WAVES
    assert torch.allclose(ratio, ratio[:, :1], rtol=1e-9), "one gain for a whole waveform"
    uniform(20 * ratio[:, 0].log10(), -8.0, 8.0)


def test_polarity_flips_at_its_rate_and_nothing_else() -> None:
    found = made(wf.Polarity(0.3))
    flipped = (found == -WAVES).all(1)
    assert bool((flipped | (found == WAVES).all(1)).all())
    assert near(float(flipped.double().mean()), 0.3, ROWS)


@pytest.mark.parametrize("fill", ["zeros", "circular"])
def test_a_time_shift_moves_by_every_amount_alike(fill: str) -> None:
    found = made(wf.TimeShift(0.1, fill=fill))
    amounts = torch.zeros(ROWS)
    for steps in range(-10, 11):
        moved = WAVES.roll(steps, 1)
        if fill == "zeros":
            moved[:, :max(steps, 0)] = 0
            moved[:, LENGTH + min(steps, 0):] = 0
        amounts[(found == moved).all(1)] = steps + 100
    assert float(amounts.min()) > 0, "each row is its own, moved by -10 to 10 of 101 samples"
    for steps in range(-10, 11):
        assert near(float((amounts == steps + 100).double().mean()), 1 / 21, ROWS)


def test_all_channels_of_an_example_share_their_fate() -> None:
    twice = WAVES[:200, None].expand(200, 2, LENGTH)
    for part in (wf.Gain(5.0), wf.TimeShift(0.3), wf.SpeedChange(0.3), wf.TimeMask(0.5), wf.Polarity(0.5)):
        found = made(part, twice)
        assert torch.equal(found[:, 0], found[:, 1])
        assert torch.equal(found[:, 0], made(part, WAVES[:200]))


@pytest.mark.parametrize("noise", ["white", "pink", "brown", "others"])
def test_background_noise_comes_at_its_rate_and_ratio(noise: str) -> None:
    added = made(wf.BackgroundNoise(0.6, snr=3.0, span=12.0, noise=noise)) - WAVES
    noisy = added.any(1)
    assert near(float(noisy.double().mean()), 0.6, ROWS)
    uniform(10 * (WAVES[noisy].square().mean(1) / added[noisy].square().mean(1)).log10(), 3.0 - 1e-6, 15.0 + 1e-6)


def test_colours_differ_in_how_neighbours_agree() -> None:
    """The correlation of neighbours: 0 for white noise, in between for pink, almost 1 for brown."""
    found = {}
    for noise in ("white", "pink", "brown"):
        added = made(wf.BackgroundNoise(0.9999, snr=0.0, span=0.0, noise=noise)) - WAVES
        added = added[added.any(1)]
        found[noise] = float((added[:, 1:] * added[:, :-1]).sum() / added.square().sum())
    assert abs(found["white"]) < 5 / math.sqrt(ROWS * LENGTH) + 1e-3
    assert 0.4 < found["pink"] < 0.85
    assert found["brown"] > 0.9


def test_noise_of_others_is_another_example() -> None:
    added = made(wf.BackgroundNoise(0.9999, snr=0.0, span=0.0, noise="others"), WAVES[:50]) - WAVES[:50]
    likeness = torch.nn.functional.normalize(added) @ torch.nn.functional.normalize(WAVES[:50]).T
    best = likeness.max(1)
    assert torch.allclose(best.values, torch.ones(50, dtype=torch.float64), atol=1e-9)
    assert len({int((p - r) % 50) for r, p in enumerate(best.indices)}) == 1
    assert int(best.indices[0]) != 0


@pytest.mark.parametrize("interpolation", ["linear", "sinc"])
def test_speed_changes_pitch_by_a_log_uniform_factor_around_the_middle(interpolation: str) -> None:
    """A slow tone with its top in the middle stays a tone with its top in the middle, at another frequency."""
    length, base = 801, 0.01
    time = torch.arange(length, dtype=torch.float64) - 400
    found = made(wf.SpeedChange(0.25, interpolation=interpolation), torch.cos(2 * math.pi * base * time).expand(400, -1))
    assert torch.allclose(found[:, 400], torch.ones(1, dtype=torch.float64), atol=2e-3)
    inner = found[:, 400:600]
    zeros = (inner[:, 1:].sign() != inner[:, :-1].sign()).int().argmax(1)  # a quarter of a period after the top
    before, after = inner.gather(1, zeros[:, None])[:, 0], inner.gather(1, zeros[:, None] + 1)[:, 0]
    factor = 0.25 / base / (zeros + before / (before - after))
    uniform(factor.log() / math.log(1.25), -1.01, 1.01)
    wanted = torch.cos(2 * math.pi * base * factor[:, None] * time)
    inside = (factor[:, None] * time).abs() < 380
    assert float(((found - wanted) * inside).abs().max()) < 0.02
    outside = (factor[:, None] * time).abs() > 420
    assert not (found * outside).any(), "silence beyond the ends"


def test_time_masks_are_silent_stretches() -> None:
    ones = torch.ones(ROWS, LENGTH, dtype=torch.float64)
    found = made(wf.TimeMask(0.3), ones)
    width = (found == 0).sum(1)
    assert int(width.max()) == 30
    assert abs(float(width.double().mean()) - 15) < 5 * math.sqrt((31**2 - 1) / 12 / ROWS)
    assert int((found.diff(dim=1).abs() > 0).sum(1).max()) <= 2
    several = (made(wf.TimeMask(0.3, count=3), ones) == 0).sum(1)
    assert float(several.double().mean()) > 30


@pytest.mark.parametrize("channel", [False, True])
def test_spec_augment_hides_bands_and_moments_with_the_mean(channel: bool) -> None:
    spectrograms = Streams(6).at("spectrograms", 0).normal((400, 20, 50)) + 3
    given = spectrograms[:, None] if channel else spectrograms
    found = made(wf.SpecAugment(0.2, 0.25, time_masks=1, frequency_masks=1), given)
    found = found[:, 0] if channel else found
    hidden = found != spectrograms
    mean = spectrograms.mean((1, 2), keepdim=True).expand_as(found)
    assert torch.allclose(found[hidden], mean[hidden], rtol=1e-12)
    times, bands = hidden.all(1), hidden.all(2)
    assert torch.equal(hidden, times[:, None, :] | bands[:, :, None])
    assert int(times.sum(1).max()) == 10
    assert int(bands.sum(1).max()) == 5
    assert abs(float(times.double().sum(1).mean()) - 5) < 5 * math.sqrt((11**2 - 1) / 12 / 400)
    assert abs(float(bands.double().sum(1).mean()) - 2.5) < 5 * math.sqrt((6**2 - 1) / 12 / 400)


def test_spec_augment_with_zeros_and_without_time() -> None:
    spectrograms = Streams(6).at("spectrograms", 0).normal((100, 20, 50)) + 30
    found = made(wf.SpecAugment(0.5, 0.5, time_masks=0, frequency_masks=2, value="zero"), spectrograms)
    hidden = found != spectrograms
    assert not found[hidden].any()
    assert torch.equal(hidden, hidden.all(2)[..., None].expand_as(hidden))


@pytest.mark.parametrize("part", [wf.Gain(), wf.Polarity(), wf.TimeShift(), wf.SpeedChange(), wf.TimeMask(), wf.BackgroundNoise(),
                                  wf.SpecAugment()], ids=lambda p: p.name)
def test_inputs_of_another_kind_are_refused(part: Any) -> None:
    for inputs in (torch.zeros(4), torch.zeros(4, 2, 3, 5, 6), torch.zeros(4, 9, dtype=torch.int16),
                   torch.zeros(4, 1, 3, 9, dtype=torch.int16)):
        with pytest.raises(wf.WellfitError, match=r"takes (waveforms|spectrograms)"):
            made(part, inputs)


def test_waveform_parts_say_that_they_come_before_the_features() -> None:
    for part in (wf.Gain, wf.Polarity, wf.TimeShift, wf.SpeedChange, wf.TimeMask, wf.BackgroundNoise):
        assert (part.takes, part.before_features) == ("waveforms", True)
        assert part.order < wf.Mixup.order
    assert (wf.SpecAugment.takes, wf.SpecAugment.before_features) == ("spectrograms", False)
