"""A run's or a diagnosis' artefacts as one self-contained HTML file, and its summary as a snippet for a notebook."""

from wellfit.report.notebook import summary_html
from wellfit.report.write import write_diagnosis, write_report

__all__ = ["summary_html", "write_diagnosis", "write_report"]
