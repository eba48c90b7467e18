"""Evidence about the network: bias and variance, width, learning rate, calibration and the shape of the loss."""

from __future__ import annotations

from wellfit.report.artefacts import as_list, as_map, as_number, as_numbers
from wellfit.report.charts.common import BEST, INK, NONE, SINGLE, figure, legend
from wellfit.report.diagnosis.artefacts import Diagnosis, percent
from wellfit.report.diagnosis.charts import Line, lines_chart, loss_text, plane_chart, reliability_svg
from wellfit.report.diagnosis.training import said
from wellfit.report.markup import Section, esc, p, tag
from wellfit.report.numbers import count, plain
from wellfit.report.tables import details, facts, table


def bias_variance(diagnosis: Diagnosis) -> Section | None:
    """Bias and variance, and both against the network's width."""
    part = diagnosis.part("bias_variance")
    bias, variance = as_number(part.get("bias")), as_number(part.get("variance"))
    rows = [as_map(row) for row in as_list(part.get("by_capacity"))]
    x = [as_number(row.get("width")) for row in rows]
    lines = [line for name, colour, dashed in (("error", INK, True), ("bias", SINGLE, False), ("variance", NONE, False))
             if (line := Line.of(name, colour, x, [as_number(row.get(name)) for row in rows], dashed=dashed)) is not None]
    numbers = facts([("bias", "" if bias is None else loss_text(bias)),
                     ("variance", "" if variance is None else loss_text(variance))])
    if not numbers and not lines:
        return None
    how = p("How to read it: bias is error that every training set gives; variance is error that changes with the rows drawn. "
            "Regularization and more data lower variance; a larger or better trained network lowers bias.", class_="lead")
    chart = ""
    if any(len(line.x) > 1 for line in lines):
        words = "; ".join(f"{line.name} from {loss_text(line.y[0])} to {loss_text(line.y[-1])}" for line in lines)
        spec = lines_chart(lines, description=f"Bias and variance by width: {words}.", across="width of the network",
                           show=loss_text, zero=True)
        cells = [[plain(row.get("width")), *(loss_text(as_number(row.get(n))) for n in ("bias", "variance", "error"))]
                 for row in rows]
        chart = figure(spec, "Lower is better.", table(["width", "bias", "variance", "error"], cells, numeric=[0, 1, 2, 3],
                                                       label="Bias and variance by width"), key=_key(lines))
    return Section("bias_variance", "Bias and variance", how + said(diagnosis.measured("bias", "variance")) + numbers + chart,
                   "Bias, variance")


def _key(lines: list[Line]) -> str:
    return legend([("dashed" if line.dashed else "line", line.colour, line.name) for line in lines])


def _scored(diagnosis: Diagnosis, name: str, across: str, title: str, short: str, how: str,
            about: tuple[str, ...]) -> Section | None:
    """Training and validation scores over one quantity."""
    metric = diagnosis.metric
    key = "rate" if name == "learning_rates" else "width"
    rows = [row for row in diagnosis.rows(name) if as_number(row.get(key)) is not None]
    x = [as_number(row.get(key)) for row in rows]
    lines = [line for who, colour, dashed in (("train", NONE, True), ("validation", BEST, False))
             if (line := Line.of({"train": "training"}.get(who, who), colour, x, [as_number(row.get(who)) for row in rows],
                                 dashed=dashed)) is not None]
    if not any(len(line.x) > 1 for line in lines):
        return None
    words = "; ".join(f"{line.name} from {metric.score(line.y[0])} to {metric.score(line.y[-1])}" for line in lines)
    spec = lines_chart(lines, description=f"{title}: {words}.", across=across, show=metric.score, tick=metric.tick)
    cells = [[plain(row.get(key)), metric.score(row.get("train")), metric.score(row.get("validation"))] for row in rows]
    chart = figure(spec, f"{metric.name[:1].upper()}{metric.name[1:]}; {metric.direction}.", table(
        [across, "training", "validation"], cells, numeric=[0, 1, 2], label=title), key=_key(lines))
    return Section(name, title, p(esc(how), class_="lead") + said(diagnosis.measured(*about)) + chart, short)


def learning_rates(diagnosis: Diagnosis) -> Section | None:
    """Scores over the learning rate."""
    return _scored(diagnosis, "learning_rates", "learning rate", "The learning rate", "Learning rate",
                   "How to read it: if validation is best at another rate than the one in use, optimisation is the problem, and no "
                   "regularizer mends it.", ("rate",))


def capacity(diagnosis: Diagnosis) -> Section | None:
    """Scores over the width."""
    return _scored(diagnosis, "capacity", "width of the network", "The size of the network", "Capacity",
                   "How to read it: training and validation that rise together ask for a larger network; training that rises alone "
                   "is a network large enough to learn rows by heart.", ("capacity", "width"))


def calibration(diagnosis: Diagnosis) -> Section | None:
    """Confidence against accuracy."""
    part = diagnosis.part("calibration")
    bins = [(c, a, n) for row in map(as_map, as_list(part.get("bins"))) if (c := as_number(row.get("confidence"))) is not None
            and (a := as_number(row.get("accuracy"))) is not None and (n := as_number(row.get("count")) or 0.0) >= 0]
    error = as_number(part.get("ece"))
    if not bins and error is None:
        return None
    how = p("How to read it: a dot below the diagonal stands for rows on which the network is surer than it is right. Large dots "
            "hold more rows.", class_="lead")
    sentence = p(esc("The expected calibration error is "
                     f"{percent(error)}: confidence and accuracy are that far apart on average.")) \
        if error is not None else ""
    chart = ""
    if bins:
        description = "Confidence against accuracy: " + "; ".join(
            f"{percent(c)} confident, {percent(a)} right" for c, a, _ in bins[:10])
        cells = [[percent(c), percent(a), count(n)] for c, a, n in bins]
        chart = tag("figure", reliability_svg(bins, description + "."),
                    tag("figcaption", "Across: the network's confidence. Up: the share of rows it gets right."),
                    details("Data as a table", table(["confidence", "accuracy", "rows"], cells, numeric=[0, 1, 2],
                                                     label="Calibration"), class_="data"),
                    class_="chart", role="group", aria_label="Calibration")
    return Section("calibration", "Calibration", how + said(diagnosis.measured("calibration", "ece")) + sentence + chart)


def landscape(diagnosis: Diagnosis) -> Section | None:
    """The loss along a line and over a plane through the trained weights."""
    part = diagnosis.part("landscape")
    line_part, plane = as_map(part.get("line")), as_map(part.get("plane"))
    figures = []
    line = Line.of("loss", SINGLE, as_numbers(line_part.get("alpha")), as_numbers(line_part.get("loss")), points=False)
    if line is not None and len(line.x) > 2:
        spec = lines_chart([line], description=f"Loss along one direction, from {loss_text(line.y[0])} over "
                           f"{loss_text(min(v for v in line.y if v is not None))} to {loss_text(line.y[-1])}.",
                           across="distance from the trained weights", show=loss_text)
        cells = [[plain(x), loss_text(y)] for x, y in zip(line.x, line.y, strict=True)]
        figures.append(figure(spec, "Along one direction, normalised filter by filter.", table(
            ["distance", "loss"], cells, numeric=[0, 1], label="Loss along a line"), title="Along a line"))
    x = [v for v in as_numbers(plane.get("x")) if v is not None]
    y = [v for v in as_numbers(plane.get("y")) if v is not None]
    rows = [as_numbers(row) for row in as_list(plane.get("loss"))]
    whole = len(x) > 1 and len(rows) == len(y) > 1 and all(len(row) == len(x) for row in rows)
    if whole and x == sorted(x) and y == sorted(y) and any(v is not None for row in rows for v in row):
        known = [v for row in rows for v in row if v is not None]
        spec = plane_chart(x, y, rows, f"Loss over two directions, from {loss_text(min(known))} to {loss_text(max(known))}.")
        cells = [[plain(b), *(loss_text(v) for v in row)] for b, row in zip(y, rows, strict=True)]
        figures.append(figure(spec, "Over two directions; the cross is the trained network.", table(
            ["", *map(plain, x)], cells, numeric=range(len(x) + 1), label="Loss over a plane"), title="Over a plane"))
    if not figures:
        return None
    how = p("How to read it: a wide, flat valley keeps its loss when weights move a little, and such networks tend to carry over "
            "better than those in a narrow one.", class_="lead")
    return Section("landscape", "The shape of the loss", how + said(diagnosis.measured("sharp", "landscape", "smooth"))
                   + tag("div", *figures, class_="pair"), "Loss shape")
