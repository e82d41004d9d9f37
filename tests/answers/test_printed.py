"""Lines that programs print: the answer where there is one, and nothing that would make a wrong one right."""

from __future__ import annotations

import time

import pytest

from qads.answers import printed_answer, same_answer

OPTIONS = ("41", "42", "2*sqrt(3)", "3", "None")


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        # As they stand.
        ("42", "42"),
        ("-1,250.50", "-1,250.50"),
        ("42 apples", "42 apples"),
        ("[1, 2]", "[1, 2]"),
        ("2*sqrt(3)", "2*sqrt(3)"),
        ("x = 42", "x = 42"),
        ("y = 3*x + 2", "y = 3*x + 2"),
        ("Matrix([[1, 2]])", "Matrix([[1, 2]])"),
        ("Tuesday", "Tuesday"),
        # Sentences.
        ("The answer is 42", "42"),
        ("'The answer is 42'", "42"),
        ("Answer: 42", "42"),
        ("#### 42", "42"),
        ("She has 42 apples.", "42"),
        ("Total cost: $42", "$42"),
        ("x: 42", "42"),
        ("total_cost = 42", "42"),
        ("The total cost of 5 apples is $42.50.", "$42.50"),
        ("He pays about $1,250 in total", "$1,250"),
        ("The probability is 3/4.", "3/4"),
        ("Area = 16*pi", "16*pi"),
        ("The roots are 1 and 2", "1 and 2"),
        ("The day is Tuesday", "Tuesday"),
        ("There is no solution", "no solution"),
        # Of a solver.
        ("{x: 42}", "42"),
        ("[{x: 42}]", "42"),
        ("[{x_1: 1/2 + sqrt(5)/2}]", "1/2 + sqrt(5)/2"),
        ("{f(x): 42}", "42"),
        ("{'apples': 42}", "42"),
    ],
)
def test_a_line_has_the_answer_that_it_says(line: str, answer: str) -> None:
    assert printed_answer(line) == answer


@pytest.mark.parametrize(
    "line",
    ["None", "nan", "NaN", "", " ", "[]", "{}", "()", "set()", "EmptySet", "[None]", "The answer is None.", "{x: nan}"],
)
def test_what_says_that_there_is_none_is_no_answer(line: str) -> None:
    assert printed_answer(line) is None


@pytest.mark.parametrize(
    ("line", "reference"),
    [
        # Several things are said, none as the answer.
        ("She has 42 apples and 7 pears.", "42"),
        ("She has 42 apples and 7 pears.", "7"),
        ("She is 42 years old and her sister is 7.", "7"),
        ("Apples: 42, Pears: 7", "7"),
        ("Time: 2 hours 30 minutes", "30"),
        ("2 hours 30 minutes", "30"),
        ("{x: 40, y: 2}", "2"),
        ("[{x: 1}, {x: 2}]", "2"),
        ("The roots are [1, 2]", "2"),
        ("theta is 1 or 2", "2"),
        # Roots, and how often each occurs.
        ("{42: 1}", "1"),
        ("{pi: 1}", "1"),
        # The number is part of another.
        ("The area is 16*pi", "16"),
        ("The area is 2*sqrt(3)", "3"),
        ("The ratio is 3:4", "4"),
        ("The value is 1.5e-05", "1.5"),
        ("She needs 2 * sqrt(42)", "42"),
        ("She has 42 and a half", "42"),
        ("She walks 42 pi", "42"),
        ("sin 30", "30"),
        ("pi / 4", "4"),
        # It is not said to be the answer, or to be none.
        ("x is greater than 42", "42"),
        ("The answer is not 42", "42"),
        ("It isn't 42", "42"),
        ("No solution found after 42 iterations", "42"),
        ("Error: invalid literal for int() with base 10", "10"),
        ("The answer is 43", "42"),
    ],
)
def test_no_wrong_answer_becomes_right(line: str, reference: str) -> None:
    assert not same_answer(printed_answer(line), reference, algebra=None)


@pytest.mark.parametrize(
    ("line", "letter", "is_right"),
    [
        ("The answer is (B)", "B", True),
        ("The correct option is: B", "B", True),
        ("Closest: (B)", "B", True),
        ("B) 42", "B", True),
        ("42", "B", True),
        ("The answer is 42", "B", True),
        ("She has 42 apples", "B", True),
        ("None", "E", True),
        ("The answer is C", "B", False),
        ("The area is 2*sqrt(3)", "D", False),
        ("(A) and (B)", "B", False),
        ("The options are (A) 41 and (B) 42", "B", False),
        ("nan", "B", False),
    ],
)
def test_of_multiple_choice_a_line_names_an_option_or_its_text(line: str, letter: str, is_right: bool) -> None:
    found = printed_answer(line, options=OPTIONS)
    assert bool(same_answer(found, letter, options=OPTIONS, algebra=None)) == is_right


@pytest.mark.parametrize("piece", ["a ", "is ", ": ", "{x:", "= ", "a1 ", "[", "'", "answer is "])
def test_no_line_takes_long(piece: str) -> None:
    start = time.process_time()
    printed_answer(piece * 20_000)
    printed_answer("[{x: " + piece * 20_000)
    printed_answer("Total " + piece * 20_000, options=("1", "2"))
    assert time.process_time() - start < 5
