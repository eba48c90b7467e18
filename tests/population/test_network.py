"""The built-in network: module and stack are twins."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import wellfit as wf
from wellfit.core import surgery
from wellfit.core.draws import Streams
from wellfit.core.select import describe_parameters
from wellfit.population.network import ACTIVATIONS, MLP, Flat, NetworkSpec, forward, initial
from wellfit.population.problem import Fold, Objective, Problem, class_weights, epoch_order
from wellfit.population.slots import line_up, slot_key, structure_key


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("skip", [False, True])
def test_stacked_networks_compute_what_each_module_computes(activation: str, skip: bool) -> None:
    spec = NetworkSpec(5, (7, 7, 7, 4), 2, activation)
    models = [MLP(5, (7, 7, 7, 4), 2, activation, seed=k, dtype=torch.float64) for k in range(3)]
    weights = {n: torch.stack([m.state_dict()[n] for m in models]) for n in models[0].state_dict()}
    x = torch.randn(3, 9, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for model in models:
        model.skip = skip
    own = forward(spec, weights, x, skip=skip)
    shared = forward(spec, weights, x[0], skip=skip)
    for k, model in enumerate(models):
        assert torch.allclose(own[k], model(x[k]), rtol=1e-12)
        assert torch.allclose(shared[k], model(x[0]), rtol=1e-12)


def test_some_networks_of_a_stack_may_have_skips() -> None:
    spec = NetworkSpec(5, (7, 7), 2)
    models = [MLP(5, (7, 7), 2, seed=k, dtype=torch.float64) for k in range(2)]
    models[1].skip = True
    weights = {n: torch.stack([m.state_dict()[n] for m in models]) for n in models[0].state_dict()}
    x = torch.randn(2, 9, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = forward(spec, weights, x, skip=torch.tensor([0.0, 1.0]).double()[:, None, None])
    for k, model in enumerate(models):
        assert torch.allclose(found[k], model(x[k]), rtol=1e-12)


def test_the_start_is_torchs_default_in_distribution_and_the_members_own() -> None:
    model = MLP(50, (200,), 2, seed=3)
    weight = model.layers[0].weight.detach()
    bound = 50**-0.5
    assert float(weight.abs().max()) < bound
    assert abs(float(weight.mean())) < 5 * bound / (3 * weight.numel()) ** 0.5
    assert float(weight.std()) == pytest.approx(bound / 3**0.5, rel=0.02)
    spec = NetworkSpec(50, (200,), 2)
    stacked = initial(spec, Streams([9, 3]), "layers.0.weight", (200, 50))
    assert torch.equal(stacked[1].float(), weight)
    assert not torch.equal(stacked[0], stacked[1])
    assert torch.equal(MLP(4, (3,), 2, seed=1).layers[0].weight, MLP(4, (3,), 2, seed=1).layers[0].weight)


@pytest.mark.parametrize("norm", [False, True])
def test_both_know_the_same_of_each_parameter(norm: bool) -> None:
    groups = torch.tensor([0, 0, 1, 2])
    model = MLP(4, (6, 6), 3)
    if norm:
        surgery.add_batch_norm(model)
    described = {n: i for n, (i, _) in describe_parameters(model, groups).items()}
    spec = NetworkSpec(4, (6, 6), 3)
    infos = spec.infos(norm, groups)
    assert infos == described
    assert infos["layers.0.weight"].feature_groups is groups
    shapes = {n: tuple(p.shape) for n, p in model.named_parameters()}
    assert spec.shapes(norm) == shapes
    assert spec.parameters == sum(p.numel() for p in MLP(4, (6, 6), 3).parameters())


def test_branches_are_where_the_width_is_kept() -> None:
    assert NetworkSpec(3, (8, 8, 4, 4, 4), 2).branch_depths() == {1: pytest.approx(1 / 3), 3: pytest.approx(2 / 3), 4: 1.0}
    assert NetworkSpec(3, (8,), 2).branch_depths() == {}
    model = MLP(3, (8, 8, 4, 4, 4), 2)
    assert [depth for _, depth in model.branches] == pytest.approx([1 / 3, 2 / 3, 1.0])


@pytest.mark.parametrize(("arguments", "message"), [
    ((3, (4,), 2, "rleu"), "did you mean relu"), ((0, (4,), 2), "at least one input"), ((3, (), 2), "at least one input"),
    ((3, (4, 0), 2), "at least one input"), ((3, (4,), 0), "at least one input")])
def test_networks_that_cannot_be(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(wf.WellfitError, match=message):
        MLP(*arguments)  # type: ignore[arg-type]


def test_flat_memory_is_shared_with_its_views() -> None:
    flat = Flat.zeros({"a": (2, 3), "b": (4,)}, 3, torch.float64, "cpu")
    flat.views["a"].fill_(1.0)
    flat.views["b"][1] = 2.0
    assert flat.values.sum() == 3 * 6 + 4 * 2
    kept = flat.keep(torch.tensor([1]))
    assert kept.views["b"].tolist() == [[2.0] * 4]
    kept.views["b"].zero_()
    assert flat.views["b"][1].tolist() == [2.0] * 4


# -------------------------------------------------------------------------------------------------------- problems


def problem(**changes: object) -> Problem:
    settings = {"network": NetworkSpec(2, (3,), 2), "inputs": torch.zeros(50, 2), "targets": torch.zeros(50).long(),
                "folds": (Fold(torch.arange(40), torch.arange(40, 50)),), "objective": Objective("binary", "accuracy"),
                "epochs": 3, "batch_size": 16}
    return Problem(**{**settings, **changes})  # type: ignore[arg-type]


def test_an_epoch_leaves_out_the_last_incomplete_batch() -> None:
    assert problem().steps_per_epoch == 2
    assert problem().total_steps == 6
    assert problem(batch_size=1000).steps_per_epoch == 1
    assert problem(batch_size=1000).batch == 40
    assert problem(batch_size=40).steps_per_epoch == 1
    assert problem().classes == 2
    assert problem(objective=Objective("regression", "rmse")).classes is None


def test_an_epoch_visits_every_row_in_a_new_order() -> None:
    streams = Streams([1, 2])
    orders = [epoch_order(streams, epoch, 40) for epoch in range(2)]
    for order in orders:
        assert order.sort(1).values.tolist() == [list(range(40))] * 2
    assert not torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0][0], orders[0][1])
    assert torch.equal(epoch_order(Streams(2), 1, 40), orders[1][1])


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.array([0] * 10 + [1] * 5 + [2] * 85)
    found = class_weights(labels, 3, "balanced")
    assert found is not None
    np.testing.assert_allclose(found, compute_class_weight("balanced", classes=np.arange(3), y=labels), rtol=1e-6)
    assert float(found[torch.from_numpy(labels)].mean()) == pytest.approx(1.0)
    assert class_weights(labels, 3, "none") is None
    missing = class_weights(np.array([0, 0, 2]), 3, "balanced")
    assert missing is not None
    assert missing.tolist() == pytest.approx([0.75, 0.0, 1.5])


# ----------------------------------------------------------------------------------------------------------- slots


def test_parts_that_differ_in_numbers_share_a_slot_and_in_choices_do_not() -> None:
    recipes = [wf.Recipe(wf.L1(0.1), wf.Dropout(0.2)), wf.Recipe(), wf.Recipe(wf.L1(0.3)),
               wf.Recipe(wf.L1(0.1, select="first")), wf.Recipe(wf.WeightDecay(rate=0.1)),
               wf.Recipe(wf.WeightDecay(timescale=3.0))]
    slots = line_up(recipes, torch.float64, "cpu")
    assert [s.part.name for s in slots] == ["weight_decay", "weight_decay", "dropout", "l1", "l1"]
    shared = next(s for s in slots if s.part.name == "l1" and s.part.select == "weights")  # type: ignore[attr-defined]
    assert shared.present.tolist() == [True, False, True, False, False, False]
    assert shared.tensors(0.0).strength.tolist() == [0.1, 0.0, 0.3, 0.0, 0.0, 0.0]
    assert slot_key(wf.L1(0.1)) == slot_key(wf.L1(wf.Linear(0.0, 1.0)))  # type: ignore[arg-type]


def test_members_without_a_part_get_its_neutral_value() -> None:
    recipes = [wf.Recipe(wf.MaxNorm(2.0), wf.WeightDecay(timescale=3.0), wf.EMA(0.9)), wf.Recipe()]
    values = {s.part.name: s.tensors(0.0) for s in line_up(recipes, torch.float64, "cpu")}
    assert values["max_norm"].radius.tolist() == [2.0, float("inf")]
    assert values["weight_decay"].timescale.tolist() == [3.0, float("inf")]
    assert values["ema"].decay.tolist() == [0.9, 0.0]


def test_schedules_move_in_their_slot() -> None:
    recipes = [wf.Recipe(wf.Dropout(wf.Linear(0.0, 0.4))), wf.Recipe(wf.Dropout(0.3)), wf.Recipe()]  # type: ignore[arg-type]
    slot, = line_up(recipes, torch.float64, "cpu")
    assert slot.tensors(0.0).rate.tolist() == [0.0, 0.3, 0.0]
    assert slot.tensors(0.5).rate.tolist() == [0.2, 0.3, 0.0]
    assert slot.numbers(1.0).rate.tolist() == [0.4, 0.3, 0.0]


def test_a_slot_without_members_goes() -> None:
    slot, = line_up([wf.Recipe(wf.L1(0.1)), wf.Recipe(), wf.Recipe(wf.L1(0.2))], torch.float64, "cpu")
    kept = slot.keep([2, 1])
    assert kept is not None
    assert kept.tensors(0.0).strength.tolist() == [0.2, 0.0]
    assert slot.keep([1]) is None


def test_the_order_of_slots_hangs_on_kinds_never_on_values() -> None:
    recipes = [wf.Recipe(wf.L1(s, select=where)) for s, where in ((0.9, "first"), (0.1, "first"), (0.5, "last"))]

    def order(rows: list[int]) -> list[str]:
        return [s.part.select for s in line_up([recipes[r] for r in rows], torch.float64, "cpu")]  # type: ignore[attr-defined]
    assert order([0, 1, 2]) == order([1, 2]) == order([2, 0]) == ["first", "last"]


def test_structure() -> None:
    assert structure_key(wf.Recipe(wf.BatchNorm())) != structure_key(wf.Recipe(wf.L1()))
    assert structure_key(wf.Recipe(wf.Dropout())) == structure_key(wf.Recipe())
