"""Checks of what acts on weights and gradients: penalties, proximal maps, projections, decay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from wellfit.core.operands import Part, StepContext, Values, WeightInfo
from wellfit.core.phases import penalty_of
from wellfit.testing.subject import (
    Subject,
    awkward,
    check,
    contexts_of,
    generator,
    gradient_parts,
    largest_gap,
    member_contexts,
    normal,
    same,
)

DTYPES = (torch.float64, torch.float32)


def _acts(subject: Subject) -> bool:
    return subject.has("gradient", "step")


def _update(subject: Subject, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> Tensor:
    """The step phase on a copy of ``weight``."""
    out = weight.clone()
    context = replace(context, memory=subject.memory(weight.shape, weight.dtype, info))  # made anew: it may be written to
    subject.part.update_(out, info, h, context)  # type: ignore[attr-defined]
    return out


def _cases(subject: Subject, dtype: torch.dtype = torch.float64, seed: int = 1,
           ) -> Iterator[tuple[str, WeightInfo, Tensor, StepContext]]:
    for n, (info, shape) in enumerate(subject.infos()):
        for kind, context in contexts_of(subject, shape, dtype):
            yield f"{info.name} {shape}, {kind}", info, normal(shape, dtype, seed=seed + n), context


# ------------------------------------------------------------------------------------------------------- neutral


@check("at its neutral value it leaves weights and gradients bit for bit", _acts)
def check_neutral_step(subject: Subject) -> None:
    neutral = subject.neutral()
    for dtype in DTYPES:
        h = neutral.values_at(0.5)
        if subject.has("step"):
            for where, info, weight, context in _cases(subject, dtype):
                weight = awkward(weight.shape, dtype)
                after = _update(subject, weight, info, h, context)
                assert same(after, weight), f"{where}, {dtype}: {largest_gap(after, weight)}"
        if subject.has("gradient"):
            parts = gradient_parts(subject, dtype, awkward)
            before = [p.gradient.clone() for p in parts]
            subject.part.adjust_gradients_(parts, h)  # type: ignore[attr-defined]
            for part, old in zip(parts, before, strict=True):
                assert same(part.gradient, old), f"{part.info.name}, {dtype}: {largest_gap(part.gradient, old)}"


@check("in a stack, members at the neutral value keep weights and gradients bit for bit",
       lambda s: _acts(s) and s.part.stacked)
def check_neutral_step_stacked(subject: Subject) -> None:
    settings = [subject.neutral(), subject.part, subject.neutral()]
    for dtype in DTYPES:
        h = subject.stacked(settings, dtype)
        if subject.has("step"):
            for info, shape in subject.infos():
                for kind, context, _ in member_contexts(3, shape, dtype):
                    weight = torch.stack([awkward(shape, dtype, seed=k) for k in range(3)])
                    after = _update(subject, weight, info, h, context)
                    for k in (0, 2):
                        assert same(after[k], weight[k]), f"{info.name}, {kind}, {dtype}: {largest_gap(after[k], weight[k])}"
        if subject.has("gradient"):
            parts = gradient_parts(subject, dtype, members=3)
            before = [p.gradient.clone() for p in parts]
            subject.part.adjust_gradients_(parts, h)  # type: ignore[attr-defined]
            for part, old in zip(parts, before, strict=True):
                assert same(part.gradient[[0, 2]], old[[0, 2]]), f"{part.info.name}, {dtype}"


# ------------------------------------------------------------------------------------------------------ penalties


def _penalty(subject: Subject, weight: Tensor, info: WeightInfo, h: Values) -> Tensor:
    return penalty_of(subject.part, weight, info, h, subject.memory(weight.shape, weight.dtype, info))


@check("its penalty is a number, not negative, and adds up over members", lambda s: s.has("penalty"))
def check_penalty(subject: Subject) -> None:
    h = subject.part.values_at(0.5)
    variants = subject.variants()
    for info, shape in subject.infos():
        weight = normal(shape)
        value = _penalty(subject, weight, info, h)
        assert tuple(value.shape) == (), f"{info.name}: the penalty has shape {tuple(value.shape)}, not ()"
        assert float(value) >= 0, f"{info.name}: the penalty is {float(value)}"
        nothing = float(_penalty(subject, torch.zeros(shape).double(), info, h))
        assert nothing == 0 or not subject.part.zero_at_zero, f"{info.name}: the penalty of zero is {nothing}"
        if not subject.part.stacked:
            continue
        stack = torch.stack([normal(shape, seed=k) for k in range(len(variants))])
        together = subject.part.penalty(stack, info, subject.stacked(variants))  # type: ignore[attr-defined]
        assert tuple(together.shape) == (len(variants),), f"{info.name}: K members' penalty has shape {tuple(together.shape)}"
        for k, setting in enumerate(variants):
            alone = float(setting.penalty(stack[k], info, setting.values_at(0.5)))  # type: ignore[attr-defined]
            assert abs(alone - float(together[k])) <= 1e-13 * max(1.0, alone), f"{info.name}: member {k} differs"


@check("adjust_gradients_ adds exactly the derivative of the penalty",
       lambda s: s.has("gradient") and s.has("penalty"))
def check_penalty_gradient(subject: Subject) -> None:
    h = subject.part.values_at(0.5)
    parts = gradient_parts(subject, torch.float64)
    before = [p.gradient.clone() for p in parts]
    subject.part.adjust_gradients_(parts, h)  # type: ignore[attr-defined]
    for part, old in zip(parts, before, strict=True):
        numeric = _finite_differences(subject, part, h)
        added = part.gradient - old
        scale = max(float(numeric.abs().max()), 1e-12)
        assert float((added - numeric).abs().max()) < 1e-6 * scale + 1e-12, f"{part.info.name}: {largest_gap(added, numeric)}"
        weight = part.weight.clone().requires_grad_()
        exact, = torch.autograd.grad(_penalty(subject, weight, part.info, h), weight)
        slack = 1e-14 * (1 + float(exact.abs().max()))
        assert torch.allclose(added, exact, rtol=1e-12, atol=slack), f"{part.info.name}: not what autograd gives"


def _finite_differences(subject: Subject, part: Part, h: Values, width: float = 1e-5) -> Tensor:
    out = torch.empty_like(part.weight)
    for i in range(part.weight.numel()):
        shift = torch.zeros_like(part.weight)
        shift.view(-1)[i] = width
        above, below = (float(_penalty(subject, part.weight + s, part.info, h)) for s in (shift, -shift))
        out.view(-1)[i] = (above - below) / (2 * width)
    return out


# ----------------------------------------------------------------------------------------------------------- prox


def _objective(subject: Subject, info: WeightInfo, h: Values, start: Tensor, step: Any, w: Tensor) -> float:
    """Σ (w - v)² / (2 s) + penalty(w), which the proximal map minimises."""
    return float(((w - start).square() / (2 * step)).sum() + _penalty(subject, w, info, h))


def _proximal(subject: Subject) -> bool:
    return subject.proximal


@check("its step is the minimiser of Σ (w - v)²/(2s) + penalty(w)", _proximal)
def check_prox_minimises(subject: Subject) -> None:
    for setting in [subject.part, *_strong(subject)]:
        h = setting.values_at(0.5)
        for where, info, start, context in _cases(subject):
            step = context.step_size()
            found = _update(subject, start, info, h, context)
            reached = _objective(subject, info, h, start, step, found)
            slack = 1e-12 * (1 + abs(reached))
            for other in (torch.zeros_like(start), start, found * 0.5, found * 1.5):
                assert reached <= _objective(subject, info, h, start, step, other) + slack, f"{where}: a better point is known"
            for scale in () if subject.part.convex else np.linspace(0, 1.5, 61).tolist():  # every valley there may be
                one = torch.where(torch.arange(start.numel()).view(start.shape) % 3 == int(scale * 60) % 3, start * scale, found)
                assert reached <= _objective(subject, info, h, start, step, one) + slack, f"{where}: a better point is known"
            for n in range(40):  # convex: no descent nearby means none anywhere
                move = torch.randn(start.shape, generator=generator(n), dtype=torch.float64) * 10.0 ** -(n % 7)
                if n % 2:  # along one coordinate
                    move *= (torch.arange(start.numel()) == n % start.numel()).view(start.shape)
                assert reached <= _objective(subject, info, h, start, step, found + move) + slack, \
                    f"{where}: moving by {float(move.norm()):.1g} lowers the objective"


@check("no general-purpose optimiser finds a lower proximal objective", _proximal)
def check_prox_against_optimiser(subject: Subject) -> None:
    from scipy.optimize import minimize

    h = subject.part.values_at(0.5)
    for where, info, start, context in list(_cases(subject))[:4]:
        step = context.step_size()
        found = _update(subject, start, info, h, context)

        def value(flat: np.ndarray, info: WeightInfo = info, start: Tensor = start, step: Any = step) -> float:
            return _objective(subject, info, h, start, step, torch.from_numpy(flat).view(start.shape))

        best = minimize(value, start.numpy().ravel(), method="L-BFGS-B", options={"maxiter": 60})
        polished = minimize(value, best.x, method="Powell", options={"maxfev": 300})
        reached = value(found.numpy().ravel())
        lowest = min(best.fun, polished.fun)
        assert reached <= lowest + 1e-9 * (1 + abs(reached)), f"{where}: {reached} here, {lowest} by scipy"


@check("its step brings no two weights further apart, in the optimizer's metric",
       lambda s: s.proximal and s.part.convex)
def check_prox_nonexpansive(subject: Subject) -> None:
    h = subject.part.values_at(0.5)
    for seed in range(5):
        for where, info, a, context in _cases(subject, seed=seed):
            b = a + normal(a.shape, seed=seed + 50) * 10.0 ** -seed
            inverse = 1 / torch.as_tensor(context.step_size(), dtype=torch.float64)
            before = ((a - b).square() * inverse).sum().sqrt()
            moved = _update(subject, a, info, h, context) - _update(subject, b, info, h, context)
            after = (moved.square() * inverse).sum().sqrt()
            assert float(after) <= float(before) * (1 + 1e-12) + 1e-15, \
                f"{where}: {float(before):.6g} became {float(after):.6g}"


@check("above a critical strength everything is exactly zero, just below it is not",
       lambda s: s.proximal and "strength" in s.fields)
def check_critical_strength(subject: Subject) -> None:
    for where, info, start, context in _cases(subject):
        step = context.step_size()

        def at(strength: float, info: WeightInfo = info, start: Tensor = start, context: StepContext = context,
               ) -> tuple[Values, Tensor]:
            h = Values({**vars(subject.part.values_at(0.5)), "strength": strength})
            return h, _update(subject, start, info, h, context)

        if not _kinked(subject, info, at(1.0)[0], start):
            continue  # a smooth penalty never makes an exact zero
        low, high = 0.0, 1.0
        while bool(at(high)[1].any()):
            high *= 4
            assert high < 1e12, f"{where}: no strength makes everything zero, though the penalty has a kink there"
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (low, middle) if not bool(at(middle)[1].any()) else (middle, high)
        for factor in (1 + 1e-6, 2.0, 100.0):
            h, found = at(high * factor)
            assert not bool(found.any()), f"{where}: zero at strength {high:.6g} but not at {high * factor:.6g}"
            reached = _objective(subject, info, h, start, step, found)
            for n in range(20):
                nearby = _objective(subject, info, h, start, step, normal(start.shape, seed=n) * 10.0 ** -(n % 6))
                assert reached <= nearby * (1 + 1e-12), f"{where}: zero is not the minimum at strength {high * factor:.6g}"
        h, found = at(low * (1 - 1e-3))
        assert bool(found.any()), f"{where}: still zero just below the critical strength {low:.6g}"
        assert (_objective(subject, info, h, start, step, found)
                < _objective(subject, info, h, start, step, torch.zeros_like(start))), f"{where}: zero would be better below"


def _kinked(subject: Subject, info: WeightInfo, h: Values, like: Tensor) -> bool:
    """Whether the penalty grows at once from zero (as |w| does) rather than slowly (as w² does)."""
    tiny = torch.full_like(like, 1e-8)
    return float(_penalty(subject, tiny, info, h)) / 1e-8 > 1e-4


def _strong(subject: Subject) -> list[Any]:
    """The part so strong that many weights, but not all, vanish."""
    return [subject.with_(strength=0.5)] if "strength" in subject.fields else []


# ----------------------------------------------------------------------------------------------------- projection


@check("its step is a projection: idempotent, nonexpansive, the nearest feasible point, the identity inside",
       lambda s: s.projecting)
def check_projection(subject: Subject) -> None:
    h = subject.part.values_at(0.5)
    bites = False
    for where, info, small, context in _cases(subject):
        for size in (0.01, 1.0, 100.0):
            start = small * size
            found = _update(subject, start, info, h, context)
            again = _update(subject, found, info, h, context)
            assert torch.allclose(again, found, rtol=1e-14, atol=1e-14 * float(found.norm())), \
                f"{where}: projecting twice moves further"
            bites |= not same(found, start)
            for n in range(20):
                if not subject.part.convex:  # feasible points are only known as what it returns
                    other = _update(subject, normal(start.shape, seed=200 + n) * 10.0 ** (n % 5 - 2), info, h, context)
                    assert float((start - found).norm()) <= float((start - other).norm()) * (1 + 1e-13), \
                        f"{where}: a feasible point is nearer than the one chosen"
                    continue
                other = _update(subject, normal(start.shape, seed=200 + n) * 10.0 ** (n % 5 - 2), info, h, context)
                outward = float(((start - found) * (other - found)).sum())  # ≤ 0 for the nearest point of a convex set
                slack = 1e-13 * float((start - found).norm() * (other.norm() + found.norm())) + 1e-15
                assert outward <= slack, f"{where}: a feasible point is nearer than the one chosen"
                inside = _update(subject, other * 0.5, info, h, context)
                assert same(inside, other * 0.5), f"{where}: a weight inside was moved by {largest_gap(inside, other * 0.5)}"
    if not (subject.part.leaves_scale_invariant and all(info.feeds_norm for info, _ in subject.infos())):
        assert bites, "it never moved any weight, however large"


# ---------------------------------------------------------------------------------------------------- bookkeeping


class _Watch(TorchDispatchMode):
    """Remembers the largest tensor made in a wider type than the weights'."""

    def __init__(self) -> None:
        super().__init__()
        self.wider = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, tuple | list) else (out,):
            if isinstance(value, Tensor) and value.dtype == torch.float64:
                self.wider = max(self.wider, value.numel())
        return out


@check("weights and gradients keep type, device and memory, and no wider copy of them is made", _acts)
def check_step_dtype(subject: Subject) -> None:
    for dtype in DTYPES:
        h = subject.part.values_at(0.5)
        if subject.has("step"):
            for where, info, weight, context in _cases(subject, dtype):
                place = weight.data_ptr()
                context = replace(context, memory=subject.memory(weight.shape, dtype, info))
                with _Watch() as watch:
                    subject.part.update_(weight, info, h, context)  # type: ignore[attr-defined]
                assert weight.dtype == dtype, f"{where}: {dtype} became {weight.dtype}"
                assert weight.data_ptr() == place, f"{where}: the weight was not changed in place"
                if "per weight" not in where:  # there the metric itself is made in float64 by the sample
                    _no_wider(watch, weight, dtype, where)
        if subject.has("gradient"):
            parts = gradient_parts(subject, dtype)
            kept = [p.weight.clone() for p in parts]
            with _Watch() as watch:
                subject.part.adjust_gradients_(parts, h)  # type: ignore[attr-defined]
            for part, weight in zip(parts, kept, strict=True):
                assert part.gradient.dtype == dtype, f"{part.info.name}: {dtype} became {part.gradient.dtype}"
                assert same(part.weight, weight), f"{part.info.name}: the gradient phase changed the weight"
                _no_wider(watch, part.weight, dtype, part.info.name)


def _no_wider(watch: _Watch, weight: Tensor, dtype: torch.dtype, where: str) -> None:
    if dtype == torch.float32:
        assert watch.wider < weight.numel(), f"{where}: made a float64 tensor of {watch.wider} entries for float32 weights"


CHECKS = (check_neutral_step, check_neutral_step_stacked, check_penalty, check_penalty_gradient, check_prox_minimises,
          check_prox_against_optimiser, check_prox_nonexpansive, check_critical_strength, check_projection, check_step_dtype)
