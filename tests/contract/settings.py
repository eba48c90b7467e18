"""The contract table: instances of every registered regularizer, several where its settings lead different ways.

A regularizer that is registered without a row here fails ``test_every_regularizer_has_a_row``.
"""

from __future__ import annotations

import wellfit as wf
from wellfit.core.phases import Regularizer

ROWS: dict[str, list[Regularizer]] = {
    "batch_norm": [wf.BatchNorm()],
    "cut_mix": [wf.CutMix(0.6), wf.CutMix(1.0), wf.CutMix(wf.Linear(0.9, 0.1))],
    "cutout": [wf.Cutout(0.7, share=0.3), wf.Cutout(1.0, share=0.9), wf.Cutout(wf.Cosine(0.2, 0.8), share=wf.Linear(0.5, 0.1))],
    "dropout": [wf.Dropout(0.3), wf.Dropout(0.75), wf.Dropout(wf.Linear(0.6, 0.1)), wf.Dropout(0.3141592)],
    "early_stopping": [
        wf.EarlyStopping(patience=3), wf.EarlyStopping(patience=1, min_delta=0.05, monitor="validation_error"),
        wf.EarlyStopping(criterion="gl", threshold=2.0), wf.EarlyStopping(criterion="pq", threshold=0.3),
        wf.EarlyStopping(criterion="up", threshold=1, monitor="validation_error")],
    "elastic_net": [
        wf.ElasticNet(0.05, l1_ratio=0.5), wf.ElasticNet(0.1, l1_ratio=1.0), wf.ElasticNet(0.1, l1_ratio=0.0),
        wf.ElasticNet(wf.WarmUp(0.05), l1_ratio=wf.Linear(0.2, 0.8), select="hidden")],
    "ema": [wf.EMA(0.9), wf.EMA(0.5)],
    "gradient_clipping": [wf.GradientClipping(0.5), wf.GradientClipping(100.0), wf.GradientClipping(wf.Linear(0.1, 1.0))],
    "group_lasso": [
        wf.GroupLasso(0.05), wf.GroupLasso(0.05, groups="units", select="weights"),
        wf.GroupLasso(0.05, groups="inputs", select="weights"), wf.GroupLasso(0.05, groups="units", select="all"),
        wf.GroupLasso(wf.WarmUp(0.1, fraction=0.3))],
    "input_noise": [wf.InputNoise(0.2), wf.InputNoise(wf.FlatCosine(0.5))],
    "l1": [wf.L1(0.05), wf.L1(0.05, select="first"), wf.L1(0.02, select="all"), wf.L1(wf.Cosine(0.0, 0.1), select="last")],
    "l2": [wf.L2(0.02), wf.L2(0.02, select="all"), wf.L2(wf.Linear(0.0, 0.1), select="hidden")],
    "label_smoothing": [wf.LabelSmoothing(0.1), wf.LabelSmoothing(wf.FlatCosine(0.3))],
    "max_norm": [
        wf.MaxNorm(1.0), wf.MaxNorm(0.5, select="all"), wf.MaxNorm(0.5, select="biases"), wf.MaxNorm(wf.Linear(3.0, 0.5)),
        wf.MaxNorm(0.7, select="recurrent.*")],
    "mixup": [wf.Mixup(0.2), wf.Mixup(1.0), wf.Mixup(0.01)],
    "skip_connections": [wf.SkipConnections()],
    "stochastic_depth": [wf.StochasticDepth(0.4), wf.StochasticDepth(wf.Linear(0.1, 0.6))],
    "swa": [wf.SWA(0.5), wf.SWA(0.0)],
    "weight_decay": [
        wf.WeightDecay(rate=0.1), wf.WeightDecay(timescale=3.0), wf.WeightDecay(rate=0.01, lr_scaled=False),
        wf.WeightDecay(rate=wf.Cosine(0.2, 0.0), select="all"), wf.WeightDecay(timescale=wf.Linear(2.0, 20.0), select="norms")],
}
