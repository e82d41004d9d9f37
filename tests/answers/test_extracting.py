"""What a solution states as its final answer."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qads.answers import extract_answer


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        ("3 + 4 = 7\n#### 7", "7"),
        ("3 + 4 = 7\n####7  \n\n", "7"),
        ("#### 1\nno, wrong\n#### -1,250.5", "-1,250.5"),
        ("#### 18\nThe answer is: 18", "18"),
        (r"Thus $\boxed{x+1}$.", "x+1"),
        (r"First \boxed{1}, then \boxed{\frac{a}{b_{2}}}", r"\frac{a}{b_{2}}"),
        (r"So \boxed{\{1, 2\}} it is", r"\{1, 2\}"),
        (r"Hence \boxed{\left\{ x \right.}", r"\left\{ x \right."),
        (r"which is $\boxed 9$.", "9"),
        (r"Done: \fbox{12}", "12"),
        ("Therefore the answer is 42.", "42"),
        ("The final answer is: $3.5$", "3.5"),
        ("The answer is 5. So we are done.", "5"),
        ("Answer: (B)", "(B)"),
        ("The correct answer is answer2\n", "answer2"),
        ("the answer is:\n\n12", "12"),
        ("The answer is 3 at first. Yet\nthe answer is 4", "4"),
    ],
)
def test_a_stated_answer_is_found(solution: str, answer: str) -> None:
    assert extract_answer(solution) == answer


@pytest.mark.parametrize(
    "solution",
    [
        "",
        "no idea",
        "#### Step 1\nAdd the numbers.\n#### Step 2\nWrite them down in full.",
        "##### A heading",
        "####",
        r"an empty \boxed{}",
        r"never closed \boxed{1 + {2}",
        "The answer is .",
        "answers are hard",
    ],
)
def test_where_none_is_stated_there_is_none(solution: str) -> None:
    assert extract_answer(solution) is None


def test_the_mark_of_gsm8k_counts_before_a_box_and_a_box_before_words() -> None:
    assert extract_answer("the answer is 1, \\boxed{2}\n#### 3") == "3"
    assert extract_answer("\\boxed{2}, so the answer is 1") == "2"


@given(st.text(alphabet="ab1 {}\\$.#\n", max_size=60))
def test_an_answer_is_a_stripped_part_of_the_solution(text: str) -> None:
    for solution in (text, f"#### {text}", f"\\boxed{{{text}", f"The answer is {text}"):
        answer = extract_answer(solution)
        assert answer is None or (answer and answer == answer.strip() and answer in solution)


@pytest.mark.parametrize("filler", [" ", "\n", "#", "{", "answer is ", "\\boxed", ". ", "####\n"])
def test_a_solution_of_a_megabyte_takes_linear_time(filler: str) -> None:
    started = time.perf_counter()
    for end in ("x", "", "\n"):
        extract_answer("the answer is " + filler * (1_000_000 // len(filler)) + end)
    assert time.perf_counter() - started < 10
