"""From a task as a person wrote it to a checked one: its examples, its targets, one trial of network and loss."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wellfit.core.errors import WellfitError
from wellfit.data import Note, Split, make_split
from wellfit.kernels.mix import one_hot
from wellfit.population.modules.problem import adamw
from wellfit.population.modules.rows import JoinedRows, Rows, TensorRows, Tree, joined, leaves, mapped, rows_of
from wellfit.population.modules.stack import forward
from wellfit.search.architecture import Traits, traits_of
from wellfit.search.device import best_device
from wellfit.search.prepare import check_metric
from wellfit.search.prepare_task import Labelled, PreparedTask, Seedless, fresh, plain_squared_error, weighted_cross_entropy
from wellfit.search.score import METRICS
from wellfit.search.task import Task

_TARGET_CHUNK = 1024


def prepare_task(task: Task, *, seed: int, folds: int | None, metric: str | None = None, fingerprint: str = "",
                 notes: Sequence[Note] = ()) -> PreparedTask:
    """Read what the task holds, try it on two examples, and split it."""
    parts, size, found = _sources(task)
    rows: Rows = parts["train"] if len(parts) == 1 else JoinedRows(list(parts.values()))
    targets = _targets(rows)
    kind_of_task, y, names, classes_note = _labels(task, targets)
    notes = [*notes, *found, *classes_note]
    test_index = None
    lengths = {n: len(r) for n, r in parts.items()}
    starts = dict(zip(lengths, np.concatenate([[0], np.cumsum(list(lengths.values()))]), strict=False))
    place = {n: np.arange(starts[n], starts[n] + lengths[n], dtype=np.int64) for n in lengths}
    if "test" in place:
        test_index = place["test"]
    labelled = Labelled(y, kind_of_task, _groups(task, lengths, len(rows)), None, test_index)
    fixed = None
    if "validation" in place:
        fixed = _with_validation(labelled, place, seed)
    split = fixed or make_split(labelled, seed=seed, folds=folds if folds and folds > 1 else None)  # type: ignore[arg-type]
    device = task.device or best_device()
    chosen, own = _metric(task, metric, kind_of_task)
    first = rows.take(torch.from_numpy(split.development[:2]))
    traits, kind, more = _try(task, first, device, kind_of_task, len(names))
    return PreparedTask(task, rows, labelled, fixed, split, (*notes, *more), chosen, own, names, task.batch_size or size, traits,
                        kind, device, fingerprint or _fingerprint(task, y, len(rows)))


def _sources(task: Task) -> tuple[dict[str, Rows], int | None, list[Note]]:
    parts: dict[str, Rows] = {}
    notes: list[Note] = []
    size = None
    for name in ("train", "validation", "test"):
        source = getattr(task, name)
        if source is None:
            continue
        parts[name], found, remark = rows_of(source)
        size = size or found
        if remark:
            level: Any = "info" if name == "train" else "warning"
            notes.append(Note(level, "augmented_data", f"{name}: {remark}." + (
                "" if name == "train" else " What is judged must not be augmented.")))
    if "train" not in parts:
        raise WellfitError("A task needs training data.", expected="train=(inputs, targets), a Dataset or a DataLoader")
    return parts, size, notes


def _targets(rows: Rows) -> Tree:
    if isinstance(rows, TensorRows):
        return rows.targets
    if isinstance(rows, JoinedRows):
        return joined([_targets(s) for s in rows.sources])
    chunks = torch.arange(len(rows)).split(_TARGET_CHUNK)
    return joined([rows.take(chunk)[1] for chunk in chunks])


def _labels(task: Task, targets: Tree) -> tuple[str, np.ndarray, tuple[str, ...], list[Note]]:
    """The kind of task, what the split and the score need of the targets, and the names of the classes."""
    if not isinstance(targets, Tensor) or callable(task.metric) or targets[:1].numel() != 1:
        return "custom", np.zeros(len(next(leaves(targets)))), (), []
    flat = targets.reshape(len(targets), -1)
    values = flat[:, 0].cpu().numpy()
    if targets.dtype.is_floating_point:
        if isinstance(task.loss, nn.BCEWithLogitsLoss) and set(np.unique(values)) <= {0.0, 1.0}:
            return "binary", values.astype(np.int64), _names(task, 2), []
        if not np.isfinite(values).all():
            raise WellfitError("Some targets are not finite.", received=f"{int((~np.isfinite(values)).sum())} of {len(values)}",
                               expected="finite numbers", action="leave these examples out")
        return "regression", values.astype(np.float64), (), []
    labels = values.astype(np.int64)
    if labels.min() < 0:
        raise WellfitError("Class numbers start at 0.", received=int(labels.min()), expected="0 to the number of classes less one")
    number = max(int(labels.max()) + 1, len(task.classes) if isinstance(task.classes, Sequence) else task.classes or 0)
    if len(np.unique(labels)) < 2:
        raise WellfitError("All examples are of one class.", received=f"class {labels[0]} only", expected="at least two classes")
    notes = []
    if missing := sorted(set(range(number)) - set(labels.tolist())):
        notes.append(Note("warning", "absent_class", f"No example of class {', '.join(map(str, missing[:8]))}."))
    return "binary" if number == 2 else "multiclass", labels, _names(task, number), notes


def _names(task: Task, number: int) -> tuple[str, ...]:
    if isinstance(task.classes, Sequence):
        if len(task.classes) != number:
            raise WellfitError("The names of the classes do not fit the targets.", received=f"{len(task.classes)} names",
                               expected=f"{number}: the largest class number is {number - 1}")
        return tuple(str(c) for c in task.classes)
    return tuple(str(i) for i in range(number))


def _groups(task: Task, lengths: Mapping[str, int], total: int) -> np.ndarray | None:
    if task.groups is None:
        return None
    groups = np.unique(np.asarray(task.groups), return_inverse=True)[1].reshape(-1).astype(np.int64)
    if len(groups) != lengths["train"]:
        raise WellfitError("groups has another length than the training examples.", received=len(groups),
                           expected=lengths["train"])
    return np.concatenate([groups, groups.max() + 1 + np.arange(total - len(groups))])


def _with_validation(labelled: Labelled, place: Mapping[str, np.ndarray], seed: int) -> Split:
    """The parts as given; a missing test part is held back from the training examples."""
    train, validation = place["train"], place["validation"]
    if "test" in place:
        test = place["test"]
    else:
        own = Labelled(labelled.y[train], labelled.task, None if labelled.groups is None else labelled.groups[train], None, None)
        test = train[make_split(own, seed=seed).test]  # type: ignore[arg-type]
        train = np.setdiff1d(train, test)
    return Split(train, validation, test, ((train, validation),))


def _metric(task: Task, asked: str | None, kind: str) -> tuple[str, bool]:
    if callable(task.metric):
        return getattr(task.metric, "__name__", "metric").replace("<lambda>", "metric"), True
    if kind == "custom":
        if task.metric is not None:
            raise WellfitError("This metric needs one target per example.", received=repr(task.metric),
                               expected="a function (outputs, targets) -> one value per example, for targets of any shape")
        return "loss", True
    wanted = asked or task.metric or ("accuracy" if kind != "regression" and task.class_weights == "none" else METRICS[kind][0])
    return check_metric(wanted, kind), False


def _try(task: Task, first: tuple[Tree, Tree], device: str, kind: str, classes: int) -> tuple[Traits, str, list[Note]]:
    """Build the network, answer two examples, take one gradient: what does not fit is said before anything is trained."""
    try:
        model = fresh(Seedless(task.build))
    except Exception as error:
        raise WellfitError("build() fails.", received=f"{type(error).__name__}: {error}", expected="a new nn.Module") from error
    if not isinstance(model, nn.Module):
        raise WellfitError("build() gives no network.", received=type(model).__name__, expected="an nn.Module")
    if not any(p.requires_grad for p in model.parameters()):
        raise WellfitError("The network has nothing to train.", received=type(model).__name__,
                           expected="at least one parameter with requires_grad")
    held = {id(p) for p in model.parameters() if p.requires_grad}  # frozen ones may well be shared
    if any(id(p) in held for p in fresh(Seedless(task.build)).parameters()):
        raise WellfitError("build() gives the same network again.", received=f"the {type(model).__name__} of the call before",
                           expected="a new network with new weights at every call",
                           action="make it inside: build=lambda: MyNetwork(...)")
    model = model.to(device).train()
    raw, targets = (mapped(t, lambda x: x.to(device)) for t in first)
    inputs = raw if task.features is None else task.features(raw)
    shapes = ", ".join(f"{str(t.dtype).removeprefix('torch.')} {tuple(t.shape)}" for t in leaves(inputs))
    try:
        with torch.random.fork_rng(devices=[]):
            outputs = forward(model, inputs)
    except Exception as error:
        raise WellfitError("The network cannot take the inputs.", received=f"{shapes}: {type(error).__name__}: {error}",
                           expected="what the network's forward takes", action="try build()(inputs) on one batch") from error
    if classes and isinstance(outputs, Tensor) and outputs.ndim == 2 and outputs.shape[1] not in (classes, 1):
        raise WellfitError("The network's outputs do not fit the classes.", received=f"{outputs.shape[1]} outputs",
                           expected=f"{classes} (the largest class number is {classes - 1})")
    loss = task.loss or (partial(weighted_cross_entropy, None) if classes else plain_squared_error)
    try:
        value = loss(outputs, targets)
        value.backward()
    except Exception as error:
        raise WellfitError("The loss cannot take what the network answers.", received=f"{type(error).__name__}: {error}",
                           expected="loss(outputs, targets) -> one number that can be differentiated") from error
    soft = _takes_probabilities(loss, outputs, targets, classes)
    optimizer = (task.optimizer or adamw)(model.parameters(), task.learning_rate)
    traits = traits_of(model, optimizer, inputs, soft_targets=soft)
    notes = []
    if not soft and classes:
        notes.append(Note("info", "hard_loss", "The loss takes class numbers only: methods that mix or soften targets are left "
                                               "out."))
    if isinstance(raw, Tensor):
        return traits, task.kind or _kind(raw), notes
    if task.kind not in (None, "anything"):
        notes.append(Note("warning", "several_inputs", f"The network takes several inputs: what acts on {task.kind} is left out."))
    return traits, "anything", notes


def _takes_probabilities(loss: Any, outputs: Any, targets: Any, classes: int) -> bool:
    if not classes or not isinstance(outputs, Tensor) or outputs.ndim != 2 or outputs.shape[1] != classes:
        return False
    try:
        hard = loss(outputs.detach(), targets)
        soft = loss(outputs.detach(), one_hot(targets.reshape(-1), classes, outputs.dtype))
    except Exception:
        return False
    return bool(torch.allclose(hard, soft, rtol=1e-3, atol=1e-5))


def _kind(inputs: Tree) -> str:
    """What the inputs are, by their shape and type."""
    if not isinstance(inputs, Tensor):
        return "anything"
    if inputs.ndim == 4 and inputs.shape[1] in (1, 3) and min(inputs.shape[2:]) >= 8:
        return "images"
    if inputs.ndim == 2:
        if inputs.dtype.is_floating_point:
            return "rows"
        return "tokens" if inputs.dtype in (torch.int64, torch.int32) else "anything"
    return "anything"


def _fingerprint(task: Task, y: np.ndarray, rows: int) -> str:
    return hashlib.sha256(f"{task.reference or task.name} {rows} ".encode() + np.ascontiguousarray(y).tobytes()).hexdigest()
