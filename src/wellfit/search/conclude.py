"""From the finished configurations to what is reported: repeat, choose, attribute, refit, and read the test rows once."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import torch

from wellfit.core.registry import lookup
from wellfit.population.problem import Member
from wellfit.population.tiers import AnyProblem, tier_of
from wellfit.search.configuration import Configuration
from wellfit.search.selection import Candidate, best_supported, ensemble_weights, paired, simplest_within, spread
from wellfit.search.session import Session
from wellfit.search.summary import Findings, networks_of
from wellfit.search.trainer import Fit, Outcome

_ENSEMBLE_POOL = 24
_MOST_FINAL_SEEDS = 12   # with each the rows are divided anew: a repeated cross-validation
_FEW_SEEDS = 6          # of these, for what each part buys and for the ensemble


class Conclusion:
    """The end of a search."""

    def __init__(self, session: Session):
        self.session = session
        self.run, self.prepared, self.settings = session.run, session.prepared, session.settings
        self.trainer, self.listener, self.clock, self.seed = session.trainer, session.listener, session.clock, session.seed
        self.space, self.scorer, self.resamples = session.space, session.scorer, session.resamples

    def conclude(self, findings: Findings) -> None:
        """Fill ``findings``, which hold the finished configurations."""
        finalists = self._repeat(findings.candidates)
        self._choose(findings, finalists, findings.candidates)
        self._refit(findings, findings.candidates)

    def _repeat(self, known: list[Candidate]) -> list[Candidate]:
        """The finalists and the unregularized network again, with new seeds and the rows divided anew: the choice is made on
        these."""
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
                if self.session.time_is_up(self.clock.repeat) or (more and not self.clock.leaves(2 * took, self.clock.repeat)):
                    break
            self.listener.stage("repeating the finalists")
            begun, outcomes = time.monotonic(), []
            with self.session.interruptible():
                outcomes = [o for (o,) in self.trainer.evaluate(job, configurations, [seed],
                                                                deadline=self.clock.deadline(self.clock.repeat))]
                self.session.tick()
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
        # the mean of a dozen networks would pass for one that is better than it is
        few = Candidate(best.configuration, best.outcomes[:_FEW_SEEDS])
        weights = ensemble_weights(self.scorer, [few, *pool])
        findings.ensemble = [([best, *pool][i], weight) for i, weight in weights.items()]

    def _attribute(self, findings: Findings, best: Candidate, margin: float) -> Candidate:
        """Each part left out, and the learning rate at its default, with the same seeds; drop what buys nothing."""
        recipe, rate = best.configuration.recipe, best.configuration.learning_rate
        compared = Candidate(best.configuration, best.outcomes[:_FEW_SEEDS])
        seeds = [o.seed for o in compared.outcomes]
        variants: list[tuple[str, str, Configuration]] = []
        for part in recipe:
            left = recipe.without(part.name)
            shown = ", ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}"
                              for k, v in part.values_at(1.0).__dict__.items() if k != "members" and v is not None)
            variants.append((part.name, shown, Configuration(left, rate)))
        usual = self.space.menu.default_rate
        if rate != usual:
            variants.append(("learning_rate", f"{rate:.3g} instead of {usual:g}", Configuration(recipe, usual)))
        if not variants or (not self.run.has_job("attribution") and self.session.time_is_up(self.clock.repeat + 0.02)):
            return best
        self.listener.stage("what each part buys")
        results: list[list[Outcome]] = []
        with self.session.interruptible():
            results = self.trainer.evaluate("attribution", [v for *_, v in variants], seeds,
                                            deadline=self.clock.deadline(self.clock.attribute))
            self.session.tick()
        useless = []
        # trained seed after seed: where the deadline came first, the seeds before it are compared
        left_out = [(name, shown, Candidate(configuration, [o for o in outcomes if o.finished]))
                    for (name, shown, configuration), outcomes in zip(variants, results, strict=False)]
        for name, shown, without in left_out:
            if not without.usable:
                continue
            effect, ci = paired(self.scorer, without, compared, self.resamples)
            keep = effect > 0
            findings.attribution.append({"regularizer": name, "value": shown, "effect": effect, "ci": ci, "keep": keep})
            if not keep and name != "learning_rate":
                useless.append(name)
        leaner = Configuration(recipe.without(*useless), rate, best.configuration.origin)
        if not useless or leaner.recipe == recipe:
            return best
        single = [c for n, _, c in left_out if [n] == useless and c.configuration.recipe == leaner.recipe]
        candidate = Candidate(leaner, single[0].outcomes) if single else None
        if candidate is None and (self.run.has_job("leaner") or not self.session.time_is_up(self.clock.attribute)):
            with self.session.interruptible():
                candidate = Candidate(leaner, self.trainer.evaluate("leaner", [leaner], seeds,
                                                                    deadline=self.clock.deadline(self.clock.attribute))[0])
        if candidate is not None and candidate.usable and candidate.merit <= compared.merit + 0.25 * margin:
            findings.dropped = useless
            return candidate
        return best

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
        self.session.tick()
        self.listener.stage("the linear model, and the test rows, once")
        findings.fits = {(f.configuration.key, f.seed): f for f in fits if f.predictions is not None}
        findings.linear = self.prepared.baseline(self.seed)

    def _waves(self, problem: AnyProblem, order: list[tuple[Candidate, int]], test: torch.Tensor) -> list[Fit]:
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
                with self.session.interruptible():
                    fits += self.trainer.refit(job, problem, jobs, test, self.clock.deadline(self.clock.latest) if wave else None)
                    done = True
                if done or wave:
                    break
            order, wave = order[size:], wave + 1
            stacked = any(tier_of(problem, Member(c.recipe, c.learning_rate)) == "reference" for c, *_ in jobs)
            size = self._affordable(len(order), (time.monotonic() - begun) / len(jobs), stacked)
            self.session.tick()
        return fits

    def _affordable(self, left: int, each: float, stacked: bool) -> int:
        """How many of the refits left to train next, at ``each`` seconds; stacked tensors cost a third each when there are many."""
        deadline = self.clock.deadline(self.clock.total)
        if self.session.interrupted:
            return 0
        if deadline is None:
            return left
        number = int((deadline - time.monotonic()) / max(each * (0.35 if stacked else 1.0), 1e-3))
        return min(left, max(0, number), 24)
