"""Predictions of a finished run for new rows."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wellfit.core.errors import WellfitError
from wellfit.data import Preprocessor, TargetCoder, read_frame
from wellfit.population.inference import load_networks
from wellfit.search.rundir import RunDirectory
from wellfit.search.score import softmax

MODELS = ("best", "ensemble")


def predict(path: str | os.PathLike[str], new: Any, *, model: str = "best") -> pd.DataFrame:
    """One row per row of ``new`` (a path or a frame), in its order. Extra columns are ignored, order does not matter."""
    if model not in MODELS:
        raise WellfitError("Unknown model.", received=repr(model), expected=" or ".join(MODELS))
    run = RunDirectory.open(path)
    preprocessor, coder = _load_preprocess(run.path / "best" / "preprocess.json")
    networks = load_networks(run.path / model / "model.safetensors")
    weights = {"": 1}
    if model == "ensemble":
        weights = {m["key"]: m["weight"] for m in run.read_json("ensemble/members.json")["members"]}
    frame = read_frame(new, text=preprocessor.text_columns)
    inputs = preprocessor.transform(frame)
    total = np.zeros((len(inputs), next(iter(networks.values())).spec.outputs))
    for key, weight in weights.items():
        outputs = networks[key].outputs(inputs)
        total += weight * (softmax(outputs) if coder.names else outputs * coder.std + coder.mean)
    total /= sum(weights.values())
    if coder.names is None:
        return pd.DataFrame({"prediction": total[:, 0]}, index=frame.index)
    columns: dict[str, Any] = {"prediction": coder.decode_names(total.argmax(axis=1))}
    return pd.DataFrame(columns | {f"p_{name}": total[:, c] for c, name in enumerate(coder.names)}, index=frame.index)


def _load_preprocess(path: Path) -> tuple[Preprocessor, TargetCoder]:
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        return Preprocessor.from_dict(saved["features"]), TargetCoder.from_dict(saved["target"])
    except FileNotFoundError as error:
        raise WellfitError("The run has no saved preprocessing.", received=str(path), expected="a complete run",
                           action="finish it with wellfit tune --resume RUN") from error
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, WellfitError):
            raise
        raise WellfitError("The saved preprocessing is damaged.", received=str(path), expected="what wellfit tune wrote") from error
