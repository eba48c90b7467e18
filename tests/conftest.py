"""What holds for every test: one thread, plain output, examples that repeat."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest

# Before torch is imported anywhere: several processes with one thread each beat one process with several.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

with contextlib.suppress(ImportError):
    import hypothesis

    # The same examples on every run and every machine; a machine under load is no failure.
    hypothesis.settings.register_profile("wellfit", deadline=None, derandomize=True)
    hypothesis.settings.load_profile("wellfit")


@pytest.fixture(scope="session", autouse=True)
def _plain_terminal() -> Iterator[None]:
    """What a command prints depends neither on the terminal nor on the service that runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("FORCE_COLOR", "CLICOLOR_FORCE", "PY_COLORS", "GITHUB_ACTIONS"):
            patch.delenv(name, raising=False)
        for name, value in {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "120"}.items():
            patch.setenv(name, value)
        yield
