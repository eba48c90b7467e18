"""What each part that acts inside a network promises: against its definition, other implementations, and its chances."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import linalg
from torch import nn
from torch.nn import functional

import wellfit as wf
from core.networks import NETWORKS, Recurrent, ResNet, Tied, made, values
from wellfit.core.draws import Streams
from wellfit.core.operands import Site

pytestmark = pytest.mark.filterwarnings("ignore::wellfit.WellfitWarning")
MAP = Site(channel_axis=-3, batch_axis=-4, positions=(-2, -1), kind="convolution")


def near(share: float, rate: float, trials: float) -> bool:
    return abs(share - rate) <= 5 * math.sqrt(rate * (1 - rate) / trials) + 1 / 65536


def met(part: wf.SpatialDropout, x: torch.Tensor, site: Site = MAP, step: int = 0) -> torch.Tensor:
    return part.on_site(x, site, part.values_at(0.0), Streams(5).at(part.name, step))


def entering(model: nn.Module, layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    caught: list[torch.Tensor] = []
    handle = layer.register_forward_pre_hook(lambda module, args: caught.append(args[0]))
    model(x)
    handle.remove()
    return caught[0]


# ------------------------------------------------------------------------------------------------------- activations


def test_spatial_dropout_drops_channels_whole() -> None:
    out = met(wf.SpatialDropout(0.3), torch.ones(400, 30, 3, 5))
    dropped = (out == 0).flatten(2).double().mean(2)
    assert set(dropped.unique().tolist()) == {0.0, 1.0}
    assert near(float(dropped.mean()), 0.3, 12000)
    assert torch.allclose(out[out > 0], torch.tensor(1 / 0.7), rtol=1e-4)


def test_alpha_dropout_is_torchs_but_for_the_draws() -> None:
    """The two values that an activation can take, in float64."""
    x = torch.full((4000,), 0.37, dtype=torch.float64)
    part = wf.AlphaDropout(0.25)
    ours = part.on_hidden(x, part.values_at(0.0), Streams(2).at("x", 0)).unique()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = functional.alpha_dropout(x, 0.25, training=True).unique()
    assert torch.allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_alpha_dropout_keeps_mean_and_variance(rate: float) -> None:
    count = 400_000
    x = torch.randn(count, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    part = wf.AlphaDropout(rate)
    out = part.on_hidden(x, part.values_at(0.0), Streams(2).at("x", 0))
    assert abs(float(out.mean())) < 5 / math.sqrt(count)
    assert abs(float(out.var()) - 1) < 5 * math.sqrt(2 / count) * 2
    channels = met(wf.FeatureAlphaDropout(rate), torch.randn(300, 20, 2, 2, generator=torch.Generator().manual_seed(0)))
    flat = channels.flatten(2)
    assert near(float((flat == flat[..., :1]).all(-1).double().mean()), rate, 6000)


def test_gaussian_dropout_has_dropouts_variance() -> None:
    part, count = wf.GaussianDropout(0.2), 300_000
    noise = part.on_hidden(torch.full((count,), 2.0, dtype=torch.float64), part.values_at(0.0), Streams(2).at("x", 0)) / 2 - 1
    assert abs(float(noise.mean())) < 5 * 0.5 / math.sqrt(count)
    assert abs(float(noise.var()) - 0.25) < 5 * 0.25 * math.sqrt(2 / count)


@pytest.mark.parametrize(("rate", "size"), [(0.3, 3), (0.1, 4), (0.5, 1), (0.2, 9)])
def test_drop_block_drops_every_position_at_its_rate_in_blocks(rate: float, size: int) -> None:
    out = met(wf.DropBlock(rate, size=size), torch.ones(6000, 2, 7, 6))
    dropped = (out == 0).double()
    for row, column in ((0, 0), (3, 3), (6, 5), (0, 4)):  # in the corners as in the middle
        assert near(float(dropped[:, :, row, column].mean()), rate, 12000 * 0.98)
    assert abs(float(out.mean(dtype=torch.float64)) - 1) < 5 * size * math.sqrt(rate / (1 - rate) / out.numel())
    alone = dropped[:, 0]
    inside = alone[:, 2:5, 2:4]
    if 1 < size < 5:  # a position is dropped with all of some block: some neighbour on one side is dropped too
        neighbours = (alone[:, 1:4, 2:4] + alone[:, 3:6, 2:4]) > 0
        assert bool(neighbours[inside > 0].all())
    if size == 1:
        assert near(float((dropped[:, 0, 3, 3] * dropped[:, 0, 3, 4]).mean()), rate**2, 6000)


def test_drop_block_in_one_and_three_dimensions() -> None:
    for axes in (1, 3):
        site = Site(channel_axis=-axes - 1, batch_axis=-axes - 2, positions=tuple(range(-axes, 0)), kind="convolution")
        out = met(wf.DropBlock(0.25, size=2), torch.ones(500, 3, *(4,) * axes), site)
        share = (out == 0).flatten(2).double().mean(2)
        spread = float(share.std()) / math.sqrt(share.numel())
        assert abs(float(share.mean()) - 0.25) < 5 * spread + 1e-3


def locks(model: nn.Module, batch_axis: int, time_axis: int) -> None:
    wf.Recipe(wf.LockedDropout(0.5)).compile(model)
    dropped = entering(model, model.recurrent, NETWORKS["lstm"][1])
    assert torch.equal(dropped == 0, (dropped == 0).select(time_axis, 0).unsqueeze(time_axis).expand_as(dropped))
    per_example = (dropped == 0).double().select(time_axis, 0)
    assert not torch.equal(per_example[:1].expand_as(per_example), per_example), "each example has a mask of its own"
    assert 0.2 < float(per_example.mean()) < 0.8


def test_locked_dropout_drops_a_unit_at_every_step_or_at_none() -> None:
    locks(made(Recurrent()), 0, 1)
    locks(made(Recurrent(batch_first=False)), 1, 0)


def test_locked_dropout_of_packed_sequences() -> None:
    model = made(Recurrent(nn.GRU, packed=True))
    wf.Recipe(wf.LockedDropout(0.5)).compile(model)
    packed = entering(model, model.recurrent, NETWORKS["lstm"][1])
    padded, lengths = nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)
    assert lengths.tolist() == [7, 3, 5, 7, 1, 2]
    for row, length in zip(padded == 0, lengths.tolist(), strict=True):
        assert torch.equal(row[:length], row[:1].expand(length, -1))


# ------------------------------------------------------------------------------------- weights that are computed with


def test_drop_connect_on_recurrent_weights_is_an_lstm_with_those_weights() -> None:
    model, x = made(Recurrent()), NETWORKS["lstm"][1]
    part = wf.DropConnect(0.5, select="*.weight_hh*")
    wf.Recipe(part).compile(model, seed=9)
    out = model(x)
    plain = made(Recurrent())
    with torch.no_grad():
        weight = plain.recurrent.weight_hh_l0
        dropped = part.on_weight(weight, None, part.values_at(0.0), Streams(9).at(f"{part.name}/recurrent.weight_hh_l0", 0))
        assert near(float((dropped == 0).double().mean()), 0.5, weight.numel())
        assert torch.allclose(dropped[dropped != 0], 2 * weight[dropped != 0])
        weight.copy_(dropped)
    assert torch.equal(out, plain(x))
    assert torch.equal(model.recurrent.weight_hh_l0, made(Recurrent()).recurrent.weight_hh_l0), "the parameter is as it was"


def test_weight_noise_has_its_std() -> None:
    part, weight = wf.WeightNoise(0.3), torch.ones(400, 500, dtype=torch.float64)
    noise = part.on_weight(weight, None, part.values_at(0.0), Streams(1).at("x", 0)) - 1
    assert abs(float(noise.mean())) < 5 * 0.3 / math.sqrt(weight.numel())
    assert abs(float(noise.std()) - 0.3) < 5 * 0.3 / math.sqrt(2 * weight.numel())


def test_embedding_dropout_drops_words_everywhere_also_where_tied() -> None:
    model, x = made(Tied()), NETWORKS["tied"][1]
    part = wf.EmbeddingDropout(0.4)
    wf.Recipe(part).compile(model, seed=2)
    embedded = entering(model, model.recurrent, x)
    weight = part.on_weight(model.words.weight, None, part.values_at(0.0), Streams(2).at("embedding_dropout/words.weight", 0))
    assert torch.equal(embedded, weight[x])
    lost = (weight == 0).all(1)
    assert 0 < int(lost.sum()) < 11
    assert torch.allclose(weight[~lost], model.words.weight[~lost] / 0.6, rtol=1e-4)
    wf.Recipe(part).compile(model, seed=2)
    assert bool((model(x)[:, lost] == 0).all()), "the output layer computes with the same rows"


def test_weight_standardization_is_a_convolution_with_standardised_filters() -> None:
    model, x = made(ResNet()), NETWORKS["resnet"][1]
    convolution = model.stem[0]
    wf.Recipe(wf.WeightStandardization()).compile(model)
    w = convolution.weight.detach().numpy().reshape(4, -1)
    w = (w - w.mean(1, keepdims=True)) / np.sqrt(w.var(1, keepdims=True) + 1e-5)
    expected = functional.conv2d(x, torch.from_numpy(w).view_as(convolution.weight), padding=1)
    for mode in (True, False):
        assert torch.allclose(convolution.train(mode)(x), expected, rtol=1e-12)


def test_weight_standardization_is_written_into_the_weights_at_the_end() -> None:
    model, x = made(ResNet()), NETWORKS["resnet"][1]
    plan = wf.Recipe(wf.WeightStandardization()).compile(model)
    expected = model.eval()(x)
    found = plan.finish()
    assert torch.allclose(found(x), expected, rtol=1e-12)
    assert abs(float(found.blocks[0].conv1.weight[0].mean())) < 1e-12
    assert not any("wellfit_around" in vars(m) for m in model.modules())


def test_transposed_convolutions_are_standardised_by_their_own_units() -> None:
    model = nn.Sequential(nn.ConvTranspose2d(4, 6, 3, groups=2), nn.Conv2d(6, 1, 1)).double()
    wf.Recipe(wf.WeightStandardization(select="first")).compile(model).finish()
    w = model[0].weight.detach().unflatten(0, (2, 2))  # group, inputs, outputs, kernel
    assert torch.allclose(w.mean((1, 3, 4)), torch.zeros(2, 3).double(), atol=1e-12)
    assert torch.allclose(w.var((1, 3, 4), correction=0), torch.ones(2, 3).double(), atol=1e-2)


def test_orthogonal_weights_are_orthogonal_after_every_step() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 2), nn.Conv2d(4, 3, 2), nn.Flatten(), nn.Linear(12, 20), nn.Linear(20, 2)).double()
    plan = wf.Recipe(wf.OrthogonalWeights()).compile(model)
    plan.attach(optimizer := torch.optim.AdamW(model.parameters(), lr=0.05))
    before = model[1].weight.detach().clone()
    for step in range(4):
        optimizer.zero_grad()
        model(values(5, 1, 4, 4, seed=step)).square().sum().backward()
        optimizer.step()
        rows, columns = model[1].weight.detach().flatten(1), model[3].weight.detach()
        assert torch.allclose(rows @ rows.T, torch.eye(3).double(), atol=1e-12)
        assert torch.allclose(columns.T @ columns, torch.eye(12).double(), atol=1e-12)
    assert not torch.allclose(model[1].weight, before)
    w = model[4].weight.detach()
    assert not torch.allclose(w @ w.T, torch.eye(2).double(), atol=1e-3), "the last layer is free"


def test_orthogonal_weights_are_the_nearest_ones() -> None:
    weight = values(5, 8)
    nearest, _ = linalg.polar(weight.numpy())
    part = wf.OrthogonalWeights()
    from wellfit.core.operands import WeightInfo
    part.update_(weight, WeightInfo("w", "linear", (-1,)), part.values_at(0.0), None)  # type: ignore[arg-type]
    assert np.allclose(weight.numpy(), nearest, rtol=1e-12)


# -------------------------------------------------------------------------------------------------------------- norms


def test_ghost_batch_norm_is_batch_norm_on_pieces() -> None:
    x = values(13, 4, 3, 3)
    plain, model = nn.BatchNorm2d(4).double(), nn.Sequential(nn.BatchNorm2d(4)).double()
    wf.Recipe(wf.GhostBatchNorm(4)).compile(model)
    expected = torch.cat([plain(x[:5]), plain(x[5:9]), plain(x[9:])])
    assert torch.equal(model(x), expected)
    assert torch.equal(model[0].running_var, plain.running_var)
    assert int(model[0].num_batches_tracked) == 3
    assert torch.equal(model.eval()(x), plain.eval()(x))


def test_ghost_batch_norm_of_an_inserted_norm() -> None:
    model = wf.MLP(4, (8,), 3, dtype=torch.float64)
    wf.Recipe(wf.BatchNorm(), wf.GhostBatchNorm(4)).compile(model)
    x = values(8, 4)
    entered = entering(model, model.layers[1], x)
    z = model.layers[0]._parameters["weight"] @ x.T
    z = (z.T + model.layers[0].bias).detach()
    halves = [functional.batch_norm(h, None, None, training=True) for h in (z[:4], z[4:])]
    assert torch.allclose(entered, torch.relu(torch.cat(halves)), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("part", "groups"), [(wf.NormReplacement(groups=4), 3), (wf.NormReplacement("layer_norm"), 1)])
def test_replaced_norms_compute_with_the_same_gain_and_shift(part: wf.NormReplacement, groups: int) -> None:
    model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6)).double()
    with torch.no_grad():
        model[1].weight.copy_(values(6))
        model[1].bias.copy_(values(6, seed=1))
    before, gain, x = model.state_dict(), model[1].weight, values(5, 1, 6, 6)
    wf.Recipe(part).compile(model)
    assert model[1].weight is gain
    expected = functional.group_norm(model[0](x), groups, gain, model[1].bias)
    assert torch.equal(model(x), expected)
    assert torch.equal(model.eval()(x), expected)
    model.load_state_dict(before)  # strictly: what a batch norm kept besides is left out


def test_recalibration_gives_the_statistics_of_the_final_weights() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2)).double()
    plan = wf.Recipe(wf.Dropout(0.5), wf.BatchNormRecalibration(3)).compile(model)
    plan.attach(optimizer := torch.optim.SGD(model.parameters(), lr=0.1))
    batches = [values(8, 4, seed=n) for n in range(5)]
    for x in batches:
        model(x).square().sum().backward()
        optimizer.step()
    with pytest.raises(wf.WellfitError, match="training inputs"):
        plan.finish()
    leaving = wf.Recipe(wf.BatchNormRecalibration()).compile(nn.Sequential(nn.BatchNorm1d(2)))
    with pytest.warns(wf.WellfitWarning, match="not recalibrated"), leaving:
        pass
    plan.finish(batches)
    means = torch.stack([model[0](x).mean(0) for x in batches[:3]]).mean(0)
    assert torch.allclose(model[1].running_mean, means, rtol=1e-12)
