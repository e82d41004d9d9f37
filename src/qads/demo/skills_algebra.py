"""Problems of letters: equations, two unknowns, sequences."""

from qads.demo.task import Draw, Problem, Step, compose
from qads.demo.words import THINGS


def equation(draw: Draw) -> Problem:
    """One unknown on one side."""
    a, b, x = draw.number(2, 15), draw.number(3, 90), draw.number(2, 45)
    story = (
        (
            "Solve {a}x + {b} = {c} for x.",
            "{name} writes {a}x + {b} = {c} on the board. What is x?",
            "Which number x satisfies {a}x + {b} = {c}?",
            "In {name}'s puzzle the equation {a}x + {b} = {c} hides a number x. Find it.",
        ),
    )
    steps = (
        Step("rest", "c - b", "the value of {a}x", "{b} is taken from both sides"),
        Step("x", "rest // a", "the value of x", "both sides are divided by {a}"),
    )
    givens = {"a": a, "b": b, "c": a * x + b}
    return compose(draw, story, givens=givens, words={"name": draw.person()}, steps=steps)


def both_sides(draw: Draw) -> Problem:
    """One unknown on both sides."""
    c, b, x = draw.number(2, 9), draw.number(2, 40), draw.number(2, 30)
    a = c + draw.number(2, 9)
    story = (
        (
            "Find x if {a}x + {b} = {c}x + {d}.",
            "{name} asks {friend} to solve {a}x + {b} = {c}x + {d}. What is x?",
            "{name} draws the lines y = {a}x + {b} and y = {c}x + {d}. At which x do they cross?",
        ),
    )
    steps = (
        Step("count", "a - c", "the number of x left over", "{c}x is taken from both sides"),
        Step("rest", "d - b", "the number on the right", "{b} is taken from both sides"),
        Step("x", "rest // count", "the value of x", "{count}x equals {rest}"),
    )
    name, friend = draw.people(2)
    givens = {"a": a, "b": b, "c": c, "d": (a - c) * x + b}
    return compose(draw, story, givens=givens, words={"name": name, "friend": friend}, steps=steps)


def guessed_number(draw: Draw) -> Problem:
    """An equation told as a game."""
    times, minus, x = draw.number(3, 14), draw.number(4, 60), draw.number(21, 70)
    story = (
        (
            "{name} thinks of a number, multiplies it by {times} and subtracts {minus}.",
            "Take {name}'s secret number {times} times and remove {minus}.",
        ),
        ("The result is {result}. What is the number?", "What is the number if this gives {result}?"),
    )
    steps = (
        Step("product", "result + minus", "the product", "the last thing done was to subtract {minus}"),
        Step("x", "product // times", "the secret number", "the product is {times} times that number"),
    )
    givens = {"times": times, "minus": minus, "result": times * x - minus}
    return compose(draw, story, givens=givens, words={"name": draw.person()}, steps=steps)


def sum_and_difference(draw: Draw) -> Problem:
    """Two unknowns from sum and difference."""
    small = draw.number(4, 80)
    large = small + draw.number(3, 60)
    story = (
        (
            "Together {name} and {friend} have {total} {things}, and {name} has {more} more.",
            "{name} and {friend} collected {total} {things}; {name} found {more} more than {friend}.",
            "{name} owns {more} more {things} than {friend}; there are {total} in all.",
        ),
        ("How many does {friend} have?", "How many {things} are {friend}'s?"),
    )
    steps = (
        Step("double", "total - more", "twice {friend}'s number", "without the extra {more} both have as many"),
        Step("small", "double // 2", "{friend}'s number", "two equal shares make {double}"),
    )
    name, friend = draw.people(2)
    givens = {"total": small + large, "more": large - small}
    words = {"name": name, "friend": friend, "things": draw.one_of(THINGS)}
    return compose(draw, story, givens=givens, words=words, steps=steps)


def tickets(draw: Draw) -> Problem:
    """Two unknowns from a count and a sum of money."""
    adults, children, cheap = draw.number(5, 60), draw.number(5, 60), draw.number(3, 12)
    dear = cheap + draw.number(2, 9)
    story = (
        (
            "{name} sells {count} tickets: adults pay ${dear}, children pay ${cheap}.",
            "Tickets cost ${dear} for adults and ${cheap} for children. {name} sells {count} of them.",
            "A boat carries {count} people. Adults pay ${dear} for the ride and children ${cheap}.",
        ),
        ("The takings are ${money}. How many adults came?", "If ${money} comes in, how many are adults?"),
    )
    steps = (
        Step("low", "count * cheap", "the takings without adults", "each of {count} would pay ${cheap}"),
        Step("extra", "money - low", "the extra money", "the takings are ${money}"),
        Step("adults", "extra // (dear - cheap)", "the number of adults", "adults pay ${dear}, not ${cheap}"),
    )
    money = adults * dear + children * cheap
    givens = {"count": adults + children, "dear": dear, "cheap": cheap, "money": money}
    return compose(draw, story, givens=givens, words={"name": draw.person()}, steps=steps)


def nth_term(draw: Draw) -> Problem:
    """A term far along an arithmetic sequence."""
    story = (
        (
            "An arithmetic sequence starts at {first} and grows by {step} each time. What is term {n}?",
            "{name} writes {first} and keeps adding {step}. What is number {n} in the list?",
            "On day 1 {name} draws {first} dots, and on each later day {step} more than the day before. "
            "How many dots are drawn on day {n}?",
            "In {name}'s pattern the first figure needs {first} sticks and each new figure {step} more than "
            "the one before. How many sticks make figure {n}?",
        ),
    )
    steps = (
        Step("jumps", "n - 1", "the number of jumps", "the first value needs no jump"),
        Step("rise", "jumps * step", "the total rise", "each jump adds {step}"),
        Step("term", "first + rise", "the value at place {n}", "the first value is {first}"),
    )
    givens = {"first": draw.number(2, 60), "step": draw.number(3, 19), "n": draw.number(8, 70)}
    return compose(draw, story, givens=givens, words={"name": draw.person()}, steps=steps)


def seats(draw: Draw) -> Problem:
    """The sum of an arithmetic sequence."""
    story = (
        (
            "A hall has {rows} rows; the front one has {first} seats and each next one {step} more.",
            "{name} lays {rows} rows of bricks: {first} in the first, and {step} more in each row after it.",
            "For {rows} days {name} saves coins: {first} on the first day, then {step} more every day.",
        ),
        ("How many is that in total?", "What is the total over all {rows}?"),
    )
    steps = (
        Step("last", "first + (rows - 1) * step", "the last count", "it grows by {step} after the first"),
        Step("total", "rows * (first + last) // 2", "the total", "first and last average to the mean"),
    )
    givens = {"rows": draw.number(6, 30), "first": draw.number(5, 40), "step": draw.number(2, 9)}
    return compose(draw, story, givens=givens, words={"name": draw.person()}, steps=steps)
