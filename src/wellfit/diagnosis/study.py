"""What is trained to find out what is wrong with a case, in the order of what each training tells.

First the case itself, with three seeds. Then variants of one seed: less data, other learning rates, other widths, with and without
regularization. Those that gained most are trained with more seeds, because the best of many is often only the luckiest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from wellfit.core.recipe import Recipe
from wellfit.diagnosis.allowance import Allowance
from wellfit.diagnosis.case import Case
from wellfit.diagnosis.contributions import Gain
from wellfit.diagnosis.laboratory import Laboratory, Outcome, Variant
from wellfit.diagnosis.remedies import Facts, Remedy, applicable, facts_of
from wellfit.search.prepare import PreparedTable
from wellfit.search.prepare_task import PreparedTask

AS_IS = "as it is"
RATE_FACTORS = (0.1, 10.0, 0.3, 3.0, 0.03, 30.0)
SHARES = (0.5, 0.25, 0.125)
_SEEDS = (0, 1, 2)
_MORE = (1, 2)
_REPEATS = 0.15            # share of what is left that the case itself may take for its other seeds
_LEAST_ROWS = 8            # of a part for the learning curve
_NARROW = 0.25
_WIDE, _WIDER_ONLY_TWICE, _WIDEST = 4, 64, 512  # a layer of more than 64 units is doubled: four times as wide costs sixteen times
_SMALL = 16                # a hidden layer of at most so many units may be what is too small
_LONGER = 4
_WAVES = (0.5, 0.55, 0.5)  # shares of what is left that go to new variants; the rest confirms the best
_REST = 0.7                # the same, of what is left after that
_STILL = 0.02
_LEARNED = 0.9             # the gap as a share of the error, from which on the training rows count as fitted
_CONFIRMED = 2             # variants of a family that are trained again


@dataclass
class Study:
    """All that was trained, by what it tells. Names are those of variants in ``laboratory.outcomes``.

    Attributes:
        rates: factor on the learning rate -> variant.
        widths: hidden widths -> variant.
        larger: a wider network with the first remedy: of a very small network, what it could become.
        lengths: factor on the epochs -> variant.
        lighter: variants with less regularization than the case.
        remedied: rule -> variant.
        shares: share of the training rows -> variants on disjoint parts.
        planned: all of them, the most telling first.
    """

    laboratory: Laboratory
    facts: Facts
    rates: dict[float, Variant] = field(default_factory=dict)
    widths: dict[tuple[int, ...], Variant] = field(default_factory=dict)
    larger: list[Variant] = field(default_factory=list)
    lengths: dict[float, Variant] = field(default_factory=dict)
    lighter: list[Variant] = field(default_factory=list)
    remedied: dict[str, tuple[Remedy, Variant]] = field(default_factory=dict)
    shares: dict[float, list[Variant]] = field(default_factory=dict)
    shuffled: Variant | None = None
    planned: list[Variant] = field(default_factory=list)
    noise: float = 0.0

    @property
    def base(self) -> Outcome:
        return self.laboratory.outcomes[AS_IS]

    @property
    def left_out(self) -> list[str]:
        """What was planned and has not been trained."""
        return [v.name for v in self.planned if self.outcome(v) is None]

    def train(self, variants: Sequence[Variant]) -> None:
        """Train variants with the first seed; of those that make zeros the weights are kept: what is left is worth a look."""
        self.laboratory.train(variants, weights=any(p.acts_as == "sparsity" for v in variants for p in v.recipe))

    def outcome(self, variant: Variant) -> Outcome | None:
        return self.laboratory.outcomes.get(variant.name)

    def gaps(self) -> list[float]:
        """Of every seed of the case: merit on other rows less merit on training rows, as a share of the former."""
        there = [self.laboratory.contributions.merit(p[None]) for p in self.base.judged]
        here = [self.laboratory.on_training.merit(p[None]) for p in self.base.learned]
        return [1 - b / max(a, 1e-12) for a, b in zip(there, here, strict=True)]

    def gain(self, variant: Variant) -> Gain | None:
        """How much better than the case it does on rows it was not trained on."""
        outcome = self.outcome(variant)
        if outcome is None:
            return None
        return self.laboratory.contributions.gain(self.base.judged, outcome.judged, self.noise)


def study(laboratory: Laboratory, allowance: Allowance) -> Study:
    """Train what the allowance pays for: the case in any case, and one remedy."""
    found = Study(laboratory, facts_of(laboratory.case))
    base = laboratory.variant(AS_IS)
    outcome = laboratory.train([base], _SEEDS[:1], tests=True, weights=True)[AS_IS]
    room = int(_REPEATS * allowance.left / max(allowance.price([base]), 1e-9)) if outcome.finite else 0
    if more := _SEEDS[1:1 + room]:
        laboratory.train([base], more, tests=True)
        found.noise = laboratory.contributions.seed_noise(outcome.judged)
    plan = found.planned = _plan(found)
    for share in _WAVES:  # what a training costs is known better after each
        chosen = allowance.first(plan, share, least=1 if share == _WAVES[0] else 0)
        if chosen:
            found.train(chosen)
            plan = plan[len(chosen):]
    _confirm(found, allowance)
    while chosen := allowance.first(plan, _REST):  # what the estimates were too careful for
        found.train(chosen)
        plan = plan[len(chosen):]
        _confirm(found, allowance)
    return found


def _plan(found: Study) -> list[Variant]:
    """Variants, the most telling first."""
    laboratory, case = found.laboratory, found.laboratory.case
    for factor in RATE_FACTORS:
        found.rates[factor] = laboratory.variant(f"learning rate x {factor:g}", learning_rate=case.learning_rate * factor)
    rules = applicable(case, found.facts, ["overfits", "too_little_data"])
    for rule in rules:
        found.remedied[rule.id] = rule, laboratory.variant(rule.id, recipe=rule.recipe(case.recipe),
                                                           learning_rate=case.learning_rate * rule.learning_rate)
    if len(case.recipe):
        found.lighter = [laboratory.variant("without regularization", recipe=_bare(case))]
        found.lighter += [laboratory.variant(f"without {p.name}", recipe=case.recipe.without(p.name))
                          for p in case.recipe if len(case.recipe) > 1 and p.name not in _STRUCTURE]
    for share in SHARES:
        if found.facts["rows"] * share < max(_LEAST_ROWS, found.facts["classes"]):
            break
        parts = 2 if share > 0.25 else 1
        found.shares[share] = [laboratory.variant(f"{share:g} of the rows ({part + 1})", share=share, part=part)
                               for part in range(parts)]
    for hidden in _other_widths(case):
        found.widths[hidden] = laboratory.variant(f"widths {'-'.join(map(str, hidden))}", hidden=hidden)
    if rules and case.settings.hidden and min(case.settings.hidden) <= _SMALL:
        wide = (64, 64)
        rule = next((r for r in rules if "dropout" in r.parts), rules[0])
        found.larger = [laboratory.variant(f"widths 64-64 and {rule.id}", hidden=wide, recipe=rule.recipe(case.recipe),
                                           learning_rate=min(case.learning_rate, 1e-3))]
    found.lengths = {float(_LONGER): laboratory.variant("four times as long", epochs=_LONGER * case.settings.epochs)}
    if isinstance(case.prepared, PreparedTable):  # the examples of a task may answer with anything as their target
        found.shuffled = laboratory.variant("shuffled targets", shuffled=True)
    rates = list(found.rates.values())
    remedied = [v for _, v in found.remedied.values()]
    halves = [v for s, vs in found.shares.items() if s == 0.5 for v in vs]
    fewer = [v for s, vs in found.shares.items() if s < 0.5 for v in vs]
    narrower = [v for h, v in found.widths.items() if sum(h) < sum(case.settings.hidden)]
    wider = [v for h, v in found.widths.items() if sum(h) > sum(case.settings.hidden)]
    longer, shuffled = list(found.lengths.values()), [found.shuffled] if found.shuffled else []
    if found.base.finite and min(found.gaps()) >= _LEARNED:  # it has fitted its rows: not rate, width or length is what it lacks
        return [*remedied[:2], *halves[:1], *fewer[:1], *remedied[2:3], *halves[1:], *found.lighter[:1], *narrower,
                *remedied[3:5], *fewer[1:], *rates[:2], *remedied[5:], *found.lighter[1:], *rates[2:4], *wider, *found.larger,
                *rates[4:], *shuffled, *longer]
    soon, late = (longer, []) if still_learning(found.base.history["train_loss"]) else ([], longer)
    return [*soon, *remedied[:1], *found.lighter[:1], *rates[:2], *halves, *fewer[:1], *remedied[1:2], *wider, *found.larger,
            *fewer[1:], *rates[2:4], *remedied[2:4], *narrower, *remedied[4:], *rates[4:], *found.lighter[1:], *shuffled, *late]


def still_learning(train_loss: Sequence[float]) -> bool:
    """Whether the last fifth of the epochs took off more than a fiftieth of the loss that training began with.

    >>> still_learning([2.3, 2.0, 1.8, 1.6, 1.5]), still_learning([2.3, 0.3, 0.02, 0.01, 0.005])
    (True, False)
    """
    back = max(1, len(train_loss) // 5)
    return len(train_loss) > back and train_loss[-1 - back] - train_loss[-1] > _STILL * train_loss[0]


_STRUCTURE = ("batch_norm", "skip_connections", "early_stopping", "ema", "swa")


def _bare(case: Case) -> Recipe:
    """What is left of the recipe without that which holds a fit back: normalisation and skips stay, they are the network's."""
    return Recipe(*[p for p in case.recipe if p.name in ("batch_norm", "skip_connections")])


def _other_widths(case: Case) -> list[tuple[int, ...]]:
    hidden = tuple(case.settings.hidden)
    if not hidden or (isinstance(case.prepared, PreparedTask) and not hasattr(case.prepared.source.build, "with_widths")):
        return []
    narrow = tuple(max(4, round(w * _NARROW)) for w in hidden)
    wide = tuple(max(16, min(_WIDEST, w * (_WIDE if w <= _WIDER_ONLY_TWICE else 2))) for w in hidden)
    if len(wide) < 2:
        wide = (wide[0], wide[0])
    return [h for h in (narrow, wide) if h != hidden and (sum(h) < sum(hidden) or sum(h) >= 1.5 * sum(hidden))]


def _confirm(found: Study, allowance: Allowance) -> None:
    """The best of every family once more, with other seeds."""
    families: Sequence[Sequence[Variant]] = (
        list(found.rates.values()), [v for _, v in found.remedied.values()], found.lighter,
        [*found.widths.values(), *found.larger, *found.lengths.values()])
    again: list[Variant] = []
    for family in families:
        gains = [(g.value, v) for v in family if (g := found.gain(v)) is not None]
        best = sorted(gains, key=lambda pair: -pair[0])[:_CONFIRMED]
        again += [v for value, v in best if value > 0 and len(found.laboratory.outcomes[v.name].seeds) == 1]
    if again := allowance.first(again, seeds=len(_MORE)):
        found.laboratory.train(again, _MORE)
