"""Laws of the demo pool and its anchors."""

import contextlib
import importlib
import io
import itertools
import math
import os
import random
import re
import subprocess
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest

from qads.demo import FLAWS, SKILLS, SOURCES, corpus, make_demo_anchors, make_demo_rows
from qads.demo.skills import SCENARIOS
from qads.demo.task import Draw, work, work_wrong
from qads.demo.words import ANCHOR_NAMES, POOL_NAMES

Row = dict[str, Any]
MATH_SOURCES = [source for source in SOURCES if source != "chatter"]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return make_demo_rows()


@pytest.fixture(scope="module")
def pools(rows: list[Row]) -> list[list[Row]]:
    return [rows, *(make_demo_rows(n_rows=n, seed=seed) for n, seed in ((1, 5), (7, 1), (333, 2), (6000, 3)))]


def flawed(rows: list[Row], flaw: str | None) -> list[Row]:
    return [row for row in rows if row["meta"]["flaw"] == flaw]


def normalised(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKC", text).casefold() if c.isalnum())


def n_words(text: str) -> int:
    return len(text.split())


def printed_by(program: str) -> str:
    """What a program prints when it can only print and import exact arithmetic."""

    def only_exact(name: str, *args: Any) -> Any:
        assert name in ("math", "fractions")
        return importlib.import_module(name)

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(program, {"__builtins__": {"print": print, "__import__": only_exact}})
    return out.getvalue().strip()


def stated_answer(row: Row) -> str:
    """The final answer as a reader of this style finds it."""
    solution = row["solution"]
    if row["meta"]["style"] == "program":
        return printed_by(solution)
    pattern = {
        "stepwise": r"#### (\S+)",
        "equations": r"\\boxed\{(\S+)\}",
        "explained": r"The answer is (\S+)\.",
        "forum": r"(\S+)",
    }[row["meta"]["style"]]
    found = re.search(pattern + r"\Z", solution)
    assert found, solution
    return found[1]


EQUATION = re.compile(r"((?:gcd|lcm)\(\d+, \d+\)|[(\d][\d ()+*/-]*) = (\d[\d./]*)")


def equations_of(solution: str) -> list[bool]:
    """Whether each `expression = value` of a solution holds, by exact arithmetic."""
    for symbol, plain in {r"\cdot": "*", r"\gcd": "gcd", r"\mathrm{lcm}": "lcm", "×": "*", "÷": "/"}.items():
        solution = solution.replace(symbol, plain)
    exact = {
        "F": Fraction,
        "gcd": lambda a, b: math.gcd(int(a), int(b)),
        "lcm": lambda a, b: math.lcm(int(a), int(b)),
    }
    return [
        eval(re.sub(r"\d+", r"F(\g<0>)", left), exact) == Fraction(right.rstrip("."))
        for left, right in EQUATION.findall(solution)
    ]


# --- the pool ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_rows", [1, 2, 7, 50, 333, 2000])
def test_pool_has_exactly_the_rows_asked_for(n_rows: int) -> None:
    rows = make_demo_rows(n_rows=n_rows, seed=4)
    assert [row["id"] for row in rows] == [f"demo-{i:05d}" for i in range(n_rows)]


@pytest.mark.parametrize("n", [0, -3])
def test_a_count_below_one_is_refused(n: int) -> None:
    with pytest.raises(ValueError, match=f"n_rows is {n}"):
        make_demo_rows(n_rows=n)
    with pytest.raises(ValueError, match=f"n_anchors is {n}"):
        make_demo_anchors(n_anchors=n)


def test_running_out_of_distinct_problems_is_an_error_and_not_a_repetition() -> None:
    class Nothing(corpus._Fresh):
        def accepts(self, problem: str) -> bool:
            return False

    draw = Draw(random.Random(0), POOL_NAMES)
    with pytest.raises(ValueError, match="no new problem of travel; ask for fewer rows"):
        corpus._fresh_problem(draw, Nothing(), "travel")


def test_same_seed_gives_same_rows_and_leaves_the_global_generator_alone(rows: list[Row]) -> None:
    before = random.getstate()
    assert make_demo_rows() == rows
    assert random.getstate() == before


def test_seeds_give_different_problems(rows: list[Row]) -> None:
    others = {row["problem"] for row in make_demo_rows(seed=1)}
    assert sum(row["problem"] in others for row in rows) < 0.05 * len(rows)


def test_rows_do_not_depend_on_hash_randomisation() -> None:
    program = (
        "import hashlib; from qads.demo import *;"
        "print(hashlib.sha256(repr([make_demo_rows(n_rows=99), make_demo_anchors()]).encode()).hexdigest())"
    )
    digests = {
        subprocess.check_output([sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_rows_have_the_pool_schema_and_no_empty_text(pools: list[list[Row]]) -> None:
    for row in itertools.chain(*pools, make_demo_anchors()):
        assert list(row) == ["id", "source", "problem", "solution", "answer", "kind", "meta"]
        assert list(row["meta"]) == ["skill", "style", "flaw", "truth"]
        assert row["source"] in SOURCES
        assert row["kind"] in ("cot", "pot", "general", "answer-only")
        assert row["problem"].strip() and row["solution"].strip() and row["answer"] != ""
        assert not re.search(r"\{(?!lcm)[a-z]", f"{row['problem']} {row['solution']}"), "a slot was not filled"


def test_texts_are_short(pools: list[list[Row]]) -> None:
    for row in itertools.chain(*pools):
        assert n_words(row["problem"]) <= 60
        assert n_words(row["solution"]) <= 90, row["solution"]


def test_no_vowel_follows_the_article_a(pools: list[list[Row]]) -> None:
    for row in itertools.chain(*pools):
        if row["meta"]["style"] != "program":
            assert not re.search(r"\ba [aeio]", f"{row['problem']} {row['solution']}", re.IGNORECASE), row


def test_flaws_have_their_shares(pools: list[list[Row]]) -> None:
    for rows in pools:
        counts = Counter(row["meta"]["flaw"] for row in rows)
        assert set(counts) <= {None, *FLAWS}
        assert all(abs(counts[flaw] - share * len(rows)) <= 0.5 for flaw, share in FLAWS.items())


def test_source_does_not_tell_the_flaw(rows: list[Row]) -> None:
    for source in MATH_SOURCES:
        share = sum(row["meta"]["flaw"] is not None for row in rows if row["source"] == source)
        share /= sum(row["source"] == source for row in rows)
        assert 0.18 < share < 0.34, source


def test_flaws_are_not_bunched_together(rows: list[Row]) -> None:
    for flaw in FLAWS:
        quarters = Counter(4 * int(row["id"][5:]) // len(rows) for row in flawed(rows, flaw))
        assert len(quarters) == 4, flaw


def test_every_skill_meets_every_source_among_the_clean(rows: list[Row]) -> None:
    seen = Counter((row["meta"]["skill"], row["source"]) for row in flawed(rows, None))
    assert set(seen) == set(itertools.product(SKILLS, MATH_SOURCES))
    assert max(seen.values()) - min(seen.values()) <= 1


def test_only_planted_duplicates_repeat_a_problem(pools: list[list[Row]]) -> None:
    for rows in pools:
        originals = [normalised(row["problem"]) for row in rows if row["meta"]["flaw"] != "duplicate"]
        assert len(set(originals)) == len(originals)


def test_a_duplicate_copies_an_earlier_clean_row(rows: list[Row]) -> None:
    place = {normalised(row["problem"]): i for i, row in enumerate(rows) if row["meta"]["flaw"] is None}
    kept: Counter[str] = Counter()
    for i, row in enumerate(rows):
        if row["meta"]["flaw"] == "duplicate":
            original = rows[place[normalised(row["problem"])]]
            assert place[normalised(row["problem"])] < i
            assert all(row[key] == original[key] for key in ("solution", "answer", "kind"))
            kept.update(key for key in ("source", "problem") if row[key] == original[key])
    n = len(flawed(rows, "duplicate"))
    assert 0 < kept["source"] < n and 0 < kept["problem"] < n


def test_kind_follows_from_style_and_flaw(rows: list[Row]) -> None:
    for row in rows:
        reasoned = {"program": "pot", "chatter": "general"}.get(row["meta"]["style"], "cot")
        assert row["kind"] == ("answer-only" if row["meta"]["flaw"] == "no_reasoning" else reasoned)
        assert (row["meta"]["flaw"] == "off_topic") == (row["source"] == "chatter") == (row["answer"] is None)
        assert row["meta"]["flaw"] == "duplicate" or row["source"] == row["meta"]["style"]


# --- right and wrong answers ------------------------------------------------------------------------------


def test_every_solution_states_its_answer(pools: list[list[Row]]) -> None:
    for row in itertools.chain(*pools):
        if row["answer"] is not None:
            assert stated_answer(row) == row["answer"], row


def test_only_wrong_steps_miss_the_truth(pools: list[list[Row]]) -> None:
    for row in itertools.chain(*pools):
        assert (row["answer"] != row["meta"]["truth"]) == (row["meta"]["flaw"] == "wrong_step"), row


def test_every_equation_of_a_clean_solution_holds(pools: list[list[Row]]) -> None:
    for row in flawed(list(itertools.chain(*pools)), None):
        if row["kind"] == "cot":
            equations = equations_of(row["solution"])
            assert len(equations) >= 2 and all(equations), row


def test_a_wrong_solution_has_exactly_one_wrong_equation(pools: list[list[Row]]) -> None:
    for row in flawed(list(itertools.chain(*pools)), "wrong_step"):
        if row["kind"] == "cot":
            assert equations_of(row["solution"]).count(False) == 1, row


def test_no_reasoning_is_shorter_than_any_reasoning(rows: list[Row]) -> None:
    assert max(n_words(row["solution"]) for row in flawed(rows, "no_reasoning")) <= 6
    assert min(n_words(row["solution"]) for row in flawed(rows, None)) > 6


# What the answer x must satisfy given the numbers in the problem, from its meaning and not from its solution.
CHECKS: dict[str, Callable[[Any, Fraction], bool]] = {
    "boxes": lambda g, x: x + g.given == sum([g.per_box] * g.n_boxes),
    "change": lambda g, x: x + sum([g.price_a] * g.a + [g.price_b] * g.b) == g.paid,
    "savings": lambda g, x: x + g.price == g.start + sum([g.weekly] * g.weeks),
    "pages": lambda g, x: x + g.extra == g.total * (1 - Fraction(g.top, g.bottom)),
    "rest_of_rest": lambda g, x: x == g.total * (1 - Fraction(g.p, g.q)) * (1 - Fraction(g.r, g.s)),
    "discount": lambda g, x: x + g.voucher == Fraction(100 - g.percent, 100) * g.price,
    "growth": lambda g, x: x + g.left == Fraction(100 + g.percent, 100) * g.members,
    "output": lambda g, x: x / g.later == Fraction(g.made, g.minutes),
    "by_weight": lambda g, x: (x - g.fee) / g.more == Fraction(g.cost, g.weight),
    "two_legs": lambda g, x: x == sum([g.v1] * g.h1 + [g.v2] * g.h2),
    "travel_time": lambda g, x: (x - g.pause) / 60 * g.speed == g.distance,
    "meeting": lambda g, x: g.v1 * x == g.distance - g.v2 * x,
    "equation": lambda g, x: g.a * x + g.b == g.c,
    "both_sides": lambda g, x: g.a * x + g.b == g.c * x + g.d,
    "guessed_number": lambda g, x: x * g.times - g.minus == g.result,
    "sum_and_difference": lambda g, x: x + (x + g.more) == g.total,
    "tickets": lambda g, x: x * g.dear + (g.count - x) * g.cheap == g.money,
    "nth_term": lambda g, x: x == list(itertools.islice(itertools.count(g.first, g.step), g.n))[-1],
    "seats": lambda g, x: x == sum(g.first + g.step * i for i in range(g.rows)),
    "fence": lambda g, x: x / g.price == g.long + g.wide + g.long + g.wide,
    "cut_out": lambda g, x: x + g.c * g.d == g.a * g.b,
    "mean": lambda g, x: (g.a - x) + (g.b - x) + (g.c - x) + (g.d - x) == 0,
    "next_score": lambda g, x: (x - g.goal) == g.n_tests * (g.goal - g.now),
    "sharing": lambda g, x: (g.total + x) * g.b == (g.total - x) * g.a,
    "mixture": lambda g, x: (x - g.used) * g.a == g.used * g.b,
    "kits": lambda g, x: (g.n1 + g.n2) / x == max(k for k in range(1, g.n1 + 1) if g.n1 % k == g.n2 % k == 0),
    "flashes": lambda g, x: x == sum(t % g.p == t % g.q == 0 for t in range(1, g.span + 1)),
    "one_draw": lambda g, x: x == 1 - Fraction(g.a, g.a + g.b + g.c),
    "two_draws": lambda g, x: x == Fraction(math.comb(g.a, 2), math.comb(g.a + g.b, 2)),
    "balance": lambda g, x: (x / g.principal - 1) * 100 == g.rate * g.years,
    "years_needed": lambda g, x: x * g.rate * g.principal == 100 * g.goal,
}  # fmt: skip
BY_NAME = {scenario.__name__: scenario for scenarios in SCENARIOS.values() for scenario in scenarios}


def test_every_scenario_has_a_check() -> None:
    assert set(CHECKS) == set(BY_NAME)


@pytest.mark.parametrize("name", CHECKS)
def test_answers_are_right_and_follow_from_the_text(name: str) -> None:
    draw = Draw(random.Random(name), POOL_NAMES)
    for _ in range(300):
        problem = BY_NAME[name](draw)
        answer = work(problem).answer
        assert CHECKS[name](SimpleNamespace(**problem.givens), Fraction(answer)), (problem, answer)
        assert Fraction(answer) > 0, problem
        assert {*map(str, problem.givens.values())} <= {*re.findall(r"\d+", problem.text)}, problem


@pytest.mark.parametrize("computed", [False, True])
@pytest.mark.parametrize("name", CHECKS)
def test_a_slip_always_changes_the_answer_and_nearly_always_looks_right(name: str, computed: bool) -> None:
    draw = Draw(random.Random(name), POOL_NAMES)
    problems = [BY_NAME[name](draw) for _ in range(300)]
    wrongs = [work_wrong(draw, problem, computed=computed) for problem in problems]
    for problem, wrong in zip(problems, wrongs, strict=True):
        assert work(problem).is_plausible
        assert not CHECKS[name](SimpleNamespace(**problem.givens), Fraction(wrong.answer))
        assert all(line.value > 0 for line in wrong.lines)
    assert sum(wrong.is_plausible for wrong in wrongs) >= (0.3 if name == "meeting" and computed else 0.95) * 300


# --- the anchors ------------------------------------------------------------------------------------------


def test_no_anchor_is_in_any_pool(pools: list[list[Row]]) -> None:
    in_pools = {normalised(row["problem"]) for row in itertools.chain(*pools)}
    for seed in range(20):
        anchors = make_demo_anchors(n_anchors=56, seed=seed)
        assert in_pools.isdisjoint(normalised(row["problem"]) for row in anchors)


def test_names_keep_anchors_out_of_every_pool(pools: list[list[Row]]) -> None:
    reserved = [normalised(name) for name in ANCHOR_NAMES]
    assert set(reserved).isdisjoint(map(normalised, POOL_NAMES))
    for row in make_demo_anchors(n_anchors=200):
        assert any(name in normalised(row["problem"]) for name in reserved)
    for row in itertools.chain(*pools):
        assert not any(name in normalised(row["problem"]) for name in reserved), row


@pytest.mark.parametrize("n_anchors", [1, 5, 14, 16, 100])
def test_anchors_are_distinct_balanced_and_the_number_asked_for(n_anchors: int) -> None:
    anchors = make_demo_anchors(n_anchors=n_anchors, seed=3)
    assert len({row["id"] for row in anchors}) == len({row["problem"] for row in anchors}) == n_anchors
    for values, key in ((SKILLS, "skill"), (("stepwise", "explained"), "style")):
        counts = Counter(row["meta"][key] for row in anchors)
        assert set(counts) <= set(values)
        assert max(counts.values()) - min(counts[value] for value in values) <= 1


def test_every_skill_has_anchors_of_both_styles() -> None:
    pairs = {(row["meta"]["skill"], row["meta"]["style"]) for row in make_demo_anchors(n_anchors=28)}
    assert len(pairs) == 28


def test_anchors_are_clean_right_and_short() -> None:
    for row in make_demo_anchors(n_anchors=200, seed=1):
        assert row["meta"]["flaw"] is None and row["kind"] == "cot"
        assert stated_answer(row) == row["answer"] == row["meta"]["truth"]
        assert all(equations_of(row["solution"]))
        assert n_words(row["problem"]) <= 60 and n_words(row["solution"]) <= 60


def test_fewer_anchors_are_the_first_of_more() -> None:
    assert make_demo_anchors(n_anchors=9) == make_demo_anchors(n_anchors=40)[:9]
    assert make_demo_anchors(n_anchors=9) != make_demo_anchors(n_anchors=9, seed=1)
