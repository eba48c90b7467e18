#!/usr/bin/env python3
"""Does L1 find the exact zeros, and the optimum, under every optimizer?

A lasso problem with a known answer: 60 correlated features of which 45 do nothing, float64, trained by full-batch steps
through ``wf.Recipe(wf.L1(strength))`` in a plain PyTorch loop, beside scikit-learn's Lasso. Two usual mistakes stand below:
the penalty in the loss (it never reaches zero), and soft-thresholding by lr * strength after Adam (another problem, because
Adam's steps are scaled per weight).

The objective is (1/2n) |y - Xw|² + strength |w|₁. Exit status 1 if a row of wellfit misses a target: gap < 1e-3 and
scikit-learn's support.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import RESULTS, environment, one_thread, table, verdict, write_json
from torch import Tensor, nn

import wellfit as wf

EXAMPLES = """examples:
  python benchmarks/l1_exactness.py
  python benchmarks/l1_exactness.py --strength 0.05 --steps 8000
"""
ROWS, FEATURES, ZEROS = 300, 60, 45
LARGEST_GAP = 1e-3
ADAM_RATE = 0.02
Optimizer = torch.optim.Optimizer


@dataclass(frozen=True)
class Lasso:
    """The problem, and scikit-learn's answer."""

    x: Tensor
    y: Tensor
    truth: np.ndarray
    strength: float
    solution: np.ndarray

    def objective(self, w: np.ndarray) -> float:
        residual = self.y.numpy() - self.x.numpy() @ w
        return float(residual @ residual / (2 * len(residual)) + self.strength * np.abs(w).sum())

    @property
    def curvature(self) -> float:
        """The largest eigenvalue of XᵀX/n."""
        return float(torch.linalg.eigvalsh(self.x.T @ self.x / len(self.x))[-1])


def make_problem(strength: float, seed: int) -> Lasso:
    """Neighbouring features correlate by 0.5; 15 of the 60 carry weights between 1 and 2."""
    from sklearn.linear_model import Lasso as Reference

    rng = np.random.default_rng(seed)
    lags = np.abs(np.subtract.outer(np.arange(FEATURES), np.arange(FEATURES)))
    x = rng.multivariate_normal(np.zeros(FEATURES), 0.5**lags, size=ROWS)
    truth = np.zeros(FEATURES)
    active = rng.choice(FEATURES, FEATURES - ZEROS, replace=False)
    truth[active] = rng.uniform(1, 2, len(active)) * rng.choice([-1, 1], len(active))
    y = x @ truth + 0.5 * rng.standard_normal(ROWS)
    reference = Reference(alpha=strength, fit_intercept=False, tol=1e-14, max_iter=1_000_000).fit(x, y)
    return Lasso(torch.from_numpy(x), torch.from_numpy(y), truth, strength, reference.coef_)


@dataclass(frozen=True)
class Way:
    """One way to train: an optimizer, and how the penalty acts."""

    name: str
    optimizer: Callable[[list[nn.Parameter], float], Optimizer]
    penalty: str = "wellfit"


def _sgd(**options: Any) -> Callable[[list[nn.Parameter], float], Optimizer]:
    def make(parameters: list[nn.Parameter], curvature: float) -> Optimizer:
        # the step is lr / (1 - momentum): the largest that surely descends
        return torch.optim.SGD(parameters, lr=(1 - options.get("momentum", 0.0)) / curvature, **options)
    return make


def _adam(kind: type[Optimizer], **options: Any) -> Callable[[list[nn.Parameter], float], Optimizer]:
    return lambda parameters, curvature: kind(parameters, lr=ADAM_RATE, **options)  # type: ignore[call-arg]


WAYS = (
    Way("wf.L1, SGD", _sgd()),
    Way("wf.L1, SGD with momentum", _sgd(momentum=0.9)),
    Way("wf.L1, SGD with Nesterov momentum", _sgd(momentum=0.9, nesterov=True)),
    Way("wf.L1, Adam", _adam(torch.optim.Adam)),
    Way("wf.L1, AdamW", _adam(torch.optim.AdamW, weight_decay=0.0)),
    Way("mistake: penalty in the loss, Adam", _adam(torch.optim.Adam), "loss"),
    Way("mistake: threshold lr * strength, AdamW", _adam(torch.optim.AdamW, weight_decay=0.0), "naive threshold"),
)


def train(way: Way, problem: Lasso, steps: int, seed: int) -> np.ndarray:
    """Weights after ``steps`` full-batch steps with a cosine learning rate."""
    torch.manual_seed(seed)
    model = nn.Linear(FEATURES, 1, bias=False, dtype=torch.float64)
    recipe = wf.Recipe(wf.L1(problem.strength)) if way.penalty == "wellfit" else wf.Recipe()
    plan = recipe.compile(model)
    optimizer = way.optimizer(list(model.parameters()), problem.curvature)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: (1 + math.cos(math.pi * t / steps)) / 2)
    plan.attach(optimizer)
    for _ in range(steps):
        loss = 0.5 * (model(problem.x).squeeze(-1) - problem.y).square().mean()
        if way.penalty == "loss":
            loss = loss + problem.strength * model.weight.abs().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if way.penalty == "naive threshold":
            amount = optimizer.param_groups[0]["lr"] * problem.strength
            with torch.no_grad():
                model.weight.copy_(model.weight.sign() * (model.weight.abs() - amount).clamp(min=0))
        schedule.step()
    plan.finish()
    return model.weight.detach().numpy()[0].copy()


def measure(way: Way, problem: Lasso, steps: int, seed: int) -> dict[str, Any]:
    began = time.perf_counter()
    w = train(way, problem, steps, seed)
    gap = problem.objective(w) - problem.objective(problem.solution)
    same = bool(((w != 0) == (problem.solution != 0)).all())
    return {"way": way.name, "penalty": way.penalty, "zeros": int((w == 0).sum()),
            "true_zeros_found": int(((w == 0) & (problem.truth == 0)).sum()), "same_support": same, "gap": gap,
            "largest_difference": float(np.abs(w - problem.solution).max()), "seconds": time.perf_counter() - began,
            "reached": (abs(gap) < LARGEST_GAP and same) if way.penalty == "wellfit" else None}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strength", type=float, default=0.2, help="λ, which is scikit-learn's alpha (default %(default)s)")
    parser.add_argument("--steps", type=int, default=3000, help="full-batch steps of each row (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the data and of the initial weights (default %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS / "l1_exactness.json", help="JSON file (default %(default)s)")
    arguments = parser.parse_args()

    problem = make_problem(arguments.strength, arguments.seed)
    zero = problem.solution == 0
    print(f"{FEATURES} features, {ZEROS} of them with true weight 0; {ROWS} rows; strength {problem.strength:g}; "
          f"{arguments.steps} steps.\nscikit-learn's Lasso: {int(zero.sum())} zeros "
          f"({int((zero & (problem.truth == 0)).sum())} of the {ZEROS} true ones), objective "
          f"{problem.objective(problem.solution):.6f}\n")
    with one_thread():
        found = [measure(way, problem, arguments.steps, arguments.seed) for way in WAYS]
        settings = environment()
    print(table(["", "exact zeros", "true zeros found", "same support", "objective gap", "largest |w - w*|", "seconds"],
                [[r["way"], r["zeros"], f"{r['true_zeros_found']}/{ZEROS}", "yes" if r["same_support"] else "no",
                  f"{r['gap']:.1e}", f"{r['largest_difference']:.1e}", f"{r['seconds']:.1f}"] for r in found]))
    print()
    for row in found:
        if row["reached"] is not None:
            print(verdict(row["reached"], f"{row['way']}: gap {row['gap']:.1e} < {LARGEST_GAP:g} and the same support"))
    path = write_json(arguments.out, {"benchmark": "l1_exactness", "environment": settings, "rows": found,
                                      "strength": problem.strength, "steps": arguments.steps, "seed": arguments.seed,
                                      "objective": problem.objective(problem.solution), "zeros": int(zero.sum())})
    print(f"\nwritten: {path}")
    return 0 if all(r["reached"] is not False for r in found) else 1


if __name__ == "__main__":
    sys.exit(main())
