"""Weights whose scale, and biases whose value, the network's output does not depend on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wellfit.doctor.exam import Exam, NotExaminable
from wellfit.doctor.randomness import random_state_kept
from wellfit.doctor.registry import Observed, check
from wellfit.doctor.roles import named, roles

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
NO_EFFECT = 2e-3
"""Change of the output, relative to that of a real change of the weight, which counts as none."""
AT_MOST = 80
FEW = 12
"""Rows; scale and shift show on few."""
SECONDS = 5.0


@dataclass(frozen=True)
class Invariances:
    """What the output in training does not depend on.

    Attributes:
        scale: layer -> relative change of the output when its weight and bias are tripled.
        shift: layer -> relative change of the output when its bias is moved at random.
    """

    scale: dict[str, float]
    shift: dict[str, float]


def invariances(exam: Exam) -> Invariances:
    """Scaling and shifting probes of all linear and convolutional layers, on a copy in which dropout is off and norms work as in
    training. A change is measured in units of the output's change when the same weights are replaced by noise of their size."""
    sample = exam.sample()
    if sample.rows < 2:
        raise NotExaminable("a batch of one row shows no scale")
    model = deterministic(exam.model(train=True)).float()
    if not any("norm" in type(m).__name__.lower() for m in model.modules()):
        return Invariances({}, {})
    inputs = _float(exam.fewer(FEW))

    def output() -> Tensor:
        with random_state_kept(0):
            return exam.output(model, inputs)
    base = output()
    if not torch.equal(base, output()):
        raise NotExaminable("passes differ even with the same random numbers: the model keeps a state between them")
    scale, shift = {}, {}
    tied = {id(p) for p in model.parameters()}
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, LAYERS) and id(m.weight) in tied][:AT_MOST]
    generator = torch.Generator().manual_seed(1)

    def change(parameters: list[nn.Parameter], move: Callable[[Tensor], Tensor]) -> float:
        kept = [p.detach().clone() for p in parameters]
        with torch.no_grad():
            for p in parameters:
                p.copy_(move(p))
        try:
            return float((output() - base).double().norm())
        finally:
            with torch.no_grad():
                for p, k in zip(parameters, kept, strict=True):
                    p.copy_(k)

    def noise(p: Tensor) -> Tensor:
        drawn = torch.randn(p.shape, generator=generator).to(p.device)
        return drawn * p.detach().square().mean().sqrt().clamp_min(1e-3)
    began = time.monotonic()
    for name, layer in layers:
        if time.monotonic() - began > SECONDS:
            break
        own = [p for p in (layer.weight, layer.bias) if isinstance(p, nn.Parameter)]
        bias = layer.bias
        if not own or own[0] is not layer.weight:
            continue
        real = change(own, noise)
        if real <= 1e-3 * max(float(base.norm()), 1e-12):
            continue  # next to nothing here reaches the output
        scale[name] = change(own, lambda p: 3 * p) / real
        if isinstance(bias, nn.Parameter):
            size = float(layer.weight.detach().square().mean().sqrt()) * 3
            shift[name] = change([bias], lambda p, size=size: p + size * torch.randn(  # type: ignore[misc]
                p.shape, generator=generator).to(p.device)) / real
    return Invariances(scale, shift)


def deterministic(model: nn.Module) -> nn.Module:
    """A model in eval mode but for its normalisations, which work as in training. Changes (and returns) the copy it is given."""
    model.eval()
    for module in model.modules():
        if "norm" in type(module).__name__.lower():
            module.training = True
    return model


def _float(value: object) -> object:
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, Mapping):
        return {k: _float(v) for k, v in value.items()}
    return type(value)(_float(v) for v in value) if isinstance(value, tuple | list) else value  # type: ignore[call-arg]


def _free(found: Mapping[str, float]) -> list[str]:
    return [name for name, change in found.items() if change < NO_EFFECT]


@check("penalty-on-scale-invariant-weights", severity="warning", evidence="probe",
       needs=("optimizer|declared.l1|declared.max_norm",),
       why="A norm behind the layer undoes every change of the weight's scale, so a penalty on its size limits no function: "
           "decay only raises the effective learning rate, and an L1 term or a max-norm bound is escaped by shrinking all "
           "weights alike.",
       source="van Laarhoven (2017), L2 regularization versus batch and weight normalization, arXiv:1706.05350")
def penalty_on_scale_invariant_weights(exam: Exam) -> Iterator[Observed]:
    declared = {k: v for k in ("l1", "elastic_net", "max_norm", "l2") if (v := exam.set_up.declared.get(k))}
    decayed = {r.name: r.decay for r in roles(exam) if r.decay}
    if not declared and not decayed:
        return
    found = exam.once(invariances)
    free = _free(found.scale)
    if declared and free:
        yield Observed(named(free, 3), f"tripling the weight of {len(free)} of {len(found.scale)} layers changes the output by "
                                       f"{max(found.scale[n] for n in free):.1e} of what a new weight would; declared on them: "
                       + ", ".join(f"{k}={v}" for k, v in declared.items()),
                       f"# leave them out, or let sparsity act on the norm's gains\nskip = {free[:6]!r}\n"
                       "penalized = [m.weight for n, m in model.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d)) and n "
                       "not in skip]",
                       "warning" if {"l1", "elastic_net", "max_norm"} & set(declared) else "note")
        return
    both = [n for n in free if f"{n}.weight" in decayed]
    if both:
        decay = decayed[f"{both[0]}.weight"]
        yield Observed(named(both, 3), f"tripling the weight of {len(both)} of {len(found.scale)} layers changes the output by at "
                                       f"most {max(found.scale[n] for n in both):.1e} of what a new weight would; "
                                       f"weight_decay={decay:g} on them sets the effective learning rate lr/‖w‖² and nothing else",
                       "# common and harmless with a schedule; count on the norm's gains, dropout or augmentation to "
                       "regularize", "note")


@check("bias-before-norm", severity="note", evidence="probe",
       why="The norm subtracts the mean, and the bias with it: it costs memory and its gradient is noise.",
       source="Ioffe & Szegedy (2015), Batch Normalization, arXiv:1502.03167, 3.2")
def bias_before_norm(exam: Exam) -> Iterator[Observed]:
    found = exam.once(invariances)
    free = [n for n in _free(found.shift) if exam.set_up.model.get_submodule(n).bias is not None]
    if free:
        layer = exam.set_up.model.get_submodule(free[0])
        yield Observed(named([f"{n}.bias" for n in free], 3), f"moving the bias of {len(free)} layers by three times their "
                                                              "weights' size changes the output by at most "
                                                              f"{max(found.shift[n] for n in free):.1e} of what a new layer would",
                       f"{type(layer).__name__}(..., bias=False)  # " + ", ".join(free[:6]))
