"""Checks of the definition: plain data, validated, written and read back exactly, documented."""

from __future__ import annotations

import ast
import dataclasses
import doctest
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

from wellfit.core.errors import WellfitError
from wellfit.core.hyper import Hyper, hypers, options
from wellfit.core.recipe import Recipe
from wellfit.core.registry import registered
from wellfit.core.regularizer import Regularizer
from wellfit.core.schedule import SCHEDULES, Cosine, FlatCosine, Linear, Schedule, WarmUp
from wellfit.testing.subject import SHAPES, Subject, check


def _always(subject: Subject) -> bool:
    return True


@check("it is registered under its own name, implements a phase and says what it needs", _always)
def check_registered(subject: Subject) -> None:
    part, known = subject.part, registered()
    assert known.get(part.name) is type(part), f"the registry has no {part.name!r}: decorate the class with @register"
    assert part.name == type(part).identifier(), "`name` and `identifier()` disagree"
    assert subject.phases, "no phase is implemented"
    assert isinstance(part.order, int | float), f"order is {part.order!r}, no number"
    for kind in ("conflicts", "requires"):
        for other, reason in getattr(part, kind).items():
            assert other in known, f"{kind} names {other!r}, which is not registered"
            assert isinstance(reason, str), f"{kind}[{other!r}] has no reason"
            assert reason, f"{kind}[{other!r}] has an empty reason"
    assert part.takes in SHAPES, f"takes is {part.takes!r}, not one of {', '.join(SHAPES)}"
    assert part.per_weight == ("select" in options(part)), "per_weight and a `select` field go together"
    if subject.has("step"):
        assert subject.moment in ("before", "after"), f"moment is {subject.moment!r}, not before or after"
    if subject.has("average"):
        assert part.cadence in ("step", "epoch"), "cadence is not step or epoch"  # type: ignore[attr-defined]


@check("it is a frozen, hashable value: equal settings are equal objects", _always)
def check_frozen(subject: Subject) -> None:
    part = subject.part
    twin = dataclasses.replace(part)
    assert twin == part, "a copy with the same fields is not equal"
    assert hash(twin) == hash(part), "a copy with the same fields has another hash"
    assert not [f.name for f in dataclasses.fields(part) if "hyper" not in f.metadata and "option" not in f.metadata], \
        "a field was not declared with hyper(...), option(...) or selection(...)"
    for name in [f.name for f in dataclasses.fields(part)] or ["anything"]:
        try:
            setattr(part, name, 0.5)
        except (AttributeError, TypeError):
            continue
        raise AssertionError(f"{name} could be changed after construction")
    assert not [n for n in vars(part) if n not in {f.name for f in dataclasses.fields(part)}], "it keeps state of its own"


@check("its hyperparameters are declared consistently", _always)
def check_declarations(subject: Subject) -> None:
    for name, declared in hypers(subject.part).items():
        assert declared.low <= declared.high, f"{name}: low is above high"
        assert declared.meaning, f"{name} has no meaning (help texts use it)"
        assert declared.unit, f"{name} has no unit"
        if declared.has_neutral:
            assert declared.accepts(declared.neutral), f"{name}: the neutral value {declared.neutral} is not legal"
        if declared.search is not None:
            low, high = declared.search
            assert low < high, f"{name}: the search range is empty"
            for end in (low, high):
                assert declared.accepts(end), f"{name}: the search range leaves the legal range"
                assert math.isfinite(end), f"{name}: the search range is not finite"
            assert declared.scale == "linear" or low > 0, f"{name}: a log scale starts above 0"
    always = getattr(subject.part, "always", False)  # as with a rewrite, a network has it or has it not
    if subject.phases != ("rewrite",) and not always and subject.part.stacked:
        assert any(h.has_neutral for h in subject.fields.values()), \
            "no hyperparameter in use has a neutral value, so a stack cannot hold members without it"


@check("it survives a mapping, YAML, JSON and Python exactly, also with schedules", _always)
def check_round_trip(subject: Subject) -> None:
    for part in [subject.part, *_with_schedules(subject), subject.neutral()]:
        recipe = Recipe(*subject.companions, part)
        _equal("a mapping", Recipe.from_mapping(recipe.to_mapping()), recipe)
        _equal("YAML", Recipe.from_yaml(recipe.to_yaml()), recipe)
        with tempfile.TemporaryDirectory() as folder:
            for name in ("recipe.yaml", "recipe.json"):
                path = Path(folder) / name
                recipe.save(path)
                _equal(name.rpartition(".")[2].upper(), Recipe.load(path), recipe)
        _equal("Python", read_python(recipe.to_python()), recipe)


def _equal(form: str, back: Recipe, recipe: Recipe) -> None:
    assert back == recipe, f"through {form} {recipe!r} became {back!r}"


def _with_schedules(subject: Subject) -> list[Regularizer]:
    """The part with each kind of schedule in each hyperparameter that may change."""
    out = []
    for name, declared in subject.fields.items():
        if declared.dynamic:
            end = subject.number(name)
            start = _legal_start(declared, end)
            out += [subject.with_(**{name: schedule}) for schedule in
                    (Linear(start, end), Cosine(end, start), WarmUp(end, start, 0.25), FlatCosine(end, start, 0.75))]
    return out


def _legal_start(declared: Hyper, end: float) -> float:
    half = end / 2
    return half if declared.accepts(half) else end


@check("values that are not legal are refused with what was received and what was expected", _always)
def check_validation(subject: Subject) -> None:
    for name, declared in subject.fields.items():
        for bad in _illegal(declared):
            _refused(subject, name, bad)
        if declared.dynamic:
            outside = next((v for v in (declared.low - 1, declared.high + 1) if math.isfinite(v)), None)
            if outside is not None:
                _refused(subject, name, Linear(subject.number(name), outside))
        else:
            _refused(subject, name, Linear(subject.number(name), subject.number(name)))
    for name, choice in options(subject.part).items():
        if choice.choices is not None:
            _refused(subject, name, "no such choice")


def _illegal(declared: Hyper) -> list[Any]:
    bad: list[Any] = [math.nan, "0.1", True, [0.1]]
    if not declared.optional:
        bad.append(None)
    if math.isfinite(declared.low):
        bad += [declared.low - 1, declared.low - 1e-6]
    if declared.open_low:
        bad.append(declared.low)
    if math.isfinite(declared.high):
        bad += [declared.high + 1, declared.high + 1e-6]
    if declared.open_high:
        bad.append(declared.high)
    bad += [v for v in (math.inf, -math.inf) if v != declared.neutral]
    if declared.whole:
        bad.append(max(declared.low, 0) + 0.5)
    return bad


def _refused(subject: Subject, name: str, value: object) -> None:
    label = f"{type(subject.part).__name__}({name}={value!r})"
    try:
        subject.with_(**{name: value})
    except WellfitError as error:
        text = str(error)
        for needed in ("received", "expected", name):
            assert needed in text, f"the message for {label} does not say {needed}: {text}"
        if not isinstance(value, Schedule):
            assert repr(value) in text or str(value) in text, f"the message for {label} does not show the value: {text}"
        return
    except Exception as error:
        raise AssertionError(f"{label} raised {type(error).__name__}, not WellfitError: {error}") from error
    raise AssertionError(f"{label} was accepted")


@check("its docstring names a source, says when it hurts, and has an example that works", _always)
def check_docstring(subject: Subject) -> None:
    kind = type(subject.part)
    text = kind.__doc__ or ""
    assert "Source:" in text, "the docstring names no source (Source: Author year)"
    assert "hurts:" in text, "the docstring does not say when it hurts (When it hurts: ...)"
    assert ">>>" in text, "the docstring has no example"
    if hypers(kind):
        assert "Raises" in text, "the docstring does not say what it raises"
    globals_ = dict(vars(sys.modules[kind.__module__]))
    test = doctest.DocTestParser().get_doctest(text, globals_, kind.__name__, None, None)
    lines: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).run(test, out=lines.append)
    assert not lines, "the example in the docstring fails:\n" + "".join(lines)


def read_python(text: str) -> Recipe:
    """The recipe that :meth:`Recipe.to_python` wrote, read through the registry; nothing is evaluated.

    >>> read_python("wf.Recipe(wf.MaxNorm(radius=float('inf')))")
    Recipe(MaxNorm(radius=inf, select='weights'))
    """
    tree = ast.parse(text, mode="eval").body
    assert isinstance(tree, ast.Call), f"no call: {text}"
    assert _called(tree) == "Recipe", f"no wf.Recipe(...): {text}"
    return Recipe(*(_read(node) for node in tree.args))


def _called(node: ast.Call) -> str:
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "?")


def _read(node: ast.expr) -> Any:
    if not isinstance(node, ast.Call):
        return ast.literal_eval(node)
    kinds: dict[str, Any] = {c.__name__: c for c in [*registered().values(), *SCHEDULES.values()]}
    kinds["float"] = float
    name = _called(node)
    assert name in kinds, f"{name} is neither a regularizer nor a schedule"
    return kinds[name](*(_read(a) for a in node.args), **{k.arg: _read(k.value) for k in node.keywords if k.arg})


CHECKS = (check_registered, check_frozen, check_declarations, check_round_trip, check_validation, check_docstring)
