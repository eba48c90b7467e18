"""Many inputs for few rows: how many of them the network can do without."""

from __future__ import annotations

import numpy as np

from wellfit.diagnosis.laboratory import Variant
from wellfit.diagnosis.measurement import Level, Measurement, percent
from wellfit.diagnosis.study import Study
from wellfit.search.prepare import PreparedTable

_FEW, _MANY, _TOO_MANY = 40, 0.1, 0.5  # inputs; inputs per row to learn from


def many_inputs(study: Study) -> Measurement | None:
    """Inputs per row, and what group lasso left of them; None where inputs are few."""
    prepared, facts = study.laboratory.case.prepared, study.facts
    if not isinstance(prepared, PreparedTable) or facts["inputs"] < _FEW or facts["inputs_per_row"] < _MANY:
        return None
    ratio = facts["inputs_per_row"]
    words = f"{facts['inputs']:,} inputs for {facts['rows']:,} rows to learn from: some fit the labels by chance"
    groups = np.asarray(prepared.preprocessor.groups)
    sparsest = min(((kept, v) for _, v in study.remedied.values() if (kept := _kept(study, v, groups)) is not None
                    and (gain := study.gain(v)) is not None and gain.value > -gain.error),
                   key=lambda pair: pair[0], default=None)
    if sparsest is not None and sparsest[0] < len(np.unique(groups)):
        kept, variant = sparsest
        gain = study.gain(variant)
        assert gain is not None
        effect = f"and takes {percent(gain.value)} of the error away" if gain.value > 0 else "without clear loss"
        words += f"; {variant.name} does with {kept:,} of {len(np.unique(groups)):,}, {effect}"
    level: Level = "alarm" if ratio >= _TOO_MANY else "notice"
    return Measurement("inputs", "Inputs", ratio, "inputs a row", words + ".", None, level)


def _kept(study: Study, variant: Variant, groups: np.ndarray) -> int | None:
    """Columns of the table that have a weight left in the first layer of the first network."""
    outcome = study.outcome(variant)
    if "group_lasso" not in variant.recipe or outcome is None or outcome.weights is None or not outcome.finite:
        return None
    first = outcome.weights.get("layers.0.weight")
    if first is None or first.shape[-1] != len(groups):
        return None
    return len(np.unique(groups[np.any(first != 0, axis=0)]))
