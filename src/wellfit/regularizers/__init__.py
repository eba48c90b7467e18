"""The regularizers. Importing this package fills the registry."""

from wellfit.regularizers.inputs.cut_mix import CutMix
from wellfit.regularizers.inputs.cutout import Cutout
from wellfit.regularizers.inputs.input_noise import InputNoise
from wellfit.regularizers.inputs.mixup import Mixup
from wellfit.regularizers.network.batch_norm import BatchNorm
from wellfit.regularizers.network.dropout import Dropout
from wellfit.regularizers.network.skip_connections import SkipConnections
from wellfit.regularizers.network.stochastic_depth import StochasticDepth
from wellfit.regularizers.targets.label_smoothing import LabelSmoothing
from wellfit.regularizers.training.early_stopping import EarlyStopping
from wellfit.regularizers.training.ema import EMA
from wellfit.regularizers.training.gradient_clipping import GradientClipping
from wellfit.regularizers.training.swa import SWA
from wellfit.regularizers.weights.elastic_net import ElasticNet
from wellfit.regularizers.weights.group_lasso import GroupLasso
from wellfit.regularizers.weights.l1 import L1
from wellfit.regularizers.weights.l2 import L2
from wellfit.regularizers.weights.max_norm import MaxNorm
from wellfit.regularizers.weights.weight_decay import WeightDecay

__all__ = ["EMA", "L1", "L2", "SWA", "BatchNorm", "CutMix", "Cutout", "Dropout", "EarlyStopping", "ElasticNet",
           "GradientClipping", "GroupLasso", "InputNoise", "LabelSmoothing", "MaxNorm", "Mixup", "SkipConnections",
           "StochasticDepth", "WeightDecay"]
