"""Constraints through the command line: what is asked for is kept to, and what cannot be is said before any work."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reference
from cli.conftest import Call
from run.tiny import rows, write_rows


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def plain(tiny: list[str]) -> list[str]:
    return ["--no-quality", *tiny[:6]]


@pytest.fixture
def levels(tmp_path: Path) -> Path:
    """A pool of which every row has a level from 1 to 3, two of them none."""
    made = [row | {"level": 1 + n % 3} for n, row in enumerate(rows(30))]
    return write_rows(
        tmp_path / "pool.jsonl", [*made[:28], *({k: v for k, v in r.items() if k != "level"} for r in made[28:])]
    )


@pytest.mark.parametrize(
    ("flags", "counts"),
    [
        (["--at-most", "source=s0:2"], lambda c: c["s0"] <= 2),
        (["--at-most", "source=*:40%"], lambda c: max(c.values()) <= 4),
        (["--at-least", "source=s1:7"], lambda c: c["s1"] >= 7),
        (["--share", "source=s2:60%", "--share", "source=s0:30%", "--share", "source=s1:10%"],
         lambda c: (c["s2"], c["s0"], c["s1"]) == (6, 3, 1)),
        (["--at-least", "source=s0:1", "--at-most", "source=s0:1"], lambda c: c["s0"] == 1),
    ],
)  # fmt: skip
def test_quotas_of_sources_are_kept(
    qads: Call, pool: Path, tiny: list[str], tmp_path: Path, flags: list[str], counts: Any
):
    found = qads("select", pool, "-b", "10", "-o", tmp_path / "out.jsonl", *flags, *tiny)
    assert found.code == 0, found.err
    picked = Counter(row["source"] for row in lines(tmp_path / "out.jsonl"))
    assert picked.total() == 10
    assert counts(picked)


def test_quotas_go_by_any_column_of_the_sources(qads: Call, levels: Path, plain: list[str], tmp_path: Path):
    command = ["select", levels, "-b", "10", "-o", tmp_path / "out.jsonl", *plain]
    flags = ["--at-most", "meta.level=1:1", "--at-most", "meta.level=null:0", "--at-most", "kind=cot:100%"]
    found = qads(*command, *flags)
    assert found.code == 0, found.err
    picked = Counter(row.get("level") for row in lines(tmp_path / "out.jsonl"))
    assert picked[1] == 1
    assert picked[None] == 0


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--at-most", "source=s00:2"], r"constraints.quotas.source.s00: no row .* did you mean 's0'\?"),
        (["--at-most", "meta.levl=1:2"], r"constraints.quotas.meta.levl: no row .* did you mean 'meta.level'\?"),
        (["--at-most", "level=1:2"], r"quotas.level: is no column to group by; there are source, kind and meta.NAME"),
        (["--at-most", "source=s0"], r"--at-most source=s0: expected COLUMN=VALUE:N"),
        (["--at-most", "source=s0:many"], r"'many' is neither a count"),
        (["--share", "source=s0:3"], r"share is 3 rows; it must be a fraction"),
        (["--min-distance", "0"], r"min_distance is 0.0; it must be a number above 0"),
        (["--given", "pool.jsonl", "--set", "selection.kind=random"], r"constraints.given: selection.kind is 'random'"),
    ],
)
def test_constraints_that_cannot_be_meant_are_refused_before_anything_is_embedded(
    qads: Call, levels: Path, plain: list[str], tmp_path: Path, flags: list[str], why: str
):
    found = qads("select", levels, "-b", "5", "-o", tmp_path / "out.jsonl", *flags, *plain)
    assert found.code == 2
    assert re.search(why, " ".join(found.err.split()))
    assert not (tmp_path / "out.jsonl.qads" / "embed").exists()


def test_excluded_rows_are_not_selected_and_included_ones_are_first(
    qads: Call, pool: Path, tiny: list[str], tmp_path: Path
):
    (tmp_path / "never.txt").write_text("".join(f"r{n}\n" for n in range(0, 30, 2)))
    chosen = write_rows(tmp_path / "first.jsonl", [rows(30)[9], rows(30)[3]])
    found = qads(
        "select", pool, "-b", "8", "-o", tmp_path / "out.jsonl", "--exclude", tmp_path / "never.txt",
        "--include", chosen, *tiny,
    )  # fmt: skip
    assert found.code == 0, found.err
    names = [row["id"] for row in lines(tmp_path / "out.jsonl")]
    assert names[:2] == ["r9", "r3"]
    assert len(names) == 8
    assert all(int(name[1:]) % 2 for name in names)


def test_what_was_trained_on_is_not_selected_again_nor_what_is_near_it(
    qads: Call, pool: Path, plain: list[str], tmp_path: Path
):
    # One sample of the pool, one of another pool that stands next to a row of this one.
    stranger = rows(30)[5] | {"id": "x", "problem": rows(30)[5]["problem"] + " Say it in words."}
    trained = write_rows(tmp_path / "trained.jsonl", [rows(30)[2], stranger])
    found = qads("select", pool, "-b", "28", "-o", tmp_path / "out.jsonl", "--given", trained, *plain)
    assert found.code == 0, found.err
    run = tmp_path / "out.jsonl.qads"
    picked = lines(tmp_path / "out.jsonl")
    x, given = np.load(run / "embed" / "embeddings.npy"), np.load(run / "given" / "given.npy")
    np.testing.assert_array_equal(given[0], x[2])
    assert "r2" not in {row["id"] for row in picked}
    distances = np.array([reference.distances_from(np.vstack([x, one]), 30)[:30] for one in given]).min(axis=0)
    assert picked[0]["id"] == f"r{distances.argmax()}"
    assert picked[0]["qads"]["nearest"] in ("r2", "x")
    assert json.loads((run / "given" / "manifest.json").read_text())["embedded"] == 1


def test_no_two_picks_are_nearer_than_the_least_distance(qads: Call, pool: Path, plain: list[str], tmp_path: Path):
    out = tmp_path / "out.jsonl"
    assert qads("select", pool, "-b", "30", "-o", out, *plain).code == 0
    least = sorted(row["qads"]["distance"] for row in lines(out)[1:])[10]
    found = qads("select", pool, "-b", "30", "-o", out, "--min-distance", least, "--redo", "select", *plain)
    assert found.code == 0, found.err
    assert "The selection ended early: " in found.out
    picked = lines(out)
    assert 1 < len(picked) < 30
    assert all(row["qads"]["distance"] >= least for row in picked[1:])


def test_files_of_rows_count_by_content_not_by_place(qads: Call, pool: Path, plain: list[str], tmp_path: Path):
    never, elsewhere = tmp_path / "never.txt", tmp_path / "elsewhere" / "never.txt"
    never.write_text("r0\n")
    command = ["select", pool, "-b", "5", "-o", tmp_path / "out.jsonl", *plain]
    assert qads(*command, "--exclude", never).code == 0
    elsewhere.parent.mkdir()
    never.rename(elsewhere)
    assert qads(*command, "--exclude", elsewhere).err.count("done before") == 4
    elsewhere.write_text("r1\n")
    changed = qads(*command, "--exclude", elsewhere)
    assert changed.code == 2
    assert "exclude never" in changed.err


def test_a_row_cannot_be_both_in_and_out(qads: Call, pool: Path, plain: list[str], tmp_path: Path):
    (tmp_path / "ids.txt").write_text("r3\n")
    found = qads(
        "select", pool, "-b", "5", "-o", tmp_path / "out.jsonl", "--include", tmp_path / "ids.txt",
        "--exclude", tmp_path / "ids.txt", *plain,
    )  # fmt: skip
    assert found.code == 2
    assert "1 rows are in both include and exclude, the first 'r3'" in " ".join(found.err.split())
    assert not (tmp_path / "out.jsonl.qads" / "embed").exists()
