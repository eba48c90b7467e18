"""A verdict from a training history alone: curves of losses or metrics, from a file or from arrays, and nothing else.

Nothing here imports PyTorch, pandas or scikit-learn: a whole process, from its start to the verdict, takes less time than importing
those.
"""

from wellfit.diagnosis.history.chart import chart_svg
from wellfit.diagnosis.history.read import is_history, read_history
from wellfit.diagnosis.history.series import History
from wellfit.diagnosis.history.verdict import CAUSES, HistoryVerdict, history_verdict, words

__all__ = ["CAUSES", "History", "HistoryVerdict", "chart_svg", "history_verdict", "is_history", "read_history", "words"]
