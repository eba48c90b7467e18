"""What a study may still cost: wall-clock time, or a number of trainings (each on all folds), with which it repeats exactly."""

from __future__ import annotations

import time
from collections.abc import Sequence

from wellfit.diagnosis.laboratory import Laboratory, Variant


class Allowance:
    """The rest of a budget.

    Args:
        laboratory: knows what a variant costs.
        seconds: until the end, from now; or
        trainings: of a variant with one seed on all folds.
    """

    def __init__(self, laboratory: Laboratory, seconds: float | None = None, trainings: int | None = None):
        self.laboratory, self.trainings = laboratory, trainings
        self._end = None if seconds is None else time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds, or trainings."""
        if self._end is not None:
            return max(0.0, self._end - time.monotonic())
        assert self.trainings is not None
        return max(0.0, self.trainings - self.laboratory.trainings / len(self.laboratory.case.folds))

    def price(self, variants: Sequence[Variant], seeds: int = 1) -> float:
        """What they cost, in the unit of ``left``."""
        return self.laboratory.seconds(variants, seeds) if self._end is not None else float(len(variants) * seeds)

    def first(self, variants: Sequence[Variant], share: float = 1.0, seeds: int = 1, least: int = 0) -> list[Variant]:
        """The first ones (the most important first) that a share of what is left pays for; ``least`` of them in any case."""
        room, kept = share * self.left, list(variants[:least])
        for variant in variants[least:]:
            if self.price([*kept, variant], seeds) > room:
                break
            kept.append(variant)
        return kept
