"""The doctor against the corpus: planted mistakes are found, correct set-ups are left in peace.

``KNOWN_MISSES`` lists what the doctor does not find, with the reason, so that nothing is missed in silence: a script in the list
that is found, and one outside it that is not, both fail.
"""

from __future__ import annotations

from functools import cache

import pytest

from doctor.corpus_scripts import Script, missed, quiet, scripts

check_module = pytest.importorskip("wellfit.doctor.check")

MISTAKES, CORRECT = scripts("open", "held"), scripts("correct")
LEAST_RECALL = 0.95
# name of the script -> why it is not found
KNOWN_MISSES: dict[str, str] = {}


@cache
def findings(name: str) -> tuple[tuple[str, str], ...]:
    """(id, severity) of all that the doctor says of a script, once per test session."""
    script = {s.name: s for s in scripts()}[name]
    parts = script.build()
    with quiet():
        return tuple((finding.id, finding.severity) for finding in check_module.check(**parts))


def ids(script: Script) -> set[str]:
    return {name for name, _ in findings(script.name)}


@pytest.mark.parametrize("script", MISTAKES, ids=lambda s: s.name)
def test_a_planted_mistake_is_found(script: Script) -> None:
    if not script.available:
        pytest.skip(f"needs {script.needs}")
    lacking = missed(script, ids(script))
    if script.name in KNOWN_MISSES:
        assert lacking, f"{script.name} is found now: take it off the list of known misses"
        pytest.skip(f"a known miss: {KNOWN_MISSES[script.name]}")
    assert not lacking, f"not among {sorted(ids(script))}"


def test_recall_is_high() -> None:
    """What is missed and not listed fails a test of its own, so that the list bounds the recall."""
    wanted = {s.name: len(s.expected) for s in MISTAKES if s.available}
    lacking = sum(wanted.get(name, 0) for name in KNOWN_MISSES)  # as if a listed script lacked all that it expects
    assert lacking <= (1 - LEAST_RECALL) * sum(wanted.values()), f"{lacking} of {sum(wanted.values())} may be missed"


def test_the_known_misses_are_scripts() -> None:
    assert set(KNOWN_MISSES) <= {s.name for s in MISTAKES}


@pytest.mark.parametrize("script", CORRECT, ids=lambda s: s.name)
def test_a_correct_set_up_has_no_error(script: Script) -> None:
    if not script.available:
        pytest.skip(f"needs {script.needs}")
    assert not [name for name, severity in findings(script.name) if severity == "error"]


def test_a_lightning_module_has_no_error() -> None:
    lightning = pytest.importorskip("lightning")
    import torch
    import torch.nn.functional as F
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    class LitNet(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x)

        def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
            return F.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            decay = [p for p in self.parameters() if p.ndim > 1]
            free = [p for p in self.parameters() if p.ndim <= 1]
            return torch.optim.AdamW([{"params": decay, "weight_decay": 0.1}, {"params": free, "weight_decay": 0.0}], lr=3e-3)

    def train_step(model: LitNet, optimizer: torch.optim.Optimizer, batch: list[torch.Tensor], step: int) -> float:
        model.train()
        optimizer.zero_grad()
        loss = model.training_step(batch, step)
        loss.backward()
        optimizer.step()
        return loss.item()

    with quiet():
        torch.manual_seed(0)
        x = torch.randn(160, 8)
        data = TensorDataset(x, (x[:, 0] > 0).long())
        model = LitNet()
        train = DataLoader(torch.utils.data.Subset(data, range(128)), batch_size=16, shuffle=True)
        val = DataLoader(torch.utils.data.Subset(data, range(128, 160)), batch_size=16)
        found = check_module.check(model=model, optimizer=model.configure_optimizers(), criterion=nn.CrossEntropyLoss(),
                                   train_loader=train, val_loader=val, train_step=train_step, epochs=50)
    assert not [finding.id for finding in found if finding.severity == "error"]
