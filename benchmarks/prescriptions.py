#!/usr/bin/env python3
"""Do prescriptions hold? ``wf.diagnose(..., try_=True)`` on every table of DIR/manifest.json.

For each table and seed: the verdict, the first prescription, and what it did on the test rows that nothing before had looked at:
the metric before and after, and the gain with its 95% interval over rows crossed with seeds. A prescription *held* if the metric
is not worse by more than one standard error of the gain; it *helped* if it is better. Where nothing is prescribed, nothing is
changed.

Every table is one line of a JSON lines file, and the same command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import RESULTS, closed, environment, numbers, table, words

import wellfit as wf

EXAMPLES = """examples:
  python benchmarks/prescriptions.py --data DIR --budget 60s
  python benchmarks/prescriptions.py --data DIR --only madelon,arrhythmia,leukemia_allaml --seeds 0,1,2
  python benchmarks/prescriptions.py --show
"""
WIDE = ("leukemia_allaml", "madelon", "arrhythmia")  # overfitting for its many irrelevant features
SPARSE = ("l1", "elastic_net", "group_lasso", "sparse_group_lasso")
Line = dict[str, Any]


def entries(data: Path) -> list[dict[str, Any]]:
    """The tables of the manifest."""
    manifest = json.loads((data / "manifest.json").read_text(encoding="utf-8"))
    rows = manifest["datasets"] if isinstance(manifest, dict) and "datasets" in manifest else manifest
    return [row for row in rows if row.get("kind") == "tabular"]


def measured(entry: dict[str, Any], data: Path, budget: str, seed: int) -> Line:
    """One diagnosis with its trial."""
    begun = time.monotonic()
    # a column that says which rows belong together belongs to the split, not to the features
    group = entry.get("group_column")
    found = wf.diagnose(data / entry["file"], entry["target"], budget=budget, seed=seed, group=group, try_=True)
    trial, gap = found.trial, found.mapping["signals"].get("gap", {}).get("value")
    first = found.prescriptions[0] if found.prescriptions else None
    return {"name": entry["name"], "seed": seed, "cause": found.cause, "confidence": found.confidence, "gap": gap,
            "prescription": first.title if first else None, "parts": sorted(p.name for p in first.recipe) if first else [],
            "measured": first.gain.to_mapping() if first and first.gain else None,
            "trial": trial.to_mapping() if trial else None, "seconds": time.monotonic() - begun,
            "trainings": found.mapping["cost"]["trainings"], "left_out": len(found.mapping["left_out"])}


def shown(lines: Sequence[Line]) -> str:
    """The table, and how many held and helped."""
    rows = []
    for line in lines:
        trial = line["trial"]
        gain = "" if trial is None else f"{trial['gain']:+.4g} ({trial['ci'][0]:+.3g} to {trial['ci'][1]:+.3g})"
        rows.append([line["name"], str(line["seed"]), line["cause"], f"{line['confidence']:.0%}", line["prescription"] or "nothing",
                     "" if trial is None else f"{trial['before']:.4g}", "" if trial is None else f"{trial['after']:.4g}", gain,
                     "" if trial is None else "held" if trial["held"] else "did not hold", f"{line['seconds']:.0f} s"])
    text = table(["table", "seed", "cause", "sure", "first prescription", "before", "after", "gain (95%)", "", "time"], rows)
    tried = [line for line in lines if line["trial"] is not None]
    gaps = [line for line in tried if (line["gap"] or 0) > 0.15]
    held, better = sum(line["trial"]["held"] for line in tried), sum(line["trial"]["gain"] > 0 for line in gaps)
    text += f"\n\nheld: {held} of {len(tried)} tried; better where there is a gap: {better} of {len(gaps)} tried (target 80%)"
    wide = [line for line in lines if line["name"] in WIDE]
    sparse = sum(line["cause"] in ("overfits", "too_little_data") and bool(set(line["parts"]) & set(SPARSE)) for line in wide)
    if wide:
        text += f"\nmany irrelevant features: overfitting named and sparsity prescribed first: {sparse} of {len(wide)}"
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with manifest.json")
    parser.add_argument("--budget", default="60s", help="of each diagnosis (default: 60s)")
    parser.add_argument("--seeds", type=numbers, default=[0], help="splits, such as 0,1,2 (default: 0)")
    parser.add_argument("--only", type=words, help="these tables")
    parser.add_argument("--out", type=Path, default=RESULTS / "prescriptions.jsonl")
    parser.add_argument("--show", action="store_true", help="print what is there already")
    given = parser.parse_args(arguments)
    lines = [json.loads(row) for row in given.out.read_text(encoding="utf-8").splitlines()] if given.out.is_file() else []
    if not given.show:
        if given.data is None or not (given.data / "manifest.json").is_file():
            parser.error("--data needs a folder with manifest.json")
        given.out.parent.mkdir(parents=True, exist_ok=True)
        done = {(line["name"], line["seed"], line["budget"]) for line in lines}
        for entry in entries(given.data):
            for seed in given.seeds:
                if (given.only and entry["name"] not in given.only) or (entry["name"], seed, given.budget) in done:
                    continue
                line = {**measured(entry, given.data, given.budget, seed), "budget": given.budget, "environment": environment()}
                lines.append(line)
                with given.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                print(f"{line['name']}: {line['cause']} ({line['confidence']:.0%}), {line['prescription']}, "
                      f"{line['seconds']:.0f} s", file=sys.stderr, flush=True)
    print(shown(lines))
    return closed(given.out, [])


if __name__ == "__main__":
    sys.exit(main())
