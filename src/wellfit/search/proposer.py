"""Optuna proposes, through ask and tell; trials come in batches, because members train in stacks."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import optuna

from wellfit.search.configuration import Configuration
from wellfit.search.space import Space


class Proposer:
    """Asks Optuna's TPE for batches of configurations and tells it how they did.

    The study lives in memory: a resumed run asks and tells the same sequence again, which restores the sampler exactly and
    costs milliseconds, where a database costs a tenth of a second a trial.
    """

    def __init__(self, space: Space, seed: int, startup: int = 10):
        self.space = space
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # parameters of absent parts are sampled alone: as meant
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True,
                                                 n_startup_trials=startup)
        self._open: dict[int, optuna.trial.Trial] = {}
        self.study = optuna.create_study(sampler=sampler, direction="minimize")

    def enqueue(self, starts: Sequence[Configuration]) -> None:
        """Configurations to propose first."""
        for start in starts:
            self.study.enqueue_trial(self.space.parameters(start))

    def ask(self, count: int) -> list[tuple[int, Configuration]]:
        """The next ``count`` configurations with their trial numbers."""
        out = []
        for _ in range(count):
            trial = self.study.ask()
            self._open[trial.number] = trial
            out.append((trial.number, self.space.suggest(trial)))
        return out

    def tell(self, number: int, error: float, *, pruned_at: int | None = None) -> None:
        """How a trial did; a trial left behind at a rung counts with its error there."""
        state = optuna.trial.TrialState
        if error != error:  # nan: diverged
            self.study.tell(number, state=state.FAIL)
        elif pruned_at is not None:
            self._open[number].report(error, pruned_at)
            self.study.tell(number, state=state.PRUNED)
        else:
            self.study.tell(number, error)
        del self._open[number]
