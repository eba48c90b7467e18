"""The page of a diagnosis: verdict, the measurement that decided, what would help, and the evidence, from ``diagnosis.json``."""

from wellfit.report.diagnosis.artefacts import FILE, Diagnosis, read_diagnosis
from wellfit.report.diagnosis.render import render

__all__ = ["FILE", "Diagnosis", "read_diagnosis", "render"]
