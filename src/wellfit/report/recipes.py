"""A recipe in the forms a reader may want: words, YAML and Python to paste.

A recipe here is the mapping form of the YAML, ``{"format": 1, "regularizers": [{"name": "dropout", "rate": 0.31}]}``.
"""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Iterator, Mapping
from typing import Any

from wellfit.report.artefacts import as_list, as_map, as_number
from wellfit.report.numbers import plain

CLASS_NAMES = {"asam": "ASAM", "cutmix": "CutMix", "ema": "EMA", "group_mcp": "GroupMCP", "l2_sp": "L2SP", "mcp": "MCP",
               "rdrop": "RDrop", "sam": "SAM", "scad": "SCAD", "swa": "SWA", "vat": "VAT"}
"""Registry names whose class is not their CamelCase."""

Part = tuple[str, dict[str, Any]]


def parts(recipe: object) -> list[Part]:
    """The regularizers of a recipe with their settings, in order; what has no name is left out."""
    found: list[Part] = []
    for entry in as_list(as_map(recipe).get("regularizers")):
        settings = as_map(entry)
        name = entry if isinstance(entry, str) else settings.pop("name", None)
        if isinstance(name, str) and name:
            found.append((name, settings))
    return found


def setting_words(value: object) -> str:
    """A setting in words: ``0.31``, ``cosine 0.3 to 0``."""
    if isinstance(value, Mapping):
        given = as_map(value)
        if "schedule" in given:
            span = " to ".join(plain(given[k]) for k in ("start", "value", "end") if k in given)
            return f"{str(given['schedule']).replace('_', ' ')} {span}".strip()
        return ", ".join(f"{k}={setting_words(v)}" for k, v in given.items())
    if isinstance(value, (list, tuple)):
        return "(" + ", ".join(setting_words(v) for v in value) + ")"
    return plain(value)


def part_words(name: str, settings: Mapping[str, Any]) -> str:
    """One regularizer in words: ``dropout rate=0.31``."""
    return " ".join([name, *(f"{key}={setting_words(value)}" for key, value in settings.items())])


def recipe_words(recipe: object) -> str:
    """A whole recipe on one line."""
    return " · ".join(part_words(*part) for part in parts(recipe)) or "no regularization"


def hyperparameters(recipe: object, learning_rate: object = None) -> Iterator[tuple[str, object]]:
    """``("dropout.rate", 0.31)`` for every setting of a recipe, and its learning rate."""
    for name, settings in parts(recipe):
        for key, value in settings.items():
            if not isinstance(value, (Mapping, list, tuple)) and value is not None:
                yield f"{name}.{key}", value
    rate = learning_rate if learning_rate is not None else as_map(recipe).get("learning_rate")
    if as_number(rate) is not None:
        yield "learning_rate", rate


def class_name(name: str) -> str:
    """The class of a registry name: ``max_norm`` is ``MaxNorm``, ``l1`` is ``L1``."""
    return CLASS_NAMES.get(name) or "".join(word[:1].upper() + word[1:] for word in name.split("_"))


def _identifier(text: str) -> bool:
    return text.isidentifier() and not keyword.iskeyword(text) and text.isascii()


def _call(name: str, settings: Mapping[str, Any]) -> str:
    """``wf.Dropout(rate=0.31)``; keywords that are no identifiers go through ``**{...}``."""
    arguments = [f"{k}={_value(v)}" for k, v in settings.items() if _identifier(k)]
    odd = {k: v for k, v in settings.items() if not _identifier(k)}
    if odd:
        arguments.append("**" + _value(odd))
    return f"wf.{class_name(name)}({', '.join(arguments)})"


def _value(value: object) -> str:
    """A Python literal, or the schedule that a nested mapping describes."""
    if isinstance(value, Mapping):
        given = as_map(value)
        schedule = given.get("schedule")
        if isinstance(schedule, str) and _identifier(class_name(schedule)):
            return _call(schedule, {k: v for k, v in given.items() if k != "schedule"})
        return "{" + ", ".join(f"{k!r}: {_value(v)}" for k, v in given.items()) + "}"
    if isinstance(value, (list, tuple)):  # a list of the YAML is a tuple in a frozen definition
        return "(" + ", ".join(_value(v) for v in value) + ("," if len(value) == 1 else "") + ")"
    if isinstance(value, float) and as_number(value) is None:
        return f'float("{value}")'
    return repr(value)


LOOP = '''
plan = recipe.compile(model)                  # model: your torch.nn.Module
optimizer = torch.optim.AdamW(plan.model.parameters(), lr={rate}, weight_decay=0)
plan.attach(optimizer)                        # runs after every optimizer.step()

for epoch in range(200):
    for x, y in train_loader:
        x, y = plan.batch(x, y)
        loss = plan.backward(lambda: plan.objective(criterion, plan.model(x), y))
        optimizer.step()
        optimizer.zero_grad()
    if plan.observe(validation_loss=evaluate(plan.model)).stop:
        break
model = plan.finish()                         # best, averaged or folded weights
'''


def python_snippet(recipe: object) -> str:
    """Python that builds the recipe and trains with it."""
    lines = ["import torch", "import wellfit as wf", ""]
    calls = [f"    {_call(name, settings)}," if _identifier(class_name(name))
             else f"    # not a name wellfit knows: {name!r}" for name, settings in parts(recipe)]
    lines += ["recipe = wf.Recipe(", *calls, ")"] if calls else ["recipe = wf.Recipe()"]
    rate = as_number(as_map(recipe).get("learning_rate"))
    return "\n".join(lines) + "\n" + LOOP.format(rate="1e-3" if rate is None else repr(rate))


_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "none", "y", "n"}


def _scalar(value: object) -> str:
    """A YAML scalar; a float keeps its point, because YAML reads ``1e-05`` as text."""
    if isinstance(value, float):
        text = repr(value)
        if "e" in text and "." not in text:
            text = text.replace("e", ".0e")
        return {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(text, text)
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)


def _yaml(value: object, indent: str = "") -> list[str]:
    """Block style: one key or item a line."""
    if isinstance(value, Mapping) and value:
        lines = []
        for key, inner in value.items():
            if isinstance(inner, (Mapping, list, tuple)) and inner:
                lines += [f"{indent}{_scalar(str(key))}:", *_yaml(inner, indent + "  ")]
            else:
                lines.append(f"{indent}{_scalar(str(key))}: {_flow(inner)}")
        return lines
    if isinstance(value, (list, tuple)) and value:
        lines = []
        for item in value:
            block = _yaml(item, indent + "  ")
            lines += [f"{indent}- {block[0].strip()}", *block[1:]]
        return lines
    return [indent + _flow(value)]


def _flow(value: object) -> str:
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, (list, tuple)):
        return "[]"
    return _scalar(value)


def yaml_text(recipe: object) -> str:
    """The recipe as YAML, for a run whose ``best/recipe.yaml`` is not there."""
    return "\n".join(_yaml(as_map(recipe))) + "\n"
