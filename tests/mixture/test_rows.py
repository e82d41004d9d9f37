"""Which rows are in a mixture, in what order, and what is said of where they come from."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mixture.files import make_run, records, write_sums
from qads import Mixture, compose, load_pool, write_mixture
from qads.datasets import write_pool
from qads.errors import ConfigError, CorruptError, InputError, PoolError, RunError
from qads.evaluate import Evaluation
from qads.mixture import load_recipe
from qads.mixture.drawing import hash_order
from qads.pool import Pool, Row


def ids(mixture: Mixture) -> list[str]:
    return [row.id for row in mixture.pool()]


def test_a_draw_is_the_sha256_of_seed_purpose_and_id(tmp_path: Path):
    path = write_sums(tmp_path / "a.jsonl", 50)
    mixture = compose({"parts": {"x": {"pool": str(path), "take": 5}}, "seed": 3})
    expected = sorted(
        (f"a-{i}" for i in range(50)), key=lambda name: hashlib.sha256(f"3\0draw x\0{name}".encode()).digest()
    )
    assert set(ids(mixture)) == set(expected[:5])
    place = {name: hashlib.sha256(f"3\0shuffle x\0{name}\x000".encode()).digest() for name in expected[:5]}
    assert ids(mixture) == sorted(expected[:5], key=place.__getitem__)


def test_a_smaller_draw_begins_a_larger_one_and_a_grown_pool_keeps_the_order_it_had(tmp_path: Path):
    small, grown = write_sums(tmp_path / "a.jsonl", 60), write_sums(tmp_path / "b.jsonl", 90, source="a")

    def drawn(path: Path, take: int) -> list[str]:
        mixture = compose({"parts": {"x": {"pool": str(path), "take": take}}, "shuffle": False})
        return ids(mixture)

    assert set(drawn(small, 10)) < set(drawn(small, 30))
    old = [name for name in drawn(grown, 45) if int(name.split("-")[1]) < 60]
    assert set(old) == set(drawn(small, len(old)))


def test_the_order_of_many_is_the_order_of_few_batches():
    names = [f"row {i}" for i in range(70_000)]  # More than are hashed at a time.
    found = hash_order(pa.chunked_array([names], pa.large_string()), seed=1, purpose="p")
    keys = [hashlib.sha256(f"1\0p\0{name}".encode()).digest()[:8] for name in names]
    assert found.tolist() == sorted(range(len(names)), key=keys.__getitem__)


def test_shuffling_mixes_and_changes_nothing_else(tmp_path: Path):
    recipe: dict[str, Any] = {"parts": {n: {"pool": str(write_sums(tmp_path / f"{n}.jsonl", 40))} for n in "ab"}}
    plain, shuffled, other = (compose(recipe | s) for s in ({"shuffle": False}, {}, {"seed": 1}))
    assert ids(plain) == [f"{name}-{i}" for name in "ab" for i in range(40)]
    assert sorted(ids(shuffled)) == sorted(ids(other)) == sorted(ids(plain))
    assert len({tuple(ids(m)) for m in (plain, shuffled, other)}) == 3
    firsts = Counter(name[0] for name in ids(shuffled)[:40])
    assert min(firsts.values()) > 8  # Hypergeometric: 20 ± 3.2.


def test_order_file_takes_the_first_rows(tmp_path: Path):
    path = write_sums(tmp_path / "a.jsonl", 30)
    mixture = compose({"parts": {"x": {"pool": str(path), "take": 4, "order": "file"}}, "shuffle": False})
    assert ids(mixture) == ["a-0", "a-1", "a-2", "a-3"]


def test_every_row_says_where_it_comes_from(tmp_path: Path):
    run = make_run(tmp_path / "run", 20, [4, 9, 1])
    parts = {
        "picked": {"selection": str(run), "repeat": 2},
        "drawn": {"pool": str(write_sums(tmp_path / "a.jsonl", 10, answer="7")), "take": 5},
    }
    out = write_mixture(compose({"parts": parts}), tmp_path / "out")
    rows = records(out / "data" / "train.jsonl")
    assert len({row["id"] for row in rows}) == len(rows) == 11
    for row in rows:
        origin = row["qads"]
        assert (origin["part"], origin["source"]) == (row["part"], row["source"])
        if row["part"] == "picked":
            step = {"p4": 0, "p9": 1, "p1": 2}[origin["id"]]
            assert (origin["step"], origin["quality"]) == (step, np.linspace(1, 0.5, 3)[step])
            assert row["id"] == origin["id"] + ("" if origin["copy"] == 1 else "#2")
        else:
            assert (origin["step"], origin["quality"], origin["copy"], origin["answer"]) == (None, None, 1, "7")
    assert Counter(row["qads"]["copy"] for row in rows if row["part"] == "picked") == {1: 3, 2: 3}


def test_a_selection_of_a_cleaned_pool_is_read_from_that(tmp_path: Path):
    run = make_run(tmp_path / "run", 10, [4, 2], cleaned=True)
    assert ids(compose({"parts": {"x": {"selection": str(run)}}, "shuffle": False})) == ["p4", "p2"]


def test_what_an_earlier_cleaning_left_in_a_run_is_not_read(tmp_path: Path):
    run = make_run(tmp_path / "run", 10, [4, 2])
    shutil.copytree(make_run(tmp_path / "earlier", 6, [4, 2], cleaned=True) / "clean", run / "clean")
    part = compose({"parts": {"x": {"selection": str(run), "take": "20%"}}}).parts["x"]
    assert (part.n_pool, len(part)) == (10, 2)


@pytest.mark.parametrize("reason", [{"step": 10**30}, {"step": -1}, {"step": True}])
def test_a_step_that_is_none_is_refused(tmp_path: Path, reason: dict[str, Any]):
    path = write_sums(tmp_path / "a.jsonl", 1, qads=reason)
    with pytest.raises(InputError, match=r"row 'a-0' has no step under 'qads', so this is no file of a selection"):
        compose({"parts": {"x": {"selection": str(path)}}})


@pytest.mark.parametrize("quality", ["high", [1], True, {}])
def test_a_quality_that_is_no_number_is_refused(tmp_path: Path, quality: object):
    path = write_sums(tmp_path / "a.jsonl", 1, qads={"step": 0, "quality": quality})
    with pytest.raises(InputError, match=r"row 'a-0' has the quality .* under 'qads'; it must be a number"):
        compose({"parts": {"x": {"selection": str(path)}}})


@pytest.mark.parametrize("setting", [{"kind": "pot"}, {"columns": {"problem": "q"}}, {"on_bad_row": "skip"}])
def test_settings_of_files_are_refused_for_a_run(tmp_path: Path, setting: dict[str, Any]):
    run = make_run(tmp_path / "run", 10, [4, 2])
    with pytest.raises(InputError, match=rf"parts.x: {next(iter(setting))} is of files; .* is a run"):
        compose({"parts": {"x": {"selection": str(run)} | setting}})


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet"])
def test_a_selected_file_is_read_in_the_order_of_its_picks(tmp_path: Path, ending: str):
    pool = Pool.from_rows(
        Row(id=f"r{i}", source="s", problem=f"{i}?", solution=str(i), meta={"n": i}) for i in range(6)
    )
    reasons = [{"step": 5 - i, "quality": None if i == 2 else i / 10} for i in range(6)]
    write_pool(pool, tmp_path / f"picked{ending}", extra=reasons)
    recipe = {
        "parts": {"x": {"selection": str(tmp_path / f"picked{ending}"), "take": 4}},
        "shuffle": False,
        "keep_meta": True,
    }
    out = write_mixture(compose(recipe), tmp_path / "out")
    rows = records(out / "data" / "train.jsonl")
    assert [row["qads"]["id"] for row in rows] == ["r5", "r4", "r3", "r2"]
    assert [row["qads"]["quality"] for row in rows] == [0.5, 0.4, 0.3, None]
    assert [json.loads(row["meta"]) for row in rows] == [{"n": i} for i in (5, 4, 3, 2)]


def test_a_file_of_no_selection_is_refused(tmp_path: Path):
    path = write_sums(tmp_path / "a.jsonl", 3)
    with pytest.raises(
        InputError, match=r"row 'a-0' has no step under 'qads', so this is no file of a selection. Name it under pool"
    ):
        compose({"parts": {"x": {"selection": str(path)}}})


def test_a_run_that_is_not_finished_or_was_changed_is_refused(tmp_path: Path):
    run = make_run(tmp_path / "run", 10, [4, 2])
    file = run / "select" / "selection.parquet"
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(CorruptError, match=r"selection.parquet: has SHA-256 .* but the manifest says"):
        compose({"parts": {"x": {"selection": str(run)}}})
    (run / "select" / "manifest.json").unlink()
    with pytest.raises(RunError, match=r"no run directory with a finished selection \(select/ is not complete\)"):
        compose({"parts": {"x": {"selection": str(run)}}})
    with pytest.raises(PoolError, match="no such file or folder"):
        compose({"parts": {"x": {"selection": str(tmp_path / "nowhere")}}})


def test_one_id_in_two_parts_is_told_apart(tmp_path: Path):
    first, second = write_sums(tmp_path / "a.jsonl", 3), write_sums(tmp_path / "b.jsonl", 3, start=1)
    for path, name in ((first, "a"), (second, "b")):
        path.write_text(path.read_text().replace(f'"id": "{name}-', '"id": "'))
    out = write_mixture(
        compose({"parts": {"x": {"pool": str(first)}, "y": {"pool": str(second), "repeat": 2}}, "shuffle": False}),
        tmp_path / "out",
    )
    rows = records(out / "data" / "train.jsonl")
    assert [row["id"] for row in rows] == ["0", "x/1", "x/2", "y/1", "y/2", "3", "y/1#2", "y/2#2", "3#2"]
    assert [row["qads"]["id"] for row in rows] == ["0", "1", "2", "1", "2", "3", "1", "2", "3"]


def test_ids_that_cannot_be_told_apart_are_refused(tmp_path: Path):
    path = write_sums(tmp_path / "a.jsonl", 2)
    path.write_text(path.read_text().replace('"id": "a-1"', '"id": "a-0#2"'))
    with pytest.raises(InputError, match=r"'a-0#2': two rows of the mixture would have this id"):
        compose({"parts": {"x": {"pool": str(path), "repeat": 2}}}).pool()


def test_the_same_text_in_two_parts_is_refused_dropped_or_kept(tmp_path: Path):
    all_of, some = write_sums(tmp_path / "a.jsonl", 20), write_sums(tmp_path / "b.jsonl", 8, source="a", start=5)
    parts = {"some": {"pool": str(some)}, "all": {"pool": str(all_of)}}
    with pytest.raises(
        InputError, match=r"parts.all: 8 of its rows are word for word rows of an earlier part \(such as 'a-\d'\)"
    ):
        compose({"parts": parts})
    dropped = compose({"parts": parts, "same_text": "drop"})
    assert len(dropped) == 20 and sorted(ids(dropped)) == sorted(f"a-{i}" for i in range(20))
    assert dropped.largest.parts["all"].same_text == 8
    assert len(compose({"parts": parts, "same_text": "keep"})) == 28
    # Only what the earlier part takes is out.
    taken = {"some": {"pool": str(some), "take": 1}, "all": {"pool": str(all_of)}}
    assert compose({"parts": taken, "same_text": "drop"}).largest.parts["all"].same_text == 1


def test_suffixes_go_behind_problems_of_their_kind_once(tmp_path: Path):
    pot = " Let's write a program."
    made = [
        Row(id="a", source="s", problem="1 + 1?", solution="ans = 2", kind="pot"),
        Row(id="b", source="s", problem=f"2 + 1?{pot}", solution="ans = 3", kind="pot"),
        Row(id="c", source="s", problem="3 + 1?", solution="4", kind="cot"),
        Row(id="d", source="s", problem="Hello", solution="Hi", kind="general"),
    ]
    write_pool(Pool.from_rows(made), tmp_path / "a.jsonl")
    recipe = {"parts": {"x": {"pool": str(tmp_path / "a.jsonl")}}, "suffix": {"pot": pot, "cot": " Step by step."}}
    out = write_mixture(compose(recipe | {"shuffle": False}), tmp_path / "out")
    rows = records(out / "data" / "train.jsonl")
    assert [row["messages"][0]["content"] for row in rows] == [
        f"1 + 1?{pot}", f"2 + 1?{pot}", "3 + 1? Step by step.", "Hello",
    ]  # fmt: skip
    assert [row["qads"]["problem"] for row in rows] == ["1 + 1?", None, "3 + 1?", None]
    assert json.loads((out / "manifest.json").read_text())["suffixed"] == {"x": 2}


def test_the_word_instructions_stands_for_what_an_evaluation_asks_with():
    parts = {"x": {"pool": "rows.jsonl"}}
    assert load_recipe({"parts": parts, "suffix": "instructions"}).suffix == Evaluation(sets=("x",)).suffix
    with pytest.raises(ConfigError, match="suffix"):
        load_recipe({"parts": parts, "suffix": "instruction"})


def test_a_mixture_reads_back_as_its_rows(tmp_path: Path):
    parts = {n: {"pool": str(write_sums(tmp_path / f"{n}.jsonl", 5))} for n in "ab"}
    mixture = compose({"parts": parts})
    out = write_mixture(mixture, tmp_path / "out")
    back = load_pool(out / "data" / "train.jsonl")
    assert [(r.id, r.source, r.problem, r.solution, r.kind) for r in back] == [
        (r.id, r.source, r.problem, r.solution, r.kind) for r in mixture.pool()
    ]


def test_rows_set_aside_are_counted_and_listed_by_the_name_of_their_file(tmp_path: Path):
    path = write_sums(tmp_path / "a.jsonl", 3)
    path.write_text(path.read_text() + '{"problem": "no solution", "solution": ""}\nnot JSON\n')
    out = write_mixture(compose({"parts": {"x": {"pool": str(path), "on_bad_row": "skip"}}}), tmp_path / "out")
    listed = [json.loads(line) for line in (out / "set_aside.jsonl").read_text().splitlines()]
    assert [(row["part"], row["where"]) for row in listed] == [("x", "a:4"), ("x", "a:5")]
    assert [row["reason"] for row in listed] == ["empty solution", "not valid JSON: Expecting value at column 1"]
    manifest = json.loads((out / "manifest.json").read_text())
    assert sum(manifest["set_aside"]["x"].values()) == 2
