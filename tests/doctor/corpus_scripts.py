"""The corpus the doctor is judged by: training scripts with a planted mistake each, and correct ones that come near to it.

``corpus/mistakes/{open,held}/<id>__<variant>.py`` and ``corpus/correct/<name>.py`` have a ``build()`` that returns the parts of a
set-up. Whoever writes checks looks at ``open`` only. The expected id is the file's name before ``__``, unless the script has
``EXPECTED = {...}``; ``"a|b"`` in it means that either name is right. ``NEEDS`` names a package without which a script is left out.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

CORPUS = Path(__file__).resolve().parent / "corpus"


@dataclass(frozen=True)
class Script:
    """One script of the corpus: its part ("open", "held" or "correct"), what has to be found, and the package it needs."""

    path: Path
    part: str
    expected: frozenset[str]
    needs: str | None

    @property
    def name(self) -> str:
        return f"{self.part}/{self.path.stem}"

    @property
    def available(self) -> bool:
        return self.needs is None or importlib.util.find_spec(self.needs) is not None

    def module(self) -> ModuleType:
        spec = importlib.util.spec_from_file_location("corpus_" + re.sub(r"\W", "_", f"{self.part}_{self.path.stem}"), self.path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def build(self) -> dict[str, Any]:
        """The parts of its set-up, made without a trace in the global random state and without warnings."""
        with quiet():
            parts: dict[str, Any] = self.module().build()
        return parts


@contextmanager
def quiet() -> Iterator[None]:
    """Restores the random state of torch, numpy and random, and swallows what the libraries warn of."""
    import random

    import numpy as np
    import torch

    state, numbers = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            random.setstate(state)
            np.random.set_state(numbers)  # noqa: NPY002


def scripts(*parts: str) -> list[Script]:
    """All scripts of these parts ("open", "held", "correct"; all of them by default), by name."""
    found = []
    for part in parts or ("open", "held", "correct"):
        folder = CORPUS / "correct" if part == "correct" else CORPUS / "mistakes" / part
        for path in sorted(folder.glob("*.py")):
            said = _constants(path)
            expected = said.get("EXPECTED", set() if part == "correct" else {path.stem.partition("__")[0]})
            found.append(Script(path, part, frozenset(expected), said.get("NEEDS")))
    return found


def missed(script: Script, found: set[str]) -> set[str]:
    """What the script expects and ``found`` has not."""
    return {wanted for wanted in script.expected if not found & set(wanted.split("|"))}


# ---- running a set-up


def call(function: Any, parts: dict[str, Any], **more: Any) -> Any:
    """Call a function of a set-up with the parts that its parameters name."""
    given = {**parts, **more}
    return function(**{name: given[name] for name in inspect.signature(function).parameters if name in given})


def run_steps(parts: dict[str, Any], count: int) -> list[float]:
    """The losses of ``count`` training steps; a plain step where the set-up has none."""
    losses: list[float] = []
    while len(losses) < count:
        for batch in islice(parts["train_loader"], count - len(losses)):
            if "train_step" in parts:
                losses.append(float(call(parts["train_step"], parts, batch=batch, step=len(losses))))
                continue
            parts["model"].train()
            parts["optimizer"].zero_grad()
            loss = parts["criterion"](parts["model"](batch[0]), batch[1])
            loss.backward()
            parts["optimizer"].step()
            losses.append(loss.item())
    return losses


def _constants(path: Path) -> Mapping[str, Any]:
    """EXPECTED and NEEDS, read without running the script."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.targets[0].id: ast.literal_eval(node.value) for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id in ("EXPECTED", "NEEDS")}
