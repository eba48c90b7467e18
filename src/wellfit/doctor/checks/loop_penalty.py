"""Penalties in the training step: missing, doubled, scaled, or done in a way that does not do what is meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from wellfit.doctor.exam import Exam, NotExaminable
from wellfit.doctor.loop.criteria import loss_of, main_output, run_model, targets_of
from wellfit.doctor.loop.explain import Explained
from wellfit.doctor.loop.finals import Run, validation
from wellfit.doctor.loop.penalties import ADAPTIVE, Verdict, acting, actions_of, declared_l1_l2, verdicts, weight_names
from wellfit.doctor.loop.probes import bounded, thresholds
from wellfit.doctor.loop.steps import StepRun, number, observed
from wellfit.doctor.registry import Observed, check

_FORMULA = {"l1": "{0:g} * sum(w.abs().sum() for w in weights)", "l2": "{0:g} * sum(w.square().sum() for w in weights)",
            "weight_decay": "0.5 * {0:g} * sum(w.square().sum() for w in weights)"}


def _of(exam: Exam, id: str) -> list[Verdict]:
    return [v for v in exam.once(verdicts) if v.id == id]


def named(names: Iterable[str], most: int = 4) -> str:
    """The first few of a list of names."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


@check("penalty-missing", severity="error", evidence="probe", needs=("train_step|fit", "declared", "train_loader"),
       why="A penalty that is declared does not act: the run is an unregularized one under another name.",
       source="Goodfellow, Bengio and Courville, Deep Learning, chapter 7.1")
def penalty_missing(exam: Exam) -> Iterator[Observed]:
    function = "train_step" if exam.set_up.train_step is not None else "fit"
    for verdict in _of(exam, "penalty-missing"):
        yield Observed(function, f"declared {verdict.name}={verdict.meant:g}; the gradient at optimizer.step() is that of the data "
                       "alone, and nothing else acts on the weights after the step",
                       f"loss = criterion(model(x), y) + {_FORMULA[verdict.name].format(verdict.meant)}")
    declared = exam.set_up.declared.get("max_norm")
    if isinstance(declared, int | float) and not isinstance(declared, bool) and declared > 0 and exam.set_up.train_step is not None:
        balls, still = exam.once(bounded)
        plain = type(exam.set_up.optimizer).__module__.startswith("torch.optim")
        if not balls and still and plain:
            yield Observed(function, f"declared max_norm={declared:g}; after a step from weights with norms of "
                           f"{4 * declared:g} and more no weight was taken back",
                           f"with torch.no_grad():  # after optimizer.step()\n"
                           f"    layer.weight.copy_(torch.renorm(layer.weight, 2, 0, {declared:g}))", severity="warning")


@check("penalty-doubled", severity="error", evidence="probe", needs=("train_step|fit", "train_loader"),
       why="The same penalty acts more than once, so that its strength is not the one you chose.",
       source="Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR 2019")
def penalty_doubled(exam: Exam) -> Iterator[Observed]:
    function = "train_step" if exam.set_up.train_step is not None else "fit"
    for verdict in _of(exam, "penalty-doubled"):
        ways = " and ".join(verdict.ways)
        yield Observed(function, f"declared {verdict.name}={verdict.meant:g}; found {ways}, together {verdict.measured:g} "
                       f"({verdict.measured / verdict.meant:.3g} times)",
                       f"# keep one of them, once per weight\nloss = criterion(model(x), y) + "
                       f"{_FORMULA[verdict.name].format(verdict.meant)}")
    if declared_l1_l2(exam.set_up.declared):
        return
    found = exam.once(acting)
    if found is None or not found.explained.trusted or not found.scaled:
        return
    twice = [n for n, d in found.loss_l2.items() if found.optimizer.get(n)
             and any(abs(d - c * found.optimizer[n]) <= 0.03 * d for c in (1.0, 2.0))]
    if twice and len(twice) * 2 > len(found.loss_l2):
        wd, loss = found.optimizer[twice[0]], found.loss_l2[twice[0]]
        yield Observed(function, f"{named(twice)}: the loss pulls by {loss:.3g}·w and the optimizer by weight_decay={wd:g}",
                       "optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0)  # or no penalty in the loss",
                       severity="warning")


@check("penalty-scaled-by-accumulation", severity="error", evidence="probe", needs=("train_step|fit", "declared", "train_loader"),
       why="With gradient accumulation the data loss is divided by the number of batches and the penalty is not (or the reverse), "
           "so its strength depends on how often the optimizer steps.",
       source="wellfit: a penalty is divided once, like the loss it is added to")
def penalty_scaled(exam: Exam) -> Iterator[Observed]:
    function = "train_step" if exam.set_up.train_step is not None else "fit"
    for verdict in _of(exam, "penalty-scaled-by-accumulation"):
        n = exam.once(observed).cycle
        yield Observed(function, f"declared {verdict.name}={verdict.meant:g}, {n} batches per optimizer step; relative to the data "
                       f"loss it acts with {verdict.measured:.3g} ({verdict.measured / verdict.meant:.3g} times)",
                       f"loss = (criterion(model(x), y) + {_FORMULA[verdict.name].format(verdict.meant)}) / {n}")


@check("l1-by-subgradient", severity="warning", evidence="probe", needs=("train_step|fit", "train_loader"),
       why="The subgradient of |w| makes weights small but never exactly zero: they jitter around it by the learning rate.",
       source="Duchi and Singer, Efficient Online and Batch Learning Using Forward Backward Splitting, JMLR 2009")
def l1_by_subgradient(exam: Exam) -> Iterator[Observed]:
    found = exam.once(acting)
    if found is None or not found.loss_l1:
        return
    names = {n: v for n, v in found.loss_l1.items() if v > 0}
    run = found.run
    zeros = sum(int((p == 0).sum()) for n, p in run.watch.trained.items() if n in names)
    if not names or zeros > 0.01 * sum(p.numel() for n, p in run.watch.trained.items() if n in names):
        return
    yield Observed(named(names), f"beside the gradient of the data there is {max(names.values()):.3g}·sign(w); exact zeros after "
                   f"{len(run.watch.steps)} steps: {zeros}",
                   f"plan = wf.Recipe(wf.L1({max(names.values()):.3g})).compile(model)\n"
                   "plan.attach(optimizer)  # thresholds in the optimizer's own metric")


@check("l1-threshold-after-adam", severity="error", evidence="probe", needs=("train_step", "optimizer", "train_loader"),
       why="Adam scales each coordinate's step by 1/(sqrt(v)+eps); soft-thresholding by lr*strength afterwards ignores that scale "
           "and solves another problem than the L1 one.",
       source="Melchior et al., Proximal Adam, 2019; Yun et al., Adaptive Proximal Gradient Methods, NeurIPS 2021")
def l1_threshold_after_adam(exam: Exam) -> Iterator[Observed]:
    optimizer = exam.set_up.optimizer
    if not any(kind.__name__ in ADAPTIVE for kind in type(optimizer).__mro__):
        return
    found: dict[str, float] = {}
    try:
        seen_small = exam.once(thresholds)
        found = {n: done.amount / rate for n, (done, rate) in seen_small.items() if done.kind == "threshold" and rate > 0}
    except NotExaminable:
        pass
    if not found:
        run = exam.once(observed)
        seen = [e for e in run.explained if e is not None]
        names = set(weight_names(run))
        found = {n: a.amount / e.step.rates.get(n, 1.0) for e in seen for n, a in actions_of(e).items()
                 if a.kind == "threshold" and n in names and e.step.rates.get(n, 0) > 0}
    if found:
        strength = max(found.values())
        yield Observed(named(found), f"after {type(optimizer).__name__}'s update every weight is soft-thresholded by one number, "
                       f"lr * {strength:.3g}",
                       f"plan = wf.Recipe(wf.L1({strength:.3g})).compile(model)  # thresholds in the optimizer's own metric\n"
                       "plan.attach(optimizer)")


@check("penalty-in-logged-loss", severity="warning", evidence="probe", needs=("train_step", "train_loader"),
       why="A training loss with the penalty in it is not comparable with the validation loss: the gap between them lies.",
       source="Chollet, Keras documentation: training and testing loss; wellfit: the clean training loss")
def penalty_in_logged_loss(exam: Exam) -> Iterator[Observed]:
    run = exam.once(observed)
    fix = "data_loss = criterion(model(x), y)\n(data_loss + penalty).backward()\nreturn data_loss.item()"
    for explained in run.explained:
        if explained is None or not explained.trusted or (explained.share is None and run.cycle > 1):
            continue
        seen = _logged(run, explained)
        if seen is not None:
            yield Observed("train_step", seen, fix)
            return
    last = next((e for e in reversed(run.explained) if e is not None and e.trusted), None)
    if last is None or exam.set_up.validate is None or exam.set_up.val_loader is None:
        return
    try:
        validated = exam.once(validation)
    except NotExaminable:
        return
    logged, cost = number(validated.result), _cost(last, dict(validated.parts.model.named_parameters()))
    clean = [_clean(exam, validated, batch) for batch in validated.batches.get("val_loader", [])]
    if logged is None or cost <= 0 or not clean or any(c is None for c in clean):
        return
    losses, rows = [c[0] for c in clean if c is not None], [c[1] for c in clean if c is not None]
    for value in (sum(losses) / len(losses), sum(a * b for a, b in zip(losses, rows, strict=True)) / sum(rows)):
        if cost > 1e-3 * value and abs(logged - value - cost) <= 1e-2 * cost + 1e-5 * value:
            yield Observed("validate", f"it returns {logged:.6g}; the criterion alone is {value:.6g}, the penalty {cost:.4g}",
                           "return criterion(model(x), y).item()  # no penalty in what is compared")
            return


def _cost(explained: Explained, at: Mapping[str, Tensor]) -> float:
    """What the penalties that act add to the loss."""
    cost = 0.0
    for name, direct in explained.weights.items():
        w = at[name].detach().double()
        if direct.kind in ("l1", "elastic"):
            cost += explained.strength(name, "l1") * float(w.abs().sum())
        if direct.kind in ("l2", "elastic"):
            cost += 0.5 * explained.strength(name, "l2") * float(w.square().sum())
    return cost


def _logged(run: StepRun, explained: Explained) -> str | None:
    """How a returned loss holds the penalty, if it does."""
    cost = _cost(explained, explained.step.seen_at)
    passes = explained.step.contributions
    for (forward, _), matched in zip(passes, explained.matched, strict=True):
        returned = run.returned[forward.call - 1] if 0 < forward.call <= len(run.returned) else None
        if matched is None or returned is None or cost <= 0 or sum(f.call == forward.call for f, _ in passes) > 1:
            continue
        low = any(o.dtype not in (o.float().dtype, o.double().dtype) for o in forward.outputs)
        slack = (2e-2 if low else 2e-6) * abs(matched.value) + 1e-2 * cost
        if cost < 4 * slack - 0.04 * cost:
            continue
        for share, factor in ((1.0, 1.0), (1 / run.cycle, 1.0), (1.0, 1 / run.cycle), (1 / run.cycle, 1 / run.cycle)):
            if abs(returned - factor * matched.value - share * cost) <= slack * factor:
                return (f"it returns {returned:.6g}; the criterion alone is {factor * matched.value:.6g}, the penalty "
                        f"{share * cost:.4g}")
    return None


def _clean(exam: Exam, run: Run, batch: Any) -> tuple[float, int] | None:
    """The criterion alone on a batch, in eval mode, with the number of rows."""
    run.parts.model.eval()
    with torch.no_grad():
        out, targets = main_output(run_model(run.parts.model, batch)), targets_of(batch)
        loss = None if out is None or targets is None else loss_of(exam.set_up.criterion, out, targets)
    return None if loss is None or targets is None else (float(loss), len(targets))
