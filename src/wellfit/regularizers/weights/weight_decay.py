"""Decoupled weight decay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from wellfit.core.errors import WellfitError
from wellfit.core.hyper import hyper, option
from wellfit.core.operands import StepContext, Values, WeightInfo, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.core.select import selection


@register
@dataclass(frozen=True)
class WeightDecay(Regularizer):
    """Decoupled decay: the weights shrink by a factor each step, outside loss and optimizer.

    w ← (1 - lr·rate)·w before the optimizer's update: torch.optim.AdamW's weight_decay to the bit, but on the selected
    weights only. With ``lr_scaled=False`` the factor is (1 - rate). With ``timescale`` τ in epochs instead of a rate,
    lr·rate = (lr/lr_peak) / (τ · steps per epoch): the weights forget over about τ epochs whatever the batch size,
    learning rate and number of steps (Wang & Aitchison 2024), so τ transfers where a rate does not.

    Shapes: any weight. Units: 1 per unit of learning rate (rate), epochs (timescale).
    When it helps: almost any network that is trained for long, above all with AdamW.
    When it hurts: timescales far below the length of training underfit; on weights before a batch norm it acts as a
    learning-rate schedule.
    Raises WellfitError unless exactly one of rate and timescale is given, or if a timescale meets a plan that was not
    told steps_per_epoch. Source: Loshchilov & Hutter 2019.

    >>> WeightDecay(timescale=10).rate is None
    True
    """

    rate: float | None = hyper(None, neutral=0.0, search=(1e-4, 1.0), scale="log", unit="1 / learning rate", optional=True,
                               meaning="decay per step and learning rate")
    timescale: float | None = hyper(None, open_low=True, search=(1.0, 300.0), scale="log", unit="epochs", optional=True,
                                    neutral=float("inf"), meaning="epochs over which weights are forgotten")
    lr_scaled: bool = option(True, choices=(True, False), meaning="whether the learning rate multiplies the rate")
    select: str = selection()

    order: ClassVar[int] = 10
    per_weight: ClassVar[bool] = True
    elementwise: ClassVar[bool] = True
    acts_as: ClassVar[Literal["", "decay", "sparsity", "bound"]] = "decay"
    moment: ClassVar[Literal["before", "after"]] = "before"

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.rate is None) == (self.timescale is None):
            raise WellfitError("WeightDecay takes exactly one of rate and timescale.",
                               received=f"rate={self.rate}, timescale={self.timescale}",
                               expected="WeightDecay(rate=0.02) or WeightDecay(timescale=30)")

    def factor(self, h: Values, context: StepContext) -> Any:
        """What the weights are multiplied by at this step."""
        if self.timescale is not None:
            if context.steps_per_epoch is None:
                raise WellfitError("WeightDecay(timescale=...) counts in epochs, but the plan does not know their length.",
                                   expected="recipe.compile(model, steps_per_epoch=len(loader))",
                                   action="pass steps_per_epoch, or use WeightDecay(rate=...)")
            relative = context.learning_rate / context.base_learning_rate
            return 1 - relative / (h.timescale * context.steps_per_epoch)
        return 1 - (context.learning_rate * h.rate if self.lr_scaled else h.rate)

    def update_(self, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> None:
        weight.mul_(over(self.factor(h, context), weight))
