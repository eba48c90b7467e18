"""Contract rows of wellfit.regularizers.images."""

from __future__ import annotations

import wellfit as wf
from wellfit.core.regularizer import Regularizer

GEOMETRY: dict[str, list[Regularizer]] = {
    "horizontal_flip": [wf.HorizontalFlip(0.5), wf.HorizontalFlip(0.9), wf.HorizontalFlip(wf.Linear(0.1, 0.5))],
    "vertical_flip": [wf.VerticalFlip(0.5), wf.VerticalFlip(wf.Linear(0.1, 0.5))],
    "quarter_turns": [wf.QuarterTurns(0.75), wf.QuarterTurns(wf.Cosine(0.75, 0.1))],
    "random_crop": [wf.RandomCrop(2), wf.RandomCrop(9), wf.RandomCrop(3, border="reflect")],
    "random_scale": [wf.RandomScale(1.3), wf.RandomScale(1.5, border="reflect"), wf.RandomScale(wf.Linear(1.0, 1.4))],
    "resized_crop": [wf.ResizedCrop(0.3), wf.ResizedCrop(0.9, aspect=1.0), wf.ResizedCrop(wf.Linear(0.9, 0.3), aspect=2.0)],
    "rotation": [wf.Rotation(30.0), wf.Rotation(180.0, border="reflect"), wf.Rotation(wf.Linear(0.0, 20.0))],
    "shear": [wf.Shear(10.0), wf.Shear(30.0, border="reflect"), wf.Shear(wf.Cosine(20.0, 0.0))],
    "translation": [wf.Translation(0.3), wf.Translation(1.0), wf.Translation(0.2, border="reflect"),
                    wf.Translation(wf.Linear(0.0, 0.3))],
}

COLOUR: dict[str, list[Regularizer]] = {
    "auto_contrast": [wf.AutoContrast(0.5), wf.AutoContrast(wf.Linear(0.0, 0.5))],
    "blur": [wf.Blur(1.0), wf.Blur(3.0, rate=0.9), wf.Blur(wf.Linear(0.0, 2.0), rate=wf.Linear(0.9, 0.2))],
    "color_jitter": [wf.ColorJitter(), wf.ColorJitter(1.0, 1.0, 1.0, 0.5), wf.ColorJitter(0.2, 0.0, 0.0, 0.0),
                     wf.ColorJitter(wf.Linear(0.0, 0.5), 0.1, wf.Cosine(0.5, 0.1), wf.Linear(0.2, 0.0))],
    "equalize": [wf.Equalize(0.5), wf.Equalize(wf.Linear(0.0, 0.5))],
    "grayscale": [wf.Grayscale(0.5), wf.Grayscale(wf.Linear(0.0, 0.5))],
    "posterize": [wf.Posterize(3, rate=0.5), wf.Posterize(6, rate=wf.Linear(0.0, 0.5))],
    "sharpness": [wf.Sharpness(0.5), wf.Sharpness(wf.Linear(0.0, 1.0))],
    "solarize": [wf.Solarize(0.4, rate=0.5), wf.Solarize(wf.Linear(0.9, 0.2), rate=wf.Linear(0.0, 0.5))],
}

OTHER: dict[str, list[Regularizer]] = {
    "erasing": [wf.Erasing(0.5), wf.Erasing(1.0, share=0.9, aspect=1.0, fill="noise"),
                wf.Erasing(wf.Linear(0.0, 0.5), share=wf.Linear(0.1, 0.5))],
}

POLICIES: dict[str, list[Regularizer]] = {
    "rand_augment": [wf.RandAugment(), wf.RandAugment(4, magnitude=1.0, border="reflect"),
                     wf.RandAugment(1, magnitude=wf.Linear(0.0, 0.5))],
    "trivial_augment": [wf.TrivialAugment(), wf.TrivialAugment(0.5, magnitude=0.4, border="reflect"),
                        wf.TrivialAugment(wf.Linear(0.0, 1.0), magnitude=wf.Cosine(0.2, 1.0))],
}

ROWS: dict[str, list[Regularizer]] = {**POLICIES, **OTHER, **GEOMETRY, **COLOUR}
