"""Read a table or sound files, decide what its columns mean, split its rows, turn them into numbers, and look for leaks.

>>> import numpy as np, pandas as pd
>>> frame = pd.DataFrame({"size": np.arange(40) % 7, "colour": ["red", "blue"] * 20, "price": np.arange(40) / 3})
>>> table = load_table(frame, "price")
>>> table
Table('table', 40 rows, 2 features, target 'price', regression)
>>> split = make_split(table, seed=1)
>>> preprocessor = Preprocessor.fit(table, split.train)
>>> preprocessor.names, preprocessor.transform(table.frame).shape
(('size', 'colour=red'), (40, 2))
"""

from wellfit.data.audio import Recordings, load_recordings
from wellfit.data.coder import TargetCoder
from wellfit.data.columns import Column
from wellfit.data.images import ImageSet, load_images
from wellfit.data.leaks import find_leaks
from wellfit.data.notes import Note
from wellfit.data.preprocess import Preprocessor
from wellfit.data.read import read_frame
from wellfit.data.split import Split, load_split, make_split, other_folds, save_split
from wellfit.data.table import Table, describe, load_table
from wellfit.data.target import infer_task

__all__ = ["Column", "ImageSet", "Note", "Preprocessor", "Recordings", "Split", "Table", "TargetCoder", "describe", "find_leaks",
           "infer_task", "load_images", "load_recordings", "load_split", "load_table", "make_split", "other_folds", "read_frame",
           "save_split"]
