"""What the doctor examines: the live objects of a training, as far as they are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from torch import nn
from torch.optim import Optimizer

from wellfit.core.errors import WellfitError, nearest


@dataclass(frozen=True)
class SetUp:
    """A training, as live objects. Only the model is needed; what is not given is not examined.

    The functions name the parts they want as their parameters (``def fit(model, optimizer, train_loader, val_loader)``), and are
    called with copies, so that nothing of yours is trained.

    Attributes:
        model: the network as it is trained.
        optimizer: over its parameters.
        criterion: ``criterion(outputs, targets) -> loss``.
        train_loader, val_loader, test_loader: iterables of ``(inputs, targets)`` batches.
        scheduler: of the learning rate.
        averaged: a model with averaged weights (EMA, SWA) that is evaluated in the end.
        train_step: ``train_step(model, optimizer, batch, ...) -> loss``: one batch of training as it is done; returns the loss
            it logs. It may also name ``step`` (number of the batch, from 0), ``criterion``, ``scheduler``, ``averaged``.
        validate: ``validate(model, val_loader) -> number``: the validation metric as it is logged.
        fit: ``fit(model, optimizer, train_loader, val_loader, ...)``: the whole training with its early stopping; returns the
            model that is kept, or None if that is ``model`` itself.
        finalize: ``finalize(averaged, train_loader, ...)``: what is done after the last epoch (batch-norm statistics).
        epochs: that a whole training takes.
        declared: what regularization is meant to be there, with the numbers you mean: ``l1``, ``l2``, ``elastic_net``,
            ``weight_decay``, ``max_norm``, ``label_smoothing``, ``accumulation`` (batches per optimizer step), ``patience`` (in
            epochs), ``monitor`` ("val_loss", "val_accuracy", ...), ``mode`` ("min" or "max").
    """

    model: nn.Module
    optimizer: Optimizer | None = None
    criterion: Callable[..., Any] | None = None
    train_loader: Any = None
    val_loader: Any = None
    test_loader: Any = None
    scheduler: Any = None
    averaged: nn.Module | None = None
    train_step: Callable[..., Any] | None = None
    validate: Callable[..., Any] | None = None
    fit: Callable[..., Any] | None = None
    finalize: Callable[..., Any] | None = None
    epochs: int | None = None
    declared: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, given: Any) -> SetUp:
        """From what ``build()`` returned: a SetUp, a mapping of its parts, a tuple of the first ones, or a model alone."""
        if isinstance(given, SetUp):
            return given
        names = [f.name for f in fields(cls)]
        if isinstance(given, nn.Module):
            return cls(given)
        if isinstance(given, tuple):
            order = ("model", "optimizer", "train_loader", "val_loader", "test_loader")
            given = dict(zip(order, given, strict=False))
        if not isinstance(given, Mapping):
            raise WellfitError("This is no set-up to examine.", received=type(given).__name__,
                               expected="a model, or a dict with model, optimizer, train_loader, val_loader, ...")
        for name in given:
            if name not in names:
                hint = nearest(str(name), names)
                raise WellfitError("A set-up has no such part.", received=repr(name), expected=", ".join(names),
                                   action=f"did you mean {hint}?" if hint else None)
        if not isinstance(given.get("model"), nn.Module):
            raise WellfitError("A set-up needs a model.", received=repr(given.get("model"))[:80],
                               expected="model=<torch.nn.Module>")
        return cls(**given)
