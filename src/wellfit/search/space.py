"""The joint, conditional space of which regularizers and how strong, with the learning rate inside it.

Ranges and scales come from the hyperparameters' own declarations. What is written here is only which parts are searched for
which task, which of them exclude each other, and where a search starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from wellfit.core.errors import WellfitError
from wellfit.core.hyper import Hyper, hypers
from wellfit.core.phases import Regularizer
from wellfit.core.recipe import Recipe
from wellfit.core.registry import lookup
from wellfit.core.schedule import Schedule, WarmUp
from wellfit.search.configuration import DEFAULT_RATE, Configuration

LEARNING_RATE = (2e-4, 2e-2)
NOTHING = "none"


class Suggests(Protocol):
    """The part of an Optuna trial that is used here."""

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any: ...

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...


@dataclass(frozen=True)
class Choice:
    """One question of the search: at most one of ``options`` (each a tuple of registry names that go together).

    ``fields`` names the hyperparameters that are searched (by default all with a search range); ``warm`` says over which share of
    the run the strength of an option rises from 0 to the searched value, as a :class:`~wellfit.core.schedule.WarmUp`.
    """

    name: str
    options: tuple[str, ...]
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    warm: Mapping[str, float] = field(default_factory=dict)


_CHOICES = (
    Choice("decay", ("weight_decay", "l2"), {"weight_decay": ("timescale",)}),
    # At full strength from the start, sparsity kills features before they have shown their worth. Whole inputs are let go one by
    # one along the run, from dense to sparse (Lemhadri et al. 2021), and early stopping may pick the point.
    Choice("sparsity", ("l1", "elastic_net", "group_lasso"), warm={"l1": 0.4, "elastic_net": 0.4, "group_lasso": 1.0}),
    Choice("max_norm", ("max_norm",)),
    Choice("dropout", ("dropout",)),
    Choice("batch_norm", ("batch_norm",)),
    Choice("skip", ("skip_connections", "stochastic_depth")),
    Choice("augmentation", ("cut_mix", "cutout", "mixup")),
    Choice("noise", ("input_noise",)),
    Choice("targets", ("label_smoothing",)),
    Choice("average", ("ema", "swa")),
    Choice("stopping", ("early_stopping",), {"early_stopping": ("patience",)}),
    Choice("clipping", ("gradient_clipping",)),
)

_SINGLES: dict[str, dict[str, float]] = {  # one sensible strength each, for networks of a few hundred units
    "weight_decay": {"timescale": 20.0}, "l2": {"strength": 3e-4}, "l1": {"strength": 1e-4},
    "elastic_net": {"strength": 2e-4, "l1_ratio": 0.5}, "group_lasso": {"strength": 1e-3}, "max_norm": {"radius": 1.5},
    "dropout": {"rate": 0.3}, "batch_norm": {}, "skip_connections": {}, "stochastic_depth": {"rate": 0.3},
    "cut_mix": {"rate": 0.5}, "cutout": {"rate": 0.7, "share": 0.25}, "mixup": {"alpha": 0.5}, "input_noise": {"std": 0.2},
    "label_smoothing": {"amount": 0.1}, "ema": {"decay": 0.99}, "swa": {"start": 0.6}, "early_stopping": {"patience": 10.0},
    "gradient_clipping": {"max_norm": 0.5},
}

_COMBINATIONS: tuple[tuple[float, dict[str, dict[str, float]]], ...] = (
    (1e-3, {"early_stopping": {"patience": 15.0}, "dropout": {"rate": 0.3}, "weight_decay": {"timescale": 20.0}}),
    (1e-3, {"early_stopping": {"patience": 15.0}, "dropout": {"rate": 0.5}, "cut_mix": {"rate": 0.5},
            "label_smoothing": {"amount": 0.1}}),
    (1e-3, {"early_stopping": {"patience": 15.0}, "weight_decay": {"timescale": 10.0}, "cutout": {"rate": 0.9, "share": 0.3},
            "ema": {"decay": 0.99}}),
    (3e-3, {"group_lasso": {"strength": 1e-2}}),
    (3e-3, {"group_lasso": {"strength": 1e-2}, "cutout": {"rate": 0.9, "share": 0.3}, "early_stopping": {"patience": 20.0}}),
    (6e-3, {"group_lasso": {"strength": 3e-2}, "early_stopping": {"patience": 30.0}}),
    (1e-3, {"early_stopping": {"patience": 15.0}, "batch_norm": {}, "skip_connections": {}, "cut_mix": {"rate": 0.8},
            "weight_decay": {"timescale": 20.0}}),
    (3e-3, {"dropout": {"rate": 0.15}, "weight_decay": {"timescale": 30.0}, "label_smoothing": {"amount": 0.1},
            "batch_norm": {}, "skip_connections": {}}),
    (5e-4, {"early_stopping": {"patience": 15.0}, "dropout": {"rate": 0.6}, "input_noise": {"std": 0.3},
            "elastic_net": {"strength": 1e-4, "l1_ratio": 0.5}, "max_norm": {"radius": 1.0}}),
    (3e-3, {"early_stopping": {"patience": 15.0}, "skip_connections": {}, "stochastic_depth": {"rate": 0.3},
            "weight_decay": {"timescale": 10.0}, "mixup": {"alpha": 0.5}}),
    (3e-3, {"early_stopping": {"patience": 20.0}, "ema": {"decay": 0.995}, "weight_decay": {"timescale": 30.0}}),
)


class Space:
    """The search space of one task.

    Args:
        regression: leaves out what needs classes.
        keeps_width: whether the network has hidden layers that can carry a skip.
        only: names of the regularizers to search (default: all that fit).
    """

    def __init__(self, *, regression: bool, keeps_width: bool = True, only: tuple[str, ...] | None = None):
        barred = set()
        if regression:
            barred.add("label_smoothing")
        if not keeps_width:
            barred |= {"skip_connections", "stochastic_depth"}
        for name in only or ():
            lookup(name)
        allowed = {n for c in _CHOICES for n in c.options} - barred
        if only is not None:
            if unfit := sorted(set(only) - allowed):
                raise WellfitError(f"Not to be searched here: {', '.join(unfit)}.", received=", ".join(only),
                                   expected=", ".join(sorted(allowed)),
                                   action="label smoothing needs classes; skips need neighbouring hidden layers of one width")
            allowed &= set(only)
            if "stochastic_depth" in allowed:
                allowed.add("skip_connections")
        self.choices = [(c, [o for o in c.options if o in allowed]) for c in _CHOICES]
        self.choices = [(c, options) for c, options in self.choices if options]
        self.allowed = allowed

    # ---- from the proposer

    def suggest(self, trial: Suggests) -> Configuration:
        """The configuration of an Optuna trial (define by run)."""
        rate = trial.suggest_float("learning_rate", *LEARNING_RATE, log=True)
        parts: list[Regularizer] = []
        for choice, options in self.choices:
            picked = trial.suggest_categorical(choice.name, [NOTHING, *options])
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

    @staticmethod
    def _parts(name: str, values: Mapping[str, float]) -> list[Regularizer]:
        if name == "early_stopping":
            values = {**values, "patience": float(round(values["patience"]))}
        fraction = next(c.warm.get(name) for c in _CHOICES if name in c.options)
        part = lookup(name)(**{k: WarmUp(v, fraction=fraction) if fraction and k == "strength" else v for k, v in values.items()})
        return [lookup(n)() for n in part.requires] + [part]

    def parameters(self, configuration: Configuration) -> dict[str, Any]:
        """The Optuna parameters that :meth:`suggest` turns into ``configuration``."""
        out: dict[str, Any] = {"learning_rate": min(max(configuration.learning_rate, LEARNING_RATE[0]), LEARNING_RATE[1])}
        present = {p.name: p for p in configuration.recipe}
        for choice, options in self.choices:
            picked = next((o for o in reversed(options) if o in present), NOTHING)
            out[choice.name] = picked
            if picked != NOTHING:
                for name, declared in self._searched(choice, picked).items():
                    low, high = _range(declared)
                    value = getattr(present[picked], name)
                    out[f"{picked}.{name}"] = min(max(float(value.at(1.0) if isinstance(value, Schedule) else value), low), high)
        return out

    # ---- where a search starts

    def starts(self) -> list[Configuration]:
        """None, each alone at a sensible strength, and known-good combinations, in this order."""
        out = [Configuration(Recipe(), DEFAULT_RATE, "unregularized")]
        for _, options in self.choices:
            out += [Configuration(Recipe(*self._parts(n, _SINGLES[n])), DEFAULT_RATE, f"single:{n}") for n in options]
        seen = {c.key for c in out}
        for rate, combination in _COMBINATIONS:
            parts: dict[str, Regularizer] = {}
            for name in (n for _, options in self.choices for n in options if n in combination):
                if not (name == "skip_connections" and "stochastic_depth" in combination):
                    parts |= {p.name: p for p in self._parts(name, combination[name])}
            candidate = Configuration(Recipe(*parts.values()), rate, "combination")
            if len(parts) > 1 and candidate.key not in seen:
                seen.add(candidate.key)
                out.append(candidate)
        return out


def _range(declared: Hyper) -> tuple[float, float]:
    assert declared.search is not None
    return declared.search
