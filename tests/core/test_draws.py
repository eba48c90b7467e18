"""Random streams: pure functions of seed, component and step; uniform; independent. All seeds are fixed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from wellfit.core.draws import Draw, Streams, component_key
from wellfit.kernels import bits

DRAWS = {
    "uniform": lambda d: d.uniform((7, 3)), "uniform32": lambda d: d.uniform((7, 3), torch.float32),
    "normal": lambda d: d.normal((7, 3)), "bits16": lambda d: d.bits16((7, 3)), "integers": lambda d: d.integers(10, (7,)),
    "permutation": lambda d: d.permutation(11), "scalar": lambda d: d.uniform(()),
}


@pytest.mark.parametrize("name", DRAWS)
def test_a_draw_depends_on_seed_component_and_step_alone(name: str) -> None:
    def get(seed: int = 1, component: str = "a", step: int = 4) -> torch.Tensor:
        streams = Streams(seed)
        streams.at("something else", 99).uniform((5,))  # what was drawn before does not matter
        return DRAWS[name](streams.at(component, step))

    assert torch.equal(get(), get())
    for other in (get(seed=2), get(component="b"), get(step=5)):
        assert not torch.equal(get(), other)


@pytest.mark.parametrize("name", DRAWS)
def test_members_draw_what_they_would_draw_alone(name: str) -> None:
    seeds = [5, -1, 2**63, 0, 5]
    together = DRAWS[name](Streams(seeds).at("x", 3))
    for k, seed in enumerate(seeds):
        assert torch.equal(together[k], DRAWS[name](Streams(seed).at("x", 3)))
    assert torch.equal(together[0], together[4])


@pytest.mark.parametrize("name", DRAWS)
def test_keeping_some_members_changes_no_draw(name: str) -> None:
    streams = Streams([5, 6, 7, 8])
    whole, some = DRAWS[name](streams.at("x", 3)), DRAWS[name](streams.keep([2, 0]).at("x", 3))
    assert torch.equal(some, whole[[2, 0]])


def test_values_asked_for_one_after_another_are_new() -> None:
    draw = Streams(1).at("x", 0)
    first, second = draw.uniform((100,)), draw.uniform((100,))
    assert len(set(torch.cat([first, second]).tolist())) == 200
    assert torch.equal(torch.cat([first, second]), Streams(1).at("x", 0).uniform((200,)))


def test_words_in_torch_integers_equal_those_of_numpy() -> None:
    keys = np.array([0, 1, 2**63, 2**64 - 1, 0x123456789ABCDEF0], dtype=np.uint64)
    for offset in (0, 1, 1000):
        expected = bits.words(keys, 257, offset)
        found = bits.words_on(torch.from_numpy(keys.view(np.int64)), 257, offset)
        assert np.array_equal(found.numpy().view(np.uint64), expected)


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4), st.integers(1, 40), st.integers(0, 10**6))
def test_words_in_torch_integers_equal_those_of_numpy_for_any_key(keys: list[int], count: int, offset: int) -> None:
    array = np.array(keys, dtype=np.uint64)
    found = bits.words_on(torch.from_numpy(array.view(np.int64)), count, offset)
    assert np.array_equal(found.numpy().view(np.uint64), bits.words(array, count, offset))


def test_other_devices_draw_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The path taken on a GPU, on a CPU."""
    keys = bits.mix64(np.array([1, 2, 3], dtype=np.uint64))

    class Elsewhere(Draw):
        def _words(self, count: int) -> torch.Tensor:
            offset, self._used = self._used, self._used + count
            return bits.words_on(torch.from_numpy(self._keys.view(np.int64)), count, offset)

    for name, ask in DRAWS.items():
        here, there = Draw(keys, False, torch.device("cpu")), Elsewhere(keys, False, torch.device("cpu"))
        assert torch.equal(ask(here), ask(there)), name


def test_splitmix_as_published() -> None:
    """The first outputs of SplitMix64 for seed 1234567 (Vigna's reference implementation)."""
    found = bits.words(np.array([1234567], dtype=np.uint64), 5)[0].tolist()
    assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]


# ---------------------------------------------------------------------------------------------------- statistics


def chi_square(counts: np.ndarray) -> float:
    return float(stats.chisquare(counts).pvalue)


def test_uniform_is_uniform() -> None:
    values = Streams(11).at("u", 0).uniform((200_000,)).numpy()
    assert values.min() > 0
    assert values.max() < 1
    assert chi_square(np.histogram(values, bins=100, range=(0, 1))[0]) > 1e-3
    pairs = np.histogram2d(values[::2], values[1::2], bins=16, range=[(0, 1), (0, 1)])[0]
    assert chi_square(pairs.ravel()) > 1e-3


def test_uniform_in_single_precision_never_reaches_its_ends() -> None:
    values = Streams(12).at("u", 0).uniform((200_000,), torch.float32)
    assert values.dtype == torch.float32
    assert 0 < float(values.min()) < 1e-4
    assert 1 - 1e-4 < float(values.max()) < 1
    assert chi_square(np.histogram(values.numpy(), bins=100, range=(0, 1))[0]) > 1e-3


def test_bits16_are_uniform() -> None:
    values = Streams(13).at("b", 0).bits16((400_000,)).numpy().astype(np.int64) + 32768
    assert values.dtype == np.int64
    assert chi_square(np.bincount(values // 256, minlength=256)) > 1e-3
    assert chi_square(np.bincount(values % 256, minlength=256)) > 1e-3


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_normal_is_normal(dtype: torch.dtype) -> None:
    values = Streams(14).at("n", 0).normal((100_001,), dtype)
    assert values.dtype == dtype
    assert values.shape == (100_001,)
    sample = values.double().numpy()
    assert stats.kstest(sample, "norm").pvalue > 1e-3
    assert abs(float(np.corrcoef(sample[:50_000], sample[50_001:])[0, 1])) < 5 / math.sqrt(50_000)
    assert np.isfinite(sample).all()


def test_integers_are_uniform_and_in_range() -> None:
    values = Streams(15).at("i", 0).integers(7, (70_000,))
    assert values.dtype == torch.int64
    assert chi_square(np.bincount(values.numpy(), minlength=7)) > 1e-3
    assert set(values.tolist()) == set(range(7))
    assert Streams(15).at("i", 0).integers(1, (10,)).tolist() == [0] * 10


def test_a_permutation_is_one_and_every_place_is_as_likely() -> None:
    assert sorted(Streams(16).at("p", 0).permutation(1000).tolist()) == list(range(1000))
    assert Streams(16).at("p", 0).permutation(1).tolist() == [0]
    places = torch.stack([Streams(16).at("p", step).permutation(8) for step in range(4000)]).numpy()
    for item in range(8):
        counts = np.bincount(np.argwhere(places == item)[:, 1], minlength=8)
        assert chi_square(counts) > 1e-3


@pytest.mark.parametrize("pairing", ["seeds", "components", "steps"])
def test_streams_are_independent(pairing: str) -> None:
    n = 50_000
    if pairing == "seeds":
        values = Streams([1, 2]).at("x", 0).uniform((n,))
    elif pairing == "components":
        values = torch.stack([Streams(1).at(name, 0).uniform((n,)) for name in ("dropout/0", "dropout/1")])
    else:
        values = torch.stack([Streams(1).at("x", step).uniform((n,)) for step in (0, 1)])
    a, b = values.numpy()
    assert abs(float(np.corrcoef(a, b)[0, 1])) < 5 / math.sqrt(n)
    assert chi_square(np.histogram2d(a, b, bins=16, range=[(0, 1), (0, 1)])[0].ravel()) > 1e-3
    for lag in (1, 2, 17):
        assert abs(float(np.corrcoef(a[lag:], b[:-lag])[0, 1])) < 5 / math.sqrt(n)


def test_the_first_value_of_many_streams_is_uniform_too() -> None:
    by_seed = Streams(list(range(20_000))).at("x", 0).uniform(())
    by_step = torch.stack([Streams(3).at("x", step).uniform(()) for step in range(5_000)])
    assert chi_square(np.histogram(by_seed.numpy(), bins=50, range=(0, 1))[0]) > 1e-3
    assert chi_square(np.histogram(by_step.numpy(), bins=50, range=(0, 1))[0]) > 1e-3


def test_component_keys_are_stable_across_processes() -> None:
    """A changed key would change every run that anyone repeats."""
    assert component_key("dropout/0") == component_key("dropout/0")
    assert len({component_key(f"{n}/{i}") for n in ("dropout", "mixup", "order") for i in range(1000)}) == 3000
