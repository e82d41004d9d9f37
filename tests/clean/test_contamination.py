"""Copies of evaluation problems are found however they are written, and different problems are told apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qads import Decontamination, Pool, Row, load_pool
from qads.clean import ContaminationReport
from qads.errors import AlignmentError, InputError

LIGHTHOUSE = (
    "The keeper of a lighthouse climbs 186 steps every evening to light the lamp. On the way down she counts only 4 of "
    "every 6 steps because she jumps over the others. How many steps does she count in 15 evenings, up and down?"
)
TRAIN = (
    "A goods train with 24 wagons leaves the quarry every 3 hours. Each wagon holds 18 tonnes of gravel. How many tonnes "
    "of gravel leave the quarry in 12 hours?"
)
INTEGRAL = r"Let $f(x) = \frac{3x^{2} - 1}{x + 2}$ for $x \geq 0$. Find the value of $f(4)$ as a common fraction."
CHOICE = (
    "A kite rises 7 metres each second. How high is it after 11 seconds?\nAnswer Choices: (A) 18 (B) 70 (C) 77 (D) 84"
)
EXAM = [LIGHTHOUSE, TRAIN, INTEGRAL, CHOICE, "Calculate -841 + 12.", "Which is larger?\n(A) 3/8\n(B) 0.4"]


def pool_of(*problems: str, solution: str = "Nothing of the sort.", source: str = "web") -> Pool:
    return Pool.from_rows(
        Row(id=f"{source}{n}", source=source, problem=problem, solution=solution) for n, problem in enumerate(problems)
    )


EVALUATION = pool_of(*EXAM, source="exam", solution="")


def found(problem: str, evaluation: Pool = EVALUATION, **settings: object) -> list[tuple[str, str]]:
    report = Decontamination(**settings)(pool_of(problem), evaluation)  # type: ignore[arg-type]
    return [(match.evaluation_id, match.kind) for match in report.matches]


COPIES = {
    "verbatim": (LIGHTHOUSE, "exam0"),
    "re-cased": (TRAIN.upper(), "exam1"),
    "re-spaced": ("\n ".join(TRAIN.split()), "exam1"),
    "without punctuation": (LIGHTHOUSE.replace(",", "").replace(".", "").replace("?", ""), "exam0"),
    "plain text for LaTeX": ("Let f(x) = (3x^2 - 1)/(x + 2) for x ≥ 0. Find the value of f(4) as a common fraction", "exam2"),
    "other LaTeX": (INTEGRAL.replace(r"\frac", r"\dfrac").replace(r"\geq", r"\ge").replace("^{2}", "^2"), "exam2"),
    "options in another order": ("A kite rises 7 metres each second. How high is it after 11 seconds?\nOptions:\n(A) 84\n(B) 77\n(C) 18\n(D) 70", "exam3"),
    "options left away": ("A kite rises 7 metres each second. How high is it after 11 seconds?", "exam3"),
    "within a prompt": (f"You are a patient teacher. Explain your steps.\n\nQuestion: {TRAIN}\nAnswer:", "exam1"),
    "a short one within a prompt": ("Work this out with care.\nQuestion: Calculate -841 + 12.\nLet's think.", "exam4"),
    "options of a short stem in another order": ("Which is larger?\n(A) 0.4\n(B) 3/8", "exam5"),
}  # fmt: skip


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_is_found_however_it_is_written(name: str):
    problem, copied = COPIES[name]
    assert found(problem) == [(copied, "exact")]


RENUMBERED = {
    "other figures": (TRAIN.replace("24", "31").replace("18", "20"), "exam1"),
    "figures in letters": (TRAIN.replace("every 3 hours", "every four hours"), "exam1"),
    "all figures, in a prompt": ("Answer briefly. " + LIGHTHOUSE.replace("186", "92").replace("15", "8").replace("4 of", "3 of"), "exam0"),
    "other figures in LaTeX": (INTEGRAL.replace("3x", "5x").replace("f(4)", "f(7)"), "exam2"),
    "other figures and options": (CHOICE.replace("7", "9").replace("11", "13"), "exam3"),
}  # fmt: skip


@pytest.mark.parametrize("name", RENUMBERED)
def test_a_renumbered_copy_is_found_and_called_so(name: str):
    problem, copied = RENUMBERED[name]
    assert found(problem) == [(copied, "renumbered")]


OTHERS = [
    "A goods train with 24 wagons passes the bridge at noon. How many minutes does it take if each wagon takes 4 seconds?",
    "How many steps does she count?",
    "A kite costs 7 crowns and string 11 crowns. How much is it together?\nAnswer Choices: (A) 18 (B) 70 (C) 77 (D) 84",
    "Calculate -841 + 13.",
    "Calculate -841 - 12.",
    "Calculate -841 + 12 * 3.",
    "Which is larger?\n(A) 5/9\n(B) 0.6",
    "Find the value of f(4).",
    "What is the value of 5 as a common fraction?",
]


@pytest.mark.parametrize("problem", OTHERS)
def test_other_problems_are_no_copies(problem: str):
    assert found(problem) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 3 + 5?", "What is 12 + 30?"),
        ("What is 17 * 4?", "What is 23 * 6?"),
        ("Solve 3*x + 4 = 10 for x.", "Solve 7*x + 1 = 22 for x."),
        ("Compute 14 mod 5.", "Compute 23 mod 7."),
        (
            "Tom has 3 apples and buys 5 more at the market. How many apples does Tom have now?",
            "Sara has 3 pears and finds 5 more in the garden. How many pears does Sara own today?",
        ),
    ],
)
def test_two_problems_of_one_template_are_told_apart(one: str, other: str):
    exam = pool_of(*dict.fromkeys([one, one.replace("3", "8").replace("4", "9"), one.replace("5", "6")]), source="exam")
    assert found(other, exam) == []


def test_a_short_text_that_the_set_fills_again_and_again_is_a_template_and_listed_apart():
    def asked(n: int, m: int) -> str:
        return f"What is the remainder when {n} is divided by {m}?"

    exam = pool_of(asked(93, 7), asked(55, 6), asked(71, 8), source="exam")
    report = Decontamination()(pool_of(asked(40, 9), asked(55, 6), "Name a river."), exam)
    assert [(match.id, match.kind) for match in report.matches] == [("web1", "exact")]
    (template,) = report.templates
    assert (template.evaluation_id, template.numberings, template.rows) == ("exam0", 3, (0,))
    once = Decontamination()(pool_of(asked(40, 9)), pool_of(asked(93, 7), source="exam"))
    assert [match.kind for match in once.matches] == ["renumbered"]


def test_a_short_text_with_other_numbers_is_listed_and_not_counted():
    exam = pool_of("Compute 14 mod 5.", "Name a river.", source="exam")
    report = Decontamination()(pool_of("Compute 23 mod 7.", "Name a lake.", "Compute 14 mod 5!"), exam)
    assert [(match.id, match.kind) for match in report.matches] == [("web2", "exact")]
    (listed,) = report.templates
    assert (listed.evaluation_id, listed.numberings, listed.rows) == ("exam0", 1, (0,))
    longer = "What is the remainder when 93 is divided by 7?"
    report = Decontamination(least_structure=9)(pool_of(longer.replace("93", "40")), pool_of(longer, source="exam"))
    assert report.matches == () and len(report.templates) == 1


def test_a_near_copy_is_an_ngram_match_with_its_share_of_words():
    edited = LIGHTHOUSE.replace("every evening", "at dusk").replace(", up and down", "")
    (match,) = Decontamination()(pool_of(edited), EVALUATION).matches
    assert (match.evaluation_id, match.kind) == ("exam0", "ngram")
    assert 0.5 <= match.overlap < 1


def test_a_problem_within_an_evaluation_problem_is_found():
    shorter = LIGHTHOUSE.rpartition(" How")[0]
    assert found(shorter) == [("exam0", "exact")]


def test_problems_are_found_in_solutions_and_earlier_turns():
    rows = [
        Row(id="s", source="web", problem="Make up an exercise.", solution=f"Here is one. {TRAIN}"),
        Row(id="c", source="web", problem="And now?", solution="So.", context=({"role": "user", "content": LIGHTHOUSE},)),
        Row(id="n", source="web", problem="And now?", solution="So."),
    ]  # fmt: skip
    report = Decontamination()(Pool.from_rows(rows), EVALUATION)
    assert [(m.id, m.part, m.evaluation_id) for m in report.matches] == [
        ("s", "solution", "exam1"),
        ("c", "context", "exam0"),
    ]


def test_a_leaked_solution_is_found_under_another_problem():
    worked = (
        "In 12 hours there are 12/3 = 4 departures. A train carries 24 wagons of 18 tonnes, that is 432 tonnes of gravel, "
        "so all departures together take 4 times 432 tonnes, which makes 1728 tonnes of gravel."
    )
    exam = pool_of(TRAIN, source="exam", solution=worked)
    leaked = Pool.from_rows(
        [Row(id="p", source="web", problem="How much is carried away?", solution=f"Well: {worked}")]
    )
    (match,) = Decontamination()(leaked, exam).matches
    assert (match.kind, match.part, match.evaluation_part) == ("exact", "solution", "solution")
    other = (
        worked.replace("12", "15").replace("24", "30").replace("432", "540").replace("1728", "2700").replace("4 ", "5 ")
    )
    retold = Pool.from_rows([Row(id="p", source="web", problem="How much is carried away?", solution=other)])
    assert Decontamination()(retold, exam).matches == ()  # The method, and not the answer.
    assert Decontamination(solutions=False)(leaked, exam).matches == ()


def test_equal_problems_of_a_set_are_matched_once_and_of_two_sets_twice():
    exam = Pool.from_rows([*pool_of(TRAIN, TRAIN.upper(), source="exam"), *pool_of(TRAIN, source="quiz")])
    report = Decontamination()(pool_of(TRAIN), exam)
    assert [match.evaluation_id for match in report.matches] == ["exam0", "quiz0"]


def test_counts_are_of_rows_by_source_set_and_strongest_kind():
    pool = Pool.from_rows(
        [*pool_of(TRAIN, LIGHTHOUSE, "Name a river."), *pool_of(TRAIN.replace("24", "9"), source="book")]
    )
    report = Decontamination()(pool, EVALUATION)
    assert report.counts == {("book", "exam", "renumbered"): 1, ("web", "exam", "exact"): 2}
    assert (report.rows.tolist(), report.clean_rows.tolist()) == ([0, 1, 3], [2])
    assert (report.found_of, report.n_evaluation) == ({"exam": 2}, {"exam": 6})


def test_boilerplate_of_drawings_is_no_copy():
    drawn = ' [asy] size(3cm); draw((0,0)--(4,0)--(4,3)--cycle); label("$A$",(0,0),W); label("$B$",(4,0),E); [/asy]'
    exam = pool_of("How long is the side opposite the right angle of this figure?" + drawn, source="exam")
    assert found("What is the sum of the three angles that you can see here?" + drawn, exam) == []


@given(st.lists(st.text(alphabet="ab 12.\\${}()", max_size=30), max_size=8), st.lists(st.text(max_size=20), max_size=4))
def test_every_text_is_found_in_itself(problems: list[str], others: list[str]):
    exam = pool_of(*problems, source="exam")
    report = Decontamination()(pool_of(*others, *problems), exam)
    assert set(range(len(others), len(others) + len(problems))) <= set(report.rows.tolist())


def test_an_empty_pool_and_an_empty_evaluation_have_no_matches():
    for report in (Decontamination()(pool_of(), EVALUATION), Decontamination()(pool_of(TRAIN), pool_of())):
        assert (report.matches, report.rows.tolist(), report.counts) == ((), [], {})


def test_rows_of_all_batches_are_at_their_place():
    problems = [f"Name the river number {n}." for n in range(5000)]
    problems[10], problems[4321] = TRAIN, LIGHTHOUSE
    seen: list[tuple[int, int]] = []
    report = Decontamination()(pool_of(*problems), EVALUATION, progress=lambda done, total: seen.append((done, total)))
    assert [(match.row, match.id) for match in report.matches] == [(10, "web10"), (4321, "web4321")]
    assert seen[-1] == (5000, 5000)


def test_neighbours_are_listed_and_never_counted():
    pool, exam = (
        pool_of("Name a river.", "How far is it?", TRAIN),
        pool_of(TRAIN, "How far is the moon?", source="exam"),
    )
    vectors = np.array([[1.0, 0.1], [0.1, 1.0], [1.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 2.0]])
    report = Decontamination(neighbours=1)(pool, exam, embeddings=vectors[0], evaluation_embeddings=vectors[1])
    (near,) = report.neighbours
    assert (near.id, near.evaluation_id, report.rows.tolist()) == ("web0", "exam0", [2])
    assert near.similarity == pytest.approx(1 / np.sqrt(1.01))


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ((np.ones((1, 2)), None), "go together"),
        ((np.ones((3, 2)), np.ones((6, 2))), r"embeddings have shape \(3, 2\); they must be \[1, dims\]"),
        ((np.ones((1, 2)), np.ones((6, 3))), "2 and 3 dimensions"),
    ],
)
def test_embeddings_that_do_not_fit_are_refused(vectors: tuple[np.ndarray, np.ndarray | None], message: str):
    with pytest.raises(AlignmentError, match=message):
        Decontamination()(pool_of(TRAIN), EVALUATION, embeddings=vectors[0], evaluation_embeddings=vectors[1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n": 7}, "n is 7; it must be 8 or more"),
        ({"overlap": 0}, "overlap is 0; it must be over 0 and at most 1"),
        ({"masked_overlap": 1.1}, "masked_overlap is 1.1"),
        ({"least_structure": -1}, "least_structure is -1; it must be 0 or more"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, float], message: str):
    with pytest.raises(InputError, match=message):
        Decontamination(**settings)  # type: ignore[arg-type]


# Real data.


@pytest.fixture(scope="module")
def report(test_data) -> ContaminationReport:
    train = load_pool([test_data / "pool" / f"{name}.jsonl.gz" for name in ("gsm8k_train", "aqua_rat_flan")])
    names = ("gsm8k_test", "aqua_test", "math500")
    exams = load_pool([test_data / "eval" / f"{name}.jsonl.gz" for name in names], require_solution=False)
    return Decontamination()(train, exams)


def test_few_rows_of_gsm8k_are_flagged_and_each_is_known(report: ContaminationReport):
    flagged = {match.id: match.evaluation_id for match in report.matches if match.source == "gsm8k_train"}
    # Two of one story as GSM8K test has it with other figures, and one with another vehicle.
    assert flagged == {
        "gsm8k_train-20": "gsm8k_test-632",
        "gsm8k_train-1314": "gsm8k_test-602",
        "gsm8k_train-5162": "gsm8k_test-602",
    }


def test_a_real_leak_is_found_by_its_solution_alone(report: ContaminationReport):
    assert ("aqua_rat_flan-1299", "aqua_test-67", "solution") in {
        (match.id, match.evaluation_id, match.part) for match in report.matches
    }
