"""The search space: what is in it, and that its starts can be proposed and found again."""

from __future__ import annotations

from dataclasses import replace

import optuna
import pytest

from wellfit.core.errors import WellfitError
from wellfit.core.hyper import hypers
from wellfit.core.registry import registered
from wellfit.search.menus import LEARNING_RATE, table_menu
from wellfit.search.proposer import Proposer
from wellfit.search.space import Space

SPACES = {
    "classes": Space(table_menu(regression=False)), "numbers": Space(table_menu(regression=True)),
    "no skips": Space(table_menu(regression=False, keeps_width=False)),
    "two": Space(table_menu(regression=False), only=("dropout", "weight_decay")),
    "depth": Space(table_menu(regression=True), only=("stochastic_depth",)),
}
STARTS = [pytest.param(space, start, id=f"{name}: {start.origin} {'+'.join(start.parts)}")
          for name, space in SPACES.items() for start in space.starts()]


@pytest.mark.parametrize(("space", "start"), STARTS)
def test_a_start_comes_back_from_its_parameters(space: Space, start: object) -> None:
    suggested = space.suggest(optuna.trial.FixedTrial(space.parameters(start)))  # type: ignore[arg-type]
    assert suggested.key == start.key  # type: ignore[attr-defined]


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_starts_are_none_each_alone_and_combinations(space: Space) -> None:
    starts = space.starts()
    assert starts[0].origin == "unregularized"
    assert len(starts[0].recipe) == 0
    alone = {s.origin.removeprefix("single:") for s in starts if s.origin.startswith("single:")}
    assert alone == space.allowed
    assert all(len(s.parts) > 1 for s in starts if s.origin == "combination")
    assert len({s.key for s in starts}) == len(starts)


def test_what_does_not_fit_the_task_is_left_out() -> None:
    assert "label_smoothing" in SPACES["classes"].allowed
    assert "label_smoothing" not in SPACES["numbers"].allowed
    assert not {"skip_connections", "stochastic_depth"} & SPACES["no skips"].allowed
    assert SPACES["two"].allowed == {"dropout", "weight_decay"}
    assert SPACES["classes"].allowed <= set(registered())


def test_a_name_that_is_unknown_or_does_not_fit_is_refused() -> None:
    with pytest.raises(WellfitError, match="did you mean dropout"):
        Space(table_menu(regression=False), only=("dropuot",))
    with pytest.raises(WellfitError, match="label_smoothing"):
        Space(table_menu(regression=True), only=("dropout", "label_smoothing"))


def test_what_is_suggested_is_legal_and_in_its_range() -> None:
    space = Space(table_menu(regression=False))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen: set[str] = set()
    for _ in range(200):
        found = space.suggest(study.ask())
        assert LEARNING_RATE[0] <= found.learning_rate <= LEARNING_RATE[1]
        for part in found.recipe:
            for name, declared in hypers(part).items():
                value = getattr(part, name)
                if declared.search is not None and isinstance(value, float):
                    low, high = declared.search
                    assert low <= value <= high or value == type(part).__dataclass_fields__[name].default
        seen |= set(found.parts)
        assert space.suggest(optuna.trial.FixedTrial(space.parameters(found))).key == found.key
    assert seen == space.allowed


def test_the_proposer_repeats_itself() -> None:
    def run() -> list[object]:
        space = Space(table_menu(regression=False))
        proposer = Proposer(space, seed=3)
        starts = space.starts()
        proposer.enqueue(starts)
        asked = []
        for count in (len(starts), 8, 8):
            batch = proposer.ask(count)
            asked += [configuration.key for _, configuration in batch]
            for number, configuration in batch:
                error = 0.1 + len(configuration.recipe) / 100
                proposer.tell(number, float("nan") if number % 11 == 10 else error, pruned_at=3 if number % 3 == 2 else None)
        return asked

    first = run()
    assert first == run()
    starts = Space(table_menu(regression=False)).starts()
    assert first[: len(starts)] == [s.key for s in starts]  # what is enqueued comes first


def test_a_menu_with_an_order_begins_with_combinations() -> None:
    menu = replace(table_menu(regression=False), leading=("dropout", "ema"))
    origins = [s.origin for s in Space(menu).starts()]
    assert origins[:8] == ["unregularized", *["combination"] * 5, "single:dropout", "single:ema"]
    assert sorted(origins) == sorted(s.origin for s in SPACES["classes"].starts())
