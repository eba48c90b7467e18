"""Evidence from training: the curves over the epochs, and the error over the number of training rows."""

from __future__ import annotations

from wellfit.report.artefacts import as_list, as_map, as_number, as_numbers
from wellfit.report.charts.common import BEST, MUTED, NONE, SINGLE, figure, legend, panels
from wellfit.report.charts.curves import Curve, curve_chart, shared_scale
from wellfit.report.diagnosis.artefacts import Diagnosis, Measurement
from wellfit.report.diagnosis.charts import Line, lines_chart
from wellfit.report.markup import Section, bullets, esc, p
from wellfit.report.numbers import Metric, plain, significant
from wellfit.report.tables import table, thinned


def said(found: list[Measurement]) -> str:
    """The sentences of the measurements a section is about."""
    return bullets((esc(m.words) for m in found if m.words), class_="notes")


def error_words(metric: Metric, value: float | None) -> str:
    """An error: in percent where the metric is a share, else as a number."""
    if value is None:
        return "–"
    return f"{100 * value:.1f}%" if metric.is_share else significant(value)


def curves(diagnosis: Diagnosis) -> Section | None:
    """Loss and metric by epoch."""
    part, metric = diagnosis.part("curves"), diagnosis.metric
    figures = []
    for quantity in ("loss", "metric"):
        curve = Curve(part, quantity)
        if not len(curve):
            continue
        by_metric = quantity == "metric"
        name = metric.name if by_metric else "loss"
        spec = curve_chart(curve, colour=NONE, scale=shared_scale([curve]), who="as it was trained", quantity=name,
                           higher_is_better=metric.higher_is_better if by_metric else False,
                           metric=metric if by_metric else None)

        def show(value: float | None, by_metric: bool = by_metric) -> str:
            return metric.score(value) if by_metric else "–" if value is None else significant(value)

        cells = [[f"{e:g}", show(t), show(v)] for e, t, v in zip(curve.epoch, curve.train, curve.validation, strict=True)]
        figures.append(figure(spec, "", table(["epoch", "training", "validation"], thinned(cells), numeric=[0, 1, 2],
                                              label=name), title=name[:1].upper() + name[1:]))
    if not figures:
        return None
    how = p("How to read it: while both lines fall, training still teaches what carries over. Where validation turns up and "
            "training goes on falling, the network learns the training rows by heart. Two high, flat lines are a network that "
            "does not learn enough.", class_="lead")
    key = legend([("line", MUTED, "validation"), ("dashed", MUTED, "training"), ("circle", MUTED, "best epoch"),
                  ("band", MUTED, "gap")])
    found = diagnosis.measured("gap", "overfit", "optim", "underfit", "memor", "dead", "gradient")
    return Section("curves", "The training curves", how + said(found) + key + panels(figures), "Curves")


def learning_curve(diagnosis: Diagnosis) -> Section | None:
    """Error over training size with its fit, and what regularization does at each size."""
    part, metric = diagnosis.part("learning_curve"), diagnosis.metric
    fit = as_map(part.get("fit"))
    other = part.get("regularized")
    sizes = as_numbers(part.get("sizes"))
    given = as_map(other)
    if given:
        regular = Line.of("with regularization", BEST, as_numbers(given.get("sizes")) or sizes, as_numbers(given.get("error")),
                          as_numbers(given.get("low")), as_numbers(given.get("high")))
    else:
        entries = as_list(other)
        pairs = [(as_number(as_map(e).get("size") or as_map(e).get("n")), as_number(as_map(e).get("error"))) for e in entries]
        if any(y is not None for _, y in pairs):
            regular = Line.of("with regularization", BEST, [a for a, _ in pairs], [b for _, b in pairs])
        else:
            regular = Line.of("with regularization", BEST, sizes, as_numbers(other))
    lines = [line for line in (
        Line.of("fit", SINGLE, as_numbers(fit.get("n")), as_numbers(fit.get("error")), as_numbers(fit.get("low")),
                as_numbers(fit.get("high")), dashed=True, points=False, band=True),
        Line.of("measured", NONE, sizes, as_numbers(part.get("error")), as_numbers(part.get("low")),
                as_numbers(part.get("high"))), regular) if line is not None]
    if not lines:
        return None
    words = "; ".join(f"{line.name} from {error_words(metric, line.y[0])} at {plain(line.x[0])} rows to "
                      f"{error_words(metric, line.y[-1])} at {plain(line.x[-1])}" for line in lines)
    spec = lines_chart(lines, description=f"Error by number of training rows: {words}.", across="training rows",
                       show=lambda v: error_words(metric, v), tick=".1~%" if metric.is_share else "~g")
    cells = [[line.name, plain(x), error_words(metric, y), "" if line.low[i] is None else
              f"{error_words(metric, line.low[i])} to {error_words(metric, line.high[i])}"]
             for line in lines for i, (x, y) in enumerate(zip(line.x, line.y, strict=True))]
    key = legend([("dashed" if line.dashed else "circle", line.colour, line.name) for line in lines])
    how = p("How to read it: a line that is still falling at its right end says that more data would help; a flat one says that "
            "it would not. The dashed line is a power law through the measured points, its band the 95% interval of the forecast.",
            class_="lead")
    chart = figure(spec, "Error on held-out rows; lower is better.", table(
        ["line", "rows", "error", "95% interval"], thinned(cells, 60), numeric=[1, 2], label="Error by training rows"), key=key)
    return Section("learning_curve", "Would more data help?", how + said(diagnosis.measured("learning_curve", "twice", "more_data"))
                   + chart, "More data")
