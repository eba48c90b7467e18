"""What ``finalize`` and ``validate`` do, on copies."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from wellfit.doctor.copies import NotExaminable
from wellfit.doctor.exam import Exam
from wellfit.doctor.loop.calling import Enough, call, parts_of, undisturbed
from wellfit.doctor.loop.copies import copied
from wellfit.doctor.loop.criteria import run_model
from wellfit.doctor.loop.loaders import Watched, rows_of
from wellfit.doctor.loop.modes import takes_statistics
from wellfit.doctor.loop.records import Forward, Recalibration
from wellfit.doctor.loop.watch import Watch
from wellfit.doctor.set_up import SetUp


def small_loaders(exam: Exam, count: int = 6) -> dict[str, Watched]:
    """The first batches of each loader."""
    loaders = {}
    for part in ("train", "val", "test"):
        if getattr(exam.set_up, f"{part}_loader") is not None:
            batches = exam.batches(f"{part}_loader", count)
            if batches:
                loaders[f"{part}_loader"] = Watched(part, batches, rows=sum(rows_of(b) for b in batches), size=rows_of(batches[0]))
    return loaders


@dataclass
class Run:
    """A function that was run once: its passes, by the loader that was read."""

    parts: SetUp
    watch: Watch
    forwards: list[Forward]
    result: Any = None
    batches: dict[str, list[Any]] = field(default_factory=dict)


def ran(exam: Exam, which: str) -> Run:
    """Run a copy of ``validate`` or ``finalize`` on the first batches.

    Raises:
        NotExaminable: it cannot be called, or fails.
    """
    with undisturbed():
        loaders = small_loaders(exam)
        parts = copied(exam.set_up, loaders)
        parts.model.train()
        watch = Watch(parts.model, seconds=10.0, profile=False)

        def begun(loader: Watched) -> None:
            watch.phase = loader.part

        def read(loader: Watched, batch: Any) -> None:
            watch.phase, watch.batch = loader.part, batch
        for loader in loaders.values():
            loader.begun, loader.read = begun, read
        function, result = getattr(parts, which), None
        with watch:
            try:
                result = call(function, parts_of(parts))
            except Enough:
                pass
            except NotExaminable:
                raise
            except Exception as error:
                if not watch.forwards:
                    what = " ".join(f"{type(error).__name__}: {error}".split())[:160]
                    raise NotExaminable(f"{which} fails on a copy ({what})") from error
    return Run(parts, watch, watch.forwards, result, {name: list(loader.slices()) for name, loader in loaders.items()})


def validation(exam: Exam) -> Run:
    """``validate``, run once on a model in train mode."""
    return ran(exam, "validate")


def noisy_norms(seen: Recalibration) -> list[tuple[str, float]]:
    """Batch norms whose inputs change from pass to pass on one batch, with the ratio of their variance to that without noise."""
    module = seen.module
    norms = [(n, m) for n, m in module.named_modules() if takes_statistics(m)]
    before = {k: v.detach().clone() for k, v in module.state_dict().items()}
    modes = [(m, m.training) for m in module.modules()]

    def inputs(seed: int, noise: bool) -> dict[str, Tensor]:
        caught: dict[str, Tensor] = {}
        handles = []
        for name, norm in norms:
            def catch(_: nn.Module, args: tuple[Tensor, ...], name: str = name) -> None:
                caught[name] = args[0].detach().double()
            handles.append(norm.register_forward_pre_hook(catch))
        try:
            for m in module.modules():
                m.training = seen.modes.get(id(m), m.training) if noise or takes_statistics(m) else False
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                run_model(module, seen.batch)
        finally:
            for handle in handles:
                handle.remove()
        return caught
    try:
        with undisturbed():
            first, second, clean = inputs(1, True), inputs(2, True), inputs(1, False)
    except Exception:
        return []
    finally:
        for m, mode in modes:
            m.training = mode
        module.load_state_dict(before)
    return [(n, float(first[n].var() / clean[n].var().clamp_min(1e-30))) for n, _ in norms
            if n in first and n in second and n in clean and not torch.allclose(first[n], second[n], rtol=1e-5, atol=1e-7)]
