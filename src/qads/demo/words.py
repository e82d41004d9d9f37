"""The people and the objects of the demo."""

POOL_NAMES = (
    "Mira", "Tomas", "Aisha", "Kenji", "Lena", "Omar", "Priya", "Jonas", "Nia", "Mateo", "Elif", "Sven",
    "Chloe", "Ravi", "Hana", "Diego", "Zoe", "Arjun", "Freya", "Malik", "Ines", "Pavel", "Amara", "Felix",
    "Yuki", "Carla", "Idris", "Greta", "Luca", "Soraya", "Bela", "Noor", "Anders", "Tessa", "Kofi",
    "Marta", "Rohan", "Sadie", "Emeka", "Vera", "Hugo", "Leila", "Stefan", "Paloma", "Dmitri", "Ruth",
    "Jamal", "Ingrid", "Wen", "Oscar", "Farah", "Nils", "Beatriz", "Tariq", "Agnes", "Milo", "Sunita",
    "Gabriel", "Petra", "Kwame",
)  # fmt: skip

ANCHOR_NAMES = (
    "Aurelio", "Bronwyn", "Casimir", "Dagny", "Evander", "Fenella", "Gudrun", "Isolde", "Jocasta",
    "Leocadia", "Merrick", "Ottoline", "Percival", "Quillon", "Rosalind", "Sunniva", "Thaddeus", "Ulrika",
    "Vasilisa", "Winifred", "Xiomara", "Yevgenia", "Zebedee",
)  # fmt: skip
"""Reserved: every anchor names one of these and no row of a pool does, so no anchor can occur in a pool."""

THINGS = (
    "stickers", "marbles", "beads", "postcards", "buttons", "seashells", "badges", "crayons", "candles",
    "magnets", "notebooks", "tulip bulbs", "tiles", "trading cards", "paper cranes", "chess pieces",
    "jigsaw pieces", "walnuts", "tea bags", "bookmarks", "screws", "lemons", "tennis balls",
    "clothes pegs",
)  # fmt: skip

CONTAINERS = (
    ("box", "boxes"), ("bag", "bags"), ("crate", "crates"), ("jar", "jars"), ("basket", "baskets"),
    ("drawer", "drawers"), ("tray", "trays"), ("tin", "tins"), ("sack", "sacks"), ("suitcase", "suitcases"),
)  # fmt: skip

GOODS = (
    "mugs", "scarves", "posters", "lamps", "puzzles", "cushions", "kites", "umbrellas", "teapots",
    "board games", "blankets", "flower pots", "torches", "sketchbooks", "chessboards", "water bottles",
    "alarm clocks",
)  # fmt: skip
"""What one buys by the piece."""

BIG_GOODS = (
    "bicycle", "tent", "guitar", "desk", "camera", "winter coat", "telescope", "sewing machine",
    "bookcase", "keyboard", "rowing machine", "drum kit", "microscope", "suitcase set", "coffee machine",
    "violin",
)  # fmt: skip

GROCERIES = (
    "rice", "apples", "flour", "cheese", "lentils", "olives", "almonds", "potatoes", "coffee beans",
    "honey", "dried figs", "oats", "cherries", "birdseed", "sugar", "chickpeas",
)  # fmt: skip
"""What one buys by weight."""

GROUPS = (
    "chess club", "choir", "rowing team", "drama group", "village library", "hiking society",
    "pottery class", "running club", "community garden", "film club", "robotics team", "school band",
    "knitting circle", "swimming club", "astronomy society",
)  # fmt: skip

COLOURS = ("red", "blue", "green", "yellow", "purple", "white", "orange", "black", "silver", "pink")
