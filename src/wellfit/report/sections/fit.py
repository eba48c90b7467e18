"""Overfitting shown: training and validation curves, and the weights behind them."""

from __future__ import annotations

from wellfit.report.artefacts import Run, as_interval, as_list, as_map, as_number, as_text
from wellfit.report.charts.common import BEST, MUTED, NONE, figure, legend, note, panels
from wellfit.report.charts.curves import Curve, curve_chart, shared_scale
from wellfit.report.charts.weights import Histogram, histogram_chart, norms_chart
from wellfit.report.markup import Section, bullets, esc, listed, p, tag
from wellfit.report.numbers import DASH, Metric, count, plain, share, significant
from wellfit.report.scores import Scores
from wellfit.report.tables import details, table, thinned

CLEAN = ("The training loss is the clean one: measured in evaluation mode, without penalty and without augmentation. "
         "Only then is the shaded gap between the two lines the generalization gap and nothing else.")

LISTED = 300
"""Removed inputs listed at most."""

NAMELESS = "(no name)"
WHO = {"unregularized": ("without regularization", NONE), "best": ("with the best recipe", BEST)}


def overfitting(run: Run, scores: Scores) -> Section | None:
    """Loss and metric curves, without and with the recipe, on one scale."""
    curves = as_map(run.evidence.get("curves"))
    metric = scores.metric
    rows = []
    for quantity in ("loss", "metric"):
        found = {who: curve for who in WHO if len(curve := Curve(curves.get(who), quantity))}
        if found:
            rows.append(_panels(found, quantity, metric))
    gap = _gap_sentence(run, scores)
    if not rows and not gap:
        return None
    loss = {who: Curve(curves.get(who), "loss") for who in WHO}
    lead = p(esc(" ".join(s for s in (gap, *_loss_sentences(loss)) if s)), class_="lead")
    clean = p(CLEAN) if rows else p("The run holds no training curves, so only the end points are known.",
                                    class_="note")
    key = legend([("line", MUTED, "validation"), ("dashed", MUTED, "training"), ("circle", MUTED, "best epoch"),
                  ("band", MUTED, "gap")]) if rows else ""
    return Section("fit", "Does it overfit?", lead + clean + key + "".join(rows), "Overfitting")


def _panels(found: dict[str, Curve], quantity: str, metric: Metric) -> str:
    """One row of panels with a shared scale."""
    scale = shared_scale(list(found.values()))
    figures = []
    for who, curve in found.items():
        words, colour = WHO[who]
        by_metric = quantity == "metric"
        name = metric.name if by_metric else "loss"
        spec = curve_chart(curve, colour=colour, scale=scale, who=words, quantity=name,
                           higher_is_better=metric.higher_is_better if by_metric else False,
                           metric=metric if by_metric else None)
        show = metric.score if by_metric else (lambda v: DASH if v is None else significant(v))
        cells = [[f"{e:g}", show(t), show(v)] for e, t, v in zip(curve.epoch, curve.train, curve.validation,
                                                                 strict=True)]
        numbers = table(["epoch", "training", "validation"], thinned(cells), numeric=[0, 1, 2],
                        label=f"{name}, {words}")
        title = f"{metric.short[:1].upper()}{metric.short[1:]} {words}" if by_metric else f"Loss {words}"
        figures.append(figure(spec, "", numbers, title=title))
    return panels(figures)


def _gap_sentence(run: Run, scores: Scores) -> str:
    """The gap between training and held-out rows, with its interval when the verdict has one."""
    verdict, metric = as_map(run.summary.get("verdict")), scores.metric
    gap, ends = as_number(verdict.get("gap")), as_interval(verdict.get("ci"))
    if gap is None and scores.unregularized.train is not None and scores.unregularized.test is not None:
        gap = metric.better(scores.unregularized.train, scores.unregularized.test)
    if gap is None:
        return ""
    span = f" (95% interval {_amount(ends[0], metric, unit=False)} to {_amount(ends[1], metric)})" if ends else ""
    after = ""
    if scores.best.train is not None and scores.best.test is not None:
        rest = metric.better(scores.best.train, scores.best.test)
        after = f"; with the recipe by {_amount(rest, metric)}"
    return (f"Without regularization the training rows score better than held-out rows by "
            f"{_amount(gap, metric)}{span}{after}.")


def _amount(value: float, metric: Metric, unit: bool = True) -> str:
    """A gap without the plus sign."""
    return metric.gain(value, unit).lstrip("+")


def _loss_sentences(loss: dict[str, Curve]) -> list[str]:
    """What the loss curves of each network do, in words."""
    sentences = []
    for who, (words, _) in WHO.items():
        curve = loss[who]
        best, (train, held) = curve.best(False), curve.last()
        if best is None or held is None:
            continue
        epoch, value = best
        ends = f", while training loss ends at {significant(train, 3)}" if train is not None else ""
        if epoch < 0.85 * curve.epoch[-1] and held > 1.02 * value:
            sentences.append(f"{words[:1].upper()}{words[1:]}, validation loss is lowest at epoch {epoch:g} "
                             f"({significant(value, 3)}) and then rises to {significant(held, 3)}{ends}.")
        else:
            sentences.append(f"{words[:1].upper()}{words[1:]}, validation loss falls to {significant(value, 3)} and "
                             f"stays there{ends}.")
    return sentences


def weights(run: Run, scores: Scores) -> Section | None:
    """Histogram of the weights, exact zeros by layer, inputs in use."""
    part = as_map(run.evidence.get("weights"))
    found = [(words, colour, histogram) for who, (words, colour) in WHO.items()
             if (histogram := Histogram.read(part.get(who)))]
    blocks = []
    zeros = _zero_sentence(part)
    if zeros:
        blocks.append(p(esc(zeros), class_="lead"))
    if found:
        cells = []
        for words, _, histogram in found:
            cells += [[words, plain(a, 3), plain(b, 3), count(c)] for a, b, c in
                      zip(histogram.edges, histogram.edges[1:], histogram.counts, strict=False)]
        numbers = table(["network", "from", "to", "weights"], thinned(cells, 120), numeric=[1, 2, 3],
                        label="Histogram of the weights")
        blocks.append(figure(histogram_chart(found), "How many weights are how large. Counts are on a square-root "
                             "scale, so that the tails stay visible.", numbers,
                             key=legend([("square", colour, words) for words, colour, _ in found])))
    blocks += [_layers(part), _features(as_map(run.evidence.get("features")))]
    content = "".join(blocks)
    return Section("weights", "What became of the weights", content, "Weights") if content else None


def _zero_sentence(part: dict[str, object]) -> str:
    """Exact zeros of both networks in one sentence."""
    words = []
    for who, (name, _) in WHO.items():
        given = as_map(part.get(who))
        zeros, total = as_number(given.get("zeros")), as_number(given.get("total"))
        if zeros is not None and total:
            words.append(f"{name} {count(zeros)} of {count(total)} weights are exactly zero ({share(zeros, total)})")
    text = listed(words)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _layers(part: dict[str, object]) -> str:
    """Zeros by layer, both networks side by side."""
    by_name: dict[str, dict[str, dict[str, object]]] = {}
    for who in WHO:
        for layer in map(as_map, as_list(as_map(part.get(who)).get("layers"))):
            by_name.setdefault(as_text(layer.get("name")) or "layer", {})[who] = layer
    if not by_name:
        return ""
    rows = []
    for name, layers in by_name.items():
        shape = next((as_list(v.get("shape")) for v in layers.values() if as_list(v.get("shape"))), [])
        row = [esc(name), esc(" × ".join(plain(s) for s in shape))]
        for who in WHO:
            layer = layers.get(who, {})
            zeros, total = as_number(layer.get("zeros")), as_number(layer.get("total"))
            if zeros is None or not total:
                row += [DASH, ""]
                continue
            meter = tag("span", tag("span", style=f"width:{min(100.0, max(0.0, 100 * zeros / total)):.1f}%"),
                        class_=f"meter {who}", aria_hidden="true")
            row += [f"{count(zeros)} of {count(total)}", meter + esc(share(zeros, total))]
        rows.append(row)
    head = ["layer", "shape", "zeros, unregularized", "share", "zeros, best recipe", "share"]
    return tag("h3", "Exact zeros by layer") + table(head, rows, numeric=[2, 4], safe=range(6), class_="layers",
                                                     label="Exact zeros by layer")


def _features(part: dict[str, object]) -> str:
    """Which inputs the best network still reads."""
    total, used = as_number(part.get("total")), as_number(part.get("used"))
    norms = [(as_text(row.get("name")) or NAMELESS, norm) for row in map(as_map, as_list(part.get("norms")))
             if (norm := as_number(row.get("norm"))) is not None]
    norms.sort(key=lambda item: -item[1])
    if total is None:
        total = float(len(norms)) if norms else None
    if used is None:
        used = float(sum(v > 0 for _, v in norms)) if norms else None
    if total is None or used is None:
        return ""
    blocks = [tag("h3", "Inputs in use"),
              p(esc(f"The best network reads {count(used)} of {count(total)} inputs."
                    + (" All weights of the others are exactly zero." if used < total else "")))]
    removed = [name for name, norm in norms if norm == 0]
    if norms:
        shown = norms[:24]
        numbers = table(["input", "norm"], [[n, plain(v)] for n, v in norms], numeric=[1], label="Norm of each input")
        more = f"The {len(shown)} largest of {len(norms)}. " if len(norms) > len(shown) else ""
        blocks.append(figure(norms_chart(shown, round(total)),
                             f"{more}A long bar means that the network leans on this input.", numbers))
    if removed:
        names = bullets((tag("bdi", esc(n)) for n in removed[:LISTED]), class_="columns")
        more = note(f"{len(removed) - LISTED:,} more are not listed.") if len(removed) > LISTED else ""
        blocks.append(details(f"Inputs the recipe removed ({len(removed):,})", names + more))
    return "".join(blocks)
