"""What forms a group of weights: everything that leaves one input, or everything that enters one unit."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from wellfit.core.operands import WeightInfo, group_count


def geometry(weight: Tensor, info: WeightInfo, groups: str) -> tuple[Tensor, Callable[[Tensor], Tensor], Tensor]:
    """The weight seen by units, the sum over each group (in a shape that broadcasts over the weight), and √|g|."""
    view = info.unit_view(weight)
    axes = info.unit_axes if groups == "units" or not info.input_axes else info.input_axes
    feature_groups = info.feature_groups if groups == "inputs" and info.first else None

    def total(values: Tensor) -> Tensor:
        sums = values.sum(dim=axes, keepdim=True) if axes else values  # dim=() would mean all
        if feature_groups is not None:
            index = feature_groups.to(sums.device)
            by_group = sums.new_zeros(*sums.shape[:-1], group_count(feature_groups)).index_add_(-1, index, sums)
            sums = by_group.index_select(-1, index)
        return sums

    return view, total, total(torch.ones_like(view)).sqrt()


def group_norms(view: Tensor, total: Callable[[Tensor], Tensor], root_size: Tensor) -> Tensor:
    """√|g| · ‖w_g‖₂, spread so that the sum counts each group once."""
    return spread_over_columns(total(view.square()).sqrt() * root_size, view, root_size)


def spread_over_columns(values: Tensor, view: Tensor, root_size: Tensor) -> Tensor:
    """One value per group, so that their sum counts each group once: one of several columns has its value once per column."""
    return values / (root_size.square() * values.numel() / view.numel())
