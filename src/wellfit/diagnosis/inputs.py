"""Many inputs for few rows: how many of them the network can do without."""

from __future__ import annotations

import numpy as np

from wellfit.core.registry import lookup
from wellfit.diagnosis.laboratory import Variant
from wellfit.diagnosis.measurement import Level, Measurement, percent
from wellfit.diagnosis.rules import rules
from wellfit.diagnosis.study import Study
from wellfit.search.prepare import PreparedTable


def many_inputs(study: Study) -> Measurement | None:
    """Inputs per row, and what a remedy that makes zeros left of them; None where inputs are too few for such a rule to apply."""
    prepared, facts = study.laboratory.case.prepared, study.facts
    sparse = [v for rule, v in study.remedied.values() if any(lookup(name).acts_as == "sparsity" for name in rule.parts)]
    if not isinstance(prepared, PreparedTable) or not sparse:
        return None
    ratio = facts["inputs_per_row"]
    words = f"{facts['inputs']:,} inputs for {facts['rows']:,} rows to learn from: some fit the labels by chance"
    groups = np.asarray(prepared.preprocessor.groups)
    columns = len(np.unique(groups))
    found = [(kept, gain.value, v.name) for v in sparse if (kept := _kept(study, v, groups)) is not None and kept < columns
             and (gain := study.gain(v)) is not None and gain.value > -gain.error]
    if found:
        kept, gained, name = min(found)
        effect = f"and takes {percent(gained)} of the error away" if gained > 0 else "without clear loss"
        words += f"; {name} does with {kept:,} of {columns:,}, {effect}"
    level: Level = "alarm" if ratio >= rules()["many_inputs"] else "notice"
    return Measurement("inputs", "Inputs", ratio, "inputs a row", words + ".", None, level)


def _kept(study: Study, variant: Variant, groups: np.ndarray) -> int | None:
    """Columns of the table that have a weight left in the first layer of the first network."""
    outcome = study.outcome(variant)
    if outcome is None or outcome.weights is None or not outcome.finite:
        return None
    return len(np.unique(groups[np.any(outcome.weights["layers.0.weight"] != 0, axis=0)]))
