"""Train and eval mode at the right times: in training, in validation, and while batch norms are recalibrated."""

from __future__ import annotations

from collections.abc import Iterator

from wellfit.doctor.exam import Exam, NotExaminable
from wellfit.doctor.loop.finals import Run, noisy_norms, ran, validation
from wellfit.doctor.loop.modes import drops, moved_by_mode
from wellfit.doctor.loop.records import Forward, Recalibration
from wellfit.doctor.loop.runs import FitRun, Outcome
from wellfit.doctor.loop.steps import observed
from wellfit.doctor.registry import Observed, check


def short_fit(exam: Exam) -> tuple[FitRun, Outcome]:
    """A few epochs of fit on small loaders with real targets."""
    run = FitRun(exam, {}, epochs=3, slower=1.0, evaluations=10)
    return run, run.run()


def _modules(exam: Exam) -> str:
    found = moved_by_mode(exam.set_up.model)
    names = {id(m): n for n, m in exam.set_up.model.named_modules()}
    kinds = [f"{names[id(m)]} ({type(m).__name__})" for m in found[:3]]
    return ", ".join(kinds) + (f" and {len(found) - 3} more" if len(found) > 3 else "")


def _left(passes: list[Forward]) -> tuple[int, int] | None:
    """Training passes in eval mode after an evaluation, of those after it; None if training is as it began."""
    training = [i for i, f in enumerate(passes) if f.own and f.with_grad and f.phase in ("train", "")]
    evaluating = [i for i, f in enumerate(passes) if not f.with_grad and f.phase != "train" and not f.root_training]
    if not training or not evaluating:
        return None
    before = [passes[i] for i in training if i < evaluating[0]]
    after = [passes[i] for i in training if i > evaluating[0]]
    live = frozenset().union(*(f.live for f in before))
    if not live or not before[0].root_training:
        return None
    wrong = [f for f in after if not f.root_training and not f.live & live]
    return (len(wrong), len(after)) if after and len(wrong) >= max(1, 0.15 * len(after)) else None


@check("left-in-eval-mode", severity="error", evidence="probe", needs=("fit|train_step", "train_loader"),
       why="After the first validation training goes on in eval mode: dropout is off and batch norms stop following the data.",
       source="PyTorch documentation, torch.nn.Module.eval")
def left_in_eval_mode(exam: Exam) -> Iterator[Observed]:
    if not moved_by_mode(exam.set_up.model):
        return
    for function in ("fit", "train_step"):
        if getattr(exam.set_up, function) is None:
            continue
        try:
            passes = exam.once(short_fit)[1].forwards if function == "fit" else exam.once(observed).watch.forwards
        except NotExaminable:
            continue
        wrong = _left(passes)
        if wrong is not None:
            yield Observed(function, f"{wrong[0]} of {wrong[1]} training passes after the first validation are made in eval mode; "
                           f"it concerns {_modules(exam)}",
                           "for epoch in range(epochs):\n    model.train()\n    ...  # training\n"
                           "    model.eval()\n    ...  # validation")
            return


@check("validation-in-train-mode", severity="error", evidence="probe", needs=("fit|validate", "val_loader"),
       why="Validation with dropout on and with the statistics of its own batches measures another model, and moves the running "
           "statistics by validation data.",
       source="PyTorch documentation, torch.nn.Module.eval")
def validation_in_train_mode(exam: Exam) -> Iterator[Observed]:
    if not moved_by_mode(exam.set_up.model):
        return
    fix = "model.eval()\nwith torch.no_grad():\n    ...  # validation\nmodel.train()"
    if exam.set_up.fit is not None:
        try:
            passes = exam.once(short_fit)[1].forwards
        except NotExaminable:
            passes = []
        seen = [f for f in passes if f.phase in ("val", "test") and not f.with_grad]
        wrong = [f for f in seen if f.live and f.root_training]
        if wrong and len(wrong) * 5 >= len(seen):
            yield Observed("fit", f"{len(wrong)} of {len(seen)} passes over validation data are made in train mode; it concerns "
                           f"{_modules(exam)}", fix)
            return
        if seen:
            return
    if exam.set_up.validate is not None:
        passes = [f for f in exam.once(validation).forwards if f.phase in ("val", "test", "")]
        wrong = [f for f in passes if f.live and f.root_training]
        if wrong and len(wrong) * 2 >= len(passes):
            yield Observed("validate", f"called on a model in train mode, as after a training step, it makes {len(wrong)} of "
                           f"{len(passes)} passes in train mode; it concerns {_modules(exam)}", fix)


def finished(exam: Exam) -> Run:
    return ran(exam, "finalize")


@check("recalibration-with-dropout", severity="error", evidence="probe", needs=("finalize|fit", "train_loader"),
       why="Statistics that batch norms take while dropout is on have a larger variance than what they see in evaluation.",
       source="Li et al., Understanding the disharmony between dropout and batch normalization by variance shift, CVPR 2019")
def recalibration_with_dropout(exam: Exam) -> Iterator[Observed]:
    for function in ("finalize", "fit"):
        if getattr(exam.set_up, function) is None:
            continue
        seen: list[Recalibration]
        if function == "finalize":
            seen = exam.once(finished).watch.recalibrations
        else:
            try:
                seen = [r for r in exam.once(short_fit)[0].watch.recalibrations if r.phase == "train" and r.cumulative]
            except NotExaminable:
                continue
        for one in seen[:1]:
            norms = noisy_norms(one)
            if norms:
                live = [n for n, m in one.module.named_modules() if drops(m) and one.modes.get(id(m))]
                name, ratio = max(norms, key=lambda n: abs(n[1] - 1))
                on = ", ".join(live[:3]) or "functional dropout"
                yield Observed(function, f"while batch norms take their statistics {on} is on: the variance at the input of "
                               f"{name} is {ratio:.3g} times that without",
                               "model.train()\nfor m in model.modules():\n    if isinstance(m, torch.nn.Dropout):\n"
                               "        m.eval()\n# then the passes over train_loader; swa_utils.update_bn would turn it on again")
                return
