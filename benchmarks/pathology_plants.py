"""The plantings of ``pathologies.py``: each takes the rows of a set and a sound set-up for it, and spoils one thing.

A planting says beside the spoiled case how to find out whether it does harm: ``cures`` take the one thing back, ``rivals`` are
other explanations (more data, another width, another learning rate). ``pathology_truth.py`` judges them all on rows that a
diagnosis never sees. Everything is drawn with the seed; seeds also differ in how hard the planting is, where that matters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
from pathology_data import DataSet, Parts, sample
from pathology_engine import SetUp
from pathology_rows import UNIT, duplicated, flipped, joined, repeated, revealed, rng_of, selected, unit_names, with_more

import wellfit as wf
from wellfit.search.menus import table_menu

DECAYS = ("weight_decay", "l2", "l1", "elastic_net", "group_lasso")


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
        needed: beside the best cure, what has to gain by more than the margin as well.
        inflated: the harm is a score that new rows do not bear out: no cures.
        network: "table", or "dropout_before_norm" for a network of one's own.
        units: column whose equal values are one unit, where rows are not independent.
    """

    given: Arm
    cures: dict[str, Arm] = field(default_factory=dict)
    rivals: dict[str, Arm] = field(default_factory=dict)
    test: pd.DataFrame | None = None
    judged: pd.DataFrame | None = None
    needed: dict[str, Arm] = field(default_factory=dict)
    inflated: bool = False
    network: str = "table"
    units: str | None = None


Plant = Callable[[DataSet, Parts, SetUp, int], Planted]


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
    return {"more data": Arm(joined(rows, reserve), set_up)} if len(reserve) else {}


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
    fresh = parts.hidden.assign(**{UNIT: unit_names(len(parts.hidden), seed, taken=rows[UNIT].nunique())})
    return Planted(Arm(rows, base), judged=fresh, inflated=True, units=UNIT)


def leak_column(noise: float) -> Plant:
    def plant(found: DataSet, parts: Parts, base: SetUp, seed: int) -> Planted:
        # when it counts the column is not known yet: new rows have one that says nothing
        later = revealed(parts.hidden, noise, seed)
        later["billed"] = later["billed"].to_numpy()[rng_of(seed, 6).permutation(len(later))]
        return Planted(Arm(revealed(parts.visible, noise, seed), base), judged=later, inflated=True)
    return plant


def excess_width(found: DataSet, parts: Parts, base: SetUp, seed: int) -> Planted:
    rows = sample(parts.visible, min(len(parts.visible), 800), seed)
    rest = joined(parts.visible, parts.reserve)
    wide = SetUp((256, 256) if seed % 2 else (384, 192), epochs=max(60, 120_000 // len(rows)))
    shorter = replace(wide, epochs=max(5, (wide.epochs or 0) // 8))
    tried = singles(wide, regression=found.regression)
    cures = _on(rows, {**{n: tried[n] for n in ("dropout", "dropout 0.5", "weight_decay", "l1", "cut_mix", "input_noise")},
                       **widths(wide, (1 / 16, 1 / 8)), "shorter": shorter})
    more = {"more data": Arm(with_more(rows, rest), wide)}
    return Planted(Arm(rows, wide), cures, more)


def scarce(found: DataSet, parts: Parts, base: SetUp, seed: int) -> Planted:
    rows = sample(parts.visible, found.scarce, seed)
    rivals = _on(rows, {**singles(base, regression=found.regression), **widths(base), **rates(base, (1 / 3, 3))})
    twice = {"twice the data": Arm(with_more(rows, parts.visible), base)}
    return Planted(Arm(rows, base), {"all data": Arm(joined(parts.visible, parts.reserve), base)}, rivals, needed=twice)


def _spoiled(spoil: Callable[[SetUp, int], SetUp], *others: str) -> Plant:
    """A planting in the set-up: what is sound is the cure; the rivals are other changes of the spoiled one, and more data."""
    def plant(found: DataSet, parts: Parts, base: SetUp, seed: int) -> Planted:
        bad = spoil(base, seed)
        changed: dict[str, SetUp] = {}
        changed |= widths(bad, (0.25, 4)) if "width" in others else {}
        changed |= rates(bad, (1 / 10, 10)) if "rate" in others else {}
        return Planted(Arm(parts.visible, bad), {"sound": Arm(parts.visible, base)},
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
    wider = {f"width {w}": replace(tiny, hidden=(w,)) for w in (8, 32, 128)}
    cures = wider | {f"{n}, rate x0.1": s.rate_times(0.1) for n, s in wider.items()}
    longer = replace(tiny, epochs=min(600, 3 * max(12, min(200, 4000 * 32 // len(rows)))))
    return Planted(Arm(rows, tiny), _on(rows, cures),
                   _on(rows, {**rates(tiny, (1 / 3, 3)), "longer": longer}) | doubled(rows, parts.reserve, tiny))


def shift(found: DataSet, parts: Parts, base: SetUp, seed: int) -> Planted:
    """The test table comes from elsewhere: most rows learned from lie on one side, most rows of the test on the other."""
    everything = joined(parts.visible, parts.reserve, parts.hidden)
    later = selected(everything, seed, 4.0)
    order = rng_of(seed, 7).permutation(len(everything))
    elsewhere, here = everything.iloc[order[later[order]]], everything.iloc[order[~later[order]]]
    learned = here.iloc[: len(parts.visible)].reset_index(drop=True)
    size = max(100, min(len(elsewhere) // 4, len(learned) // 3))
    given, judged, matched = (elsewhere.iloc[a:b].reset_index(drop=True) for a, b in (
        (0, size), (size, 2 * size + len(elsewhere) // 8), (2 * size + len(elsewhere) // 8, len(elsewhere))))
    # what it costs: the same network learned from as many rows, of which some come from where the test does
    both = joined(learned.iloc[: max(0, len(learned) - len(matched))], matched).iloc[-len(learned):].reset_index(drop=True)
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
    "leak_duplicates": ("leakage",), "leak_group": ("leakage",), "leak_column_exact": ("leakage",),
    "leak_column_noisy": ("leakage",),
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
