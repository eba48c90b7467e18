"""Curvature of the loss: the largest eigenvalue of its Hessian, and the trace, from Hessian-vector products alone."""

from __future__ import annotations

import numpy as np
import torch

from wellfit.diagnosis.measures.estimate import Estimate, around
from wellfit.diagnosis.measures.surface import Surface, Weights, inner, moved


def top_eigenvalue(surface: Surface, *, iterations: int = 20, tolerance: float = 1e-3, seed: int = 0) -> Estimate:
    """Largest eigenvalue of the Hessian of L at w, by Lanczos with full orthogonalisation: power iteration that keeps every
    product, so that it needs far fewer, and that a large negative eigenvalue does not mislead.

    ``low`` is the Ritz value itself (no Hessian has a smaller top eigenvalue than vᵀHv / vᵀv), ``high`` adds the residual
    ‖Hv - θv‖: there is an eigenvalue within that of θ. Sharp minima generalize worse only within one parametrisation: compare
    networks of the same kind, and see ``landscape.sharpness`` for what rescaling leaves alone.

    Args:
        iterations: Hessian-vector products at most; each costs about two gradients, and keeps one copy of the weights.
        tolerance: relative residual at which to stop.

    Source: Lanczos 1950; Pearlmutter 1994 (products); Ghorbani, Krishnan and Xiao 2019 (for networks).
    """
    generator = torch.Generator().manual_seed(seed)
    vector = {n: torch.randn(w.shape, generator=generator, dtype=torch.float32).to(w) for n, w in surface.weights.items()}
    vector = _scaled(vector, inner(vector, vector) ** -0.5)
    basis: list[Weights] = []
    diagonal: list[float] = []
    beside: list[float] = []
    theta, residual = 0.0, np.inf
    size = sum(w.numel() for w in surface.weights.values())
    for _ in range(min(iterations, size)):
        basis.append(vector)
        image = surface.curvature_times(surface.weights, vector)
        diagonal.append(inner(image, vector))
        for _ in range(2):  # twice is enough
            for known in basis:
                image = moved(image, known, -inner(image, known))
        norm = inner(image, image) ** 0.5
        values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))
        theta, residual = float(values[-1]), float(norm * abs(vectors[-1, -1]))
        if residual <= tolerance * max(abs(theta), 1e-12) or norm < 1e-10:
            break
        beside.append(norm)
        vector = _scaled(image, 1 / norm)
    return Estimate(theta, theta, theta + residual, residual)


def trace(surface: Surface, *, probes: int = 16, seed: int = 0) -> Estimate:
    """tr H = E[vᵀHv] over vectors v of random signs (Hutchinson 1990), with Student's interval over the probes."""
    generator = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(max(probes, 2)):
        signs = {n: (torch.randint(0, 2, w.shape, generator=generator) * 2 - 1).to(w) for n, w in surface.weights.items()}
        values.append(inner(surface.curvature_times(surface.weights, signs), signs))
    return around(float(np.mean(values)), float(np.var(values, ddof=1)) / len(values), len(values) - 1)


def _scaled(vector: Weights, factor: float) -> Weights:
    return {n: v * factor for n, v in vector.items()}
