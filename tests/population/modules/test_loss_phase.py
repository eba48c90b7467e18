"""Members with parts of the loss phase train in the third tier, exactly as in the plain loop."""

from __future__ import annotations

import pytest
import torch

import wellfit as wf
from wellfit.core.regularizer import Regularizer
from wellfit.drivers.loop import train
from wellfit.population.modules.stack import ModuleStack
from wellfit.population.modules.table import as_modules
from wellfit.population.network import NetworkSpec
from wellfit.population.problem import Fold, Member, Objective, Problem
from wellfit.population.tiers import tier_of

INPUTS = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
LABELS = (INPUTS[:, 0] > 0).long() + (INPUTS[:, 1] > 0.5).long()
PROBLEM = Problem(NetworkSpec(5, (8, 8), 3), INPUTS, LABELS, (Fold(torch.arange(48), torch.arange(48, 60)),),
                  Objective("multiclass", "accuracy"), epochs=3, batch_size=16, rate_schedule=wf.Cosine(1.0, 0.0))
PARTS = [wf.SAM(0.1), wf.RDrop(1.0), wf.VAT(1.0), wf.ConfidencePenalty(0.1), wf.BootstrappedLoss(0.1), wf.ForwardCorrection(0.1),
         wf.ActivityPenalty(1e-3), wf.Lookahead(0.5, every=3), wf.GradientNoise(1e-4), wf.SnapshotEnsemble(3)]


@pytest.mark.parametrize("part", PARTS, ids=lambda p: p.name)
def test_it_equals_the_plain_loop_and_goes_on_from_a_checkpoint(part: Regularizer) -> None:
    member = Member(wf.Recipe(wf.Dropout(0.2), part), 5e-3, seed=3)
    assert tier_of(PROBLEM, member) == "modules"
    stack = ModuleStack(as_modules(PROBLEM), [member])
    stack.run_epoch()
    again = ModuleStack(as_modules(PROBLEM), [member])
    again.load_state(stack.state())
    while not again.done:
        again.run_epoch()
    model = wf.MLP(5, (8, 8), 3, seed=3)
    plan = member.recipe.compile(model, seed=3, epochs=3, steps_per_epoch=3, classes=3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0, fused=True)
    train(plan, optimizer, INPUTS[:48], LABELS[:48], PROBLEM.objective.loss, epochs=3, batch_size=16,
          rate_schedule=wf.Cosine(1.0, 0.0))
    for name, value in again.final_model().state_dict().items():
        assert torch.allclose(value, model.state_dict()[name], rtol=1e-4, atol=1e-6), name
