"""Whether near copies give each other away: a split that keeps them together against one that does not."""

from __future__ import annotations

import numpy as np

from wellfit.diagnosis.measures.honest_split import Flattery, errors, folds_of_groups, paired

ROWS, LINKED, FOLDS = 2400, 1600, 5
LARGEST = 8  # rows of a cluster: more are a dense place, and to hold out a place always costs something


def cost_of_links(inputs: np.ndarray, y: np.ndarray, links: np.ndarray, *, regression: bool, seed: int = 0) -> Flattery | None:
    """How much worse linked rows are predicted once what they are linked to is held out with them.

    Rows that resemble each other by nature (digits of one class, say) have many others that resemble them as much: holding out the
    nearest costs nothing. A copy that brings its label along does cost. Rows are clustered by their links; the error of a small
    forest with the nearest neighbours is cross-validated by rows and by clusters, and compared on the linked rows alone, with a
    bootstrap over clusters.

    Args:
        inputs: (n, D) standardized features, finite.
        y: (n,) class numbers, or values.
        links: (m, 2) pairs of row numbers.
        regression: whether ``y`` holds values.
        seed: of the folds, and of the draw of at most 2400 rows, linked ones first.

    Returns:
        The comparison; None where fewer than five clusters of at most eight rows are linked, or most linked rows are in others.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    n = len(y)
    graph = coo_matrix((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(n, n))
    cluster = connected_components(graph, directed=False)[1]
    size = np.bincount(cluster)[cluster]
    linked = (size > 1) & (size <= LARGEST)
    if linked.sum() < 0.5 * (size > 1).sum():
        return None
    rng = np.random.default_rng(seed)
    clusters = rng.permutation(np.unique(cluster[linked]))
    if len(clusters) < FOLDS:
        return None
    sizes = np.bincount(cluster)[clusters]
    chosen = np.isin(cluster, clusters[:max(FOLDS, int(np.searchsorted(np.cumsum(sizes), LINKED)))])
    others = rng.permutation(np.flatnonzero(size == 1))[:max(0, ROWS - int(chosen.sum()))]
    rows = np.sort(np.concatenate([np.flatnonzero(chosen), others]))
    x, values, own = inputs[rows], y[rows], cluster[rows]
    by_row = errors(x, values, folds_of_groups(np.arange(len(rows)), values, FOLDS, regression, rng), regression, seed=seed)
    by_cluster = errors(x, values, folds_of_groups(own, values, FOLDS, regression, rng), regression, seed=seed)
    judged = chosen[rows]
    return paired(by_row[judged], by_cluster[judged], own[judged], seed=seed)
