"""Contract rows of wellfit.regularizers.training."""

import wellfit as wf
from wellfit.core.regularizer import Regularizer

ROWS: dict[str, list[Regularizer]] = {
    "activity_penalty": [
        wf.ActivityPenalty(0.01), wf.ActivityPenalty(0.02, norm="l2"), wf.ActivityPenalty(wf.Linear(0.01, 0.1))],
    "adaptive_clipping": [
        wf.AdaptiveClipping(0.01), wf.AdaptiveClipping(0.5, floor=0.1, select="all"), wf.AdaptiveClipping(100.0),
        wf.AdaptiveClipping(wf.Linear(0.05, 0.5), select="hidden")],
    "adversarial_noise": [
        wf.AdversarialNoise(0.5), wf.AdversarialNoise(1.0, radius=0.3), wf.AdversarialNoise(wf.Linear(0.1, 0.9), radius=0.05)],
    "asam": [wf.ASAM(0.5), wf.ASAM(0.2, floor=0.1, select="weights"), wf.ASAM(wf.WarmUp(1.0))],
    "early_stopping": [
        wf.EarlyStopping(patience=3), wf.EarlyStopping(patience=1, min_delta=0.05, monitor="validation_error"),
        wf.EarlyStopping(criterion="gl", threshold=2.0), wf.EarlyStopping(criterion="pq", threshold=0.3),
        wf.EarlyStopping(criterion="up", threshold=1, monitor="validation_error")],
    "ema": [wf.EMA(0.9), wf.EMA(0.5)],
    "gradient_clipping": [wf.GradientClipping(0.5), wf.GradientClipping(100.0), wf.GradientClipping(wf.Linear(0.1, 1.0))],
    "gradient_noise": [
        wf.GradientNoise(0.01), wf.GradientNoise(0.1, annealing=0.0, select="weights"), wf.GradientNoise(wf.Cosine(0.1, 0.0))],
    "input_gradient_penalty": [wf.InputGradientPenalty(0.1), wf.InputGradientPenalty(wf.Linear(0.1, 1.0))],
    "jacobian_penalty": [wf.JacobianPenalty(0.01), wf.JacobianPenalty(wf.Linear(0.1, 1.0))],
    "lookahead": [wf.Lookahead(0.5, every=2), wf.Lookahead(0.8, every=5), wf.Lookahead(wf.Linear(0.2, 1.0), every=1)],
    "rdrop": [wf.RDrop(1.0), wf.RDrop(0.3), wf.RDrop(wf.WarmUp(5.0))],
    "sam": [wf.SAM(0.05), wf.SAM(0.3, select="weights"), wf.SAM(wf.Cosine(0.2, 0.01))],
    "snapshot_ensemble": [wf.SnapshotEnsemble(2), wf.SnapshotEnsemble(4)],
    "swa": [wf.SWA(0.5), wf.SWA(0.0)],
    "vat": [wf.VAT(1.0), wf.VAT(0.5, radius=0.2, probe=0.1, iterations=2), wf.VAT(wf.WarmUp(2.0), radius=wf.Linear(0.1, 1.0))],
}
