"""A configuration: a recipe and the learning rate it is trained with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wellfit.core.recipe import Recipe

DEFAULT_RATE = 1e-3


@dataclass(frozen=True)
class Configuration:
    """What one trial trains.

    Attributes:
        recipe: the regularizers.
        learning_rate: peak learning rate of Adam.
        origin: where it came from: "unregularized", "single:<name>", "combination" or "search".
    """

    recipe: Recipe
    learning_rate: float = DEFAULT_RATE
    origin: str = "search"

    @property
    def key(self) -> tuple[Recipe, float]:
        """Two configurations with one key are the same experiment."""
        return (self.recipe, self.learning_rate)

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.recipe)

    def to_mapping(self) -> dict[str, Any]:
        return {**self.recipe.to_mapping(), "learning_rate": self.learning_rate}

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], origin: str = "search") -> Configuration:
        return cls(Recipe.from_mapping(mapping), float(mapping.get("learning_rate", DEFAULT_RATE)), origin)
