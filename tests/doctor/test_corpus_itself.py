"""The corpus is what it says: every script builds and runs, the correct ones learn, and the two halves cover every check."""

from __future__ import annotations

import ast
import copy
import re
from collections import Counter
from itertools import islice
from typing import Any

import pytest
import torch
from torch import nn

from doctor.corpus_scripts import Script, call, quiet, run_steps, scripts
from wellfit.doctor.set_up import SetUp

ALL = scripts()
MISTAKES, CORRECT = scripts("open", "held"), scripts("correct")
# What the issue and the list of checks name; the optional ones are not among them.
REQUIRED = {
    "augmented-validation", "averaged-weights-with-live-batch-norm", "batch-statistics-in-eval", "best-weights-by-reference",
    "best-weights-not-restored", "bias-before-norm", "clipping-after-step", "clipping-scaled-gradients",
    "coupled-decay-under-adam", "decay-groups-swapped", "decay-on-norms-and-biases", "decay-too-strong", "decay-too-weak",
    "dropout-active-in-eval", "dropout-before-batch-norm", "duplicate-rows", "frozen-norms-update", "gradients-not-cleared",
    "identical-augmentation-across-workers", "l1-by-subgradient", "l1-threshold-after-adam", "last-batch-of-one",
    "left-in-eval-mode", "max-norm-axis", "max-norm-shrinks-inside", "overlapping-splits", "parameter-not-optimized",
    "patience-in-evaluations", "penalty-doubled", "penalty-in-logged-loss", "penalty-missing",
    "penalty-on-scale-invariant-weights", "penalty-scaled-by-accumulation", "recalibration-with-dropout",
    "regularization-while-underfitting", "single-layer-lstm-dropout", "softmax-before-cross-entropy", "stopping-on-test-data",
    "stopping-on-training-data", "stopping-wrong-direction", "targets-softened-twice", "tied-weights-counted-twice",
    "validation-in-train-mode",
}


def named(script: Script) -> set[str]:
    return {name for wanted in script.expected for name in wanted.split("|")}


def clean_loss(parts: dict[str, Any], model: nn.Module) -> float:
    """The mean loss on the training batches, in evaluation mode and without gradients."""
    model.eval()
    losses = []
    with torch.no_grad():
        for batch in parts["train_loader"]:
            out = model(**batch).loss if isinstance(batch, dict) else parts["criterion"](model(batch[0]), batch[1])
            losses.append(float(out))
    model.train()
    return sum(losses) / len(losses)


def test_there_is_enough() -> None:
    assert len(MISTAKES) >= 66
    assert len(CORRECT) >= 18


def test_both_halves_name_every_required_check() -> None:
    for part in ("open", "held"):
        covered = set().union(*(named(s) for s in scripts(part)))
        assert covered == REQUIRED, (part, covered ^ REQUIRED)


def test_the_halves_are_of_like_size() -> None:
    sizes = Counter(s.part for s in MISTAKES)
    assert abs(sizes["open"] - sizes["held"]) <= len(MISTAKES) // 10


@pytest.mark.parametrize("script", ALL, ids=lambda s: s.name)
def test_it_is_a_small_script_that_says_what_is_wrong(script: Script) -> None:
    text = script.path.read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(text)) or ""
    assert 30 <= text.count("\n") <= 110
    assert ("Wrong:" in docstring and "https://" in docstring) or "Near to:" in docstring or "Loshchilov" in docstring \
        or "Wang & Aitchison" in docstring


@pytest.mark.parametrize("script", MISTAKES, ids=lambda s: s.name)
def test_the_code_does_not_name_its_mistake(script: Script) -> None:
    tree = ast.parse(script.path.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body[1:] if not ast.unparse(node).startswith("EXPECTED")]
    code = ast.unparse(tree).lower()
    assert not re.search(r"\b(wrong|bug|mistake|broken|incorrect|leak|buggy|bad_practice)\b", code)
    assert not any(name in code for name in named(script))


@pytest.mark.parametrize("script", ALL, ids=lambda s: s.name)
def test_it_builds_and_its_functions_run(script: Script) -> None:
    if not script.available:
        pytest.skip(f"needs {script.needs}")
    parts = script.build()
    SetUp.of(parts)
    with quiet():
        torch.manual_seed(0)
        tried = copy.deepcopy(parts)
        accumulation = parts.get("declared", {}).get("accumulation", 1)
        losses = run_steps(tried, max(3, accumulation))
        assert all(torch.isfinite(torch.tensor(losses)))
        assert len(list(islice(tried["val_loader"], 2))) > 0
        if "validate" in tried:
            assert isinstance(call(tried["validate"], tried), float)
        if "finalize" in tried:
            call(tried["finalize"], tried)
        if "fit" in tried:
            kept = call(tried["fit"], tried, epochs=2)
            assert kept is None or isinstance(kept, nn.Module)


@pytest.mark.parametrize("script", CORRECT, ids=lambda s: s.name)
def test_a_correct_one_learns(script: Script) -> None:
    if not script.available:
        pytest.skip(f"needs {script.needs}")
    with quiet():
        parts = script.build()
        torch.manual_seed(0)
        before = clean_loss(parts, parts["model"])
        if "fit" in parts:
            kept = call(parts["fit"], parts) or parts["model"]
            assert clean_loss(parts, kept) < 0.9 * before
            return
        for _ in range(8):
            run_steps(parts, len(parts["train_loader"]))
            after = clean_loss(parts, parts["model"])
            if after < 0.9 * before:
                break
        assert after < 0.9 * before
