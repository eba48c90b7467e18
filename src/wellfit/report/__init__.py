"""A run's artefacts as one self-contained HTML file, and its summary as a snippet for a notebook."""

from wellfit.report.notebook import summary_html
from wellfit.report.write import write_report

__all__ = ["summary_html", "write_report"]
