"""Statistics that turn predictions and histories into numbers with intervals. Pure functions; nothing is trained here.

What needs only arrays is imported here. What looks into a network (``surface``, ``landscape``, ``curvature``, ``boundary``,
``units``) is imported from its own module.
"""

from wellfit.diagnosis.measures.bias_variance import BiasVariance, bias_variance
from wellfit.diagnosis.measures.calibration import Calibration, calibration
from wellfit.diagnosis.measures.dynamics import Dynamics, chance_level, dynamics
from wellfit.diagnosis.measures.estimate import Estimate, means
from wellfit.diagnosis.measures.gap import generalization_gap, nested_interval, paired_difference
from wellfit.diagnosis.measures.learning_curve import LearningCurve, learning_curve
from wellfit.diagnosis.measures.memorization import Forgetting, Memorization, by_heart, cumulative_loss, forgetting, memorization

__all__ = [
    "BiasVariance", "Calibration", "Dynamics", "Estimate", "Forgetting", "LearningCurve", "Memorization", "bias_variance", "by_heart",
    "calibration", "chance_level", "cumulative_loss", "dynamics", "forgetting", "generalization_gap", "learning_curve", "means",
    "memorization", "nested_interval", "paired_difference",
]
