"""The joint, conditional space of which regularizers and how strong, with the learning rate inside it.

Ranges and scales come from the hyperparameters' own declarations. What is written here is only which parts are searched for
which task, which of them exclude each other, and where a search starts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from wellfit.core.hyper import Hyper, hypers
from wellfit.core.recipe import Recipe
from wellfit.core.registry import lookup
from wellfit.core.regularizer import Regularizer
from wellfit.core.schedule import Schedule, WarmUp
from wellfit.search.configuration import Configuration
from wellfit.search.menus import Choice, Menu, Strengths

NOTHING = "none"
_FIRST_COMBINATIONS = 5


class Suggests(Protocol):
    """The part of an Optuna trial that is used here."""

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any: ...

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...


class Space:
    """The search space of one task.

    Args:
        menu: what may be combined.
        only: names of the regularizers to search (default: all of the menu).
    """

    def __init__(self, menu: Menu, only: tuple[str, ...] | None = None):
        self.menu = menu if only is None else menu.only(only)
        self.choices = self.menu.choices
        self.allowed = set(self.menu.methods)

    # ---- from the proposer

    def suggest(self, trial: Suggests) -> Configuration:
        """The configuration of an Optuna trial (define by run)."""
        rate = trial.suggest_float("learning_rate", *self.menu.learning_rates, log=True)
        parts: list[Regularizer] = []
        for choice in self.choices:
            picked = trial.suggest_categorical(choice.name, [NOTHING, *choice.options])
            if picked != NOTHING:
                values = {n: trial.suggest_float(f"{picked}.{n}", *_range(h), log=h.scale == "log")
                          for n, h in self._searched(choice, picked).items()}
                parts += self._parts(picked, values)
        return Configuration(Recipe(*parts), rate)

    @staticmethod
    def _searched(choice: Choice, name: str) -> dict[str, Hyper]:
        declared = {n: h for n, h in hypers(lookup(name)).items() if h.search is not None}
        wanted = choice.fields.get(name)
        return declared if wanted is None else {n: declared[n] for n in wanted}

    def _parts(self, name: str, values: Mapping[str, float]) -> list[Regularizer]:
        declared = hypers(lookup(name))
        values = {n: float(round(v)) if declared[n].whole or n == "patience" else v for n, v in values.items()}
        fraction = next((c.warm.get(name) for c in self.choices if name in c.options), None)
        part = lookup(name)(**{k: WarmUp(v, fraction=fraction) if fraction and k == "strength" else v for k, v in values.items()})
        return [lookup(n)() for n in part.requires if n in self.allowed] + [part]

    def parameters(self, configuration: Configuration) -> dict[str, Any]:
        """The Optuna parameters that :meth:`suggest` turns into ``configuration``."""
        out: dict[str, Any] = {"learning_rate": self._rate(configuration.learning_rate)}
        present = {p.name: p for p in configuration.recipe}
        for choice in self.choices:
            picked = next((o for o in reversed(choice.options) if o in present), NOTHING)
            out[choice.name] = picked
            if picked != NOTHING:
                for name, declared in self._searched(choice, picked).items():
                    low, high = _range(declared)
                    value = getattr(present[picked], name)
                    out[f"{picked}.{name}"] = min(max(float(value.at(1.0) if isinstance(value, Schedule) else value), low), high)
        return out

    def combined(self, rate: float, strengths: Strengths) -> Configuration:
        """The methods of ``strengths`` that are searched here, with these values, as one configuration."""
        parts: dict[str, Regularizer] = {}
        for name in (n for choice in self.choices for n in choice.options if n in strengths):
            if not (name == "skip_connections" and "stochastic_depth" in strengths):
                parts |= {p.name: p for p in self._parts(name, strengths[name])}
        return Configuration(Recipe(*parts.values()), self._rate(rate), "combination")

    # ---- where a search starts

    def starts(self) -> list[Configuration]:
        """None, what the user's own set-up stands for, each alone at a sensible strength, and known-good combinations.

        A menu with ``leading`` methods sorts by what is most worth knowing: where time is short, the rest waits.
        """
        rate = self.menu.default_rate
        out = [Configuration(Recipe(), rate, "unregularized"), *self.menu.given]
        seen = {c.key for c in out}
        for choice in self.choices:
            alone = [Configuration(Recipe(*self._parts(n, self.menu.singles[n])), rate, f"single:{n}") for n in choice.options]
            out += [c for c in alone if c.key not in seen]
            seen |= {c.key for c in alone}
        for rate, combination in self.menu.combinations:
            candidate = self.combined(rate, combination)
            if len(candidate.recipe) > 1 and candidate.key not in seen:
                seen.add(candidate.key)
                out.append(candidate)
        return sorted(out, key=_urgency(self.menu.leading, out)) if self.menu.leading else out

    def _rate(self, rate: float) -> float:
        low, high = self.menu.learning_rates
        return min(max(rate, low), high)


def _urgency(leading: tuple[str, ...], starts: list[Configuration]) -> Callable[[Configuration], int]:
    """Sort key: the baselines, some combinations, the leading methods, the other combinations, the other methods."""
    combinations = [c.key for c in starts if c.origin == "combination"]
    first = set(combinations[:_FIRST_COMBINATIONS])

    def urgency(start: Configuration) -> int:
        if start.origin.startswith("single:"):
            return 2 if start.origin.removeprefix("single:") in leading else 4
        return 0 if start.origin != "combination" else 1 if start.key in first else 3

    return urgency


def _range(declared: Hyper) -> tuple[float, float]:
    assert declared.search is not None
    return declared.search
