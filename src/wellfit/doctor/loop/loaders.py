"""Loaders that the doctor controls: real inputs, targets that agree or disagree with the model on command."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from wellfit.doctor.copies import NotExaminable
from wellfit.doctor.loop.criteria import Criterion, loss_of, main_output, run_model, targets_of
from wellfit.doctor.loop.watch import Watch


def mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same nest of tuples, lists and mappings with other tensors."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {k: mapped(v, change) for k, v in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(mapped(v, change) for v in value))
    if isinstance(value, tuple | list):
        return type(value)(mapped(v, change) for v in value)
    return value


def rows_of(batch: Any) -> int:
    """Number of rows of a batch: that of its targets, or of the first tensor in it."""
    target = targets_of(batch)
    if target is not None and target.ndim:
        return target.shape[0]
    found: list[int] = []
    mapped(batch, lambda t: found.append(t.shape[0] if t.ndim else 0) or t)  # type: ignore[func-returns-value]
    return found[0] if found else 0


def _joined(batches: list[Any]) -> Any:
    """Batches as one, or the first alone where they do not fit together."""
    leaves: list[list[Tensor]] = []
    for batch in batches:
        mine: list[Tensor] = []
        mapped(batch, lambda t, mine=mine: mine.append(t) or t)  # type: ignore[misc]
        leaves.append(mine)
    rows = [rows_of(b) for b in batches]
    if any(len(mine) != len(leaves[0]) for mine in leaves):
        return batches[0]
    joined: list[Tensor] = []
    for i, first in enumerate(leaves[0]):
        column = [mine[i] for mine in leaves]
        if any(not t.ndim or t.shape[0] != n or t.shape[1:] != first.shape[1:] for t, n in zip(column, rows, strict=True)):
            return batches[0]
        joined.append(torch.cat(column))
    todo = iter(joined)
    return mapped(batches[0], lambda _: next(todo))


class _Rows(Dataset[Any]):
    """Rows of a batch that is no pair of tensors."""

    def __init__(self, batch: Any, rows: int):
        self.batch, self.rows = batch, rows

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, index: int) -> Any:
        return mapped(self.batch, lambda t: t[index] if t.ndim and t.shape[0] == self.rows else t)


class Watched(DataLoader[Any]):
    """A loader that tells when it is read, and whose targets can be changed at any time.

    Args:
        part: "train", "val" or "test".
        batches: of the loader that it stands for.
        rows: how many rows it has; rows are repeated or left out.
        size: rows per batch.
    """

    def __init__(self, part: str, batches: list[Any], *, rows: int, size: int):
        if not batches:
            raise NotExaminable(f"the {part} loader is empty")
        whole = _joined(batches)
        have = rows_of(whole)
        if have < 1:
            raise NotExaminable(f"the batches of the {part} loader have no rows")
        index = torch.arange(rows) % have
        self.whole = mapped(whole, lambda t: t[index.to(t.device)].clone() if t.ndim and t.shape[0] == have else t)
        self.part, self.rows, self.size = part, rows, max(1, min(size, rows))
        self.begun: Callable[[Watched], None] = lambda loader: None
        self.read: Callable[[Watched, Any], None] = lambda loader, batch: None
        self.ended: Callable[[Watched], None] = lambda loader: None
        pair = isinstance(self.whole, tuple | list) and all(
            isinstance(v, Tensor) and v.ndim and v.shape[0] == rows for v in self.whole)
        data: Dataset[Any] = TensorDataset(*self.whole) if pair else _Rows(self.whole, rows)
        self.targets = targets_of(self.whole)
        self.honest = None if self.targets is None else self.targets.clone()
        super().__init__(data, batch_size=self.size)

    def __len__(self) -> int:
        return -(-self.rows // self.size)

    def slices(self) -> Iterator[Any]:
        for start in range(0, self.rows, self.size):
            yield mapped(self.whole, lambda t, s=slice(start, start + self.size):  # type: ignore[misc]
                         t[s] if t.ndim and t.shape[0] == self.rows else t)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self.begun(self)
        for piece in self.slices():
            batch = mapped(piece, torch.clone)
            self.read(self, batch)
            yield batch
        self.ended(self)


class Commanded:
    """Sets the targets of a loader so that a share of the rows agrees with the model and the rest contradicts it."""

    def __init__(self, loader: Watched, watch: Watch, criterion: Criterion | None = None):
        if loader.targets is None or not loader.targets.ndim:
            raise NotExaminable(f"the targets of the {loader.part} loader are not known")
        self.loader, self.watch, self.criterion = loader, watch, criterion
        self.quality: float | None = None
        self.loss: float | None = None
        self.order = torch.randperm(loader.rows, generator=torch.Generator().manual_seed(7))

    def set(self, model: nn.Module, quality: float) -> None:
        """``quality``: 1 if all rows agree, 0 if none does.

        More of it than before gives a lower loss, less of it a higher one: the share of rows is moved on until that is so.
        """
        targets = self.loader.targets
        assert targets is not None
        outputs = self._outputs(model).to(targets.device)
        up = self.quality is None or quality > self.quality
        share = min(max(quality, 0.0), 1.0)
        for _ in range(60):
            loss = self._write(outputs, share)
            if self.loss is None or loss is None or (loss < self.loss if up else loss > self.loss):
                break
            if share in (0.0, 1.0):
                break
            share = min(1.0, share + 0.02) if up else max(0.0, share - 0.02)
        self.quality = quality
        if loss is not None:
            self.loss = loss

    def _write(self, outputs: Tensor, share: float) -> float | None:
        """Let a share of the rows agree; the loss of these outputs then."""
        targets = self.loader.targets
        assert targets is not None
        good, bad = agreeing(outputs, targets if self.loader.honest is None else self.loader.honest, share)
        agree = torch.zeros(self.loader.rows, dtype=torch.bool)
        agree[self.order[:round(share * self.loader.rows)]] = True
        agree = agree.to(targets.device).reshape(-1, *([1] * (targets.ndim - 1)))
        targets.copy_(torch.where(agree, good, bad))
        loss = loss_of(self.criterion, outputs, targets)
        return None if loss is None else float(loss)

    def _outputs(self, model: nn.Module) -> Tensor:
        modes = [(m, m.training) for m in model.modules()]
        try:
            model.eval()
            with self.watch.looking_away(), torch.no_grad(), torch.random.fork_rng(devices=[]):
                found = [main_output(run_model(model, piece)) for piece in self.loader.slices()]
        except Exception as error:
            raise NotExaminable(f"the model cannot be run on the inputs alone ({type(error).__name__})") from error
        finally:
            for module, mode in modes:
                module.training = mode
        if any(t is None for t in found):
            raise NotExaminable("the model returns no tensor that could be compared with targets")
        return torch.nan_to_num(torch.cat([t.detach().float() for t in found if t is not None]))


def agreeing(outputs: Tensor, targets: Tensor, quality: float) -> tuple[Tensor, Tensor]:
    """Targets that agree with the outputs and targets that contradict them, like the given ones in shape and kind."""
    if not targets.is_floating_point():
        if outputs.numel() == targets.numel():
            good = (outputs > _middle(outputs)).reshape(targets.shape).to(targets.dtype)
            return good, 1 - good
        axis = 1 if outputs.shape[0] == targets.shape[0] and outputs.shape[2:] == targets.shape[1:] else -1
        if outputs.ndim == targets.ndim and targets.shape[-1] == 1:  # (rows, 1) beside (rows, classes)
            good, bad = outputs.argmax(-1, keepdim=True), outputs.argmin(-1, keepdim=True)
        else:
            good, bad = outputs.argmax(axis), outputs.argmin(axis)
        if good.shape != targets.shape:
            raise NotExaminable("outputs and targets have shapes that are not understood")
        bad = torch.where(bad == good, (good + 1) % outputs.shape[axis], bad)
        ignored = targets < 0
        return (torch.where(ignored, targets, good.to(targets.dtype)), torch.where(ignored, targets, bad.to(targets.dtype)))
    if outputs.numel() != targets.numel():
        raise NotExaminable("outputs and targets have shapes that are not understood")
    shaped = outputs.reshape(targets.shape)
    if bool(((targets == 0) | (targets == 1)).all()):
        if targets.ndim >= 2 and targets.shape[1] > 1 and bool((targets.sum(1) == 1).all()):
            good, bad = shaped.argmax(1), shaped.argmin(1)
            return tuple(torch.nn.functional.one_hot(t, shaped.shape[1]).to(targets.dtype)  # type: ignore[return-value]
                         for t in (good, torch.where(bad == good, (good + 1) % shaped.shape[1], bad)))
        good = (shaped > _middle(outputs)).to(targets.dtype)
        return good, 1 - good
    spread = float(targets.std(correction=0)) + 1e-3
    far = spread * (1 + 4 * (1 - quality))
    return shaped.to(targets.dtype), (shaped + far).to(targets.dtype)


def _middle(outputs: Tensor) -> float:
    """Where a binary decision changes: 1/2 for probabilities, 0 for logits."""
    return 0.5 if bool(((outputs >= 0) & (outputs <= 1)).all()) else 0.0
