"""Loops and recipes that would leave a part out, or apply it twice, are refused or warned of."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import wellfit as wf
from drivers.differentiated import (
    CE,
    MULTI,
    ONE_PASS,
    X,
    Y,
    found,
    gradients,
    named,
)
from drivers.plain import equal, network
from wellfit.core.regularizer import Regularizer


@named("part", [*MULTI, *ONE_PASS])
def test_a_loop_that_would_leave_a_part_out_is_refused(part: Regularizer) -> None:
    plan = wf.Recipe(part).compile(network())
    with pytest.raises(wf.WellfitError, match=r"cannot serve[\s\S]*plan\.backward\(lambda: plan\.objective"):
        plan.loss(CE(plan.model(X), Y))
    plan.model.eval()
    loss = CE(plan.model(X), Y)
    assert plan.loss(loss) is loss


@named("part", MULTI)
def test_an_objective_outside_backward_is_refused(part: Regularizer) -> None:
    plan = wf.Recipe(part).compile(network())
    with pytest.raises(wf.WellfitError, match="needs more than one pass"):
        plan.objective(CE, plan.model(X), Y)
    with torch.no_grad():  # looking is allowed
        plan.objective(CE, plan.model(X), Y)


@named("part", [*ONE_PASS, *MULTI[2:]])
def test_a_closure_that_hides_its_outputs_is_refused(part: Regularizer) -> None:
    plan = wf.Recipe(part).compile(network())
    with pytest.raises(wf.WellfitError, match="does not show its outputs"):
        plan.backward(lambda: CE(plan.model(X), Y))


def test_sam_needs_no_outputs() -> None:
    plan = wf.Recipe(wf.SAM(0.3)).compile(network())
    plan.backward(lambda: CE(plan.model(X), Y))
    assert equal(gradients(plan.model), found(wf.SAM(0.3))[1])


@named("part", [wf.SAM(0.1), wf.ConfidencePenalty(0.1), wf.ActivityPenalty(0.1)])
def test_a_part_that_never_acted_is_warned_of(part: Regularizer) -> None:
    plan = wf.Recipe(part).compile(network())
    plan.attach(optimizer := torch.optim.SGD(plan.model.parameters(), lr=0.1))
    CE(plan.model(X), Y).backward()
    optimizer.step()
    with pytest.warns(wf.WellfitWarning, match=rf"{part.name} never acted: call plan\.backward"):
        plan.finish()


def test_inputs_that_cannot_be_moved() -> None:
    model = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(8, 3))
    plan = wf.Recipe(wf.VAT(1.0)).compile(model)
    with pytest.raises(wf.WellfitError, match="cannot be perturbed"):
        plan.backward(lambda: plan.objective(CE, model(torch.ones(4, 2, dtype=torch.long)), Y[:4]))


@pytest.mark.parametrize("criterion", [nn.CrossEntropyLoss(label_smoothing=0.1), functools.partial(CE, label_smoothing=0.1)])
def test_smoothing_twice_is_refused(criterion: Callable[..., Tensor]) -> None:
    plan = wf.Recipe(wf.LabelSmoothing(0.1)).compile(network())
    x, y = plan.batch(X, Y)
    with pytest.raises(wf.WellfitError, match="smoothed twice"):
        plan.objective(criterion, plan.model(x), y)
    mixed = wf.Recipe(wf.Mixup(0.1)).compile(network())
    x, y = mixed.batch(X, Y)
    mixed.objective(criterion, mixed.model(x), y)  # mixing and then smoothing is smoothing once


@pytest.mark.parametrize("criterion", [functional.nll_loss, nn.NLLLoss(), nn.MultiMarginLoss(),
                                       lambda z, t: functional.nll_loss(torch.log_softmax(z, 1), t)])
@named("part", [wf.Mixup(0.3), wf.CutMix(0.5), wf.LabelSmoothing(0.1)])
def test_a_criterion_of_hard_labels_is_named(part: Regularizer, criterion: Callable[..., Tensor]) -> None:
    plan = wf.Recipe(part).compile(network())
    x, y = plan.batch(X, Y)
    with pytest.raises(wf.WellfitError, match=rf"{part.name} makes class probabilities[\s\S]*CrossEntropyLoss"):
        plan.objective(criterion, plan.model(x), y)


def test_an_error_of_the_criterion_itself_passes() -> None:
    plan = wf.Recipe(wf.Mixup(0.3)).compile(network())
    with pytest.raises(ValueError, match="batch_size"):
        plan.objective(CE, plan.model(X), Y[:3])


@named("part", [wf.ConfidencePenalty(0.1), wf.BootstrappedLoss(0.1), wf.ForwardCorrection(0.1)])
def test_numbers_are_no_classes(part: Regularizer) -> None:
    model = wf.MLP(5, (8,), 2, dtype=torch.float64)
    plan = wf.Recipe(part).compile(model)
    with pytest.raises(wf.WellfitError, match="needs class scores"):
        plan.objective(functional.mse_loss, model(X), X[:, :2])


def test_a_criterion_without_a_mean_is_refused() -> None:
    plan = wf.Recipe(wf.ConfidencePenalty(0.1)).compile(network())
    with pytest.raises(wf.WellfitError, match="no single number"):
        plan.objective(functools.partial(CE, reduction="none"), plan.model(X), Y)


def test_smoothing_leaves_the_numbers_of_a_regression() -> None:
    plan = wf.Recipe(wf.LabelSmoothing(0.3)).compile(network())
    numbers = X[:, :3] * 10
    with pytest.warns(wf.WellfitWarning, match="label_smoothing changes nothing"):
        _, y = plan.batch(X, numbers)
    assert torch.equal(y, numbers)
    soft = torch.softmax(X[:, :3], 1)
    _, y = wf.Recipe(wf.LabelSmoothing(0.3)).compile(network()).batch(X, soft)
    assert torch.allclose(y, soft * 0.7 + 0.1)


@named("part", [wf.LabelSmoothing(0.0), wf.SAM(0.0), wf.Dropout(0.0), wf.MaxNorm(float("inf")), wf.SnapshotEnsemble(1)])
def test_a_part_set_to_do_nothing_is_warned_of(part: Regularizer) -> None:
    with pytest.warns(wf.WellfitWarning, match="changes nothing at this setting"):
        wf.Recipe(part).compile(network(), epochs=2)


def test_a_useful_recipe_is_not_warned_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wf.Recipe(wf.SAM(0.1), wf.EarlyStopping(patience=float("inf")), wf.ElasticNet(0.1, l1_ratio=0.0),
                  wf.LabelSmoothing(wf.Linear(0.0, 0.1))).compile(  # type: ignore[arg-type]
            network(), epochs=2, steps_per_epoch=2)


def test_a_state_of_another_recipe_is_refused() -> None:
    state = wf.Recipe(wf.Dropout(0.1), wf.SAM(0.1)).compile(network()).state_dict()
    wf.Recipe(wf.Dropout(0.1), wf.SAM(0.1)).compile(network()).load_state_dict(state)
    for other in (wf.Recipe(wf.Dropout(0.2), wf.SAM(0.1)), wf.Recipe(wf.SAM(0.1)), wf.Recipe(wf.SAM(0.1), wf.Dropout(0.1))):
        with pytest.raises(wf.WellfitError, match="another recipe"):
            other.compile(network()).load_state_dict(state)


def test_contradictions_are_refused_at_once() -> None:
    for parts in ((wf.SAM(0.1), wf.ASAM(0.1)), (wf.BootstrappedLoss(0.1), wf.ForwardCorrection(0.1)),
                  (wf.SnapshotEnsemble(2), wf.EMA(0.9)), (wf.SnapshotEnsemble(2), wf.SWA(0.5))):
        with pytest.raises(wf.WellfitError, match="cannot stand in one recipe"):
            wf.Recipe(*parts)
    with pytest.raises(wf.WellfitError, match="divides the run into cycles"):
        wf.Recipe(wf.SnapshotEnsemble(2)).compile(network())
