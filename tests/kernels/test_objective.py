"""The losses of the built-in networks, against torch and scikit-learn."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import log_loss, mean_squared_error
from torch.nn import functional

from wellfit.kernels.mix import one_hot
from wellfit.kernels.objective import cross_entropy, squared_error

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(50, 4, generator=GENERATOR, dtype=torch.float64)
LABELS = torch.randint(0, 4, (50,), generator=GENERATOR)
WEIGHTS = torch.tensor([0.5, 1.0, 2.0, 0.1], dtype=torch.float64)


def test_cross_entropy_is_torchs() -> None:
    assert float(cross_entropy(LOGITS, LABELS)) == pytest.approx(float(functional.cross_entropy(LOGITS, LABELS)), rel=1e-14)
    soft = torch.softmax(LOGITS.flip(0), -1)
    assert float(cross_entropy(LOGITS, soft)) == pytest.approx(float(functional.cross_entropy(LOGITS, soft)), rel=1e-14)


def test_cross_entropy_is_scikit_learns_log_loss() -> None:
    assert float(cross_entropy(LOGITS, LABELS)) == pytest.approx(log_loss(LABELS, torch.softmax(LOGITS, -1).numpy()), rel=1e-12)


def test_weights_divide_by_the_batch_for_hard_and_soft_targets_alike() -> None:
    hard = float(cross_entropy(LOGITS, LABELS, WEIGHTS))
    per_row = functional.cross_entropy(LOGITS, LABELS, reduction="none") * WEIGHTS[LABELS]
    assert hard == pytest.approx(float(per_row.mean()), rel=1e-14)
    assert float(cross_entropy(LOGITS, one_hot(LABELS, 4, torch.float64), WEIGHTS)) == pytest.approx(hard, rel=1e-14)


def test_stacked_losses_are_one_per_member() -> None:
    logits = torch.stack([LOGITS, LOGITS * 2, -LOGITS])
    labels = torch.stack([LABELS, LABELS.flip(0), LABELS])
    found = cross_entropy(logits, labels, WEIGHTS)
    assert found.shape == (3,)
    for k in range(3):
        assert float(found[k]) == pytest.approx(float(cross_entropy(logits[k], labels[k], WEIGHTS)), rel=1e-14)


def test_squared_error_is_the_mean() -> None:
    outputs, targets = LOGITS[:, :1], LOGITS[:, 1]
    assert float(squared_error(outputs, targets)) == pytest.approx(mean_squared_error(targets, outputs[:, 0]), rel=1e-14)
    both = squared_error(torch.stack([outputs, outputs * 0]), torch.stack([targets, targets]))
    assert both.tolist() == pytest.approx([float(squared_error(outputs, targets)), float(targets.square().mean())])
