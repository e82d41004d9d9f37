"""Trees as arrays say what scikit-learn's say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sklearn.ensemble import GradientBoostingRegressor

from qads.kernels.trees import Trees


@pytest.mark.parametrize(("n_trees", "depth"), [(1, 1), (30, 3), (7, None)])
def test_predictions_are_those_of_the_ensemble(n_trees: int, depth: int | None):
    rng = np.random.default_rng(n_trees)
    x, new = rng.standard_normal((200, 5)), rng.standard_normal((9000, 5))
    y = x[:, 0] * x[:, 1] + rng.standard_normal(200)
    grown = GradientBoostingRegressor(n_estimators=n_trees, max_depth=depth, subsample=0.7, random_state=0).fit(x, y)
    np.testing.assert_allclose(Trees.of(grown).predict(new), grown.predict(new), rtol=1e-12, atol=1e-12)
    assert Trees.of(grown).predict(new[:0]).shape == (0,)


def test_a_target_that_does_not_vary_is_predicted_as_it_is():
    grown = GradientBoostingRegressor(n_estimators=3).fit(np.zeros((10, 2)), np.full(10, 2.5))
    assert Trees.of(grown).predict(np.ones((3, 2))).tolist() == [2.5, 2.5, 2.5]


@pytest.mark.parametrize(("n_trees", "depth"), [(1, 1), (20, 3)])
def test_a_file_of_arrays_keeps_trees_to_the_bit(n_trees: int, depth: int, tmp_path: Path):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((100, 4))
    grown = GradientBoostingRegressor(n_estimators=n_trees, max_depth=depth, random_state=0).fit(x, x[:, 0] * x[:, 1])
    trees = Trees.of(grown)
    save_file(trees.arrays(), tmp_path / "trees.safetensors")
    numbers = json.loads(json.dumps(trees.numbers()))
    again = Trees.load(load_file(tmp_path / "trees.safetensors"), numbers)
    np.testing.assert_array_equal(again.predict(x), trees.predict(x))
    assert again.numbers() == trees.numbers()
    assert {name: (a.dtype, a.shape) for name, a in again.arrays().items()} == {
        name: (a.dtype, a.shape) for name, a in trees.arrays().items()
    }
