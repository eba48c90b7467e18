"""The doctor: regularization mistakes in a model, its optimizer, its data and its training, found mostly by measuring."""

from wellfit.doctor.finding import Finding
from wellfit.doctor.registry import examine
from wellfit.doctor.report import Report
from wellfit.doctor.set_up import SetUp

__all__ = ["Finding", "Report", "SetUp", "examine"]
