"""Confidence penalty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from wellfit.core.errors import WellfitError
from wellfit.core.hyper import hyper
from wellfit.core.operands import Judged, Values
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.outputs import entropy, log_probabilities


@register
@dataclass(frozen=True)
class ConfidencePenalty(Regularizer):
    """Confidence penalty: adds -strength · mean H(p), H(p) = -Σ_c p_c · log p_c, so that sure predictions cost something.

    Label smoothing's mirror image: it pulls towards the uniform distribution with the divergence the other way round, so that a
    prediction may be as sure as the loss earns it. The loss that is reported is without the term.

    Shapes: class scores (B, C, ...), or logits of BCEWithLogitsLoss; the mean runs over all but the classes. Unit: loss per nat.
    When it helps: networks that are sure and wrong on the validation rows; few or noisy labels.
    When it hurts: together with label smoothing (twice the same), when calibrated probabilities of clean labels matter.
    Raises WellfitError for a strength that is negative, and for outputs that are numbers. Source: Pereyra et al. 2017.

    >>> ConfidencePenalty(0.1).strength
    0.1
    """

    strength: float = hyper(0.1, neutral=0.0, search=(0.01, 1.0), scale="log", unit="loss per nat",
                            meaning="weight of the predictions' entropy")

    order: ClassVar[int] = 50
    stacked: ClassVar[bool] = False

    def term(self, judged: Judged, h: Values) -> Tensor:
        if judged.kind == "numbers":
            raise WellfitError("A confidence penalty needs class scores.", expected="a classification",
                               received=f"outputs of shape {tuple(judged.outputs.shape)}, targets of {judged.targets.dtype}",
                               action="leave out confidence_penalty, or pass recipe.compile(model, classes=...)")
        return entropy(log_probabilities(judged.outputs, judged.kind)) * -h.strength
