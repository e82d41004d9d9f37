"""Problems of figures and cases: geometry, divisors, probability."""

import math

from qads.demo.task import Draw, Problem, Step, compose
from qads.demo.words import COLOURS, CONTAINERS, THINGS


def fence(draw: Draw) -> Problem:
    """The price of a perimeter."""
    place = draw.one_of(("garden", "paddock", "playground", "orchard", "car park", "sheep pen", "rink"))
    story = (
        (
            "A rectangular {place} is {long} m long and {wide} m wide.",
            "{name} owns a rectangular {place}, {long} m by {wide} m.",
        ),
        (
            "Fence costs ${price} a metre. What does it cost to go all the way round?",
            "How many dollars does {name} pay for a border around it at ${price} per metre?",
        ),
    )
    steps = (
        Step("around", "2 * (long + wide)", "the perimeter", "each side occurs twice"),
        Step("cost", "around * price", "the cost", "each metre costs ${price}"),
    )
    wide = draw.number(6, 50)
    givens = {"long": wide + draw.number(2, 40), "wide": wide, "price": draw.number(3, 24)}
    return compose(draw, story, givens=givens, words={"name": draw.person(), "place": place}, steps=steps)


def cut_out(draw: Draw) -> Problem:
    """One rectangle without another."""
    whole, hole, unit = draw.one_of(
        [("lawn", "pond", "metres"), ("wall", "window", "feet"), ("sheet of card", "hole", "centimetres"),
         ("courtyard", "fountain", "metres"), ("kitchen floor", "cupboard", "feet"),
         ("field", "shed", "yards"), ("metal plate", "slot", "millimetres"), ("poster", "photo", "inches")]
    )  # fmt: skip
    story = (
        (
            "{name} has a {whole} of {a} by {b} {unit} with a {hole} of {c} by {d} {unit} in it.",
            "A {whole} measures {a} by {b} {unit}, and a {hole} takes up {c} by {d} {unit} of it.",
        ),
        (
            "How many square {unit} remain?",
            "What area of the {whole} is left for {name}?",
            "What is the area without the {hole}?",
        ),
    )
    steps = (
        Step("outer", "a * b", "the area of the {whole}", "it is a rectangle of {a} by {b}"),
        Step("inner", "c * d", "the area of the {hole}", "it is a rectangle of {c} by {d}"),
        Step("area", "outer - inner", "the area left", "the {hole} does not count"),
    )
    givens = {"a": draw.number(14, 50), "b": draw.number(12, 40)}
    givens |= {"c": draw.number(2, 12), "d": draw.number(2, 10)}
    words = {"name": draw.person(), "whole": whole, "hole": hole, "unit": unit}
    return compose(draw, story, givens=givens, words=words, steps=steps)


def kits(draw: Draw) -> Problem:
    """A greatest common divisor."""
    a, b = draw.one_of([(p, q) for p in range(2, 12) for q in range(2, 12) if p != q and math.gcd(p, q) == 1])
    first, second = draw.rng.sample(THINGS, 2)
    story = (
        (
            "{name} puts {n1} {first} and {n2} {second} into as many identical kits as possible, using all.",
            "Exactly {n1} {first} and {n2} {second} fill the largest possible number of equal {containers}.",
        ),
        ("How many pieces are in each?", "How many items does {name} put into each one?"),
    )
    steps = (
        Step("groups", "gcd(n1, n2)", "the number of groups", "it must divide {n1} and {n2}"),
        Step("pieces", "(n1 + n2) // groups", "the number in each", "all pieces are shared equally"),
    )
    common = draw.number(4, 36)
    words = {"name": draw.person(), "first": first, "second": second}
    words["containers"] = draw.one_of(CONTAINERS)[1]
    return compose(draw, story, givens={"n1": a * common, "n2": b * common}, words=words, steps=steps)


def flashes(draw: Draw) -> Problem:
    """A least common multiple."""
    a, b = draw.one_of(((2, 3), (3, 4), (2, 5), (3, 5), (4, 5), (5, 6), (2, 7), (3, 7), (4, 7), (3, 8)))
    common = draw.number(2, 9)
    p, q = a * common, b * common
    what = draw.one_of(("lamps flash", "bells ring", "pumps start", "clocks chime", "drums beat", "geysers erupt"))
    story = (
        (
            "Two {what} every {p} and every {q} seconds, and {name} sees them start together.",
            "{name} watches two {what} at once; after that they repeat every {p} and {q} seconds.",
        ),
        (
            "How many more times does this happen together in the next {span} seconds?",
            "In {span} seconds, how often do they coincide again?",
        ),
    )
    steps = (
        Step("cycle", "lcm(p, q)", "the common cycle", "{p} and {q} must both divide it"),
        Step("meets", "span // cycle", "the number of meetings", "one meeting comes every {cycle} seconds"),
    )
    givens = {"p": p, "q": q, "span": math.lcm(p, q) * draw.number(2, 19)}
    words = {"name": draw.person(), "what": what}
    return compose(draw, story, givens=givens, words=words, steps=steps)


def one_draw(draw: Draw) -> Problem:
    """The chance of another colour."""
    story = (
        (
            "A {container} holds {a} {c1}, {b} {c2} and {c} {c3} {things}.",
            "{name} fills a {container} with {a} {c1}, {b} {c2} and {c} {c3} {things}.",
        ),
        (
            "One is taken at random. What is the probability that it is not {c1}?",
            "{name} picks one without looking. What is the chance that it is {c2} or {c3}?",
        ),
    )
    steps = (
        Step("good", "b + c", "the number of good cases", "{c2} and {c3} both count"),
        Step("total", "good + a", "the number of cases", "the {c1} ones can come up too"),
        Step("chance", "Fraction(good, total)", "the probability", "all cases are equally likely"),
    )
    c1, c2, c3 = draw.rng.sample(COLOURS, 3)
    givens = {letter: draw.number(2, 15) for letter in "abc"}
    words = {"name": draw.person(), "things": draw.one_of(THINGS), "c1": c1, "c2": c2, "c3": c3}
    words["container"] = draw.one_of(CONTAINERS)[0]
    return compose(draw, story, givens=givens, words=words, steps=steps)


def two_draws(draw: Draw) -> Problem:
    """The chance of the same colour twice, without putting back."""
    story = (
        (
            "A {container} has {a} {c1} and {b} {c2} {things}.",
            "In {name}'s {container} there are {a} {c1} {things} and {b} {c2} ones.",
        ),
        (
            "Two are drawn without putting back. What is the probability that both are {c1}?",
            "{name} draws two at random, one after the other. What is the chance of two {c1} ones?",
        ),
    )
    steps = (
        Step("total", "a + b", "the number of {things}", "both colours count"),
        Step("good", "a * (a - 1)", "the number of good pairs", "the second draw has one {c1} fewer"),
        Step("pairs", "total * (total - 1)", "the number of pairs", "the second draw has one fewer"),
        Step("chance", "Fraction(good, pairs)", "the probability", "all pairs are equally likely"),
    )
    c1, c2 = draw.rng.sample(COLOURS, 2)
    words = {"name": draw.person(), "things": draw.one_of(THINGS), "c1": c1, "c2": c2}
    words["container"] = draw.one_of(CONTAINERS)[0]
    givens = {"a": draw.number(3, 14), "b": draw.number(2, 14)}
    return compose(draw, story, givens=givens, words=words, steps=steps)
