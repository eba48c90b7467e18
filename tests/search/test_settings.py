"""Budgets as people write them, and settings that follow from the size of the data."""

from __future__ import annotations

import pytest

from wellfit.core.errors import WellfitError
from wellfit.search.settings import Budget, Settings


@pytest.mark.parametrize(("text", "seconds", "configurations"), [
    ("90s", 90, None), ("5m", 300, None), ("1.5h", 5400, None), (" 2M ", 120, None), ("200c", None, 200), ("45", 45, None),
    (45, 45, None), (0.5, 0.5, None)])
def test_budgets_that_can_be_read(text: object, seconds: float | None, configurations: int | None) -> None:
    budget = Budget.parse(text)  # type: ignore[arg-type]
    assert (budget.seconds, budget.configurations) == (seconds, configurations)
    assert Budget.parse(budget) is budget
    assert Budget.parse(str(budget)) == budget


@pytest.mark.parametrize("text", ["", "0", "0s", "0c", "-5m", "5x", "m", "1.5c", "ten minutes", "nan", "inf", "1e3"])
def test_budgets_that_cannot(text: str) -> None:
    with pytest.raises(WellfitError) as error:
        Budget.parse(text)
    assert repr(text) in str(error.value)
    assert "expected" in str(error.value)


@pytest.mark.parametrize("rows", [10, 40, 150, 900, 3001, 7000, 60_000, 1_000_000])
def test_settings_fit_the_size_of_the_data(rows: int) -> None:
    settings = Settings.for_size(rows, 10)
    assert 2 <= settings.batch_size <= rows
    assert 1 <= settings.epochs <= 1000
    assert settings.folds >= 1
    assert settings.folds == 1 or rows <= 6000  # large data: one validation part
    assert Settings.from_mapping(settings.to_mapping()) == settings


def test_what_is_given_wins() -> None:
    settings = Settings.for_size(500, 5, epochs=7, hidden=(4,), folds=None, batch_size=None)
    assert (settings.epochs, settings.hidden) == (7, (4,))
    assert settings.folds == Settings.for_size(500, 5).folds
