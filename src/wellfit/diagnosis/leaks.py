"""What makes a score too good: columns that tell the target, copies and hidden groups across the split, order in time."""

from __future__ import annotations

import numpy as np

from wellfit.diagnosis.case import Case
from wellfit.diagnosis.examples import inputs_of
from wellfit.diagnosis.faults import Fault
from wellfit.diagnosis.measurement import Level, Measurement, percent
from wellfit.diagnosis.measures.hidden_groups import hidden_groups
from wellfit.diagnosis.measures.linked_rows import cost_of_links
from wellfit.diagnosis.measures.near_copies import near_copies, standardized
from wellfit.diagnosis.measures.telling import telling_column
from wellfit.diagnosis.measures.time_order import ordered_columns, time_order
from wellfit.diagnosis.signals import Signal
from wellfit.diagnosis.study import Study
from wellfit.search.prepare import PreparedTable

_CERTAIN = 2.0
_GROUPED_ROWS, _COPIED_ROWS, _FEW_COPIES = 6000, 30_000, 0.01
_SURE = 0.01       # lower end of what a split by groups costs, from which on it is called a leak
_TIMES = 2.0       # how much more often copies are mistaken without each other: what merely resembles loses less
_FLATTERED = 0.05  # share of the error that copies hide, from which on they are called a leak


def in_data(case: Case) -> list[Fault]:
    """Leaks that can be seen without training a network."""
    prepared = case.prepared
    if not isinstance(prepared, PreparedTable):
        return []
    grouped = _by_group(case, prepared)  # a column that names groups also tells the target: the group says why
    return [*(grouped or _by_column(case, prepared)), *_by_time(case, prepared)]


def in_training(found: Study) -> list[Fault]:
    """Leaks that show in what the trained networks get right."""
    return [_copies(found)] if found.base.finite else []


def _fault(kind: str, words: str, size: float, by: str) -> Fault:
    return Fault(Measurement("leak", "Leakage", size, "", words, None, "alarm"), {"leak": Signal(_CERTAIN, 0.1, by)},
                 {"leaks": [{"kind": kind, "what": words, "measured": f"{size:.3g}"}]})


def _sample(case: Case, most: int = 3000) -> np.ndarray:
    rows = case.prepared.split.development
    return rows if len(rows) <= most else np.sort(np.random.default_rng(case.seed).choice(rows, most, replace=False))


def _by_column(case: Case, prepared: PreparedTable) -> list[Fault]:
    notes = [n for n in prepared.notes if n.code == "leak_column" and n.level == "warning"]
    if notes:
        return [_fault("column", " ".join(n.message for n in notes), 1.0, notes[0].code)]
    rows = _sample(case)
    telling = telling_column(prepared.inputs[rows], prepared.table.y[rows], np.asarray(prepared.preprocessor.groups),
                             prepared.preprocessor.group_names, regression=prepared.classes == 0, seed=case.seed)
    return [] if telling is None else [_fault("column", telling.sentence(), telling.dominance, telling.column)]


def _by_group(case: Case, prepared: PreparedTable) -> list[Fault]:
    table = prepared.table
    if table.groups is not None:
        return []
    rows = _sample(case, _GROUPED_ROWS)
    names = prepared.preprocessor.group_names
    sources = [names[g] for g in prepared.preprocessor.groups]
    found = hidden_groups(table.frame.iloc[rows].reset_index(drop=True), table.y[rows], prepared.inputs[rows], sources,
                          regression=prepared.classes == 0, seed=case.seed)
    leaking = [g for g in found if g.leaks and g.flattery.low > _SURE]
    return [_fault("group", g.sentence(), g.flattery.difference, g.column) for g in leaking[:1]]


def _by_time(case: Case, prepared: PreparedTable) -> list[Fault]:
    table = prepared.table
    if table.times is not None:
        return []
    rows = _sample(case)
    out = []
    for name, times in list(ordered_columns(table.frame.iloc[rows]).items())[:2]:
        own = np.array([prepared.preprocessor.group_names[g] != name for g in prepared.preprocessor.groups])
        found = time_order(prepared.inputs[rows][:, own], table.y[rows], times, regression=prepared.classes == 0, column=name,
                           seed=case.seed)
        if found.leaks:
            out.append(_fault("time", found.sentence(), found.flattery.difference, name))
    return out


def _copies(found: Study) -> Fault:
    """Rows that were judged and have a near copy among the rows learned from, and how much they flatter the score.

    Rows may resemble each other by nature. What counts is that those with a copy are predicted better than the others, and that a
    quick model predicts them worse once it has not seen the copy.
    """
    case, judge = found.laboratory.case, found.laboratory.contributions
    rows = found.laboratory.development
    inputs = inputs_of(case, rows) if len(judge.rows) <= _COPIED_ROWS else None
    if inputs is None or judge.scorer.own is not None:
        return Fault()
    links = _links(case, rows, inputs)
    copied = np.isin(judge.rows, rows[links[:, 0]])
    share = float(copied.mean())
    merits = np.mean([judge.merits(p) for p in found.base.judged], axis=0)
    if share < _FEW_COPIES or share > 0.95:
        return Fault()
    counts = judge.resamples * judge.weights
    rest = (counts[:, ~copied] @ merits[~copied]) / np.maximum(counts[:, ~copied].sum(axis=1), 1e-12)
    flattered = 1 - (counts @ merits / counts.sum(axis=1)) / np.maximum(rest, 1e-12)
    value, spread = float(flattered.mean()), float(flattered.std())
    leaks = value > 2 * spread and _give_away(case, rows, inputs, links)
    words = (f"{percent(share, 1)} of the judged rows have a near copy among the rows learned from; without them the error is "
             f"{percent(value / max(1 - value, 1e-9))} larger"
             f"{'.' if leaks else ', as rows in dense places are easier: their copies do not give them away.'}")
    level: Level = "alarm" if leaks and value > _FLATTERED else "notice"
    return Fault(Measurement("leak", "Leakage", share, "share", words, None, level),
                 {"leak": Signal(value / _FLATTERED if leaks else 0.0, spread / _FLATTERED / 2, "copies across the split")},
                 {"leaks": [{"kind": "copies", "what": words, "measured": percent(share, 1)}]} if level == "alarm" else {})


def _links(case: Case, rows: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """(m, 2): places among ``rows`` of judged ones, and of the one in their fold's training part that each is nearly a copy of."""
    found = []
    for parts in case.folds:
        train, validation = (np.searchsorted(rows, part) for part in parts)
        near = near_copies(inputs[train], inputs[validation], seed=case.seed)
        found.append(np.stack([validation[near.rows], train[near.copies]], axis=1))
    return np.concatenate(found)


def _give_away(case: Case, rows: np.ndarray, inputs: np.ndarray, links: np.ndarray) -> bool:
    scaled, = standardized(inputs)
    cost = cost_of_links(scaled, case.prepared.scorer(rows).y, links, regression=case.prepared.classes == 0, seed=case.seed)
    return cost is not None and cost.low > 0 and cost.honest >= _TIMES * cost.random
