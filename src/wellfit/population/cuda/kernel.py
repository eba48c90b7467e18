"""The update of K networks in one pass over their memory, in Triton. Each formula names the definition that it mirrors.

One program takes some units of one member (rows of a weight matrix; single numbers of a bias or gain), so that a unit's norm is
known where its weights are.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["size", "members", "pieces"])  # members leave: no reason to compile again
def update_kernel(weights, gradients, firsts, seconds, averages, of_members, of_pieces, tiles, position, size, members, pieces,
                  BETA1: tl.constexpr, BETA2: tl.constexpr, EPSILON: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
                  AVERAGES: tl.constexpr):
    """One step of the weights of one tile of one member; see ``fused.py`` for the shapes.

    Told of a member: rate, first_scale, scale, share. Of a member's parameter: shrink, soft, ridge, radius.
    """
    tile = tiles + tl.program_id(0) * 4
    member = tl.program_id(1).to(tl.int64)
    start, rows, length, piece = tl.load(tile), tl.load(tile + 1), tl.load(tile + 2), tl.load(tile + 3)
    now = tl.load(position) * members + member
    told = of_members + now * 4
    rate, first_scale, scale = tl.load(told), tl.load(told + 1), tl.load(told + 2)
    acts = of_pieces + (now * pieces + piece) * 4
    shrink, soft, ridge, radius = tl.load(acts), tl.load(acts + 1), tl.load(acts + 2), tl.load(acts + 3)

    row = tl.arange(0, ROWS)[:, None]
    column = tl.arange(0, COLUMNS)[None, :]
    inside = (row < rows) & (column < length)
    at = member * size + start + row * length + column
    w = tl.load(weights + at, mask=inside, other=0.0)
    g = tl.load(gradients + at, mask=inside, other=0.0)
    m = tl.load(firsts + at, mask=inside, other=0.0)
    v = tl.load(seconds + at, mask=inside, other=0.0)

    w = w * shrink  # WeightDecay, before the optimizer
    m = m + (1 - BETA1) * (g - m)  # AdamW
    v = BETA2 * v + (1 - BETA2) * g * g
    step = rate / (tl.sqrt(v) / scale + EPSILON)  # core.metric.adam_step_size
    w = w - m * step / first_scale
    threshold = step * soft  # kernels.prox.elastic_threshold_
    w = w - tl.minimum(tl.maximum(w, -threshold), threshold)
    w = w / (1 + step * ridge)
    norm = tl.sqrt(tl.sum(tl.where(inside, w * w, 0.0), axis=1))[:, None]  # kernels.project.project_l2_ball_
    w = tl.where(norm > radius, w * (radius / norm), w)

    tl.store(weights + at, w, mask=inside)
    tl.store(firsts + at, m, mask=inside)
    tl.store(seconds + at, v, mask=inside)
    if AVERAGES:  # kernels.average.blend_
        share = tl.load(told + 3)
        a = tl.load(averages + at, mask=inside, other=0.0)
        a = tl.where(share < 0.5, a + share * (w - a), w - (w - a) * (1 - share))
        tl.store(averages + at, a, mask=inside)
