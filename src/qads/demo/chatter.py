"""Requests that have nothing to do with mathematics, answered briefly."""

from collections.abc import Mapping
from dataclasses import dataclass

from qads.demo.task import Draw

_SLOTS: Mapping[str, tuple[str, ...]] = {
    "place": ("the coast", "a mountain hut", "a big city", "a lakeside cabin", "the desert", "a forest camp",
              "an old harbour town", "a small island", "a ski village", "a music festival"),
    "season": ("spring", "summer", "autumn", "winter", "the rainy season"),
    "item": ("a rain jacket", "thick socks", "sunscreen", "a torch", "a paperback", "earplugs", "snacks",
             "a sewing kit", "a power bank", "a wool hat", "sandals", "a notebook", "playing cards"),
    "plant": ("basil", "a fern", "an orchid", "a cactus", "mint", "a peace lily", "ivy", "a rubber plant",
              "lavender", "a bonsai", "a geranium", "an aloe"),
    "sign": ("yellow leaves", "dry tips", "drooping stems", "pale leaves", "brown spots", "no new growth"),
    "care": ("Let the top of the soil dry before watering again.", "Move it closer to a bright window.",
             "Give it a larger pot with holes.", "Mist it in the morning.", "Keep it away from the radiator.",
             "Feed it lightly once a month."),
    "boss": ("a manager", "a teacher", "the landlord", "a neighbour", "a client", "the librarian", "a coach"),
    "matter": ("a late reply", "moving a meeting", "a broken heater", "borrowing a projector",
               "a missed call", "a noisy party", "a free day", "a lost key"),
    "thanks": ("Thank you for your patience.", "I am grateful for your help.", "Thanks for understanding.",
               "I appreciate your time."),
    "mood": ("gentle", "funny", "gripping", "short", "dreamy", "strange", "hopeful", "calm"),
    "genre": ("mystery", "travel memoir", "family saga", "sea story", "fairy tale", "diary", "ghost story"),
    "moment": ("a long train ride", "a rainy Sunday", "a quiet evening", "a beach day", "a sleepless night"),
    "dish": ("tomato soup", "pancakes", "bean stew", "fried rice", "apple cake", "curry", "potato salad"),
    "missing": ("eggs", "butter", "cream", "onions", "fresh herbs", "lemons", "garlic", "milk"),
    "tip": ("Taste as you go.", "Keep the heat low.", "Let it rest before serving.", "Add salt at the end.",
            "Use whatever is in season."),
    "pet": ("cat", "big dog", "rabbit", "parrot", "hamster", "puppy", "tortoise"),
    "habit": ("wakes everyone at dawn", "hides under the bed", "chews the curtains", "ignores new food",
              "trembles during storms", "scratches the sofa"),
    "room": ("a messy desk", "a full hallway", "the garage", "a tiny kitchen", "a loft", "the balcony"),
    "event": ("birthday", "wedding", "retirement", "new job", "graduation", "house-warming"),
    "wish": ("May the year be full of good surprises.", "We are lucky to know you.",
             "Enjoy every minute of it.", "Here is to many happy days."),
    "sound": ("footsteps on gravel", "rain on a tin roof", "a distant train", "a kettle about to sing",
              "wind in the reeds", "a closing door"),
}  # fmt: skip
"""What a slot may hold; `{item}`, `{item2}` and so on are different values of one slot."""


@dataclass(frozen=True)
class _Topic:
    asks: tuple[str, ...]
    reply: str


_TOPICS = (
    _Topic(
        ("What should {name} pack for {place} in {season}?", "A packing list for {name}: {place}, {season}."),
        "Take {item}, {item2} and {item3}. Leave room for something you find, and put {item4} on top.",
    ),
    _Topic(
        (
            "Write a polite email from {name} to {boss} about {matter}.",
            "Help {name} tell {boss} about {matter}.",
        ),
        "Hello, I am writing about {matter}. I hope we find a way soon. {thanks} Best wishes, {name}",
    ),
    _Topic(
        ("{name} has {plant} with {sign} in {season}.", "How does {name} save {plant} with {sign}?"),
        "{care} {care2} With a little patience, {plant} should recover by itself.",
    ),
    _Topic(
        (
            "Suggest a {mood} {genre} for {name} to read on {moment}.",
            "On {moment}, which {genre} suits {name}?",
        ),
        "Look for a {mood} {genre} with a small cast and vivid places; it goes well with {moment}.",
    ),
    _Topic(
        (
            "How can {name} make {dish} without {missing}?",
            "{name} is out of {missing}. Will {dish} still work?",
        ),
        "Yes. Leave out the {missing}, and give the {dish} more time and spice instead. {tip} {tip2}",
    ),
    _Topic(
        ("{name}'s {pet} {habit}. Any advice?", "{name} asks why a {pet} {habit} in {season}."),
        "Keep calm and keep to a routine. Reward the {pet} when it behaves well, and rule out pain first.",
    ),
    _Topic(
        ("How should {name} tidy {room} in {season}?", "Give {name} a plan for {room} in {season}, please."),
        "Empty everything, keep what you use, and store {item} and {item2} together. Give the rest away.",
    ),
    _Topic(
        (
            "Write a {mood} card for {name}'s {event}.",
            "{name}'s {event} is near. What {mood} words fit a card?",
        ),
        "Dear {name}, congratulations on your {event}! {wish} With love from all of us.",
    ),
    _Topic(
        (
            "Describe {place} in {season} for a {mood} {genre}.",
            "Begin a {genre} that takes {name} to {place}.",
        ),
        "First came {sound}, then nothing. Ahead lay {place}, still and waiting, and then {sound2}.",
    ),
)


def draw_chatter(draw: Draw) -> tuple[str, str]:
    """A request and its reply."""
    topic = draw.one_of(_TOPICS)
    words = {"name": draw.person()}
    for slot, values in _SLOTS.items():
        first, *others = draw.rng.sample(values, 4)
        words |= {slot: first} | {f"{slot}{i}": value for i, value in enumerate(others, start=2)}
    return draw.one_of(topic.asks).format(**words), topic.reply.format(**words)
