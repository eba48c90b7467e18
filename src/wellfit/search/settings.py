"""Settings of a search that follow from the size of the data and of the budget."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from typing import Any

from wellfit.core.errors import WellfitError

Ladder = tuple[tuple[float, int], ...]
"""(share of the epochs, number of folds), from the most work to the least."""

# Folds are worth more than epochs: a choice among a hundred configurations needs all the judged rows it can get.
FOLDS_FIRST: Ladder = ((1.0, 5), (0.6, 5), (0.4, 5), (0.4, 3), (0.25, 3), (0.15, 3), (0.25, 1), (0.15, 1))
# A network that augments its data learns slowly: cut short, it is compared before the augmentation pays.
EPOCHS_FIRST: Ladder = ((1.0, 5), (0.7, 5), (1.0, 3), (0.7, 3), (1.0, 1), (0.7, 1), (0.6, 1), (0.5, 1), (0.42, 1),
                        (0.35, 1), (0.3, 1), (0.25, 1), (0.2, 1))
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Budget:
    """Wall-clock time, or a number of configurations.

    >>> Budget.parse("3m").seconds, Budget.parse("200c").configurations
    (180.0, 200)
    """

    seconds: float | None = None
    configurations: int | None = None

    @classmethod
    def parse(cls, text: str | float | Budget) -> Budget:
        """From ``90s``, ``5m``, ``1.5h``, ``200c``, or a number of seconds."""
        if isinstance(text, Budget):
            return text
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhc]?)\s*", str(text).lower())
        if not match:
            raise WellfitError("The budget cannot be read.", received=repr(text),
                               expected="a time (90s, 5m, 1h) or a number of configurations (200c)")
        number, unit = float(match[1]), match[2] or "s"
        if number <= 0:
            raise WellfitError("The budget leaves nothing to do.", received=repr(text), expected="more than 0, such as 3m or 200c")
        if unit == "c":
            if number != int(number):
                raise WellfitError("A number of configurations is whole.", received=repr(text), expected="such as 200c")
            return cls(configurations=int(number))
        return cls(seconds=number * _UNITS[unit])

    def __str__(self) -> str:
        return f"{self.configurations}c" if self.configurations else f"{self.seconds:g}s"


@dataclass(frozen=True)
class Settings:
    """How a search trains and compares.

    Attributes:
        hidden, activation: the network.
        epochs, batch_size: length of one training.
        folds: of the cross-validation; 1 is a single validation part.
        generation: configurations trained side by side; None fills about two stacks.
        first: configurations of the comparison that a search starts with; None: all starts.
        finalists, final_seeds: configurations that are repeated, and how often they are trained again.
    """

    hidden: tuple[int, ...] = (128, 128, 128)
    activation: str = "relu"
    epochs: int = 100
    batch_size: int = 32
    folds: int = 5
    generation: int | None = None
    first: int | None = None
    finalists: int = 6
    final_seeds: int = 3

    @property
    def together(self) -> int:
        """Configurations of one generation."""
        return self.generation or min(48, max(16, 96 // self.folds))

    @classmethod
    def for_size(cls, rows: int, columns: int, **given: Any) -> Settings:
        """Defaults for ``rows`` development rows of ``columns`` input columns; ``given`` values that are not None win.

        Small data: cross-validated, small batches, many epochs. Large data: one validation part, large batches. About the
        same number of optimizer steps for all.
        """
        batch = 32 if rows < 2500 else 64 if rows < 6000 else 128 if rows < 20000 else 256
        batch = min(batch, max(8, rows // 8))
        epochs = min(200, max(12, 4000 * batch // max(rows, 1)))
        folds = 5 if rows <= 3000 else 3 if rows <= 6000 else 1
        settings = cls(epochs=epochs, batch_size=batch, folds=folds)
        return replace(settings, **{k: v for k, v in given.items() if v is not None})

    def within(self, allowed: float, *, epochs: bool = True, folds: bool = True, ladder: Ladder = FOLDS_FIRST) -> Settings:
        """Settings whose folds times epochs is at most ``allowed``: fewer epochs first, then fewer folds, then what is left.

        ``epochs`` and ``folds`` say which of the two may change, ``ladder`` in which order.
        """
        best = self
        for share, count in ladder:
            best = replace(self, epochs=max(8, round(self.epochs * share)) if epochs else self.epochs,
                           folds=min(count, self.folds) if folds else self.folds)
            if best.folds * best.epochs <= allowed:
                return best
        return replace(best, epochs=max(4, min(best.epochs, int(allowed / best.folds)))) if epochs else best

    def to_mapping(self) -> dict[str, Any]:
        return {**asdict(self), "hidden": list(self.hidden)}

    @classmethod
    def from_mapping(cls, mapping: dict[str, Any]) -> Settings:
        return cls(**{**mapping, "hidden": tuple(mapping["hidden"])})
