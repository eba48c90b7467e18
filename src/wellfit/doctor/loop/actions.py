"""What is done to the weights beside the optimizer's own update: thresholding, decay, projection on a ball."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Kind = Literal["none", "threshold", "coordinate", "decay", "scaled", "unexplained"]


@dataclass(frozen=True)
class Action:
    """One weight's.

    Attributes:
        kind: "threshold" by one number (soft-thresholding), "coordinate" (by a number per coordinate), "decay" by one factor,
            "scaled" by a factor per unit, "unexplained".
        amount: the threshold, or one minus the factor.
        kept: for "scaled": the axes along which the factor varies.
    """

    kind: Kind
    amount: float = 0.0
    kept: tuple[int, ...] = ()


def action(updated: Tensor, after: Tensor) -> Action:
    """What took ``updated`` to ``after``."""
    before, now = updated.double(), after.double()
    eps = torch.finfo(updated.dtype).eps
    moved = before - now
    if bool((moved.abs() <= 2 * eps * before.abs() + 1e-30).all()):
        return Action("none")
    if not before.isfinite().all() or not now.isfinite().all():
        return Action("unexplained")
    size, shrunk = before.abs(), before.abs() - now.abs()
    kept_sign = bool(((now == 0) | (now.sign() == before.sign())).all())
    if not kept_sign:
        return Action("unexplained")
    ulp = 2 * eps * size
    alive = now != 0
    if bool(alive.any()):
        ratio = shrunk[alive] / size[alive]
        mean, slack = float(ratio.mean()), ulp[alive] / size[alive]
        rate = float((shrunk[alive] * size[alive]).sum() / size[alive].square().sum())
        decays = bool(((shrunk - rate * size).abs() <= ulp + 0.01 * abs(rate) * size)[alive].all()) and bool(alive.all())
        step = float(shrunk[alive].mean())
        near = (shrunk - step).abs() <= ulp + 0.01 * abs(step)
        thresholds = step > 0 and bool(near[alive].all()) and bool((size[~alive] <= step * 1.02 + 1e-30).all())
        if decays and thresholds:  # too small to tell, or weights of one size
            off = [float((shrunk - guess).square().sum()) for guess in (rate * size, torch.where(alive, step, size))]
            varied = float(size.std(correction=0)) > 0.05 * float(size.mean())
            if not varied or abs(step) < 4 * float(ulp.mean()) or min(off) > 0.25 * max(off):
                return Action("unexplained")
            decays, thresholds = off[0] < off[1], off[1] <= off[0]
        if thresholds:
            return Action("threshold", step)
        if decays:
            return Action("decay", rate)
        del mean, slack
    scaled = scaled_along(updated, after)
    if scaled is not None:
        return Action("scaled", 0.0, scaled)
    if bool((shrunk >= -ulp).all()):
        return Action("coordinate")
    return Action("unexplained")


def factors_along(updated: Tensor, after: Tensor, kept: tuple[int, ...]) -> Tensor | None:
    """The factor of each unit, if it is the same within a unit; units are told apart by the axes ``kept``."""
    before, now = updated.double(), after.double()
    reduced = [d for d in range(before.ndim) if d not in kept]
    order = [*kept, *reduced]
    units = before.permute(order).reshape(_count(before, kept), -1)
    done = now.permute(order).reshape(units.shape)
    factor = (units * done).sum(1) / units.square().sum(1).clamp_min(1e-300)
    eps = torch.finfo(updated.dtype).eps
    off = (done - factor[:, None] * units).abs()
    return factor if bool((off <= 4 * eps * torch.maximum(units.abs(), done.abs()) + 1e-30).all()) else None


def norms_along(weight: Tensor, kept: tuple[int, ...]) -> Tensor:
    reduced = [d for d in range(weight.ndim) if d not in kept]
    return weight.double().permute([*kept, *reduced]).reshape(_count(weight, kept), -1).norm(dim=1)


def _count(weight: Tensor, kept: tuple[int, ...]) -> int:
    count = 1
    for d in kept:
        count *= weight.shape[d]
    return count


def scaled_along(updated: Tensor, after: Tensor) -> tuple[int, ...] | None:
    """The fewest axes along which a factor between 0 and 1 varies; None if the change is no such scaling."""
    for size in range(updated.ndim):
        for kept in itertools.combinations(range(updated.ndim), size):
            factor = factors_along(updated, after, kept)
            if factor is not None and bool((factor > 0).all()) and bool((factor <= 1 + 1e-6).all()):
                return kept
    return None


@dataclass(frozen=True)
class Ball:
    """A bound on norms that was enforced.

    Attributes:
        kept: axes that tell the units apart; radius: the bound.
    """

    kept: tuple[int, ...]
    radius: float


def ball(updated: Tensor, after: Tensor) -> Ball | None:
    """The ball that weights were projected on, if they were."""
    kept = scaled_along(updated, after)
    if kept is None:
        return None
    factor = factors_along(updated, after, kept)
    assert factor is not None
    clipped = factor < 1 - 1e-4
    if not bool(clipped.any()):
        return None
    for order in (2.0, 1.0):
        norms = norms_along(after, kept) if order == 2 else _norms1(after, kept)
        radius = float(norms[clipped].mean())
        if bool(((norms[clipped] - radius).abs() <= 2e-3 * radius).all()) and bool((norms <= radius * 1.003).all()):
            return Ball(kept, radius)
    return None


def _norms1(weight: Tensor, kept: tuple[int, ...]) -> Tensor:
    reduced = [d for d in range(weight.ndim) if d not in kept]
    return weight.double().abs().permute([*kept, *reduced]).reshape(_count(weight, kept), -1).sum(1)


def unit_axis(model: nn.Module, name: str) -> tuple[int, ...] | None:
    """The axis of the units of a weight, whose incoming weights a max-norm bounds; None where that is not known."""
    owner, _, own = name.rpartition(".")
    try:
        module = model.get_submodule(owner)
    except AttributeError:
        return None
    if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Bilinear) and own == "weight":
        return (0,)
    if isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d) and own == "weight":
        return (1,) if module.groups == 1 else None
    if isinstance(module, nn.RNNBase) and own.startswith("weight_"):
        return (0,)
    if type(module).__name__ == "Conv1D" and hasattr(module, "nf") and own == "weight":  # Hugging Face: (in, out)
        return (1,)
    return None
