"""Contract rows of wellfit.regularizers.network."""

import wellfit as wf
from wellfit.core.regularizer import Regularizer

ROWS: dict[str, list[Regularizer]] = {
    "alpha_dropout": [wf.AlphaDropout(0.3), wf.AlphaDropout(wf.Linear(0.5, 0.1)), wf.AlphaDropout(0.2, where="insert"),
                      wf.AlphaDropout(0.2, where="existing")],
    "attention_dropout": [wf.AttentionDropout(0.4), wf.AttentionDropout(wf.Linear(0.6, 0.2))],
    "batch_norm": [wf.BatchNorm()],
    "batch_norm_recalibration": [wf.BatchNormRecalibration(), wf.BatchNormRecalibration(1)],
    "drop_block": [wf.DropBlock(0.3, size=2), wf.DropBlock(wf.Linear(0.1, 0.5), size=1), wf.DropBlock(0.2, size=5)],
    "drop_connect": [wf.DropConnect(0.3), wf.DropConnect(0.5, select="*.weight_hh*"),
                     wf.DropConnect(wf.Linear(0.2, 0.5), select="last")],
    "dropout": [wf.Dropout(0.3), wf.Dropout(0.75), wf.Dropout(wf.Linear(0.6, 0.1)), wf.Dropout(0.3141592),
                wf.Dropout(0.4, where="insert"), wf.Dropout(0.4, where="existing")],
    "embedding_dropout": [wf.EmbeddingDropout(0.3), wf.EmbeddingDropout(wf.Linear(0.5, 0.1))],
    "feature_alpha_dropout": [wf.FeatureAlphaDropout(0.3), wf.FeatureAlphaDropout(wf.Linear(0.4, 0.1))],
    "gaussian_dropout": [wf.GaussianDropout(0.3), wf.GaussianDropout(wf.Linear(0.5, 0.1)),
                         wf.GaussianDropout(0.3, where="insert"), wf.GaussianDropout(0.3, where="existing")],
    "ghost_batch_norm": [wf.GhostBatchNorm(4), wf.GhostBatchNorm(2)],
    "locked_dropout": [wf.LockedDropout(0.4), wf.LockedDropout(wf.Linear(0.2, 0.6))],
    "norm_replacement": [wf.NormReplacement(), wf.NormReplacement(groups=2), wf.NormReplacement("layer_norm")],
    "orthogonal_weights": [wf.OrthogonalWeights(), wf.OrthogonalWeights(0.3, select="weights"),
                           wf.OrthogonalWeights(wf.Linear(0.1, 1.0), select="all")],
    "skip_connections": [wf.SkipConnections()],
    "spatial_dropout": [wf.SpatialDropout(0.3), wf.SpatialDropout(wf.Linear(0.1, 0.5))],
    "stochastic_depth": [wf.StochasticDepth(0.4), wf.StochasticDepth(wf.Linear(0.1, 0.6))],
    "weight_noise": [wf.WeightNoise(0.1), wf.WeightNoise(wf.Linear(0.2, 0.0)), wf.WeightNoise(0.1, select="hidden")],
    "weight_standardization": [wf.WeightStandardization(), wf.WeightStandardization(select="first")],
}
