"""What is done to the weights after the optimizer's step: bounds on norms, and decay of what is frozen."""

from __future__ import annotations

from collections.abc import Iterator

from wellfit.doctor.checks.loop_penalty import named
from wellfit.doctor.exam import Exam
from wellfit.doctor.loop.probes import blown_up, bounded, shrinking
from wellfit.doctor.loop.steps import observed
from wellfit.doctor.registry import Observed, check

_PROJECTION = "norm = w.norm(dim=1, keepdim=True)\nw.mul_((radius / norm).clamp(max=1))"


@check("max-norm-axis", severity="error", evidence="probe", needs=("train_step", "train_loader"),
       why="A max-norm bounds the incoming weights of each unit. Over another axis it bounds what an input sends out, or the whole "
           "layer, and couples units.",
       source="Srivastava et al., Dropout, JMLR 2014, section 5.1")
def max_norm_axis(exam: Exam) -> Iterator[Observed]:
    found, _ = exam.once(bounded)
    meant = "max_norm" in exam.set_up.declared
    wrong = [b for b in found if b.right is not None and b.ball.kept != b.right
             and (meant or 0 < len(b.ball.kept) < len(b.shape))]
    if not wrong:
        return
    first = wrong[0]
    over = [d for d in range(len(first.shape)) if d not in first.ball.kept]
    right = (first.right or (0,))[0]
    yield Observed(named(b.name for b in wrong), f"{first.name} {first.shape}: after a step the norms over axes {over} are bounded "
                   f"by {first.ball.radius:.4g}; a unit's incoming weights are those over all axes but {right}",
                   f"with torch.no_grad():\n    layer.weight.copy_(torch.renorm(layer.weight, p=2, dim={right}, "
                   f"maxnorm={first.ball.radius:.4g}))", severity=None if meant else "warning")


@check("max-norm-shrinks-inside", severity="warning", evidence="probe", needs=("train_step", "train_loader"),
       why="A projection leaves what is inside the ball alone: w * clip(norm) / (norm + eps) shrinks it a little at every step, "
           "and w * radius / norm moves it to the edge, so that no weight can be small.",
       source="Boyd and Vandenberghe, Convex Optimization, section 8.1: a projection leaves what is inside alone")
def max_norm_shrinks_inside(exam: Exam) -> Iterator[Observed]:
    found = exam.once(shrinking)
    if found and ("max_norm" in exam.set_up.declared or exam.once(bounded)[0]):
        name, eps = found[0]
        yield Observed(named(n for n, _ in found), f"{name}: weights far inside the ball are scaled by norm / (norm + {eps:.2g}) "
                       "at each step",
                       _PROJECTION)
    radius = exam.set_up.declared.get("max_norm")
    if isinstance(radius, int | float) and radius > 0:
        moved = [(n, norm) for n, norm in exam.once(blown_up) if abs(norm - radius) <= 0.02 * radius]  # not a norm meant as such
        if moved:
            yield Observed(named(n for n, _ in moved), f"{moved[0][0]}: weights far inside the ball are scaled up to a norm of "
                           f"{moved[0][1]:.4g}, where max_norm={radius:g} is declared", _PROJECTION)


@check("decay-moves-frozen", severity="warning", evidence="probe", needs=("train_step", "train_loader"),
       why="Weights that are not trained are still shrunk at every step, until nothing of them is left.",
       source="wellfit: decay acts on what is trained")
def decay_moves_frozen(exam: Exam) -> Iterator[Observed]:
    run = exam.once(observed)
    now = dict(run.parts.model.named_parameters())
    moved = []
    for name, before in run.frozen_before.items():
        after = now[name].detach()
        size = float(before.double().square().sum())
        if size == 0 or before.numel() < 2:
            continue
        factor = float((before.double() * after.double()).sum()) / size
        left = float((after.double() - factor * before.double()).norm())
        if 0 < factor < 1 - 1e-7 and left <= 1e-6 * size**0.5 and left <= 0.05 * (1 - factor) * size**0.5:
            moved.append((name, factor))
    if moved:
        yield Observed(named(n for n, _ in moved), f"requires_grad=False, and yet {moved[0][0]} is {moved[0][1]:.8g} times what it "
                       f"was after {run.watch.step_count} steps",
                       "for p in model.parameters():\n    if p.requires_grad:\n        p.mul_(1 - lr * decay)")
