"""causes.yaml: what counts, what is usual, and the words for each cause."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any


@cache
def rules() -> dict[str, Any]:
    """The contents of causes.yaml."""
    import yaml

    loaded: dict[str, Any] = yaml.safe_load(files("wellfit.diagnosis").joinpath("causes.yaml").read_text(encoding="utf-8"))
    return loaded
