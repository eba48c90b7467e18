"""Targets there and back."""

import json

import numpy as np
import pandas as pd
import pytest

from wellfit.core.errors import WellfitError
from wellfit.data import TargetCoder, load_table


def coder_of(y, rows=None):
    table = load_table(pd.DataFrame({"x": np.random.default_rng(0).normal(size=len(y)), "y": y}), "y")
    return TargetCoder.fit(table, np.arange(len(table)) if rows is None else rows), table


def test_regression_is_standardised_on_the_given_rows():
    y = np.random.default_rng(1).lognormal(size=60) * 1e4
    coder, table = coder_of(y, np.arange(40))
    assert (coder.mean, coder.std) == (y[:40].mean(), y[:40].std())
    code = coder.encode(table.y)
    assert code.dtype == np.float32
    assert abs(code[:40].mean()) < 1e-6
    np.testing.assert_allclose(coder.decode(code), y, rtol=1e-4)


@pytest.mark.parametrize("labels", [["no", "yes"], [False, True], [1, 2, 7], [0.5, 1.5]])
def test_classes_there_and_back(labels):
    y = pd.Series(labels * 20)
    coder, table = coder_of(y)
    index = coder.encode(table.y)
    assert index.dtype == np.int64
    back = coder.decode(index).tolist()
    assert back == y.tolist()
    assert {type(v) for v in back} == {type(v) for v in labels}
    assert (coder.index_of(y) == index).all()
    assert (coder.index_of(y.astype(str)) == index).all()
    assert coder.decode_names(index)[:2] == [str(v) for v in labels[:2]]


def test_unknown_labels():
    coder, _ = coder_of(["no", "yes"] * 20)
    with pytest.raises(WellfitError, match="did you mean 'yes'"):
        coder.index_of(["yess"])


def test_boolean_labels_in_any_case():
    coder, _ = coder_of(["false", "true"] * 20)
    assert coder.index_of(["TRUE", "False", True]).tolist() == [1, 0, 1]
    assert coder.decode_names([1]) == ["true"]


@pytest.mark.parametrize("y", [["no", "yes"] * 20, [True, False] * 20, np.arange(120) % 3,
                               np.random.default_rng(0).normal(size=40) / 3])
def test_json_round_trip_is_exact(y):
    coder, _ = coder_of(y)
    again = TargetCoder.from_dict(json.loads(json.dumps(coder.to_dict(), allow_nan=False)))
    assert again == coder
    assert again.to_dict() == coder.to_dict()


def test_wrong_use():
    coder, _ = coder_of(np.linspace(0, 1, 40))
    for call in (lambda: coder.decode_names([0]), lambda: coder.index_of([0]), lambda: TargetCoder.from_dict({}),
                 lambda: TargetCoder.from_dict({"kind": "wellfit.target", "format": 1})):
        with pytest.raises(WellfitError):
            call()
