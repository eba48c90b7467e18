"""A trained built-in network as plain arrays: saved, loaded and evaluated."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from wellfit.core.errors import WellfitError
from wellfit.population.network import NORM_EPSILON, NetworkSpec, forward


@dataclass(frozen=True)
class Network:
    """Weights by the names of :class:`~wellfit.population.network.MLP`'s ``state_dict``."""

    spec: NetworkSpec
    weights: Mapping[str, np.ndarray]
    skip: bool = False

    @property
    def norm(self) -> bool:
        return any("wellfit_norm" in n for n in self.weights)

    def matrices(self) -> dict[str, np.ndarray]:
        """The weight matrices, first layer first."""
        return {f"layers.{i}.weight": np.asarray(self.weights[f"layers.{i}.weight"]) for i in range(self.spec.depth)}

    @torch.no_grad()
    def outputs(self, inputs: np.ndarray) -> np.ndarray:
        """(n, D) inputs to (n, C) outputs, in evaluation mode."""
        weights = {n: torch.from_numpy(np.array(w))[None] for n, w in self.weights.items()}

        def norm(layer: int, z: torch.Tensor) -> torch.Tensor:
            own = {k: weights[f"layers.{layer}.wellfit_norm.{k}"][:, None, :]
                   for k in ("weight", "bias", "running_mean", "running_var")}
            return (z - own["running_mean"]) * (own["weight"] * torch.rsqrt(own["running_var"] + NORM_EPSILON)) + own["bias"]

        x = torch.from_numpy(np.ascontiguousarray(inputs, dtype=np.float32))
        pieces = [forward(self.spec, weights, chunk, skip=self.skip, norm=norm if self.norm else None)[0]
                  for chunk in x.split(8192)]
        return torch.cat(pieces).numpy() if pieces else np.zeros((0, self.spec.outputs), np.float32)


def save_networks(path: Path, networks: Mapping[str, Network]) -> None:
    """Write networks to one safetensors file, atomically. A single network named "" keeps plain parameter names."""
    tensors = {_join(key, n): np.ascontiguousarray(w) for key, net in networks.items() for n, w in net.weights.items()}
    described = {key: {"inputs": net.spec.inputs, "hidden": list(net.spec.hidden), "outputs": net.spec.outputs,
                       "activation": net.spec.activation, "skip": net.skip} for key, net in networks.items()}
    temporary = path.with_name(path.name + ".tmp")
    save_file(tensors, str(temporary), metadata={"format": "1", "networks": json.dumps(described)})
    os.replace(temporary, path)


def load_networks(path: str | os.PathLike[str]) -> dict[str, Network]:
    """Read what :func:`save_networks` wrote. Nothing but arrays and numbers is read."""
    try:
        with safe_open(str(path), "np") as file:
            described = json.loads(file.metadata()["networks"])
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 - the file is no mapping
    except FileNotFoundError as error:
        raise WellfitError("The run has no model.", received=str(path), expected="a complete run",
                           action="finish it with wellfit tune --resume RUN") from error
    except Exception as error:
        raise WellfitError("The model file cannot be read.", received=f"{path} ({error})",
                           expected="a safetensors file written by wellfit") from error
    out = {}
    for key, row in described.items():
        spec = NetworkSpec(row["inputs"], tuple(row["hidden"]), row["outputs"], row["activation"])
        prefix = _join(key, "")
        own = {n[len(prefix):]: w for n, w in tensors.items() if n.startswith(prefix)}
        out[key] = Network(spec, own, row["skip"])
    return out


def _join(key: str, name: str) -> str:
    return f"{key}/{name}" if key else name
