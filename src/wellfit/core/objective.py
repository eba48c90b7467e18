"""The loss phase of a plan: what is differentiated, in one forward pass or in several, while the loss reported stays clean."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from wellfit.core import surgery
from wellfit.core.errors import WellfitError, WellfitWarning
from wellfit.core.operands import Judged, Kind, Part, Pass, Values
from wellfit.core.phases import phases_of

if TYPE_CHECKING:
    from wellfit.core.plan import Plan

Criterion = Callable[[Tensor, Tensor], Tensor]
Closure = Callable[[], Tensor]

_HARD = (nn.NLLLoss, nn.MultiMarginLoss, functional.nll_loss, functional.multi_margin_loss)
_BINARY = (nn.BCEWithLogitsLoss, functional.binary_cross_entropy_with_logits)


class Objective:
    """Adds what the parts of a plan ask for to the criterion, and runs the passes they need. Owned by the plan."""

    def __init__(self, plan: Plan, example: Any = None):
        self.plan = plan
        parts: dict[str, list[Any]] = plan._parts  # type: ignore[assignment]
        self.maps, self.terms, self.activities = (parts.get(n, []) for n in ("outputs", "term", "activity"))
        self.passes, self.ascents = parts.get("passes", []), parts.get("ascent", [])
        self._smoothing = [p.name for p in plan.recipe if p.smooths_targets]
        self._mixing = [p.name for p in plan.recipe if p.mixes_targets or "outputs" in phases_of(p)]
        self.calls = 0  # of backward: the step of the passes' draws
        self.acted = False
        self._running = False
        self._last: Judged | None = None
        self._activity: list[Tensor] = []
        self._given: Tensor | None = None
        self._used: Tensor | None = None
        self._track = self._shifted = False
        if self.activities or self.passes:
            plan._handles.append(plan.model.register_forward_pre_hook(self._enter))
        if self.activities:
            plan._handles += surgery.on_hidden_inputs(plan.model, self._note, example)

    @property
    def needs_outputs(self) -> list[str]:
        """Parts that need :meth:`value`."""
        return [p.name for p in (*self.maps, *self.terms, *self.activities, *self.passes)]

    @property
    def needs_closure(self) -> list[str]:
        """Parts that need :meth:`backward`."""
        return [p.name for p in (*self.passes, *self.ascents)]

    def check_plain(self) -> None:
        """Refuse a loop that would leave out a part."""
        missing = self.needs_outputs + ([] if self._running else self.needs_closure)
        if missing and self.plan.model.training:
            raise WellfitError(f"plan.loss(loss) cannot serve {', '.join(dict.fromkeys(missing))}, which needs the outputs or more "
                               "than one pass.", expected="plan.backward(lambda: plan.objective(criterion, plan.model(x), y))",
                               action="replace plan.loss(...) and loss.backward() by that one call")

    # ---- hooks

    def _enter(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Before the model's forward pass: forget activations, and add the shift to the first input, once per pass."""
        self._activity.clear()
        if self._shifted or not (self._track or self._given is not None):
            return None
        first = inputs[0] if inputs else None
        if not isinstance(first, Tensor) or not first.dtype.is_floating_point:
            raise WellfitError("The inputs cannot be perturbed.", expected="plan.model(x) with a floating-point tensor x first",
                               received=str(first.dtype) if isinstance(first, Tensor) else type(first).__name__,
                               action="leave out " + ", ".join(p.name for p in self.passes))
        self._shifted = True
        self._used = torch.zeros_like(first).requires_grad_() if self._given is None else self._given
        return (first + self._used, *inputs[1:])

    def _note(self, site: int, activation: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            for part in self.activities:
                self._activity.append(part.activity(activation, self.plan._values(part)))
        return activation

    # ---- one pass

    def value(self, criterion: Criterion, outputs: Tensor, targets: Tensor) -> Tensor:
        """See :meth:`wellfit.core.plan.Plan.objective`."""
        plan = self.plan
        self._check_criterion(criterion)
        clean = self._judge(criterion, outputs, targets)
        parts = self.needs_outputs + self.needs_closure
        if not parts or not plan.model.training or not torch.is_grad_enabled():
            return clean
        if self.needs_closure and not self._running:
            raise WellfitError(f"{', '.join(self.needs_closure)} needs more than one pass.",
                               expected="plan.backward(lambda: plan.objective(criterion, plan.model(x), y))",
                               action="replace loss.backward() by that one call")
        if clean.ndim:
            raise WellfitError(f"The criterion gives no single number, to which {parts[0]} could add.",
                               received=f"shape {tuple(clean.shape)}", expected='a criterion with reduction="mean"')
        if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor):
            raise WellfitError(f"{', '.join(self.needs_outputs)} needs outputs and targets that are tensors.",
                               received=f"{type(outputs).__name__} and {type(targets).__name__}",
                               action="hand the tensor of scores to plan.objective, or leave it out")
        self.acted = True
        self._last = judged = self._judged(criterion, outputs, targets)
        for part in self.maps:
            judged = part.on_outputs(judged, plan._values(part))
        full = clean if judged is self._last else self._judge(criterion, judged.outputs, judged.targets)
        for part in self.terms:
            full = full + part.term(self._last, plan._values(part))
        for term in self._activity:
            full = full + term
        self._activity.clear()
        # the value of the criterion alone, with the gradient of everything
        return clean if full is clean else clean.detach() + (full - full.detach())

    def _judged(self, criterion: Criterion, outputs: Tensor, targets: Tensor) -> Judged:
        kind: Kind = "numbers"
        if _is_one_of(criterion, _BINARY):
            kind = "binary"
        elif outputs.ndim > 1 and outputs.shape[1] > 1:
            soft = targets.dtype.is_floating_point
            kind = "classes" if not soft or self.plan._class_count(targets) is not None else "numbers"
        return Judged(outputs, targets, kind, outputs.shape[1] if kind == "classes" else None)

    def _check_criterion(self, criterion: Criterion) -> None:
        if self._smoothing and (amount := _settings(criterion).get("label_smoothing") or 0.0):
            raise WellfitError(f"Targets are smoothed twice: by {self._smoothing[0]} and by the criterion.",
                               received=f"label_smoothing={amount}", expected="label_smoothing=0 in the criterion",
                               action=f"leave it to one of them: drop label_smoothing=..., or {self._smoothing[0]} from the recipe")

    def _judge(self, criterion: Criterion, outputs: Tensor, targets: Tensor) -> Tensor:
        soft = self._mixing and isinstance(targets, Tensor) and targets.dtype.is_floating_point and targets.ndim > 1
        if soft and _is_one_of(criterion, _HARD):
            raise self._hard(criterion, targets)
        try:
            return criterion(outputs, targets)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            if soft and not isinstance(error, WellfitError | torch.OutOfMemoryError):
                raise self._hard(criterion, targets) from error
            raise

    def _hard(self, criterion: Criterion, targets: Tensor) -> WellfitError:
        return WellfitError(f"{', '.join(self._mixing)} makes class probabilities, which this criterion does not take.",
                            received=f"{_title(criterion)} with targets of shape {tuple(targets.shape)} and type {targets.dtype}",
                            expected="a criterion of class probabilities, such as torch.nn.CrossEntropyLoss()",
                            action=f"use that, or leave out {', '.join(self._mixing)}")

    # ---- several passes

    def backward(self, closure: Closure, scaler: Any, divide: float) -> Tensor:
        """See :meth:`wellfit.core.plan.Plan.backward`."""
        def scaled(loss: Tensor) -> Tensor:
            loss = loss if divide == 1 else loss / divide
            return loss if scaler is None else scaler.scale(loss)  # type: ignore[no-any-return]

        plan, start = self.plan, self.plan._structure.forwards
        loss, objective = self._extended(closure)
        ascents = [p for p in self.ascents if plan.model.training and not _neutral(p, plan._values(p))]
        self.acted |= bool(self.ascents)
        if not ascents:
            scaled(objective).backward()  # type: ignore[no-untyped-call]
        else:
            weights = [p for _, p in plan.parameters.values() if p.requires_grad]
            gradients = torch.autograd.grad(scaled(objective), weights, allow_unused=True)
            found = {id(p): g for p, g in zip(weights, gradients, strict=True) if g is not None}
            kept = [(p, p.detach().clone()) for p in weights]
            end = plan._structure.forwards
            try:
                with torch.no_grad():
                    for part in ascents:
                        part.ascend_([Part(i, p, found[id(p)]) for i, p in plan._of(part) if id(p) in found], plan._values(part))
                torch.clear_autocast_cache()  # or an autocast around this call would go on with the weights as they were
                plan._structure.forwards = start  # the same dropout masks
                with surgery.statistics_kept(plan.model):
                    scaled(self._extended(closure)[1]).backward()  # type: ignore[no-untyped-call]
            finally:
                plan._structure.forwards = end
                with torch.no_grad():
                    for parameter, before in kept:
                        parameter.copy_(before)
                torch.clear_autocast_cache()
        self.calls += 1
        return loss.detach()

    def _extended(self, closure: Closure) -> tuple[Tensor, Tensor]:
        """The loss of the first pass, and the objective over all passes."""
        plan, start = self.plan, self.plan._structure.forwards
        if not plan.model.training:
            loss = closure()
            return loss, loss
        self._running = True
        try:
            first = self._pass(closure, None, any(p.reads_inputs for p in self.passes))
            used = plan._structure.forwards

            def again(shift: Tensor | None = None, *, fresh: bool = False) -> Pass:
                nonlocal used
                plan._structure.forwards = used if fresh else start
                with surgery.statistics_kept(plan.model):
                    done = self._pass(closure, shift, False)
                used = max(used, plan._structure.forwards)
                if fresh and self.calls == 0 and torch.equal(first.outputs, done.outputs):
                    warnings.warn(f"{part.name} changes nothing: two passes gave the same outputs. Add wf.Dropout(...), or leave "
                                  "it out.", WellfitWarning, stacklevel=2)
                return done

            objective = first.loss
            for part in self.passes:
                objective = part.extend(objective, first, again, plan._values(part), plan.streams.at(part.name, self.calls))
            plan._structure.forwards = used
            return first.loss, objective
        finally:
            self._running = False

    def _pass(self, closure: Closure, shift: Tensor | None, track: bool) -> Pass:
        self._given, self._track, self._shifted, self._used, self._last = shift, track, False, None, None
        try:
            loss = closure()
        finally:
            self._given, self._track = None, False
        judged: Judged | None = self._last
        if judged is None and self.needs_outputs:
            raise WellfitError(f"The closure does not show its outputs, which {', '.join(self.needs_outputs)} needs.",
                               expected="a closure that returns plan.objective(criterion, plan.model(x), y)")
        used, self._last, self._used = self._used, None, None
        if judged is None:
            return Pass(loss, loss, "numbers")
        if (track or shift is not None) and used is None:
            raise WellfitError("The closure did not call plan.model, whose inputs are to be perturbed.",
                               expected="a closure that returns plan.objective(criterion, plan.model(x), y)")
        return Pass(loss, judged.outputs, judged.kind, used)


def _neutral(part: Any, h: Values) -> bool:
    """Whether a part does nothing now."""
    return all(getattr(h, name) == value for name, value in part.neutral().items())


def _plain(criterion: Any) -> Any:
    while isinstance(criterion, functools.partial):
        criterion = criterion.func
    return criterion


def _settings(criterion: Any) -> dict[str, Any]:
    """Attributes of a module, or what a partial has bound."""
    if isinstance(criterion, functools.partial):
        return {**_settings(criterion.func), **criterion.keywords}
    return {"label_smoothing": getattr(criterion, "label_smoothing", None)} if isinstance(criterion, nn.Module) else {}


def _is_one_of(criterion: Any, known: tuple[Any, ...]) -> bool:
    plain = _plain(criterion)
    return any(plain is k or (isinstance(k, type) and isinstance(plain, k)) for k in known)


def _title(criterion: Any) -> str:
    plain = _plain(criterion)
    return getattr(plain, "__name__", type(plain).__name__)
