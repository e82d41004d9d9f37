"""Steps are counted by a stated rule, and no character of a solution is lost."""

from __future__ import annotations

import time
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qads import Pool, Row
from qads.analyze import split_steps
from qads.analyze.texts import measure_texts


def n_steps(text: str, kind: str = "cot") -> int:
    return sum(piece.is_step for piece in split_steps(text, kind))


@given(st.text(alphabet="ab1.!? \n$#=\"'(\\", max_size=80), st.sampled_from(["cot", "pot"]))
def test_the_segments_are_the_solution(text: str, kind: str):
    assert "".join(piece.text for piece in split_steps(text, kind)) == text


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("", 0),
        ("...", 0),
        ("#### 42", 0),
        ("The answer is (C).", 0),
        ("Therefore, the answer is <42>.", 0),
        ("the correct answer is answer2", 0),
        ("Add the two. That makes 7.", 2),
        ("He has 3 + 4 = 7 apples\nand eats 2, so 5\n#### 5", 2),
        ("It costs 3.50 dollars. So 7 for two.", 2),
        ("Mr. Brown has 2. Mrs. Green has 3.", 2),
        ("1. Count them.\n2. Add 3.\n3. Done.", 3),
        ("We have $x = 2.$ Then $y = 3.$", 2),
        ("One line\n\n\nanother line", 2),
    ],
)
def test_steps_of_texts(text: str, steps: int):
    assert n_steps(text) == steps


@pytest.mark.parametrize(
    ("program", "steps"),
    [
        ("a = 1\nb = 2\nprint(a + b)", 3),
        ('def solution():\n    """Two\n    lines."""\n    a = 1\n    return a', 2),
        ("import math\nfrom math import pi\n# radius\nr = 2\n", 1),
        ("print(\n    1\n)\n", 2),
        ("", 0),
    ],
)
def test_steps_of_programs(program: str, steps: int):
    assert n_steps(program, "pot") == steps


def test_equations_are_lone_signs_of_equality():
    texts = ["a = 1, b = 2", "if a == b and c <= d != e: f += 1", "x := 3 => y", "no", "$a=b=c$"]
    pool = Pool.from_rows(Row(id=str(i), source="s", problem="?", solution=text) for i, text in enumerate(texts))
    found = measure_texts(pool)
    assert found.equations.tolist() == [2, 0, 0, 0, 2]
    assert found.words.tolist() == [6, 13, 5, 1, 1]


@pytest.mark.parametrize("piece", [" ", "\n", ". ", "'''", '"""', "1. ", "#", "\\\\", "the answer is ", "=", "\t."])
def test_a_long_text_of_one_piece_takes_no_long_time(piece: str):
    began = time.process_time()
    for kind in ("cot", "pot"):
        split_steps(piece * 30_000 + "x", kind)
    assert time.process_time() - began < 5  # Half a second at most; a pattern that backtracks would take hours.


def test_a_program_is_never_run_nor_compiled():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert n_steps('"\\d"\nraise SystemExit', "pot") == 2


@pytest.mark.parametrize("text", ["1.\n" + "(\n" * 40_000, "1. " + "(! " * 40_000])
def test_a_number_in_a_list_and_no_word_after_it_take_no_time(text: str):
    began = time.process_time()
    assert "".join(piece.text for piece in split_steps(text)) == text
    assert time.process_time() - began < 5  # Minutes, if every border read the piece from its beginning.
