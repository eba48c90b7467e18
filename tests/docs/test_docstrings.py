"""What help(wf.…) and ``wellfit recipes`` show: every public name explains itself."""

from __future__ import annotations

import inspect
import re

import pytest

import wellfit as wf
from wellfit.core.describe import LABELS, describe, example, paragraphs
from wellfit.core.hyper import hypers, options
from wellfit.core.recipe import Recipe
from wellfit.core.registry import registered
from wellfit.core.regularizer import Regularizer

PUBLIC = sorted(wf.__all__)
OWN = {n: c for n, c in registered().items() if c.__module__.startswith("wellfit.")}
FORMULA = re.compile(r"[←·≤≥≈∝‖Σ√=]")


def shows(text: str) -> bool:
    """Whether a docstring has an example (a doctest or a literal block) or a formula."""
    return ">>> " in text or re.search(r"::\n\n +\S", text) is not None or FORMULA.search(text) is not None


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_explained(name: str) -> None:
    thing = getattr(wf, name)
    text = inspect.getdoc(thing) or ""
    assert text.split("\n")[0].strip(), f"wf.{name} has no docstring"
    assert not text.startswith(f"{name}("), f"wf.{name} has the docstring that dataclass writes, not one of its own"
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return  # says what it is for
    assert shows(text), f"wf.{name}: neither an example nor a formula"


def test_what_shows_something() -> None:
    assert shows("Adds.\n\n>>> 1\n1") and shows("w ← 2w") and shows("Like this::\n\n    x()\n")
    assert not shows("It does things.\n")


@pytest.mark.parametrize("name", OWN)
def test_a_definition_can_be_read(name: str) -> None:
    cls = OWN[name]
    found = describe(cls)
    for part in ("title", "formula", "when_it_helps", "when_it_hurts", "source"):
        assert found[part], f"{cls.__name__}: no {part.replace('_', ' ')} in its docstring"
        assert not any(found[part].startswith(f"{label}:") for label in LABELS), f"{cls.__name__}: {part} begins with another label"
    assert len(found["title"]) < 60, f"{cls.__name__}: its docstring does not begin with a name: {found['title']!r}"
    assert re.search(r"\d{4}", found["source"]), f"{cls.__name__}: its source has no year"
    assert FORMULA.search(found["text"]) or "probability" in found["text"] or "rate" in found["text"], cls.__name__
    said = {p.split(":")[0] for p in paragraphs(found["text"]) if p.startswith(LABELS)}
    assert {"When it helps", "When it hurts", "Source"} <= said, f"{cls.__name__}: only {sorted(said)} begin a sentence"


@pytest.mark.parametrize("name", OWN)
def test_every_field_says_what_it_means(name: str) -> None:
    for field, declared in {**hypers(OWN[name]), **options(OWN[name])}.items():
        assert declared.meaning, f"{name}.{field} has no meaning"


@pytest.mark.parametrize("name", OWN)
def test_an_example_does_something_and_can_be_written(name: str) -> None:
    part = example(OWN[name])
    beside = [example(OWN[other]) for other in part.requires]
    recipe = Recipe(*beside, part)
    assert Recipe.from_yaml(recipe.to_yaml()) == recipe
    neutral = {n: v for n, v in part.neutral().items() if getattr(part, n) is not None}
    assert not neutral or any(getattr(part, n) != v for n, v in neutral.items()) or not acts_by_value(part)


def acts_by_value(part: Regularizer) -> bool:
    """Monitors do something at any setting."""
    return not hasattr(part, "observe")
