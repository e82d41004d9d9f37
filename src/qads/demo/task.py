"""What a worked problem is: given numbers, steps that compute, and the slips one can make on the way.

A step carries its arithmetic as one formula over names, and everything else follows from it: the value, the
line that a reader sees (`4 × 12 = 48`), the statement in a program (`total = boxes * per_box`), and a wrong
step whose consequences run on to the last line.
"""

import ast
import math
import operator
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")
Number = int | float | Fraction
Story = Sequence[Sequence[str]]
"""One list of alternatives per sentence; a problem says one alternative of each."""


@dataclass(frozen=True)
class Step:
    """One step of a solution."""

    name: str
    """The variable it computes."""
    formula: str
    """Python over givens and earlier steps: `+ - * / //`, `gcd`, `lcm`, `Fraction`; `//` is exact."""
    what: str
    """A singular noun phrase for the value; may hold `{placeholders}`."""
    why: str
    """A clause that follows "since"; may hold `{placeholders}`."""


@dataclass(frozen=True)
class Problem:
    """A problem with the plan of its solution; the last step is the answer."""

    text: str
    givens: Mapping[str, int]
    words: Mapping[str, str]
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Line:
    """A step worked out."""

    name: str
    formula: str
    shown: str
    value: Number
    what: str
    why: str

    @property
    def equation(self) -> str:
        """`4 × 12 = 48`; only `3/5` where a fraction has nothing to reduce."""
        value = str(self.value)
        return self.shown if self.shown == value else f"{self.shown} = {value}"


@dataclass(frozen=True)
class Worked:
    """A problem with its lines, right or (after a slip) wrong."""

    problem: Problem
    lines: tuple[Line, ...]

    @property
    def answer(self) -> str:
        """The final answer that the lines arrive at."""
        return str(self.lines[-1].value)

    @property
    def is_plausible(self) -> bool:
        """Whether no value gives a slip away by its looks: a long decimal, a `7.0`, a chance above 1."""
        values = [line.value for line in self.lines]
        quarters = all((4 * v).is_integer() and not v.is_integer() for v in values if isinstance(v, float))
        return quarters and all(value <= 1 for value in values if isinstance(value, Fraction))


@dataclass(frozen=True)
class Draw:
    """The random choices of one corpus: a generator and the names that may appear in it."""

    rng: random.Random
    names: tuple[str, ...]

    def one_of(self, options: Sequence[T]) -> T:
        """One of the options, each equally likely."""
        return self.rng.choice(options)

    def number(self, low: int, high: int, *, by: int = 1) -> int:
        """A number of low, low + by, … up to and including high."""
        return self.rng.randrange(low, high + 1, by)

    def person(self) -> str:
        """One name."""
        return self.rng.choice(self.names)

    def people(self, count: int) -> list[str]:
        """That many different names."""
        return self.rng.sample(self.names, count)


def compose(
    draw: Draw, story: Story, *, givens: Mapping[str, int], words: Mapping[str, str], steps: Sequence[Step]
) -> Problem:
    """The problem that says one alternative of every sentence of the story."""
    text = " ".join(draw.one_of(alternatives) for alternatives in story)
    return Problem(text.format(**givens, **words), givens, words, tuple(steps))


class InexactDivisionError(ArithmeticError):
    """A `//` left a remainder, which a slip may cause and a clean problem never does."""


def _exact_division(left: int, right: int) -> int:
    quotient, remainder = divmod(left, right)
    if remainder:
        raise InexactDivisionError(f"{left} // {right} leaves {remainder}")
    return quotient


_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda left, right: left / right,
    ast.FloorDiv: _exact_division,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {"gcd": math.gcd, "lcm": math.lcm, "Fraction": Fraction}


@cache
def _parsed(formula: str) -> ast.expr:
    return ast.parse(formula, mode="eval").body


def _value(node: ast.expr, env: Mapping[str, Number]) -> Number:
    match node:
        case ast.Constant(value=int() as number):
            return number
        case ast.Name(id=name):
            return env[name]
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_value(left, env), _value(right, env))
        case ast.Call(func=ast.Name(id=name), args=args):
            return _FUNCTIONS[name](*(_value(arg, env) for arg in args))
        case _:
            raise AssertionError(f"a formula has no place for {ast.dump(node)}")


def _shown(formula: str, env: Mapping[str, Number]) -> str:
    """The formula as a reader writes it: values for names, × and ÷, a/b for Fraction(a, b)."""
    filled = re.sub(r"[a-z_]\w*", lambda name: str(env.get(name[0], name[0])), formula)
    filled = re.sub(r"Fraction\((\w+), (\w+)\)", r"\1/\2", filled)
    return filled.replace(" * ", " × ").replace(" // ", " ÷ ").replace(" / ", " ÷ ")


def work(problem: Problem, *, slips: Mapping[str, Number] | None = None) -> Worked:
    """Work every step out, in order.

    Args:
        problem: what to solve.
        slips: wrong values for steps, by name; later steps carry them on.

    Raises:
        InexactDivisionError: when a slip makes a later division leave a remainder.
    """
    env: dict[str, Number] = dict(problem.givens)
    lines: list[Line] = []
    for step in problem.steps:
        shown = _shown(step.formula, env)
        value = _value(_parsed(step.formula), env)
        env[step.name] = value = (slips or {}).get(step.name, value)
        words = {**problem.words, **env}
        lines.append(Line(step.name, step.formula, shown, value, step.what.format(**words), step.why.format(**words)))
    return Worked(problem, tuple(lines))


def work_wrong(draw: Draw, problem: Problem, *, computed: bool) -> Worked:
    """Work the problem out with one slip that changes the answer.

    Args:
        draw: the random choices.
        problem: what to solve.
        computed: False for a solution that states its values, where one equation comes out wrong; True for
            a program, which computes right whatever it says and is wrong only if it says the wrong thing.
    """
    right = work(problem)
    attempts = list(_misread(problem) if computed else _miscalculated(right))
    draw.rng.shuffle(attempts)
    wrongs = [wrong for attempt in attempts if (wrong := _tried(*attempt)) and wrong.answer != right.answer]
    assert wrongs, f"no slip changes the answer of: {problem.text}"
    return next((wrong for wrong in wrongs if wrong.is_plausible), wrongs[0])


Attempt = tuple[Problem, Mapping[str, Number]]


def _miscalculated(right: Worked) -> Iterator[Attempt]:
    """One line's value is off, by ones or by a ten; of a fraction, the numerator."""
    for line in right.lines:
        unit = Fraction(1, line.value.denominator) if isinstance(line.value, Fraction) else 1
        for off in (-10, -2, -1, 1, 2, 10):
            yield right.problem, {line.name: line.value + off * unit}


_SWAPS = {" * ": " + ", " + ": " - ", " - ": " + ", " // ": " * ", "gcd": "lcm", "lcm": "gcd"}


def _misread(problem: Problem) -> Iterator[Attempt]:
    """One given number is read wrong, or one step uses the wrong operation."""
    for name, number in problem.givens.items():
        for off in (-2, -1, 1, 2, 10):
            if number + off > 0:
                yield replace(problem, givens={**problem.givens, name: number + off}), {}
    for i, step in enumerate(problem.steps):
        for sign, other in _SWAPS.items():
            if sign in step.formula:
                swapped = replace(step, formula=step.formula.replace(sign, other, 1))
                yield replace(problem, steps=(*problem.steps[:i], swapped, *problem.steps[i + 1 :])), {}


def _tried(problem: Problem, slips: Mapping[str, Number]) -> Worked | None:
    """The problem with the slip, unless it leads to a remainder or below zero."""
    try:
        wrong = work(problem, slips=slips)
    except (InexactDivisionError, ZeroDivisionError):
        return None
    return wrong if all(line.value > 0 for line in wrong.lines) else None
