"""Every registered regularizer keeps the contract, in each setting of the table."""

from __future__ import annotations

from pathlib import Path

import pytest

import wellfit.regularizers
from contract.settings import ROWS
from wellfit.core.hyper import hypers, options
from wellfit.core.registry import registered
from wellfit.core.regularizer import Regularizer
from wellfit.core.schedule import Schedule
from wellfit.testing import CHECKS, applicable, check_regularizer

BUILT_IN = {n: c for n, c in registered().items() if c.__module__.startswith("wellfit.")}
CASES = [(part, check) for rows in ROWS.values() for part in rows for check in applicable(part)]

pytestmark = pytest.mark.filterwarnings("ignore::wellfit.WellfitWarning")


@pytest.mark.parametrize(("part", "check"), CASES, ids=lambda v: v if isinstance(v, str) else repr(v).replace(" ", ""))
def test_contract(part: Regularizer, check: str) -> None:
    check_regularizer(part, only=[check])


def test_every_regularizer_has_a_row() -> None:
    assert set(BUILT_IN) == set(ROWS), "a regularizer without a row in tests/contract/settings.py"


def test_rows_are_of_their_regularizer() -> None:
    for name, rows in ROWS.items():
        assert rows
        assert {part.name for part in rows} == {name}


@pytest.mark.parametrize("name", ROWS)
def test_rows_cover_the_definition(name: str) -> None:
    """Every named choice, every optional field, and a schedule where one is possible."""
    rows = ROWS[name]
    for field, choice in options(rows[0]).items():
        if choice.choices is not None:
            assert {getattr(p, field) for p in rows} == set(choice.choices), f"{field}: a choice without a row"
    for field, declared in hypers(rows[0]).items():
        assert any(getattr(p, field) is not None for p in rows), f"{field}: never used"
        if declared.optional and declared.dynamic:
            assert any(isinstance(getattr(p, field), Schedule) for p in rows), f"{field}: no row with a schedule"
    if any(h.dynamic for h in hypers(rows[0]).values()):
        assert any(p.scheduled for p in rows), "no row with a schedule"


def test_every_check_applies_to_some_regularizer() -> None:
    assert {check for _, check in CASES} == set(CHECKS)


def test_every_file_of_the_package_is_registered() -> None:
    """A file with a regularizer that __init__ forgets would be unknown to recipes."""
    folder = Path(wellfit.regularizers.__file__).parent
    decorated = {p.stem for p in folder.rglob("*.py") if "@register" in p.read_text(encoding="utf-8")}
    assert decorated == set(BUILT_IN)
    assert sorted(wellfit.regularizers.__all__) == sorted(c.__name__ for c in BUILT_IN.values())
