"""The stages of a search: compare, propose, repeat the finalists, attribute, refit, and read the test rows once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from wellfit.core.recipe import Recipe
from wellfit.core.registry import lookup
from wellfit.population.problem import Problem
from wellfit.search.baseline import linear_predictions
from wellfit.search.clock import Clock
from wellfit.search.configuration import DEFAULT_RATE, Configuration
from wellfit.search.live import Listener
from wellfit.search.prepare import Prepared
from wellfit.search.proposer import Proposer
from wellfit.search.rundir import RunDirectory
from wellfit.search.score import standard_error
from wellfit.search.screening import COST, FEWEST, KEEP, MOST, RUNGS, draw, survivors
from wellfit.search.selection import Candidate, best_supported, ensemble_weights, paired, simplest_within, spread
from wellfit.search.settings import Budget, Settings
from wellfit.search.space import Space
from wellfit.search.summary import Findings, networks_of, write_artefacts
from wellfit.search.trainer import Fit, Outcome, Trainer

_RESAMPLES = 500
_RUNGS = (0.25, 0.5)
_KEEP = 0.5
_ENSEMBLE_POOL = 24
_PARTS, _REFITS = 6, 40  # that a chosen recipe has, and that a run ends with, roughly
_MOST_FINAL_SEEDS = 6
_SCREEN_SHARE, _PARENTS = 0.7, 8  # of a generation's epochs; configurations that new ones are drawn near to


def space_of(prepared: Prepared, settings: Settings, regularizers: list[str] | None) -> Space:
    """What is searched for this task and this network; an error when ``regularizers`` holds what fits neither."""
    keeps_width = any(a == b for a, b in zip(settings.hidden, settings.hidden[1:], strict=False))
    return Space(regression=not prepared.classes, keeps_width=keeps_width, only=tuple(regularizers) if regularizers else None)


class Search:
    """One search over one run directory. Every job's result is kept, so that a resumed search repeats none of them."""

    def __init__(self, run: RunDirectory, prepared: Prepared, settings: Settings, budget: Budget, trainer: Trainer,
                 listener: Listener, seed: int, regularizers: list[str] | None, started: float):
        if budget.configurations is not None:  # a small budget of work is not to be outweighed by what follows the search
            settings = replace(settings, finalists=min(settings.finalists, max(1, budget.configurations // 8)),
                               final_seeds=min(settings.final_seeds, 1 + budget.configurations // 24))
        self.run, self.prepared, self.settings, self.budget = run, prepared, settings, budget
        self.trainer, self.listener, self.seed = trainer, listener, seed
        self.trainer.on_progress = listener.progress
        self.space = space_of(prepared, settings, regularizers)
        self.scorer = trainer.scorer
        self.resamples = self.scorer.resamples(_RESAMPLES, seed)
        self.outcomes: dict[int, Outcome] = {}
        self.interrupted = False
        self.glimpsed = 0
        self._generation_epochs = 0
        self.clock = Clock(budget, started, float((run.load_job("clock") or ({"seconds": 0.0}, {}))[0]["seconds"]))

    def _time_is_up(self, share: float) -> bool:
        return self.interrupted or self.clock.up(share)

    def _tick(self) -> None:
        self.run.save_job("clock", {"seconds": self.clock.used}, {})
        self.listener.clock(self.clock.used, self.budget.seconds, len(self.outcomes), self.budget.configurations)

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Ctrl-C ends the stage, not the run: what is known so far goes on to the next one."""
        try:
            yield
        except KeyboardInterrupt:
            if self.interrupted:
                raise
            self.interrupted = True
            self.listener.stage("stopping: finishing with the best so far (Ctrl-C again to leave; the run can be resumed)")
            self.trainer.pool.restart()

    # ---- the stages

    def execute(self) -> None:
        """All stages, then the artefacts."""
        self.listener.stage("comparing methods")
        self._tick()
        self._search()
        findings = Findings(self.scorer, list(self.outcomes.values()), {}, glimpsed=self.glimpsed)
        best_known = self._candidates()
        if not best_known:
            self._search_unregularized()
            best_known = self._candidates()
        findings.candidates = best_known
        finalists = self._repeat(best_known)
        self._choose(findings, finalists, best_known)
        self._refit(findings, best_known)
        write_artefacts(self.run, self.prepared, self.settings, self.trainer, findings, self.clock.used, self.seed,
                        self.interrupted)
        if not self.interrupted:  # else it can still be resumed
            self.run.clean_up()

    def _search(self) -> None:
        proposer = Proposer(self.space, self.seed)
        starts = self.space.starts()
        wanted = self.budget.configurations
        if wanted is not None and wanted < len(starts):
            order = {"unregularized": 0, "combination": 1}
            starts = sorted(starts, key=lambda c: order.get(c.origin, 2))[:wanted]
        proposer.enqueue(starts)
        generation, count = 0, len(starts)
        while count > 0:
            job = f"search-{generation:03d}"
            if not self.run.has_job(job) and generation > 0 and self._time_is_up(self.clock.search):
                break
            if generation > 0:
                with self._interruptible():
                    proposer.enqueue(self._screen(generation, count // 2))
                if self.interrupted:
                    break
            batch = proposer.ask(count)
            if generation == 0:
                batch = [(number, start) for (number, _), start in zip(batch, starts, strict=True)]
            finished = False
            with self._interruptible():
                self._generation(job, generation, batch, proposer)
                finished = True
            if not finished:
                break
            generation += 1
            self.listener.stage("searching")
            count = self.settings.together
            if wanted is not None:
                count = min(count, wanted - len(self.outcomes))

    def _generation(self, job: str, generation: int, batch: list[tuple[int, Configuration]], proposer: Proposer) -> None:
        epochs = self.trainer.problem.epochs
        rungs = sorted({max(1, round(share * epochs)) for share in _RUNGS} - {epochs})
        if self.budget.seconds is not None:
            rungs = sorted({1, *rungs} - {epochs})  # an early look at the clock
        # what is compared in any case; an early look would be unfair to parts that act late, such as a rising sparsity
        protected = [i for i, (_, c) in enumerate(batch) if c.origin != "search"]
        begun, epochs_before, trains = time.monotonic(), self.trainer.member_epochs, not self.run.has_job(job)
        results = self.trainer.evaluate(job, [c for _, c in batch], rungs=rungs, keep=_KEEP, protected=protected,
                                        deadline=self.clock.deadline(self.clock.search if generation else self.clock.repeat))
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
        self._tick()
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

    def _search_unregularized(self) -> None:
        """Even a budget too small for anything gives the unregularized network."""
        with self._interruptible():
            results = self.trainer.evaluate("unregularized", [Configuration(Recipe(), DEFAULT_RATE, "unregularized")])
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

    def _repeat(self, known: list[Candidate]) -> list[Candidate]:
        """The finalists and the unregularized network again, with new seeds: the choice is made on these."""
        plain = next((c for c in known if c.configuration.origin == "unregularized"), None)
        chosen: list[Candidate] = []
        for candidate in known:
            if len(chosen) < self.settings.finalists and candidate.configuration.key not in {c.configuration.key for c in chosen}:
                chosen.append(candidate)
        margin = spread(self.scorer, known[0], self.resamples)
        simple = simplest_within(known, known[0], margin)
        for extra in (simple, plain):
            if extra is not None and extra.configuration.key not in {c.configuration.key for c in chosen}:
                chosen.append(extra)
        rounds = self._rounds([c.configuration for c in chosen])
        complete = [c for c in (Candidate(c.configuration, [r[n] for r in rounds]) for n, c in enumerate(chosen)) if c.usable]
        return complete if any(c.configuration.origin == "unregularized" for c in complete) and len(complete) > 1 else chosen

    def _rounds(self, configurations: list[Configuration]) -> list[list[Outcome]]:
        """All finalists with one new seed after the other, for as long as a whole round fits.

        A round that the deadline cut short is left out: who happened to be trained in time must not decide.
        """
        rounds: list[list[Outcome]] = []
        took = 0.0
        for seed in range(1, _MOST_FINAL_SEEDS + 1):
            job = f"finalists-{seed}"
            if not self.run.has_job(job):
                more = seed > self.settings.final_seeds
                if self._time_is_up(self.clock.repeat) or (more and not self.clock.leaves(2 * took, self.clock.repeat)):
                    break
            self.listener.stage("repeating the finalists")
            begun, outcomes = time.monotonic(), []
            with self._interruptible():
                outcomes = [o for (o,) in self.trainer.evaluate(job, configurations, [seed],
                                                                deadline=self.clock.deadline(self.clock.repeat))]
                self._tick()
            if not outcomes or not all(o.finished for o in outcomes):
                break
            took = time.monotonic() - begun
            rounds.append(outcomes)
        return rounds

    def _choose(self, findings: Findings, finalists: list[Candidate], known: list[Candidate]) -> None:
        best = min(finalists, key=lambda c: c.merit)
        margin = spread(self.scorer, best, self.resamples)
        findings.seeds = len(best.outcomes)
        findings.unregularized = next((c for c in finalists + known if c.configuration.origin == "unregularized"), best)
        best = best_supported(self.scorer, finalists, findings.unregularized, self.resamples)
        best = self._attribute(findings, best, margin)
        findings.best, findings.margin = best, margin
        findings.simplest = simplest_within([*finalists, best], best, margin)
        pool = [c for c in known if c.configuration.key != best.configuration.key][:_ENSEMBLE_POOL]
        candidates = [best, *pool]
        findings.ensemble = [(candidates[i], weight) for i, weight in ensemble_weights(self.scorer, candidates).items()]

    def _attribute(self, findings: Findings, best: Candidate, margin: float) -> Candidate:
        """Each part left out, and the learning rate at its default, with the same seeds; drop what buys nothing."""
        recipe, rate = best.configuration.recipe, best.configuration.learning_rate
        seeds = [o.seed for o in best.outcomes]
        variants: list[tuple[str, str, Configuration]] = []
        for part in recipe:
            left = recipe.without(part.name)
            shown = ", ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}"
                              for k, v in part.values_at(1.0).__dict__.items() if k != "members" and v is not None)
            variants.append((part.name, shown, Configuration(left, rate)))
        if rate != DEFAULT_RATE:
            variants.append(("learning_rate", f"{rate:.3g} instead of {DEFAULT_RATE:g}", Configuration(recipe, DEFAULT_RATE)))
        if not variants or (not self.run.has_job("attribution") and self._time_is_up(self.clock.repeat + 0.02)):
            return best
        self.listener.stage("what each part buys")
        results: list[list[Outcome]] = []
        with self._interruptible():
            results = self.trainer.evaluate("attribution", [v for *_, v in variants], seeds,
                                            deadline=self.clock.deadline(self.clock.attribute))
            self._tick()
        useless = []
        for (name, shown, configuration), outcomes in zip(variants, results, strict=False):
            without = Candidate(configuration, outcomes)
            if not without.usable:
                continue
            effect, ci = paired(self.scorer, without, best, self.resamples)
            keep = effect > 0
            findings.attribution.append({"regularizer": name, "value": shown, "effect": effect, "ci": ci, "keep": keep})
            if not keep and name != "learning_rate":
                useless.append(name)
        leaner = Configuration(recipe.without(*useless), rate, best.configuration.origin)
        if not useless or leaner.recipe == recipe:
            return best
        single = [Candidate(c, o) for (n, _, c), o in zip(variants, results, strict=False) if [n] == useless]
        candidate = Candidate(leaner, single[0].outcomes) if single and single[0].configuration.recipe == leaner.recipe else None
        if candidate is None and (self.run.has_job("leaner") or not self._time_is_up(self.clock.attribute)):
            with self._interruptible():
                candidate = Candidate(leaner, self.trainer.evaluate("leaner", [leaner], seeds,
                                                                    deadline=self.clock.deadline(self.clock.attribute))[0])
        if candidate is not None and candidate.usable and candidate.merit <= best.merit + 0.25 * margin:
            findings.dropped = useless
            return candidate
        return best

    # ---- the end

    def _refit(self, findings: Findings, known: list[Candidate]) -> None:
        """Train what is to be reported on all development rows, and read the test rows."""
        assert findings.best is not None and findings.unregularized is not None and findings.simplest is not None
        for name in sorted(self.space.allowed):
            alone = [c for c in known if set(c.configuration.parts) - set(lookup(name).requires) == {name}]
            if alone:
                findings.singles[name] = alone[0]
        singles = sorted(findings.singles.values(), key=lambda c: c.merit)
        both = (findings.unregularized, findings.best)
        wanted: list[tuple[Candidate, int]] = [(c, 0) for c in (*both, *singles[:1], findings.simplest)]
        wanted += [(c, s) for c, weight in findings.ensemble for s in range(networks_of(weight))]
        wanted += [(c, s) for s in range(1, self.settings.final_seeds) for c in both]
        wanted += [(c, 0) for c in singles]
        unique: dict[tuple[Any, int], tuple[Candidate, int]] = {}
        for candidate, seed in wanted:
            unique.setdefault((candidate.configuration.key, seed), (candidate, seed))
        order = list(unique.values())
        development, test = self.prepared.split.development, self.prepared.split.test
        problem = replace(self.prepared.problem(self.settings, ((development, development[:0]),)), probe_rows=4096)
        self.listener.stage("refitting on all development rows")
        fits = self._waves(problem, order, torch.from_numpy(test))
        self._tick()
        self.listener.stage("the linear model, and the test rows, once")
        findings.fits = {(f.configuration.key, f.seed): f for f in fits if f.predictions is not None}
        findings.linear = linear_predictions(self.prepared.inputs, self.prepared.table.y, development, test,
                                             classes=self.prepared.classes, balanced=self.prepared.weighting == "balanced",
                                             seed=self.seed)

    def _waves(self, problem: Problem, order: list[tuple[Candidate, int]], test: torch.Tensor) -> list[Fit]:
        """Refits in waves, the most important first. What a wave cost says how many more the time left allows; the first wave,
        the unregularized network and the best, is trained in any case."""
        fits: list[Fit] = []
        wave = 0
        size = 2
        while order and size > 0:
            job = f"refit-{wave}"
            if (planned := self.run.load_job(f"{job}-size")) is not None:  # what was begun before a kill goes on
                size = planned[0]["size"]
            else:
                self.run.save_job(f"{job}-size", {"size": size}, {})
            jobs = [(c.configuration, s, max(1, round(c.epochs)) if "early_stopping" in c.configuration.recipe else None)
                    for c, s in order[:size]]
            begun = time.monotonic()
            for _ in range(2):  # an interrupt starts the first wave again, once, and ends a later one
                done = False
                with self._interruptible():
                    fits += self.trainer.refit(job, problem, jobs, test, self.clock.deadline(self.clock.latest) if wave else None)
                    done = True
                if done or wave:
                    break
            order, wave = order[size:], wave + 1
            size = self._affordable(len(order), (time.monotonic() - begun) / len(jobs))
            self._tick()
        return fits

    def _affordable(self, left: int, each: float) -> int:
        """How many of the refits left to train next, at ``each`` seconds."""
        deadline = self.clock.deadline(self.clock.total)
        if self.interrupted:
            return 0
        if deadline is None:
            return left
        # single networks waste a stack's economy: many together cost a third each
        number = int((deadline - time.monotonic()) / max(each * 0.35, 1e-3))
        return min(left, max(0, number), 24)
