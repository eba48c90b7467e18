"""Random states that are as before when a probe is over."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch


@contextlib.contextmanager
def random_state_kept(seed: int = 0) -> Iterator[None]:
    """The global generators of torch, numpy and ``random`` start from ``seed`` inside, and go on as if nothing had been afterwards.

    >>> before = random.getstate()
    >>> with random_state_kept(3):
    ...     _ = random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
    >>> random.getstate() == before
    True
    """
    legacy, plain = np.random.get_state(), random.getstate()  # noqa: NPY002
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002  # put back below
            random.seed(seed)  # put back below
            yield
    finally:
        np.random.set_state(legacy)  # noqa: NPY002  # puts back
        random.setstate(plain)  # puts back
