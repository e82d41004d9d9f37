"""Scorers: what they learn, that they say how well, what they refuse, and that a folder keeps them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge

import qads
from qads.errors import AlignmentError, CorruptError, InputError
from qads.kernels.correlation import centred, pearson
from qads.quality import MadeFor, Scorer
from qads.quality.scorers import FittedScorer, regressors
from qads.quality.scorers.calibration import Calibration, Scale
from qads.quality.scorers.choosing import choose
from qads.quality.scorers.regressors import Boosted, Candidate, KernelMachine, dual_of, kernel_matrix, median_distance
from qads.quality.scorers.validation import grouped_folds

RNG = np.random.default_rng(0)
PLAIN = qads.ProbeScorer(reads=("source", "embedding"), families=("ridge", "kernel"))
PLANE = np.linspace(-1, 1, 8)


def pool_of(n: int, *, problem: Callable[[int], str] = str) -> qads.Pool:
    return qads.Pool.from_rows(
        qads.Row(id=str(i), source="abc"[i % 3], problem=problem(i), solution="s" * (1 + i % 7), kind=("cot", "general")[i % 2])  # type: ignore[arg-type]
        for i in range(n)
    )  # fmt: skip


def unit(n: int, d: int = 8, seed: int = 1) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((n, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def agreement(fitted: FittedScorer, real: np.ndarray, pool: qads.Pool) -> tuple[float, float]:
    """Pearson's r out of fold, overall and within sources."""
    out = fitted.out_of_fold
    assert out is not None
    cells = np.unique(np.column_stack([out.fold, pool.source_codes]), axis=0, return_inverse=True)[1].reshape(-1)
    within = pearson(centred(real, cells), centred(out.predicted, cells))
    return pearson(centred(real, out.fold), centred(out.predicted, out.fold)), within


@pytest.mark.parametrize("family", ["ridge", "kernel"])
def test_what_depends_on_the_embedding_is_learnt_and_known_to_be(family: Any):
    pool, x = pool_of(240), unit(240)
    y = x @ PLANE + 0.01 * RNG.standard_normal(240)
    fitted = dataclasses.replace(PLAIN, families=(family,)).fit(pool, y, embeddings=x)
    assert min(agreement(fitted, y, pool)) > 0.95
    new = unit(50, seed=2)
    found = fitted.prediction(pool_of(50), new)
    assert found.quality.dtype == np.float32 and pearson(found.quality.astype(float), new @ PLANE) > 0.95
    np.testing.assert_array_equal(found.quality, fitted.predict(pool_of(50), new))


def test_quality_that_follows_the_source_is_no_merit_within_sources():
    pool, x = pool_of(150), unit(150)
    y = pool.source_codes + 0.1 * RNG.standard_normal(150)
    fitted = PLAIN.fit(pool, y, embeddings=x)
    overall, within = agreement(fitted, y, pool)
    assert overall > 0.95 and abs(within) < 0.3
    assert fitted.out_of_fold is not None and pearson(fitted.out_of_fold.source_mean, y) > 0.95


def test_nothing_to_predict_within_sources_is_zero_on_average():
    # Many small sources and noise: centring by source alone would give −0.14 here, by construction.
    found = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        pool = qads.Pool.from_rows(
            qads.Row(id=str(i), source=f"s{i % 16}", problem=f"{i}", solution="s") for i in range(256)
        )
        y = pool.source_codes + rng.standard_normal(256)
        ridge = dataclasses.replace(PLAIN, families=("ridge",), seed=seed)
        found.append(agreement(ridge.fit(pool, y, embeddings=unit(256, seed=seed)), y, pool)[1])
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(12) and abs(np.mean(found)) < 0.08


def test_near_duplicates_never_lie_in_two_folds_and_give_nothing_away():
    # Every problem is there three times with one quality, which nothing but its twins can tell.
    x, pool = np.repeat(unit(40, 16), 3, axis=0), pool_of(120, problem=lambda i: f"problem {i // 3}")
    y = np.repeat(RNG.standard_normal(40), 3)
    for scorer in (PLAIN, qads.RetrievalScorer()):
        fitted = scorer.fit(pool, y, embeddings=x)
        assert fitted.out_of_fold is not None
        assert all(len(set(fitted.out_of_fold.fold[i : i + 3].tolist())) == 1 for i in range(0, 120, 3))
        assert agreement(fitted, y, pool)[0] < 0.6
    alone = qads.RetrievalScorer().fit(pool, y, embeddings=x, groups=np.arange(120))
    assert agreement(alone, y, pool)[0] > 0.9, "rows of one problem taken apart give each other away"


def test_folds_are_even_whole_and_repeatable():
    groups = np.repeat(np.arange(30), 4)
    fold = grouped_folds(groups, 5, seed=0)
    assert np.bincount(fold).tolist() == [24] * 5
    np.testing.assert_array_equal(fold, grouped_folds(groups, 5, seed=0))
    assert grouped_folds(np.zeros(7, np.int64), 5, seed=0).tolist() == [0] * 7
    assert len(np.unique(grouped_folds(np.array([0, 0, 1, 2]), 5, seed=0))) == 3


@pytest.mark.parametrize("scorer", [PLAIN, qads.RetrievalScorer()], ids=["probe", "retrieval"])
def test_a_prediction_is_on_the_real_scale_and_its_interval_holds(scorer: Scorer):
    n = 900
    pool, x = pool_of(n), unit(n)
    noise = np.array([0.05, 0.1, 0.2])[pool.source_codes] * RNG.standard_normal(n)
    y = np.maximum(1.2 + x @ PLANE + noise, 0.0) ** 2 * 0.05
    fitted = scorer.fit(pool.take(range(600)), y[:600], embeddings=x[:600])
    found = fitted.prediction(pool.take(range(600, n)), x[600:])
    real = y[600:]
    inside = (found.low <= real) & (real <= found.high)
    assert 0.84 < inside.mean() < 0.96
    if isinstance(scorer, qads.ProbeScorer):
        assert all(0.8 < inside[pool.source_codes[600:] == code].mean() for code in range(3))
    assert (found.low >= 0).all() and abs(found.quality.mean() / real.mean() - 1) < 0.05
    slope = np.polyfit(found.quality, real, 1)[0]
    assert 0.85 < slope < 1.15


def test_rows_far_from_those_that_were_labelled_have_wider_intervals():
    pool, x = pool_of(200), unit(200)
    x[:, 4:] = 0
    fitted = PLAIN.fit(pool, 2 + x @ PLANE, embeddings=x)
    strange = np.array(x)
    strange[:, 4:] = 3.0
    near, far = fitted.prediction(pool, x), fitted.prediction(pool, strange + np.roll(x, 1, axis=1))
    assert np.median(far.high - far.low) > np.median(near.high - near.low)


def test_quality_that_can_be_negative_is_predicted_so():
    pool, x = pool_of(200), unit(200)
    y = x @ PLANE
    found = PLAIN.fit(pool, y, embeddings=x).prediction(pool, x)
    assert (found.quality < 0).any() and pearson(found.quality.astype(float), y) > 0.95
    assert Scale.of(y) == Scale(False) and Scale.of(np.abs(y)) == Scale(True)


def test_one_value_for_all_is_predicted_for_all():
    pool, x = pool_of(40), unit(40)
    for scorer in (PLAIN, qads.RetrievalScorer()):
        found = scorer.fit(pool, np.full(40, 0.25), embeddings=x).prediction(pool, x)
        np.testing.assert_allclose(found.quality, 0.25, atol=1e-4)


def test_the_same_rows_give_the_same_scorer_and_rows_without_quality_are_left_out():
    pool, x = pool_of(60), unit(60)
    y = x @ PLANE
    y[::6] = np.nan
    first, again = (PLAIN.fit(pool, y, embeddings=x) for _ in range(2))
    np.testing.assert_array_equal(first.predict(pool, x), again.predict(pool, x))
    assert first.n_labels == 50 and first.out_of_fold is not None
    np.testing.assert_array_equal(np.isnan(first.out_of_fold.predicted), np.isnan(y))
    assert (first.out_of_fold.fold[::6] == -1).all()


@pytest.mark.parametrize("families", [("ridge",), ("kernel",), ("boosting",)])
def test_a_folder_keeps_a_scorer_without_pickle(families: Any, tmp_path: Path):
    pool, x = pool_of(120), unit(120)
    fitted = dataclasses.replace(PLAIN, families=families).fit(pool, np.abs(x @ PLANE), embeddings=x)
    check_kept(fitted, tmp_path, pool, x)


def test_a_folder_keeps_a_retrieval_scorer(tmp_path: Path):
    pool, x = pool_of(60), unit(60)
    check_kept(qads.RetrievalScorer().fit(pool, np.abs(x @ PLANE), embeddings=x), tmp_path, pool, x)


def check_kept(fitted: FittedScorer, folder: Path, pool: qads.Pool, x: np.ndarray) -> None:
    fitted.save(folder)
    assert {file.name for file in folder.iterdir()} == {"scorer.json", "scorer.safetensors"}
    again = qads.load_scorer(folder)
    assert again.described == fitted.described and again.made_for == fitted.made_for
    for name in ("quality", "low", "high"):
        before, after = (getattr(each.prediction(pool, x), name) for each in (fitted, again))
        np.testing.assert_array_equal(before, after)


def test_a_folder_without_a_scorer_or_with_a_damaged_one_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="holds no scorer"):
        qads.load_scorer(tmp_path)
    pool, x = pool_of(30), unit(30)
    qads.RetrievalScorer().fit(pool, x @ PLANE, embeddings=x).save(tmp_path)
    good = json.loads((tmp_path / "scorer.json").read_text())
    for change in ({"kind": "pickle"}, {"method": {"kind": "retrieval", "width": -1}}, {"made_for": {"who": 1}}):
        (tmp_path / "scorer.json").write_text(json.dumps(good | change))
        with pytest.raises(CorruptError, match="cannot be read"):
            qads.load_scorer(tmp_path)
    (tmp_path / "scorer.json").write_text(json.dumps(good))
    (tmp_path / "scorer.safetensors").write_bytes(b"not tensors")
    with pytest.raises(CorruptError, match="cannot be read"):
        qads.load_scorer(tmp_path)


def test_another_pool_model_or_template_is_refused_by_name_unless_allowed():
    made = MadeFor(("a", "b"), pool="1" * 64, anchors="2" * 64, influence={"model": "m", "template": "t"})
    made.check(MadeFor(("a",), pool="1" * 64))
    now = MadeFor(("a", "new"), pool="3" * 64, influence={"model": "other", "template": "u"})
    with pytest.raises(InputError) as caught:
        made.check(now)
    for told in ("pool: was 111111111111, now 333333333333; sources that it never saw: new", 'was "m", now "other"',
                 "template: influence template was", "--allow-other pool --allow-other model --allow-other template"):  # fmt: skip
        assert told in str(caught.value)
    made.check(now, allow=("pool", "model", "template"))
    with pytest.raises(InputError, match="pool: sources that it never saw: c"):
        MadeFor(("a",)).check(MadeFor(("a", "c")))


def test_rows_of_a_source_that_was_never_seen_are_refused_unless_allowed():
    pool, x = pool_of(60), unit(60)
    fitted = PLAIN.fit(pool.take(np.flatnonzero(pool.source_codes < 2)), (x @ PLANE)[pool.source_codes < 2],
                       embeddings=x[pool.source_codes < 2])  # fmt: skip
    with pytest.raises(InputError, match="never saw: c"):
        fitted.predict(pool, x)
    assert np.isfinite(fitted.predict(pool, x, allow=("pool",))).all()


def test_what_does_not_fit_is_refused(no_shape_checks: None):
    pool, x = pool_of(30), unit(30)
    with pytest.raises(AlignmentError, match="30 candidates, but 29 qualities"):
        PLAIN.fit(pool, np.zeros(29), embeddings=x)
    with pytest.raises(InputError, match=r"9 scored rows \(21 more have no quality"):
        PLAIN.fit(pool, np.where(np.arange(30) < 9, 1.0, np.nan), embeddings=x)
    with pytest.raises(InputError, match="reads has 'embedding', but no embeddings"):
        PLAIN.fit(pool, np.zeros(30))
    with pytest.raises(InputError, match="reads nothing but embeddings"):
        qads.RetrievalScorer().fit(pool, np.zeros(30))
    fitted = PLAIN.fit(pool, x @ PLANE, embeddings=x)
    for given in (None, x[:7]):
        with pytest.raises(AlignmentError, match="for a pool of 30 rows"):
            fitted.predict(pool, given)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reads": ()}, "reads is"),
        ({"families": ("ridge", "ridge")}, "each once"),
        ({"folds": 1}, "folds is 1"),
        ({"seed": -1}, "seed is -1"),
        ({"depths": (0.5, 1.5)}, "between 0, the embedding, and 1"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        qads.ProbeScorer(**settings)


def test_a_kernel_machine_is_the_mean_and_the_spread_of_its_gaussian_process():
    x, y, new = unit(40, 5), RNG.standard_normal(40), unit(9, 5, seed=3)
    machine = KernelMachine.fit(x, y, Candidate("kernel", 0.1, 1.0))
    distances = ((new[:, None].astype(float) - x[None]) ** 2).sum(-1)
    own = ((x[:, None].astype(float) - x[None]) ** 2).sum(-1)
    cross, gram = np.exp(-distances / np.median(own)), np.exp(-own / np.median(own))
    inverse = np.linalg.inv(gram + 0.1 * np.eye(40))
    np.testing.assert_allclose(machine.predict(new), cross @ inverse @ (y - y.mean()) + y.mean(), atol=1e-6)
    variance = 1 - np.einsum("ij,jk,ik->i", cross, inverse, cross)
    np.testing.assert_allclose(machine.spread(new), np.sqrt(1 + variance / 0.1), rtol=1e-6)


def landmarks(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if kernels of more than `n` rows were too large."""
    monkeypatch.setattr(regressors, "MOST_ROWS", n)


@pytest.mark.parametrize("candidate", [Candidate("ridge", 0.01), Candidate("kernel", 0.1, 1.0)])
def test_of_many_rows_a_kernel_holds_some_and_says_nearly_what_all_would(
    candidate: Candidate, monkeypatch: pytest.MonkeyPatch
):
    x, new = unit(600, 5), unit(90, 5, seed=3)
    y = x @ np.linspace(-1, 1, 5) + 0.5 * np.random.default_rng(5).standard_normal(600)
    whole, few = KernelMachine.fit(x, y, candidate), KernelMachine.fit(x[:100], y[:100], candidate)
    landmarks(100, monkeypatch)
    machine = KernelMachine.fit(x, y, candidate)
    assert machine.support.shape == (100, 5) and machine.inner is not None and machine.inner.shape == (100, 100)
    value, spread = machine.predict_with_spread(new)
    np.testing.assert_array_equal(value, machine.predict(new))
    np.testing.assert_array_equal(spread, machine.spread(new))
    apart = [np.abs(said - whole.predict(new)).max() for said in (value, few.predict(new))]
    assert apart[0] < 0.2 * apart[1], "the labels that are no landmarks count"
    np.testing.assert_allclose(spread, whole.spread(new), rtol=0.1)


def test_a_kernel_whose_landmarks_are_all_its_rows_is_the_exact_one():
    x, y, new = unit(40, 5), RNG.standard_normal(40), unit(9, 5, seed=3)
    exact = KernelMachine.fit(x, y, Candidate("kernel", 0.1, 1.0))
    gram = kernel_matrix(x, x, exact.candidate, exact.scale)
    factor = np.linalg.cholesky(gram + 1e-9 * np.eye(40))
    phi = np.linalg.solve(factor, gram)
    inner = np.linalg.cholesky(phi @ phi.T + exact.penalty * np.eye(40))
    through = dataclasses.replace(exact, factor=factor, inner=inner)
    np.testing.assert_allclose(through.spread(new), exact.spread(new), rtol=1e-5)


@pytest.mark.parametrize("families", [("ridge",), ("kernel",), ("boosting",)])
def test_with_more_labels_than_a_kernel_holds_a_scorer_fits_is_kept_and_uses_them_all(
    families: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    landmarks(60, monkeypatch)
    pool, x = pool_of(240), unit(240)
    x[120:150] = x[:30]  # Landmarks that are alike.
    y = np.abs(x @ PLANE) if families == ("boosting",) else x @ PLANE
    fitted = dataclasses.replace(PLAIN, families=families).fit(pool, y, embeddings=x)
    assert fitted.n_labels == 240 and len(fitted.machine.support) == 60
    if families != ("boosting",):
        assert min(agreement(fitted, y, pool)) > 0.9
    check_kept(fitted, tmp_path, pool, x)
    retrieval = qads.RetrievalScorer().fit(pool, y, embeddings=x)
    assert len(retrieval.values) == 240 and agreement(retrieval, y, pool)[0] > 0.3


@pytest.mark.parametrize("candidate", [Candidate("ridge"), Candidate("kernel", gamma=0.3)])
def test_weights_of_a_kernel_are_those_of_scikit_learn_to_the_bit(candidate: Candidate):
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(40, 5)).astype(np.float32), rng.normal(size=40)
    x[20:30] = x[:10]
    gram = kernel_matrix(x, x, candidate, median_distance(x))
    for penalty in (0.01, 1.0):
        fitted = KernelRidge(alpha=penalty, kernel="precomputed").fit(gram, y)
        np.testing.assert_array_equal(dual_of(gram, y, penalty), fitted.dual_coef_)


def test_trees_are_chosen_where_they_are_better_and_a_line_where_that_is():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 3))
    fold = np.arange(400) % 4
    steps = np.sign(x[:, 0]) * np.sign(x[:, 1])
    assert choose(x, steps, fold, ("ridge", "boosting"))[0].family == "boosting"
    best, kernel = choose(x, x @ [1.0, 2.0, 3.0], fold, ("ridge", "boosting"))
    assert best == kernel and best.family == "ridge"
    assert pearson(Boosted.fit(x, steps).predict(x), steps) > 0.8


def test_with_few_rows_an_interval_is_without_end_rather_than_wrong():
    calibration = Calibration.fit(
        Scale(False), np.arange(5.0), np.arange(5.0) + 0.1, spread=np.ones(5), sources=["a"] * 5
    )
    bounds = calibration.bounds(np.zeros(2), spread=np.ones(2), sources=["a", "b"])
    assert np.isinf(bounds).all()
    assert Calibration.from_json(json.loads(json.dumps(calibration.to_json()))) == calibration


@pytest.mark.parametrize("scorer", [PLAIN, qads.RetrievalScorer()], ids=["probe", "retrieval"])
def test_a_learning_curve_holds_every_row_out_and_rises_where_there_is_something_to_learn(
    scorer: qads.ProbeScorer | qads.RetrievalScorer,
):
    pool, x = pool_of(240), unit(240)
    y = x @ PLANE + 0.05 * RNG.standard_normal(240)
    fitted = scorer.fit(pool, y, embeddings=x, curve=True)
    assert [n for n, _ in fitted.curve] == [48, 96] and fitted.out_of_fold is not None
    reached = [pearson(y, each.predicted) for _, each in fitted.curve] + [pearson(y, fitted.out_of_fold.predicted)]
    assert reached[0] < reached[-1] and max(reached[:-1]) < reached[-1] + 0.01
    assert scorer.fit(pool.take(range(60)), y[:60], embeddings=x[:60], curve=True).curve == ()
    assert scorer.fit(pool, y, embeddings=x).curve == ()


@pytest.mark.parametrize("n_groups", [2, 3, 4, 6])
@pytest.mark.parametrize("scorer", [PLAIN, qads.RetrievalScorer()], ids=["probe", "retrieval"])
def test_there_is_no_learning_curve_where_a_part_of_few_groups_leaves_nothing_beside_a_fold(
    scorer: qads.ProbeScorer | qads.RetrievalScorer, n_groups: int
):
    pool, x = pool_of(120), unit(120)
    y = x @ PLANE + 0.05 * RNG.standard_normal(120)
    fitted = scorer.fit(pool, y, embeddings=x, groups=np.arange(120) % n_groups, curve=True)
    assert len(fitted.curve) == {2: 0, 3: 1, 4: 1, 6: 2}[n_groups]


@pytest.mark.parametrize(
    "scorer", [dataclasses.replace(PLAIN, families=("ridge",)), qads.RetrievalScorer()], ids=["probe", "retrieval"]
)
def test_another_quality_of_the_rows_is_predicted_as_if_it_were_theirs_and_changes_nothing(
    scorer: qads.ProbeScorer | qads.RetrievalScorer,
):
    pool, x = pool_of(120), unit(120)
    y = x @ PLANE + 0.05 * RNG.standard_normal(120)
    lost = np.where(np.arange(120) % 40 == 7, np.nan, y)  # Rows that could not be scored.
    plain, fitted = (scorer.fit(pool, lost, embeddings=x, also=also) for also in (None, np.stack([y, -y])))
    own = fitted.out_of_fold
    assert own is not None and plain.out_of_fold is not None and plain.also == ()
    np.testing.assert_array_equal(own.predicted, plain.out_of_fold.predicted)
    same, opposite = fitted.also
    np.testing.assert_array_equal(np.isnan(same.predicted), np.isnan(lost))
    np.testing.assert_allclose(same.predicted, own.predicted, rtol=1e-9)
    np.testing.assert_allclose(opposite.predicted, -own.predicted, rtol=1e-9)
