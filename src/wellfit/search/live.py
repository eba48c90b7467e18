"""Live progress for a person: members alive, best so far against the unregularized network, time left."""

from __future__ import annotations

import time
from typing import Protocol

from wellfit.population.pool import Progress


class Listener(Protocol):
    """Hears how a search is going."""

    def stage(self, title: str) -> None: ...

    def progress(self, progress: Progress) -> None: ...

    def score(self, best: str, unregularized: str, configurations: int) -> None: ...

    def clock(self, used: float, budget: float | None, done: int, wanted: int | None) -> None: ...

    def close(self) -> None: ...


class Silent:
    """Hears nothing."""

    def stage(self, title: str) -> None: ...

    def progress(self, progress: Progress) -> None: ...

    def score(self, best: str, unregularized: str, configurations: int) -> None: ...

    def clock(self, used: float, budget: float | None, done: int, wanted: int | None) -> None: ...

    def close(self) -> None: ...


class Bar:
    """One line that keeps itself up to date, in a terminal or a notebook (rich); plain lines where output is no terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self._console = Console(stderr=True)
        self._live = self._console.is_terminal or self._console.is_jupyter
        self._bar = RichProgress(TextColumn("[bold]{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[time]}"),
                                 TextColumn("{task.fields[alive]}", style="cyan"), TextColumn("{task.fields[score]}"),
                                 console=self._console, transient=False)
        self._task = self._bar.add_task("starting", total=1.0, time="", alive="", score="")
        self._started = time.monotonic()
        self._budget: float | None = None
        self._before = 0.0
        if self._live:
            self._bar.start()

    def stage(self, title: str) -> None:
        if self._live:
            self._bar.update(self._task, description=title, alive="")
        else:
            self._console.print(f"{time.monotonic() - self._started:6.1f} s  {title}", highlight=False)

    def progress(self, progress: Progress) -> None:
        self._bar.update(self._task, alive=f"{progress.alive} networks alive, epoch {progress.epoch}/{progress.epochs}")
        if self._budget:
            self._tick(self._before + time.monotonic() - self._started)

    def score(self, best: str, unregularized: str, configurations: int) -> None:
        text = f"best {best} against {unregularized} unregularized, {configurations} configurations"
        self._bar.update(self._task, score=text)
        if not self._live:
            self._console.print(f"{time.monotonic() - self._started:6.1f} s  {text}", highlight=False)

    def clock(self, used: float, budget: float | None, done: int, wanted: int | None) -> None:
        self._budget, self._before = budget, used - (time.monotonic() - self._started)
        if budget:
            self._tick(used)
        elif wanted:
            self._bar.update(self._task, completed=min(done / wanted, 1.0), time=f"{done}/{wanted} configurations")

    def _tick(self, used: float) -> None:
        assert self._budget is not None
        left = max(self._budget - used, 0.0)
        self._bar.update(self._task, completed=min(used / self._budget, 1.0), time=f"{int(left // 60)}:{int(left % 60):02d} left")

    def close(self) -> None:
        if self._live:
            self._bar.update(self._task, completed=1.0, alive="", time="")
            self._bar.stop()
