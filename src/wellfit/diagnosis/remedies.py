"""The rule table of what is prescribed when (``remedies.yaml``), read and matched against the facts of a case."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from wellfit.core.recipe import Recipe
from wellfit.core.registry import lookup
from wellfit.core.schedule import WarmUp
from wellfit.diagnosis.case import Case
from wellfit.search.prepare_task import PreparedTask

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Remedy:
    """One rule: under which facts which regularizers answer which causes, and why anybody believes so.

    Attributes:
        id: name of the rule.
        causes: what it answers.
        when: conditions on facts: a list of allowed values, or a comparison such as ">= 0.1".
        parts: regularizers with their settings.
        learning_rate: factor on the learning rate of the case.
        warm: of a regularizer: over which share of the run its strength rises.
        why, evidence: in words, and where it is shown.
        expected: (gain, low, high) in points of the metric from a publication, or None.
    """

    id: str
    causes: tuple[str, ...]
    when: Mapping[str, Any]
    parts: Mapping[str, Mapping[str, Any]]
    learning_rate: float = 1.0
    warm: Mapping[str, float] | None = None
    why: str = ""
    evidence: str = ""
    expected: tuple[float, float, float] | None = None

    def applies(self, facts: Facts) -> bool:
        """Whether all conditions hold. A fact that is not known fails a comparison.

        >>> Remedy("a", (), {"rows": "< 100", "kind": ["rows"]}, {}).applies({"rows": 50, "kind": "rows"})
        True
        """
        return all(_holds(wanted, facts.get(name)) for name, wanted in self.when.items())

    def recipe(self, beside: Recipe = Recipe()) -> Recipe:  # noqa: B008 - a recipe is frozen
        """The remedy added to a recipe, whose own parts give way: those of the same name, and those that cannot stand beside it.

        >>> lasso = Remedy("a", (), {}, {"l1": {"strength": 0.001}})
        >>> [p.name for p in lasso.recipe(Recipe(lookup("elastic_net")(0.01), lookup("dropout")(0.2)))]
        ['dropout', 'l1']
        """
        own = [_made(name, settings, (self.warm or {}).get(name)) for name, settings in self.parts.items()]
        against = {*self.parts, *(other for part in own for other in part.conflicts)}
        return Recipe(*[p for p in beside if p.name not in against and not self.parts.keys() & p.conflicts.keys()], *own)


def _holds(wanted: Any, fact: Any) -> bool:
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return fact in wanted
    if fact is None:
        return False
    sign, _, number = str(wanted).partition(" ")
    if sign in _COMPARE:
        return _COMPARE[sign](float(fact), float(number))
    return float(fact) == float(wanted)


def _made(name: str, settings: Mapping[str, Any], warm: float | None) -> Any:
    values = dict(settings)
    if warm is not None:
        values = {k: WarmUp(float(v), fraction=warm) if k == "strength" else v for k, v in values.items()}
    return lookup(name)(**values)


@cache
def remedies() -> tuple[Remedy, ...]:
    """All rules, in the order in which they are tried."""
    import yaml

    text = files("wellfit.diagnosis").joinpath("remedies.yaml").read_text(encoding="utf-8")
    return tuple(Remedy(**{**row, "causes": tuple(row["causes"]),
                           "expected": tuple(row["expected"]) if "expected" in row else None})
                 for row in yaml.safe_load(text)["rules"])


def applicable(case: Case, facts: Facts, causes: Sequence[str]) -> list[Remedy]:
    """Rules that answer one of the causes and fit the case: its facts, and what its network and its task allow."""
    menu = case.prepared.menu(case.settings)
    refused = set(menu.refused)
    return [r for r in remedies() if set(r.causes) & set(causes) and r.applies(facts) and not refused & set(r.parts)]


def facts_of(case: Case) -> dict[str, Any]:
    """What the rules ask about."""
    prepared = case.prepared
    rows = min(len(train) for train, _ in case.folds)
    facts: dict[str, Any] = {"kind": "rows", "rows": rows, "classes": prepared.classes,
                             "parameters_per_row": prepared.parameters(case.settings) / rows,
                             "steps_per_epoch": max(1, rows // case.settings.batch_size), "noise": 0.0}
    if isinstance(prepared, PreparedTask):
        traits = prepared.traits
        return {**facts, "kind": prepared.kind, "layers": traits.layers, "normalised": int(bool(traits.norms)),
                "attention": int(bool(traits.attention)), "recurrent": int("recurrent" in traits.kinds),
                "convolution": int("convolution" in traits.kinds)}
    inputs = int(prepared.network(case.settings)["inputs"])
    return {**facts, "inputs": inputs, "inputs_per_row": inputs / rows, "layers": 1 + len(case.settings.hidden),
            "normalised": int("batch_norm" in case.recipe)}
