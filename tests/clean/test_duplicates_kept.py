"""Which row of a group stays, how many solutions of a problem, and what embeddings say; and what real data hold."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qads import Deduplication, Duplicates, load_pool
from qads.clean import exact_key
from qads.clean.keys import RowKeys, mathematics
from qads.clean.settling import REASONS, Standing
from qads.clean.solutions import most_different
from qads.errors import AlignmentError, InputError
from qads.kernels.distance import Points
from qads.kernels.radius import greedy_cover, nearest_within
from qads.pool import Pool, Row

LONG = "Count the apples in the first basket, then those in the second, and add the two numbers with care."


def pool(*rows: tuple[str, str, str]) -> Pool:
    """Source, problem and solution of each row."""
    return Pool.from_rows(Row(id=f"r{n}", source=s, problem=p, solution=a) for n, (s, p, a) in enumerate(rows))


def standing_of(problems: np.ndarray) -> Standing:
    """Rows of which no two are equal, preferred in their order."""
    n = len(problems)
    none = np.zeros(n, np.uint64)
    return Standing(RowKeys(np.arange(n), problems, none, none, np.zeros(n, np.int64)), np.arange(n))


def went(found: Duplicates) -> list[tuple[int, int, str]]:
    return list(zip(found.rows.tolist(), found.kept.tolist(), found.reasons.tolist(), strict=True))


# Which row stays.

GROUP = pool(("a", LONG, "So it is."), ("b", LONG + " Now.", "So it is!!"), ("c", LONG + " Then.", "so it is"))


@pytest.mark.parametrize(
    ("settings", "prefer", "stays"),
    [
        ({"keep": "first"}, None, 0),
        ({"keep": "longest"}, None, 1),
        ({"keep": "shortest"}, None, 2),
        ({"keep": "source", "sources": ("c", "b")}, None, 2),
        ({"keep": "source", "sources": ("b",)}, None, 1),
        ({"keep": "quality"}, [0.1, 0.3, 0.2], 1),
        ({"keep": "quality"}, [0.2, 0.1, 0.2], 0),
    ],
)
def test_the_stated_row_of_a_group_stays(settings: dict[str, Any], prefer: list[float] | None, stays: int):
    found = Deduplication(**settings)(GROUP, prefer=prefer)
    assert found.kept_rows.tolist() == [stays]
    assert set(found.kept.tolist()) == {stays} and set(found.groups.tolist()) == {0}


@pytest.mark.parametrize(
    ("settings", "given_", "message"),
    [
        ({"near": 0.0}, {}, "near is 0.0; it must be a Jaccard similarity"),
        ({"shingle": 0}, {}, "shingle is 0"),
        ({"semantic": 1.0}, {}, "semantic is 1.0"),
        ({"solutions": 0}, {}, "solutions is 0"),
        ({"solutions": "all"}, {}, "solutions is 'all'"),
        ({"numbers": "some"}, {}, "numbers is 'some'"),
        ({"keep": "best"}, {}, "keep is 'best'"),
        ({"sources": ("a",)}, {}, "belong together"),
        ({"keep": "source", "sources": ("aa",)}, {}, "'aa', which no row of the pool is from; did you mean 'a'"),
        ({"keep": "quality"}, {}, "prefer is missing"),
        ({}, {"prefer": [1.0, 2.0, 3.0]}, "prefer is given"),
        ({"keep": "quality"}, {"prefer": [1.0, np.nan, 3.0]}, "prefer of row 1 is not a number"),
        ({"semantic": 0.1}, {}, "embeddings are missing"),
        ({}, {"embeddings": np.ones((3, 2))}, "embeddings are given"),
        ({"semantic": 0.1}, {"embeddings": np.array([[1.0], [0.0], [1.0]])}, "the embedding of row 1 is zero"),
        ({"semantic": 0.1}, {"embeddings": np.ones(3)}, "they must be floats [n, d]"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    settings: dict[str, Any], given_: dict[str, Any], message: str, no_shape_checks
):
    with pytest.raises(InputError) as refused:
        Deduplication(**settings)(GROUP, **given_)
    assert message in str(refused.value)


@pytest.mark.parametrize("given_", [{"prefer": [1.0]}, {"embeddings": np.ones((2, 2))}])
def test_arrays_of_another_pool_are_refused(given_: dict[str, Any], no_shape_checks):
    settings: dict[str, Any] = {"keep": "quality"} if "prefer" in given_ else {"semantic": 0.1}
    with pytest.raises(AlignmentError):
        Deduplication(**settings)(GROUP, **given_)


def test_an_empty_pool_has_no_duplicates():
    found = Deduplication(solutions=1, semantic=0.1)(pool(), embeddings=np.empty((0, 3)))
    assert (len(found.rows), len(found.kept_rows), found.n_problems_with_several) == (0, 0, 0)


# Several solutions of one problem.

WAYS = [
    ("s", "How many is 3 times 4?", "Add four and four and four to get twelve."),
    ("s", "How many is 3 times 4?", "Add four and four and then four to get twelve."),
    ("s", "how many is 3 times 4", "Three rows of four chairs are a dozen chairs in the hall."),
    ("s", "How many is 3 times 5?", "Fifteen."),
]


def test_several_solutions_stay_unless_a_cap_is_asked_for():
    table = pool(*WAYS)
    every = Deduplication(near=None)(table)
    assert went(every) == [] and every.solution_rows.tolist() == [0, 1, 2]
    assert went(Deduplication(near=None, solutions="collapse")(table)) == [(1, 0, "solution"), (2, 0, "solution")]


def test_a_cap_keeps_the_solutions_that_differ_most():
    found = Deduplication(near=None, solutions=2)(pool(*WAYS))
    assert went(found) == [(1, 0, "solution")] and 0.4 < found.similarity[0] < 1
    assert found.n_problems_with_several == 1  # Counted before the cap.


def test_a_row_that_comes_back_over_the_cap_goes_for_the_solution_most_like_it():
    letters = [f"{one}{two}" for one in "abcdef" for two in "abcdefg"]
    near = letters[30:37]  # The third is most like the first, so the cap lets it go, and the fourth with it.
    ways = letters[:20], letters[:12] + letters[20:28], letters[:13] + near, letters[:11] + near
    table = pool(*(("s", "How many is 3 times 4?", " ".join(way)) for way in ways))
    assert went(Deduplication(shingle=1)(table)) == [(3, 2, "near")]
    found = Deduplication(shingle=1, solutions=2)(table)
    assert went(found) == [(2, 0, "solution"), (3, 0, "solution")]
    assert found.similarity.tolist() == pytest.approx([13 / 27, 11 / 27])


def test_a_row_that_comes_back_counts_against_the_cap_for_the_next():
    first, likest = "We add three and four and get seven at once.", "We add three and four and get eight at once."
    rows = pool(*(("s", LONG, text) for text in (first, "Other words, all of them.", likest, likest + " Yes.")))
    standing = standing_of(np.zeros(4, np.int64))
    for row in (2, 3):
        standing._drop(row, (0, "near", 1.0))
    standing._drop(0, (1, "near", 1.0))
    standing.cap_solutions(rows, 2, size=1)
    assert standing.is_kept.tolist() == [False, True, True, False], "2 comes back, 3 is one too many"
    assert (standing.kept_for[3], standing.reason[3]) == (2, REASONS.index("solution"))


def test_rows_of_many_problems_that_are_looked_at_again_go_for_the_row_of_their_own():
    n_problems, n = 50, 1000
    problems = np.concatenate([np.repeat(np.arange(n_problems), 3), n_problems + np.arange(n - 3 * n_problems)])
    rows = pool(*(("s", LONG, f"Way {k % 3}.") for k in range(3 * n_problems)))
    standing = standing_of(problems)
    for row in range(0, 3 * n_problems, 3):  # The second row went for the first, and that for the third.
        standing._drop(row + 1, (row, "near", 1.0))
        standing._drop(row, (row + 2, "near", 1.0))
    standing.cap_solutions(rows, 1, size=1)
    assert standing.kept_for[: 3 * n_problems : 3].tolist() == list(range(2, 3 * n_problems, 3))
    assert standing.kept_for[1 : 3 * n_problems : 3].tolist() == list(range(2, 3 * n_problems, 3))


def test_the_same_question_with_other_wrong_options_is_one_problem():
    asked = "What is 3 + 4?\nOptions:\n(A) {}\n(B) {}\n(C) {}"
    rows = [
        Row(id="a", source="s", problem=asked.format(7, 8, 9), solution="3 + 4 = 7. The answer is (A).", answer="A"),
        Row(id="b", source="s", problem=asked.format(1, 7, 2), solution="3 + 4 = 7. The answer is (B).", answer="B"),
        Row(id="c", source="s", problem=asked.format(1, 5, 7), solution="Seven. (C)", answer="C"),
        Row(id="d", source="s", problem=asked.format(1, 5, 2), solution="None is right.", answer="A"),
    ]
    table = Pool.from_rows(rows)
    assert went(Deduplication()(table)) == []
    assert Deduplication(solutions="collapse")(table).kept_rows.tolist() == [0, 3]


@given(st.lists(st.text("ab ", min_size=1, max_size=9), min_size=2, max_size=7, unique=True), st.integers(1, 6))
def test_each_further_solution_is_the_farthest_from_those_before(texts: list[str], k: int):
    from qads.clean.shingles import jaccard, shingles

    k = min(k, len(texts) - 1)
    chosen, likest, likeness = most_different(texts, k, size=1)
    sets = [shingles(text, 1) for text in texts]
    assert chosen[0] == 0 and len(set(chosen)) == k
    for before, pick in zip(range(1, k), chosen[1:], strict=True):
        nearest = [max(jaccard(each, sets[c]) for c in chosen[:before]) for each in sets]
        others = [nearest[n] for n in range(len(texts)) if n not in chosen[:before]]
        assert nearest[pick] == min(others)
    for each, like, how_much in zip(sets, likest, likeness, strict=True):
        assert how_much == jaccard(each, sets[like]) == max(jaccard(each, sets[c]) for c in chosen)


# Embeddings.


def test_the_greedy_cover_is_that_of_a_plain_loop_over_blocks_of_any_size():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 6))[rng.integers(0, 40, 5000)] + 0.05 * rng.standard_normal((5000, 6))
    order, radius = rng.permutation(5000), 0.002
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    kept: list[int] = []
    for row in order:
        if not kept or (0.5 * np.square(unit[kept] - unit[row]).sum(axis=1)).min() > radius:
            kept.append(int(row))
    near, distances = greedy_cover(Points(x, cosine=True), order, radius)
    assert order[near < 0].tolist() == kept and 400 < len(kept) < 4000
    gone = near >= 0
    assert set(near[gone]) <= set(kept)
    direct = 0.5 * np.square(unit[order[gone]] - unit[near[gone]]).sum(axis=1)
    np.testing.assert_allclose(distances[gone], direct, atol=1e-12)
    assert (distances[gone] <= radius).all() and (distances[~gone] == 0).all()


def test_the_nearest_within_a_radius_is_the_first_of_equally_near_ones():
    x = Points(np.array([[1.0, 0], [0, 1], [2, 0], [1, 1]]), cosine=True)
    near, distances = nearest_within(np.array([[1.0, 0], [-1, 0]]), x, np.array([1, 2, 0, 3]), 0.2)
    assert near.tolist() == [2, -1] and distances.tolist() == [0, 0]


def test_rows_whose_embeddings_nearly_coincide_go_for_the_nearest():
    rows = pool(*(("s", f"Problem number {n} about {w}?", f"{w}.") for n, w in enumerate("abc")))
    x = np.array([[1.0, 0.0], [1.0, 0.3], [1.0, 0.28]], np.float16)
    found = Deduplication(semantic=0.01)(rows, embeddings=x)
    assert went(found) == [(2, 1, "semantic")] and found.similarity[0] > 0.999


def test_a_row_comes_back_when_the_one_it_went_for_goes():
    near = [("s", LONG, "So it is."), ("s", LONG + " Now.", "So it is."), ("s", "Another problem altogether?", "Yes.")]
    x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.01]])
    table = pool(near[2], *near[:2])  # The last is near its neighbour in words, which is near the first in meaning.
    found = Deduplication(semantic=0.01)(table, embeddings=x[[2, 0, 1]])
    assert went(found) == [(1, 0, "semantic")]
    asked: list[list[int]] = []

    def embed(rows: np.ndarray) -> np.ndarray:
        asked.append(rows.tolist())
        return x[[2, 0, 1]][rows]

    assert went(Deduplication(semantic=0.01)(table, embeddings=embed)) == [(1, 0, "semantic")]
    assert asked == [[0, 1], [0, 2]]


def test_progress_goes_forward_to_its_end():
    said: list[tuple[int, int]] = []
    Deduplication(semantic=0.1)(GROUP, embeddings=np.eye(3), progress=lambda done, total: said.append((done, total)))
    assert {total for _, total in said} == {9} and all(a <= b for (a, _), (b, _) in pairwise(said))
    assert said[-1][0] <= 9


# What is known of the real data.


def read(folder: Path, *names: str) -> Pool:
    return load_pool([folder / "pool" / f"{name}.jsonl.gz" for name in names], on_bad_row="skip")


def test_the_svamp_files_hold_several_solutions_and_lose_none_of_their_questions(test_data: Path):
    table = read(test_data, "svamp_train_cot_reft", "svamp_train_pot_reft")
    ways: dict[str, set[str]] = defaultdict(set)
    for each in table:
        ways[exact_key(each.problem)].add(each.solution.strip())
    several = sum(len(solutions) > 1 for solutions in ways.values())
    found = Deduplication(near=None)(table)
    assert found.n_problems_with_several == several > 2500  # The files share 2822 questions, some of them as 7 and 7.0.
    collapsed = Deduplication(near=None, solutions="collapse")(table)
    assert len(collapsed.kept_rows) == len(ways)
    near = table.take(Deduplication()(table).kept_rows)
    lost = len(ways) - len({exact_key(problem) for problem in near.strings("problem")})
    assert lost <= 0.02 * len(ways)  # The same question with a word changed, and the same solution.


def test_questions_of_tal_repeat(test_data: Path):
    found = Deduplication()(read(test_data, "tal_scq5k_en_train"))
    assert 220 <= len(found.rows) <= 300
    assert found.n_by_reason["exact"] > found.n_by_reason["near"] > 0


def test_questions_of_aqua_repeat_with_other_options(test_data: Path):
    table = read(test_data, "aqua_rat_flan")
    kept, collapsed = Deduplication()(table), Deduplication(solutions="collapse")(table)
    assert len(kept.rows) < 60 < 400 < len(collapsed.rows) < 578


@pytest.mark.parametrize("name", ["gsm8k_train", "alpaca_5k"])
def test_sets_that_repeat_next_to_nothing_lose_next_to_nothing(test_data: Path, name: str):
    table = read(test_data, name)
    found = Deduplication()(table)
    assert len(found.rows) <= 0.001 * len(table)


def test_problems_of_one_template_stay(test_data: Path):
    table = read(test_data, "tabmwp_pot").take(np.arange(2000))
    found, any_numbers = Deduplication(near=0.6)(table), Deduplication(near=0.6, numbers="any")(table)
    assert 0 < 2 * len(found.rows) < len(any_numbers.rows)
    numbers = [mathematics(table[int(row)].problem) for row in (*found.rows, *found.kept)]
    assert numbers[: len(found.rows)] == numbers[len(found.rows) :]
