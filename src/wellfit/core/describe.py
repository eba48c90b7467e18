"""What there is to know about a regularizer, read from its declaration and its docstring."""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
from typing import Any

from wellfit.core.errors import WellfitError
from wellfit.core.hyper import Hyper, hypers, options
from wellfit.core.phases import phases_of
from wellfit.core.regularizer import Regularizer

LABELS = ("Shapes", "Unit", "When it helps", "When it hurts", "Raises", "Source")
"""How lines of a regularizer's docstring begin."""


def describe(cls: type[Regularizer]) -> dict[str, Any]:
    """All there is to know about one regularizer, as plain data.

    >>> from wellfit.regularizers import Dropout
    >>> found = describe(Dropout)
    >>> found["name"], found["title"], found["fields"][0]["name"], found["source"]
    ('dropout', 'Dropout', 'rate', 'Srivastava et al. 2014')
    """
    prose = _prose(cls)
    declared, choices = hypers(cls), options(cls)
    fields = []
    for field in dataclasses.fields(cls):
        default = None if field.default is dataclasses.MISSING else field.default
        row: dict[str, Any] = {"name": field.name, "default": default, "required": field.default is dataclasses.MISSING}
        if field.name in declared:
            h = declared[field.name]
            row |= {"kind": "number", "range": h.range_text, "low": h.low, "high": h.high,
                    "neutral": h.neutral if h.has_neutral else None, "search": h.search, "scale": h.scale, "unit": h.unit,
                    "schedulable": h.dynamic, "optional": h.optional, "meaning": h.meaning}
        elif field.name in choices:
            row |= {"kind": "choice", "choices": choices[field.name].choices, "meaning": choices[field.name].meaning}
        fields.append(row)
    return {"name": cls.identifier(), "class": cls.__name__, "title": prose["title"], "formula": prose["formula"],
            "phases": list(phases_of(cls)), "fields": fields, "when_it_helps": prose["helps"], "when_it_hurts": prose["hurts"],
            "source": prose["source"], "conflicts": dict(cls.conflicts), "requires": dict(cls.requires), "text": prose["text"]}


def _prose(cls: type[Regularizer]) -> dict[str, str]:
    """The parts of a docstring: its first paragraph is "Title: formula", and some sentences begin with a known word."""
    text = inspect.cleandoc(cls.__doc__ or "")
    text = re.sub(r"\n*^>>> .*", "", text, flags=re.M | re.S).strip()
    flat = re.sub(r"``([^`]*)``", r"\1", text)
    first = " ".join(flat.split("\n\n")[0].split())
    title, _, formula = first.partition(": ")
    if not formula:
        title, formula = cls.identifier().replace("_", " ").capitalize(), first

    def after(label: str) -> str:
        """What follows a label, up to the next one or the end of the paragraph."""
        found = re.search(rf"\b{label}:\s+(.*?)(?=\n\n|\s(?:{'|'.join(LABELS)})\b|\Z)", flat, flags=re.S)
        return " ".join(found[1].split()) if found else ""

    return {"title": title, "formula": formula, "helps": after("When it helps"), "hurts": after("When it hurts"),
            "source": after("Source").rstrip("."), "text": flat}


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a docstring, each labelled sentence ("Source: ...") one of its own."""
    text = re.sub(rf"(?<=[.\n])\s*(?=(?:{'|'.join(LABELS)})(?::| Wellfit))", "\n\n", text)
    return [p if re.search(r"\n +\S", p) else " ".join(p.split()) for p in re.split(r"\n{2,}", text) if p.strip()]


def example(cls: type[Regularizer], **given: Any) -> Regularizer:
    """One with the given values, else its defaults; the middle of the search range where there is no default, or where the defaults
    do nothing.

    >>> from wellfit.regularizers import L1, Mixup
    >>> example(L1), example(L1, strength=0.5)
    (L1(strength=0.0001, select='weights'), L1(strength=0.5, select='weights'))

    Raises WellfitError where neither a default nor a search range says what a usual value is.
    """
    declared, values = hypers(cls), dict(given)
    for field in dataclasses.fields(cls):
        if field.default is dataclasses.MISSING and field.name not in values and field.name in declared:
            values[field.name] = _middle(cls, field.name, declared[field.name])
    part = _made(cls, values)
    neutral = {n: v for n, v in cls.neutral().items() if getattr(part, n) is not None}
    if neutral and "monitor" not in phases_of(cls) and all(getattr(part, n) == v for n, v in neutral.items()):
        part = dataclasses.replace(part, **{n: _middle(cls, n, declared[n]) for n in neutral if n not in given})
    return part


def _made(cls: type[Regularizer], values: dict[str, Any]) -> Regularizer:
    """With the middle of an optional field's range where nothing else makes it complete."""
    try:
        return cls(**values)
    except WellfitError:
        for name, h in hypers(cls).items():
            if h.optional and h.search is not None and name not in values:
                return cls(**values, **{name: _middle(cls, name, h)})
        raise


def _middle(cls: type[Regularizer], name: str, h: Hyper) -> float:
    if h.search is None:
        raise WellfitError(f"Nothing says what a usual {name} of {cls.__name__} is.", expected="a default or a search range")
    low, high = h.search
    value = math.sqrt(low * high) if h.scale == "log" else (low + high) / 2
    return round(value) if h.whole else float(f"{value:.3g}")
