"""Problems of rates: percentages, unit rates, travel, interest."""

from qads.demo.task import Draw, Problem, Step, compose
from qads.demo.words import BIG_GOODS, GROCERIES, GROUPS, THINGS


def discount(draw: Draw) -> Problem:
    """A discount and a voucher."""
    price, percent = draw.number(60, 900, by=20), draw.number(5, 45, by=5)
    story = (
        (
            "A {item} costs ${price}. It is on sale at {percent}% off.",
            "{name} wants a {item} priced at ${price}, and today there is a {percent}% discount.",
            "The tag on a {item} says ${price}; the shop takes {percent}% off for members such as {name}.",
        ),
        (
            "A voucher takes off another ${voucher}. What is the final price in dollars?",
            "{name} also has a ${voucher} voucher. How many dollars does {name} pay?",
        ),
    )
    steps = (
        Step("saving", "price * percent // 100", "the discount", "it is {percent}% of ${price}"),
        Step("sale", "price - saving", "the sale price", "the discount comes off ${price}"),
        Step("final", "sale - voucher", "the final price", "the voucher is worth ${voucher}"),
    )
    givens = {"price": price, "percent": percent, "voucher": draw.number(3, 25)}
    words = {"name": draw.person(), "item": draw.one_of(BIG_GOODS)}
    return compose(draw, story, givens=givens, words=words, steps=steps)


def growth(draw: Draw) -> Problem:
    """A percentage up, then some leave."""
    members, percent = draw.number(40, 600, by=20), draw.number(10, 85, by=5)
    story = (
        (
            "Last year the {group} had {members} members. This spring it grew by {percent}%.",
            "{name} runs the {group}. From {members} members it grew by {percent}% in a year.",
            "Membership of the {group} rose {percent}% from {members}.",
        ),
        (
            "Then {left} people moved away. How many members are there now?",
            "If {left} of them leave in autumn, how many members does {name} still count?",
        ),
    )
    steps = (
        Step("new", "members * percent // 100", "the number of new members", "{percent}% of {members} joined"),
        Step("peak", "members + new", "the highest count", "the new ones are added"),
        Step("now", "peak - left", "the present count", "{left} people left"),
    )
    givens = {"members": members, "percent": percent, "left": draw.number(3, 37)}
    words = {"name": draw.person(), "group": draw.one_of(GROUPS)}
    return compose(draw, story, givens=givens, words=words, steps=steps)


def output(draw: Draw) -> Problem:
    """A steady machine."""
    rate, minutes = draw.number(3, 28), draw.number(4, 20)
    story = (
        (
            "A machine wraps {made} {things} in {minutes} minutes.",
            "{name} can pack {made} {things} in {minutes} minutes.",
            "In {minutes} minutes a robot that {name} built sorts {made} {things}.",
        ),
        (
            "At this pace, how many are done in {later} minutes?",
            "How many {things} are finished after {later} minutes at the same speed?",
        ),
    )
    steps = (
        Step("per_minute", "made // minutes", "the rate per minute", "{made} take {minutes} minutes"),
        Step("done", "per_minute * later", "the number done", "the same pace holds for {later} minutes"),
    )
    givens = {"made": rate * minutes, "minutes": minutes, "later": draw.number(21, 75)}
    words = {"name": draw.person(), "things": draw.one_of(THINGS)}
    return compose(draw, story, givens=givens, words=words, steps=steps)


def by_weight(draw: Draw) -> Problem:
    """A price per kilogram and a delivery fee."""
    price, weight = draw.number(2, 17), draw.number(3, 9)
    story = (
        (
            "{weight} kg of {food} cost ${cost}.",
            "{name} paid ${cost} for {weight} kg of {food}.",
            "At the market, ${cost} buys {weight} kg of {food}.",
        ),
        (
            "What do {more} kg cost with a delivery fee of ${fee}?",
            "Now {name} orders {more} kg by post, which adds ${fee}. How many dollars is that?",
        ),
    )
    steps = (
        Step("price", "cost // weight", "the price per kilogram", "{weight} kg cost ${cost}"),
        Step("goods", "price * more", "the cost of the {food}", "{more} kg are ordered"),
        Step("total", "goods + fee", "the total", "delivery adds ${fee}"),
    )
    givens = {
        "cost": price * weight,
        "weight": weight,
        "more": draw.number(10, 45),
        "fee": draw.number(3, 19),
    }
    words = {"name": draw.person(), "food": draw.one_of(GROCERIES)}
    return compose(draw, story, givens=givens, words=words, steps=steps)


def two_legs(draw: Draw) -> Problem:
    """A journey in two parts."""
    story = (
        (
            "{name} drives {h1} hours at {v1} km/h and then {h2} hours at {v2} km/h.",
            "A coach goes {v1} km/h for {h1} hours, then {v2} km/h for {h2} hours.",
            "For {h1} hours {name}'s train runs at {v1} km/h; for the next {h2} hours it runs at {v2} km/h.",
        ),
        ("How many kilometres is that in total?", "How long is the whole trip in km?"),
    )
    steps = (
        Step("first", "v1 * h1", "the first distance", "{h1} hours pass at {v1} km/h"),
        Step("second", "v2 * h2", "the second distance", "{h2} hours pass at {v2} km/h"),
        Step("trip", "first + second", "the whole distance", "the two parts add up"),
    )
    givens = {"v1": draw.number(40, 98, by=2), "h1": draw.number(2, 6)}
    givens |= {"v2": draw.number(50, 125, by=5), "h2": draw.number(2, 5)}
    return compose(draw, story, givens=givens, words={"name": draw.person()}, steps=steps)


def travel_time(draw: Draw) -> Problem:
    """Minutes on the way, with a break."""
    speed = draw.one_of((12, 16, 20, 24, 36, 40, 48, 60, 80))
    vehicle = draw.one_of(("bus", "tram", "ferry", "bike", "truck", "horse cart", "scooter", "van"))
    story = (
        (
            "{name} takes a {vehicle} for {distance} km at {speed} km/h.",
            "A {vehicle} covers {distance} km at a steady {speed} km/h.",
            "The lake is {distance} km away, and {name}'s {vehicle} does {speed} km/h.",
        ),
        (
            "There is also a stop of {pause} minutes. How many minutes does the trip take?",
            "With {pause} minutes of waiting, how many minutes pass in all?",
        ),
    )
    steps = (
        Step(
            "moving",
            "distance * 60 // speed",
            "the time in motion",
            "an hour of 60 minutes covers {speed} km",
        ),
        Step("total", "moving + pause", "the whole time", "the stop adds {pause} minutes"),
    )
    distance = speed // 4 * draw.one_of([n for n in range(2, 15) if n != 4])
    givens = {"distance": distance, "speed": speed, "pause": draw.number(4, 55)}
    words = {"name": draw.person(), "vehicle": vehicle}
    return compose(draw, story, givens=givens, words=words, steps=steps)


def meeting(draw: Draw) -> Problem:
    """Two travellers meet after some hours and a half."""
    v1, v2 = draw.rng.sample(range(9, 30), 2)
    v2 += (v1 + v2) % 2
    halves = draw.number(3, 11, by=2)
    story = (
        (
            "{name} and {friend} live {distance} km apart and cycle to each other at {v1} and {v2} km/h.",
            "Two boats, {distance} km apart, head for each other at {v1} km/h and {v2} km/h.",
            "From towns {distance} km apart, {name} sets out at {v1} km/h and {friend} at {v2} km/h to meet.",
        ),
        ("After how many hours do they meet?", "How many hours pass until they meet?"),
    )
    steps = (
        Step("closing", "v1 + v2", "the closing speed", "both move towards each other"),
        Step("hours", "distance / closing", "the time in hours", "the gap is {distance} km"),
    )
    name, friend = draw.people(2)
    givens = {"distance": (v1 + v2) // 2 * halves, "v1": v1, "v2": v2}
    return compose(draw, story, givens=givens, words={"name": name, "friend": friend}, steps=steps)


def balance(draw: Draw) -> Problem:
    """Simple interest and the balance."""
    story = (
        (
            "{name} puts ${principal} in an account that pays {rate}% simple interest a year.",
            "A bank offers {rate}% simple interest per year, and {name} deposits ${principal}.",
            "A fund of ${principal} earns {rate}% simple interest every year.",
        ),
        (
            "How many dollars are there after {years} years?",
            "What is the balance in dollars when {years} years have passed?",
        ),
    )
    steps = (
        Step("yearly", "principal * rate // 100", "the interest per year", "it is {rate}% of ${principal}"),
        Step("interest", "yearly * years", "the total interest", "it is paid for {years} years"),
        Step("end", "principal + interest", "the balance", "the interest is added to the deposit"),
    )
    givens = {
        "principal": draw.number(200, 6000, by=100),
        "rate": draw.number(2, 9),
        "years": draw.number(2, 14),
    }
    return compose(draw, story, givens=givens, words={"name": draw.person()}, steps=steps)


def years_needed(draw: Draw) -> Problem:
    """How long until the interest reaches a goal."""
    principal, rate, years = draw.number(200, 5000, by=100), draw.number(2, 9), draw.number(3, 20)
    story = (
        (
            "{name} lends {friend} ${principal} at {rate}% simple interest a year.",
            "A bond of ${principal} pays {rate}% simple interest each year to {name}.",
        ),
        (
            "After how many years has the interest reached ${goal}?",
            "How many years does it take to collect ${goal} of interest?",
        ),
    )
    steps = (
        Step("yearly", "principal * rate // 100", "the interest per year", "{rate}% of ${principal} is paid"),
        Step("years", "goal // yearly", "the number of years", "each year adds ${yearly}"),
    )
    name, friend = draw.people(2)
    givens = {"principal": principal, "rate": rate, "goal": principal * rate // 100 * years}
    return compose(draw, story, givens=givens, words={"name": name, "friend": friend}, steps=steps)
