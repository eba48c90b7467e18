"""Regularization that keeps the network from fitting its own training data."""

from __future__ import annotations

from collections.abc import Iterator

from wellfit.doctor.exam import Exam, NotExaminable
from wellfit.doctor.loop.modes import drops
from wellfit.doctor.loop.penalties import acting
from wellfit.doctor.loop.underfit import trained
from wellfit.doctor.registry import Observed, check


def _heavy(exam: Exam) -> list[str]:
    """What may be holding the network back."""
    found = []
    rates = [float(getattr(m, "p", getattr(m, "dropout", 0)) or 0) for m in exam.set_up.model.modules() if drops(m)]
    if rates and max(rates) >= 0.4:
        found.append(f"dropout {max(rates):g}")
    decay = max((float(g.get("weight_decay", 0) or 0) for g in getattr(exam.set_up.optimizer, "param_groups", [])), default=0.0)
    if decay >= 1e-2:
        found.append(f"weight_decay {decay:g}")
    try:
        acts = exam.once(acting)
    except NotExaminable:
        acts = None
    if acts is not None and (l1 := [*acts.loss_l1.values(), *acts.threshold.values()]):
        found.append(f"L1 {max(l1):.3g}")
    if acts is not None and acts.loss_l2:
        found.append(f"L2 {max(acts.loss_l2.values()) / 2:.3g}")
    if acts is not None and max(acts.decay.values(), default=0.0) >= 1e-2:
        found.append(f"decay {max(acts.decay.values()):.3g} after the step")
    return found


@check("regularization-while-underfitting", severity="warning", evidence="probe", needs=("fit|train_step", "train_loader"),
       why="Regularization trades training fit for generalization; one that does not fit its training data has nothing to trade.",
       source="Goodfellow, Bengio and Courville, Deep Learning, chapter 11.4")
def regularization_while_underfitting(exam: Exam) -> Iterator[Observed]:
    heavy = _heavy(exam)
    if not heavy:
        return
    with_it = trained(exam, light=False)
    if not with_it.learned < 0.15:
        return
    without = trained(exam, light=True)
    if without.learned >= max(0.3, with_it.learned + 0.25):
        yield Observed("fit" if exam.set_up.fit is not None else "train_step",
                       f"clean training loss after the run is {with_it.loss:.3g}, that of a constant {with_it.chance:.3g}; the "
                       f"same run without {', '.join(heavy)} reaches {without.loss:.3g}",
                       "# halve the regularization until the training loss falls; then look at the gap\n"
                       "plan = wf.Recipe(wf.Dropout(0.1), wf.WeightDecay(0.01)).compile(model)")
