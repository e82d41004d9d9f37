"""Trees as arrays say what scikit-learn's say."""

from __future__ import annotations

import numpy as np
import pytest
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
