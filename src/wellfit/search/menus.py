"""What is searched for each kind of task: questions with their answers, one sensible strength for each method alone, and
combinations that are known to be good.

Where a search may be, is data here; what a strength means, and between which values it is worth searching, stands with the
method itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from wellfit.core.errors import WellfitError
from wellfit.core.registry import lookup
from wellfit.search.configuration import DEFAULT_RATE, Configuration

LEARNING_RATE = (2e-4, 2e-2)


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


Strengths = Mapping[str, Mapping[str, float]]
"""Hyperparameters by method."""


@dataclass(frozen=True)
class Menu:
    """What a search may combine.

    Attributes:
        choices: the questions.
        singles: for every method its values when it is tried alone.
        combinations: (learning rate, methods) to begin with.
        learning_rates: the range searched.
        default_rate: the learning rate of the unregularized network and of every single method.
        given: configurations that the user's own set-up stands for.
        refused: methods that make no sense here, with the reason.
        leading: methods to try before the others where time is short; none: the order of the choices.
    """

    choices: tuple[Choice, ...]
    singles: Strengths
    combinations: tuple[tuple[float, Strengths], ...]
    learning_rates: tuple[float, float] = LEARNING_RATE
    default_rate: float = DEFAULT_RATE
    given: tuple[Configuration, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    leading: tuple[str, ...] = ()

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(name for choice in self.choices for name in choice.options)

    def without(self, refused: Mapping[str, str]) -> Menu:
        """The menu less some methods, each with the reason."""
        gone = {n: why for n, why in refused.items() if n in self.methods}
        kept = tuple(replace(c, options=left) for c in self.choices if (left := tuple(o for o in c.options if o not in gone)))
        return replace(self, choices=kept, refused={**self.refused, **gone})

    def only(self, names: Iterable[str]) -> Menu:
        """The menu restricted to these methods and what they cannot do without."""
        wanted = set(names)
        for name in wanted:
            lookup(name)
        if unfit := sorted(wanted - set(self.methods)):
            reasons = "; ".join(f"{n}: {self.refused[n]}" for n in unfit if n in self.refused)
            raise WellfitError(f"Not to be searched here: {', '.join(unfit)}.", received=", ".join(names),
                               expected=", ".join(sorted(self.methods)), action=reasons or None)
        wanted |= {other for n in wanted for other in lookup(n).requires}
        kept = tuple(replace(c, options=left) for c in self.choices if (left := tuple(o for o in c.options if o in wanted)))
        return replace(self, choices=kept)


_TABLE_CHOICES = (
    Choice("decay", ("weight_decay", "l2"), {"weight_decay": ("timescale",)}),
    # At full strength from the start, sparsity kills features before they have shown their worth. Whole inputs are let go one by
    # one along the run, from dense to sparse (Lemhadri et al. 2021), and early stopping may pick the point.
    # What does not pull at large groups may be at full strength half of the run, to train with the inputs that are left.
    Choice("sparsity", ("l1", "elastic_net", "group_lasso", "group_mcp"),
           warm={"l1": 0.4, "elastic_net": 0.4, "group_lasso": 1.0, "group_mcp": 0.5}),
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

_TABLE_SINGLES: Strengths = {  # one sensible strength each, for networks of a few hundred units
    "weight_decay": {"timescale": 20.0}, "l2": {"strength": 3e-4}, "l1": {"strength": 1e-4},
    "elastic_net": {"strength": 2e-4, "l1_ratio": 0.5}, "group_lasso": {"strength": 1e-3},
    "group_mcp": {"strength": 1e-3, "release": 1.2}, "max_norm": {"radius": 1.5},
    "dropout": {"rate": 0.3}, "batch_norm": {}, "skip_connections": {}, "stochastic_depth": {"rate": 0.3},
    "cut_mix": {"rate": 0.5}, "cutout": {"rate": 0.7, "share": 0.25}, "mixup": {"alpha": 0.5}, "input_noise": {"std": 0.2},
    "label_smoothing": {"amount": 0.1}, "ema": {"decay": 0.99}, "swa": {"start": 0.6}, "early_stopping": {"patience": 10.0},
    "gradient_clipping": {"max_norm": 0.5},
}

_TABLE_COMBINATIONS: tuple[tuple[float, Strengths], ...] = (
    (1e-3, {"early_stopping": {"patience": 15.0}, "dropout": {"rate": 0.3}, "weight_decay": {"timescale": 20.0}}),
    (1e-3, {"early_stopping": {"patience": 15.0}, "dropout": {"rate": 0.5}, "cut_mix": {"rate": 0.5},
            "label_smoothing": {"amount": 0.1}}),
    (1e-3, {"early_stopping": {"patience": 15.0}, "weight_decay": {"timescale": 10.0}, "cutout": {"rate": 0.9, "share": 0.3},
            "ema": {"decay": 0.99}}),
    (3e-3, {"group_mcp": {"strength": 2e-2, "release": 1.2}}),
    (3e-3, {"group_mcp": {"strength": 4e-2, "release": 1.2}, "early_stopping": {"patience": 30.0}}),
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

TABLE = Menu(_TABLE_CHOICES, _TABLE_SINGLES, _TABLE_COMBINATIONS)


def table_menu(*, regression: bool, keeps_width: bool = True) -> Menu:
    """What is searched for the built-in network on a table; ``keeps_width`` says whether it has hidden layers that can carry a
    skip."""
    refused = {}
    if regression:
        refused["label_smoothing"] = "it needs classes"
    if not keeps_width:
        refused |= dict.fromkeys(("skip_connections", "stochastic_depth"), "skips need neighbouring hidden layers of one width")
    return TABLE.without(refused)
