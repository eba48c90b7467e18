"""The projection onto balls: feasible, idempotent, the nearest point, the identity inside."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wellfit.kernels.project import project_l2_ball_

matrices = hnp.arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 5)),
                      elements=st.floats(-1e6, 1e6, allow_subnormal=False))
radii = st.floats(1e-3, 1e3)


def project(values: np.ndarray, radius: float) -> np.ndarray:
    return project_l2_ball_(torch.from_numpy(values.copy()), radius, (-1,)).numpy()


@given(matrices, radii)
def test_feasible_and_idempotent(values: np.ndarray, radius: float) -> None:
    found = project(values, radius)
    assert (np.linalg.norm(found, axis=1) <= radius * (1 + 1e-15 * 4)).all()
    np.testing.assert_allclose(project(found, radius), found, rtol=1e-15 * 4, atol=0)


@given(matrices, radii)
def test_what_is_inside_stays_bit_for_bit(values: np.ndarray, radius: float) -> None:
    inside = np.linalg.norm(values, axis=1) <= radius * (1 - 1e-12)
    assert np.array_equal(project(values, radius)[inside], values[inside])


@given(matrices, radii)
def test_what_is_outside_lands_on_the_sphere_in_its_own_direction(values: np.ndarray, radius: float) -> None:
    norm = np.linalg.norm(values, axis=1, keepdims=True)
    outside = (norm > radius * (1 + 1e-12))[:, 0]
    np.testing.assert_allclose(project(values, radius)[outside], (values / np.maximum(norm, 1e-300) * radius)[outside],
                               rtol=1e-12, atol=1e-12)


@given(matrices, matrices, radii)
def test_nonexpansive(a: np.ndarray, b: np.ndarray, radius: float) -> None:
    rows, columns = min(a.shape[0], b.shape[0]), min(a.shape[1], b.shape[1])
    a, b = np.ascontiguousarray(a[:rows, :columns]), np.ascontiguousarray(b[:rows, :columns])
    assert np.linalg.norm(project(a, radius) - project(b, radius)) <= np.linalg.norm(a - b) * (1 + 1e-12) + 1e-9


@given(matrices)
def test_an_infinite_radius_changes_nothing(values: np.ndarray) -> None:
    assert np.array_equal(project(values, float("inf")), values)


def test_a_radius_for_each_member_and_no_axes() -> None:
    weight = torch.tensor([[[3.0, 4.0]], [[3.0, 4.0]]])
    found = project_l2_ball_(weight, torch.tensor([1.0, 10.0]).view(2, 1, 1), (-1,))
    assert torch.allclose(found, torch.tensor([[[0.6, 0.8]], [[3.0, 4.0]]]))
    assert project_l2_ball_(torch.tensor([3.0, -0.5, -4.0]), 1.0, ()).tolist() == [1.0, -0.5, -1.0]
