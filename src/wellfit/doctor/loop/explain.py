"""What a gradient consists of: that of the data, and what acts on the weights directly.

``g = Σ_f a_f G_f + l1 · sign(w) + l2 · w``, per weight, with common factors a_f (1; less if the gradient was clipped or unscaled).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from wellfit.doctor.loop.criteria import Criterion, Matched, loss_of, match, targets_of
from wellfit.doctor.loop.records import Forward, Step


@dataclass(frozen=True)
class Direct:
    """What acts on one weight directly.

    Attributes:
        kind: "none", "l1", "l2", "elastic", "group" (along each unit's weights, of constant length), "unexplained".
        l1: coefficient of sign(w); l2: of w.
        floor: coefficient of sign(w) below which nothing can be seen.
    """

    kind: str
    l1: float = 0.0
    l2: float = 0.0
    floor: float = 0.0
    floor_l2: float = 0.0


@dataclass
class Explained:
    """A step's gradient, taken apart.

    Attributes:
        weights: by name.
        share: total factor of the data loss in the gradient, Σ a_f · s_f, or None if the data loss is not recognised. A penalty's
            strength relative to the data loss is its coefficient divided by this.
        matched: the data loss of each pass.
        stale: factor of the gradients that were there before, which is 1 (or that of clipping) if they were not cleared.
        trusted: whether everything is explained.
    """

    step: Step
    weights: dict[str, Direct]
    factors: list[float]
    share: float | None
    matched: list[Matched | None]
    stale: float
    trusted: bool
    several_outputs: bool = field(default=False)

    def strength(self, name: str, which: str) -> float:
        return float(getattr(self.weights[name], which)) / (self.share or 1.0)


def explain(step: Step, criterion: Criterion | None) -> Explained | None:
    """Take a step's gradient apart; None if nothing of it came from the model's outputs."""
    if not step.clean or not step.contributions:
        return None
    parts = [grads for _, grads in step.contributions] + ([step.stale] if step.stale is not None else [])
    names = [n for n in step.gradients if any(n in part for part in parts) or step.gradients[n].count_nonzero()]
    if not names or not all(step.gradients[n].isfinite().all() for n in names):
        return None
    best: tuple[int, list[float], dict[str, Direct]] | None = None
    for factors in _candidates(step, names, parts):
        weights = {n: _direct(step.gradients[n], step.seen_at[n], [p.get(n) for p in parts], factors) for n in names}
        good = sum(d.kind != "unexplained" for d in weights.values())
        if best is None or good > best[0]:
            best = good, factors, weights
    assert best is not None
    good, factors, weights = best
    count = len(step.contributions)
    matched = [_matched(forward, criterion) for forward, _ in step.contributions]
    used = [(a, m) for a, m in zip(factors, matched, strict=False) if abs(a) > 1e-6]
    data = sum(a * m.factor for a, m in used if m is not None) if used and all(m is not None for _, m in used) else None
    several = any(sum(bool(v.count_nonzero()) for v in f.arrived.values()) > 1 for f, _ in step.contributions)
    return Explained(step, weights, factors[:count], data, matched, factors[count] if len(factors) > count else 0.0,
                     good == len(weights), several)


def _matched(forward: Forward, criterion: Criterion | None) -> Matched | None:
    arrived = [(i, v) for i, v in forward.arrived.items() if v.count_nonzero()]
    if len(arrived) != 1:
        return None
    index, v = arrived[0]
    if forward.outputs[index].numel() == 1 and len(forward.outputs) > 1:  # the model returns its loss
        return _own_loss(forward, index, v, criterion)
    return match(v, forward.outputs[index], targets_of(forward.batch), criterion)


def _own_loss(forward: Forward, index: int, v: Tensor, criterion: Criterion | None) -> Matched | None:
    """The loss that a model returns beside its outputs, if it is a criterion of them and nothing else."""
    targets = targets_of(forward.batch)
    loss = float(forward.outputs[index])
    for other in forward.outputs:
        if other.ndim and other.numel() > 1 and targets is not None:
            for one in (criterion, None):
                value = loss_of(one, other.float(), targets)
                if value is not None and abs(float(value) - loss) <= 1e-5 * abs(loss):
                    return Matched(float(v), loss)
    return None


def _candidates(step: Step, names: list[str], parts: list[dict[str, Tensor]]) -> list[list[float]]:
    gram = torch.zeros(len(parts), len(parts), dtype=torch.float64)
    right = torch.zeros(len(parts), dtype=torch.float64)
    for name in names:
        basis = _basis(step.seen_at[name])
        rows = [_without(part[name].double().flatten(), basis) if name in part else None for part in parts]
        g = _without(step.gradients[name].double().flatten(), basis)
        for i, a in enumerate(rows):
            if a is None:
                continue
            right[i] += (a @ g).cpu()
            for j, b in enumerate(rows[:i + 1]):
                if b is not None:
                    gram[i, j] = gram[j, i] = gram[i, j] + (a @ b).cpu()
    solved = torch.linalg.lstsq(gram, right, driver="gelsd", rcond=1e-10).solution
    ones = torch.ones_like(solved)
    rounded = torch.where((solved - 1).abs() < 1e-3, ones, torch.where(solved.abs() < 1e-4, 0 * ones, solved))
    return [rounded.tolist()] if torch.equal(rounded, ones) else [ones.tolist(), rounded.tolist(), solved.tolist()]


def _basis(w: Tensor) -> Tensor:
    """Orthonormal rows that span sign(w) and w."""
    w = w.double().flatten()
    rows: list[Tensor] = []
    for row in (w.sign(), w):
        for other in rows:
            row = row - (row @ other) * other
        norm = row.norm()
        if norm > 1e-6 * max(1.0, float(w.norm())):
            rows.append(row / norm)
    return torch.stack(rows) if rows else w.new_zeros(0, w.numel())


def _without(g: Tensor, basis: Tensor) -> Tensor:
    return g - basis.T @ (basis @ g)


def _direct(g: Tensor, w: Tensor, parts: list[Tensor | None], factors: list[float]) -> Direct:
    g, w = g.double(), w.double()
    rest, size = g.clone(), float(g.norm())
    for part, factor in zip(parts, factors, strict=True):
        if part is not None:
            rest -= factor * part.double()
            size = max(size, abs(factor) * float(part.double().norm()))
    noise = 3e-6 * size + 1e-13
    sign = w.sign()
    count, square = max(1.0, float(sign.square().sum())), max(1e-30, float(w.square().sum()))
    floor = dict(floor=3 * noise / count**0.5, floor_l2=3 * noise / square**0.5)
    norm = float(rest.norm())
    if norm <= noise:
        return Direct("none", **floor)
    allowed = max(noise, 0.01 * norm)
    if w.numel() == 1 and float(w.abs()) > 0:
        return Direct("either", **floor)  # whatever is left is along sign(w) and along w
    l1 = float((rest * sign).sum()) / count
    if float((rest - l1 * sign).norm()) <= allowed and int(count) > 1:
        if float(w.abs().std(correction=0)) > 1e-3 * float(w.abs().mean()):
            return Direct("l1", l1=l1, **floor)
        return Direct("either", **floor)  # all of one size: sign(w) and w are the same direction
    l2 = float((rest * w).sum()) / square
    if float((rest - l2 * w).norm()) <= allowed and int(count) > 1:
        return Direct("l2", l2=l2, **floor)
    if int(count) > 4:
        both = torch.stack([sign.flatten(), w.flatten()], 1)
        solution = torch.linalg.lstsq(both, rest.flatten()).solution
        if float((rest.flatten() - both @ solution).norm()) <= allowed:
            return Direct("elastic", l1=float(solution[0]), l2=float(solution[1]), **floor)
    if w.ndim >= 2 and w.numel() > w.shape[0] > 1:
        units = w / w.flatten(1).norm(dim=1).clamp_min(1e-30).reshape(-1, *([1] * (w.ndim - 1)))
        along = (rest * units).flatten(1).sum(1)
        spread = float(along.std(correction=0)) <= 0.02 * float(along.abs().mean())
        if spread and float((rest - along.mean() * units).norm()) <= allowed:
            return Direct("group", **floor)
    return Direct("unexplained", **floor)
