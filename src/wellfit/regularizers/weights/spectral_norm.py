"""Spectral norm constraint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from wellfit.core.errors import WellfitError
from wellfit.core.hyper import hyper, option
from wellfit.core.operands import StepContext, Values, WeightInfo, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.core.select import selection
from wellfit.kernels.numbers import as_like
from wellfit.kernels.project import circular_operator_norm
from wellfit.kernels.threshold import clip_singular_values_


@register
@dataclass(frozen=True)
class SpectralNorm(Regularizer):
    """Spectral norm: the largest singular value of a weight is at most radius, which bounds how much a layer can stretch.

    ``operator="matrix"`` takes the weight as a matrix with one row per unit (one per group of a convolution) and projects exactly:
    singular values above the radius are cut to it, the nearest matrix that satisfies the bound. For linear layers that is the
    layer's Lipschitz constant; for a convolution it is not (the layer may stretch up to √(kernel size) times as much).

    ``operator="convolution"`` bounds what a convolution does to its input. Its singular values are computed by a Fourier transform,
    exactly so for stride 1, dilation 1 and circular padding on inputs of ``size`` per axis; the whole kernel is scaled down where
    the largest is above the radius, which satisfies the bound but is not the nearest point (that would need a kernel as large as
    the input). With zero padding the norm is below that of the circular one on large inputs, so there it is an estimate. A stride
    only lowers it. Other layers are treated as matrices.

    Weights that feed a normalisation are left alone: their scale means nothing. A singular value decomposition per step: for
    matrices up to a few hundred wide.

    Shapes: (O, I, ...) or (K, O, I, ...). Units: singular value (radius), pixels or samples (size).
    When it helps: networks that must not change much when their input does; critics of adversarial training.
    When it hurts: an output layer, whose scale is the confidence; many layers at radius 1, whose gradients vanish together.
    Raises WellfitError for a radius that is not positive. Source: Yoshida & Miyato 2017; Sedghi, Gupta & Long 2019 (convolutions).

    >>> SpectralNorm(1.0, operator="convolution", size=16).radius
    1.0
    """

    radius: float = hyper(1.0, neutral=float("inf"), open_low=True, search=(0.3, 10.0), scale="log", unit="singular value",
                          meaning="largest singular value")
    operator: str = option("matrix", choices=("matrix", "convolution"), meaning="of the weight matrix, or of the convolution")
    size: int = option(32, meaning="input size per axis for operator='convolution', a whole number")
    select: str = selection()

    order: ClassVar[int] = 84
    per_weight: ClassVar[bool] = True
    recordable: ClassVar[bool] = False
    leaves_scale_invariant: ClassVar[bool] = True
    moment: ClassVar[Literal["before", "after"]] = "after"
    acts_as: ClassVar[Literal["", "decay", "sparsity", "bound"]] = "bound"
    formula: ClassVar[str] = "σ_max(W) ≤ radius"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 1:
            raise WellfitError("SpectralNorm.size is no size of an input.", received=repr(self.size),
                               expected="a whole number of at least 1")

    @property
    def projects(self) -> bool:
        return self.operator == "matrix"

    def update_(self, weight: Tensor, info: WeightInfo, h: Values, context: StepContext) -> None:
        if info.feeds_norm:
            return
        matrix, back = info.matrices(weight)
        if self.operator == "convolution" and info.kind in ("convolution", "transposed_convolution"):
            spatial = len(info.unit_axes) - 1
            kernel = matrix.unflatten(-1, (-1, *weight.shape[weight.ndim - spatial:]))
            norm = circular_operator_norm(kernel, self.size, spatial)[..., None, None]
            radius = over(h.radius, matrix)
            weight.copy_(back(matrix * torch.where(norm > radius, radius / norm, torch.ones_like(norm))))
            return
        radius = over(h.radius, matrix[..., 0])
        bound = as_like(radius, weight)
        weight.copy_(back(clip_singular_values_(matrix.clone(), lambda values: torch.minimum(values, bound))))
