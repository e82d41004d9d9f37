"""The ridge scorer: what it learns, and that it says how well."""

from __future__ import annotations

import numpy as np
import pytest

import qads
from qads.errors import AlignmentError, InputError

RNG = np.random.default_rng(0)


def pool_of(n: int) -> qads.Pool:
    return qads.Pool.from_rows(
        qads.Row(id=str(i), source="abc"[i % 3], problem=f"p{i}", solution="s", kind=("cot", "general")[i % 2])  # type: ignore[arg-type]
        for i in range(n)
    )


def unit(n: int, d: int = 8) -> np.ndarray:
    x = RNG.standard_normal((n, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def test_a_linear_quality_is_learned_and_its_agreement_found():
    pool, x = pool_of(120), unit(120)
    y = x @ np.linspace(-1, 1, 8) + 0.01 * RNG.standard_normal(120)
    fitted = qads.RidgeScorer().fit(pool, y, embeddings=x)
    found = fitted.agreement
    assert found.pearson > 0.95 and found.within_source > 0.95 and abs(found.source_mean) < 0.5
    assert found.pearson_low < found.pearson < found.pearson_high
    new, new_pool = unit(50), pool_of(50)
    predicted = fitted.predict(new_pool, new)
    assert predicted.dtype == np.float32
    assert np.corrcoef(predicted, new @ np.linspace(-1, 1, 8))[0, 1] > 0.95


def test_quality_that_follows_the_source_is_no_merit_within_sources():
    pool, x = pool_of(150), unit(150)
    y = pool.source_codes + 0.1 * RNG.standard_normal(150)
    found = qads.RidgeScorer().fit(pool, y, embeddings=x).agreement
    assert found.pearson > 0.95 and found.source_mean > 0.95
    assert abs(found.within_source) < 0.3


def test_nothing_to_predict_within_sources_is_zero_on_average():
    # Many small sources and noise: centring by source alone would give −0.14 here, by construction.
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        pool = qads.Pool.from_rows(
            qads.Row(id=str(i), source=f"s{i % 16}", problem="p", solution="s") for i in range(256)
        )
        y = pool.source_codes + rng.standard_normal(256)
        found.append(qads.RidgeScorer(seed=seed).fit(pool, y, embeddings=unit(256)).agreement.within_source)
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(20) and abs(np.mean(found)) < 0.05


def test_one_source_has_no_source_mean_to_predict_by():
    pool = qads.Pool.from_rows(qads.Row(id=str(i), source="only", problem="p", solution="s") for i in range(60))
    found = qads.RidgeScorer().fit(pool, RNG.standard_normal(60), embeddings=unit(60)).agreement
    assert np.isnan(found.source_mean) and abs(found.pearson) < 0.5 and np.isfinite(found.within_source)


def test_noise_is_not_sold_as_agreement():
    pool, x = pool_of(200), unit(200)
    found = qads.RidgeScorer().fit(pool, RNG.standard_normal(200), embeddings=x).agreement
    assert found.pearson < 0.3 and found.pearson_low < 0.15


def test_scoring_is_reproducible():
    pool, x, y = pool_of(60), unit(60), RNG.standard_normal(60)
    first = qads.RidgeScorer().fit(pool, y, embeddings=x)
    again = qads.RidgeScorer().fit(pool, y, embeddings=x)
    assert first.agreement == again.agreement
    np.testing.assert_array_equal(first.predict(pool, x), again.predict(pool, x))


def test_rows_without_a_score_are_left_out_and_a_new_source_is_predicted():
    pool, x, y = pool_of(40), unit(40), RNG.standard_normal(40)
    y[:5] = np.nan
    fitted = qads.RidgeScorer().fit(pool, y, embeddings=x)
    assert fitted.agreement.n_rows == 35
    stranger = qads.Pool.from_rows([qads.Row(id="z", source="new", problem="p", solution="s")])
    assert np.isfinite(fitted.predict(stranger, x[:1])).all()


def test_constant_quality_has_no_correlation_and_no_warning():
    pool, x = pool_of(30), unit(30)
    for value in (0.25, 0.1, 1e-9):  # 0.1 has no exact binary form: what centring leaves of it is rounding.
        fitted = qads.RidgeScorer().fit(pool, np.full(30, value), embeddings=x)
        assert np.isnan(fitted.agreement.pearson)
        np.testing.assert_allclose(fitted.predict(pool, x), value, atol=1e-6)


def test_misaligned_or_too_few_rows_are_refused(no_shape_checks):
    pool, x = pool_of(30), unit(30)
    with pytest.raises(AlignmentError, match="30 candidates, 30 embeddings, 29 qualities"):
        qads.RidgeScorer().fit(pool, np.zeros(29), embeddings=x)
    with pytest.raises(InputError, match=r"9 scored rows; it needs 10"):
        qads.RidgeScorer().fit(pool.take(range(9)), np.zeros(9), embeddings=x[:9])
    fitted = qads.RidgeScorer().fit(pool, RNG.standard_normal(30), embeddings=x)
    with pytest.raises(AlignmentError, match="29 embeddings for a pool of 30"):
        fitted.predict(pool, x[:29])
    with pytest.raises(InputError, match="folds is 1"):
        qads.RidgeScorer(folds=1)
