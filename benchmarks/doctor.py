#!/usr/bin/env python3
"""How many planted mistakes does the doctor find, and does it leave correct set-ups in peace? Beside it: torch-audit.

The corpus is ``tests/doctor/corpus``: small training scripts with one or two mistakes each, drawn from issues and forum threads,
half of them (``held``) out of sight of those who write the checks, and correct set-ups that come near to a mistake. Every script
is built anew for each contestant. Recall is the share of expected ids that are among the findings; a false alarm is a finding of
level "error" on a correct set-up; warnings there are counted too.

torch-audit (0.3) is optional: ``pip install --no-deps torch-audit rich``. It gets what it can use: its zero-touch mode patches
model and optimizer, with an audit at every step, and then one epoch of the script's own training step runs, two steps through
its wrappers (which audit the gradients before the step), the script's validation and two epochs of its ``fit``. Its rules are
not ours: RULES says which of our ids a rule is counted for, in its favour where in doubt. Its hints about speed on graphics
cards (TA2xx) are not counted as alarms.
Exit status 1 if the doctor misses a target: recall at least 95%, and no error on a correct set-up.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from common import RESULTS, environment, mean, one_thread, table, verdict, words, write_json

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "doctor"))
from corpus_scripts import Script, call, missed, quiet, run_steps, scripts

EXAMPLES = """examples:
  python benchmarks/doctor.py
  python benchmarks/doctor.py --parts open --no-torch-audit
  python benchmarks/doctor.py --only penalty-doubled,max-norm-axis --json
"""
LEAST_RECALL = 0.95
# What a rule of torch-audit 0.3 is counted for. A rule that is not here says nothing about any of our ids (devices, layouts,
# precision, kernel sizes, ranges of inputs).
RULES: dict[str, set[str]] = {
    "TA102": {"gradients-not-cleared", "clipping-after-step", "clipping-scaled-gradients"},  # gradient explosion
    "TA103": {"regularization-while-underfitting", "bias-before-norm"},  # units without gradients
    "TA104": {"parameter-not-optimized", "penalty-missing"},  # no gradients at all
    "TA105": {"regularization-while-underfitting", "penalty-on-scale-invariant-weights"},  # activations that collapse
    "TA304": {"last-batch-of-one"},  # tiny batch with batch norm
    "TA400": {"bias-before-norm"},
    "TA401": {"coupled-decay-under-adam"},
    "TA402": {"decay-on-norms-and-biases", "decay-groups-swapped"},
    "TA403": {"tied-weights-counted-twice", "decay-on-norms-and-biases"},  # decay on embeddings
    "TA405": {"regularization-while-underfitting"},  # filters that are zero
    "TA500": {"parameter-not-optimized", "dropout-active-in-eval"},  # layers that are never called
    "TA501": {"tied-weights-counted-twice", "frozen-norms-update"},  # a stateful layer used twice
}
Judged = list[tuple[str, str, str]]  # id, severity, what was measured


def doctor(script: Script) -> Judged:
    """What wellfit says of the script."""
    from wellfit.doctor.check import check

    parts = script.build()
    with quiet(), contextlib.redirect_stdout(io.StringIO()):
        return [(f.id, f.severity, f.measured) for f in check(**parts)]


def torch_audit(script: Script) -> Judged:
    """What torch-audit says, its rules as ids; levels ERROR and FATAL are "error", WARN "warning"."""
    from torch_audit import autopatch

    parts = script.build()
    with quiet(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        auditor = autopatch(parts["model"], optimizer=parts["optimizer"], every_n_steps=1, suppress_internal_errors=True)
        # A script may raise on its own mistake (a last batch of one): what was found until then counts.
        for run in (lambda: run_steps(parts, len(parts["train_loader"])), lambda: wrapped(auditor, parts),
                    lambda: call(parts["validate"], parts), lambda: call(parts["fit"], parts, epochs=2)):
            with contextlib.suppress(Exception):
                run()
        result = auditor.finish(report=False)
        auditor.unpatch()
    levels = {"FATAL": "error", "ERROR": "error", "WARN": "warning", "INFO": "note"}
    return [(f.rule_id, "note" if f.rule_id.startswith("TA2") else levels[f.severity.value], f"{f.module_path}: {f.message}")
            for f in result.findings]


def wrapped(auditor: Any, parts: dict[str, Any]) -> None:
    """Two steps through torch-audit's own wrappers, which audit the gradients before the step, and its checks of batches."""
    for batch in islice(parts["train_loader"], 2):
        parts["model"].train()
        auditor.audit_data(batch[0] if isinstance(batch, list | tuple) else batch)
        parts["optimizer"].zero_grad()
        if isinstance(batch, dict):
            loss = auditor.forward(**batch)["loss"]
        else:
            loss = parts["criterion"](auditor.forward(batch[0]), batch[1])
        auditor.backward(loss)
        auditor.optimizer_step()


def as_ours(judged: Judged) -> set[str]:
    return set().union(*(RULES.get(rule, set()) for rule, _, _ in judged)) if judged else set()


def examine(script: Script, look: Callable[[Script], Judged], ids: Callable[[Judged], set[str]]) -> dict[str, Any]:
    """One script, one contestant: what was found and missed, and how long it took. An exception is a finding of nothing."""
    began, failure = time.perf_counter(), None
    try:
        judged = look(script)
    except Exception as error:  # the benchmark goes on, and says so
        judged, failure = [], f"{type(error).__name__}: {error}"
    found = ids(judged)
    return {"found": sorted(found), "missed": sorted(missed(script, found)), "seconds": time.perf_counter() - began,
            "errors": sorted({i for i, level, _ in judged if level == "error"}),
            "warnings": sorted({i for i, level, _ in judged if level == "warning"}),
            "said": [list(item) for item in judged], "failed": failure}


def recall(rows: Sequence[dict[str, Any]], who: str) -> tuple[int, int]:
    """(found, expected) over the mistakes in these rows."""
    expected = sum(len(r["expected"]) for r in rows)
    return expected - sum(len(r[who]["missed"]) for r in rows), expected


def share(rows: Sequence[dict[str, Any]], who: str) -> str:
    if not rows or who not in rows[0]:
        return "n/a"
    found, expected = recall(rows, who)
    return f"{found}/{expected}"


def print_tables(rows: Sequence[dict[str, Any]], contestants: Sequence[str]) -> None:
    mistakes, correct = [r for r in rows if r["part"] != "correct"], [r for r in rows if r["part"] == "correct"]
    by_id: dict[str, list[dict[str, Any]]] = {}
    for row in mistakes:
        for wanted in row["expected"]:
            by_id.setdefault(wanted.split("|")[0], []).append(row)

    def one(wanted: str, of: Sequence[dict[str, Any]], who: str) -> str:
        if not of or who not in of[0]:
            return "" if not of else "n/a"
        return f"{sum(not any(m.split('|')[0] == wanted for m in r[who]['missed']) for r in of)}/{len(of)}"

    body = [[wanted, *(one(wanted, [r for r in of if r["part"] == part], "doctor") for part in ("open", "held")),
             one(wanted, of, "torch-audit"), f"{mean([r['doctor']['seconds'] for r in of]):.2f}"]
            for wanted, of in sorted(by_id.items())]
    total = ["all", *(share([r for r in mistakes if r["part"] == part], "doctor") for part in ("open", "held")),
             share(mistakes, "torch-audit"), f"{mean([r['doctor']['seconds'] for r in mistakes]):.2f}"]
    print(table(["found / planted", "doctor, open", "doctor, held", "torch-audit", "seconds"], [*body, total]))
    if correct:
        print("\non correct set-ups\n")
        print(table(["", *(f"{who} {what}" for who in contestants for what in ("errors", "warnings"))],
                    [[r["script"], *(", ".join(r[who][what]) for who in contestants for what in ("errors", "warnings"))]
                     for r in correct]))
    lacking = [r for r in mistakes if r["doctor"]["missed"]]
    if lacking:
        print("\nmissed by the doctor\n")
        print(table(["script", "missed", "found instead"],
                    [[r["script"], ", ".join(r["doctor"]["missed"]), ", ".join(r["doctor"]["found"]) or "nothing"]
                     for r in lacking]))
    for r in rows:
        for who in contestants:
            if r[who]["failed"]:
                print(f"{who} failed on {r['script']}: {r[who]['failed']}", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="open,held,correct", help="parts of the corpus (default %(default)s)")
    parser.add_argument("--only", default="", help="ids or parts of script names, separated by commas (default all)")
    parser.add_argument("--no-torch-audit", action="store_true", help="leave torch-audit out")
    parser.add_argument("--json", action="store_true", help="print the results as JSON instead of tables")
    parser.add_argument("--out", type=Path, default=RESULTS / "doctor.json", help="JSON file (default %(default)s)")
    arguments = parser.parse_args()

    import wellfit.doctor.check as _doctor  # noqa: F401  (without it nothing is measured)

    contestants = ["doctor"]
    absent = None
    if not arguments.no_torch_audit:
        try:
            import torch_audit as _  # noqa: F401
        except ImportError:
            absent = "torch-audit is not installed: its column says n/a (pip install --no-deps torch-audit)"
        else:
            contestants.append("torch-audit")
    rows: list[dict[str, Any]] = []
    left_out = []
    with one_thread():
        for script in scripts(*words(arguments.parts)):
            if arguments.only and not any(word in script.name or word in script.expected for word in words(arguments.only)):
                continue
            if not script.available:
                left_out.append(f"{script.name} needs {script.needs}")
                continue
            row = {"script": script.name, "part": script.part, "expected": sorted(script.expected),
                   "doctor": examine(script, doctor, lambda judged: {i for i, _, _ in judged})}
            if "torch-audit" in contestants:
                row["torch-audit"] = examine(script, torch_audit, as_ours)
            rows.append(row)
            print(".", end="", flush=True, file=sys.stderr)
        settings = environment()
    print(file=sys.stderr)

    mistakes = [r for r in rows if r["part"] != "correct"]
    alarms = [r["script"] for r in rows if r["part"] == "correct" and (r["doctor"]["errors"] or r["doctor"]["failed"])]
    summary = {who: {"recall": {part: recall([r for r in mistakes if r["part"] in parts], who)
                                for part, parts in (("open", ("open",)), ("held", ("held",)), ("all", ("open", "held")))},
                     "correct_with_errors": [r["script"] for r in rows if r["part"] == "correct" and r[who]["errors"]],
                     "correct_with_warnings": [r["script"] for r in rows if r["part"] == "correct" and r[who]["warnings"]],
                     "seconds": mean([r[who]["seconds"] for r in rows])} for who in contestants}
    result = {"benchmark": "doctor", "environment": settings, "summary": summary, "left_out": left_out,
              "rules": {rule: sorted(ids) for rule, ids in RULES.items()}, "rows": rows}
    path = write_json(arguments.out, result)
    found, expected = recall(mistakes, "doctor")
    reached = [None if not mistakes else found / expected >= LEAST_RECALL,
               None if len(mistakes) == len(rows) else not alarms]
    if arguments.json:
        print(json.dumps(json.loads(path.read_text(encoding="utf-8")), indent=1))
    else:
        print_tables(rows, contestants)
        for line in filter(None, [absent, *left_out]):
            print(f"note: {line}")
        print()
        print(verdict(reached[0], f"recall {found} of {expected}: at least {LEAST_RECALL:.0%}"))
        print(verdict(reached[1], f"{len(alarms)} correct set-ups with a finding of level error, or a failure: none"))
        print(f"\nwritten: {path}")
    return 1 if False in reached else 0


if __name__ == "__main__":
    sys.exit(main())
