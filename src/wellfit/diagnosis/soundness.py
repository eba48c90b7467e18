"""Whether a network of one's own does what it should: the doctor's probes on it, and what its first training shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from wellfit.diagnosis.case import Case
from wellfit.diagnosis.faults import Fault
from wellfit.diagnosis.measurement import Measurement
from wellfit.diagnosis.signals import Signal
from wellfit.doctor.check import check
from wellfit.search.prepare_task import PreparedTask, fresh

_BATCHES = 4
#: Mistakes in the network itself, which change what every other number means.
_PROBES = ("dropout-before-batch-norm", "dropout-active-in-eval", "batch-statistics-in-eval", "softmax-before-cross-entropy",
           "augmented-validation")


class _Batches:
    """The first training batches, again and again."""

    def __init__(self, case: Case, prepared: PreparedTask):
        size = min(case.settings.batch_size, len(case.folds[0][0]))
        rows = np.random.default_rng(case.seed).permutation(case.folds[0][0])
        self.batches = [prepared.rows.take(torch.from_numpy(rows[i * size:(i + 1) * size])) for i in range(_BATCHES)
                        if (i + 1) * size <= len(rows)]
        if prepared.source.features is not None:
            self.batches = [(prepared.source.features(x), y) for x, y in self.batches]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def in_set_up(case: Case) -> list[Fault]:
    """What the doctor finds in the network of a task. The built-in network is sound by construction."""
    prepared = case.prepared
    if not isinstance(prepared, PreparedTask):
        return []
    batches = _Batches(case, prepared)
    if not len(batches):
        return []
    report = check(fresh(prepared.build(case.settings)), train_loader=batches, only=_PROBES)
    found = [f for f in report.findings if f.id in _PROBES]
    if not found:
        return []
    words = " ".join(f"{f.where}: {f.measured.rstrip('.')}. {f.why}" for f in found[:2])
    return [Fault(Measurement("broken", "Broken set-up", float(len(found)), "findings", words, None, "alarm"),
                  {"broken": Signal(1.0, 0.0, found[0].id)},
                  {"doctor": [f.to_mapping() for f in found]})]
