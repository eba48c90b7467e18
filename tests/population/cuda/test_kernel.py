"""The update in one pass: through Triton's interpreter against tensors, and compiled for a graphics card that is not here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from population.solo import classification, member
from wellfit.population.cuda.fused import triton_at_hand
from wellfit.population.cuda.stack import CudaStack

pytest.importorskip("triton")
HERE = Path(__file__).parent


def test_through_the_interpreter() -> None:
    """Triton decides when it is imported whether to interpret, so a process of its own does."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(HERE / "kernel_cases.py")]
    found = subprocess.run(command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, timeout=600,
                           check=False)
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-1000:]
    assert int(re.search(r"(\d+) passed", found.stdout)[1]) >= 20  # type: ignore[index]


def test_without_triton_or_a_card_tensors_do_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert not triton_at_hand(torch.device("cpu"))
    assert CudaStack(classification(), [member("l1")])._update_in_one is None


@pytest.mark.parametrize(("rows", "columns", "warps"), [(1024, 1, 4), (32, 32, 4), (4, 256, 4), (1, 8192, 16)])
@pytest.mark.parametrize("number", ["fp32", "fp64"])
def test_it_compiles_for_sm_90(rows: int, columns: int, warps: int, number: str) -> None:
    from triton import compile as compiled
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from wellfit.population.cuda.kernel import update_kernel

    names = update_kernel.arg_names
    constants = {"BETA1": 0.9, "BETA2": 0.999, "EPSILON": 1e-8, "ROWS": rows, "COLUMNS": columns, "AVERAGES": True}
    signature = {**dict.fromkeys(names[:7], f"*{number}"), "tiles": "*i64", "position": "*i64", "size": "i32", "members": "i32",
                 "pieces": "i32", **dict.fromkeys(constants, "constexpr")}
    assert set(signature) == set(names)
    found = compiled(ASTSource(update_kernel, signature, constants), target=GPUTarget("cuda", 90, 32),
                     options={"num_warps": warps, "enable_fp_fusion": True})
    assert ".target sm_90" in found.asm["ptx"] and len(found.asm["cubin"]) > 1000
    assert ".local" not in found.asm["ptx"]  # nothing is spilled
