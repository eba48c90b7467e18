"""Which random functions a model calls, and in which module."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

DROPOUTS = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout", "feature_dropout",
            "dropout_", "alpha_dropout_", "feature_dropout_", "feature_alpha_dropout_", "native_dropout")
MASKS = ("bernoulli", "bernoulli_", "rand", "rand_like")


@dataclass(frozen=True)
class Draw:
    """A call that draws at random.

    Attributes:
        kind: "dropout", "attention", "recurrent" (torch's own of these) or "mask" (uniform or Bernoulli numbers).
        function: its name.
        rate: probability of dropping; NaN where it is not known.
        module: name of the innermost module that was running, "" for the model itself.
    """

    kind: str
    function: str
    rate: float
    module: str


@dataclass
class Calls:
    """What happened inside :func:`watching`."""

    draws: list[Draw] = field(default_factory=list)
    losses: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


LOSSES: dict[str, Callable[..., Any]] = {
    "cross_entropy": F.cross_entropy, "nll_loss": F.nll_loss, "kl_div": F.kl_div,
    "binary_cross_entropy_with_logits": F.binary_cross_entropy_with_logits, "binary_cross_entropy": F.binary_cross_entropy,
}


class _Mode(TorchFunctionMode):
    def __init__(self, calls: Calls, running: list[str]):
        super().__init__()
        self._calls, self._running = calls, running

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in LOSSES:
            bound = inspect.signature(LOSSES[name]).bind(*args, **kwargs)
            bound.apply_defaults()
            self._calls.losses.append((name, dict(bound.arguments)))
        elif (draw := _drawn(func, name, args, kwargs)) is not None:
            kind, rate = draw
            if not rate <= 0:
                self._calls.draws.append(Draw(kind, name, rate, self._running[-1] if self._running else ""))
        return func(*args, **kwargs)


def _drawn(func: Any, name: str, args: Any, kwargs: Any) -> tuple[str, float] | None:
    """Kind and rate of a call that draws; None for any other."""
    if name in DROPOUTS:
        p = kwargs.get("p", args[1] if len(args) > 1 else 0.5)
        training = kwargs.get("training", kwargs.get("train", args[2] if len(args) > 2 else name.startswith("dropout")))
        return ("dropout", float(p) if training else 0.0)
    if name == "scaled_dot_product_attention":
        return ("attention", float(kwargs.get("dropout_p", args[4] if len(args) > 4 else 0.0)))
    if name == "multi_head_attention_forward":
        given = inspect.signature(F.multi_head_attention_forward).bind(*args, **kwargs)
        given.apply_defaults()
        return ("attention", float(given.arguments["dropout_p"]) if given.arguments["training"] else 0.0)
    if name in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
        flags = [a for a in args if isinstance(a, bool)]
        rates = [a for a in args if isinstance(a, float)]
        return ("recurrent", rates[0] if rates and len(flags) > 1 and flags[1] else 0.0)
    return ("mask", float("nan")) if name in MASKS else None


def _left(running: list[str]) -> None:
    if running:
        running.pop()


@contextlib.contextmanager
def watching(model: nn.Module) -> Iterator[Calls]:
    """Record random draws and losses of the passes made inside. Hooks go on the given model (a copy) and come off again."""
    calls, running = Calls(), []  # type: ignore[var-annotated]
    handles = []
    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(lambda m, a, name=name: running.append(name)))
        handles.append(module.register_forward_hook(lambda m, a, o: _left(running), always_call=True))
    try:
        with _Mode(calls, running):
            yield calls
    finally:
        for handle in handles:
            handle.remove()
