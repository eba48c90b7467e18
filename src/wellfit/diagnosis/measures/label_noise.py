"""Wrong labels: which rows, how many, and whether that can be told from classes that overlap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from wellfit.core.errors import WellfitError
from wellfit.diagnosis.measures.estimate import wilson
from wellfit.diagnosis.measures.noise_floor import Floor, noise_floor

QUALITIES = ("self_confidence", "margin", "relative")
TOLERATED, NOTICED = 0.03, 0.05
_TINY = 1e-4

Answer = Literal["noisy", "clean", "unclear"]


@dataclass(frozen=True)
class LabelNoise:
    """How many labels are wrong.

    Attributes:
        rate, low, high: share of wrong labels, with a 95% interval. Where classes overlap it is wide and holds zero.
        answer: "noisy" (the interval lies above 0.03 and the rate is 0.05 or more), "clean" (the interval ends below 0.06), or
            "unclear": wrong labels cannot be told from overlapping classes.
        disagreement: share of labels that are not the predicted class: wrong labels, overlap and a weak model together.
        floor: what the rate was read from.
        witnesses: the floors of the single predictors, by name.
        joint_rate: share off the diagonal of the confident joint. It counts overlap as noise.
        joint: (C, C) estimated shares of (observed label, true label), rows observed; sums to one.
        suspects: how many labels the confident joint calls wrong.
    """

    rate: float
    low: float
    high: float
    answer: Answer
    disagreement: float
    floor: Floor
    witnesses: Mapping[str, Floor] = field(default_factory=dict)
    joint_rate: float = 0.0
    joint: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    suspects: int = 0

    def sentence(self) -> str:
        """The finding in one line."""
        interval = f"{self.rate:.0%} of the labels wrong (95% interval {self.low:.0%} to {self.high:.0%})"
        if self.answer == "noisy":
            return (f"{interval}: {self.floor.top_disagreement:.0%} of the labels disagree even where the prediction is surest.")
        if self.answer == "clean":
            return f"Labels look clean: {interval}; disagreement vanishes where the prediction is sure."
        return f"{interval}: wrong labels cannot be told from overlapping classes here."


def joined(*probabilities: np.ndarray) -> np.ndarray:
    """The mean of out-of-fold probabilities, each (n, C) or (S, n, C) for S seeds; sets of seeds count once each. (n, C).

    Averaging over seeds and over models of other kinds ranks wrong labels better than any of them: their mistakes differ.
    """
    parts = []
    for given in probabilities:
        array = np.asarray(given, dtype=np.float64)
        if array.ndim not in (2, 3) or array.shape[-1] < 2 or not np.isfinite(array).all():
            raise WellfitError("These are no out-of-fold probabilities.", received=f"shape {array.shape}",
                               expected="finite numbers, (n, C) or (seeds, n, C), C at least 2")
        parts.append(array if array.ndim == 2 else array.mean(axis=0))
    if len({part.shape for part in parts}) != 1:
        raise WellfitError("The probabilities do not fit together.", received=", ".join(str(p.shape) for p in parts),
                           expected="the same rows and classes")
    mean = np.mean(parts, axis=0)
    return mean / np.maximum(mean.sum(axis=1, keepdims=True), 1e-12)


def label_quality(probabilities: np.ndarray, labels: np.ndarray, kind: str = "self_confidence") -> np.ndarray:
    """How well each label fits its out-of-fold prediction, (n,); low scores are suspect.

    ``self_confidence``: p(y). ``margin``: (p(y) - max over the other classes + 1) / 2 (Northcutt, Jiang and Chuang 2021,
    "Confident learning", JAIR 70). ``relative``: the margin after p(c) was divided by the mean p(c) of the rows labelled c, so that
    a rare class, which gets small probabilities everywhere, is not suspect as a whole.

    >>> label_quality(np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1])).round(2).tolist()
    [0.9, 0.1]
    """
    p, labels = _checked(probabilities, labels)
    if kind not in QUALITIES:
        raise WellfitError("Unknown label quality.", received=repr(kind), expected=", ".join(QUALITIES))
    rows = np.arange(len(labels))
    if kind == "self_confidence":
        return p[rows, labels]
    if kind == "relative":
        p = p / np.maximum(_thresholds(p, labels), 1e-3)
        p = p / np.maximum(p.sum(axis=1, keepdims=True), 1e-12)
    others = p.copy()
    others[rows, labels] = -np.inf
    return np.asarray((p[rows, labels] - others.max(axis=1) + 1) / 2)


def confident_joint(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Estimated shares of (observed label, true label), (C, C), and which rows are called wrong, (n,).

    A row counts for class c if p(c) reaches the mean p(c) of the rows labelled c, and c is the likeliest such class. The counts are
    scaled so that every row of the matrix sums to the share of its label (Northcutt et al. 2021, equations 1 to 3). Overlapping
    classes count as wrong labels: see :func:`estimate_label_noise` for telling them apart.
    """
    p, labels = _checked(probabilities, labels)
    classes = p.shape[1]
    reached = p >= _thresholds(p, labels) - 1e-12
    guess = np.where(reached, p, -1.0).argmax(axis=1)
    counted = reached.any(axis=1)
    counts = np.zeros((classes, classes))
    np.add.at(counts, (labels[counted], guess[counted]), 1.0)
    size = np.bincount(labels, minlength=classes).astype(np.float64)
    empty = counts.sum(axis=1) == 0
    counts[empty, empty] = 1.0
    joint = counts / counts.sum(axis=1, keepdims=True) * (size / len(labels))[:, None]
    return joint, counted & (guess != labels)


def estimate_label_noise(labels: np.ndarray, probabilities: np.ndarray, *others: np.ndarray,
                         neighbours: np.ndarray | None = None) -> LabelNoise:
    """The share of wrong labels, told from overlapping classes by the floor of disagreement among confident predictions.

    The estimate is that of :func:`~wellfit.diagnosis.measures.noise_floor.noise_floor` on the mixture of all probabilities
    (:func:`stacked`). A weak predictor is wrong where it is sure, which raises its floor and never lowers it, so every witness
    bounds the rate from above: the upper end is the smallest but one. The lower end is the mixture's own, and at least one single
    witness must see as much. It assumes flips that do not
    depend on the row; labels that are wrong only where classes overlap cannot be counted by anyone. A predictor that is well above
    guessing (skill: one less its error over that of always saying the commonest class) must order its overlap errors: the least
    slope is min(1, 3 · (skill - 0.2)) for a skill above 0.2.

    Args:
        labels: (n,) observed labels, 0 to C - 1.
        probabilities: (n, C) or (S, n, C) out-of-fold probabilities of a network, several seeds' worth where there are.
        others: the same of models of other kinds, such as :func:`forest_probabilities`; recommended.
        neighbours: (n, k) labels of the nearest rows (:func:`neighbour_labels`), a further witness.
    """
    p, labels = _checked(joined(probabilities), labels)
    if others:
        p = stacked(labels, probabilities, *others)
    classes = p.shape[1]
    main = _floor_of(p, labels, classes)
    witnesses = {"network": _floor_of(joined(probabilities), labels, classes)}
    for number, other in enumerate(others):
        witnesses["forest" if len(others) == 1 else f"model {number + 2}"] = _floor_of(joined(other), labels, classes)
    if neighbours is not None:
        votes = np.stack([(neighbours == c).mean(axis=1) for c in range(classes)], axis=1)
        witnesses["neighbours"] = _floor_of(0.98 * votes + 0.02 / classes, labels, classes)
    parts = list(witnesses.values()) if len(witnesses) > 1 else []
    high = sorted([main.high, *(w.high for w in parts)])[1 if parts else 0]
    low = min(main.low, high, *([max(w.low for w in parts)] if parts else []))
    rate = float(np.clip(main.rate, low, high))
    joint, wrong = confident_joint(p, labels)
    answer: Answer = "noisy" if low > TOLERATED and rate >= NOTICED else "clean" if high <= 2 * TOLERATED else "unclear"
    return LabelNoise(rate, low, high, answer, main.disagreement, main, witnesses, float(1 - np.trace(joint)), joint,
                      int(wrong.sum()))


def stacked(labels: np.ndarray, *probabilities: np.ndarray) -> np.ndarray:
    """(n, C): the mixture of out-of-fold probabilities that fits the observed labels best.

    Each part, (n, C) or (S, n, C) for S seeds (averaged first), gets the best of a grid of temperatures, then mixture weights by
    expectation maximization of the mean log-likelihood, started at equal weights. Under heavy noise the smooth parts win, on clean
    labels the sharp ones. Models of several kinds rank wrong labels better than one, for their mistakes differ.
    """
    labels = np.asarray(labels)
    parts = [_tempered(joined(p), labels) for p in probabilities]
    joined(*parts)  # says so if they do not fit together
    given = np.stack([np.maximum(p[np.arange(len(labels)), labels], 1e-6) for p in parts])  # (M, n)
    weights = np.full(len(parts), 1 / len(parts))
    for _ in range(50):
        share = weights[:, None] * given
        weights = (share / share.sum(axis=0)).mean(axis=1)
    return np.asarray(np.einsum("m,mnc->nc", weights, np.stack(parts)))


def _tempered(p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    logits = np.log(np.clip(p, 1e-6, 1.0))
    best, loss = p, np.inf
    for temperature in (0.6, 0.8, 1.0, 1.3, 1.7, 2.3, 3.2, 4.5):
        tried = np.exp(logits / temperature - (logits / temperature).max(axis=1, keepdims=True))
        tried /= tried.sum(axis=1, keepdims=True)
        here = -float(np.log(np.maximum(tried[np.arange(len(labels)), labels], 1e-6)).mean())
        if here < loss - 1e-9:
            best, loss = tried, here
    return best


def forest_probabilities(inputs: np.ndarray, labels: np.ndarray, *, trees: int = 150, seed: int = 0) -> np.ndarray:
    """(n, C): out-of-bag class shares of extremely randomized trees (Geurts et al. 2006): a witness of another kind.

    Trees are fitted on bootstrap samples, so that every row is predicted by those that have not seen it. Leaves of 2, 5, 15 and 40
    rows are tried in turn while the log loss falls (of 1 as well where 2 beats 5), and mixed by :func:`stacked`: noisy labels need
    large leaves.
    """
    from sklearn.ensemble import ExtraTreesClassifier

    labels = np.asarray(labels)
    known, codes = np.unique(labels, return_inverse=True)
    classes = int(known.max()) + 1
    prior = np.bincount(codes) / len(codes)
    rows = np.arange(len(codes))
    tried: list[tuple[float, np.ndarray]] = []

    def fit(leaf: int) -> None:
        import warnings

        forest = ExtraTreesClassifier(trees, min_samples_leaf=leaf, bootstrap=True, oob_score=True, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a row that is in every bag gets the class shares, below
            shares = forest.fit(inputs, codes).oob_decision_function_
        shares = np.where(np.isfinite(shares).all(axis=1, keepdims=True), shares, prior)
        shares = 0.99 * shares + 0.01 * prior
        tried.append((-float(np.log(shares[rows, codes]).mean()), shares))

    if len(known) > 1:
        for leaf in (2, 5, 15, 40):
            fit(leaf)
            if len(tried) > 1 and tried[-1][0] > tried[-2][0]:
                break
        if len(tried) == 2:
            fit(1)
    out = np.zeros((len(labels), classes))
    out[:, known] = stacked(codes, *(p for _, p in tried)) if tried else 1.0
    return out


def neighbour_labels(inputs: np.ndarray, labels: np.ndarray, *, k: int = 10) -> np.ndarray:
    """(n, k): labels of each row's k nearest other rows by Euclidean distance; give standardized inputs."""
    from sklearn.neighbors import NearestNeighbors

    k = min(k, len(labels) - 1)
    near = NearestNeighbors(n_neighbors=k).fit(inputs).kneighbors(None, return_distance=False)  # None: each row without itself
    return np.asarray(labels)[near]


def neighbour_probabilities(inputs: np.ndarray, labels: np.ndarray, *, k: int = 20) -> np.ndarray:
    """(n, C): label shares of each row's k nearest other rows, nearer ones weighing more: 1 / (r + 0.3 · median r_1)."""
    from sklearn.neighbors import NearestNeighbors

    labels = np.asarray(labels)
    distance, near = NearestNeighbors(n_neighbors=min(k, len(labels) - 1)).fit(inputs).kneighbors(None)
    weight = 1 / (distance + 0.3 * float(np.median(distance[:, 0])) + 1e-9)
    classes = int(labels.max()) + 1
    shares = np.stack([(weight * (labels[near] == c)).sum(axis=1) for c in range(classes)], axis=1)
    return np.asarray(0.99 * shares / weight.sum(axis=1, keepdims=True) + 0.01 / classes)


@dataclass(frozen=True)
class Residuals:
    """Outliers of a regression's out-of-fold residuals.

    Attributes:
        share, low, high: rows further than ``limit`` robust deviations from the median, and the Wilson 95% interval.
        expected: the share a normal distribution leaves there.
        rows: the outliers, the largest first.
        scale: robust standard deviation, 1.4826 · median |r - median r|.
        limit: in robust deviations.
    """

    share: float
    low: float
    high: float
    expected: float
    rows: np.ndarray
    scale: float
    limit: float


def residual_outliers(residuals: np.ndarray, *, limit: float = 5.0) -> Residuals:
    """Rows whose target lies implausibly far from its out-of-fold prediction: |r - median| > limit · MAD scale.

    Heavy tails of the target itself look the same: a share above ``expected`` says where to look, not that targets are wrong
    (Rousseeuw and Croux 1993, JASA 88).

    >>> r = np.random.default_rng(0).normal(size=1000); r[:20] += 30
    >>> residual_outliers(r).rows.size
    20
    """
    from statistics import NormalDist

    residuals = np.asarray(residuals, dtype=np.float64).reshape(-1)
    if len(residuals) == 0 or not np.isfinite(residuals).all():
        raise WellfitError("Residuals must be finite numbers.", received=f"{len(residuals)} rows",
                           expected="at least one, all finite")
    centred = np.abs(residuals - np.median(residuals))
    scale = 1.4826 * float(np.median(centred))
    scale = scale if scale > 0 else float(residuals.std())
    out = np.flatnonzero(centred > limit * scale) if scale > 0 else np.empty(0, dtype=np.int64)
    low, high = (float(v) for v in wilson(len(out), len(residuals)))
    expected = 2 * (1 - NormalDist().cdf(limit))
    return Residuals(len(out) / len(residuals), low, high, expected, out[np.argsort(-centred[out])], scale, limit)


def _floor_of(p: np.ndarray, labels: np.ndarray, classes: int) -> Floor:
    top = np.clip(p.max(axis=1), _TINY, 1 - _TINY)
    wrong = p.argmax(axis=1) != labels
    blind = 1 - np.bincount(labels).max() / len(labels)  # the error of always saying the commonest class
    skill = 1 - float(wrong.mean()) / blind if blind > 0 else 0.0
    return noise_floor(np.log(top / (1 - top)), wrong, classes, least_slope=float(np.clip(3 * (skill - 0.2), 0.0, 1.0)))


def _thresholds(p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(C,): the mean p(c) of the rows labelled c."""
    size = np.bincount(labels, minlength=p.shape[1])
    total = np.bincount(labels, p[np.arange(len(labels)), labels], minlength=p.shape[1])
    return np.where(size > 0, total / np.maximum(size, 1), 1.0)


def _checked(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p, labels = joined(probabilities), np.asarray(labels)
    fits = labels.shape == (len(p),) and labels.dtype.kind in "iu"
    if not fits or (len(labels) and not 0 <= labels.min() <= labels.max() < p.shape[1]):
        raise WellfitError("Labels and probabilities do not fit together.", received=f"labels {labels.dtype} {labels.shape}, "
                           f"probabilities {p.shape}", expected=f"whole numbers from 0 to {p.shape[1] - 1}, one per row")
    return p, labels

