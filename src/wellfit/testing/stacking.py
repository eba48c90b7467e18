"""Checks that K stacked members are K members alone: the ground the population stands on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from wellfit.core.batches import apply_part
from wellfit.core.draws import Streams
from wellfit.core.operands import Batch, Part, WeightInfo
from wellfit.testing.networks import act, acts_inside
from wellfit.testing.subject import (
    Subject,
    check,
    close,
    gradient_parts,
    largest_gap,
    member_contexts,
    metrics_of,
    normal,
)

SEEDS = [3, 1, 4, 15]


def _equal(found: Tensor, expected: Tensor, where: str) -> None:
    assert close(found, expected), f"{where}: {largest_gap(found, expected)}"


@check("K stacked steps are K steps alone", lambda s: s.has("step") and s.part.stacked)
def check_stacked_step(subject: Subject) -> None:
    settings = subject.variants()
    h = subject.stacked(settings)
    for info, shape in subject.infos():
        for kind, together, alone in member_contexts(len(settings), shape):
            if subject.part.metric == "scalar" and "per weight" in kind:
                continue
            weight = normal((len(settings), *shape), seed=2)
            expected = weight.clone()
            subject.part.update_(weight, info, h, together)  # type: ignore[attr-defined]
            for k, setting in enumerate(settings):
                setting.update_(expected[k], info, setting.values_at(0.5), alone[k])  # type: ignore[attr-defined]
                _equal(weight[k], expected[k], f"{info.name} {shape}, {kind}, member {k}")


@check("what says it acts on each weight alone does so on all matrices in one flat piece, as the population calls it",
       lambda s: s.part.elementwise and s.part.stacked and s.has("step", "gradient"))
def check_elementwise(subject: Subject) -> None:
    assert subject.part.per_weight, "elementwise goes with per_weight"
    settings, shape = subject.variants(), (3, 4)
    h, piece = subject.stacked(settings), WeightInfo("matrices", "linear")
    info, _ = subject.infos()[0]
    weight, gradient = normal((len(settings), *shape), seed=3), normal((len(settings), *shape), seed=4)
    if subject.has("step"):
        for (kind, whole, _), (_, flat, _) in zip(member_contexts(len(settings), shape), member_contexts(len(settings), (12,))):
            shaped, piecewise = weight.clone(), weight.flatten(1).clone()
            subject.part.update_(shaped, info, h, whole)  # type: ignore[attr-defined]
            subject.part.update_(piecewise, piece, h, flat)  # type: ignore[attr-defined]
            _equal(piecewise, shaped.flatten(1), kind)
    if subject.has("gradient"):
        parts = [Part(info, weight, gradient.clone()), Part(piece, weight.flatten(1), gradient.flatten(1).clone())]
        for part in parts:
            subject.part.adjust_gradients_([part], h)  # type: ignore[attr-defined]
        _equal(parts[1].gradient, parts[0].gradient.flatten(1), "gradient")


@check("K stacked gradient phases are K gradient phases alone", lambda s: s.has("gradient") and s.part.stacked)
def check_stacked_gradient(subject: Subject) -> None:
    settings = subject.variants()
    parts = gradient_parts(subject, torch.float64, members=len(settings))
    solo = [[Part(p.info, p.weight[k].clone(), p.gradient[k].clone()) for p in parts] for k in range(len(settings))]
    subject.part.adjust_gradients_(parts, subject.stacked(settings))  # type: ignore[attr-defined]
    for k, setting in enumerate(settings):
        setting.adjust_gradients_(solo[k], setting.values_at(0.5))  # type: ignore[attr-defined]
        for part, own in zip(parts, solo[k], strict=True):
            _equal(part.gradient[k], own.gradient, f"{part.info.name}, member {k}")


@check("K stacked batches are K batches alone, with the same draws", lambda s: s.maps and s.part.stacked)
def check_stacked_batch(subject: Subject) -> None:
    settings = subject.variants()
    for name, batch in subject.batches(torch.float64, members=len(settings)).items():
        for step in range(3):
            draw = Streams(SEEDS).at(subject.part.name, step)
            found = apply_part(subject.part, batch, subject.stacked(settings), draw)
            for k, setting in enumerate(settings):
                own = Batch(batch.inputs[k], batch.targets[k], batch.classes, batch.feature_groups)
                alone = apply_part(
                    setting, own, setting.values_at(0.5), Streams(SEEDS[k]).at(setting.name, step))
                _equal(found.inputs[k], alone.inputs, f"{name}, inputs of member {k}")
                _equal(found.targets[k], alone.targets, f"{name}, targets of member {k}")


@check("K stacked activations are K activations alone, with the same draws", lambda s: acts_inside(s) and s.part.stacked)
def check_stacked_network(subject: Subject) -> None:
    settings = subject.variants()
    for shape in ((6, 5), (4, 3, 2, 2)):
        values = normal((len(settings), *shape))
        found = act(subject.part, values, subject.stacked(settings), Streams(SEEDS).at(subject.part.name, 2))
        for k, setting in enumerate(settings):
            alone = act(setting, values[k], setting.values_at(0.5), Streams(SEEDS[k]).at(setting.name, 2))
            _equal(found[k], alone, f"{shape}, member {k}")


@check("K stacked averages are K averages alone, and the neutral one keeps the current weights",
       lambda s: s.has("average") and s.part.stacked)
def check_stacked_average(subject: Subject) -> None:
    settings = subject.variants()
    h = subject.arrays(settings)
    taken = np.zeros(len(settings))
    solo = [np.zeros(1) for _ in settings]
    for step in range(30):
        progress = (step + 1) / 30
        share, taken = subject.part.weight_of_current(taken, progress, h)  # type: ignore[attr-defined]
        assert share.shape == taken.shape == (len(settings),), "not one number per member"
        assert ((share >= 0) & (share <= 1)).all(), f"a share outside [0, 1]: {share}"
        assert share[0] == 1, "at its neutral value the average is not the current weights"
        for k, setting in enumerate(settings):
            own, solo[k] = setting.weight_of_current(solo[k], progress, setting.values_at(progress))  # type: ignore[attr-defined]
            assert float(np.reshape(own, -1)[0]) == share[k], f"member {k} at step {step}"
            assert solo[k][0] == taken[k], f"member {k} at step {step}"


@check("K stacked monitors are K monitors alone, the neutral one never stops, and none looks at another's numbers",
       lambda s: s.has("monitor") and s.part.stacked)
def check_stacked_monitor(subject: Subject) -> None:
    settings = subject.variants()
    h = subject.arrays(settings)
    for seed in range(5):
        state = subject.part.start(len(settings))  # type: ignore[attr-defined]
        solo = [s.start(1) for s in settings]  # type: ignore[attr-defined]
        for epoch, metrics in enumerate(metrics_of(60, len(settings), seed)):
            before = {n: v.copy() for n, v in state.items()}
            new, better, stop = subject.part.observe(state, metrics, h)  # type: ignore[attr-defined]
            assert all(np.array_equal(state[n], before[n], equal_nan=True) for n in state), "it changed the state it was given"
            state = new
            assert better.shape == stop.shape == (len(settings),), "not one verdict per member"
            assert better.dtype == stop.dtype == np.bool_, "verdicts are not true or false"
            assert not stop[0], f"the neutral setting stopped at epoch {epoch + 1}"
            for k, setting in enumerate(settings):
                own = {n: v[k:k + 1] for n, v in metrics.items()}
                solo[k], alone_better, alone_stop = setting.observe(  # type: ignore[attr-defined]
                    solo[k], own, setting.values_at(0.5))
                assert (bool(alone_better[0]), bool(alone_stop[0])) == (bool(better[k]), bool(stop[k])), \
                    f"member {k} at epoch {epoch + 1}"
                for name, value in solo[k].items():
                    assert np.array_equal(value[0], state[name][k], equal_nan=True), f"state {name} of member {k}"


CHECKS = (check_stacked_step, check_elementwise, check_stacked_gradient, check_stacked_batch, check_stacked_network,
          check_stacked_average, check_stacked_monitor)
