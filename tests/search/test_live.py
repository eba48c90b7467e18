"""The live display, by a clock of its own: in a pipe, in a terminal, in a notebook."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import rich.console

from wellfit.population.pool import Progress
from wellfit.search.live import Bar

_Printer = rich.console.Console  # the real one, whatever a test puts in its place


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch) -> Callable[..., io.StringIO]:
    """Let every rich console write to one text, as the terminal, pipe or notebook that is asked for."""
    original = rich.console.Console
    monkeypatch.setenv("TERM", "xterm-256color")

    def use(**options: Any) -> io.StringIO:
        text = io.StringIO()
        monkeypatch.setattr(rich.console, "Console", lambda **_: original(file=text, **options))
        return text

    return use


def story(bar: Bar, clock: Clock, budget: float | None = 60.0, wanted: int | None = None) -> list[str]:
    """A search as its listener hears it; what a terminal would show after each step."""
    pictures = []

    def look() -> None:
        target = io.StringIO()
        printer = _Printer(file=target, width=bar._console.width, force_terminal=True, color_system=None)
        printer.print(bar._picture())
        pictures.append(target.getvalue())

    bar.stage("reading the data")
    bar.begin(SimpleNamespace(metric="balanced_accuracy", notes=(), table="wine"), None, Path("run"))  # type: ignore[arg-type]
    bar.stage("comparing methods")
    bar.clock(0.0, budget, 0, wanted)
    for epoch in (1, 4, 8):
        clock.now += 4
        bar.progress(Progress(60, epoch, 10))
        look()
    bar.score("0.9512", "0.9", 30)
    bar.clock(clock.now - 1000, budget, 30, wanted)
    bar.stage("searching")
    for epoch in (1, 9):
        clock.now += 17
        bar.progress(Progress(1, epoch, 10))
        look()
    bar.stage("refitting on all development rows")
    clock.now += 30
    look()
    bar.close()
    return pictures


def test_in_a_pipe_it_prints_lines(console: Callable[..., io.StringIO], clock: Clock) -> None:
    text = console(force_terminal=False, width=80)
    story(Bar(clock), clock)
    lines = text.getvalue().splitlines()
    assert all("\x1b" not in line for line in lines)
    assert "'wine'" in lines[0]
    assert any(line.endswith("  comparing methods") for line in lines)
    assert any("30 configurations so far, validation balanced accuracy: 95.1% best, 90.0% unregularized, 0:48 left" in line
               for line in lines)
    heartbeats = [line for line in lines if "network" in line]
    assert 1 <= len(heartbeats) <= 3  # one in fifteen seconds
    assert "1 network alive, epoch 9 of 10" in heartbeats[0]


def test_an_error_stands_alone_in_a_pipe(console: Callable[..., io.StringIO], clock: Clock) -> None:
    text = console(force_terminal=False)
    bar = Bar(clock)
    bar.stage("reading the data")
    bar.close()
    assert text.getvalue() == ""


@pytest.mark.parametrize("width", [40, 80, 160])
def test_in_a_terminal_it_fits_and_tells_the_time_left(console: Callable[..., io.StringIO], clock: Clock, width: int) -> None:
    text = console(force_terminal=True, width=width)
    pictures = story(Bar(clock), clock)
    for picture in pictures:
        assert len(picture.splitlines()) <= 5
        assert all(len(line) <= width for line in picture.splitlines())
    if width >= 80:
        assert "comparing methods" in pictures[0]
        assert "0:56 left" in pictures[0]
        assert "60 networks alive, epoch 1 of 10" in pictures[0]
        assert "30 configurations so far" in pictures[3]
        assert "validation balanced accuracy: 95.1% best, 90.0% unregularized" in pictures[3]
        assert "finishing" in pictures[-1]
    assert text.getvalue().rfind("\x1b[?25h") > text.getvalue().rfind("\x1b[?25l")  # the cursor is back


def test_a_work_budget_has_an_estimate(console: Callable[..., io.StringIO], clock: Clock) -> None:
    console(force_terminal=True, width=100)
    bar = Bar(clock)
    pictures = story(bar, clock, budget=None, wanted=60)
    assert "about" in pictures[2]
    assert bar._done_share() <= 1.0


def test_progress_never_goes_back(console: Callable[..., io.StringIO], clock: Clock) -> None:
    console(force_terminal=True, width=100)
    bar = Bar(clock)
    bar.clock(0.0, None, 0, 60)
    shares = []
    for title in ("comparing methods", "searching", "searching", "repeating the finalists", "something new", "refitting"):
        bar.stage(title)
        for epoch in (0, 5, 10):
            bar.progress(Progress(9, epoch, 10))
            shares.append(bar._done_share())
    bar.close()
    assert shares == sorted(shares)
    assert shares[0] >= 0
    assert shares[-1] <= 1


def test_what_ctrl_c_means_stays_on_the_screen(console: Callable[..., io.StringIO], clock: Clock) -> None:
    text = console(force_terminal=True, width=100)
    bar = Bar(clock)
    bar.clock(0.0, 60.0, 0, None)
    bar.stage("stopping: finishing with the best so far (Ctrl-C again to leave; the run can be resumed)")
    assert bar._time_left() == "finishing"
    bar.close()
    assert "Ctrl-C again to leave" in text.getvalue()


def test_a_terminal_that_cannot_rewrite_gets_lines(console: Callable[..., io.StringIO], clock: Clock,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    text = console(force_terminal=True, width=80)
    story(Bar(clock), clock)
    assert "\x1b" not in text.getvalue()
    assert "comparing methods" in text.getvalue()


def test_in_a_notebook_one_output_is_replaced(console: Callable[..., io.StringIO], clock: Clock,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    display = ModuleType("IPython.display")
    display.HTML = str  # type: ignore[attr-defined]
    display.display = lambda text, display_id: (shown.append(text), SimpleNamespace(update=shown.append))[1]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    console(force_jupyter=True, width=80)
    story(Bar(clock), clock)
    assert "starting" in shown[0]
    assert any("comparing methods" in text and "60 networks alive" in text for text in shown)
    assert "95.1% best, 90.0% unregularized" in shown[-1]
    assert all(text.startswith("<pre") for text in shown)
