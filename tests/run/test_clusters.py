"""Which rows of a sample give each other away."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

import qads
from qads.run.clusters import near_duplicates

STORY = (
    "A gardener plants rows of tulips along the northern wall, waters them every second morning before breakfast, and "
    "counts in the evening how many of them have opened. How many are open after a week of {} days of sun?"
)
ANSWER = "Every sunny day opens {} tulips, and on the last one the gardener counts them all along the northern wall."


def row(name: str, problem: str, solution: str) -> qads.Row:
    return qads.Row(id=name, source="s", problem=problem, solution=solution)


def clusters(*rows: qads.Row) -> list[int]:
    """The clusters, numbered as they appear."""
    found = near_duplicates(qads.Pool.from_rows(rows)).tolist()
    return [list(dict.fromkeys(found)).index(number) for number in found]


def test_rows_of_one_problem_are_together_however_they_are_solved():
    assert clusters(
        row("a", "What is 2 + 3?", "2 + 3 = 5."),
        row("b", "What is 7 + 3?", "Count on from seven: ten."),
        row("c", "what is 2+3 ?", "Five, since three after two is five."),
    ) == [0, 1, 0]


def test_near_duplicates_are_together_whatever_their_numbers():
    assert clusters(
        row("a", STORY.format(3), ANSWER.format(4)),
        row("b", "How far does a train go in an hour?", "It goes forty miles."),
        row("c", STORY.format(6), ANSWER.format(9)),
        row("d", STORY.format(6), "Nobody knows, since tulips open as they like and the sun has little to do with it."),
    ) == [0, 1, 0, 0]


def test_what_is_chained_is_one_cluster():
    # a and c are one problem; c and b are near duplicates; a and b are neither.
    assert clusters(
        row("a", STORY.format(3), "None of them."),
        row("b", STORY.format(8), ANSWER.format(9)),
        row("c", STORY.format(3), ANSWER.format(4)),
    ) == [0, 0, 0]


def test_rows_that_share_nothing_are_each_their_own():
    words = ["apples", "rivers", "candles", "ladders", "buttons"]
    assert clusters(*(row(word, f"Count the {word}.", f"There are many {word}.") for word in words)) == [0, 1, 2, 3, 4]
    assert clusters(row("a", "One?", "One.")) == [0]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("wxyz")), min_size=1, max_size=12), st.randoms())
def test_clusters_do_not_depend_on_the_order_of_the_rows(made: list[tuple[str, str]], draw: object):
    pool = qads.Pool.from_rows(row(str(i), f"Problem {p}", f"Solution {s}") for i, (p, s) in enumerate(made))
    order = list(range(len(made)))
    draw.shuffle(order)  # type: ignore[attr-defined]
    there, here = near_duplicates(pool), near_duplicates(pool.take(order))
    for i, first in enumerate(order):
        for j, second in enumerate(order):
            assert (there[first] == there[second]) == (here[i] == here[j])
            assert there[first] == there[second] or made[first][0] != made[second][0]
