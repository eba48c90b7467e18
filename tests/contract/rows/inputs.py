"""Contract rows of wellfit.regularizers.inputs."""

import wellfit as wf
from wellfit.core.regularizer import Regularizer

ROWS: dict[str, list[Regularizer]] = {
    "cut_mix": [wf.CutMix(0.6), wf.CutMix(1.0), wf.CutMix(wf.Linear(0.9, 0.1))],
    "cutout": [wf.Cutout(0.7, share=0.3), wf.Cutout(1.0, share=0.9), wf.Cutout(wf.Cosine(0.2, 0.8), share=wf.Linear(0.5, 0.1))],
    "input_noise": [wf.InputNoise(0.2), wf.InputNoise(wf.FlatCosine(0.5)), wf.InputNoise(0.3, scale="batch")],
    "mixup": [wf.Mixup(0.2), wf.Mixup(1.0), wf.Mixup(0.01)],
    "swap_noise": [wf.SwapNoise(0.3), wf.SwapNoise(1.0), wf.SwapNoise(wf.Linear(0.1, 0.6))],
    "token_dropout": [wf.TokenDropout(0.3), wf.TokenDropout(0.5, token=7, padding=2), wf.TokenDropout(wf.WarmUp(0.5), token=49)],
}
