"""Forward correction of label noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from wellfit.core.errors import WellfitError
from wellfit.core.hyper import hyper
from wellfit.core.operands import Judged, Values
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.outputs import through_noise


@register
@dataclass(frozen=True)
class ForwardCorrection(Regularizer):
    """Forward correction of label noise: the criterion sees log(Tᵀp) in place of the scores, the chances of the *noisy* labels.

    T_ij is the probability that class i is labelled j: 1 - rate on the diagonal, rate/(C - 1) elsewhere. The minimiser is then the
    one of clean labels. Predictions need nothing: the network's own scores are the clean ones.

    Shapes: class scores (B, C, ...). Unit: probability of a wrong label.
    When it helps: labels that are wrong at a known rate, evenly over the classes.
    When it hurts: a rate above the true one, and noise that depends on the example; keep it below 1 - 1/C.
    Raises WellfitError for a rate outside [0, 1), and for outputs that are no class scores. Source: Patrini et al. 2017.

    >>> ForwardCorrection(0.2).rate
    0.2
    """

    rate: float = hyper(0.1, high=1.0, open_high=True, neutral=0.0, search=(0.01, 0.5), scale="log", unit="probability",
                        meaning="probability that a label is wrong")

    order: ClassVar[int] = 60
    stacked: ClassVar[bool] = False
    conflicts: ClassVar[dict[str, str]] = {"bootstrapped_loss": "each of them corrects wrong labels, and both would do it twice."}

    def on_outputs(self, judged: Judged, h: Values) -> Judged:
        if judged.kind != "classes":
            raise WellfitError("Forward correction needs class scores.", received=f"outputs of shape {tuple(judged.outputs.shape)}",
                               expected="scores (B, C) of at least two classes", action="leave out forward_correction")
        return judged.with_(outputs=through_noise(judged.outputs, h.rate))
