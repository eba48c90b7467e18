"""A recipe: an ordered tuple of regularizers, readable and diffable as YAML."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from wellfit.core.errors import WellfitError, nearest
from wellfit.core.registry import lookup
from wellfit.core.regularizer import Regularizer
from wellfit.core.schedule import Schedule, schedule_from_mapping

FORMAT = 1


class _Loader(yaml.SafeLoader):
    """Safe YAML in which 1e-4 is a number, as everyone means it (YAML 1.1 reads it as text)."""


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
                              list("-+.0123456789"))


class Recipe:
    """Regularizers that act together.

    ``Recipe(wf.Dropout(0.3), wf.WeightDecay(0.02))``. Immutable; ``+`` and :meth:`without` make new ones. Composition is
    checked at once: conflicts, missing companions and duplicates raise :class:`WellfitError`.

    >>> from wellfit.regularizers import Dropout, LabelSmoothing
    >>> print(Recipe(Dropout(0.3), LabelSmoothing(0.05)).to_yaml())
    format: 1
    regularizers:
    - name: dropout
      rate: 0.3
    - name: label_smoothing
      amount: 0.05
    <BLANKLINE>
    """

    __slots__ = ("parts",)
    parts: tuple[Regularizer, ...]

    def __init__(self, *parts: Regularizer):
        for part in parts:
            if not isinstance(part, Regularizer):
                raise WellfitError("A recipe holds regularizers only.", received=repr(part),
                                   expected="objects such as wf.Dropout(0.3)",
                                   action="call the class" if isinstance(part, type) else None)
        object.__setattr__(self, "parts", tuple(parts))
        _check(self.parts)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("a recipe is immutable: make a new one")

    def __iter__(self) -> Iterator[Regularizer]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)

    def __contains__(self, name: object) -> bool:
        return any(p.name == name for p in self.parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recipe) and self.parts == other.parts

    def __hash__(self) -> int:
        return hash(self.parts)

    def __repr__(self) -> str:
        return f"Recipe({', '.join(map(repr, self.parts))})"

    def __add__(self, other: Recipe | Regularizer) -> Recipe:
        return Recipe(*self.parts, *(other.parts if isinstance(other, Recipe) else (other,)))

    def __reduce__(self) -> tuple[Any, ...]:
        return (Recipe, self.parts)

    def get(self, name: str) -> Regularizer | None:
        """The first regularizer with this id, or None."""
        return next((p for p in self.parts if p.name == name), None)

    def without(self, *names: str) -> Recipe:
        """The recipe less the regularizers with these ids, and less those that cannot do without them."""
        left = [p for p in self.parts if p.name not in names]
        while True:
            present = {p.name for p in left}
            kept = [p for p in left if set(p.requires) <= present]
            if len(kept) == len(left):
                return Recipe(*kept)
            left = kept

    @property
    def ordered(self) -> tuple[Regularizer, ...]:
        """The parts in the order in which they act within a phase, which does not depend on how they were written."""
        return tuple(sorted(self.parts, key=lambda p: p.place))

    # ---- reading and writing

    def to_mapping(self) -> dict[str, Any]:
        """Plain data with a format version; fields at their default are left out."""
        return {"format": FORMAT, "regularizers": [_part_to_mapping(p) for p in self.parts]}

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Recipe:
        """The inverse of :meth:`to_mapping`. Names resolve through the registry only; nothing is imported or evaluated."""
        if not isinstance(mapping, Mapping) or "regularizers" not in mapping:
            raise WellfitError("This is no recipe.", received=repr(mapping)[:200],
                               expected="a mapping with `format: 1` and a list `regularizers`")
        if mapping.get("format") != FORMAT:
            raise WellfitError("This recipe has another format version.", received=mapping.get("format"), expected=FORMAT,
                               action="update wellfit, or write the recipe again")
        rows = mapping["regularizers"]
        if not isinstance(rows, list | tuple):
            raise WellfitError("`regularizers` is no list.", received=repr(rows)[:200],
                               expected="a list such as [{name: dropout, rate: 0.3}]")
        return cls(*(_part_from_mapping(row) for row in rows))

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.to_mapping(), sort_keys=False, allow_unicode=True)

    @classmethod
    def from_yaml(cls, text: str) -> Recipe:
        try:
            mapping = yaml.load(text, Loader=_Loader)
        except yaml.YAMLError as error:
            raise WellfitError("The recipe is no valid YAML.", received=str(error).replace("\n", " ")[:300],
                               expected="what Recipe.to_yaml writes") from error
        return cls.from_mapping(mapping)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write as YAML, or as JSON where the name ends in .json."""
        path = Path(path)
        text = json.dumps(self.to_mapping(), indent=1) + "\n" if path.suffix == ".json" else self.to_yaml()
        path.write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Recipe:
        """Read a YAML or JSON recipe."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise WellfitError("The recipe file cannot be read.", received=f"{path} ({error})",
                               expected="a YAML or JSON recipe") from error
        if Path(path).suffix != ".json":
            return cls.from_yaml(text)
        try:
            return cls.from_mapping(json.loads(text))
        except json.JSONDecodeError as error:
            raise WellfitError("The recipe is no valid JSON.", received=str(error),
                               expected="what Recipe.save writes") from error

    def to_python(self) -> str:
        """The recipe as Python to paste.

        >>> from wellfit.regularizers import Dropout
        >>> Recipe(Dropout(0.25)).to_python()
        'wf.Recipe(wf.Dropout(rate=0.25))'
        """
        rows = []
        for part in self.parts:
            fields = ", ".join(f"{n}={_python(v)}" for n, v in _changed(part).items())
            own = type(part).__module__.startswith("wellfit.")
            rows.append(f"{'wf.' if own else ''}{type(part).__name__}({fields})")
        return f"wf.Recipe({', '.join(rows)})"

    # ---- a plan

    def compile(self, model: Any, **settings: Any) -> Any:
        """A :class:`~wellfit.core.plan.Plan`: this recipe bound to a model. See there for the settings."""
        from wellfit.core.plan import Plan

        return Plan(self, model, **settings)


def _check(parts: tuple[Regularizer, ...]) -> None:
    names = {p.name for p in parts}
    seen: set[tuple[str, Any]] = set()
    for part in parts:
        key = (part.name, getattr(part, "select", None) if part.per_weight else None)
        if key in seen:
            raise WellfitError(f"{type(part).__name__} stands twice in the recipe.", received=repr(part),
                               expected="one of each" + (", or different `select`" if part.per_weight else ""))
        seen.add(key)
        for other, reason in part.conflicts.items():
            if other in names:
                raise WellfitError(f"{part.name} and {other} cannot stand in one recipe: {reason}",
                                   received=", ".join(p.name for p in parts), action=f"leave out {part.name} or {other}")
        for other, reason in part.requires.items():
            if other not in names and part.required_by == "recipe":
                raise WellfitError(f"{part.name} needs {other}: {reason}", received=", ".join(p.name for p in parts),
                                   action=f"add wf.{lookup(other).__name__}()")


def _changed(part: Regularizer) -> dict[str, Any]:
    """Fields that differ from their default (required fields always)."""
    return {f.name: getattr(part, f.name) for f in dataclasses.fields(part)
            if f.default is dataclasses.MISSING or getattr(part, f.name) != f.default}


def _plain(value: Any) -> Any:
    if isinstance(value, Schedule):
        return value.to_mapping()
    return list(value) if isinstance(value, tuple) else value


def _part_to_mapping(part: Regularizer) -> dict[str, Any]:
    return {"name": part.name, **{n: _plain(v) for n, v in _changed(part).items()}}


def _part_from_mapping(row: Any) -> Regularizer:
    if not isinstance(row, Mapping) or "name" not in row:
        raise WellfitError("An entry of the recipe has no name.", received=repr(row)[:200],
                           expected="a mapping such as {name: dropout, rate: 0.3}")
    cls = lookup(row["name"])
    known = [f.name for f in dataclasses.fields(cls)]
    arguments: dict[str, Any] = {}
    for key, value in row.items():
        if key == "name":
            continue
        if key not in known:
            hint = nearest(str(key), known)
            raise WellfitError(f"{row['name']} has no hyperparameter {key!r}.", received=dict(row),
                               expected=", ".join(known), action=f"did you mean {hint}?" if hint else None)
        arguments[key] = schedule_from_mapping(value) if isinstance(value, Mapping) else (
            tuple(value) if isinstance(value, list) else value)
    try:
        return cls(**arguments)
    except TypeError as error:
        missing = [f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING and f.name not in arguments]
        raise WellfitError(f"{row['name']} lacks {', '.join(missing)}.", received=dict(row),
                           expected=", ".join(known)) from error


def _python(value: Any) -> str:
    if isinstance(value, Schedule):
        fields = ", ".join(f"{f.name}={getattr(value, f.name)!r}" for f in dataclasses.fields(value))
        return f"wf.{type(value).__name__}({fields})"
    if isinstance(value, float) and not math.isfinite(value):
        return f"float({str(value)!r})"
    return repr(value)
