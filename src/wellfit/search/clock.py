"""Where in a budget each stage of a search ends."""

from __future__ import annotations

import time

from wellfit.search.settings import Budget

_LEAST_SEARCH, _MOST_SEARCH = 0.58, 0.85  # of a time budget
_REPEAT, _ATTRIBUTE = 0.56, 0.78          # of what lies between the end of the search and the planned end
_TOTAL, _LATEST = 0.92, 0.97              # refits are planned to end here, and end here at the latest
_SAFETY = 1.15


class Clock:
    """The time of one run, earlier sessions included. A budget of work has no deadlines.

    Args:
        budget: of the run.
        started: when this session began, on the monotonic clock.
        before: seconds that earlier sessions took.

    The search ends when what follows it needs the rest: that is known once a generation has been timed.
    """

    def __init__(self, budget: Budget, started: float, before: float):
        self.budget, self._started, self._before = budget, started, before
        self._seconds = self._trainings = 0.0  # of all generations: one configuration on one fold, all cores at work
        self.search = _LEAST_SEARCH

    @property
    def used(self) -> float:
        """Seconds spent, earlier sessions of this run included."""
        return self._before + time.monotonic() - self._started

    @property
    def repeat(self) -> float:
        return self.search + _REPEAT * (_TOTAL - self.search)

    @property
    def attribute(self) -> float:
        return self.search + _ATTRIBUTE * (_TOTAL - self.search)

    total, latest = _TOTAL, _LATEST

    def deadline(self, share: float) -> float | None:
        """When this share of the budget is spent, on the monotonic clock; None for a work budget."""
        if self.budget.seconds is None:
            return None
        return self._started + share * self.budget.seconds - self._before

    def up(self, share: float) -> bool:
        """Whether this share of the budget is spent."""
        deadline = self.deadline(share)
        return deadline is not None and time.monotonic() >= deadline

    def timed(self, seconds: float, trainings: float, to_come: float) -> None:
        """A generation took ``seconds`` for so many trainings of one configuration on one fold; ``to_come`` are left for after the
        search."""
        if self.budget.seconds is None or trainings <= 0:
            return
        self._seconds += seconds
        self._trainings += trainings
        share = 1 - _SAFETY * self._seconds / self._trainings * to_come / self.budget.seconds
        self.search = min(max(share, _LEAST_SEARCH), _MOST_SEARCH)

    def leaves(self, seconds: float, share: float) -> bool:
        """Whether so many seconds are left until this share of a time budget is spent; never with a budget of work."""
        deadline = self.deadline(share)
        return deadline is not None and time.monotonic() + seconds < deadline
