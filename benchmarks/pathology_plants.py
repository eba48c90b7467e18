"""The plantings of ``pathologies.py``: each takes the rows of a set and a sound set-up for it, and spoils one thing.

A planting says beside the spoiled case how to find out whether it does harm: ``cures`` take the one thing back, ``rivals`` are other
explanations (more data, another width, another learning rate). ``pathology_truth.py`` trains them all on rows that a diagnosis never
sees. Everything is drawn with the seed; seeds also differ in how hard the planting is, where that makes a difference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from pathology_data import TARGET, DataSet, Parts, sample
from pathology_engine import SetUp

import wellfit as wf
from wellfit.search.menus import table_menu

DECAYS = ("weight_decay", "l2", "l1", "elastic_net", "group_lasso")
UNIT = "unit"


@dataclass(frozen=True)
class Arm:
    """A set-up with the rows it learns from."""

    rows: pd.DataFrame
    set_up: SetUp


@dataclass(frozen=True)
class Planted:
    """A case before it is known whether the planting does harm.

    Attributes:
        given: the arm that is diagnosed.
        test: a test table that is given with it.
        judged: the rows of the truth; None: the hidden rows.
        cures, rivals: see above.
        inflated: the harm is a score that new rows do not bear out: no cures.
        network: "table", or "dropout_before_norm" for a network of one's own.
        units: column whose equal values are one unit, where rows are not independent.
    """

    given: Arm
    cures: dict[str, Arm] = field(default_factory=dict)
    rivals: dict[str, Arm] = field(default_factory=dict)
    test: pd.DataFrame | None = None
    judged: pd.DataFrame | None = None
    inflated: bool = False
    network: str = "table"
    units: str | None = None


Plant = Callable[[DataSet, Parts, SetUp, int], Planted]


def _rng(seed: int, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, 60, number])


def _joined(*frames: pd.DataFrame) -> pd.DataFrame:
    return pd.concat(frames, ignore_index=True)


def numeric(frame: pd.DataFrame) -> list[str]:
    """Feature columns that hold numbers."""
    return [c for c in frame.columns if c not in (TARGET, UNIT) and frame[c].dtype.kind in "fiu"]


# ---- data


def flipped(frame: pd.DataFrame, share: float, seed: int) -> pd.DataFrame:
    """A share of the labels replaced by another class, each other class equally likely."""
    rng = _rng(seed, 1)
    names = np.unique(frame[TARGET])
    labels = np.searchsorted(names, frame[TARGET])
    rows = rng.permutation(len(frame))[: round(share * len(frame))]
    labels[rows] = (labels[rows] + rng.integers(1, len(names), len(rows))) % len(names)
    return frame.assign(**{TARGET: names[labels]})


def jittered(frame: pd.DataFrame, amount: float, kept: float, rng: np.random.Generator) -> pd.DataFrame:
    """Numbers moved by noise of ``amount`` standard deviations; other cells stay with probability ``kept``, else they are another row's.

    Columns of few whole numbers are treated as categories are.
    """
    out = frame.copy()
    for name in frame.columns:
        if name in (TARGET, UNIT):
            continue
        column = frame[name]
        if column.dtype.kind == "f" or (column.dtype.kind in "iu" and column.nunique() > 20):
            out[name] = column + amount * float(column.std() or 0.0) * rng.standard_normal(len(frame))
        else:
            other = column.to_numpy()[rng.permutation(len(frame))]
            out[name] = column.where(rng.random(len(frame)) < kept, other)
    return out


def duplicated(frame: pd.DataFrame, share: float, seed: int) -> pd.DataFrame:
    """A share of the rows stands twice more, one copy exact and the other moved by a hundredth of a standard deviation; shuffled."""
    rng = _rng(seed, 2)
    chosen = frame.iloc[np.sort(rng.permutation(len(frame))[: round(share * len(frame))])]
    out = _joined(frame, chosen, jittered(chosen, 0.01, 1.0, rng))
    return out.iloc[rng.permutation(len(out))].reset_index(drop=True)


def repeated(frame: pd.DataFrame, units: int, times: int, seed: int) -> pd.DataFrame:
    """Rows as units that were measured ``times`` times: near-copies with one label, and a column that names the unit."""
    rng = _rng(seed, 3)
    chosen = sample(frame, units, seed)
    names = np.array([f"P{n:04d}" for n in rng.permutation(10_000)[: len(chosen)]])
    chosen = chosen.assign(**{UNIT: names if seed % 2 else np.char.lstrip(names, "P").astype(int)})
    noisy = [jittered(chosen, 0.15, 0.95, rng) for _ in range(times)]
    out = _joined(*noisy)
    return out.iloc[rng.permutation(len(out))].reset_index(drop=True)


def revealed(frame: pd.DataFrame, noise: float, seed: int) -> pd.DataFrame:
    """A column computed from the target.

    Classes: a code for each, given as another class's with probability ``noise``, as a number with a jitter that keeps the codes
    apart. A number: a line of it, with ``noise`` standard deviations added.
    """
    rng = _rng(seed, 4)
    if frame[TARGET].dtype.kind == "f":
        y = frame[TARGET].to_numpy()
        column = 3.0 - 2.0 * (y + noise * y.std() * rng.standard_normal(len(y)))
        return frame.assign(billed=column)
    seen = flipped(frame, noise, seed + 1000)[TARGET] if noise else frame[TARGET]
    names = np.unique(frame[TARGET])
    codes = np.random.default_rng(seed).permutation(len(names))[np.searchsorted(names, seen)]
    column = codes + (0.1 * rng.standard_normal(len(frame)) if noise else 0.0)
    return frame.assign(billed=column) if noise else frame.assign(billed=[f"k{c}" for c in codes])


def direction(frame: pd.DataFrame, seed: int) -> np.ndarray:
    """Where each row lies along the first principal direction, or for odd seeds along the number that says most about the target."""
    numbers = frame[numeric(frame)].to_numpy(dtype=np.float64)
    if numbers.shape[1] == 0:
        numbers = pd.get_dummies(frame.drop(columns=TARGET)).to_numpy(dtype=np.float64)
    numbers = np.nan_to_num((numbers - np.nanmean(numbers, 0)) / np.maximum(np.nanstd(numbers, 0), 1e-9))
    if seed % 2 == 0:
        values = np.linalg.svd(numbers, full_matrices=False)[0][:, 0]
    else:
        y = pd.Series(frame[TARGET])
        if y.dtype.kind == "f":
            told = [abs(np.corrcoef(c, y)[0, 1]) if c.std() > 0 else 0.0 for c in numbers.T]
        else:
            told = [float(pd.Series(c).groupby(y.to_numpy()).mean().std(ddof=0)) for c in numbers.T]
        values = numbers[:, int(np.argmax(told))]
    order = np.argsort(np.argsort(values + 1e-9 * np.random.default_rng(seed).standard_normal(len(values))))
    return (order / len(order) - 0.5) * 2  # type: ignore[no-any-return]


def selected(frame: pd.DataFrame, seed: int, strength: float) -> np.ndarray:
    """Whether each row is likely to be seen later only: drawn with a logistic probability along :func:`direction`."""
    score = direction(frame, seed) * (1 if seed % 4 < 2 else -1)
    return _rng(seed, 5).random(len(frame)) < 1 / (1 + np.exp(-strength * score))  # type: ignore[no-any-return]


# ---- set-ups


def with_part(set_up: SetUp, part: Any) -> SetUp:
    """The set-up with one more regularizer, which takes the place of one with the same name."""
    return replace(set_up, recipe=set_up.recipe.without(part.name) + part)


def singles(set_up: SetUp, *, regression: bool) -> dict[str, SetUp]:
    """The set-up with each regularizer of the search at its first strength, and without each that it has."""
    from wellfit.core.registry import lookup

    menu = table_menu(regression=regression, keeps_width=len(set(set_up.hidden)) < len(set_up.hidden))
    out: dict[str, SetUp] = {}
    for name, values in menu.singles.items():
        if name in ("early_stopping", "stochastic_depth") or name not in menu.methods or name in set_up.recipe:
            continue
        try:
            out[name] = with_part(set_up, lookup(name)(**values))  # type: ignore[arg-type]
        except wf.WellfitError:
            continue  # two that cannot stand together
    for part in set_up.recipe:
        out[f"without {part.name}"] = replace(set_up, recipe=set_up.recipe.without(part.name))
    if "dropout" not in set_up.recipe:
        out["dropout 0.5"] = with_part(set_up, wf.Dropout(0.5))
    return out


def rates(set_up: SetUp, factors: tuple[float, ...] = (1 / 10, 1 / 3, 3, 10)) -> dict[str, SetUp]:
    return {f"rate x{f:.2g}": set_up.rate_times(f) for f in factors}


def widths(set_up: SetUp, factors: tuple[float, ...] = (0.25, 4)) -> dict[str, SetUp]:
    return {f"width x{f:g}": set_up.widths_times(f) for f in factors}


def _on(rows: pd.DataFrame, set_ups: dict[str, SetUp]) -> dict[str, Arm]:
    return {name: Arm(rows, s) for name, s in set_ups.items()}


# ---- the plantings


def healthy(found: DataSet, parts: Parts, base: SetUp, seed: int) -> Planted:
    rivals = _on(parts.visible, {**singles(base, regression=found.regression), **rates(base), **widths(base)})
    return Planted(Arm(parts.visible, base), rivals=rivals | doubled(parts.visible, parts.reserve, base))


def doubled(rows: pd.DataFrame, reserve: pd.DataFrame, set_up: SetUp) -> dict[str, Arm]:
    return {"more data": Arm(_joined(rows, reserve), set_up)} if len(reserve) else {}


def label_noise(share: float) -> Plant:
    def plant(found: DataSet, parts: Parts, base: SetUp, seed: int) -> Planted:
        rows = flipped(parts.visible, share, seed)
        more = flipped(parts.reserve, share, seed + 500) if len(parts.reserve) else parts.reserve
        return Planted(Arm(rows, base), {"clean labels": Arm(parts.visible, base)}, doubled(rows, more, base))
    return plant


def leak_duplicates(found: DataSet, parts: Parts, base: SetUp, seed: int) -> Planted:
    return Planted(Arm(duplicated(parts.visible, (0.4, 0.6, 0.5)[seed % 3], seed), base), inflated=True)


def leak_group(found: DataSet, parts: Parts, base: SetUp, seed: int) -> Planted:
    if found.group is not None:
        return Planted(Arm(parts.visible, base), inflated=True, units=found.group)
    units = min(len(parts.visible), 250)
    rows = repeated(parts.visible, units, 5, seed)
    absent = np.array([f"Q{n}" for n in range(len(parts.hidden))]) if seed % 2 else 20_000 + np.arange(len(parts.hidden))
    return Planted(Arm(rows, base), judged=parts.hidden.assign(**{UNIT: absent}), inflated=True, units=UNIT)


def leak_column(noise: float) -> Plant:
    def plant(found: DataSet, parts: Parts, base: SetUp, seed: int) -> Planted:
        # when it counts the column is not known yet: new rows have one that says nothing
        later = revealed(parts.hidden, noise, seed)
        later["billed"] = later["billed"].to_numpy()[_rng(seed, 6).permutation(len(later))]
        return Planted(Arm(revealed(parts.visible, noise, seed), base), judged=later, inflated=True)
    return plant


def excess_width(found: DataSet, parts: Parts, base: SetUp, seed: int) -> Planted:
    rows = sample(parts.visible, min(len(parts.visible), 800), seed)
    rest = _joined(parts.visible, parts.reserve)
    wide = SetUp((256, 256) if seed % 2 else (384, 192), epochs=max(60, 120_000 // len(rows)))
    shorter = replace(wide, epochs=max(5, (wide.epochs or 0) // 8))
    tried = singles(wide, regression=found.regression)
    cures = _on(rows, {**{n: tried[n] for n in ("dropout", "dropout 0.5", "weight_decay", "l1", "cut_mix", "input_noise")},
                       **widths(wide, (1 / 16, 1 / 8)), "shorter": shorter})
    more = {"more data": Arm(_after(rows, rest), wide)}
    return Planted(Arm(rows, wide), cures, more)


def _after(rows: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """As many rows more, of those that are not there yet."""
    features = [c for c in rows.columns]
    seen = set(pd.util.hash_pandas_object(rows[features], index=False))
    fresh = others[~pd.util.hash_pandas_object(others[features], index=False).isin(seen)]
    return _joined(rows, fresh.iloc[: len(rows)])


def scarce(found: DataSet, parts: Parts, base: SetUp, seed: int) -> Planted:
    rows = sample(parts.visible, found.scarce, seed)
    rivals = _on(rows, {**singles(base, regression=found.regression), **widths(base), **rates(base, (1 / 3, 3))})
    return Planted(Arm(rows, base), {"all data": Arm(_joined(parts.visible, parts.reserve), base)}, rivals)


def _spoiled(spoil: Callable[[SetUp, int], SetUp], *others: str, cure: Callable[[SetUp], dict[str, SetUp]] = lambda base: {}) -> Plant:
    """A planting in the set-up: what is sound is the cure; the rivals are other changes of the spoiled one, and more data."""
    def plant(found: DataSet, parts: Parts, base: SetUp, seed: int) -> Planted:
        bad = spoil(base, seed)
        changed: dict[str, SetUp] = {}
        changed |= widths(bad, (0.25, 4)) if "width" in others else {}
        changed |= rates(bad, (1 / 10, 10)) if "rate" in others else {}
        cures = {"sound": base, **cure(bad)}
        return Planted(Arm(parts.visible, bad), _on(parts.visible, cures),
                       _on(parts.visible, changed) | doubled(parts.visible, parts.reserve, bad))
    return plant


def _decayed(base: SetUp, seed: int) -> SetUp:
    strong = (wf.WeightDecay(timescale=0.3), wf.L2(0.1), wf.WeightDecay(timescale=0.6))[seed % 3]
    return replace(base, recipe=base.recipe.without(*DECAYS, "max_norm") + strong)


def _dropped(base: SetUp, seed: int) -> SetUp:
    return with_part(base, wf.Dropout((0.85, 0.9, 0.8)[seed % 3]))


def _too_fast(base: SetUp, seed: int) -> SetUp:
    return replace(base, learning_rate=(0.3, 0.1, 1.0)[seed % 3])


def _too_slow(base: SetUp, seed: int) -> SetUp:
    return replace(base, learning_rate=base.learning_rate / (100, 300, 1000)[seed % 3])


def small(found: DataSet, parts: Parts, base: SetUp, seed: int) -> Planted:
    """A network of one or two units. Its learning rate is one at which such networks learn, not the sound network's."""
    tiny = SetUp(((2,), (1,), (2, 2))[seed % 3], learning_rate=1e-2, batch_size=base.batch_size)
    rows = parts.visible
    cures = {"sound": base, **{f"width {w}": replace(tiny, hidden=(w,)) for w in (16, 64)}}
    longer = replace(tiny, epochs=min(600, 3 * max(12, min(200, 4000 * 32 // len(rows)))))
    return Planted(Arm(rows, tiny), _on(rows, cures),
                   _on(rows, {**rates(tiny, (1 / 3, 3)), "longer": longer}) | doubled(rows, parts.reserve, tiny))


def shift(found: DataSet, parts: Parts, base: SetUp, seed: int) -> Planted:
    """The test table comes from elsewhere: most rows learned from lie on one side, most rows of the test on the other."""
    everything = _joined(parts.visible, parts.reserve, parts.hidden)
    later = selected(everything, seed, 4.0)
    order = _rng(seed, 7).permutation(len(everything))
    elsewhere, here = everything.iloc[order[later[order]]], everything.iloc[order[~later[order]]]
    learned = here.iloc[: len(parts.visible)].reset_index(drop=True)
    size = max(100, min(len(elsewhere) // 4, len(learned) // 3))
    given, judged, matched = (elsewhere.iloc[a:b].reset_index(drop=True) for a, b in (
        (0, size), (size, 2 * size + len(elsewhere) // 8), (2 * size + len(elsewhere) // 8, len(elsewhere))))
    # what it costs: the same network learned from as many rows, of which some come from where the test does
    both = _joined(learned.iloc[: max(0, len(learned) - len(matched))], matched).iloc[-len(learned):].reset_index(drop=True)
    return Planted(Arm(learned, base), {"rows like the test's": Arm(both, base)}, doubled(learned, here.iloc[len(learned):], base),
                   test=given, judged=judged)


def dropout_before_norm(found: DataSet, parts: Parts, base: SetUp, seed: int) -> Planted:
    rows = sample(parts.visible, min(len(parts.visible), 1000), seed)
    return Planted(Arm(rows, SetUp((128, 128))), network="dropout_before_norm")


PLANTS: dict[str, Plant] = {
    "healthy": healthy,
    "label_noise_10": label_noise(0.10), "label_noise_20": label_noise(0.20), "label_noise_40": label_noise(0.40),
    "leak_duplicates": leak_duplicates, "leak_group": leak_group,
    "leak_column_exact": leak_column(0.0), "leak_column_noisy": leak_column(0.03),
    "excess_width": excess_width, "scarce_data": scarce,
    "too_much_decay": _spoiled(_decayed, "width", "rate"), "too_much_dropout": _spoiled(_dropped, "width", "rate"),
    "dropout_before_norm": dropout_before_norm,
    "rate_too_high": _spoiled(_too_fast, "width"), "rate_too_low": _spoiled(_too_slow, "width"),
    "capacity_too_small": small, "covariate_shift": shift,
}

ACCEPTED: dict[str, tuple[str, ...]] = {
    "healthy": ("fits_well",),
    "label_noise_10": ("label_noise",), "label_noise_20": ("label_noise",), "label_noise_40": ("label_noise",),
    "leak_duplicates": ("leakage",), "leak_group": ("leakage",), "leak_column_exact": ("leakage",), "leak_column_noisy": ("leakage",),
    "excess_width": ("overfits",), "scarce_data": ("too_little_data",),
    "too_much_decay": ("over_regularized",), "too_much_dropout": ("over_regularized",),
    "dropout_before_norm": ("broken_setup",),
    "rate_too_high": ("underfits_optimisation",), "rate_too_low": ("underfits_optimisation",),
    "capacity_too_small": ("underfits_capacity",), "covariate_shift": ("shift",),
}


def applies(plant: str, found: DataSet) -> bool:
    """Whether a planting makes sense on a set."""
    if found.group is not None:
        return plant == "leak_group"
    if plant.startswith("label_noise"):
        return not found.regression
    return plant != "scarce_data" or found.scarce > 0
