"""`qads check` as it is called: what it finds, how it shows it, and its exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cli.conftest import Call, parsed
from qads import load_pool
from run.tiny import rows, write_rows


def test_check_is_0_on_a_clean_pool(qads: Call, pool: Path, tmp_path: Path):
    other = write_rows(tmp_path / "eval.jsonl", rows(5, seed=4, prefix="e"))
    found = qads("check", pool, "--against", other)
    assert found.code == 0, found.out
    assert (
        "30 usable rows; 0 set aside, 0 repeat a problem, 0 nearly repeat a row, 0 hold a problem of the evaluation."
        in found.out
    )


def test_check_is_1_on_repeated_problems(qads: Call, pool: Path):
    first = json.loads(pool.read_text().splitlines()[0])
    again = first | {"id": "again", "problem": first["problem"].upper()}
    pool.write_text(pool.read_text() + json.dumps(again) + "\n")
    found = qads("check", pool)
    assert found.code == 1
    assert "2 × one problem (same solution): r0, again:" in found.out


def test_check_is_1_on_problems_of_an_evaluation_without_solutions(qads: Call, pool: Path, tmp_path: Path):
    first = json.loads(pool.read_text().splitlines()[3])
    unsolved = tmp_path / "eval.jsonl"
    unsolved.write_text(json.dumps({"id": "e7", "instruction": first["problem"], "response": "", "answer": "3"}) + "\n")
    found = qads("check", pool, "--against", unsolved)
    assert found.code == 1
    assert "in the evaluation: r3 = e7:" in found.out


def test_check_is_1_on_rows_set_aside_and_2_where_they_stop_it(qads: Call, pool: Path):
    pool.write_text(pool.read_text() + '{"id": "x", "problem": "What?", "solution": ""}\n{broken\n')
    found = qads("check", pool)
    assert found.code == 1
    assert "2 set aside" in found.out
    assert "pool.jsonl:31: " in found.out
    assert qads("check", pool, "--on-bad-row", "error").code == 2


def test_check_shows_as_many_findings_as_are_asked_for(qads: Call, tmp_path: Path):
    pool = write_rows(tmp_path / "pool.jsonl", [row | {"id": f"{k}{row['id']}"} for k in "ab" for row in rows(8)])
    assert qads("check", pool).out.count("× one problem") == 5
    assert qads("check", pool, "--show", "7").out.count("× one problem") == 7
    assert qads("check", pool, "--show", "0").out.count("× one problem") == 0


def test_check_as_json_holds_every_finding(qads: Call, pool: Path, tmp_path: Path):
    evaluation = write_rows(tmp_path / "eval.jsonl", rows(2, prefix="e"))
    pool.write_text(pool.read_text() + "{broken\n")
    found = qads("check", pool, "--against", evaluation, "--json")
    said = parsed(found.out)
    assert (found.code, found.err, said["n_findings"]) == (1, "", 3)
    assert [(match["id"], match["match"], match["kind"]) for match in said["contaminated"]] == [
        ("r0", "e0", "exact"), ("r1", "e1", "exact"),
    ]  # fmt: skip
    assert {match["against"] for match in said["contaminated"]} == {"s0", "s1"}
    assert (said["rows"], said["exact_duplicates"], said["near_duplicates"]) == (30, 0, 0)
    assert len(said["rejected"]) == 1
    assert said["n_by_source"] == {"s0": 10, "s1": 10, "s2": 10}


@pytest.mark.parametrize("source", ["nothing.jsonl", "*.nothing"])
def test_check_is_2_on_what_is_not_there(qads: Call, source: str):
    found = qads("check", source)
    assert (found.code, found.out) == (2, "")
    assert found.err.splitlines()[-1].startswith(f"error: {source}: ")


ASKED = (
    "A ferry makes 6 crossings a day and carries 45 cars each time. The fare is 12 crowns a car, and the crew is paid "
    "900 crowns a day. How much money is left after a day with full crossings?"
)


def write(path: Path, *problems: str, prefix: str = "r") -> Path:
    return write_rows(path, [
        {"id": f"{prefix}{n}", "source": prefix, "problem": problem, "solution": f"It is {n} of them."}
        for n, problem in enumerate(problems)
    ])  # fmt: skip


def unboxed(text: str) -> str:
    """An error of typer's without the box that it wraps it in."""
    return " ".join(text.replace("│", " ").split())


@pytest.fixture
def leaking(tmp_path: Path) -> Path:
    other = ASKED.replace("6", "9").replace("45", "30").replace("900", "650")
    return write(tmp_path / "leaking.jsonl", "How tall is a giraffe?", ASKED.upper(), other, "Name a river.")


@pytest.fixture
def exam(tmp_path: Path) -> Path:
    return write(tmp_path / "exam.jsonl", "Where is the harbour?", ASKED, prefix="e")


def test_an_evaluation_set_is_called_what_the_user_calls_it(qads: Call, leaking: Path, exam: Path):
    found = parsed(qads("check", leaking, "--against", f"ferries={exam}", "--json").out)["contaminated"]
    assert [(m["id"], m["against"], m["match"], m["kind"]) for m in found] == [
        ("r1", "ferries", "e1", "exact"), ("r2", "ferries", "e1", "renumbered"),
    ]  # fmt: skip


def test_the_evidence_stands_side_by_side(qads: Call, leaking: Path, exam: Path):
    lines = qads("check", leaking, "--against", exam, "--show", "1").out.splitlines()
    (at,) = [n for n, line in enumerate(lines) if "r2 = e1: renumbered" in line]
    assert lines[at + 1].startswith("    pool:       A ferry makes 9 crossings")
    assert lines[at + 2].startswith("    evaluation: A ferry makes 6 crossings")


def test_counts_are_by_source_set_and_kind(qads: Call, leaking: Path, exam: Path):
    said = parsed(qads("check", leaking, "--against", exam, "--json").out)["contamination"]
    assert said["counts"] == [
        {"source": "r", "against": "e", "kind": "exact", "rows": 1},
        {"source": "r", "against": "e", "kind": "renumbered", "rows": 1},
    ]
    assert said["evaluation"] == [{"against": "e", "found": 1, "of": 2}]


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_all_matches_go_to_a_file(qads: Call, leaking: Path, exam: Path, tmp_path: Path, ending: str):
    out = tmp_path / f"matches.{ending}"
    assert qads("check", leaking, "--against", exam, "--show", "0", "--out", out).code == 1
    read = (
        pq.read_table(out).to_pylist() if ending == "parquet" else [json.loads(x) for x in out.read_text().splitlines()]
    )
    assert [(m["in"], m["id"], m["match"]) for m in read] == [("pool", "r1", "e1"), ("pool", "r2", "e1")]
    assert read[0]["evaluation_problem"] == ASKED


def test_processes_find_what_one_finds(qads: Call, leaking: Path, exam: Path):
    check = ["check", leaking, "--against", exam, "--json"]
    one, two = qads(*check), qads(*check, "--workers", 2)
    assert (one.code, one.out) == (two.code, two.out)


def test_the_clean_pool_is_the_rest(qads: Call, leaking: Path, exam: Path, tmp_path: Path):
    clean = tmp_path / "clean.jsonl"
    assert qads("check", leaking, "--against", exam, "--write-clean", clean).code == 1
    assert load_pool(clean).strings("id") == ["r0", "r3"]
    assert qads("check", clean, "--against", exam).code == 0


def test_anchors_are_checked_too(qads: Call, pool: Path, leaking: Path, exam: Path):
    found = qads("check", pool, "--against", exam, "--anchors", leaking, "--json")
    assert found.code == 1
    said = parsed(found.out)
    assert (said["contaminated"], [m["id"] for m in said["anchors"]["contaminated"]]) == ([], ["r1", "r2"])


def test_the_user_says_which_findings_fail(qads: Call, leaking: Path, exam: Path):
    call = ["check", leaking, "--against", exam]
    assert qads(*call, "--fail-on", "duplicates", "--fail-on", "rejected").code == 0
    assert qads(*call, "--fail-on", "contamination").code == 1
    wrong = qads(*call, "--fail-on", "everything")
    assert (wrong.code, "must be one of rejected, duplicates, near, contamination" in unboxed(wrong.err)) == (2, True)


@pytest.mark.parametrize("option", [["--out", "m.jsonl"], ["--write-clean", "c.jsonl"], ["--anchors", "a"], ["--neighbours", "3"]])  # fmt: skip
def test_what_is_about_the_evaluation_needs_one(qads: Call, pool: Path, option: list[str]):
    found = qads("check", pool, *option)
    assert (found.code, f"{option[0]} needs --against" in unboxed(found.err)) == (2, True)


def test_no_source_is_written_over(qads: Call, leaking: Path, exam: Path):
    before = leaking.read_bytes(), exam.read_bytes()
    for target in (leaking, exam):
        assert qads("check", leaking, "--against", f"e={exam}", "--write-clean", target).code == 2
    assert (leaking.read_bytes(), exam.read_bytes()) == before


def test_an_unknown_benchmark_is_told_with_the_nearest(qads: Call, pool: Path):
    found = qads("check", pool, "--against", "gsmk8")
    assert (found.code, "did you mean gsm8k?" in found.err) == (2, True)


def test_a_template_of_the_evaluation_is_shown_and_not_counted(qads: Call, tmp_path: Path):
    sums = [f"What is the remainder when {n} is divided by {m}?" for n, m in ((93, 7), (55, 6), (88, 9), (71, 8))]
    exam = write(tmp_path / "exam.jsonl", *sums[:3], prefix="e")
    found = qads("check", write(tmp_path / "pool.jsonl", sums[3], "Name a river."), "--against", exam)
    assert found.code == 0, found.out
    assert "not counted: 1 rows of the pool are e0 of e with other numbers, and so are 3 rows of that set" in found.out


def test_two_outputs_are_two_files(qads: Call, tmp_path: Path):
    pool = write(tmp_path / "pool.jsonl", "Name a river.")
    exam = write(tmp_path / "exam.jsonl", "Name a lake.", prefix="e")
    one = tmp_path / "out.jsonl"
    found = qads("check", pool, "--against", exam, "--out", one, "--write-clean", one)
    assert found.code == 2 and "each needs one of its own" in found.err and not one.exists()


def test_evaluation_files_of_one_name_are_two_sets(qads: Call, tmp_path: Path):
    for folder, problem in (("a", "Name a long river."), ("b", "Name a deep lake.")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "test.jsonl").write_text(f'{{"question": "{problem}"}}\n')
    pool = write(tmp_path / "pool.jsonl", "Name a deep lake.", "Name a high hill.")
    sets = [tmp_path / folder / "test.jsonl" for folder in "ab"]
    found = qads("check", pool, "--against", *sets, sets[0], "--json")
    (match,) = parsed(found.out)["contaminated"]
    assert (found.code, match["against"], match["match"]) == (1, "b/test", "b/test/test-0")
    assert [each["of"] for each in parsed(found.out)["contamination"]["evaluation"]] == [1, 1]


def test_a_home_that_nobody_has_is_a_missing_file(qads: Call, pool: Path):
    for arguments in (["~nobody-here/x.jsonl"], [pool, "--against", "~nobody-here/x.jsonl"]):
        found = qads("check", *arguments)
        assert found.code == 2 and "no such file or folder" in found.err


def test_two_emoji_are_two_problems(qads: Call, tmp_path: Path):
    found = qads("check", write(tmp_path / "pool.jsonl", "What is 🍎 + 1?", "What is 🍐 + 1?"), "--json")
    assert (found.code, parsed(found.out)["repeated_problems"]) == (0, 0)
