"""What a solution states as its final answer."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qads.answers import extract_answer, find_answer, same_answer


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
        ("The answer is 18, since 9 * 2 = 18", "18"),
        ("The answer is B because 2 + 3 = 5.", "B"),
        ("The answer is 18, which is even.", "18"),
        ("The final answer is therefore 7.", "7"),
        ("The answer is approximately 7", "7"),
        ("The answer is **18**.", "18"),
        ("**Final answer: $18**", "18"),
        ("**The answer is 18.** Done", "18"),
        ("**Answer:** 18", "18"),
        ("#### **18**", "18"),
        ("The answer is __18__", "18"),
        ("The answer is 2**3 + 4**2", "2**3 + 4**2"),
        ("The answer is (-1)**n", "(-1)**n"),
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
        "The answer is obtained by adding: 3 + 4 = 7",
        "The answer is: obtained by adding: 3 + 4 = 7",
        "The answer is 4 at first.\nThe answer is computed so: 7 * 6 = 42",
        "So the answer is:\n\nComputed value: 7",
    ],
)
def test_where_none_is_stated_there_is_none(solution: str) -> None:
    assert extract_answer(solution) is None


@pytest.mark.parametrize("rest", ["a calculation, but a guess", "3.", "only a number", "(B)", "the sum"])
def test_what_the_answer_is_not_takes_nothing_back(rest: str) -> None:
    assert extract_answer(f"The answer is 4.\n\nThe answer is not {rest}") == "4"
    assert find_answer(f"The answer is 5. The answer is not {rest}", options=OPTIONS).text == "5"


def test_an_answer_may_begin_with_not() -> None:
    assert extract_answer("The answer is not defined") == "not defined"


def test_the_mark_of_gsm8k_counts_before_a_box_and_a_box_before_words() -> None:
    assert extract_answer("the answer is 1, \\boxed{2}\n#### 3") == "3"
    assert extract_answer("\\boxed{2}, so the answer is 1") == "2"


OPTIONS = ("4", "5", "6", "7", "8")


@pytest.mark.parametrize(
    "solution",
    [
        "Check choice A: 4 fails. The answer is 5.",
        "Option (A): 4 is too small. Option (C): 6 is not. The answer is 5.",
        "Answer Choices: (A) 4 (B) 5 (C) 6 (D) 7 (E) 8\nLet me see. 2 + 3 = 5. The answer is 5.",
        "The answer is **5**.",
        "The answer is 5. Hence, option B",
        "The answer is 7? No, option B is correct.",
        "Option B is correct. The answer is 5.",
        "Option B. The answer is obtained by adding.",
        "Option B is correct. The answer is 12.",
        "Option (B) is right, as the answer is what 2 + 3 comes to",
        "The answer is B because A is not correct.",
    ],
)
def test_of_multiple_choice_what_is_stated_last_counts_if_it_is_a_value_or_a_letter(solution: str) -> None:
    found = find_answer(solution, options=OPTIONS)
    assert found.where == "stated"
    assert same_answer(found.text, "B", options=OPTIONS)


@pytest.mark.parametrize(
    "solution", ["Check option B: too small. The answer is 7.", "Option (B): 5\n\nThe answer is \\boxed{7}"]
)
def test_an_option_that_was_only_looked_at_is_not_the_answer(solution: str) -> None:
    assert same_answer(find_answer(solution, options=OPTIONS).text, "D", options=OPTIONS)


@given(st.text(alphabet="ab1 {}\\$.#\n", max_size=60))
def test_an_answer_is_a_stripped_part_of_the_solution(text: str) -> None:
    for solution in (text, f"#### {text}", f"\\boxed{{{text}", f"The answer is {text}"):
        answer = extract_answer(solution)
        assert answer is None or (answer and answer == answer.strip() and answer in solution)


@pytest.mark.parametrize(
    "filler",
    [" ", "\n", "#", "{", "answer is ", "\\boxed", ". ", "####\n", "*", "** ", "**a", "__a", ", ", " thus", "since "],
)
def test_a_solution_of_a_megabyte_takes_linear_time(filler: str) -> None:
    started = time.perf_counter()
    for end in ("x", "", "\n"):
        extract_answer("the answer is " + filler * (1_000_000 // len(filler)) + end)
    assert time.perf_counter() - started < 10
