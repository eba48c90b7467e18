"""Choosing: ranking with uncertainty, the one-standard-error rule, attribution, and a greedy ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wellfit.search.configuration import Configuration
from wellfit.search.score import Scorer, interval
from wellfit.search.trainer import Outcome


@dataclass
class Candidate:
    """A configuration with all its outcomes (one per seed)."""

    configuration: Configuration
    outcomes: list[Outcome]

    @property
    def usable(self) -> bool:
        return bool(self.outcomes) and all(o.usable for o in self.outcomes)

    @property
    def error(self) -> float:
        """Mean over seeds."""
        return float(np.mean([o.error for o in self.outcomes]))

    @property
    def merit(self) -> float:
        """What choices rank by, the mean over seeds (see ``Scorer.merit``)."""
        return float(np.mean([o.merit for o in self.outcomes]))

    @property
    def rows(self) -> np.ndarray:
        """(seeds, n) contributions."""
        return np.stack([o.rows for o in self.outcomes])  # type: ignore[misc]

    @property
    def predictions(self) -> np.ndarray:
        """Mean prediction over seeds, (n, C)."""
        return np.mean([o.predictions for o in self.outcomes], axis=0)  # type: ignore[arg-type]

    @property
    def epochs(self) -> float:
        return float(np.mean([o.epochs for o in self.outcomes]))


def spread(scorer: Scorer, candidate: Candidate, resamples: np.ndarray) -> float:
    """Standard error of a candidate's mean error over the judged rows."""
    return float(scorer.errors(candidate.rows, resamples).mean(axis=1).std())


def paired(scorer: Scorer, worse: Candidate, better: Candidate, resamples: np.ndarray) -> tuple[float, tuple[float, float]]:
    """How much smaller the error of ``better`` is, with a 95% interval over rows and seeds drawn together.

    Rows are resampled, the same for both; seeds are paired and add the variance of their mean difference.
    """
    shared = min(len(worse.outcomes), len(better.outcomes))
    first, second = worse.rows[:shared], better.rows[:shared]
    ones = scorer.errors(first)[0] - scorer.errors(second)[0]
    draws = (scorer.errors(first, resamples) - scorer.errors(second, resamples)).mean(axis=1)
    of_seeds = float(np.var(ones, ddof=1) / shared) if shared > 1 else 0.0
    return float(ones.mean()), interval(float(ones.mean()), draws, of_seeds)


def paired_merit(scorer: Scorer, worse: Candidate, better: Candidate, resamples: np.ndarray) -> tuple[float, tuple[float, float]]:
    """:func:`paired` of the merit, which tells apart what an accuracy over few rows cannot."""
    weights = scorer.merit_weights
    shared = min(len(worse.outcomes), len(better.outcomes))
    differences = np.stack([scorer.merit_rows(a.predictions, weights) - scorer.merit_rows(b.predictions, weights)  # type: ignore[arg-type]
                            for a, b in zip(worse.outcomes[:shared], better.outcomes[:shared], strict=True)])
    ones = differences @ weights
    counts = resamples * weights
    draws = (counts @ differences.mean(axis=0)) / counts.sum(axis=1)
    of_seeds = float(np.var(ones, ddof=1) / shared) if shared > 1 else 0.0
    return float(ones.mean()), interval(float(ones.mean()), draws, of_seeds)


def best_supported(scorer: Scorer, finalists: Sequence[Candidate], plain: Candidate, resamples: np.ndarray) -> Candidate:
    """The finalist with the smallest merit that has shown more than luck; else ``plain``.

    On few rows the best of hundreds is often the luckiest. So its gain over ``plain`` is to be at least one standard error of that
    gain in the metric; or, where the metric counts rows and ties are many, two in the merit, with a metric that is no worse
    (measured by benchmarks/choice.py).
    """
    for candidate in sorted(finalists, key=lambda c: c.merit):
        if candidate.configuration.key == plain.configuration.key:
            continue
        gain = paired(scorer, plain, candidate, resamples)
        if clear(gain, 1):
            return candidate
        if scorer.counts_rows and gain[0] >= 0 and clear(paired_merit(scorer, plain, candidate, resamples), 2):
            return candidate
    return plain


def clear(gain: tuple[float, tuple[float, float]], times: float) -> bool:
    """Whether a gain is so many of its standard errors above zero."""
    effect, (low, high) = gain
    return effect > 0 and effect >= times * (high - low) / (2 * 1.96)


def simplest_within(candidates: Sequence[Candidate], best: Candidate, margin: float) -> Candidate:
    """The candidate with the fewest parts whose error is within ``margin`` of the best; ties go to the smaller error."""
    close = [c for c in candidates if c.usable and c.error <= best.error + margin] or [best]
    return min(close, key=lambda c: (len(c.configuration.recipe), c.merit))


def ensemble_weights(scorer: Scorer, candidates: Sequence[Candidate], equal: int = 10) -> dict[int, float]:
    """Positions and weights of an ensemble: half grown greedily, half the ``equal`` best alike.

    On a few hundred rows greed fits the judged rows; the plain mean of the best does not, but takes no account of how they
    complement each other. Their mean was at least as good as either on the tables we compared them on.
    """
    greedy = greedy_ensemble(scorer, candidates)
    total = sum(greedy.values())
    order = sorted(range(len(candidates)), key=lambda i: candidates[i].merit)[:equal]
    weights = {i: 0.5 * times / total for i, times in greedy.items()}
    for i in order:
        weights[i] = weights.get(i, 0.0) + 0.5 / len(order)
    return dict(sorted(weights.items()))


def greedy_ensemble(scorer: Scorer, candidates: Sequence[Candidate], rounds: int = 15, start: int = 3) -> dict[int, int]:
    """Positions and multiplicities of an ensemble grown greedily, with replacement, on the judged rows.

    Begins with the ``start`` best, then adds whatever improves the merit most. (Caruana et al. 2004.)
    """
    order = sorted(range(len(candidates)), key=lambda i: candidates[i].merit)
    predictions = [candidates[i].predictions for i in range(len(candidates))]
    judge = scorer.merit
    picked = order[: min(start, len(order))]
    total = np.sum([predictions[i] for i in picked], axis=0)
    best, best_picked = judge(total / len(picked)), list(picked)
    while len(picked) < rounds:
        scores = [(judge((total + predictions[i]) / (len(picked) + 1)), i) for i in order]
        score, winner = min(scores)
        picked.append(winner)
        total = total + predictions[winner]
        if score <= best:
            best, best_picked = score, list(picked)
    return {i: best_picked.count(i) for i in sorted(set(best_picked))}
