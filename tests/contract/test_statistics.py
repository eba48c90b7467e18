"""What the random built-in regularizers promise of their distributions. Seeds are fixed; bounds are five standard errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

import wellfit as wf
from wellfit.core.draws import Streams
from wellfit.core.operands import Batch
from wellfit.kernels.mix import one_hot

ROWS, COLUMNS, CLASSES = 4000, 12, 4
INPUTS = torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 10.0
LABELS = torch.arange(ROWS) % CLASSES
HOT = one_hot(LABELS, CLASSES, torch.float64)


def made(part: wf.Mixup, step: int = 0, groups: torch.Tensor | None = None) -> Batch:
    return part.transform(Batch(INPUTS, LABELS, CLASSES, groups), part.values_at(0.0), Streams(8).at(part.name, step))


def near(share: float, rate: float, trials: int) -> bool:
    return abs(share - rate) <= 5 * math.sqrt(rate * (1 - rate) / trials) + 1 / 65536


def test_input_noise_is_normal_with_its_std() -> None:
    noise = (made(wf.InputNoise(0.25)).inputs - INPUTS).numpy().ravel()  # type: ignore[arg-type]
    assert abs(noise.mean()) < 5 * 0.25 / math.sqrt(noise.size)
    assert abs(noise.std() - 0.25) < 5 * 0.25 / math.sqrt(2 * noise.size)
    assert stats.kstest(noise / 0.25, "norm").pvalue > 1e-3


@pytest.mark.parametrize(("rate", "share"), [(0.3, 0.2), (0.9, 0.5), (1.0, 0.1)])
def test_cutout_cuts_rows_at_its_rate_and_features_at_its_share(rate: float, share: float) -> None:
    lost = made(wf.Cutout(rate, share=share)).inputs == 0  # type: ignore[arg-type]
    assert near(float(lost.double().mean()), rate * share, ROWS * COLUMNS)
    untouched = float((~lost.any(1)).double().mean())
    assert near(untouched, 1 - rate + rate * (1 - share) ** COLUMNS, ROWS)
    kept = made(wf.Cutout(rate, share=share)).inputs  # type: ignore[arg-type]
    assert torch.equal(kept[~lost], INPUTS[~lost])


def test_columns_of_one_feature_go_together() -> None:
    groups = torch.tensor([0, 0, 0, 1, 2, 2, 3, 4, 5, 6, 7, 7])
    for part in (wf.Cutout(1.0, share=0.5), wf.CutMix(1.0)):
        changed = made(part, groups=groups).inputs != INPUTS  # type: ignore[arg-type]
        for group in range(8):
            columns = changed[:, groups == group]
            assert (columns == columns[:, :1]).all()
        assert 0.3 < float(changed.double().mean()) < 0.7


def test_cut_mix_shares_the_target_by_the_features_kept() -> None:
    part = wf.CutMix(0.6)
    batch = made(part)  # type: ignore[arg-type]
    changed = batch.inputs != INPUTS
    share = 1 - changed.double().mean(1)
    own = batch.targets.gather(1, LABELS[:, None])[:, 0]
    assert (own >= share - 1e-12).all(), "the row's own class has at least the share of the features kept"
    different = (batch.targets > 0).sum(1) == 2
    assert torch.allclose(own[different], share[different], atol=1e-12)
    assert near(float((share < 1).double().mean()), 0.6 * (1 - 1 / (COLUMNS + 1)), ROWS)  # λ uniform: all kept with 1/(D + 1)
    mixed = share[share < 1]
    assert abs(float(mixed.mean()) - np.mean(np.arange(COLUMNS) / COLUMNS)) < 5 * 0.29 / math.sqrt(len(mixed))


def test_cut_mix_takes_features_from_one_other_row_of_the_batch() -> None:
    batch = made(wf.CutMix(1.0))  # type: ignore[arg-type]
    changed = batch.inputs != INPUTS
    row = int(changed.sum(1).argmax())
    source = (INPUTS[:, changed[row]] == batch.inputs[row, changed[row]]).all(1).nonzero()[:, 0].tolist()
    assert len(source) == 1
    shift = (source[0] - row) % ROWS
    assert shift != 0
    assert torch.equal(batch.inputs[changed], INPUTS.roll(-shift, 0)[changed])


def test_mixup_blends_inputs_and_targets_with_one_share_that_favours_ones_own() -> None:
    shares = []
    for step in range(200):
        batch = made(wf.Mixup(0.4), step)
        own = batch.targets.gather(1, LABELS[:, None])[:, 0]
        share = float(own.min())
        shares.append(share)
        if share < 0.999 and step < 10:
            wanted = (batch.inputs[0] - share * INPUTS[0]) / (1 - share)
            shift = int((INPUTS - wanted).norm(dim=1).argmin())
            assert shift > 0
            assert torch.allclose(batch.inputs, share * INPUTS + (1 - share) * INPUTS.roll(-shift, 0), rtol=1e-9)
            assert torch.allclose(batch.targets, share * HOT + (1 - share) * HOT.roll(-shift, 0), atol=1e-9)
    mixed = np.array(shares)
    assert (mixed >= 0.5).mean() > 0.7  # where partners are of the same class the own probability is 1
    assert len(set(shares)) > 100


def test_label_smoothing_spreads_its_amount() -> None:
    targets = made(wf.LabelSmoothing(0.2)).targets  # type: ignore[arg-type]
    assert torch.allclose(targets, HOT * 0.8 + 0.05, atol=1e-15)


def test_stochastic_depth_drops_rows_whole() -> None:
    part = wf.StochasticDepth(0.5)
    out = part.on_branch(torch.ones(ROWS, 6), 0.6, part.values_at(0.0), Streams(1).at("x", 0))
    dropped = (out == 0).all(1)
    assert near(float(dropped.double().mean()), 0.3, ROWS)
    assert torch.allclose(out[~dropped], torch.tensor(1 / 0.7), rtol=1e-4)


def test_dropout_drops_every_unit_and_channel_alike() -> None:
    part = wf.Dropout(0.25)
    out = part.on_hidden(torch.ones(500, 8, 3, 3), part.values_at(0.0), Streams(2).at("x", 0))
    dropped = (out == 0).double()
    for axis in range(4):
        others = [a for a in range(4) if a != axis]
        for share in dropped.mean(others).tolist():
            assert near(share, 0.25, dropped.numel() // dropped.shape[axis])


def test_swap_noise_takes_values_of_the_same_feature_from_any_other_row() -> None:
    groups = torch.tensor([0, 0, 0, 1, 2, 2, 3, 4, 5, 6, 7, 7])
    found = made(wf.SwapNoise(0.3), groups=groups).inputs  # type: ignore[arg-type]
    changed = found != INPUTS
    for group in range(8):
        columns = changed[:, groups == group]
        assert (columns == columns[:, :1]).all(), "columns of one feature go together"
    one_each = [0, 3, 4, 6, 7, 8, 9, 10]
    assert near(float(changed[:, one_each].double().mean()), 0.3, ROWS * 8)
    order = INPUTS.argsort(0)
    position = torch.searchsorted(INPUTS.T.contiguous(), found.T.contiguous(), sorter=order.T.contiguous())
    source = order.T.gather(1, position).T
    assert torch.equal(INPUTS.gather(0, source), found), "every value is there already, in its own column"
    further = (source - torch.arange(ROWS)[:, None])[:, one_each][changed[:, one_each]] % ROWS
    assert stats.kstest((further.numpy() - 1) / (ROWS - 1), "uniform").pvalue > 1e-3
    row = int(changed.sum(1).argmax())
    assert len(set(source[row][changed[row]].tolist())) > 1, "each feature from a row of its own"
    assert torch.equal(source[:, 0], source[:, 2]), "columns of one feature from one row"


def test_a_batch_of_one_row_has_nobody_to_swap_with() -> None:
    part = wf.SwapNoise(1.0)
    batch = part.transform(Batch(INPUTS[:1], LABELS[:1], CLASSES), part.values_at(0.0), Streams(1).at("x", 0))
    assert torch.equal(batch.inputs, INPUTS[:1])


def test_token_dropout_replaces_tokens_at_its_rate_but_no_padding() -> None:
    tokens = torch.arange(ROWS * 10).reshape(ROWS, 10) % 7
    part = wf.TokenDropout(0.2, token=9, padding=0)
    found = part.transform(Batch(tokens, LABELS, CLASSES), part.values_at(0.0), Streams(1).at("x", 0)).inputs
    assert found.dtype == tokens.dtype
    assert torch.equal(found == 9, found != tokens)
    assert not (found != tokens)[tokens == 0].any()
    words = (found != tokens)[tokens != 0].double()
    assert near(float(words.mean()), 0.2, words.numel())
    with pytest.raises(wf.WellfitError, match="token numbers"):
        part.transform(Batch(INPUTS, LABELS, CLASSES), part.values_at(0.0), Streams(1).at("x", 0))


def test_input_noise_on_the_scale_of_the_batch() -> None:
    scaled = INPUTS * torch.logspace(-3, 3, COLUMNS, dtype=torch.float64)
    scaled[:, 4] = 2.5
    part = wf.InputNoise(0.25, scale="batch")
    noise = part.transform(Batch(scaled, LABELS, CLASSES), part.values_at(0.0), Streams(8).at("x", 0)).inputs - scaled
    share = noise.std(0, correction=0) / scaled.std(0, correction=0)
    assert not noise[:, 4].any(), "a constant feature stays"
    others = [c for c in range(COLUMNS) if c != 4]
    assert float((share[others] - 0.25).abs().max()) < 5 * 0.25 / math.sqrt(2 * ROWS)


def test_target_noise_is_in_units_of_each_target() -> None:
    targets = torch.stack([INPUTS[:, 0], 100 * INPUTS[:, 1], torch.full((ROWS,), 3.0, dtype=torch.float64)], 1)
    part = wf.TargetNoise(0.3)
    noise = part.transform(Batch(INPUTS, targets), part.values_at(0.0), Streams(8).at("x", 0)).targets - targets
    share = noise[:, :2].std(0, correction=0) / targets[:, :2].std(0, correction=0)
    assert float((share - 0.3).abs().max()) < 5 * 0.3 / math.sqrt(2 * ROWS)
    assert float(noise[:, 2].abs().max()) < 1e-12
    assert stats.kstest((noise[:, 1] / noise[:, 1].std()).numpy(), "norm").pvalue > 1e-3
    for classes in (LABELS, HOT):
        same = part.transform(Batch(INPUTS, classes, CLASSES), part.values_at(0.0), Streams(8).at("x", 0))
        assert same.targets is classes
