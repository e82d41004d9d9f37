"""The fine-tuned scorer: it learns what is there, says what it was measured by, and is the same wherever it is opened."""

from __future__ import annotations

import dataclasses
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import qads
from qads.cluster import Execution
from qads.errors import CorruptError, InputError, ModelError
from qads.quality.scorers import FittedLM, LMScorer, Lora, load_scorer
from qads.run import run_pipeline
from run.tiny import make_model, settings, write_rows
from run.tiny import rows as tiny_rows

peft = pytest.importorskip("peft", reason="the extra 'train' is not installed")
CPU = Execution(device="cpu")
RNG = np.random.default_rng(0)


def rows(n: int) -> qads.Pool:
    """Answers that begin with yes or no, from two sources, no two problems alike."""
    made = [(f"Is {3 * i} below {int(RNG.integers(9, 999))}?", ("No", "Yes")[i % 2]) for i in range(n)]
    return qads.Pool.from_rows(
        qads.Row(id=str(i), source="ab"[i // 2 % 2], problem=problem, solution=f"{start}, one can count.")
        for i, (problem, start) in enumerate(made)
    )


def planted(pool: qads.Pool) -> np.ndarray:
    """Yes is good, whatever the source."""
    return np.array([0.2 * row.solution.startswith("Yes") for row in pool]) + 0.01 * RNG.random(len(pool)) + 0.02


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> LMScorer:
    """A scorer whose model has a few thousand random weights."""
    model = str(make_model(tmp_path_factory.mktemp("model") / "tiny"))
    return LMScorer(model=model, dtype="float32", levels=3, epochs=2, lora=Lora(rank=4))


@pytest.fixture(scope="module")
def pool() -> qads.Pool:
    return rows(60)


@pytest.fixture(scope="module")
def quality(pool: qads.Pool) -> np.ndarray:
    return planted(pool)


@pytest.fixture(scope="module")
def fitted(tiny: LMScorer, pool: qads.Pool, quality: np.ndarray) -> FittedLM:
    return tiny.fit(pool, quality, execution=CPU)


@pytest.mark.slow
def test_a_planted_signal_is_learned_on_rows_that_were_not_trained_on(pool: qads.Pool, quality: np.ndarray):
    method = LMScorer(levels=2, epochs=1, batch_size=4, lora=Lora(rank=4, alpha=8), learning_rate=3e-3)
    found = method.fit(pool, quality, execution=CPU)
    assert found.out_of_fold is not None
    held = found.out_of_fold.fold >= 0
    assert np.corrcoef(found.out_of_fold.predicted[held], quality[held])[0, 1] > 0.9
    assert abs(np.corrcoef(found.out_of_fold.source_mean[held], quality[held])[0, 1]) < 0.5
    new = rows(20)
    said = found.prediction(new, execution=CPU)
    assert np.corrcoef(said.quality, planted(new))[0, 1] > 0.9 and not said.reasons
    assert said.cost.tokens > 0 and said.cost.answer_tokens == 20


def test_the_rows_held_out_are_a_fifth_and_the_others_have_no_prediction(fitted: FittedLM, quality: np.ndarray):
    held_out = fitted.out_of_fold
    assert held_out is not None
    held = held_out.fold >= 0
    assert held.sum() == 12 and fitted.n_labels == 48 and fitted.levels.counts.sum() == 48
    for values in (held_out.predicted, held_out.low, held_out.high, held_out.source_mean):
        np.testing.assert_array_equal(np.isnan(values), ~held)
    assert fitted.described["held_out"] == 12


def test_the_mean_of_a_source_is_that_of_the_rows_trained_on(fitted: FittedLM, pool: qads.Pool, quality: np.ndarray):
    assert fitted.out_of_fold is not None
    held, names = fitted.out_of_fold.fold >= 0, np.array(pool.strings("source"))
    for name in "ab":
        expected = quality[~held & (names == name)].mean()
        np.testing.assert_allclose(fitted.out_of_fold.source_mean[held & (names == name)], expected)


def test_two_fits_give_the_same_bytes_and_leave_the_generators_as_they_were(
    tiny: LMScorer, fitted: FittedLM, pool: qads.Pool, quality: np.ndarray
):
    # Python's own generator is drawn from by the checks of annotations too, so only the others can be compared.
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    again = tiny.fit(pool, quality, execution=CPU)
    assert again.files == fitted.files and again.calibration == fitted.calibration
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    other = dataclasses.replace(tiny, seed=1).fit(pool, quality, execution=CPU)
    assert other.files["adapter_model.safetensors"] != fitted.files["adapter_model.safetensors"]


@pytest.mark.parametrize("lora", [Lora(rank=2), None])
def test_a_scorer_from_its_folder_predicts_the_same_and_nothing_in_it_is_pickled(
    lora: Lora | None, tiny: LMScorer, pool: qads.Pool, quality: np.ndarray, tmp_path: Path
):
    found = dataclasses.replace(tiny, lora=lora).fit(pool, quality, execution=CPU)
    found.save(tmp_path / "scorer")
    files = {str(path.relative_to(tmp_path / "scorer")) for path in tmp_path.rglob("*") if path.is_file()}
    assert {"scorer.json", "scorer.safetensors"} < files
    assert {Path(name).suffix for name in files} <= {".json", ".safetensors", ".jinja"}
    loaded = load_scorer(tmp_path / "scorer")
    before, after = (scorer.prediction(pool, execution=CPU) for scorer in (found, loaded))
    np.testing.assert_array_equal(before.quality, after.quality)
    np.testing.assert_array_equal(before.high, after.high)
    assert loaded.described == found.described | {"held_out": 0} and not loaded.reads_embeddings


def test_the_adapter_names_the_model_and_no_folder_of_a_cache(fitted: FittedLM, tiny: LMScorer):
    config = json.loads(fitted.files["adapter_config.json"])
    assert config["base_model_name_or_path"] == tiny.model
    assert config["target_modules"] == sorted(config["target_modules"])


def test_peft_opens_the_adapter_by_itself(fitted: FittedLM, tiny: LMScorer, pool: qads.Pool, tmp_path: Path):
    fitted.save(tmp_path)
    lm = qads.open_causal_lm(str(tiny.model), dtype="float32", device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT asks transformers by a name that will change.
        model = peft.PeftModel.from_pretrained(lm.model, tmp_path / "adapter")
    text = fitted.method.texts(lm)
    ids = text(pool.take([7]))[0][0]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, -1, list(text.tokens.levels)]
    ours = fitted.rater(CPU)(pool.take([7])).probabilities[0]
    np.testing.assert_allclose(ours, logits.softmax(-1), atol=1e-5)
    assert np.abs(ours - 1 / 3).max() > 1e-3


def test_saving_over_another_scorer_leaves_nothing_of_it(fitted: FittedLM, tmp_path: Path):
    fitted.save(tmp_path)
    (tmp_path / "adapter" / "more.safetensors").write_bytes(b"")
    fitted.save(tmp_path)
    assert sorted(path.name for path in (tmp_path / "adapter").iterdir()) == sorted(fitted.files)


@pytest.mark.parametrize("damage", ["cut", "gone", "of another rank"])
def test_a_damaged_adapter_is_refused(damage: str, fitted: FittedLM, pool: qads.Pool, tmp_path: Path):
    fitted.save(tmp_path)
    adapter = tmp_path / "adapter" / "adapter_model.safetensors"
    if damage == "gone":
        adapter.unlink()
    elif damage == "cut":
        adapter.write_bytes(adapter.read_bytes()[:200])
    else:
        numbers = json.loads((tmp_path / "scorer.json").read_text())
        numbers["method"]["lora"]["rank"] = 2
        (tmp_path / "scorer.json").write_text(json.dumps(numbers))
    with pytest.raises(CorruptError, match="adapter"):
        load_scorer(tmp_path).predict(pool, execution=CPU)


def test_rows_that_do_not_fit_are_left_out_of_training_and_get_no_number(
    tiny: LMScorer, pool: qads.Pool, quality: np.ndarray, caplog: pytest.LogCaptureFixture
):
    long = qads.Row(id="long", source="a", problem="Which? " * 200, solution="Yes.")
    whole = qads.Pool.from_rows([*pool, long])
    method = dataclasses.replace(tiny, max_length=200)
    found = method.fit(whole, np.append(quality, 0.5), execution=CPU)
    assert found.out_of_fold is not None and np.isnan(found.out_of_fold.predicted[60])
    assert "1 of 61 scored rows do not fit and are left out (the first, long: " in caplog.text
    said = found.prediction(whole, execution=CPU)
    assert list(said.reasons) == [60] and "context of the model holds 200" in said.reasons[60]
    assert np.isnan([said.quality[60], said.low[60]]).all() and np.isfinite(said.quality[:60]).all()
    with pytest.raises(InputError, match="of 0 scored rows"):
        dataclasses.replace(tiny, max_length=10).fit(pool, quality, execution=CPU)


def test_batches_of_predictions_change_nothing_but_rounding(fitted: FittedLM, pool: qads.Pool):
    one, many = (
        fitted.predict(pool, execution=Execution(device="cpu", max_tokens_per_batch=size)) for size in (1, 4096)
    )
    np.testing.assert_allclose(one, many, rtol=1e-4)


def test_another_model_or_template_is_refused_unless_told(fitted: FittedLM, pool: qads.Pool):
    method = dataclasses.replace(fitted.method, template=qads.ExemplarTemplate(question="Q: "))
    changed = dataclasses.replace(fitted, method=method)
    with pytest.raises(InputError, match="template: reader template was"):
        changed.predict(pool, execution=CPU)
    assert np.isfinite(changed.predict(pool, execution=CPU, allow=("template",))).all()


def test_without_the_extra_it_says_what_to_install(
    fitted: FittedLM, pool: qads.Pool, quality: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    for name in ("trl", "peft"):
        monkeypatch.setitem(sys.modules, name, None)  # As Python marks what cannot be imported.
    with pytest.raises(InputError, match=r"trl and peft not installed; it needs pip install 'qads\[train\]'"):
        fitted.method.fit(pool, quality, execution=CPU)
    with pytest.raises(InputError, match="peft not installed"):
        fitted.predict(pool, execution=CPU)


def test_what_would_stop_the_fine_tuning_stops_a_run_before_it_embeds(
    tiny: LMScorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert tiny.model is not None
    config = settings(Path(tiny.model), write_rows(tmp_path / "pool.jsonl", tiny_rows(30)))
    config["quality"]["scorer"] = {"kind": "lm", "model": tiny.model}
    with monkeypatch.context() as patch, pytest.raises(InputError, match="trl not installed"):
        patch.setitem(sys.modules, "trl", None)
        run_pipeline(qads.load_config(config), tmp_path / "run")
    assert (tmp_path / "run" / "pool" / "manifest.json").exists() and not (tmp_path / "run" / "embed").exists()
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="device 'cuda' cannot be used here"):
            tiny.check(Execution(kind="ray", gpus_per_worker=1))


def test_levels_that_the_tokenizer_cannot_write_are_refused_before_training(
    tiny: LMScorer, pool: qads.Pool, quality: np.ndarray
):
    with pytest.raises(ModelError, match="of the level '10'"):
        dataclasses.replace(tiny, levels=10).fit(pool, quality, execution=CPU)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"levels": 1}, "levels is 1"), ({"epochs": 0}, "epochs is 0"), ({"held_out": 1.0}, "held_out is 1"),
        ({"learning_rate": 0.0}, "learning_rate is 0"), ({"batch_size": 0}, "batch_size is 0"), ({"seed": -1}, "seed"),
    ],
)  # fmt: skip
def test_settings_without_a_meaning_are_refused(change: dict, message: str):
    with pytest.raises(InputError, match=message):
        LMScorer(**change)
    for wrong in ({"rank": 0}, {"alpha": 0}, {"dropout": 1.0}):
        with pytest.raises(InputError, match=f"lora: {next(iter(wrong))}"):
            Lora(**wrong)


def test_too_few_rows_to_hold_some_out_are_refused(tiny: LMScorer):
    few = rows(30)
    with pytest.raises(InputError, match=r"0.2 of 30 scored rows leaves 24 to train on and 6 to measure"):
        tiny.fit(few, planted(few), execution=CPU)
    # Rows of one problem are held out together, and one problem measures nothing.
    with pytest.raises(InputError, match="which are no duplicates"):
        tiny.fit(few, planted(few), groups=np.zeros(30, np.int64), execution=CPU)


def test_equal_labels_make_fewer_levels_and_it_is_said(
    tiny: LMScorer, pool: qads.Pool, caplog: pytest.LogCaptureFixture
):
    coarse = np.arange(60) % 2 * 0.25
    found = dataclasses.replace(tiny, levels=5, epochs=1).fit(pool, coarse, execution=CPU)
    assert len(found.levels) == 2 and "they make 2 levels, not 5" in caplog.text
    np.testing.assert_array_equal(found.levels.values, [0.0, 0.25])


def test_progress_counts_every_epoch_to_the_end(tiny: LMScorer, pool: qads.Pool, quality: np.ndarray):
    told: list[tuple[int, int]] = []
    tiny.fit(pool, quality, execution=CPU, progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told) and told[-1] == (96, 96)


def test_what_is_not_named_comes_from_the_influence():
    influence = qads.OneShotInfluence(model="gemma3-270m", dtype="float32", max_length=512)
    completed = LMScorer().completed(influence)
    assert (completed.model, completed.dtype, completed.max_length) == ("gemma3-270m", "float32", 512)
    assert LMScorer(model="smollm2-135m").completed(influence).dtype == "auto"


def test_a_run_chooses_it_and_says_how_well_it_does(tmp_path: Path):
    model = make_model(tmp_path / "model")
    pool = write_rows(tmp_path / "pool.jsonl", tiny_rows(80))
    scorer = {"kind": "lm", "levels": 3, "epochs": 1, "lora": {"rank": 2}}
    influence = {"model": str(model), "dtype": "float32"}
    changes = {"quality": {"sample": 60, "influence": influence, "scorer": scorer}}
    run_pipeline(qads.load_config(settings(model, pool, **changes)), tmp_path / "out", until="quality")
    manifest = json.loads((tmp_path / "out" / "scorer" / "manifest.json").read_text())
    assert manifest["scorer"]["kind"] == "lm" and manifest["scorer"]["held_out"] == manifest["fidelity"]["n_rows"] == 12
    assert "adapter/adapter_model.safetensors" in manifest["files"]
    quality = np.load(tmp_path / "out" / "quality" / "quality.npy")
    assert np.isfinite(quality).all()
