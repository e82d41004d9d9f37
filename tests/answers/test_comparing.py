r"""Which answers are the same, and which are not."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qads.answers import read_number, right_option, same_answer, same_number

OPTIONS = ("12 km", "0.5", r"\frac{3}{4}", "none of these")


@pytest.mark.parametrize(
    ("found", "reference", "how"),
    [
        ("42", "42", "text"),
        ("The quick fox", "quick fox", "text"),
        (r"\text{Evelyn}", "Evelyn", "text"),
        (r"\dfrac{1}{2}", r"\frac12", "text"),
        ("52_8", "52_{8}", "text"),
        ("3:30 p.m.", "3:30 PM", "text"),
        ("1,250", "1250", "number"),
        ("$1,250.00", "1250", "number"),
        ("Rs. 40", "40", "number"),
        ("21.0", "21", "number"),
        ("-7", "−7", "text"),
        (".5", "0.5", "number"),
        ("1/3", "0.33", "number"),
        ("3.3333", "3.33", "number"),
        ("2 1/2", "2.5", "number"),
        (r"2\frac{1}{2}", "5/2", "number"),
        ("1.5e3", "1500", "number"),
        (r"1.5 \times 10^{3}", "1500", "number"),
        ("12%", "12", "number"),
        ("0.12", r"12\%", "number"),
        ("18 apples", "18", "number"),
        (r"15\text{ cm}^2", "15", "number"),
        ("15 square cm", r"15\text{ cm}^2", "number"),
        ("15 sq. ft", "15 ft²", "number"),
        ("15 cm2", "15 cm squared", "number"),
        ("3 million dollars", "$3,000,000", "number"),
        ("1.2346e8", "123456789", "number"),
        ("1234.6", "1234.57", "number"),
        ("**18**", "18", "text"),
        ("that she has 7 apples left", "7", "number"),
        ("she earns 3 million dollars", "3000000", "number"),
        ("the total is $40", "40", "number"),
        ("2 hundred thousand", "200000", "number"),
        ("**$18**", "18", "text"),
        (r"90^\circ", "90", "number"),
        ("5 + 3 = 8", "8", "number"),
        ("x = 5", "5", "number"),
        ("f(2) = 4 + 3 = 7", "7", "number"),
        ("<203>", "203.0", "number"),
        ("3, 5, 7", "7, 3 and 5", "parts"),
        ("[2, 3]", "2, 3", "parts"),
        ("(0.5, 3)", r"\left(\frac{1}{2}, 3\right)", "parts"),
        (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}", "algebra"),
        ("-20*x", "-20x", "algebra"),
        ("(x+1)(x-1)", "x^2-1", "algebra"),
        ("2*sqrt(3)", r"2\sqrt{3}", "algebra"),
        (r"(-\infty, 3]", r"x \le 3", "algebra"),
    ],
)
def test_answers_that_are_the_same(found: str, reference: str, how: str) -> None:
    assert same_answer(found, reference).how == how


@pytest.mark.parametrize(
    ("found", "reference"),
    [
        (None, "4"),
        ("", "4"),
        ("4", "5"),
        ("10000", "10001"),
        ("0.34", "0.33"),
        ("0.1", "0.12"),
        ("5 cm", "5 km"),
        ("6 cm^2", "6 cm"),
        ("6 cm²", "6 cm³"),
        ("18 million dollars", "18"),
        ("3", "3 thousand"),
        ("5 squared", "5"),
        ("7 below zero", "7"),
        ("10,000.9", "10000"),
        ("250000.25", "250001"),
        ("7 apples and 3 pears", "7"),
        ("more than 7 apples", "7"),
        ("that it is not 7", "7"),
        ("negative 7", "7"),
        ("the square root of 7", "7"),
        ("divisible by 7", "7"),
        ("ten times 7", "7"),
        ("the sum of 2 and 3", "2, 3"),
        ("she has 18 million dollars", "18"),
        ("that it takes 5 minutes", "5 hours"),
        ("the area is 6 cm²", "6 cm"),
        ("2 hundred thousand", "200"),
        ("7 degrees below zero", "7"),
        ("3x", "3"),
        ("2i", "2"),
        ("3 or 4", "3"),
        ("1, 2", "12"),
        ("(1, 2)", "(2, 1)"),
        ("(1, 2)", "[1, 2]"),
        ("52_8", "52"),
        ("x + 2y - 9 = 0", "0"),
        ("2x = 6", "6"),
        ("x + 1", "x - 1"),
        ("1/0", "0"),
        ("Monday", "Tuesday"),
        ("yes", "no"),
        (r"\frac{1}{0}", "0"),
        ("__import__('os').getcwd()", "4"),
    ],
)
def test_answers_that_are_not(found: str | None, reference: str) -> None:
    assert not same_answer(found, reference)


@pytest.mark.parametrize(
    "found",
    ["C", "(c)", "C.", r"\text{(C)}", "option C", "**C**", "C) 3/4", "3/4", "0.75", "$C$", "that she gets 3/4 of it"],
)
def test_an_option_is_named_by_its_letter_or_its_text(found: str) -> None:
    assert same_answer(found, "C", options=OPTIONS)
    assert not same_answer(found, "B", options=OPTIONS)


@pytest.mark.parametrize("found", ["E", "a dozen", "12 miles", "13", "Both A and C"])
def test_what_names_no_option_is_none(found: str) -> None:
    assert not any(same_answer(found, letter, options=OPTIONS) for letter in "ABCD")


def test_a_text_that_two_options_have_names_neither() -> None:
    assert same_answer("square root of 5", "A", options=("square root of 5", "5", "6"))
    assert not same_answer("7", "A", options=("7", "7.0", "8"))


def test_a_letter_counts_where_the_options_are_unknown() -> None:
    assert same_answer("Option B", "B") and not same_answer("Option B", "C")


NUMBERS = st.fractions(min_value=-(10**6), max_value=10**6, max_denominator=999)


@given(NUMBERS)
def test_a_number_is_itself_however_it_is_written(number) -> None:
    written = [
        f"{number}",
        f"${number}$",
        rf"\frac{{{number.numerator}}}{{{number.denominator}}}",
        f"x = {number} units",
    ]
    for text in written:
        found = read_number(text.removeprefix("x = "))
        assert found is not None and found.value == number
        assert same_answer(text, str(number), algebra=None)


@given(st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9))
def test_whole_numbers_are_the_same_if_they_are_equal(a: int, b: int) -> None:
    one, other = read_number(f"{a:,}"), read_number(str(b))
    assert one is not None and other is not None
    assert same_number(one, other) == (a == b)


@given(st.decimals(min_value=0, max_value=10**4, places=4))
@example(Decimal("6.9950"))  # Rounded it is 7.00, a whole number.
def test_rounding_to_two_decimals_keeps_an_answer(value) -> None:
    if value >= 1:
        assert same_answer(f"{value:.2f}", str(value), algebra=None)


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_texts_can_be_compared(found: str, reference: str) -> None:
    assert same_answer(found, reference, algebra=None).is_same in (True, False)
    if found.strip():
        assert same_answer(found, found, algebra=None)


@pytest.mark.parametrize(
    "part", ["1", ",", "(", "[1,", "m ", "1/", "e", "%", "$", "\\frac{", "a-", "1 1/", "=", "and "]
)
def test_no_text_takes_long(part: str) -> None:
    began = time.process_time()
    for text in (part * 60, part * 20_000, "5 " + part * 59):
        same_answer(text, "5", algebra=None)
        same_answer("5", text, algebra=None)
    assert time.process_time() - began < 5  # A tenth of a second at most.


@pytest.mark.parametrize(
    ("one", "other"), [("1 2", "12"), ("5 cm", "5 m"), ("12:30", "12:30 pm"), ("3 kg", "3 g"), ("5 m", "5 h")]
)
def test_what_tells_two_answers_apart_is_not_dropped(one: str, other: str) -> None:
    assert not same_answer(one, other)
    assert not same_answer(other, one)
    assert same_answer(one, f" {one}. ")


@pytest.mark.parametrize(
    ("one", "other"), [("x + 1", "x+1"), ("(1, 2)", "(1,2)"), ("5 apples", "5apples"), ("12:30pm", "12:30 p.m.")]
)
def test_a_space_that_tells_nothing_apart_does_not_count(one: str, other: str) -> None:
    assert same_answer(one, other, algebra=None)


@pytest.mark.parametrize("unit", ["m", "g", "s", "m^2", "m squared"])
def test_a_unit_of_one_letter_stands_after_a_space(unit: str) -> None:
    assert same_answer(f"5 {unit}", "5", algebra=None)
    assert same_answer(rf"5\text{{ {unit}}}", "5", algebra=None)
    assert not same_answer(f"5 {unit}", "6", algebra=None)


@pytest.mark.parametrize("other", ["5 x", "5 n", "5x", "5 k"])
def test_a_letter_that_is_no_unit_makes_another_number_of_it(other: str) -> None:
    assert not same_answer(other, "5")


@pytest.mark.parametrize(
    ("found", "reference", "same"),
    [
        (r"1.6 \times 10^{-19}", r"9.9 \times 10^{-19}", False),
        (r"1.60001 \times 10^{-19}", "1.6e-19", True),
        ("2e-12", "1e-12", False),
        ("0", "1e-12", False),
        ("5.551115123125783e-17", "0", True),  # 0.1 + 0.2 - 0.3, of a program.
        ("-1e-10", "0.00", True),
        ("1e-8", "0", False),
    ],
)
def test_a_small_number_is_another_unless_rounding_left_it_of_zero(found: str, reference: str, same: bool) -> None:
    assert bool(same_answer(found, reference)) == same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("60 degrees", r"60^\circ"), ("40 °C", "40 degrees Celsius"), ("5 inches", "5 inch"), ("3 boxes", "3 box"),
        ("5 buses", "5 bus"), ("5 houses", "5 house"), ("5 headaches", "5 headache"), ("5 glasses", "5 glass"),
        ("5 pennies", "5 penny"), ("5 feet", "5 ft"), ("5 cm", "5 centimeters"), ("5 metres", "5 m"),
        ("60 mph", "60 miles per hour"), ("60 km/h", "60 kilometers per hour"), ("5 in^2", "5 square inches"),
        ("5 in", "5 inches"), ("12 hrs", "12 hours"),
    ],
)  # fmt: skip
def test_names_of_a_unit_are_one_unit(one: str, other: str) -> None:
    assert same_answer(one, other) and same_answer(other, one)
    assert same_answer(one, one.split()[0]) and not same_answer(one, "6 " + other.split(maxsplit=1)[-1])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("50 cents", r"\$50"), ("50 cents", "$50"), ("£5", "$5"), (r"\$5", "€5"), ("Rs. 5", "$5"), ("$5", "5 hours"),
        ("the total is £5", "$5"), ("5 ft", "5 ft^2"), ("5 in", "5 cm"), ("60 mph", "60 km/h"),
    ],
)  # fmt: skip
def test_a_currency_or_another_unit_tells_two_answers_apart(one: str, other: str) -> None:
    assert not same_answer(one, other) and not same_answer(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("$5", "5"), (r"\$5", "5"), ("$5", "5 dollars"), (r"\$5", "5 dollars"), ("USD 5", "$5"), ("$5", "$5$"),
        ("$5 per hour", "5 dollars per hour"), ("$5", "5 each"), ("$5", "5 in all"), ("Rs. 5", "5 rupees"),
        ("$0.50 cents", "$0.50"), (r"$5\text{ cm}", "5 cm"), ("x = $5", r"\$5"),
    ],
)  # fmt: skip
def test_a_currency_may_be_left_out_or_spelt(one: str, other: str) -> None:
    assert same_answer(one, other) and same_answer(other, one)


def test_the_right_option_is_named_by_its_letter_or_by_a_text_that_is_its_own() -> None:
    assert [right_option(text, OPTIONS) for text in ("B", "(d)", "0.75", "12 km")] == [1, 3, 2, 0]
    assert [right_option(text, OPTIONS) for text in ("13", "E", "12")] == [None, None, 0]
    assert right_option("7", ("7", "7.0", "8")) is None
