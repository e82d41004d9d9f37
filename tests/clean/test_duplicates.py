"""Rows that repeat others go, each for a row that stays, and no row goes that says something else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qads import Deduplication, Duplicates, load_pool
from qads.clean.bands import N_BANDS, rows_in_band
from qads.clean.keys import mathematics
from qads.clean.text import words
from qads.pool import Pool, Row

STORY = (
    "Nadia keeps {a} hens in the yard behind the mill and every hen lays {b} eggs in a week. She sells the eggs at the "
    "market on Saturday. How many eggs can she take {there} in one week?"
)
WORKED = "Every hen lays {b} eggs, and there are {a} hens, so in one week there are {a} * {b} = {c} eggs to sell."


def row(name: str, problem: str, solution: str, *, source: str = "s", after: Sequence[str] = ()) -> Row:
    turns = tuple({"role": "user", "content": text} for text in after)
    return Row(id=name, source=source, problem=problem, solution=solution, context=turns)  # type: ignore[arg-type]


def pool(*texts: tuple[str, str]) -> Pool:
    return Pool.from_rows(row(f"r{n}", problem, solution) for n, (problem, solution) in enumerate(texts))


def story(a: int, b: int, there: str = "there") -> tuple[str, str]:
    return STORY.format(a=a, b=b, there=there), WORKED.format(a=a, b=b, c=a * b)


def went(found: Duplicates) -> list[tuple[int, int, str]]:
    return list(zip(found.rows.tolist(), found.kept.tolist(), found.reasons.tolist(), strict=True))


# Equal rows.


def test_a_problem_may_be_written_otherwise_and_is_the_same():
    same = pool(("What is 2 + 2?", "It is 4."), ("what is  2+2 ?", "It is 4."), ("What is 2 + 3?", "It is 4."))
    assert went(Deduplication(near=None)(same)) == [(1, 0, "exact")]


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("x = 1\ny = 2", "x = 1  \r\ny = 2\n", True),
        ("  It is 4.", "It is 4.", True),
        ("caf\u00e9", "cafe\u0301", True),
        ("if x:\n    y = 1", "if x:\n  y = 1", False),
        ("x = a - b", "x = a + b", False),
        ("It is x.", "It is X.", False),
        (r"\( x_1 \)", r"\( x1 \)", False),
        ("x²", "x2", False),
        ("[1, 2]", "(1, 2)", False),
        ("★★★", "★★★★", False),
    ],
)
def test_a_solution_is_the_same_to_the_letter(one: str, other: str, is_same: bool):
    found = Deduplication(near=None)(pool(("How?", one), ("How?", other)))
    assert (len(found.rows) == 1) == is_same


def test_the_same_words_after_other_turns_are_another_row():
    told = Pool.from_rows(
        [
            row("a", "Continue the tale as before.", "On it goes, and on.", after=["A tale."]),
            row("b", "Continue the tale as before.", "On it goes, and on.", after=["Another."]),
            row("c", "Continue the tale as before.", "On it goes, and on.", after=["A tale."]),
        ]
    )
    assert went(Deduplication()(told)) == [(2, 0, "exact")]


# Near duplicates.


def test_a_word_more_or_less_is_a_near_duplicate():
    found = Deduplication()(pool(story(12, 5), story(12, 5, there="to the market"), story(12, 5)))
    assert went(found) == [(1, 0, "near"), (2, 0, "exact")]
    assert 0.8 <= found.similarity[0] < 1 and found.similarity[1] == 1
    assert found.groups.tolist() == [0, 0] and found.kept_rows.tolist() == [0]


def test_the_same_template_with_other_numbers_is_another_problem():
    renumbered = pool(*(story(a, b) for a in range(3, 9) for b in range(2, 6)))
    assert went(Deduplication()(renumbered)) == []
    assert len(Deduplication(numbers="any", near=0.5, shingle=1)(renumbered).kept_rows) < len(renumbered)


def test_the_same_numbers_in_another_order_are_another_problem():
    assert went(Deduplication()(pool(story(4, 7), story(7, 4)))) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Factor z^4 - z^2 + 1 over the integers and say how", "Factor z^4 + z^2 + 1 over the integers and say how"),
        ("Solve for x with x < 4 and give all of its values", "Solve for x with x > 4 and give all of its values"),
        ("How good is this, by the stars that it got: ★★★", "How good is this, by the stars that it got: ★★★★"),
    ],
)
def test_one_sign_makes_another_problem(one: str, other: str):
    assert went(Deduplication(near=0.5)(pool((one, "As it is."), (other, "As it is.")))) == []


def test_two_solutions_of_one_long_problem_are_no_near_duplicates():
    problem, _ = story(12, 5)
    ways = [(problem, "Multiply hens by eggs."), (problem, "Add five eggs for each hen in turn.")]
    found = Deduplication()(pool(*ways))
    assert went(found) == [] and found.n_problems_with_several == 1
    assert found.solution_rows.tolist() == [0, 1] and found.solution_groups.tolist() == [0, 0]


def test_texts_shorter_than_a_shingle_are_told_apart_and_found_again():
    texts = [("Why?", "So."), ("How?", "So."), ("Why ?", "so"), ("Why?", "No."), ("★", "☆"), ("★!", "☆"), ("☆", "☆")]
    assert went(Deduplication()(pool(*texts))) == [(2, 0, "near"), (5, 4, "exact")]


def test_a_chain_does_not_make_one_of_its_ends():
    def said(*changed: int) -> tuple[str, str]:
        words = [f"{'changed' if n in changed else 'word'}{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(60)]
        return " ".join(words), "As told."

    a, b, c = said(), said(20), said(20, 40)
    found = Deduplication(near=0.88)(pool(a, b, c))
    assert went(found) == [(1, 0, "near")]  # c is like b only, and b went.
    assert went(Deduplication(near=0.88)(pool(b, a, c))) == [(1, 0, "near"), (2, 0, "near")]


def test_a_row_goes_for_the_most_similar_row_that_stays():
    def said(n: int) -> tuple[str, str]:
        return " ".join(
            f"{'other' if i < n else 'word'}{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(90)
        ), "So."

    found = Deduplication(near=0.8)(pool(said(0), said(12), said(8)))
    assert went(found) == [(2, 1, "near")]


def brute_force(table: Pool, *, size: int, least: float) -> dict[tuple[int, int], float]:
    """Every near-duplicate pair, by comparing all with all."""

    def runs(text: str) -> set[tuple[str, ...]]:
        found = words(text) or [text.strip()]
        return {tuple(found[i : i + size]) for i in range(max(1, len(found) - size + 1))}

    texts = [
        (runs(r.problem), runs(r.solution), r.context, mathematics(r.problem), mathematics(r.solution)) for r in table
    ]
    pairs: dict[tuple[int, int], float] = {}
    for (i, a), (j, b) in combinations(enumerate(texts), 2):
        if a[2:] == b[2:]:
            similarity = min(len(x & y) / len(x | y) for x, y in zip(a[:2], b[:2], strict=True))
            if similarity >= least:
                pairs[i, j] = similarity
    return pairs


@pytest.mark.parametrize("least", [0.6, 0.8, 0.95])
def test_near_duplicates_are_those_of_comparing_all_with_all(test_data: Path, least: float):
    names = ("svamp_train_pot_reft", "tal_scq5k_en_train", "p3_t0_sample")
    table = load_pool([test_data / "pool" / f"{name}.jsonl.gz" for name in names], on_bad_row="skip")
    part = table.take(np.arange(len(table))[-650:])
    pairs = brute_force(part, size=3, least=least)
    assert len(pairs) > 20
    found = Deduplication(near=least)(part)
    stays = set(found.kept_rows.tolist())
    missed = [pair for pair in pairs if stays.issuperset(pair)]
    assert len(missed) <= 0.01 * len(pairs)  # What the bands are made for, at the threshold; in fact none, see below.
    for gone, kept, reason in went(found):
        if reason == "near":
            similarity = found.similarity[found.rows == gone][0]
            assert similarity == pytest.approx(pairs[min(gone, kept), max(gone, kept)], abs=1e-6)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.9, 0.99, 1.0])
def test_bands_find_99_of_100_pairs_at_the_threshold(threshold: float):
    r = rows_in_band(threshold)
    if threshold >= 0.5:
        assert 1 - (1 - threshold**r) ** N_BANDS >= 0.99
    assert r % 2 == 0 and (threshold > 0.95 or 1 - (1 - threshold ** (r + 2)) ** N_BANDS < 0.99)


# What holds whatever the pool and the rules.

TEXTS = st.sampled_from(
    ["Why?", "why ?", "Why so?", story(3, 4)[0], story(3, 4, there="home")[0], story(3, 5)[0], "3 + 4", "3 - 4", "★"]
)
ROWS = st.lists(st.tuples(TEXTS, st.sampled_from(["So.", "so.", WORKED, WORKED + " Yes.", "★"])), max_size=14)
SETTINGS = st.fixed_dictionaries(
    {
        "near": st.sampled_from([None, 0.5, 0.8]),
        "numbers": st.sampled_from(["same", "any"]),
        "solutions": st.sampled_from(["keep", "collapse", 2]),
        "keep": st.sampled_from(["first", "longest", "shortest"]),
        "semantic": st.sampled_from([None, 0.0, 0.1]),
    }
)


def vectors(rows: Sequence[tuple[str, str]], seed: int) -> np.ndarray:
    """Few directions, so that many coincide or nearly do."""
    rng = np.random.default_rng(seed)
    few = rng.standard_normal((3, 4))
    return few[rng.integers(0, 3, len(rows))] + rng.choice([0, 0.2], (len(rows), 1)) * rng.standard_normal(
        (len(rows), 4)
    )


@given(ROWS, SETTINGS, st.integers(0, 99))
def test_what_stays_repeats_nothing_and_what_goes_repeats_what_stays(
    rows: list[tuple[str, str]], settings: dict[str, Any], seed: int
):
    method = Deduplication(**settings)
    table, x = pool(*rows), vectors(rows, seed)
    embeddings = None if method.semantic is None else x
    found = method(table, embeddings=embeddings)
    stays = found.kept_rows
    assert sorted([*stays, *found.rows]) == list(range(len(rows)))
    assert set(found.kept) <= set(stays.tolist())
    again = method(table.take(stays), embeddings=None if embeddings is None else x[stays])
    assert went(again) == []
    assert len(set(zip(found.groups.tolist(), found.kept.tolist(), strict=True))) == len(set(found.kept.tolist()))


@given(ROWS, st.randoms(use_true_random=False))
def test_which_texts_stay_of_equal_rows_does_not_depend_on_the_order(rows: list[tuple[str, str]], draw: Random):
    order = list(range(len(rows)))
    draw.shuffle(order)

    def kept(table: Pool) -> set[tuple[str, str]]:
        found = Deduplication(near=None)(table)
        return {(table[int(i)].problem.casefold().replace(" ", ""), table[int(i)].solution) for i in found.kept_rows}

    assert kept(pool(*rows)) == kept(pool(*(rows[i] for i in order)))


def test_how_the_table_is_cut_into_pieces_changes_nothing():
    rows = [story(3 + n % 5, 2, there=("there", "home")[n % 2]) for n in range(40)]
    whole = pool(*rows)
    pieces = Pool.from_rows(whole)
    pieces = Pool(pieces.table.__class__.from_batches(b for b in whole.table.to_batches(max_chunksize=3)))
    assert pieces.table["id"].num_chunks > whole.table["id"].num_chunks
    assert went(Deduplication()(pieces)) == went(Deduplication()(whole)) != []


def test_another_process_finds_the_same():
    code = """
import numpy as np, qads
from qads.clean.bands import Banding, band_keys
from qads.clean.keys import row_keys
rows = [qads.Row(id=str(n), source="s", problem=f"What is {n} times three?", solution=f"It is {3 * n}.") for n in range(9)]
pool = qads.Pool.from_rows(rows)
keys = row_keys(pool)
print(band_keys(pool, np.arange(9), keys.turns ^ keys.mathematics, Banding(threshold=0.8, size=3)).tolist(), keys.rows)
"""
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
