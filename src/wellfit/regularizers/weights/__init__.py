"""Regularizers that act on the weights: penalties, decay and constraints."""

from wellfit.regularizers.weights.box import Box
from wellfit.regularizers.weights.constrained_decay import ConstrainedDecay
from wellfit.regularizers.weights.elastic_net import ElasticNet
from wellfit.regularizers.weights.factorized_l1 import FactorizedL1
from wellfit.regularizers.weights.gated_groups import GatedGroups
from wellfit.regularizers.weights.group_lasso import GroupLasso
from wellfit.regularizers.weights.group_mcp import GroupMCP
from wellfit.regularizers.weights.half_norm import HalfNorm
from wellfit.regularizers.weights.l1 import L1
from wellfit.regularizers.weights.l2 import L2
from wellfit.regularizers.weights.l2_sp import L2SP
from wellfit.regularizers.weights.max_norm import MaxNorm
from wellfit.regularizers.weights.mcp import MCP
from wellfit.regularizers.weights.min_max_norm import MinMaxNorm
from wellfit.regularizers.weights.non_negative import NonNegative
from wellfit.regularizers.weights.nuclear_norm import NuclearNorm
from wellfit.regularizers.weights.orthogonality import Orthogonality
from wellfit.regularizers.weights.scad import SCAD
from wellfit.regularizers.weights.sparse_group_lasso import SparseGroupLasso
from wellfit.regularizers.weights.spectral_norm import SpectralNorm
from wellfit.regularizers.weights.unit_norm import UnitNorm
from wellfit.regularizers.weights.weight_decay import WeightDecay

__all__ = [
    "L1",
    "L2",
    "L2SP",
    "MCP",
    "SCAD",
    "Box",
    "ConstrainedDecay",
    "ElasticNet",
    "FactorizedL1",
    "GatedGroups",
    "GroupLasso",
    "GroupMCP",
    "HalfNorm",
    "MaxNorm",
    "MinMaxNorm",
    "NonNegative",
    "NuclearNorm",
    "Orthogonality",
    "SparseGroupLasso",
    "SpectralNorm",
    "UnitNorm",
    "WeightDecay",
]
