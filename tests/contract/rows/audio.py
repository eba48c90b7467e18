"""Contract rows of wellfit.regularizers.audio."""

import wellfit as wf
from wellfit.core.regularizer import Regularizer

ROWS: dict[str, list[Regularizer]] = {
    "background_noise": [
        wf.BackgroundNoise(0.7, snr=5.0, span=10.0), wf.BackgroundNoise(1.0, noise="pink"),
        wf.BackgroundNoise(wf.Linear(0.2, 0.9), snr=wf.Linear(30.0, -5.0), span=wf.Cosine(1.0, 10.0), noise="brown"),
        wf.BackgroundNoise(0.5, span=0.0, noise="others")],
    "gain": [wf.Gain(6.0), wf.Gain(wf.WarmUp(12.0))],
    "polarity": [wf.Polarity(0.5), wf.Polarity(0.9), wf.Polarity(wf.Linear(0.1, 0.6))],
    "spec_augment": [
        wf.SpecAugment(0.5, 0.5), wf.SpecAugment(1.0, 1.0, time_masks=1, frequency_masks=0, value="zero"),
        wf.SpecAugment(wf.WarmUp(0.6), wf.Cosine(0.9, 0.3), time_masks=8, frequency_masks=1)],
    "speed_change": [wf.SpeedChange(0.3), wf.SpeedChange(0.5, interpolation="sinc"), wf.SpeedChange(wf.Linear(0.1, 1.0))],
    "time_mask": [wf.TimeMask(0.5), wf.TimeMask(1.0, count=3), wf.TimeMask(wf.FlatCosine(0.8), count=2)],
    "time_shift": [wf.TimeShift(0.5), wf.TimeShift(0.7, fill="circular"), wf.TimeShift(wf.Cosine(0.2, 1.0))],
}
