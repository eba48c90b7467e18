"""What the image parts promise of their distributions. Seeds are fixed; bounds are five standard errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

import wellfit as wf
from wellfit.core.batches import apply_part
from wellfit.core.draws import Streams
from wellfit.core.operands import Batch
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.mix import one_hot

N, SIDE = 4000, 9


def maps(part: Regularizer, side: int = 33) -> torch.Tensor:
    return part.warp((N, side, side), part.values_at(0.0), Streams(8).at(part.name, 0))  # type: ignore[attr-defined]


def made(part: Regularizer, images: torch.Tensor, labels: torch.Tensor | None = None) -> Batch:
    labels = torch.arange(len(images)) % 4 if labels is None else labels
    return apply_part(part, Batch(images, labels, 4), part.values_at(0.0), Streams(8).at(part.name, 0))


def near(share: float, rate: float, trials: int) -> bool:
    return abs(share - rate) <= 5 * math.sqrt(rate * (1 - rate) / trials) + 1 / 65536


def uniform(values: torch.Tensor, low: float, high: float) -> bool:
    return bool(stats.kstest(values.numpy().ravel(), "uniform", (low, high - low)).pvalue > 1e-3)


@pytest.mark.parametrize("part", [wf.HorizontalFlip(0.3), wf.VerticalFlip(0.3)])
def test_flips_happen_at_their_rate(part: Regularizer) -> None:
    flipped = maps(part)[:, :2, :2].diagonal(dim1=1, dim2=2).amin(1) < 0
    assert near(float(flipped.double().mean()), 0.3, N)


def test_quarter_turns_are_equally_likely() -> None:
    m = maps(wf.QuarterTurns(0.6))[:, :2, :2]
    kinds, counts = torch.unique(m.flatten(1), dim=0, return_counts=True)
    assert len(kinds) == 4
    for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True):
        assert near(count / N, 0.4 if kind == [1, 0, 0, 1] else 0.2, N)


def test_crops_are_uniform_over_all_shifts() -> None:
    shifts = maps(wf.RandomCrop(3))[:, :2, 2]
    assert shifts.unique().tolist() == list(range(-3, 4))
    counts = torch.unique(shifts, dim=0, return_counts=True)[1]
    assert len(counts) == 49
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_angles_shears_scales_and_shifts_are_uniform() -> None:
    turned = maps(wf.Rotation(40.0))
    assert uniform(torch.atan2(turned[:, 0, 1], turned[:, 0, 0]).rad2deg(), -40, 40)
    sheared = maps(wf.Shear(20.0))
    for angle in (sheared[:, 0, 1], sheared[:, 1, 0]):
        assert uniform(angle.atan().rad2deg(), -20, 20)
    assert uniform(maps(wf.RandomScale(1.5))[:, 0, 0].log(), -math.log(1.5), math.log(1.5))
    shift = maps(wf.Translation(0.2), 1001)[:, :2, 2]
    assert uniform(shift + torch.rand(shift.shape, generator=torch.Generator().manual_seed(0)) - 0.5, -200.7, 200.7)


def test_the_centre_stays_where_it_is() -> None:
    centre = torch.tensor([16.0, 16.0, 1.0]).double()
    for part in (wf.Rotation(180.0), wf.Shear(30.0), wf.RandomScale(2.0), wf.HorizontalFlip(), wf.QuarterTurns()):
        torch.testing.assert_close(maps(part) @ centre, centre.expand(N, 3), rtol=0, atol=1e-12)


def test_resized_crops_have_their_area_and_lie_inside() -> None:
    m = maps(wf.ResizedCrop(0.4, aspect=1.0))
    width, height = m[:, 0, 0], m[:, 1, 1]
    assert torch.allclose(width, height)
    assert uniform(width * height, 0.4, 1.0)
    corners = m @ torch.tensor([[-0.5, 32.5], [-0.5, 32.5], [1.0, 1.0]]).double()
    assert (corners[:, :2, 0] >= -0.5 - 1e-9).all() and (corners[:, :2, 1] <= 32.5 + 1e-9).all()
    inside = (m[:, 0, 2] + 0.5 - width / 2) / (33 * (1 - width))
    assert uniform(inside, 0, 1)
    ratio = maps(wf.ResizedCrop(0.1, aspect=1.5))
    log = (ratio[:, 0, 0] / ratio[:, 1, 1]).log()[(ratio[:, 0, 0] < 1) & (ratio[:, 1, 1] < 1)]
    assert log.abs().max() <= math.log(1.5) and float(log.mean().abs()) < 5 * 0.24 / math.sqrt(len(log))


def test_jitter_draws_its_four_numbers_evenly() -> None:
    flat = torch.full((N, 1, 2, 2), 0.4, dtype=torch.float64)
    assert uniform(made(wf.ColorJitter(0.5, 0.0, 0.0, 0.0), flat).inputs[:, 0, 0, 0] / 0.4, 0.5, 1.5)
    two = torch.tensor([0.4, 0.6]).double().expand(N, 1, 1, 2).contiguous()
    found = made(wf.ColorJitter(0.0, 0.5, 0.0, 0.0), two).inputs
    assert uniform((found[..., 1] - found[..., 0]) / 0.2, 0.5, 1.5)
    torch.testing.assert_close(found.mean(-1), torch.full((N, 1, 1), 0.5).double())
    colour = torch.tensor([0.5, 0.4, 0.3]).double().view(1, 3, 1, 1).expand(N, 3, 1, 1).contiguous()
    found = made(wf.ColorJitter(0.0, 0.0, 0.5, 0.0), colour).inputs[:, :, 0, 0]
    assert uniform((found[:, 0] - found[:, 2]) / 0.2, 0.5, 1.5)


@pytest.mark.parametrize("part", [wf.Grayscale(0.3), wf.AutoContrast(0.3), wf.Posterize(2, rate=0.3), wf.Blur(15.0, rate=0.3),
                                  wf.Solarize(0.2, rate=0.3), wf.Equalize(0.3), wf.TrivialAugment(0.3)])
def test_rates(part: Regularizer) -> None:
    images = torch.rand(N, 3, 18, 18, generator=torch.Generator().manual_seed(1)) * 0.7 + 0.1
    changed = (made(part, images).inputs != images).flatten(1).any(1)
    rate = 0.3 * 13 / 14 if isinstance(part, wf.TrivialAugment) else 0.3  # one operation does nothing
    slack = 0.01 if isinstance(part, wf.TrivialAugment | wf.Blur) else 1e-4  # the smallest magnitudes round to nothing
    bound = 5 * math.sqrt(rate * (1 - rate) / N) + slack
    assert abs(float(changed.double().mean()) - rate) < bound
    assert torch.equal(made(part, images).inputs[~changed], images[~changed])


def test_erased_boxes_have_their_rate_area_and_place() -> None:
    images = torch.ones(N, 1, 40, 40)
    lost = (made(wf.Erasing(0.5, share=0.3, aspect=2.0), images).inputs == 0).flatten(1).double().mean(1)
    assert near(float((lost > 0).double().mean()), 0.5, N)
    hit = lost[lost > 0]
    assert hit.min() > 0.01 and hit.max() < 0.33
    assert abs(float(hit.mean()) - 0.16) < 5 * 0.081 / math.sqrt(len(hit)) + 0.002
    where = (made(wf.Erasing(1.0, share=0.05, aspect=1.0), images).inputs == 0).double().mean(0)[0]
    assert torch.allclose(where, where.flip(0), atol=0.05) and torch.allclose(where, where.T, atol=0.05)
    noise = made(wf.Erasing(1.0, share=0.9, aspect=1.0, fill="noise"), torch.full((400, 1, 40, 40), 2.0)).inputs
    assert uniform(noise[noise != 2.0], 0, 1)


def test_cutout_and_cutmix_cut_boxes_out_of_images() -> None:
    images = torch.arange(1.0, N + 1, dtype=torch.float64).view(N, 1, 1, 1).expand(N, 2, SIDE, SIDE).contiguous()
    found = made(wf.Cutout(0.6, share=0.25), images).inputs
    lost = found[:, 0] == 0
    assert torch.equal(found[:, 0], found[:, 1])
    assert near(float(lost.flatten(1).any(1).double().mean()), 0.6, N)
    rows, columns = lost.any(2), lost.any(1)
    assert torch.equal(lost, rows[:, :, None] & columns[:, None, :]), "what is lost is a box"
    assert int(rows.sum(1).max()) <= round(SIDE / 2) and (np.diff(rows.numpy().astype(int), axis=1) == 1).sum(1).max() <= 1
    labels = torch.arange(N) % 4
    batch = made(wf.CutMix(0.5), images, labels)
    other = batch.inputs[:, 0] != images[:, 0]
    share = other.flatten(1).double().mean(1)
    assert -0.06 < float((share > 0).double().mean()) - 0.5 < 0.04, "at its rate, but for boxes of no pixel"
    partner = int(batch.inputs[other.flatten(1).any(1)][0].max()), int(batch.inputs[other.flatten(1).any(1)][0].min())
    shift = abs(partner[0] - partner[1])
    hot = one_hot(labels, 4, torch.float64)
    options = [share[:, None] * hot.roll(s, 0) + (1 - share)[:, None] * hot for s in (shift, -shift)]
    assert any(torch.allclose(batch.targets, option, atol=1e-12) for option in options)


def test_policies_draw_every_operation_equally_often() -> None:
    part = wf.TrivialAugment()
    operation, magnitude = part._drawn(N, part.values_at(0.0), Streams(8).at(part.name, 0))
    assert stats.chisquare(torch.bincount(operation, minlength=14).numpy()).pvalue > 1e-3
    assert uniform(magnitude, -1, 1)
    several = wf.RandAugment(3, magnitude=0.4)
    drawn = several._drawn(N, several.values_at(0.0), Streams(8).at(several.name, 0))
    assert len(drawn) == 3
    assert {round(v, 6) for v in drawn[0][1].unique().tolist()} == {-0.4, 0.4}
    assert stats.chisquare(torch.bincount(torch.stack([d[0] for d in drawn]).flatten(), minlength=14).numpy()).pvalue > 1e-3


def test_policy_operations_are_the_parts_of_the_same_name() -> None:
    """At one operation, RandAugment gives rotation by 30·m degrees, and equalize what Equalize gives."""
    images = torch.rand(N, 3, 18, 18, generator=torch.Generator().manual_seed(2))
    part = wf.RandAugment(1, magnitude=0.5)
    (operation, magnitude), = part._drawn(N, part.values_at(0.0), Streams(8).at(part.name, 0))
    found = made(part, images).inputs
    rotated = maps(part, 18)[operation == 5]
    assert torch.allclose(torch.atan2(rotated[:, 0, 1], rotated[:, 0, 0]).rad2deg(), magnitude[operation == 5] * 30)
    assert torch.equal(found[operation == 13], made(wf.Equalize(1.0), images[operation == 13]).inputs)
    assert torch.equal(found[operation == 12], made(wf.AutoContrast(1.0), images[operation == 12]).inputs)
    assert torch.equal(found[operation == 0], images[operation == 0])
