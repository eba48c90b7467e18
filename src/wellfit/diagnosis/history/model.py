"""From the shape of curves to a probability per cause: a multinomial logistic model whose coefficients are data.

``coefficients.json`` was fitted by ``benchmarks/history.py`` to real trainings whose truth is known from runs that were made: the
same training continued, at other learning rates, with and without regularizers, with wider networks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

LEAVES = ("fits_well", "overfits", "still_falling", "rate_too_low", "rate_too_high", "plateau", "over_regularized")
"""What the model tells apart; four of them are ways to underfit."""

PARENT = {"still_falling": "underfits", "rate_too_low": "underfits", "rate_too_high": "underfits", "plateau": "underfits"}
"""The cause of a leaf that is no cause by itself."""


@cache
def coefficients() -> dict[str, Any]:
    """The fitted model, by kind of curve."""
    return json.loads(files("wellfit.diagnosis.history").joinpath("coefficients.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def probabilities(features: Mapping[str, float], kind: str) -> dict[str, float]:
    """The probability of each leaf.

    Args:
        features: of :func:`~wellfit.diagnosis.history.features.shape_of`.
        kind: "loss" or "metric"; the model without training curves is taken where the features lack them.
    """
    key = kind if "gap_end" in features else f"{kind} without training"
    return apply(coefficients()["models"][key], features)


def overfitting(features: Mapping[str, float], kind: str) -> float:
    """The probability that stopping at the best epoch would have been better than the last one, whatever the main cause."""
    key = kind if "gap_end" in features else f"{kind} without training"
    return apply(coefficients()["overfitting"][key], features)["yes"]


def apply(model: Mapping[str, Any], features: Mapping[str, float]) -> dict[str, float]:
    """softmax(W z + b) with z the standardized features, cut at 4 deviations."""
    raw = np.array([features[name] for name in model["features"]])
    z = np.clip((raw - np.array(model["mean"])) / np.array(model["scale"]), -4, 4)
    scores = np.array(model["weights"]) @ z + np.array(model["intercepts"])
    shares = np.exp((scores - scores.max()) / model.get("temperature", 1.0))
    return dict(zip(model["leaves"], (shares / shares.sum()).tolist(), strict=True))
