"""Is a planting true? Measured on rows that a diagnosis never sees, before a case counts.

A gain is a difference in merit (see :class:`pathology_engine.Rows`) on the judged rows, over three trainings (one, for changes that
the first training rules out). It counts when it is larger than 1.64 standard errors and than a margin: 5% of the merit, at least
0.015 (regression: 3% of the RMSE).

- healthy: no single change gains: no regularizer at its first strength, none taken away, learning rate x 1/10, 1/3, 3, 10, width
  x 1/4 and 4, the reserve rows as more data. Here a gain above the margin is taken seriously from one standard error on.
- leaks: a network learned from three quarters of the given rows does better on the last quarter than on fresh rows: the score that
  one would report is not borne out. Where a column gives the target away, fresh rows have that column with another row's values, as
  it is not known yet when it counts. For groups, fresh rows are fresh units, and the standard error counts units.
- label noise: the same set-up with the true labels gains, and more than as many more noisy rows do.
- excess width: a narrower, shorter trained or simply regularized network gains, and more than twice the data does for this one.
- scarce data: all the data gain, and more than any simple regularization, width or learning rate does for the sample; and already
  twice the sample gains more than the margin.
- too much decay or dropout, learning rates: the sound set-up gains, and more than another width, another learning rate (where that
  is not the fault) or more data do for the spoiled one.
- too small: a wider network, with everything else the same or at a tenth of the learning rate, gains, and more than other learning
  rates, longer training or more data do for the small one.
- shift: rows from where the test comes from gain on it, put in place of as many that were learned from, and more than more data do.
- dropout before batch norm: the same dropout after the last normalisation gains, or the same weights with statistics taken without
  dropout.

The sound set-up of a set is found once: from two layers of 64, no regularizer and a learning rate of 1e-3, the best single change
in cross-validation on the visible rows of the first seed is taken, up to four times. For scarce data it is found on the small
sample.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from common import read_json, write_json
from pathology_data import SETS, DataSet, divided, sample
from pathology_engine import TRAINED, Engine, Rows, SetUp
from pathology_network import CURES
from pathology_network import judged as judged_network
from pathology_plants import PLANTS, Arm, Planted, rates, singles, widths

import wellfit as wf

SURE = 1.64
_AGAIN, _MAY_YET = 2, 0.3
#: Of a planting and its criterion, 1 where none stands here: what was measured of an earlier one counts no more.
VERSIONS = {"scarce_data": 2, "capacity_too_small": 2, "leak_group": 2, "dropout_before_norm": 2}
Found = dict[str, Any]


def margin(rows: Rows) -> float:
    """The smallest gain that matters."""
    return 0.03 * rows.merit if rows.regression else max(0.015, 0.05 * rows.merit)


class Truth:
    """Finds, and keeps in a folder, sound set-ups and what is known of each planting."""

    def __init__(self, engine: Engine, data: Path | None, folder: Path):
        self.engine, self.data, self.folder = engine, data, folder

    # ---- sound set-ups

    def base(self, plant: str, name: str) -> SetUp:
        """The sound set-up of a set, or of a sample that is too small."""
        found = SETS[name]
        if found.group is not None:  # cross-validation over rows would choose what remembers units best
            return SetUp((128, 128), wf.Recipe(wf.Dropout(0.2)))
        small = plant == "scarce_data"
        path = self.folder / "set-ups" / f"{name}{'-scarce' if small else ''}.json"
        if not path.is_file():
            rows = divided(name, self.data, 0).visible
            write_json(path, self._sound(found, sample(rows, found.scarce, 0) if small else rows).to_mapping())
        return SetUp.from_mapping(read_json(path))

    def _sound(self, found: DataSet, rows: pd.DataFrame) -> SetUp:
        now, kept = SetUp(), None
        for _ in range(4):
            changes = {**singles(now, regression=found.regression), **rates(now, (1 / 3, 3)), **widths(now, (0.5, 2))}
            changes = {n: c for n, c in changes.items() if 8 <= max(c.hidden) <= 256 and 1e-4 <= c.learning_rate <= 2e-2
                       and (kept is None or n in kept)}
            scores = self.engine.crossed(rows, {"now": now, **changes}, folds=3 if len(rows) > 300 else 5)
            order = sorted(changes, key=lambda n: _finite(scores[n].merit))
            kept = kept or {*order[:6], *rates(now, (1 / 3, 3)), *widths(now, (0.5, 2))}  # what was far off stays out
            if not order or _finite(scores[order[0]].merit) > 0.985 * scores["now"].merit:
                break
            now = changes[order[0]]
        return now

    # ---- what is known of a case

    def planted(self, plant: str, name: str, seed: int) -> Planted:
        return PLANTS[plant](SETS[name], divided(name, self.data, seed), self.base(plant, name), seed)

    def known(self, plant: str, name: str, seed: int) -> Found | None:
        path = self._path(plant, name, seed)
        found = read_json(path) if path.is_file() else None
        return found if found is not None and found["version"] == VERSIONS.get(plant, 1) else None

    def of(self, plant: str, name: str, seed: int) -> Found:
        """Whether the planting holds, with the numbers; from the cache where they are known."""
        known = self.known(plant, name, seed)
        if known is None:
            case = self.planted(plant, name, seed)
            known = {"version": VERSIONS.get(plant, 1), "plant": plant, "set": name, "seed": seed,
                     **self._measured(plant, name, case, seed)}
            write_json(self._path(plant, name, seed), known)
        return known

    def _path(self, plant: str, name: str, seed: int) -> Path:
        return self.folder / "truth" / f"{plant}-{name}-{seed}.json"

    def _measured(self, plant: str, name: str, case: Planted, seed: int) -> Found:
        hidden = case.judged if case.judged is not None else divided(name, self.data, seed).hidden
        if case.network != "table":
            return _cured(judged_network(case.given.rows, hidden, seed), list(CURES), [])
        if case.inflated:
            return self._inflation(case, hidden, seed)
        rows = self._arms(case, hidden)
        if plant == "healthy":
            return _sound(rows)
        return _cured(rows, list(case.cures), list(case.rivals), list(case.needed))

    def _arms(self, case: Planted, hidden: pd.DataFrame) -> dict[str, Rows]:
        """All arms, trained once; those that matter three times: what may yet gain, the best of the cures and of the rivals."""
        arms = {"given": case.given, **case.cures, **case.rivals, **case.needed}
        once = self._trained(arms, hidden, 1)
        gains = {n: r.gain_over(once["given"])[0] for n, r in once.items() if n != "given"}
        first = {"given", *case.needed}
        if case.cures:
            for group in (case.cures, case.rivals):
                first |= set(sorted(group, key=lambda n: -gains[n])[:_AGAIN])
        else:
            first |= {n for n, g in gains.items() if g > _MAY_YET * margin(once["given"])}
        return once | self._trained({n: a for n, a in arms.items() if n in first}, hidden, TRAINED)

    def _trained(self, arms: Mapping[str, Arm], hidden: pd.DataFrame, trainings: int) -> dict[str, Rows]:
        """Arms, table by table."""
        tables: dict[int, tuple[pd.DataFrame, dict[str, SetUp]]] = {}
        for label, arm in arms.items():
            tables.setdefault(id(arm.rows), (arm.rows, {}))[1][label] = arm.set_up
        out: dict[str, Rows] = {}
        for table, set_ups in tables.values():
            out |= self.engine.judged(table, hidden, set_ups, trainings=trainings)
        return out

    def _inflation(self, case: Planted, hidden: pd.DataFrame, seed: int) -> Found:
        rows = case.given.rows
        order = np.random.default_rng([seed, 61]).permutation(len(rows))
        cut = 3 * len(rows) // 4
        learned, seen = (rows.iloc[o].reset_index(drop=True) for o in (order[:cut], order[cut:]))
        units = case.units
        scored = {part: self.engine.judged(learned, judged, {"given": case.given.set_up},
                                           clusters=None if units is None else judged[units].tolist())["given"]
                  for part, judged in (("seen", seen), ("fresh", hidden))}
        gain, error = scored["seen"].below(scored["fresh"])
        least = margin(scored["fresh"])
        return {"holds": bool(gain > max(SURE * error, least)), "given": scored["seen"].merit, "fresh": scored["fresh"].merit,
                "gain": gain, "error": error, "margin": least}


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.inf


def _gains(rows: dict[str, Rows], names: list[str]) -> dict[str, tuple[float, float]]:
    return {n: rows[n].gain_over(rows["given"]) for n in names}


def _rounded(gains: dict[str, tuple[float, float]]) -> dict[str, list[float]]:
    return {n: [round(g, 4), round(e, 4)] for n, (g, e) in gains.items()}


def _sound(rows: dict[str, Rows]) -> Found:
    """Healthy: no change brings a gain above the margin that one standard error does not explain."""
    gains = _gains(rows, [n for n in rows if n != "given"])
    least = margin(rows["given"])
    better = [n for n, (g, e) in gains.items() if g > least and g > e]
    return {"holds": not better, "given": rows["given"].merit, "margin": least, "better": better, "rivals": _rounded(gains)}


def _cured(rows: dict[str, Rows], cures: list[str], rivals: list[str], needed: Sequence[str] = ()) -> Found:
    """A cure gains for sure, and more than what else might."""
    taken, others = _gains(rows, cures), _gains(rows, rivals)
    cure = max(taken, key=lambda n: taken[n][0])
    gain, error = taken[cure]
    least = margin(rows["given"])
    rival = max(others, key=lambda n: others[n][0], default=None)
    rivalled = rival is not None and others[rival][0] >= gain
    also = _gains(rows, list(needed))
    holds = bool(gain > max(SURE * error, least)) and not rivalled and all(g > least for g, _ in also.values())
    return {"holds": holds, "given": rows["given"].merit, "gain": gain,
            "error": error, "margin": least, "cure": cure, "rival": rival, "rivalled": rivalled, "cures": _rounded(taken),
            "rivals": _rounded(others), "needed": _rounded(also)}
