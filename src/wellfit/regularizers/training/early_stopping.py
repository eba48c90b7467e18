"""Early stopping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wellfit.core.errors import WellfitError
from wellfit.core.hyper import hyper, option
from wellfit.core.operands import Values
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.stop import generalization_loss, improves, training_progress

_STRIP = 5


@register
@dataclass(frozen=True)
class EarlyStopping(Regularizer):
    """Early stopping: training ends when validation no longer improves, and the best weights are restored on every exit.

    ``criterion``:
      "patience": no improvement by more than min_delta for ``patience`` epochs;
      "gl": generalization loss, 100·(E/E_best - 1) > threshold (percent);
      "pq": generalization loss over training progress, judged every 5 epochs, > threshold;
      "up": E rose in ``threshold`` successive strips of 5 epochs.
    E is ``monitor``: "validation_loss" or "validation_error" (an error the task wants small); "pq" also reads train_loss.
    Whatever the criterion, the best epoch by E is what is returned: at the end of patience, at the last epoch, on Ctrl-C
    and on an exception. Epochs are counted, not evaluations. Each criterion reads its own field only: infinite patience never
    stops "patience", and an infinite threshold never stops the others.

    Unit: epochs (patience), of E (min_delta).
    When it helps: networks whose validation loss rises while the training loss still falls; short budgets.
    When it hurts: noisy validation with little patience; a learning-rate schedule whose end is never reached.
    Raises WellfitError for an epoch without the monitored number. Source: Prechelt 1998.

    >>> EarlyStopping(patience=20).criterion
    'patience'
    """

    patience: float = hyper(20, low=1, neutral=float("inf"), search=(5, 40), scale="log", unit="epochs", dynamic=False,
                            meaning="epochs without improvement before stopping")
    min_delta: float = hyper(0.0, unit="of the monitored number", dynamic=False, meaning="smallest change that counts")
    threshold: float = hyper(5.0, open_low=True, neutral=float("inf"), unit="percent, ratio or strips", dynamic=False,
                             meaning="limit of the gl, pq and up criteria")
    criterion: str = option("patience", choices=("patience", "gl", "pq", "up"), meaning="when to stop")
    monitor: str = option("validation_loss", choices=("validation_loss", "validation_error"), meaning="what to watch")

    order: ClassVar[int] = 50

    def start(self, members: int) -> dict[str, np.ndarray]:
        full = np.full
        return {"best": full(members, np.inf), "best_epoch": np.zeros(members, np.int64), "epoch": np.zeros(members, np.int64),
                "strip": full((members, _STRIP), np.nan), "last_strip_end": full(members, np.inf),
                "rises": np.zeros(members, np.int64)}

    def observe(self, state: dict[str, np.ndarray], metrics: Mapping[str, np.ndarray],
                h: Values) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        error = self._read(metrics, self.monitor)
        epoch = state["epoch"] + 1
        better = improves(error, state["best"], np.asarray(h.min_delta, np.float64))
        best = np.where(better, error, state["best"])
        best_epoch = np.where(better, epoch, state["best_epoch"])
        new = {**state, "epoch": epoch, "best": best, "best_epoch": best_epoch}
        patience, threshold = (np.asarray(v, np.float64) for v in (h.patience, h.threshold))
        strip_ends = epoch % _STRIP == 0
        if self.criterion == "patience":
            stop = epoch - best_epoch >= patience
        elif self.criterion == "gl":
            stop = generalization_loss(error, best) > threshold
        elif self.criterion == "pq":
            strip = np.roll(state["strip"], -1, axis=1)
            strip[:, -1] = self._read(metrics, "train_loss")
            with np.errstate(divide="ignore", invalid="ignore"):
                stop = strip_ends & (generalization_loss(error, best) / training_progress(strip) > threshold)
            new["strip"] = strip
        else:
            rose = error > state["last_strip_end"]
            new["rises"] = np.where(strip_ends, np.where(rose, state["rises"] + 1, 0), state["rises"])
            new["last_strip_end"] = np.where(strip_ends, error, state["last_strip_end"])
            stop = strip_ends & (new["rises"] >= threshold)
        # nan never improves: a member that diverged for good has nothing left to wait for only by its patience
        return new, better, stop

    def _read(self, metrics: Mapping[str, np.ndarray], name: str) -> np.ndarray:
        if name not in metrics:
            raise WellfitError(f"EarlyStopping watches {name}, which this epoch does not report.",
                               received=", ".join(sorted(metrics)) or "nothing", expected=f"plan.observe({name}=...)",
                               action=f"report {name}, or set monitor")
        return np.atleast_1d(np.asarray(metrics[name], dtype=np.float64))
