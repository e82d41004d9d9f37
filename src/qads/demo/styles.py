"""How a solution is written: one style per source, and any style can tell any worked problem."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from qads.demo.task import Draw, Line, Worked


@dataclass(frozen=True)
class Style:
    """A way to write solutions."""

    kind: str
    """The kind of a row that shows its reasoning: `cot` or `pot`."""
    full: Callable[[Draw, Worked], str]
    """The solution with its reasoning; ends in the answer."""
    bare: Callable[[Draw, str], str]
    """The answer alone, in the manner of the style."""


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _hashes(_: Draw, answer: str) -> str:
    return f"#### {answer}"


def _stepwise(draw: Draw, worked: Worked) -> str:
    n = len(worked.lines)
    labels = draw.one_of(
        [
            [f"Step {i}: find " for i in range(1, n + 1)],
            [f"{i}. We need " for i in range(1, n + 1)],
            ["First, find ", *["Next, find "] * (n - 2), "Finally, find "],
            ["Start with ", *["Then work out "] * (n - 1)],
        ]
    )
    pairs = zip(labels, worked.lines, strict=True)
    steps = [f"{label}{line.what}: {line.equation}." for label, line in pairs]
    return "\n".join([*steps, _hashes(draw, worked.answer)])


def _boxed(_: Draw, answer: str) -> str:
    return rf"\boxed{{{answer}}}"


_LATEX = {"×": r"\cdot", "÷": "/", "gcd": r"\gcd", "lcm": r"\mathrm{lcm}"}


def _latex(equation: str) -> str:
    for plain, symbol in _LATEX.items():
        equation = equation.replace(plain, symbol)
    return f"${equation}$"


def _equations(draw: Draw, worked: Worked) -> str:
    between, last = draw.one_of([("\n", "\n"), (", ", ", so "), ("; ", ". Hence "), ("\n", "\nTherefore ")])
    body = between.join(_latex(line.equation) for line in worked.lines)
    return body + last + _boxed(draw, worked.answer)


def _the_answer_is(_: Draw, answer: str) -> str:
    return f"The answer is {answer}."


_EXPLANATIONS = (
    "Since {why}, {what} is {equation}.",
    "{what} is {equation}, because {why}.",
    "Because {why}, {what} comes to {equation}.",
    "We know that {why}, so {what} is {equation}.",
)


def _explained(draw: Draw, worked: Worked) -> str:
    def told(line: Line) -> str:
        words = {"why": line.why, "what": line.what, "equation": line.equation}
        return _sentence(draw.one_of(_EXPLANATIONS).format(**words))

    return " ".join([*(told(line) for line in worked.lines), _the_answer_is(draw, worked.answer)])


def _printed(_: Draw, answer: str) -> str:
    return f"print({answer!r})" if "/" in answer else f"print({answer})"


_IMPORTS = {
    "gcd": "from math import gcd",
    "lcm": "from math import lcm",
    "Fraction": "from fractions import Fraction",
}


def _program(draw: Draw, worked: Worked) -> str:
    """A script, or the same as a function; commented or not."""
    commented = draw.rng.random() < 0.5
    formulas = " ".join(line.formula for line in worked.lines)
    imports = [line for name, line in _IMPORTS.items() if f"{name}(" in formulas]
    body = [f"{name} = {number}" for name, number in worked.problem.givens.items()]
    for line in worked.lines:
        note = f"  # {line.what}" if commented else ""
        body.append(f"{line.name} = {line.formula}{note}")
    last = worked.lines[-1].name
    if draw.rng.random() < 0.5:
        return "\n".join([*imports, *body, f"print({last})"])
    inner = [f"    {statement}" for statement in (*body, f"return {last}")]
    return "\n".join([*imports, "def solve():", *inner, "print(solve())"])


_OPENERS = (
    "ok so i had something like this in class once.",
    "hmm nice one, let me think out loud.",
    "not a teacher but here goes.",
    "my sister does these in her head, i need paper.",
    "easy to trip over this, been there.",
    "took me two tries tbh.",
    "late to the thread but whatever.",
    "haha i actually like these.",
)
_LINKS = (
    "so {what} is {equation}",
    "{what}? thats {equation}",
    "then {what}, {equation}",
    "i get {what} as {equation}",
)
_ASIDES = (
    ", fine.",
    ", right?",
    ", i checked twice.",
    ", no tricks.",
    ".",
    ".",
    "...",
    " (phone calculator).",
)
_CLOSERS = ("so yeah, i say {}", "so its {}", "final: {}", "im going with {}", "which makes {}")


def _i_say(draw: Draw, answer: str) -> str:
    return draw.one_of(_CLOSERS).format(answer)


def _forum(draw: Draw, worked: Worked) -> str:
    def posted(line: Line) -> str:
        return draw.one_of(_LINKS).format(what=line.what, equation=line.equation) + draw.one_of(_ASIDES)

    return " ".join([draw.one_of(_OPENERS), *map(posted, worked.lines), _i_say(draw, worked.answer)])


STYLES: Mapping[str, Style] = {
    "stepwise": Style("cot", _stepwise, _hashes),
    "equations": Style("cot", _equations, _boxed),
    "explained": Style("cot", _explained, _the_answer_is),
    "program": Style("pot", _program, _printed),
    "forum": Style("cot", _forum, _i_say),
}
