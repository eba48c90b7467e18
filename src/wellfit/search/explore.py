"""Compares what is known, proposes what may be better, glances at much more, until the search's share of the budget is spent."""

from __future__ import annotations

import time

from wellfit.core.recipe import Recipe
from wellfit.search.configuration import Configuration
from wellfit.search.proposer import Proposer
from wellfit.search.score import standard_error
from wellfit.search.screening import COST, FEWEST, KEEP, MOST, RUNGS, draw, survivors
from wellfit.search.selection import Candidate
from wellfit.search.session import Session
from wellfit.search.trainer import Outcome

_RUNGS = (0.25, 0.5)
_KEEP = 0.5
_PARTS, _REFITS = 6, 40  # that a chosen recipe has, and that a run ends with, roughly
_SCREEN_SHARE, _PARENTS = 0.7, 8  # of a generation's epochs; configurations that new ones are drawn near to


class Exploration:
    """The search proper.

    Attributes:
        outcomes: of every configuration trained on all folds, by its number.
        glimpsed: configurations that were looked at on one fold and went no further.
    """

    def __init__(self, session: Session):
        self.session = session
        self.run, self.settings, self.budget = session.run, session.settings, session.budget
        self.trainer, self.listener, self.clock, self.seed = session.trainer, session.listener, session.clock, session.seed
        self.space, self.scorer, self.resamples = session.space, session.scorer, session.resamples
        self.outcomes: dict[int, Outcome] = {}
        self.glimpsed = 0
        self._generation_epochs = 0

    def explore(self) -> list[Candidate]:
        """Compare, then search until the budget says so; the finished configurations, the best first."""
        self.listener.stage("comparing methods")
        self.session.tick()
        proposer = Proposer(self.space, self.seed)
        starts = self.space.starts()
        wanted = self.budget.configurations
        if wanted is not None and wanted < len(starts):
            order = {"unregularized": 0, "combination": 1}
            starts = sorted(starts, key=lambda c: order.get(c.origin, 2))[:wanted]
        proposer.enqueue(starts)
        generation, count = 0, min(len(starts), self.settings.first or len(starts))
        while count > 0:
            job = f"search-{generation:03d}"
            if not self.run.has_job(job) and generation > 0 and self.session.time_is_up(self.clock.search):
                break
            if generation > 0:
                with self.session.interruptible():
                    proposer.enqueue(self._screen(generation, count // 2))
                if self.session.interrupted:
                    break
            batch = proposer.ask(count)
            # trials are numbered in the order in which they were put in: the starts come first
            batch = [(number, starts[number] if number < len(starts) else proposed) for number, proposed in batch]
            finished = False
            with self.session.interruptible():
                self._generation(job, generation, batch, proposer)
                finished = True
            if not finished:
                break
            generation += 1
            self.listener.stage("searching")
            count = self.settings.together
            if wanted is not None:
                count = min(count, wanted - len(self.outcomes))
        if not self._candidates():
            self._only_unregularized()
        return self._candidates()

    def _generation(self, job: str, generation: int, batch: list[tuple[int, Configuration]], proposer: Proposer) -> None:
        epochs = self.trainer.problem.epochs
        rungs = sorted({max(1, round(share * epochs)) for share in _RUNGS} - {epochs})
        if self.budget.seconds is not None:
            rungs = sorted({1, *rungs} - {epochs})  # an early look at the clock
        # what is compared in any case; an early look would be unfair to parts that act late, such as a rising sparsity. What a menu
        # with leading methods left for later is not: where trainings are dear, it would take the time of all combinations
        waited = generation > 0 and bool(self.space.menu.leading)
        protected = [] if waited else [i for i, (_, c) in enumerate(batch) if c.origin != "search"]
        begun, epochs_before, trains = time.monotonic(), self.trainer.member_epochs, not self.run.has_job(job)
        end = self.clock.search if generation else self.clock.repeat
        results = self.trainer.evaluate(job, [c for _, c in batch], rungs=rungs, keep=_KEEP, protected=protected,
                                        deadline=self.clock.deadline(end))
        self._generation_epochs = self.trainer.member_epochs - epochs_before
        if trains:
            self.clock.timed(time.monotonic() - begun, self._generation_epochs / epochs, self._trainings_to_come())
        rows = []
        for (number, configuration), (outcome,) in zip(batch, results, strict=True):
            if not outcome.finished:
                continue  # the deadline came first
            proposer.tell(number, outcome.merit, pruned_at=outcome.pruned_at)
            self.outcomes[number] = outcome
            rows.append({"number": number, "recipe": configuration.recipe.to_mapping(),
                         "learning_rate": configuration.learning_rate, "origin": configuration.origin,
                         "seed": self.seed, "folds": len(self.trainer.problem.folds),
                         "validation": self.scorer.score(outcome.error), "pruned": outcome.pruned_at is not None,
                         "epochs": outcome.pruned_at or outcome.epochs, "history": outcome.history,
                         "standard_error": None if outcome.rows is None else
                         standard_error(self.scorer, outcome.rows, self.resamples[:100]),
                         "seconds": (time.monotonic() - begun) / len(batch)})
        self.run.append_trials(rows)
        self.session.done = len(self.outcomes)
        self.session.tick()
        self._report_score()

    def _trainings_to_come(self) -> float:
        """Trainings (of one configuration on one fold) after the search: finalists, attribution, refits."""
        settings, folds = self.settings, len(self.trainer.problem.folds)
        repeats = (settings.finalists + 2 + _PARTS) * settings.final_seeds * folds
        return repeats + _REFITS * folds / max(1, folds - 1)

    def _screen(self, generation: int, wanted: int) -> list[Configuration]:
        """A first look at as many configurations as cost a share of what the last generation did; the best of them.

        With work as the budget there is none: there a configuration is one that was trained on all folds.
        """
        if self.budget.seconds is None or wanted < 1:
            return []
        job = f"screen-{generation:03d}"
        planned = self.run.load_job(f"{job}-size")
        if planned is None:
            count = int(_SCREEN_SHARE * self._generation_epochs / (self.settings.epochs * COST))
            planned = ({"size": min(count, MOST) if count >= FEWEST else 0}, {})
            self.run.save_job(f"{job}-size", *planned)
        if not planned[0]["size"]:
            return []
        best = [c.configuration for c in self._candidates()[:_PARENTS]]
        drawn = draw(self.space, planned[0]["size"], self.seed * 1000 + generation, best)
        epochs, parts = self.settings.epochs, len(self.trainer.problem.folds)
        rungs = sorted({max(1, round(share * epochs)) for share in RUNGS} - {epochs})
        looked = self.trainer.screen(job, drawn, generation % parts, rungs=rungs, keep=KEEP,
                                     deadline=self.clock.deadline(self.clock.search))
        self.run.append_screened(generation, [
            {"recipe": s.configuration.recipe.to_mapping(), "learning_rate": s.configuration.learning_rate, "fold": s.part,
             "epochs": s.epochs, "validation": self.scorer.score(s.error), "pruned": not s.ended} for s in looked])
        promoted = survivors(looked, wanted)
        self.glimpsed += len(looked) - len(promoted)
        return promoted

    def _only_unregularized(self) -> None:
        """Even a budget too small for anything gives the unregularized network."""
        with self.session.interruptible():
            plain = Configuration(Recipe(), self.space.menu.default_rate, "unregularized")
            results = self.trainer.evaluate("unregularized", [plain])
            self.outcomes[0] = results[0][0]

    def _report_score(self) -> None:
        usable = [o for o in self.outcomes.values() if o.usable]
        plain = next((o for o in usable if o.configuration.origin == "unregularized"), None)
        if usable and plain:
            best = min(usable, key=lambda o: o.merit)
            shown = [f"{self.scorer.score(o.error):.4g}" for o in (best, plain)]
            self.listener.score(shown[0], shown[1], len(self.outcomes))

    def _candidates(self) -> list[Candidate]:
        """Finished configurations, the best first."""
        usable = [o for _, o in sorted(self.outcomes.items()) if o.usable]
        return sorted((Candidate(o.configuration, [o]) for o in usable), key=lambda c: c.merit)
