"""One network of any kind in training, with the face of a :class:`~wellfit.population.stack.Stack`."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from wellfit.core.draws import Streams
from wellfit.core.errors import WellfitError, WellfitWarning
from wellfit.core.plan import Plan
from wellfit.core.surgery import switch_off
from wellfit.population.modules.pack import pack, unpack
from wellfit.population.modules.problem import ModuleProblem
from wellfit.population.modules.rows import Tree, joined, mapped
from wellfit.population.native.fused import native_if_possible
from wellfit.population.problem import Member, epoch_order

_CALIBRATION_BATCHES = 16


class ModuleStack:
    """A member trained alone: its network, its optimizer, its plan. The drivers' phases are called as in any loop.

    Layers of the network that draw for themselves (``nn.Dropout``) take their draws from torch's generator, which is seeded
    for every epoch and left as it was: an epoch repeats exactly, also after a restart.
    """

    tier: ClassVar[str] = "modules"
    threads = 1

    def __init__(self, problem: ModuleProblem, members: Sequence[Member]):
        if len(members) != 1:
            raise WellfitError("Networks of any kind are trained one at a time.", received=f"{len(members)} members")
        self.problem, self.members = problem, list(members)
        self.member = member = members[0]
        self.fold = problem.folds[member.fold]
        self.device = torch.device(problem.device)
        self.streams = Streams(member.seed)
        self.epoch = self.step = 0
        self.stopped = False
        self.best_epoch = np.zeros(1, np.int64)
        self.trail: dict[int, np.ndarray] = {}
        self._finished_model: nn.Module | None = None
        with self._own_draws("build", 0):
            model = problem.build(member.seed)
        switch_off(model, member.recipe)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", WellfitWarning)  # said once, when the search space was made
            self.plan: Plan = member.recipe.compile(
                model.to(self.device), seed=member.seed, epochs=problem.epochs, steps_per_epoch=problem.steps_per_epoch,
                classes=problem.classes, feature_groups=problem.feature_groups, features=problem.features,
                example=self._example())
            self.optimizer = problem.optimizer(self.plan.model.parameters(), member.learning_rate)
            for group in self.optimizer.param_groups:
                group["weight_decay"] = 0.0
            self.plan.attach(self.optimizer, engine=native_if_possible)
        self._rates = [float(g["lr"]) for g in self.optimizer.param_groups]

    def _example(self) -> Tree:
        """Inputs of two examples, on which the plan sees in which order layers run."""
        return next(self._clean(self.fold.train[:2]))[0]

    # ---- organisation, as of a stack of one

    @property
    def fold_of(self) -> np.ndarray:
        return np.array([self.member.fold])

    @property
    def done(self) -> bool:
        return bool(self.finished().all())

    def finished(self) -> np.ndarray:
        return np.array([self.stopped or self.epoch >= (self.member.epochs or self.problem.epochs)])

    def keep(self, rows: Sequence[int]) -> None:
        """A stack of one is kept whole; one that is let go is dropped by its owner."""

    @contextlib.contextmanager
    def _own_draws(self, purpose: str, epoch: int) -> Iterator[None]:
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(int(self.streams.at(f"torch/{purpose}", epoch).integers(2**62, ())))
            yield

    @contextlib.contextmanager
    def _own_threads(self) -> Iterator[None]:
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    # ---- training

    def run_epoch(self, evaluate: bool = True) -> dict[str, np.ndarray]:
        """One epoch; returns (1,) arrays of clean losses and errors."""
        with self._own_threads():
            with self._own_draws("epoch", self.epoch):
                self._train_epoch()
            self.epoch += 1
            metrics = self.measure() if evaluate else {}
            verdict = self.plan.observe(**{k: float(v[0]) for k, v in metrics.items()})
        self.stopped = verdict.stop
        self.best_epoch[0] = verdict.best_epoch
        return metrics

    def _train_epoch(self) -> None:
        problem, plan = self.problem, self.plan
        plan.model.train()
        rows = self.fold.train[epoch_order(self.streams, self.epoch, problem.rows_per_fold)]
        for start in range(0, problem.steps_per_epoch * problem.batch, problem.batch):
            factor = problem.rate_schedule.at(self.step / problem.total_steps)
            for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
                group["lr"] = rate * factor
            inputs, targets = self._batch(rows[start:start + problem.batch])
            self.optimizer.zero_grad()
            plan.backward(lambda x=inputs, y=targets: plan.objective(  # type: ignore[misc]
                problem.judge.criterion, forward(plan.model, x), y))
            self.optimizer.step()
            self.step += 1

    def _batch(self, rows: Tensor) -> tuple[Tree, Tree]:
        inputs, targets = (mapped(t, lambda x: x.to(self.device)) for t in self.problem.rows.take(rows))
        if isinstance(targets, Tensor):  # of several inputs a menu offers only what acts on the targets
            return self.plan.batch(inputs, targets)
        return (inputs if self.problem.features is None else self.problem.features(inputs)), targets

    # ---- judging

    def _clean(self, rows: Tensor) -> Iterator[tuple[Tree, Tree]]:
        """Batches of these rows as evaluation sees them."""
        for chunk in rows.split(self.problem.evaluation_batch):
            inputs, targets = (mapped(t, lambda x: x.to(self.device)) for t in self.problem.rows.take(chunk))
            yield (inputs if self.problem.features is None else self.problem.features(inputs)), targets

    def _calibration(self) -> Iterator[Tree]:
        """Batches for the batch-norm statistics of averaged weights; made only where they are asked for."""
        return (inputs for inputs, _ in islice(self._clean(self.problem.probe(self.member.fold)), _CALIBRATION_BATCHES))

    @torch.no_grad()
    def _judge(self, model: nn.Module, rows: Tensor) -> tuple[Tree, Tree]:
        outputs, targets = [], []
        for inputs, target in self._clean(rows):
            outputs.append(mapped(forward(model, inputs), lambda t: t.detach().cpu()))
            targets.append(mapped(target, lambda t: t.cpu()))
        return joined(outputs), joined(targets)

    def measure(self) -> dict[str, np.ndarray]:
        """Clean losses and errors on the training probe and the validation rows."""
        out: dict[str, np.ndarray] = {}
        judge = self.problem.judge
        with self.plan.evaluating(self._calibration()) as model:
            for part, rows in (("train", self.problem.probe(self.member.fold)), ("validation", self.fold.validation)):
                loss = error = np.nan
                if len(rows):
                    outputs, targets = self._judge(model, rows)
                    loss, error = float(judge.criterion(outputs, targets)), judge.error(outputs, targets)
                    if part == "validation" and len(self.problem.folds) > 1 and "early_stopping" in self.member.recipe:
                        self.trail = {0: judge.kept(outputs, targets)}
                out[f"{part}_loss"], out[f"{part}_error"] = np.array([loss]), np.array([error])
        return out

    # ---- the end

    def final_model(self) -> nn.Module:
        """The network to return: best, averaged or folded weights."""
        if self._finished_model is None:
            with self._own_threads():
                self._finished_model = self.plan.finish(self._calibration())
        return self._finished_model

    def final_outputs(self, rows: Tensor, members: Sequence[int]) -> Tensor:
        """(1, n, C): what the returned network says of these rows."""
        model = self.final_model()
        with self._own_threads():
            outputs, targets = self._judge(model, rows)
        return torch.from_numpy(self.problem.judge.kept(outputs, targets))[None]

    def final_weights(self, member: int) -> dict[str, np.ndarray]:
        """The returned network's ``state_dict``."""
        return {n: t.detach().cpu().numpy().copy() for n, t in self.final_model().state_dict().items()}

    # ---- state

    def state(self) -> dict[str, Tensor]:
        """All run state as tensors, for a checkpoint."""
        return pack({"model": dict(self.plan.model.state_dict()), "optimizer": self.optimizer.state_dict(),
                     "plan": self.plan.state_dict(), "clock": [self.epoch, self.step, int(self.stopped), int(self.best_epoch[0])]})

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore what :meth:`state` gave."""
        tree = unpack(state)
        self.plan.model.load_state_dict(tree["model"])
        self.optimizer.load_state_dict(tree["optimizer"])
        self.plan.load_state_dict(tree["plan"])
        self.epoch, self.step, stopped, best = tree["clock"]
        self.stopped, self.best_epoch[0] = bool(stopped), best


def forward(model: nn.Module, inputs: Tree) -> Tree:
    """The network's answer to one tensor, several (a tuple), or named ones (a dict)."""
    if isinstance(inputs, dict):
        found = model(**inputs)
    elif isinstance(inputs, tuple | list):
        found = model(*inputs)
    else:
        found = model(inputs)
    return found.logits if not isinstance(found, Tensor) and hasattr(found, "logits") else found
