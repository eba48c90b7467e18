"""Constrained parameter regularization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from wellfit.core.hyper import hyper, option
from wellfit.core.operands import StepContext, Values, WeightInfo, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.core.select import selection
from wellfit.kernels.constrain import decay_to_bound_, inflected

RULES = ("inflection", "warm_start", "dependent", "uniform")


@register
@dataclass(frozen=True)
class ConstrainedDecay(Regularizer):
    """Decay without a strength: each weight matrix gets a bound on its mean square, and a multiplier that grows while it is above.

    With R = mean(w²) and the bound κ of the matrix, after every optimizer step λ ← max(0, λ + speed · (R - κ)) and then
    w ← (1 - 2λ)·w: the augmented Lagrangian of "train, subject to R ≤ κ". Matrices below their bound are not decayed at all.
    2λ is capped at 1, so that no weight changes sign. Where the bound comes from:

    - ``"inflection"``: R where its growth first slows down, looked at every ``steps`` steps. Nothing to choose.
    - ``"warm_start"``: R after ``steps`` steps.
    - ``"dependent"``: ``factor`` · R at the start, when the recipe was compiled.
    - ``"uniform"``: ``bound``, the same for all.

    Independent of the learning rate. The plan keeps multiplier and bound of every matrix and saves them with its state.

    Shapes: any weight. Units: 1 per w² (speed), w² (bound), optimizer steps (steps).
    When it helps: decay without a search for its strength.
    When it hurts: a run shorter than a few times ``steps``, where no bound is ever set; matrices that have to grow late in
    training; weights before a normalisation, whose scale means nothing.
    Raises WellfitError for values out of range. Source: Franke, Hefenbrock, Köhler & Hutter 2024 (their κ, λ and μ are bound,
    multiplier and speed; R by the mean square, and its gradient without 1/n, as in their code).

    >>> ConstrainedDecay().rule
    'inflection'
    """

    speed: float = hyper(1.0, neutral=0.0, search=(0.1, 10.0), scale="log", unit="1 / w²", meaning="how fast the multiplier grows")
    rule: str = option("inflection", choices=RULES, meaning="where each matrix's bound comes from")
    steps: float = hyper(100, low=1, whole=True, dynamic=False, search=(10, 2000), scale="log", unit="steps",
                         meaning="rule warm_start: when the bound is set; inflection: how often growth is looked at")
    factor: float = hyper(1.0, open_low=True, search=(0.25, 32.0), scale="log", unit="share of the start",
                          meaning="rule dependent: bound as a multiple of the start's mean square")
    bound: float = hyper(0.01, open_low=True, search=(1e-4, 1.0), scale="log", unit="w²", meaning="rule uniform: the bound")
    select: str = selection()

    order: ClassVar[int] = 70
    per_weight: ClassVar[bool] = True
    stacked: ClassVar[bool] = False
    projects: ClassVar[bool] = False
    moment: ClassVar[Literal["before", "after"]] = "after"
    acts_as: ClassVar[Literal["", "decay", "sparsity", "bound"]] = "decay"
    formula: ClassVar[str] = "mean(w²) ≤ κ by a multiplier of speed"

    def begin(self, weight: Tensor, info: WeightInfo) -> dict[str, Tensor]:
        now = weight.square().mean()
        open_ = torch.full_like(now, float("inf"))
        return {"multiplier": torch.zeros_like(now), "bound": now.clone() if self.rule == "dependent" else open_,
                "seen": now.clone(), "growth": torch.full_like(now, -float("inf")),
                "step": torch.zeros((), dtype=torch.long, device=weight.device)}

    def update_(self, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> None:
        memory = context.memory
        memory["step"].add_(1)
        now = weight.square().mean()
        bound = memory["bound"]
        if self.rule == "warm_start":
            bound.copy_(torch.where((memory["step"] >= int(self.steps)) & bound.isinf(), now, bound))
        elif self.rule == "inflection":
            due = memory["step"] % int(self.steps) == 0
            slower = inflected(now, memory["seen"], memory["growth"], due)
            bound.copy_(torch.where(slower & bound.isinf(), now, bound))
        limit = over(h.bound, weight) if self.rule == "uniform" else bound
        if self.rule == "dependent":
            limit = limit * over(h.factor, weight)
        decay_to_bound_(weight, memory["multiplier"], now, limit, over(h.speed, weight))
