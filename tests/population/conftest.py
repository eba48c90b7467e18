"""Every test of a population runs with every tier of the engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from population import solo
from wellfit.population.native import library
from wellfit.population.tiers import TIERS


@pytest.fixture(params=list(TIERS))
def tier(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "native" and library.engine() is None:
        pytest.skip(library.why_not())
    before = solo.CURRENT_TIER[0]
    solo.CURRENT_TIER[0] = request.param
    yield request.param
    solo.CURRENT_TIER[0] = before
