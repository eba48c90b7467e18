"""How smooth a network is in its inputs: gradients, labels that flip under small noise, margins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from wellfit.core.errors import WellfitError
from wellfit.diagnosis.measures.estimate import Estimate
from wellfit.diagnosis.measures.gap import paired_difference
from wellfit.diagnosis.measures.surface import Surface, as_it_was

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Smoothness:
    """Inputs are moved in units of their own spread.

    Attributes:
        gradient: mean ‖d loss / d x‖ over the rows, x in standard deviations of each input.
        change: labels that flip (classes), or mean |Δ output| / sd of the outputs (values), under the noise.
        margins: quantiles 5, 25, 50, 75, 95% of the top output less the second (classes), else empty.
        noise: sd of the noise, in standard deviations of each input.
    """

    gradient: Estimate
    change: Estimate
    margins: tuple[float, ...]
    noise: float


def smoothness(surface: Surface, *, noise: float = 0.1, repeats: int = 8, seed: int = 0) -> Smoothness:
    """Decision-boundary smoothness on the rows of a surface; intervals by bootstrap over rows crossed with draws of noise.

    A network that memorizes bends its boundary around single rows: labels flip under noise that means nothing, and margins of
    held-out rows are small where those of training rows are large.

    Raises WellfitError for inputs that are no floating-point numbers (tokens).
    Source: Novak et al. 2018, "Sensitivity and generalization in neural networks"; Jiang et al. 2019 (margins).
    """
    x, n = surface.inputs, len(surface.targets)
    if not x.dtype.is_floating_point or n < 2:
        raise WellfitError("Smoothness needs two rows of inputs that can be moved a little.", received=f"{n} rows of {x.dtype}",
                           expected="floating-point inputs")
    spread = x.double().std(0, keepdim=True).to(x)
    spread = torch.where(spread > 1e-8, spread, torch.zeros_like(spread))  # a constant input is not moved
    slopes = []
    with as_it_was(surface.module), torch.enable_grad():
        for a, y in zip(x.split(surface.batch_size), surface.targets.split(surface.batch_size), strict=True):
            free = a.clone().requires_grad_()
            losses = surface.loss(surface.outputs(surface.weights, free), y).sum()
            slopes.append((torch.autograd.grad(losses, free)[0] * spread).flatten(1).norm(dim=1))
    generator = torch.Generator().manual_seed(seed)
    with as_it_was(surface.module), torch.no_grad():
        def answers(inputs: torch.Tensor) -> torch.Tensor:
            return torch.cat([surface.outputs(surface.weights, a).reshape(len(a), -1) for a in inputs.split(surface.batch_size)])

        plain = answers(x)
        moved = [answers(x + noise * spread * torch.randn(x.shape, generator=generator, dtype=torch.float32).to(x))
                 for _ in range(max(repeats, 1))]
    margins: tuple[float, ...] = ()
    if surface.targets.dtype.is_floating_point:
        scale = plain.double().std().clamp_min(1e-12)
        changed = torch.stack([((m - plain).abs().double() / scale).mean(1) for m in moved])
    elif plain.shape[1] == 1:  # one logit: its sign is the class
        changed = torch.stack([((m > 0) != (plain > 0)).double().mean(1) for m in moved])
        margins = tuple(np.quantile(plain.abs().double().cpu().numpy(), QUANTILES).tolist())
    else:
        changed = torch.stack([(m.argmax(1) != plain.argmax(1)).double() for m in moved])
        top = plain.double().topk(2, dim=1).values
        margins = tuple(np.quantile((top[:, 0] - top[:, 1]).cpu().numpy(), QUANTILES).tolist())
    nothing = np.zeros(n)
    slope = torch.cat(slopes).double().cpu().numpy()
    return Smoothness(paired_difference(slope, nothing, seed=seed),
                      _at_least_zero(paired_difference(changed.cpu().numpy(), np.tile(nothing, (len(changed), 1)), seed=seed)),
                      margins, noise)


def _at_least_zero(found: Estimate) -> Estimate:
    return Estimate(found.value, max(found.low, 0.0), found.high, found.standard_error)
