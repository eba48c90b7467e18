"""Statistics that turn predictions and histories into numbers with intervals. Pure functions; nothing is trained here."""

from wellfit.diagnosis.measures.bias_variance import BiasVariance, bias_variance
from wellfit.diagnosis.measures.estimate import Estimate, means
from wellfit.diagnosis.measures.gap import generalization_gap, nested_interval, paired_difference

__all__ = ["BiasVariance", "Estimate", "bias_variance", "generalization_gap", "means", "nested_interval", "paired_difference"]
