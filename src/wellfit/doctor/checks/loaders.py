"""How loaders make their batches: random reads in validation, workers with the same numbers, a last batch of one."""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader
from torch.utils.data._utils import worker as torch_worker

from wellfit.doctor.batches import call, rows_of, taken_apart
from wellfit.doctor.copies import iter_once
from wellfit.doctor.exam import Exam, NotExaminable
from wellfit.doctor.randomness import random_state_kept
from wellfit.doctor.registry import Observed, check
from wellfit.doctor.rows import is_map_style, reads_differ, sampled, split_rows, vector


@check("augmented-validation", severity="error", evidence="data", needs=("val_loader|test_loader",),
       why="The metric is that of randomly changed rows: it is another number at each evaluation, and early stopping and model "
           "choice follow the noise.",
       source="Shorten & Khoshgoftaar (2019), A survey on image data augmentation, J. Big Data 6:60: augmentation belongs to "
              "training data")
def augmented_validation(exam: Exam) -> Iterator[Observed]:
    for part in ("val_loader", "test_loader"):
        if getattr(exam.set_up, part) is None:
            continue
        if (seen := _random_reads(exam, part)) is not None:
            shared = _shared_with_training(exam, part)
            yield Observed(part, seen + ("; it shares its data set, and so the transform, with train_loader "
                                         f"({shared})" if shared else ""),
                           "train_set = Subset(Data(transform=augment), train_indices)\n"
                           "val_set = Subset(Data(transform=plain), val_indices)  # a data set of its own, without random "
                           "transforms")


def _random_reads(exam: Exam, part: str) -> str | None:
    loader = exam.loader(part)
    if is_map_style(loader):
        indices = sampled(loader)[:5].tolist()
        differ = [i for i in indices if reads_differ(loader.dataset, i)]
        if differ:
            first, second = (_read(loader.dataset, differ[0], seed) for seed in (11, 12))
            return (f"reading index {differ[0]} twice gives two rows (up to {_distance(first, second):.3g} apart); so do "
                    f"{len(differ)} of {len(indices)} indices tried")
        if loader.collate_fn is None or not indices:
            return None
        made = []
        for seed in (11, 12):
            with random_state_kept(seed):
                made.append(vector(taken_apart(loader.collate_fn([loader.dataset[i] for i in indices]))[0]))
        if made[0] is not None and made[1] is not None and not _same(made[0], made[1]):
            return f"collate_fn gives two batches for the same rows (up to {_distance(made[0], made[1]):.3g} apart)"
        return None
    passes = []
    for seed in (11, 12):
        with random_state_kept(seed):
            batches = itertools.islice(exam.loader(part), 200)
            passes.append([vector(r) for batch in batches for r in split_rows(taken_apart(batch, exam.set_up.model)[0])])
    keys = [sorted(r.tobytes() for r in rows if r is not None) for rows in passes]
    if keys[0] == keys[1] or len(keys[0]) < 1:
        return None
    fresh = len(set(keys[1]) - set(keys[0]))
    return f"{fresh} of {len(keys[1])} rows of a second pass were not in the first" if fresh > len(keys[1]) / 2 else None


def _read(data: Any, index: int, seed: int) -> np.ndarray:
    with random_state_kept(seed):
        found = vector(taken_apart(data[index])[0])
    return np.zeros(0) if found is None else found


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and np.array_equal(a, b, equal_nan=True)


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max()) if a.shape == b.shape and a.size else float("nan")


def _shared_with_training(exam: Exam, part: str) -> str:
    train, other = exam.set_up.train_loader, getattr(exam.set_up, part)
    below, name = [], "dataset"
    for loader in (train, other):
        data = getattr(loader, "dataset", None)
        while hasattr(data, "dataset") and hasattr(data, "indices"):
            data = data.dataset  # type: ignore[union-attr]
        below.append(data)
    return f"{part}.{name}.dataset is train_loader.{name}.dataset" if below[0] is below[1] and below[0] is not None else ""


# ------------------------------------------------------------------------------------------------------------- workers


@check("identical-augmentation-across-workers", severity="error", evidence="probe", needs=("train_loader",),
       why="Workers that draw the same numbers augment their rows alike, and each epoch like the one before: much less variety "
           "than is paid for.",
       source="PyTorch documentation, torch.utils.data: randomness in multi-process data loading")
def identical_augmentation(exam: Exam) -> Iterator[Observed]:
    given = exam.set_up.train_loader
    if not isinstance(given, DataLoader) or given.num_workers < 2 or not is_map_style(given):
        return
    index = int(sampled(exam.loader("train_loader"))[0])
    first, second, later = (_as_worker(exam, number, base, index) for number, base in ((0, 100), (1, 100), (0, 977)))
    if first is None or second is None or later is None or _all_same(first):
        return  # no random augmentation to speak of
    if all(_same(a, b) for a, b in zip(first, second)):
        again = all(_same(a, b) for a, b in zip(first, later))
        yield Observed("train_loader", f"workers 0 and 1 of {given.num_workers} give the same {len(first)} augmentations of row "
                                       f"{index}"
                       + (", and the same again in the next epoch" if again else ""),
                       "# draw from torch's generator, which each worker gets seeded anew, or seed your own in worker_init_fn:\n"
                       "def worker_init_fn(worker):\n"
                       "    info = torch.utils.data.get_worker_info()\n"
                       "    info.dataset.rng = np.random.default_rng(info.seed)  # info.seed differs by worker and by epoch")


def _as_worker(exam: Exam, number: int, base: int, index: int) -> list[np.ndarray] | None:
    """Four reads of one row, as worker ``number`` of an epoch would make them."""
    loader = exam.loader("train_loader")
    given = exam.set_up.train_loader
    with _posing(loader, number, given.num_workers, base):
        reads = [vector(taken_apart(loader.dataset[index])[0]) for _ in range(4)]
        if all(r is not None for r in reads) and _all_same(reads) and loader.collate_fn is not None:  # type: ignore[arg-type]
            row = loader.dataset[index]
            reads = [vector(taken_apart(loader.collate_fn([copy.deepcopy(row)]))[0]) for _ in range(4)]
    return None if any(r is None for r in reads) else reads  # type: ignore[return-value]


def _all_same(reads: list[np.ndarray]) -> bool:
    return all(_same(reads[0], r) for r in reads[1:])


@contextlib.contextmanager
def _posing(loader: DataLoader[Any], number: int, workers: int, base: int) -> Iterator[None]:
    """This process seeded and named as torch seeds and names a worker."""
    threads = torch.get_num_threads()
    info = torch_worker._worker_info
    try:
        with random_state_kept(base + number):
            torch_worker._worker_info = torch_worker.WorkerInfo(id=number, num_workers=workers, seed=base + number,
                                                                dataset=loader.dataset)
            if loader.worker_init_fn is not None:
                loader.worker_init_fn(number)
            yield
    finally:
        torch_worker._worker_info = info
        torch.set_num_threads(threads)


# ----------------------------------------------------------------------------------------------------- the last batch


@check("last-batch-of-one", severity="error", evidence="probe", needs=("train_loader",),
       why="Batch norm has no variance of a single row: it stops with an error, or normalizes the row with itself and spoils the "
           "running statistics.",
       source="Ioffe & Szegedy (2015), Batch Normalization, arXiv:1502.03167, 3; PyTorch documentation, DataLoader(drop_last)")
def last_batch_of_one(exam: Exam) -> Iterator[Observed]:
    norms = [n for n, m in exam.set_up.model.named_modules() if isinstance(m, _BatchNorm)]
    if not norms:
        return
    sizes = _batch_sizes(exam)
    ones = [number for number, size in enumerate(sizes) if size == 1]
    if not ones:
        return
    sample = exam.sample()
    model = exam.model(train=True)
    try:
        with torch.no_grad():
            call(model, rows_of(sample.inputs, lambda t: t[:1]))
        ends, severity = "the model runs on it, with statistics of one row", "warning"
    except ValueError as error:
        ends, severity = f"the model in training stops there: {' '.join(str(error).split())[:120]}", "error"
    yield Observed("train_loader", f"{len(ones)} of {len(sizes)} batches hold one row (batch {ones[0]}; {sum(sizes)} rows in "
                                   f"all), and {len(norms)} batch norms follow; {ends}",
                   "DataLoader(train_set, batch_size=..., shuffle=True, drop_last=True)", severity)  # type: ignore[arg-type]


def _batch_sizes(exam: Exam) -> list[int]:
    """Rows in each batch of an epoch."""
    given = exam.set_up.train_loader
    if isinstance(given, DataLoader) and given.batch_size is not None and hasattr(given.sampler, "__len__"):
        rows, size = len(given.sampler), given.batch_size  # type: ignore[arg-type]
        return [size] * (rows // size) + ([rows % size] if rows % size and not given.drop_last else [])
    if isinstance(given, DataLoader) and given.batch_sampler is not None and hasattr(given.batch_sampler, "__len__"):
        return [len(batch) for batch in exam.loader("train_loader").batch_sampler]
    if iter_once(given) or not hasattr(given, "__len__") or len(given) > 2000:
        raise NotExaminable("batch sizes cannot be known without a whole pass")
    sizes = []
    for batch in exam.loader("train_loader"):
        found: list[int] = []
        rows_of(taken_apart(batch, exam.set_up.model)[0], lambda t, found=found: found.append(len(t)) or t)  # type: ignore[misc]
        sizes.append(found[0] if found else 0)
    return sizes
