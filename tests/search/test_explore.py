"""Who goes on to the end of a training whatever is seen on the way."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from wellfit.core.recipe import Recipe
from wellfit.search.configuration import Configuration
from wellfit.search.explore import Exploration

BATCH = [(n, Configuration(Recipe(), 1e-3, origin))
         for n, origin in enumerate(("unregularized", "combination", "search", "single:dropout", "search"))]


def protected(generation: int, leading: tuple[str, ...]) -> list[int]:
    """Positions that a generation of ``BATCH`` trains to the end, with a menu of these leading methods."""
    session = MagicMock()
    session.trainer.problem.epochs, session.trainer.member_epochs = 8, 0
    session.budget.seconds, session.space.menu.leading = None, leading
    session.trainer.evaluate.return_value = [[SimpleNamespace(finished=False)] for _ in BATCH]
    Exploration(session)._generation("job", generation, BATCH, MagicMock())
    given = session.trainer.evaluate.call_args.kwargs
    assert given["rungs"] == [2, 4]
    return list(given["protected"])


@pytest.mark.parametrize("leading", [(), ("dropout",)])
def test_what_a_search_starts_with_is_compared_in_any_case(leading: tuple[str, ...]) -> None:
    assert protected(0, leading) == [0, 1, 3]


def test_where_trainings_are_dear_what_waited_is_thinned_like_all_others() -> None:
    assert protected(1, ("dropout",)) == []
    assert protected(1, ()) == [0, 1, 3], "a menu without an order has nothing that waits"
