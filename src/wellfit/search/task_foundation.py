"""How long a network of any kind is trained, on how many folds, and how many at a time: from what an epoch costs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from wellfit.core.recipe import Recipe
from wellfit.population.modules.stack import ModuleStack
from wellfit.population.pool import Pool, can_fork
from wellfit.population.problem import Member
from wellfit.search.foundation import GLANCE, Asked
from wellfit.search.prepare_task import PreparedTask
from wellfit.search.rundir import RunDirectory
from wellfit.search.settings import EPOCHS_FIRST, Budget, Settings

_PROBE_STEPS = 6
_SLACK = 1.5           # a training beside others, with augmentation and normalisation, over a plain one alone
_COMPARE_SHARE = 0.4   # of a time budget, for the comparison that a search starts with
_FEWEST = 8            # configurations of that comparison: more come later, where time is short
_STACK_BYTES = 2 * 2**30
_ENOUGH = 0.5          # of the epochs asked for: what a wider network has to be able to train


def choose_settings(run: RunDirectory, prepared: PreparedTask, settings: Settings, pool: Pool, asked: Asked, budget: Budget,
                    tell: Callable[[str], None]) -> tuple[PreparedTask, Settings]:
    """Settings that fit the budget; chosen once and kept, so that a resumed run stands on the same ground."""
    known = run.load_job("foundation")
    if known is None:
        chosen = _choice(prepared, settings, pool, asked, budget, tell)
        run.save_job("foundation", {"settings": chosen.to_mapping()}, {})
        known = run.load_job("foundation")
        assert known is not None
    settings = Settings.from_mapping(known[0]["settings"])
    return prepared.with_folds(run.read_json("run.json")["seed"], settings.folds), settings


def _choice(prepared: PreparedTask, settings: Settings, pool: Pool, asked: Asked, budget: Budget,
            tell: Callable[[str], None]) -> Settings:
    widths: Sequence[tuple[int, ...]] = getattr(prepared.source.build, "widths", ((),))
    if asked.hidden:
        widths = (asked.hidden,)
    if budget.seconds is None:
        return replace(settings, hidden=widths[0], generation=settings.generation or 8)
    tell("measuring what an epoch costs")
    starts = len(_menu_starts(prepared, settings))
    best: Settings | None = None
    for hidden in widths:  # from the smallest
        candidate = replace(settings, hidden=tuple(hidden))
        each, size = _epoch_cost(prepared, candidate, pool)
        affordable = _COMPARE_SHARE * budget.seconds * pool.workers / each  # epochs of all folds and configurations
        first = int(np.clip(affordable / candidate.epochs, min(_FEWEST, starts), starts))
        allowed = affordable / first
        fitted = candidate.within(allowed, epochs=asked.epochs is None, folds=asked.folds is None and prepared.fixed is None,
                                  ladder=EPOCHS_FIRST)
        if best is not None and (fitted.folds < best.folds or fitted.epochs < _ENOUGH * settings.epochs):
            break
        training = each * fitted.epochs * fitted.folds / pool.workers
        generation = int(np.clip(0.1 * budget.seconds / training, 4, min(24, max(4, _STACK_BYTES / (size * 16 * fitted.folds)))))
        repeats = int(np.clip(0.1 * budget.seconds / (training * 8), 1, 3))
        best = replace(fitted, generation=generation, first=first, finalists=4 if repeats < 3 else 6, final_seeds=repeats)
    assert best is not None
    return best


def _menu_starts(prepared: PreparedTask, settings: Settings) -> list[object]:
    from wellfit.search.space import Space

    return list(Space(prepared.menu(settings)).starts())


def _epoch_cost(prepared: PreparedTask, settings: Settings, pool: Pool) -> tuple[float, int]:
    """Seconds of an epoch of one configuration on one fold, on one worker; and the network's parameters."""
    train, validation = prepared.split.folds[0]
    some = min(len(train), _PROBE_STEPS * settings.batch_size)
    scale = len(train) / some
    part = (train[:some], validation[: max(1, math.ceil(len(validation) / scale))])
    problem = replace(prepared.problem(replace(settings, epochs=3), (part,)), probe_rows=max(8, int(GLANCE / scale)))
    stack = ModuleStack(problem, [Member(Recipe(), prepared.source.learning_rate)])
    stack.threads = 1 if can_fork() else pool.workers
    stack.run_epoch()
    begun = time.perf_counter()
    stack.run_epoch()
    seconds = _SLACK * scale * (time.perf_counter() - begun) * (1.0 if can_fork() else pool.workers)
    return max(seconds, 1e-3), sum(p.numel() for p in stack.plan.model.parameters())
