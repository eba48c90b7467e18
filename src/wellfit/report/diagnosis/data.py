"""Evidence about the data: wrong labels, leaks between the parts of the split, and shift."""

from __future__ import annotations

from wellfit.report.artefacts import as_interval, as_list, as_map, as_number, as_text
from wellfit.report.diagnosis.artefacts import Diagnosis, quantity
from wellfit.report.diagnosis.training import said
from wellfit.report.markup import Section, esc, p, tag
from wellfit.report.numbers import DASH, plain, significant
from wellfit.report.tables import details, table

OPEN = 12
"""A list of suspects no longer than this stands open."""


def label_noise(diagnosis: Diagnosis) -> Section | None:
    """The share of wrong labels and the rows most likely to carry one."""
    part = diagnosis.part("label_noise")
    rate, ends = as_number(part.get("rate")), as_interval(part.get("ci"))
    suspects = [as_map(row) for row in as_list(part.get("suspects")) if as_map(row)]
    if rate is None and not suspects:
        return None
    blocks = [p("How to read it: a row is suspect when networks that never trained on it are sure of another label. Look at the "
                "first rows of the list before changing any.", class_="lead"), said(diagnosis.measured("label", "noise"))]
    if rate is not None:
        span = f" (95% interval {quantity(ends[0], 'share')} to {quantity(ends[1], 'share')})" if ends else ""
        blocks.append(p(esc(f"About {quantity(rate, 'share')} of the labels are estimated to be wrong{span}.")))
    if suspects:
        cells = [[plain(row.get("row")), as_text(row.get("given")), as_text(row.get("suggested")),
                  DASH if as_number(row.get("score")) is None else significant(as_number(row.get("score")) or 0.0, 2)]
                 for row in suspects]
        listed = table(["row", "label given", "label suggested", "probability of the label given"], cells, numeric=[0, 3],
                       label="Suspect labels")
        blocks.append(details(f"The rows most likely to be mislabelled ({len(suspects):,})", listed,
                              open_=len(suspects) <= OPEN))
    return Section("label_noise", "Wrong labels", "".join(blocks), "Labels")


def leaks(diagnosis: Diagnosis) -> Section | None:
    """What training rows give away about validation rows."""
    rows = diagnosis.rows("leaks")
    cells = []
    for row in rows:
        measured = row.get("measured")
        words = ", ".join(f"{k.replace('_', ' ')} {plain(v)}" for k, v in as_map(measured).items()) \
            if isinstance(measured, dict) else plain(measured) if measured is not None else ""
        cells.append([as_text(row.get("kind")).replace("_", " "), as_text(row.get("what")), words])
    if not cells:
        return None
    how = p("How to read it: a leak lets the network answer validation rows from something it will not have in use, so scores look "
            "better than they are. Mend the split or drop the column before any other remedy.", class_="lead")
    return Section("leaks", "Leaks", how + said(diagnosis.measured("leak", "duplicate", "group"))
                   + table(["kind", "what", "measured"], cells, wide=[1, 2], label="Leaks"))


def shift(diagnosis: Diagnosis) -> Section | None:
    """Whether validation rows look different from training rows."""
    part = diagnosis.part("shift")
    auc, ends = as_number(part.get("auc")), as_interval(part.get("ci"))
    found = [(as_text(row.get("name")) or "(no name)", as_number(row.get("statistic"))) for row in
             map(as_map, as_list(part.get("features")))]
    if auc is None and not found:
        return None
    blocks = [p("How to read it: a classifier tries to tell training rows from validation rows. An AUC of 0.5 means that it "
                "cannot; the further above, the more the two differ.", class_="lead"), said(diagnosis.measured("shift"))]
    if auc is not None:
        span = f" (95% interval {ends[0]:.2f} to {ends[1]:.2f})" if ends else ""
        blocks.append(p(esc(f"AUC {auc:.2f}{span}.")))
    largest = max((abs(v) for _, v in found if v is not None), default=0.0) or 1.0
    if found:
        cells = [[esc(name), DASH if value is None else esc(significant(value, 3)), "" if value is None else tag(
            "span", tag("span", style=f"width:{100 * abs(value) / largest:.1f}%"), class_="meter", aria_hidden="true")]
            for name, value in found]
        blocks.append(table(["feature", "statistic", ""], cells, numeric=[1], safe=range(3), label="Features that differ most"))
    return Section("shift", "Do training and validation differ?", "".join(blocks), "Shift")
