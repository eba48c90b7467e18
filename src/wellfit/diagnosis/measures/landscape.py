"""How flat the loss is around the weights that training found: along random directions, and at its worst nearby."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from wellfit.diagnosis.measures.estimate import Estimate
from wellfit.diagnosis.measures.gap import paired_difference
from wellfit.diagnosis.measures.surface import Surface, Weights, inner, moved


@dataclass(frozen=True, eq=False)
class Line:
    """Losses (directions, points) at ``distances`` (points,) along random directions."""

    distances: np.ndarray
    losses: np.ndarray


@dataclass(frozen=True, eq=False)
class Plane:
    """Losses (points, points) at ``distances`` along two directions: row i is i along the first, column j along the second."""

    distances: np.ndarray
    losses: np.ndarray


def filter_normalised(weights: Weights, generator: torch.Generator) -> Weights:
    """A random direction d with ‖d_j‖ = ‖w_j‖ for every filter j (row of a matrix, output channel of a kernel): rescaling a layer,
    which batch norm or ReLU may undo elsewhere, leaves what is seen along it unchanged. One-dimensional weights stay.

    Source: Li et al. 2018, "Visualizing the loss landscape of neural nets".
    """
    out = {}
    for name, weight in weights.items():
        if weight.ndim < 2:
            out[name] = torch.zeros_like(weight)
            continue
        draw = torch.randn(weight.shape, generator=generator, dtype=torch.float32).to(weight)
        size, own = (v.flatten(1).norm(dim=1).view(-1, *[1] * (v.ndim - 1)) for v in (weight, draw))
        out[name] = draw * (size / own.clamp_min(1e-12))
    return out


def line(surface: Surface, *, reach: float = 1.0, points: int = 21, directions: int = 3, seed: int = 0) -> Line:
    """L(w + t·d) for t from -reach to reach and filter-normalised random d."""
    distances = np.linspace(-reach, reach, points)
    generator = torch.Generator().manual_seed(seed)
    ways = [filter_normalised(surface.weights, generator) for _ in range(directions)]
    return Line(distances, np.array([[surface.value(moved(surface.weights, d, t)) for t in distances] for d in ways]))


def plane(surface: Surface, *, reach: float = 1.0, points: int = 15, seed: int = 0) -> Plane:
    """L(w + s·d₁ + t·d₂) for two filter-normalised random directions."""
    distances = np.linspace(-reach, reach, points)
    generator = torch.Generator().manual_seed(seed)
    first, second = (filter_normalised(surface.weights, generator) for _ in range(2))
    return Plane(distances, np.array([[surface.value(moved(moved(surface.weights, first, s), second, t)) for t in distances]
                                      for s in distances]))


def sharpness(surface: Surface, *, radius: float = 0.05, steps: int = 10, draws: int = 1000, seed: int = 0) -> Estimate:
    """max L(w + ε) - L(w) over ‖ε / |w|‖ ≤ radius·√P: the worst nearby loss, every weight moved relative to its own size.

    P is the number of weights, so that ``radius`` is the typical relative change of one. Found by projected gradient ascent in
    u = ε / |w|, from the gradient's own direction: the value is a lower bound of the maximum. Rescaling weights of one layer up and
    of the next down changes nothing, as it must not (ASAM). The interval is a bootstrap over rows, with ε as found.

    Source: Kwon et al. 2021, "ASAM"; Foret et al. 2021, "Sharpness-aware minimization".
    """
    start = surface.weights
    size = {n: w.abs() for n, w in start.items()}
    largest = radius * sum(w.numel() for w in start.values()) ** 0.5
    before = surface.rows(start)
    u: Weights = {n: torch.zeros_like(w) for n, w in start.items()}
    worst, after = float(before.double().mean()), before
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        slope = {n: g * size[n] for n, g in surface.gradient({n: w + size[n] * u[n] for n, w in start.items()}).items()}
        norm = inner(slope, slope) ** 0.5
        if norm < 1e-12 and step == 0:  # at a perfect minimum the gradient says nothing: begin anywhere
            slope = {n: torch.randn(w.shape, generator=generator, dtype=torch.float32).to(w) for n, w in start.items()}
            norm = inner(slope, slope) ** 0.5
        if norm < 1e-12:
            break
        length = largest if step == 0 else largest / 2
        u = moved(u, slope, length / norm)
        if (reach := inner(u, u) ** 0.5) > largest:
            u = {n: v * (largest / reach) for n, v in u.items()}
        rows = surface.rows({n: w + size[n] * u[n] for n, w in start.items()})
        if torch.isfinite(rows).all() and (value := float(rows.double().mean())) > worst:
            worst, after = value, rows
    return paired_difference(after.double().cpu().numpy(), before.double().cpu().numpy(), draws=draws, seed=seed) \
        if len(before) > 1 else Estimate(worst - float(before[0]), -np.inf, np.inf)
