"""Proximal maps of penalties that are not convex, exact for every step size. ``step`` as in ``kernels/prox.py``.

Each minimises (w - v)²/(2s) + p(w) over one weight. Where s is so large that this has two valleys, the lower one is taken: the
usual thresholding formulas hold for small s only, and beyond that give a point that is no minimum at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from wellfit.kernels.numbers import as_like


def firm_threshold_(weight: Tensor, strength: Any, gamma: Any, step: Any) -> Tensor:
    """The prox of MCP, p(w) = λ|w| - w²/(2γ) up to |w| = γλ and γλ²/2 beyond, in place.

    With v ≥ 0: the derivative on [0, γλ] is w(1/s - 1/γ) - v/s + λ.

    - s < γ: it grows, the objective is convex: w = max(v - sλ, 0) / (1 - s/γ) up to v = γλ, and w = v from there on.
    - s ≥ γ: it falls, so that no point inside is a minimum: 0, with value v²/(2s), against v, with value γλ²/2. v wins where
      v > λ√(γs), which is at least γλ: a hard threshold.

    >>> firm_threshold_(torch.tensor([0.5, 1.5, 3.0]), 1.0, 2.0, 1.0)
    tensor([0., 1., 3.])
    >>> firm_threshold_(torch.tensor([2.5, 3.0]), 1.0, 2.0, 4.0)
    tensor([0., 3.])
    """
    size = weight.abs()
    strength, gamma, step = (as_like(v, weight) for v in (strength, gamma, step))
    valley = step < gamma
    ratio = torch.where(valley, step / gamma, torch.zeros_like(step / gamma))
    shrunk = (size - step * strength).clamp_min_(0) / (1 - ratio)
    convex = torch.where(size > gamma * strength, size, shrunk)
    hard = torch.where(size > strength * (gamma * step).sqrt(), size, torch.zeros_like(size))
    return _signed_(weight, torch.where(valley, convex, hard), size)


def group_firm_threshold_(weight: Tensor, threshold: Tensor, limit: Any, total: Callable[[Tensor], Tensor],
                          iterations: int = 8) -> Tensor:
    """The prox of MCP on the norm of each group in place, for one step size per weight: with t = ‖w_g‖ and c_i = λ s_i =
    ``threshold``, the penalty is λ(t - t²/(2B)) up to t = B = ``limit`` and λB/2 beyond. B → ∞ is the group soft threshold.

    Times 2/λ the objective is Σ (w_i - v_i)²/c_i + 2t - t²/B. MCP is min over u in [0, 1] of λ(u t + B(1 - u)²/2), reached at
    u = 1 - t/B; so, with t(u) = the norm of the group soft threshold by u·c, its derivative along u has the sign of
    t(u) - B(1 - u). t solves ‖v / (t + u c)‖ = 1, where the left side is 1 over a power mean (of order -2) of functions that are
    linear in (t, u): that is concave, so what lies above t(u) is convex, and t(u) is a convex function. Hence

    - ‖v‖ < B: the derivative is negative at u = 0. Where 0 is a minimum for u = 1 (‖v/c‖ ≤ 1), it is negative to the end, and the
      minimum is 0; otherwise it changes its sign once.
    - ‖v‖ ≥ B: v itself, with value B, is a minimum, and the one of the first case may be another: the lower one is taken.

    The change of sign solves k(t) = 1/‖v / (t + c(1 - t/B))‖ - 1 = 0, again with k concave, negative at 0 and rising up to the
    root: Newton's method from the left, t₀ = ‖soft_threshold(v, c)‖, converges monotonically, as in
    ``prox.group_threshold_in_metric_``.

    >>> group_firm_threshold_(torch.tensor([[3.0, 4.0], [0.9, 1.2], [0.3, 0.4]]), torch.tensor([[1.0]]), 4.0,
    ...                       lambda t: t.sum(1, keepdim=True))
    tensor([[3.0000, 4.0000],
            [0.4000, 0.5333],
            [0.0000, 0.0000]])
    """
    tiny = torch.finfo(weight.dtype).tiny
    limit = as_like(limit, weight)
    safe = threshold.clamp_min(tiny)
    alive = total((weight / safe).square()) > 1  # not w²/c²: c² underflows
    t = total((weight.abs() - threshold).clamp_min_(0).square()).sqrt()
    bend = 1 - threshold / limit
    for _ in range(iterations):
        shifted = (t + threshold * (1 - t / limit)).clamp_min_(tiny)
        ratio = (weight / shifted).square()
        g2, slope = total(ratio), total(ratio * bend / shifted)
        step = g2 * (g2.sqrt() - 1) / slope
        t = torch.minimum(t + torch.where(alive & (slope > 0), step, 0).nan_to_num_(0.0, 0.0, 0.0), limit)
    inside = weight * torch.where(alive, t / (t + threshold * (1 - t / limit)).clamp_min_(tiny), 0)  # what diverged stays nan
    norm = torch.minimum(total(inside.square()).sqrt(), limit)
    value = total((inside - weight).square() / safe) + 2 * norm - norm.square() / limit
    beyond = total(weight.square()).sqrt() >= limit
    # a zero threshold is the identity, bit for bit
    return weight.copy_(torch.where((beyond & (value >= limit)) | (threshold == 0), weight, inside))


def scad_threshold_(weight: Tensor, strength: Any, a: Any, step: Any) -> Tensor:
    """The prox of SCAD in place: p(w) = λ|w| up to |w| = λ, (2aλ|w| - w² - λ²)/(2(a - 1)) up to aλ, λ²(a + 1)/2 beyond.

    With v ≥ 0:

    - s < a - 1, where the objective is convex: max(v - sλ, 0) up to v = (1 + s)λ, then ((a - 1)v - saλ)/(a - 1 - s) up to aλ,
      then v.
    - s ≥ a - 1: between λ and aλ it is concave and holds no minimum. The soft threshold, with value v²/(2s) where it is 0 and
      λv - sλ²/2 where it is not, against v, with value λ²(a + 1)/2: v wins where v > λ√(s(a + 1)) if s ≥ a + 1, and where
      v > λ(a + 1 + s)/2 otherwise. Both are at least aλ, and what lies below is at most λ after the soft threshold.

    >>> scad_threshold_(torch.tensor([0.5, 1.5, 3.0, 5.0]), 1.0, 3.7, 1.0)
    tensor([0.0000, 0.5000, 2.5882, 5.0000])
    """
    size = weight.abs()
    strength, a, step = (as_like(v, weight) for v in (strength, a, step))
    valley = step < a - 1
    soft = (size - step * strength).clamp_min(0)
    gap = torch.where(valley, a - 1 - step, torch.ones_like(a - step))
    middle = ((a - 1) * size - step * a * strength) / gap
    convex = torch.where(size > a * strength, size, torch.where(size > (1 + step) * strength, middle, soft))
    edge = strength * torch.where(step >= a + 1, (step * (a + 1)).sqrt(), (a + 1 + step) / 2)
    return _signed_(weight, torch.where(valley, convex, torch.where(size > edge, size, soft)), size)


def half_threshold_(weight: Tensor, threshold: Any) -> Tensor:
    """The prox of c·√|w| with c = ``threshold`` (strength times step), in place.

    A stationary point solves w - v + c/(2√w) = 0, a cubic in √w, whose largest root is
    w = ⅔ v (1 + cos(⅔π - ⅔ arccos((c/4) (|v|/3)^(-3/2)))); its value is below that of 0 exactly where
    |v| > (3/2) c^(2/3). (Xu et al. 2012 write λ = 2c.)

    >>> half_threshold_(torch.tensor([1.0, 1.6, -8.0]), 1.0)
    tensor([ 0.0000,  1.1295, -7.8212])
    """
    size = weight.abs()
    threshold = as_like(threshold, weight)
    alive = size > 1.5 * threshold ** (2 / 3)
    cosine = threshold / 4 * torch.where(alive, size / 3, torch.ones_like(size)) ** -1.5
    root = size * (2 / 3) * (1 + torch.cos((2 / 3) * (math.pi - torch.arccos(cosine.clamp_max(1)))))
    return _signed_(weight, torch.where(threshold > 0, torch.where(alive, root, torch.zeros_like(size)), size), size)


def _signed_(weight: Tensor, size: Tensor, before: Tensor) -> Tensor:
    """Give weights new sizes, in place; what is no number stays so, since a diverged run must not look like a sparse one."""
    return torch.where(before.isnan(), weight, torch.copysign(size, weight), out=weight)


def clip_singular_values_(matrix: Tensor, change: Any) -> Tensor:
    """Replace the singular values of (..., m, n) matrices by ``change(values)``, in place. Matrices whose values do not change
    stay bit for bit, and so do those that hold something that is no finite number."""
    finite = matrix.isfinite().all(-1, keepdim=True).all(-2, keepdim=True)
    left, values, right = torch.linalg.svd(torch.where(finite, matrix, torch.zeros_like(matrix)), full_matrices=False)
    changed = change(values)
    moved = (changed != values).any(-1)[..., None, None] & finite
    return matrix.copy_(torch.where(moved, (left * changed.unsqueeze(-2)) @ right, matrix))
