"""Views of the trained network of a case: calibration, the loss around its weights, smoothness in its inputs.

None of them decides. They show what a cause looks like, and what a remedy changes.
"""

from __future__ import annotations

from wellfit.diagnosis.faults import Fault
from wellfit.diagnosis.measurement import Level, Measurement, between, percent
from wellfit.diagnosis.measures.boundary import smoothness
from wellfit.diagnosis.measures.calibration import calibration
from wellfit.diagnosis.measures.landscape import line, plane, sharpness
from wellfit.diagnosis.study import Study
from wellfit.diagnosis.surfaces import surface_of

_PLANE = 13           # points a side
_LARGEST = 2_000_000  # parameters of a network whose landscape is drawn


def views(found: Study) -> list[Fault]:
    """What can be shown of this case; none of it gives a signal."""
    if not found.base.finite:
        return []
    return [*_calibration(found), *_surface(found)]


def _calibration(found: Study) -> list[Fault]:
    scorer = found.laboratory.contributions.scorer
    if scorer.classes == 0 or scorer.own is not None or len(scorer.y) < 50:
        return []
    result = calibration(found.base.judged, scorer.y)
    sure = result.overconfidence
    level: Level = "alarm" if result.error.low > 0.05 else "notice" if result.error.low > 0.02 else "good"
    how = "surer than it is right" if sure.low > 0 else "less sure than it is right" if sure.high < 0 else "as sure as it is right"
    words = (f"confidence and accuracy differ by {percent(result.error.value)}; it is {how} on rows it did not learn from "
             f"(best temperature {result.temperature.value:.2g}).")
    bins = [{"confidence": float(c), "accuracy": float(a), "count": int(n)}
            for c, a, n in zip(result.confidence, result.accuracy, result.rows, strict=True) if n]
    ends = (result.error.low, result.error.high)
    return [Fault(Measurement("calibration", "Calibration", result.error.value, "share", words, ends, level), {},
                  {"calibration": {"bins": bins, "ece": result.plain, "error": result.error.value,
                                   "temperature": result.temperature.value}})]


def _surface(found: Study) -> list[Fault]:
    prepared, case = found.laboratory.case.prepared, found.laboratory.case
    if found.base.weights is None or prepared.parameters(case.settings) > _LARGEST:
        return []
    surface = surface_of(case, found.base.weights)
    if surface is None:
        return []
    flat = sharpness(surface, seed=case.seed)
    base = surface.value(surface.weights)
    along = line(surface, seed=case.seed)
    around = plane(surface, points=_PLANE, seed=case.seed)
    bend = smoothness(surface, seed=case.seed)
    share = percent(bend.change.value, 1)
    moves = f"{share} of the labels flip" if prepared.classes else f"the outputs change by {share} of their spread"
    return [
        Fault(Measurement("sharpness", "Sharpness", flat.value, "loss",
                          f"the training loss rises from {base:.3g} by at most {flat.value:.3g} when every weight moves by 5% of "
                          "its size.",
                          (flat.low, flat.high), "notice" if flat.value > max(base, 0.1) else "good"), {},
              {"landscape": {"line": {"alpha": along.distances.tolist(), "loss": along.losses.mean(axis=0).tolist()},
                             "plane": {"x": around.distances.tolist(), "y": around.distances.tolist(),
                                       "loss": around.losses.tolist()}}}),
        Fault(Measurement("smoothness", "Smoothness of the boundary" if prepared.classes else "Smoothness", bend.change.value,
                          "share",
                          f"{moves} when inputs are moved by a tenth of their spread "
                          f"({between(bend.change.low, bend.change.high, 1)}).", (bend.change.low, bend.change.high),
                          "notice" if prepared.classes and bend.change.value > 0.05 else "good"))]
