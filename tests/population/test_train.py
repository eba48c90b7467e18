"""Stacks on their way: members leave when they have ended, and a checkpoint takes up exactly where it was written."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import wellfit as wf
from population.solo import CASES, classification, member
from wellfit.population.problem import Member, Problem
from wellfit.population.train import Record, StackRun, Wants, plan_stacks

PROBLEM: Problem = classification(epochs=6)
PROBLEM = dataclasses.replace(PROBLEM, inputs=PROBLEM.inputs.float(), objective=dataclasses.replace(
    PROBLEM.objective, class_weights=None))
WANTS = Wants(weights=True, extra_rows=torch.arange(7))


def members() -> dict[int, Member]:
    chosen = {10: member("everything"), 3: member("nothing"), 7: member("patience"), 8: member("swa"), 5: member("patience 2")}
    chosen[6] = Member(wf.Recipe(wf.EMA(0.9)), 0.02, seed=6, epochs=3)
    return chosen


def nothing(alive: int, epoch: int) -> None:
    pass


def whole() -> dict[int, Record]:
    run = StackRun(PROBLEM, members(), WANTS)
    assert run.advance(PROBLEM.epochs, None, nothing)
    return run.records


def same(a: Record, b: Record) -> None:
    assert (a.history, a.best_epoch, a.ended) == (b.history, b.best_epoch, b.ended)
    for name in ("outputs", "extra"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert a.weights is not None
    assert b.weights is not None
    assert set(a.weights) == set(b.weights)
    for name, value in a.weights.items():
        np.testing.assert_array_equal(value, b.weights[name])


def test_members_leave_when_they_have_ended() -> None:
    alive = []
    run = StackRun(PROBLEM, members(), WANTS)
    run.advance(PROBLEM.epochs, None, lambda count, epoch: alive.append((count, epoch)))
    assert [epoch for _, epoch in alive] == list(range(1, len(alive) + 1))
    assert [count for count, _ in alive] == sorted((count for count, _ in alive), reverse=True)
    assert all(r.ended for r in run.records.values())
    assert run.records[3].epochs == 6
    assert run.records[6].epochs == 3
    assert run.records[7].epochs < 6
    assert run.member_epochs == sum(r.epochs for r in run.records.values())
    assert run.epoch == 6
    for record in run.records.values():
        assert record.outputs is not None
        assert record.outputs.shape == (40, 3)
        assert record.extra is not None
        assert record.extra.shape == (7, 3)


def test_who_leaves_changes_nothing_for_the_others() -> None:
    records = whole()
    for number, own in members().items():
        alone = StackRun(PROBLEM, {number: own}, WANTS)
        alone.advance(PROBLEM.epochs, None, nothing)
        found, expected = alone.records[number], records[number]
        assert (found.best_epoch, found.epochs) == (expected.best_epoch, expected.epochs)
        np.testing.assert_allclose(found.outputs, expected.outputs, atol=2e-3)  # single precision, and thresholds


@pytest.mark.parametrize("at", [1, 2, 3, 5])
def test_a_checkpoint_takes_up_where_it_was_written(tmp_path: Path, at: int) -> None:
    path = tmp_path / "stack.safetensors"
    first = StackRun(PROBLEM, members(), WANTS, path)
    first.advance(at, None, nothing)
    first.save()
    first.advance(at + 1, None, nothing)  # lost: never saved
    again = StackRun(PROBLEM, members(), WANTS, path)
    assert again.epoch == at
    again.advance(PROBLEM.epochs, None, nothing)
    for number, record in whole().items():
        same(again.records[number], record)


def test_a_checkpoint_after_the_end_has_everything(tmp_path: Path) -> None:
    path = tmp_path / "stack.safetensors"
    run = StackRun(PROBLEM, members(), WANTS, path)
    run.advance(PROBLEM.epochs, None, nothing)
    run.save()
    again = StackRun(PROBLEM, members(), WANTS, path)
    assert again.stack is None
    for number, record in whole().items():
        same(again.records[number], record)


def test_a_checkpoint_of_other_members_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "stack.safetensors"
    run = StackRun(PROBLEM, members(), WANTS, path)
    run.advance(2, None, nothing)
    run.save()
    others = {n: m for n, m in members().items() if n != 3}
    assert StackRun(PROBLEM, others, WANTS, path).epoch == 0


def test_a_deadline_that_has_passed_stops_before_the_next_epoch() -> None:
    run = StackRun(PROBLEM, members(), WANTS)
    assert not run.advance(PROBLEM.epochs, time.monotonic() - 1, nothing)
    assert run.epoch == 0
    assert not any(r.ended for r in run.records.values())


def test_those_left_behind_at_a_rung_keep_their_history() -> None:
    run = StackRun(PROBLEM, members(), WANTS)
    run.advance(2, None, nothing)
    run.keep([3, 8])
    run.advance(PROBLEM.epochs, None, nothing)
    records = whole()
    for number in (3, 8):
        assert run.records[number].ended
        np.testing.assert_allclose(run.records[number].history["train_loss"], records[number].history["train_loss"], rtol=1e-4)
    assert run.records[10].epochs == 2
    assert not run.records[10].ended


def test_a_record_tells_the_metric_of_the_weights_that_count() -> None:
    record = Record({"validation_error": [0.5, 0.3, 0.4], "train_loss": [3.0, 2.0, 1.0]}, best_epoch=2)
    assert record.at("validation_error") == 0.4            # still training: the latest
    assert record.at("validation_error", 1) == 0.5
    assert Record(record.history, 2, ended=True).at("validation_error") == 0.3
    assert Record(record.history, 2, ended=True).at("validation_error", 1) == 0.5
    assert np.isnan(Record().at("validation_error"))


def test_stacks_depend_on_the_members_alone() -> None:
    everyone = {n: member(name) for n, name in enumerate(CASES)}
    stacks = plan_stacks(PROBLEM, everyone, size=7)
    assert sorted(n for _, stack in stacks for n in stack) == sorted(everyone)
    assert max(len(stack) for _, stack in stacks) <= 7
    for _, stack in stacks:
        assert len({"batch_norm" in everyone[n].recipe for n in stack}) == 1
    assert plan_stacks(PROBLEM, dict(reversed(everyone.items())), size=7) == stacks
    assert plan_stacks(PROBLEM, {}, size=7) == []
