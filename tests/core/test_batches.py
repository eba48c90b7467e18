"""Applying parts to batches: one sample for neighbouring geometry, and features between two kinds of parts."""

import dataclasses
from typing import ClassVar

import pytest
import torch
from torch import nn

import wellfit as wf
from wellfit.core import batches
from wellfit.core.batches import apply_part, apply_parts
from wellfit.core.draws import Streams
from wellfit.core.operands import Batch
from wellfit.kernels import warp

IMAGES = torch.rand(12, 3, 10, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.arange(12) % 3


def acts(*parts):
    return [(part, part.values_at(0.0), Streams(3).at(part.name, 5)) for part in parts]


def samples(monkeypatch):
    calls = []
    monkeypatch.setattr(batches, "sample", lambda *a, **k: calls.append((a[2], k["lattice"])) or warp.sample(*a, **k))
    return calls


def test_neighbouring_geometry_samples_once(monkeypatch):
    calls = samples(monkeypatch)
    apply_parts(Batch(IMAGES, LABELS, 3), acts(wf.RandomCrop(2), wf.HorizontalFlip(), wf.Rotation(20.0), wf.TrivialAugment()))
    assert calls == [("zero", False)]


def test_a_run_of_lattice_parts_is_exact_and_what_its_parts_are_one_by_one(monkeypatch):
    calls = samples(monkeypatch)
    parts = acts(wf.HorizontalFlip(0.5), wf.QuarterTurns(0.7), wf.VerticalFlip(0.5))
    whole = apply_parts(Batch(IMAGES, LABELS, 3), parts).inputs
    assert calls == [("zero", True)]
    one_by_one = Batch(IMAGES, LABELS, 3)
    for part, h, draw in acts(*(p for p, _, _ in parts)):
        one_by_one = apply_part(part, one_by_one, h, draw)
    assert torch.equal(whole, one_by_one.inputs)
    assert torch.equal(whole.flatten(1).sort(1)[0], IMAGES.flatten(1).sort(1)[0]), "pixels are moved, none is changed"


def test_borders_that_differ_are_sampled_apart_and_flips_go_with_any(monkeypatch):
    calls = samples(monkeypatch)
    apply_parts(Batch(IMAGES, LABELS, 3), acts(wf.HorizontalFlip(), wf.RandomCrop(2, border="reflect"), wf.VerticalFlip(),
                                               wf.Rotation(20.0)))
    assert calls == [("reflect", True), ("zero", False)]


def test_other_parts_act_in_between(monkeypatch):
    calls = samples(monkeypatch)
    apply_parts(Batch(IMAGES, LABELS, 3), acts(wf.Rotation(5.0), wf.InputNoise(0.1), wf.Rotation(5.0)))
    assert len(calls) == 2


def test_fused_geometry_brings_back_what_was_moved_out_of_the_frame():
    there, back = warp.affine(1, 0, 4, 0, 1, 0, torch.zeros(12)), warp.affine(1, 0, -4, 0, 1, 0, torch.zeros(12))
    assert torch.equal(warp.sample(IMAGES, there @ back, "zero", lattice=True), IMAGES)


def test_geometry_refuses_rows_with_a_reason():
    with pytest.raises(wf.WellfitError, match=r"(?s)acts on images.*\(12, 5\).*\(B, C, H, W\)"):
        apply_parts(Batch(torch.ones(12, 5), LABELS, 3), acts(wf.HorizontalFlip()))
    with pytest.raises(wf.WellfitError, match=r"(?s)standardized.*\[0, 1\]"):
        apply_parts(Batch(torch.randn(12, 3, 5, 5), LABELS, 3), acts(wf.ColorJitter()))
    with pytest.raises(wf.WellfitError, match="square"):
        apply_parts(Batch(torch.rand(12, 3, 5, 6), LABELS, 3), acts(wf.QuarterTurns()))
    with pytest.raises(wf.WellfitError, match="4 channels"):
        apply_parts(Batch(torch.rand(12, 4, 5, 6), LABELS, 3), acts(wf.ColorJitter()))


class Pooled(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(3, 3)

    def forward(self, x):
        return self.last(x.mean((2, 3)))


def test_a_plan_maps_images_in_training_only():
    plan = wf.Recipe(wf.RandomCrop(2), wf.HorizontalFlip(), wf.Mixup(0.3)).compile(Pooled())
    x, y = plan.batch(IMAGES, LABELS)
    assert x.shape == IMAGES.shape and y.shape == (12, 3) and not torch.equal(x, IMAGES)
    plan.model.eval()
    x, y = plan.batch(IMAGES, LABELS)
    assert x is IMAGES and y is LABELS


def test_features_come_between_parts_that_need_the_raw_inputs_and_the_others(monkeypatch):
    seen = []

    @dataclasses.dataclass(frozen=True)
    class Watching(wf.InputNoise):
        before_features: ClassVar[bool] = True

        def transform(self, batch, h, draw):
            seen.append(("raw", tuple(batch.inputs.shape)))
            return batch

    def features(x):
        seen.append(("features", tuple(x.shape)))
        return x[:, None]

    plan = wf.Recipe(wf.HorizontalFlip(0.5), Watching()).compile(Pooled(), features=features)
    calls = samples(monkeypatch)
    x, _ = plan.batch(torch.ones(12, 10, 10), LABELS)
    assert seen == [("raw", (12, 10, 10)), ("features", (12, 10, 10))]
    assert len(calls) == 1 and x.shape == (12, 1, 10, 10)
    plan.model.eval()
    assert plan.batch(torch.ones(12, 10, 10), LABELS)[0].shape == (12, 1, 10, 10), "evaluation sees features too"
    assert len(seen) == 3


def test_uint8_images_stay_uint8_through_a_whole_recipe():
    parts = acts(wf.RandomCrop(2), wf.Rotation(20.0), wf.RandAugment(), wf.ColorJitter(), wf.Blur(), wf.Grayscale(), wf.Sharpness(),
                 wf.Equalize(), wf.AutoContrast(), wf.Posterize(), wf.Solarize(), wf.Erasing(), wf.CutMix(), wf.Cutout(),
                 wf.Mixup(), wf.InputNoise())
    images = (IMAGES * 255).to(torch.uint8)
    for x in (images, images[:, :1]):
        found = apply_parts(Batch(x, LABELS, 3), parts)
        assert found.inputs.dtype == torch.uint8 and found.inputs.shape == x.shape
        assert found.targets.dtype == torch.float32


def test_mixup_and_noise_on_uint8_are_those_on_floats_rounded():
    images = (IMAGES * 255).to(torch.uint8)
    for part in (wf.Mixup(1.0), wf.InputNoise(0.1)):
        ours = apply_parts(Batch(images, LABELS, 3), acts(part))
        floats = apply_parts(Batch(images.float() / 255, LABELS, 3), acts(part))
        assert ((ours.inputs.float() - (floats.inputs * 255).clamp(0, 255)).abs() <= 0.51).all()
        assert not torch.equal(ours.inputs, images) and torch.equal(ours.targets, floats.targets)
