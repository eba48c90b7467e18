"""Where in a budget each stage ends."""

from __future__ import annotations

import time

import pytest

from wellfit.search.clock import Clock
from wellfit.search.settings import Budget


def clock(budget: str, before: float = 0.0) -> Clock:
    return Clock(Budget.parse(budget), time.monotonic(), before)


def test_the_stages_come_in_order() -> None:
    made = clock("100s")
    for to_come in (0.0, 10.0, 30.0, 1000.0):
        made.timed(1.0, 1.0, to_come)
        assert made.search < made.repeat < made.attribute < made.total < made.latest < 1


def test_the_search_leaves_what_follows_the_time_it_needs() -> None:
    made = clock("100s")
    made.timed(seconds=2.0, trainings=10.0, to_come=100.0)  # 0.2 s each: 20 s to come
    assert made.search == pytest.approx(1 - 1.15 * 0.2)
    made.timed(seconds=1.0, trainings=10.0, to_come=100.0)  # together 3 s for 20
    assert made.search == pytest.approx(1 - 1.15 * 0.15)
    made.timed(seconds=60.0, trainings=10.0, to_come=100.0)
    assert made.search == 0.58


def test_a_quick_task_searches_longer_but_not_to_the_end() -> None:
    made = clock("100s")
    made.timed(1e-3, 10.0, 100.0)
    assert made.search == 0.85


def test_earlier_sessions_count() -> None:
    assert clock("100s", before=59.0).up(0.58)
    assert not clock("100s", before=57.0).up(0.58)
    assert clock("100s", before=30.0).used == pytest.approx(30.0, abs=1.0)


def test_work_as_the_budget_has_no_deadlines() -> None:
    made = clock("100c", before=1e9)
    made.timed(1e9, 1.0, 100.0)
    assert made.deadline(0.5) is None
    assert not made.up(0.0)


def test_what_is_left_until_a_stage_ends() -> None:
    made = clock("100s", before=50.0)
    assert made.leaves(39.0, 0.9)
    assert not made.leaves(41.0, 0.9)
    assert not made.leaves(0.0, 0.4)
    assert not clock("100c").leaves(0.0, 0.9), "with work as the budget nothing hangs on the clock"
