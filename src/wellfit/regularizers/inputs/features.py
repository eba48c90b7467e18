"""Masks over the source features of a table's rows."""

from __future__ import annotations

from torch import Tensor

from wellfit.core.draws import Draw
from wellfit.core.errors import WellfitError
from wellfit.core.operands import Batch, group_count
from wellfit.kernels.noise import happens


def feature_mask(batch: Batch, probability: Tensor, draw: Draw, members: bool) -> tuple[Tensor, Tensor]:
    """Which columns of each row are taken, (.., B, D), and the share of source features taken, (.., B).

    ``probability`` (.., B) is each row's chance to lose a feature.
    """
    if batch.inputs.ndim != (3 if members else 2):
        raise WellfitError("CutMix and Cutout take rows of features, or images.", received=f"inputs of shape "
                           f"{tuple(batch.inputs.shape)}", expected="(B, D) or (B, C, H, W)")
    rows, columns = batch.inputs.shape[-2:]
    groups = batch.feature_groups
    sources = columns if groups is None else group_count(groups)
    taken = happens(draw.bits16((rows, sources)), probability[..., None].to(batch.inputs.device))
    share = taken.double().mean(-1)
    return (taken if groups is None else taken[..., groups]), share
