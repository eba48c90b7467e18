"""Where networks are trained: which devices there are, and whether the one asked for is among them."""

from __future__ import annotations

import torch

from wellfit.core.errors import WellfitError


def best_device() -> str:
    """cuda, mps or cpu."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def check_device(name: str, *, table: bool) -> None:
    """Raises WellfitError for a device that is unknown, not there, or cannot compute what is asked of it."""
    kinds = ("cpu", "cuda") if table else ("cpu", "cuda", "mps")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = None
    if device is None or device.type not in kinds:
        reason = "tables need double precision, which mps has not" if device is not None and device.type == "mps" else None
        raise WellfitError("This device cannot be used.", received=repr(name), expected=", ".join(kinds) + ", or such as cuda:1",
                           action=reason)
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[device.type]
    if (device.index or 0) >= there:
        raise WellfitError("This device is not there.", received=repr(name), action="leave out device, or give cpu",
                           expected=f"one of {there} that torch {torch.__version__} finds" if there else
                           f"a {device.type} device that torch {torch.__version__} can use; it finds none")
