"""Groups of near copies without any column that names them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wellfit.diagnosis.measures.honest_split import Flattery, errors, folds_of_groups, paired
from wellfit.diagnosis.measures.near_copies import nearest

ROWS, NEIGHBOURS, INNER = 2000, 40, 20
EXPECTED, CLUSTERED, COSTS, TIMES = 0.05, 0.6, 0.02, 2.0


@dataclass(frozen=True)
class CopyClusters:
    """Rows that are far nearer to some others than the spread of the data makes likely.

    Attributes:
        clustered: share of rows with at least one such other row.
        clusters, largest: number of clusters of at least two rows, and the size of the largest.
        flattery: error of a quick model under a random split and under one that keeps clusters whole; None if hardly any row is
            clustered.
        leaks: at least 0.6 of the rows are clustered, no cluster has more than 40 (that is a chain, no group of copies), and held
            out by cluster the error is higher by more than 0.02, beyond its interval, and at least twice as large.
        cluster: (n,) the cluster of each examined row; rows: (n,) which rows were examined.
    """

    clustered: float
    clusters: int
    largest: int
    flattery: Flattery | None
    leaks: bool
    cluster: np.ndarray
    rows: np.ndarray


def copy_clusters(inputs: np.ndarray, y: np.ndarray, *, regression: bool, seed: int = 0) -> CopyClusters:
    """Cluster near copies, and measure what a split that ignores them hides.

    The dimension d of the data is estimated from the 20th to the 40th neighbour (Levina and Bickel 2004), beyond groups of up to
    20 copies. Around a row, k · (r / r_k)^d rows are expected within a distance r; rows within a distance at which fewer than 0.05
    are expected are linked, and linked rows are a cluster (single linkage). Clusters of evenly spread rows are pairs at random and
    cost nothing; parts of the space held out whole would always cost something, which is why most rows have to be clustered.

    Args:
        inputs: (n, D) standardized features, finite; at most 2000 rows are drawn.
        y: (n,) class numbers, or values.
        regression: whether ``y`` holds values.
        seed: of the draw and of the folds.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(y))[:ROWS])
    x, y = inputs[rows], np.asarray(y)[rows]
    n = len(rows)
    if n < 3 * NEIGHBOURS:
        return CopyClusters(0.0, 0, 1, None, False, np.arange(n), rows)
    distance, index = nearest(x, x, NEIGHBOURS, own=np.arange(n))
    outer = np.maximum(distance[:, -1:], 1e-12)
    logs = np.log(outer / np.maximum(distance[:, INNER - 1:-1], 1e-12)).mean(axis=1)
    expected = float(np.mean([sum(1 / i for i in range(j, NEIGHBOURS)) for j in range(INNER, NEIGHBOURS)]))
    dimension = float(np.clip(expected / max(float(np.median(logs)), 1e-3), 1.0, 1000.0))
    linked = (distance / outer) ** dimension * NEIGHBOURS < EXPECTED
    a, b = np.nonzero(linked)
    graph = coo_matrix((np.ones(len(a)), (a, index[a, b])), shape=(n, n))
    cluster = connected_components(graph, directed=False)[1]
    size = np.bincount(cluster)
    clustered = float((size[cluster] > 1).mean())
    if clustered < 0.5 * CLUSTERED or (size > 0).sum() < 10:
        return CopyClusters(clustered, int((size > 1).sum()), int(size.max()), None, False, cluster, rows)
    by_row = errors(x, y, folds_of_groups(np.arange(n), y, 5, regression, rng), regression, seed=seed)
    by_cluster = errors(x, y, folds_of_groups(cluster, y, 5, regression, rng), regression, seed=seed)
    flattery = paired(by_row, by_cluster, cluster, seed=seed)
    leaks = (clustered >= CLUSTERED and size.max() <= NEIGHBOURS and flattery.low > 0 and flattery.difference > COSTS
             and flattery.honest >= TIMES * flattery.random)
    return CopyClusters(clustered, int((size > 1).sum()), int(size.max()), flattery, bool(leaks), cluster, rows)
