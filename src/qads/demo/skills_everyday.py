"""Problems of counting and sharing: arithmetic, fractions, ratios, averages."""

import math

from qads.demo.task import Draw, Problem, Step, compose
from qads.demo.words import BIG_GOODS, COLOURS, CONTAINERS, GOODS, GROUPS, THINGS


def boxes(draw: Draw) -> Problem:
    """Equal boxes, some given away."""
    name, friend = draw.people(2)
    container, containers = draw.one_of(CONTAINERS)
    n_boxes, per_box = draw.number(3, 18), draw.number(6, 36)
    story = (
        (
            "{name} has {n_boxes} {containers} of {things}.",
            "A delivery of {n_boxes} {containers} of {things} arrives for {name}.",
            "While tidying the attic, {name} finds {n_boxes} {containers} full of {things}.",
            "For the school fair, {name} collects {n_boxes} {containers} of {things}.",
        ),
        ("Each {container} holds {per_box}.", "There are {per_box} {things} in every {container}."),
        (
            "{name} gives {given} of them to {friend}. How many {things} are left?",
            "After {friend} takes {given}, how many does {name} still have?",
            "If {given} turn out to be broken, how many good ones remain?",
        ),
    )
    steps = (
        Step("total", "n_boxes * per_box", "the number at first", "each {container} holds {per_box}"),
        Step("left", "total - given", "the number left", "{given} of the {total} are gone"),
    )
    givens = {"n_boxes": n_boxes, "per_box": per_box, "given": draw.number(5, n_boxes * per_box - 3)}
    words = {"name": name, "friend": friend, "things": draw.one_of(THINGS)}
    words |= {"container": container, "containers": containers}
    return compose(draw, story, givens=givens, words=words, steps=steps)


def change(draw: Draw) -> Problem:
    """Two purchases and the change."""
    first, second = draw.rng.sample(GOODS, 2)
    a, price_a, b, price_b = draw.number(2, 9), draw.number(3, 19), draw.number(2, 8), draw.number(4, 23)
    story = (
        (
            "{name} buys {a} {first} at ${price_a} each and {b} {second} at ${price_b} each.",
            "At the street market {first} cost ${price_a} and {second} cost ${price_b}. "
            "{name} takes {a} {first} and {b} {second}.",
            "A shop sells {first} for ${price_a} apiece and {second} for ${price_b} apiece; "
            "{name} wants {a} {first} and {b} {second}.",
        ),
        (
            "How much change comes back from ${paid}?",
            "How many dollars remain from a budget of ${paid}?",
            "If {name} pays with ${paid}, how many dollars are returned?",
        ),
    )
    steps = (
        Step("cost_a", "a * price_a", "the cost of the {first}", "{a} {first} are bought at ${price_a}"),
        Step("cost_b", "b * price_b", "the cost of the {second}", "{b} {second} are bought at ${price_b}"),
        Step("change", "paid - cost_a - cost_b", "the money left", "both costs come out of ${paid}"),
    )
    paid = (a * price_a + b * price_b) // 10 * 10 + draw.number(10, 60, by=10)
    givens = {"a": a, "price_a": price_a, "b": b, "price_b": price_b, "paid": paid}
    words = {"name": draw.person(), "first": first, "second": second}
    return compose(draw, story, givens=givens, words=words, steps=steps)


def savings(draw: Draw) -> Problem:
    """Saving by the week for something dear."""
    start, weekly, weeks = draw.number(15, 95, by=5), draw.number(6, 34), draw.number(4, 26)
    story = (
        (
            "{name} has ${start} and saves ${weekly} every week for {weeks} weeks.",
            "With ${start} already in a jar, {name} adds ${weekly} a week for {weeks} weeks.",
            "A job brings {name} ${weekly} a week. It lasts {weeks} weeks, and {name} had ${start} before.",
        ),
        (
            "Then {name} buys a {item} for ${price}. How many dollars are left?",
            "How much money remains after paying ${price} for a {item}?",
        ),
    )
    steps = (
        Step("saved", "weekly * weeks", "the amount saved", "${weekly} comes in for {weeks} weeks"),
        Step("total", "start + saved", "the money before buying", "${start} was there at the start"),
        Step("left", "total - price", "the money after buying", "the {item} costs ${price}"),
    )
    price = draw.number(20, start + weekly * weeks - 4)
    givens = {"start": start, "weekly": weekly, "weeks": weeks, "price": price}
    words = {"name": draw.person(), "item": draw.one_of(BIG_GOODS)}
    return compose(draw, story, givens=givens, words=words, steps=steps)


def _proper_fraction(draw: Draw) -> tuple[int, int]:
    bottom = draw.number(3, 9)
    return draw.one_of([top for top in range(1, bottom) if math.gcd(top, bottom) == 1]), bottom


def pages(draw: Draw) -> Problem:
    """A fraction of a task, then a bit more."""
    top, bottom = _proper_fraction(draw)
    part = draw.number(12, 60)
    whole, work = draw.one_of(
        [("a book of {total} pages", "reads"), ("a wall of {total} bricks", "paints"),
         ("a list of {total} words", "learns"), ("an archive of {total} photos", "sorts"),
         ("a pile of {total} letters", "answers"), ("a fence of {total} boards", "sands")]
    )  # fmt: skip
    things = whole.split()[-1]
    story = (
        (
            f"{{name}} starts on {whole} and {work} {{top}}/{{bottom}} of it on the first day.",
            f"On holiday {{name}} {work} {{top}}/{{bottom}} of {whole}.",
            f"Out of {whole}, {{name}} {work} {{top}}/{{bottom}} before lunch.",
        ),
        (
            f"The next day {{name}} {work} {{extra}} more. How many {things} are still to do?",
            f"Then {{friend}} helps with another {{extra}}. How many {things} are left?",
        ),
    )
    steps = (
        Step("done", "total * top // bottom", "the first part", "it is {top}/{bottom} of {total} {things}"),
        Step("rest", "total - done", "the rest", "the first part is finished"),
        Step("left", "rest - extra", f"the number of {things} left", "{extra} more are done later"),
    )
    extra = draw.number(2, (bottom - top) * part - 2)
    givens = {"total": bottom * part, "top": top, "bottom": bottom, "extra": extra}
    name, friend = draw.people(2)
    words = {"name": name, "friend": friend, "things": things}
    return compose(draw, story, givens=givens, words=words, steps=steps)


def rest_of_rest(draw: Draw) -> Problem:
    """A fraction of what another fraction left."""
    (p, q), (r, s) = _proper_fraction(draw), _proper_fraction(draw)
    story = (
        ("{name} earns ${total}.", "A prize of ${total} goes to {name}.", "{name} has ${total} for a trip."),
        (
            "{name} spends {p}/{q} of it on {first} and {r}/{s} of what remains on {second}.",
            "First {p}/{q} goes to {first}, then {r}/{s} of the rest to {second}.",
        ),
        ("How many dollars are left?", "How much is not spent?", "How much money is still there at the end?"),
    )
    steps = (
        Step("spent", "total * p // q", "the cost of the {first}", "{p}/{q} of ${total} is spent"),
        Step("rest", "total - spent", "the rest", "${spent} is gone"),
        Step("more", "rest * r // s", "the cost of the {second}", "{r}/{s} of the rest is spent"),
        Step("left", "rest - more", "the money left", "${more} is taken from ${rest}"),
    )
    first, second = draw.rng.sample(("rent", "food", "travel", "books", "tickets", "clothes", "repairs"), 2)
    givens = {"total": q * s * draw.number(2, 40), "p": p, "q": q, "r": r, "s": s}
    words = {"name": draw.person(), "first": first, "second": second}
    return compose(draw, story, givens=givens, words=words, steps=steps)


def sharing(draw: Draw) -> Problem:
    """Sharing in a ratio."""
    b = draw.number(2, 8)
    a = draw.one_of([n for n in range(b + 1, 12) if math.gcd(n, b) == 1])
    story = (
        (
            "{name} and {friend} share {total} {things} in the ratio {a} : {b}.",
            "A bag of {total} {things} is split between {name} and {friend} in the ratio {a} to {b}.",
            "For every {a} {things} that {name} gets, {friend} gets {b}. Together they get {total}.",
        ),
        ("How many more does {name} get?", "By how many {things} is {name}'s share larger than {friend}'s?"),
    )
    steps = (
        Step("parts", "a + b", "the number of equal parts", "the ratio is {a} to {b}"),
        Step("one", "total // parts", "the size of one part", "{total} {things} make {parts} parts"),
        Step("more", "one * (a - b)", "the difference", "{name} has {a} parts and {friend} has {b}"),
    )
    name, friend = draw.people(2)
    givens = {"total": (a + b) * draw.number(3, 40), "a": a, "b": b}
    words = {"name": name, "friend": friend, "things": draw.one_of(THINGS)}
    return compose(draw, story, givens=givens, words=words, steps=steps)


def mixture(draw: Draw) -> Problem:
    """Scaling a mix from one of its parts."""
    a, b = draw.rng.sample(range(2, 10), 2)
    kind = draw.one_of(
        [("litres", "{colour} paint", "varnish"), ("cups", "oat flakes", "raisins"),
         ("buckets", "sand", "cement"), ("spoons", "lemon juice", "syrup"),
         ("kilograms", "compost", "clay"), ("glasses", "apple juice", "soda")]
    )  # fmt: skip
    story = (
        (
            "A mix needs {a} {unit} of {first} for every {b} {unit} of {second}.",
            "In {name}'s mix, {first} and {second} stand in the ratio {a} : {b} by {unit}.",
        ),
        (
            "{name} uses {used} {unit} of {first}. How many {unit} is the whole mix?",
            "How many {unit} does {name} have in all with {used} {unit} of {first}?",
        ),
    )
    steps = (
        Step("batches", "used // a", "the number of batches", "one batch takes {a} {unit} of {first}"),
        Step("other", "batches * b", "the amount of {second}", "one batch takes {b} {unit} of {second}"),
        Step("whole", "used + other", "the whole mix", "both parts count"),
    )
    unit, first, second = kind
    words = {"name": draw.person(), "unit": unit, "second": second}
    words["first"] = first.format(colour=draw.one_of(COLOURS))
    givens = {"a": a, "b": b, "used": a * draw.number(2, 30)}
    return compose(draw, story, givens=givens, words=words, steps=steps)


def mean(draw: Draw) -> Problem:
    """The mean of four counts, which may end in a quarter."""
    counts = {letter: draw.number(11, 98) for letter in "abcd"}
    story = (
        (
            "On four evenings the {group} counts {a}, {b}, {c} and {d} visitors.",
            "{name} walks {a}, {b}, {c} and {d} minutes on four days.",
            "Four games give {name} {a}, {b}, {c} and {d} points.",
        ),
        ("What is the mean?", "Find the average.", "What is the mean of these four numbers?"),
    )
    divide = "//" if sum(counts.values()) % 4 == 0 else "/"
    steps = (
        Step("total", "a + b + c + d", "the total", "the average needs the sum first"),
        Step("mean", f"total {divide} 4", "the average", "there are four numbers"),
    )
    words = {"name": draw.person(), "group": draw.one_of(GROUPS)}
    return compose(draw, story, givens=counts, words=words, steps=steps)


def next_score(draw: Draw) -> Problem:
    """The score that lifts an average."""
    n_tests, now = draw.number(3, 9), draw.number(58, 84)
    story = (
        (
            "After {n_tests} tests, {name} has an average of {now} points.",
            "{name}'s average over {n_tests} quizzes is {now} points.",
            "The {group} scored {now} points on average in its first {n_tests} contests.",
        ),
        (
            "What score next time makes the average {goal}?",
            "How many points are needed in the next one to bring the average to {goal}?",
        ),
    )
    steps = (
        Step("have", "n_tests * now", "the total so far", "{n_tests} results average {now}"),
        Step("need", "(n_tests + 1) * goal", "the total needed", "one more result must average {goal}"),
        Step("score", "need - have", "the next score", "the next score closes the gap"),
    )
    givens = {"n_tests": n_tests, "now": now, "goal": now + draw.number(1, 3)}
    words = {"name": draw.person(), "group": draw.one_of(GROUPS)}
    return compose(draw, story, givens=givens, words=words, steps=steps)
