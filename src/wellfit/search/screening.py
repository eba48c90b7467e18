"""Many configurations at a first glance: drawn at random or near good ones, trained on one fold, thinned early.

A model of the space (TPE) learns from tens of configurations; a compiled engine affords hundreds at a glance. What survives
the glance is trained on all folds like everything else, and only that is ever compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wellfit.search.configuration import Configuration
from wellfit.search.space import NOTHING, Space
from wellfit.search.trainer import Screened

RUNGS, KEEP = (0.125, 0.25, 0.5), 0.5
COST = RUNGS[0] + sum((after - before) * KEEP**n for n, (before, after) in
                      enumerate(zip(RUNGS, (*RUNGS[1:], 1.0), strict=True), 1))  # of one full training
FEWEST, MOST = 32, 768
_SPARSE = 0.6   # probability that a part is absent, so that recipes stay small
_NEAR = 0.5     # share drawn near the best known
_CHANGE = 0.2   # probability that a parameter of a neighbour is drawn anew
_STEP = 0.15    # of a parameter's range: how far a neighbour's parameter moves


class RandomTrial:
    """Answers a space's questions at random; near ``parameters`` where given."""

    def __init__(self, generator: np.random.Generator, parameters: Mapping[str, Any] | None = None):
        self._generator, self._near = generator, parameters

    def _kept(self, name: str) -> bool:
        return self._near is not None and name in self._near and self._generator.random() >= _CHANGE

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        if self._kept(name):
            return self._near[name]  # type: ignore[index]
        if choices[0] == NOTHING and self._generator.random() < _SPARSE:
            return NOTHING
        rest = choices[1:] if choices[0] == NOTHING else choices
        return rest[self._generator.integers(len(rest))]

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        ends = (math.log(low), math.log(high)) if log else (low, high)
        if self._kept(name):
            centre = math.log(self._near[name]) if log else self._near[name]  # type: ignore[index]
            value = float(np.clip(self._generator.normal(centre, _STEP * (ends[1] - ends[0])), *ends))
        else:
            value = float(self._generator.uniform(*ends))
        return min(max(math.exp(value) if log else value, low), high)


def draw(space: Space, count: int, seed: int, best: Sequence[Configuration]) -> list[Configuration]:
    """``count`` different configurations: half of them near the ``best`` known, the others anywhere."""
    generator = np.random.default_rng(seed)
    out: dict[Any, Configuration] = {}
    for _ in range(4 * count):
        if len(out) == count:
            break
        near = None
        if best and generator.random() < _NEAR:
            near = space.parameters(best[int(generator.integers(len(best)))])
        candidate = space.suggest(RandomTrial(generator, near))
        out.setdefault(candidate.key, candidate)
    return list(out.values())


def survivors(screened: Sequence[Screened], count: int) -> list[Configuration]:
    """The best of those that got to the end, by the fold they were looked at on."""
    finite = [s for s in screened if s.ended and math.isfinite(s.error)]
    return [s.configuration for s in sorted(finite, key=lambda s: (s.error, s.loss))[:count]]
