"""Earlier or later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from wellfit.core.draws import Draw
from wellfit.core.hyper import hyper, option
from wellfit.core.operands import Batch, Values, over
from wellfit.core.registry import register
from wellfit.core.regularizer import Regularizer
from wellfit.kernels.audio import shift_time
from wellfit.regularizers.audio.shapes import as_waveforms, per_example


@register
@dataclass(frozen=True)
class TimeShift(Regularizer):
    """Time shift: each waveform is moved by s samples, s uniform among -⌊share·T⌋ … ⌊share·T⌋.

    ``fill``: "zeros" leaves silence behind, "circular" brings what leaves at one end in at the other.

    Shapes: (B, T) or (B, C, T), floating point, or (K, ...) of them; channels move together. Unit: share of the length.
    When it helps: recordings that are not cut exactly to the event.
    When it hurts: where the moment itself is the signal. "zeros" loses what is moved out.
    Raises WellfitError for a share outside [0, 1], an unknown fill, and inputs that are no waveforms. Source: Salamon &
    Bello 2017; Iwana & Uchida 2021.

    >>> TimeShift(0.1).fill
    'zeros'
    """

    share: float = hyper(0.1, high=1.0, neutral=0.0, search=(0.02, 0.4), unit="share of the length",
                         meaning="largest shift, in either direction")
    fill: str = option("zeros", choices=("zeros", "circular"), meaning="what takes the empty place")

    order: ClassVar[int] = 11
    takes: ClassVar[str] = "waveforms"
    before_features: ClassVar[bool] = True

    def transform(self, batch: Batch, h: Values, draw: Draw) -> Batch:
        x = as_waveforms(batch, h.members, "TimeShift")
        u = draw.uniform((x.shape[1 if h.members else 0],))
        most = (u.new_ones(()) * over(h.share, u) * x.shape[-1]).floor()
        steps = (u * (2 * most + 1)).floor() - most
        moved, around = shift_time(x, per_example(steps.long().to(x.device), x, h.members))
        return batch.with_(inputs=(moved.masked_fill(around, 0) if self.fill == "zeros" else moved).reshape(batch.inputs.shape))
