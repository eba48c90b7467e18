"""What the commands say of themselves, and what they do not load for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

import wellfit as package

COMMANDS = ("demo", "tune", "predict", "report", "recipes", "check")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_has_help_with_examples(wellfit: Callable, command: str, option: str) -> None:
    done = wellfit(command, option)
    assert done.status == 0
    assert f"Usage: wellfit {command}" in done.out
    assert "Examples" in done.out
    assert f"wellfit {command}" in done.out.split("Examples")[1]
    assert done.err == ""


def test_the_help_lists_every_command(wellfit: Callable) -> None:
    done = wellfit("--help")
    assert done.status == 0
    assert all(f" {command} " in done.out for command in COMMANDS)
    assert "wellfit tune data.csv --target price" in done.out


def test_every_option_of_tune_is_explained(wellfit: Callable) -> None:
    text = wellfit("tune", "--help").out
    for option in ("target", "budget", "out", "seed", "task", "metric", "class-weights", "group", "time", "test", "drop",
                   "regularizers", "hidden", "activation", "epochs", "batch-size", "folds", "encoding", "workers", "overwrite",
                   "resume", "json", "quiet", "debug"):
        assert f"--{option} " in text, option


def test_version(wellfit: Callable) -> None:
    done = wellfit("--version")
    assert (done.status, done.out) == (0, f"wellfit {package.__version__}\n")


@pytest.mark.parametrize("arguments", [
    ["tunee"], ["nonsense"], ["--nonsense"], ["tune", "--nonsense"], ["tune", "a.csv", "b.csv"], ["predict"], ["predict", "RUN"],
    ["report"], ["recipes", "a", "b"], ["tune", "a.csv", "--target", "y", "--epochs", "many"], ["tune", "a.csv", "--seed", "x"]])
def test_a_mistyped_command_line_ends_with_2(wellfit: Callable, arguments: list[str]) -> None:
    done = wellfit(*arguments)
    assert done.status == 2
    assert done.out == ""
    assert "Traceback" not in done.err
    assert "Usage" in done.err or "error:" in done.err


def test_a_near_miss_is_named(wellfit: Callable) -> None:
    assert "'tune'" in wellfit("tunee").err
    assert "--budget" in wellfit("tune", "x.csv", "--buget", "3m").err


def test_the_command_line_loads_nothing_heavy_of_its_own() -> None:
    program = ("import sys, wellfit; before = set(sys.modules); import wellfit.cli.app; "
               "print(*sorted({m.split('.')[0] for m in set(sys.modules) - before} & "
               "{'torch', 'pandas', 'sklearn', 'optuna', 'scipy', 'numpy', 'rich', 'yaml', 'safetensors'}))")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == ""
