"""Laws of texts with formulas: what is typeset says the same, and no text becomes markup."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qads.report.formulas import formula
from qads.report.passages import visible
from qads.report.segments import segments

PIECES = st.sampled_from(
    ["$", "$$", "\\(", "\\)", "\\[", "\\]", "x^2", " ", "5", "cost", "\n", "\n```\n", "\\frac{a}{b}", "[asy]",
     "\\begin{align}", "\\end{align}", "{", "}", "\\text{<b>}", "\u202e", "<img src=x>"]
)  # fmt: skip
MARKS = ("$$", "$", "\\(", "\\)", "\\[", "\\]", "```")
SAFE = {"math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "mfrac", "msqrt", "mroot", "mstyle", "msub", "msup",
        "msubsup", "munder", "mover", "munderover", "mtable", "mtr", "mtd", "menclose", "mpadded", "mphantom"}  # fmt: skip


def elements(tree: list[Any]) -> list[tuple[str, dict[str, str]]]:
    below = [found for child in tree[2:] if isinstance(child, list) for found in elements(child)]
    return [(tree[0], tree[1] or {}), *below]


def words(tree: list[Any]) -> str:
    return "".join(child if isinstance(child, str) else words(child) for child in tree[2:])


@given(st.lists(PIECES, max_size=20).map("".join))
def test_segments_lose_nothing_but_the_marks(text: str) -> None:
    def bare(value: str) -> str:
        for mark in MARKS:
            value = value.replace(mark, "")
        return "".join(value.split())

    assert bare("".join(piece.text for piece in segments(text))) == bare(visible(text))


@given(st.text(max_size=80) | st.lists(PIECES, max_size=20).map("".join))
def test_a_formula_is_known_elements_with_plain_attributes_or_nothing(tex: str) -> None:
    tree = formula(visible(tex))
    if tree is None:
        return
    for name, attributes in elements(tree):
        assert name in SAFE
        assert not {key for key in attributes if key.startswith("on")} & {"href", "style", "class", "id", "src"}
        assert all(":" not in value and "(" not in value and len(value) <= 40 for value in attributes.values())
    assert visible(words(tree)) == words(tree)


@pytest.mark.parametrize(
    ("tex", "said"),
    [
        (r"\text{<img src=x onerror=alert(1)>}", "<img src=x onerror=alert(1)>"),
        (r"\text{&#x202E;gnp}", "⟨U+202E⟩gnp"),
        (r"\href{javascript:alert(1)}{x}", "x"),
        (r"\style{position:fixed}{y}", "y"),
        (r"\color{red;background:url(x)}z", "z"),
        (r"a<b", "a<b"),
    ],
)
def test_what_would_be_markup_is_text(tex: str, said: str) -> None:
    tree = formula(tex)
    assert tree is not None and words(tree).replace("\xa0", " ") == said
    assert not {key for _, attributes in elements(tree) for key in attributes}


@pytest.mark.parametrize(
    "tex", ["", "%", "{" * 5000, r"\frac" * 300, "x" * 2000, r"\left( x", "a_b_c", r"\def\x{\x}\x"]
)
def test_what_cannot_be_typeset_is_nothing(tex: str) -> None:
    assert formula(tex) is None


@pytest.mark.parametrize(
    ("text", "formulas"),
    [
        ("It costs $5 and $10.", []),
        ("$20 + $30 = $<<20+30=50>>50", []),
        ("so $x=5$, thus", ["x=5"]),
        (r"\(a\) and \[b\] and $$c$$", ["a", "b", "c"]),
        (r"\begin{align*}a&=1\end{align*}", [r"\begin{align*}a&=1\end{align*}"]),
        (r"a price of \$5 is $\$5$", [r"\$5"]),
    ],
)
def test_dollars_are_money_or_marks(text: str, formulas: list[str]) -> None:
    assert [piece.text for piece in segments(text) if piece.kind in ("inline", "display")] == formulas


def test_programs_are_code() -> None:
    assert [piece.kind for piece in segments("x = '$a$'", is_code=True)] == ["code"]
    assert [(p.kind, p.text) for p in segments("See:\n```py\nx = 1\n```\ndone")] == [
        ("words", "See:\n"), ("code", "x = 1"), ("words", "\ndone"),
    ]  # fmt: skip


def test_formulas_of_real_solutions_are_typeset(test_data: Any) -> None:
    import qads

    pool = qads.load_pool([test_data / "pool" / "math_train.jsonl.gz"], on_bad_row="skip").take(range(0, 7500, 50))
    found = [piece for row in pool for text in (row.problem, row.solution) for piece in segments(text)]
    asked = [piece for piece in found if piece.kind in ("inline", "display")]
    typeset = [formula(piece.text, display=piece.kind == "display") is not None for piece in asked]
    assert len(asked) > 1000 and sum(typeset) >= 0.995 * len(asked)
