"""Masks and noise from draws that are handed in."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wellfit.core.draws import Streams
from wellfit.kernels.noise import add_noise, drop, happens, threshold16

ALL = torch.arange(-32768, 32768, dtype=torch.int32).to(torch.int16)  # each 16-bit draw once


@given(st.floats(0, 1))
def test_a_rate_is_met_to_one_in_65536(rate: float) -> None:
    share = float(happens(ALL, rate).double().mean())
    assert abs(share - rate) <= 1 / 65536
    assert torch.equal(happens(ALL, torch.tensor(rate, dtype=torch.float64)), happens(ALL, rate))


def test_zero_is_never() -> None:
    assert not happens(ALL, 0.0).any()
    assert not happens(ALL, torch.tensor(0.0)).any()


@given(st.floats(0, 0.999))
def test_the_mean_of_what_is_left_is_exact(rate: float) -> None:
    """The scale fits the rate that is met, so that every draw taken once gives the mean back."""
    values = torch.ones(65536, dtype=torch.float64)
    for given_ in (rate, torch.tensor(rate, dtype=torch.float64)):
        out = drop(values, ALL, given_)
        assert float(out.mean()) == pytest.approx(1.0, rel=1e-12)
        kept = out[out != 0]
        assert torch.equal(kept, kept[:1].expand_as(kept))


def test_members_have_their_own_rates() -> None:
    rates = torch.tensor([0.0, 0.25, 0.9], dtype=torch.float64)
    values = torch.ones(3, 65536, dtype=torch.float64)
    out = drop(values, ALL, rates[:, None])
    for k, rate in enumerate(rates.tolist()):
        assert torch.equal(out[k], drop(values[k], ALL, rate))
    assert torch.equal(out[0], values[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_types_are_kept(dtype: torch.dtype) -> None:
    values = torch.randn(4, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    for rate in (0.5, torch.tensor(0.5)):
        out = drop(values, ALL[::8192][None], rate)
        assert out.dtype == dtype
        assert torch.equal(out[out != 0], (values * 2)[out != 0])


@given(st.floats(0, 1))
def test_a_threshold_is_an_int16(rate: float) -> None:
    assert -32768 <= threshold16(rate) <= 32767
    assert threshold16(torch.tensor(rate, dtype=torch.float64)).dtype == torch.int16


def test_noise_has_the_moments_it_says() -> None:
    x = torch.full((100_000,), 3.0, dtype=torch.float64)
    noisy = add_noise(x, Streams(3).at("noise", 0).normal((100_000,)), 0.25)
    assert abs(float(noisy.mean()) - 3.0) < 5 * 0.25 / math.sqrt(100_000)
    assert abs(float(noisy.std()) - 0.25) < 5 * 0.25 / math.sqrt(200_000)
    assert torch.equal(add_noise(x, torch.randn(100_000, generator=torch.Generator().manual_seed(1)).double(), 0.0), x)
