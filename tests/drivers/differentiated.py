"""Parts of the loss phase, and gradients to compare theirs with: of a fresh network, and of a formula written out."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

import wellfit as wf
from drivers.plain import INPUTS, LABELS, STEPS, equal, network
from wellfit.core.regularizer import Regularizer

X, Y = INPUTS[:16], LABELS[:16]
CE = functional.cross_entropy
MULTI = [wf.SAM(0.1), wf.ASAM(0.3), wf.RDrop(1.0), wf.VAT(1.0), wf.AdversarialNoise(0.5), wf.JacobianPenalty(0.1),
         wf.InputGradientPenalty(0.1)]
ONE_PASS = [wf.ConfidencePenalty(0.1), wf.BootstrappedLoss(0.2), wf.BootstrappedLoss(0.2, kind="hard"), wf.ForwardCorrection(0.2),
            wf.ActivityPenalty(0.01), wf.ActivityPenalty(0.01, norm="l2")]
BETWEEN = [wf.AdaptiveClipping(0.05), wf.GradientNoise(0.01), wf.Lookahead(0.5, every=2), wf.SnapshotEnsemble(2)]
named = functools.partial(pytest.mark.parametrize, ids=lambda p: repr(p).partition("(")[0])

Weights = dict[str, Tensor]


def gradients(model: nn.Module) -> Weights:
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def parameters(model: nn.Module) -> Weights:
    return {n: p.detach().clone().requires_grad_() for n, p in model.named_parameters()}


def found(part: Regularizer | wf.Recipe, x: Tensor = X, y: Tensor = Y, criterion: Callable[..., Tensor] = CE,
          model: nn.Module | None = None, **how: Any) -> tuple[Tensor, Weights, wf.Plan]:
    """Loss, gradients and plan after one backward pass of a fresh network."""
    model = model or network()
    recipe = part if isinstance(part, wf.Recipe) else wf.Recipe(part)
    plan = recipe.compile(model, seed=7, epochs=4, steps_per_epoch=STEPS)
    loss = plan.backward(lambda: plan.objective(criterion, model(x), y), **how)
    return loss, gradients(model), plan


def by_hand(objective: Callable[[Callable[[Tensor], Tensor], Weights], Tensor], model: nn.Module | None = None) -> Weights:
    """Gradients of a formula in the network and its weights."""
    model = model or network()
    w = parameters(model)
    value = objective(lambda x: functional_call(model, w, (x,)), w)
    return dict(zip(w, torch.autograd.grad(value, list(w.values())), strict=True))


def close(a: Weights, b: Weights, relative: float = 1e-12) -> bool:
    return equal(a, b, relative)


def kl(p: Tensor, q: Tensor) -> Tensor:
    return functional.kl_div(torch.log_softmax(q, 1), torch.log_softmax(p, 1), reduction="batchmean", log_target=True)
