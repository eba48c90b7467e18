"""Parameters and the optimizer's groups: none forgotten, none twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from wellfit.doctor.batches import call_with_parts, mapped
from wellfit.doctor.exam import Exam
from wellfit.doctor.registry import Observed, check
from wellfit.doctor.roles import named, roles
from wellfit.doctor.unregistered import unregistered


def tied_names(model: nn.Module) -> dict[int, list[str]]:
    """id of a parameter -> its names, for those that have several."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return {key: found for key, found in names.items() if len(found) > 1}


@check("parameter-not-optimized", severity="warning", evidence="static", needs=("optimizer",),
       why="It keeps its first values for the whole training, and neither learning nor decay ever reaches it.",
       source="PyTorch documentation, torch.optim: an optimizer changes what its groups hold and nothing else")
def parameter_not_optimized(exam: Exam) -> Iterator[Observed]:
    yield from _unregistered(exam)
    left = [r for r in roles(exam) if r.group is None]
    if not left:
        return
    optimizer, model, criterion = exam.set_up.optimizer, exam.set_up.model, exam.set_up.criterion
    known = {id(p) for p in model.parameters()}
    if isinstance(criterion, nn.Module):
        known |= {id(p) for p in criterion.parameters()}
    strangers = [p for g in optimizer.param_groups for p in g["params"] if id(p) not in known]  # type: ignore[union-attr]
    shapes = Counter(tuple(p.shape[1:]) for p in strangers)  # a new head may have other classes
    replaced = [r for r in left if shapes[tuple(r.parameter.shape[1:])]]
    count = sum(r.parameter.numel() for r in left)
    fix = ("optimizer.add_param_group({\"params\": [p for n, p in model.named_parameters() if n in "
           f"{[r.name for r in left[:6]]!r}]}})\n# or, if they are meant to stay as they are: parameter.requires_grad_(False)")
    if strangers and len(replaced) == len(left):
        yield Observed(named([r.name for r in left], 3),
                       f"{len(left)} trainable parameters ({count} numbers) are in no group, while the optimizer holds "
                       f"{len(strangers)} that are not the model's, for inputs of the same sizes: it was made for "
                       "other tensors", "# make the optimizer after the last change to the model\n"
                       f"optimizer = torch.optim.{type(optimizer).__name__}(model.parameters(), ...)", "error")
        return
    yield Observed(named([r.name for r in left], 3), f"{len(left)} trainable parameters ({count} numbers) are in no group", fix)


def _unregistered(exam: Exam) -> Iterator[Observed]:
    found = exam.once(unregistered)
    if found:
        holders = list(dict.fromkeys(name.partition("[")[0] for name in found))
        yield Observed(named(list(found), 3), f"{len(found)} tensors ({sum(t.numel() for t in found.values())} numbers) that the "
                       "output depends on are neither in model.parameters() nor in a group of the optimizer: they lie in "
                       f"{named(holders)}, where nn.Module does not look",
                       "self.layers = nn.ModuleList(layers)  # nn.ModuleDict for a dict, nn.Parameter for a tensor; then\n"
                       "optimizer = ...  # made from model.parameters() again\n"
                       "# or, if they are meant to stay as they are: tensor.requires_grad_(False)")


@check("tied-weights-counted-twice", severity="error", evidence="probe", needs=("optimizer|train_step",),
       why="A parameter that is listed twice is decayed, stepped or penalized twice for one gradient, and so regularized twice "
           "as strongly as is written.",
       source="PyTorch documentation, torch.optim (a parameter belongs in one group, once); Press & Wolf (2017), arXiv:1608.05859")
def tied_weights_counted_twice(exam: Exam) -> Iterator[Observed]:
    yield from _listed_twice(exam)
    if exam.set_up.train_step is not None and tied_names(exam.set_up.model):
        yield from _penalized_twice(exam)


def _listed_twice(exam: Exam) -> Iterator[Observed]:
    optimizer, model = exam.set_up.optimizer, exam.set_up.model
    count = Counter(id(p) for g in (optimizer.param_groups if optimizer else ()) for p in g["params"])
    twice = {key for key, n in count.items() if n > 1}
    if not twice:
        return
    tied = tied_names(model)
    names = [n for n, p in model.named_parameters() if id(p) in twice]
    also = "; ".join(" = ".join(tied[k]) for k in twice if k in tied)
    yield Observed(named(names), f"{len(twice)} parameters are in the optimizer's groups more than once (up to "
                                 f"{max(count.values())} times)" + (f"; tied: {also}" if also else ""),
                   "parameters = list({id(p): p for p in parameters}.values())  # each once, before they are put in groups")


def _penalized_twice(exam: Exam) -> Iterator[Observed]:
    """Coefficients of the penalty's gradient, g = c·sign(w) or g = c·w, on tied weights and on the others."""
    gradients = exam.once(penalty_gradients)
    model = exam.set_up.model
    tied = tied_names(model)
    parameters = dict(model.named_parameters())
    for shape, unit in (("sign(w)", torch.sign), ("w", lambda w: w)):
        found = {n: c for n, g in gradients.items() if (c := _coefficient(g, unit(parameters[n].detach()))) is not None}
        others = sorted(c for n, c in found.items() if id(parameters[n]) not in tied)
        if not others:
            continue
        usual = others[len(others) // 2]
        for name, c in found.items():
            names = tied.get(id(parameters[name]))
            if names and c > 1.5 * usual:
                yield Observed(" = ".join(names), f"the penalty's gradient is {c:.3g}·{shape} on this tied weight and "
                                                  f"{usual:.3g}·{shape} on the others: it is counted {c / usual:.3g} times",
                               "penalty = sum(p.abs().sum() for p in model.parameters())  # parameters() gives a tied weight once")
                return


def _coefficient(gradient: Tensor, unit: Tensor) -> float | None:
    """c of g ≈ c·u, or None if g has another shape."""
    size = float((unit * unit).sum())
    if not size or gradient.numel() < 2:
        return None
    c = float((gradient * unit).sum()) / size
    rest = float((gradient - c * unit).norm())
    return c if c > 0 and rest < 0.02 * float(gradient.norm()) else None


class _Stepped(Exception):
    pass


def penalty_gradients(exam: Exam) -> dict[str, Tensor]:
    """What a training step's gradients are when nothing flows back through the model's output: those of explicit penalties."""
    parts = exam.fresh()
    model, optimizer, train_step = parts.model.train(), parts.optimizer, parts.train_step
    if train_step is None or optimizer is None:
        return {}
    kept: dict[str, Tensor] = {}

    def cut(module: nn.Module, inputs: Any, output: Any) -> Any:
        return mapped(output, lambda t: t.detach().requires_grad_())

    def stop(*_: Any, **__: Any) -> None:
        kept.update({n: p.grad.detach().clone() for n, p in model.named_parameters() if p.grad is not None})
        raise _Stepped

    model.register_forward_hook(cut)
    optimizer.step = stop  # type: ignore[method-assign,assignment]
    batches = exam.batches("train_loader", max(1, int(parts.declared.get("accumulation", 1))))
    try:
        for number, batch in enumerate(batches):
            call_with_parts(train_step, parts, batch=batch, step=number)
    except _Stepped:
        pass
    return kept
