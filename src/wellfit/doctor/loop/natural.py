"""The beginning of ``fit`` on real batches, watched like a training step."""

from __future__ import annotations

from typing import Any

from wellfit.doctor.copies import NotExaminable
from wellfit.doctor.exam import Exam
from wellfit.doctor.loop.calling import Enough, call, parts_of, undisturbed
from wellfit.doctor.loop.copies import copied
from wellfit.doctor.loop.explain import explain
from wellfit.doctor.loop.loaders import Watched, rows_of
from wellfit.doctor.loop.steps import SECONDS, StepRun
from wellfit.doctor.loop.watch import Watch


def natural_fit(exam: Exam, steps: int = 3) -> StepRun:
    """Run a copy of ``fit`` until some steps of the optimizer are recorded."""
    set_up = exam.set_up
    if set_up.fit is None:
        raise NotExaminable("no fit")
    with undisturbed():
        loaders = {}
        for part in ("train", "val", "test"):
            if getattr(set_up, f"{part}_loader") is not None:
                batches = exam.batches(f"{part}_loader", 24)
                rows = sum(rows_of(b) for b in batches)
                loaders[f"{part}_loader"] = Watched(part, batches, rows=rows, size=rows_of(batches[0]))
        parts = copied(set_up, loaders)
        if not parts.model.training:
            parts.model.train()
        watch = Watch(parts.model, steps=steps, seconds=SECONDS)
        run = StepRun(parts, watch, [], [], "fit",
                      frozen_before={n: p.detach().clone() for n, p in parts.model.named_parameters() if not p.requires_grad})
        count = [0]

        def read(loader: Watched, batch: Any) -> None:
            if loader.part == "train":
                watch.settle()
                if not watch.recording:
                    raise Enough
                count[0] += 1
                watch.call, watch.batch = count[0], batch
        for loader in loaders.values():
            loader.read = read
        with watch:
            try:
                call(parts.fit, parts_of(parts, epochs=max(2, set_up.epochs or 2), epoch=0, step=0))  # type: ignore[arg-type]
            except Enough:
                pass
            except NotExaminable:
                raise
            except Exception as error:
                if not watch.steps:
                    what = " ".join(f"{type(error).__name__}: {error}".split())[:160]
                    raise NotExaminable(f"fit fails on a copy ({what})") from error
            watch.settle()
        if not watch.steps:
            raise NotExaminable("fit makes no step of the optimizer on the batches of train_loader")
        run.calls = count[0]
        run.explained = [explain(step, set_up.criterion) for step in watch.steps]
    return run
