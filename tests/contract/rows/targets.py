"""Contract rows of wellfit.regularizers.targets."""

import wellfit as wf
from wellfit.core.regularizer import Regularizer

ROWS: dict[str, list[Regularizer]] = {
    "bootstrapped_loss": [
        wf.BootstrappedLoss(0.2), wf.BootstrappedLoss(0.3, kind="hard"), wf.BootstrappedLoss(wf.WarmUp(0.4, fraction=0.3))],
    "confidence_penalty": [wf.ConfidencePenalty(0.1), wf.ConfidencePenalty(wf.Linear(0.0, 0.5))],
    "forward_correction": [wf.ForwardCorrection(0.2), wf.ForwardCorrection(0.7), wf.ForwardCorrection(wf.WarmUp(0.3))],
    "label_smoothing": [wf.LabelSmoothing(0.1), wf.LabelSmoothing(wf.FlatCosine(0.3))],
    "target_noise": [wf.TargetNoise(0.2), wf.TargetNoise(wf.Cosine(0.5, 0.1))],
}
