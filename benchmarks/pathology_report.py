"""Results of ``pathologies.py``: lines on disk, the confusion matrix, accuracies with intervals, and the page in the docs."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import table, verdict
from pathology_data import HALVES
from pathology_plants import ACCEPTED, PLANTS

CAUSES = ("fits_well", "underfits_capacity", "underfits_optimisation", "overfits", "too_little_data", "label_noise", "leakage",
          "shift", "over_regularized", "broken_setup", "failed")
SHORT = ("fits", "capacity", "optimis.", "overfits", "few data", "noise", "leakage", "shift", "over-reg.", "broken", "failed")
WANTED, WANTED_HEALTHY = 0.85, 0.90
Line = dict[str, Any]


def read(path: Path) -> list[Line]:
    """The last line of each case; one that was cut off is left out."""
    found: dict[str, Line] = {}
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        found[line["case"]] = line
    return list(found.values())


def append(path: Path, lines: Sequence[Line]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cut_off = path.is_file() and path.stat().st_size > 0 and path.read_bytes()[-1:] != b"\n"
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" if cut_off else "")
        file.writelines(json.dumps(line, ensure_ascii=False, default=str) + "\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())


def accuracy(lines: Sequence[Line], seed: int = 0) -> dict[str, Any]:
    """Share of right verdicts, with a 95% interval of a bootstrap over data sets: cases of one set are alike."""
    if not lines:
        return {"cases": 0, "right": 0, "share": None, "interval": None, "sets": 0}
    sets = sorted({line["set"] for line in lines})
    right = np.array([sum(line["right"] for line in lines if line["set"] == s) for s in sets], dtype=float)
    count = np.array([sum(line["set"] == s for line in lines) for s in sets], dtype=float)
    draws = np.random.default_rng(seed).integers(0, len(sets), (2000, len(sets)))
    shares = right[draws].sum(1) / count[draws].sum(1)
    low, high = np.quantile(shares, (0.025, 0.975))
    return {"cases": len(lines), "right": int(right.sum()), "share": float(right.sum() / count.sum()),
            "interval": [float(low), float(high)], "sets": len(sets)}


def summary(lines: Sequence[Line]) -> dict[str, Any]:
    """What the page and the table show, for both halves and each alone."""
    return {"parts": {part: _summarised([x for x in lines if part in (x["half"], "both")]) for part in ("both", *HALVES)}}


def _summarised(lines: Sequence[Line]) -> dict[str, Any]:
    held = [x for x in lines if x["holds"]]
    told = [x for x in held if "cause" in x]
    plants = [p for p in PLANTS if any(x["plant"] == p for x in lines)]
    mine = {p: [x for x in told if x["plant"] == p] for p in plants}
    return {
        "all": accuracy(told),
        "healthy": accuracy([x for x in told if x["plant"] == "healthy"]),
        "plants": {p: {**accuracy(mine[p]), "accepted": list(ACCEPTED[p]),
                       "left_out": sum(x["plant"] == p and not x["holds"] for x in lines),
                       "true": sum(x["plant"] == p for x in held), "sets_true": len({x["set"] for x in held if x["plant"] == p}),
                       "verdicts": dict(Counter(x["cause"] for x in mine[p]))} for p in plants},
        "sets": {s: accuracy([x for x in told if x["set"] == s]) for s in sorted({x["set"] for x in told})},
        "left_out": len(lines) - len(held), "true": len(held),
        "seconds": [float(v) for v in np.quantile([x["seconds"] for x in told], (0.5, 1.0))] if told else None}


def _share(found: dict[str, Any]) -> str:
    if not found["cases"]:
        return "none"
    return f"{found['right']} of {found['cases']}, {found['share']:.0%} ({found['interval'][0]:.0%} to {found['interval'][1]:.0%})"


def _matrix(part: dict[str, Any]) -> tuple[list[str], list[list[Any]]]:
    rows = []
    for plant, found in part["plants"].items():
        counts = [found["verdicts"].get(c, 0) for c in CAUSES]
        rows.append([plant, *(c or "" for c in counts), f"{found['right']}/{found['cases']}", found["left_out"]])
    return ["planted", *SHORT, "right", "left out"], rows


def shown(found: dict[str, Any]) -> str:
    """For the terminal."""
    out = []
    for name in ("both", *HALVES):
        part = found["parts"][name]
        if not part["true"] and not part["left_out"]:
            continue
        out += [f"{name}: {part['true']} true cases, {part['left_out']} left out", table(*_matrix(part))]
        if part["all"]["cases"]:
            healthy = part["healthy"]
            out += [verdict(part["all"]["share"] >= WANTED, f"cause named: {_share(part['all'])}, wanted {WANTED:.0%}"),
                    verdict(healthy["share"] >= WANTED_HEALTHY if healthy["cases"] else None,
                            f"healthy called healthy: {_share(healthy)}, wanted {WANTED_HEALTHY:.0%}"),
                    "by set: " + ", ".join(f"{s} {a['right']}/{a['cases']}" for s, a in part["sets"].items()),
                    f"seconds: {part['seconds'][0]:.0f} in the middle, {part['seconds'][1]:.0f} at most"]
        out.append("")
    return "\n".join(out)


def page(found: dict[str, Any]) -> str:
    """docs/pathologies.md."""
    both = found["parts"]["both"]
    out = ["# How often the diagnosis is right", "",
           "One thing is spoiled in a sound set-up on real data, and `wf.diagnose` has to name it. Only plantings count that do "
           "harm on rows which the diagnosis never sees; the others are left out, and counted. `benchmarks/pathologies.py` makes "
           "the cases, states what is planted, which verdict is accepted, and when a planting is true.", "",
           f"{both['true']} cases are true, {both['left_out']} were left out. 95% intervals are of a bootstrap over data sets.", "",
           "| data sets | cause named | healthy called healthy | sets |", "|---|---|---|---|"]
    titles = {"development": "development: thresholds were set on these", "judgement": "judgement: not looked at for thresholds",
              "both": "both"}
    for name in (*HALVES, "both"):
        part = found["parts"][name]
        out.append(f"| {titles[name]} | {_share(part['all'])} | {_share(part['healthy'])} | {part['all']['sets']} |")
    for name in HALVES:
        part = found["parts"][name]
        if not part["all"]["cases"]:
            continue
        headers, rows = _matrix(part)
        out += ["", f"## {name.capitalize()} half", "", "Rows are what was planted, columns the verdict.", "",
                "| " + " | ".join(headers) + " |", "|" + "---|" * len(headers)]
        out += ["| " + " | ".join(f"**{c}**" if CAUSES[i - 1:i] and 0 < i <= len(CAUSES) and CAUSES[i - 1] in ACCEPTED[row[0]] and c
                                  else str(c) for i, c in enumerate(row)) + " |" for row in rows]
        out += ["", "Right by set: " + ", ".join(f"{s} {a['right']} of {a['cases']}" for s, a in part["sets"].items()) + "."]
    if both["seconds"]:
        out += ["", f"A diagnosis took {both['seconds'][0]:.0f} s in the middle and {both['seconds'][1]:.0f} s at most."]
    return "\n".join(out) + "\n"
