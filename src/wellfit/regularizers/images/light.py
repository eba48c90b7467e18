"""What the parts that change pixel values share: images of any type as one batch, checked for their range."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from wellfit.core.batches import image_size
from wellfit.core.errors import WellfitError
from wellfit.core.operands import Batch, Values
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.pixels import on_some, pixels_, real


def recoloured(part: Regularizer, batch: Batch, h: Values, chosen: Tensor, change: Callable[[Tensor, Tensor], Tensor]) -> Batch:
    """The batch with ``change(numbers (N, C, H, W), their places)`` made of the images that are ``chosen`` (B,) or (K, B).

    ``change`` gives new numbers; they are clamped to the range of pixels. Images that are not chosen stay bit for bit.
    """
    flat = light(part, batch.inputs, h.members)

    def made(images: Tensor, rows: Tensor) -> Tensor:
        return pixels_(change(real(images), rows.to(chosen.device)), images.dtype)

    return batch.with_(inputs=on_some(flat, chosen.flatten(), made).view_as(batch.inputs))


def light(part: Regularizer, images: Tensor, members: bool) -> Tensor:
    """(N, C, H, W) images of one or three channels; raises WellfitError for anything else.

    Values far outside of [0, 1], as standardized images have them, are recognised by the first image.
    """
    image_size(part, images, members)
    flat = images.reshape(-1, *images.shape[-3:])
    if flat.shape[1] not in (1, 3):
        raise WellfitError(f"{type(part).__name__} acts on colours.", received=f"images with {flat.shape[1]} channels",
                           expected="1 (grey) or 3 (red, green, blue)", action=f"leave out {part.name}")
    if flat.dtype.is_floating_point and flat.numel():
        low, high = flat[0].float().aminmax()
        if low < -1e-3 or high > 1 + 1e-3:
            raise WellfitError(f"{type(part).__name__} needs images as light, not standardized.",
                               received=f"values from {float(low):.3g} to {float(high):.3g}",
                               expected="uint8, or floating-point values in [0, 1]",
                               action="standardize behind the augmentation, as the first step of the network")
    elif flat.dtype.is_floating_point is False and str(flat.dtype) != "torch.uint8":
        raise WellfitError(f"{type(part).__name__} does not know the range of these pixels.", received=str(flat.dtype),
                           expected="uint8, or floating-point values in [0, 1]")
    return flat
