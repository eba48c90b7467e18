"""The contract table: instances of every registered regularizer, several where its settings lead different ways.

A regularizer that is registered without a row here fails ``test_every_regularizer_has_a_row``.
"""

from __future__ import annotations

from contract.rows import audio, images, inputs, network, targets, training, weights
from wellfit.core.regularizer import Regularizer

ROWS: dict[str, list[Regularizer]] = {
    **audio.ROWS, **images.ROWS, **inputs.ROWS, **network.ROWS, **targets.ROWS, **training.ROWS, **weights.ROWS,
}
