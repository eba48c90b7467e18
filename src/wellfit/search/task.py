"""A network of one's own with its data: what :func:`wellfit.tune` needs to know of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor, nn

from wellfit.core.errors import WellfitError, nearest
from wellfit.core.reference import load_reference
from wellfit.population.modules.problem import MakeOptimizer

KINDS = ("rows", "images", "waveforms", "spectrograms", "tokens", "anything")


@dataclass(eq=False, kw_only=True)
class Task:
    """Any network, any data, any loss, made ready for :func:`wellfit.tune`.

    ::

        task = wf.Task(build=lambda: MyResNet(classes=10), train=train_set, test=test_set)
        result = wf.tune(task, budget="20m")

    Attributes:
        build: makes a fresh network. torch's generator is seeded around the call, so that a seed means a start.
        train, validation, test: (inputs, targets) as arrays or tensors, a map-style ``Dataset``, or a ``DataLoader`` (its data set,
            collation and batch size are used). Inputs may be one tensor, a tuple (passed as several arguments) or a dict (passed
            by name). Without ``validation`` a part of the training examples is held back for choosing, without ``test`` a fifth
            for the final judgement. They must not be augmented: augmentation is what is being chosen.
        loss: (outputs, targets) -> mean loss; by default cross-entropy for class numbers, squared error for numbers.
        metric: accuracy, balanced_accuracy, log_loss, rmse, r2, or a function (outputs, targets) -> one value per example
            (one that gives a single number is asked about each example alone, and the mean is taken).
        higher_is_better: of a metric function.
        optimizer: (parameters, learning rate) -> optimizer; AdamW by default. A weight_decay that it sets becomes part of the
            search, instead of acting unseen beside it.
        learning_rate, epochs, batch_size: what you would use; the learning rate is searched around it.
        classes: their names, or how many there are.
        groups: for each training example a label; examples with one label never straddle a split.
        kind: of the inputs: rows, images (B, C, H, W), waveforms (B, T), spectrograms (B, F, T), tokens (B, T) or anything; found
            from the first batch by default. It says which augmentations make sense.
        features: computed from the inputs of a batch before the network sees them (a spectrogram).
        class_weights: "none", or "balanced" to weight the default loss by inverse class frequency.
        device: cpu, cuda or mps; by default the best there is.
        name: for reports.

    Raises:
        WellfitError: when the parts do not fit together; :func:`wellfit.tune` tries them on two examples before anything else.
    """

    build: Callable[[], nn.Module]
    train: Any
    validation: Any = None
    test: Any = None
    loss: Callable[[Any, Any], Tensor] | None = None
    metric: str | Callable[[Any, Any], Any] | None = None
    higher_is_better: bool = True
    optimizer: MakeOptimizer | None = None
    learning_rate: float = 1e-3
    epochs: int | None = None
    batch_size: int | None = None
    classes: Sequence[str] | int | None = None
    groups: Sequence[Any] | np.ndarray | None = None
    kind: str | None = None
    features: Callable[[Any], Any] | None = None
    class_weights: str = "none"
    device: str | None = None
    name: str = "task"
    reference: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not callable(self.build) or isinstance(self.build, nn.Module):
            raise WellfitError("A task needs a way to make fresh networks.", received=type(self.build).__name__,
                               expected="a function without arguments that returns a new nn.Module",
                               action="build=lambda: MyNetwork(...)")
        if self.kind is not None and self.kind not in KINDS:
            hint = nearest(self.kind, KINDS)
            raise WellfitError("Unknown kind of input.", received=repr(self.kind), expected=", ".join(KINDS),
                               action=f"did you mean {hint}?" if hint else None)
        if self.class_weights not in ("none", "balanced"):
            raise WellfitError("Unknown class weighting.", received=repr(self.class_weights), expected="balanced or none")
        if not self.learning_rate > 0:
            raise WellfitError("A learning rate is positive.", received=self.learning_rate, expected="such as 1e-3")
        for name, value in (("epochs", self.epochs), ("batch_size", self.batch_size)):
            if value is not None and (not isinstance(value, int) or value < 1):
                raise WellfitError(f"{name} is a whole number of at least 1.", received=repr(value))


def load_task(reference: str) -> Task:
    """The task that ``package.module:name`` points to: a :class:`Task`, or a function that makes one."""
    expected = "package.module:task, such as mytask:task for `task = wf.Task(...)` in mytask.py"
    referenced = load_reference(reference, expected)
    found = referenced.value
    if callable(found) and not isinstance(found, Task):
        found = found()
    if not isinstance(found, Task):
        raise WellfitError("This is no task.", received=f"{reference} is a {type(found).__name__}",
                           expected="a wf.Task, or a function that returns one")
    found.reference = reference
    if found.name == "task":
        found.name = reference.partition(":")[0].split(".")[-1]
    return found


def is_reference(text: Any) -> bool:
    """Whether a text looks like ``package.module:name``.

    >>> is_reference("mytask:task"), is_reference("C:/data.csv"), is_reference("table.csv")
    (True, False, False)
    """
    if not isinstance(text, str):
        return False
    module, colon, name = text.partition(":")
    return bool(colon) and name.isidentifier() and all(p.isidentifier() for p in module.split("."))
