"""Ways in which a file goes bad, each a function of its bytes and a generator of random numbers.

Every one is deterministic: the same bytes and the same seed give the same damage, so that a case is known by its number.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable

__all__ = ["MUTATIONS", "Mutation"]

Mutation = Callable[[bytes, random.Random], bytes]

NASTY = [
    b"\x00", b"\x1b[2J\x1b]0;title\x07", b"\x1b]8;;http://example.org\x1b\\", "\u202e\u2066".encode(), b"\xff\xfe", b"\r", b"\r\n\r\n", b"\x85",
    "\u2028\u2029".encode(), b"\xef\xbb\xbf", b"\\ud83d", b"\\u0000", b"NaN", b"-Infinity", b"1e999", b"9" * 400, b"9" * 5000,
    b"-0", b"null", b"true", b"{}", b"[]", b'""', b'"', b"'", b",", b":", b"\t", b"\\", b"[" * 2000, b'{"a":' * 2000, b"<script>", b"../../x", b"%s%n",
    b"{{7*7}}", "\u0301".encode() * 300, "\U0001f469\u200d\U0001f469".encode() * 20,
    b"!!python/object/apply:os.getcwd []", b"&a [*a]", b"0o17", b"2024-99-99", b"1_000", b"yes", b"~", b"--- \n",
]  # fmt: skip
"""What is put into a file: controls, escapes of terminals, odd numbers, quotes, nesting, tags."""


def flip(content: bytes, dice: random.Random) -> bytes:
    """Some bits are turned."""
    damaged = bytearray(content)
    for _ in range(dice.randint(1, 8)):
        damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
    return bytes(damaged)


def truncate(content: bytes, dice: random.Random) -> bytes:
    """The end is missing."""
    return content[: dice.randrange(len(content))]


def behead(content: bytes, dice: random.Random) -> bytes:
    """The beginning is missing."""
    return content[dice.randrange(len(content)) :]


def delete(content: bytes, dice: random.Random) -> bytes:
    """A stretch is missing."""
    start = dice.randrange(len(content))
    return content[:start] + content[start + dice.randint(1, 40) :]


def duplicate(content: bytes, dice: random.Random) -> bytes:
    """A stretch is there twice."""
    start = dice.randrange(len(content))
    stop = start + dice.randint(1, 400)
    return content[:stop] + content[start:stop] + content[stop:]


def splice(content: bytes, dice: random.Random) -> bytes:
    """One stretch lies over another."""
    length = dice.randint(1, 100)
    source, target = dice.randrange(len(content)), dice.randrange(len(content))
    return content[:target] + content[source : source + length] + content[target + length :]


def insert(content: bytes, dice: random.Random) -> bytes:
    """Something nasty stands somewhere."""
    for _ in range(dice.randint(1, 3)):
        place = dice.randrange(len(content) + 1)
        content = content[:place] + dice.choice(NASTY) + content[place:]
    return content


def unquote(content: bytes, dice: random.Random) -> bytes:
    """Quotes, brackets or commas are missing."""
    sign = dice.choice(b"\"'{}[],:")
    places = [place for place, byte in enumerate(content) if byte == sign] or [0]
    place = dice.choice(places)
    return content[:place] + content[place + 1 :]


def shuffle_lines(content: bytes, dice: random.Random) -> bytes:
    """Lines are in another order, some twice, some gone."""
    lines = content.splitlines(keepends=True)
    return b"".join(dice.choices(lines, k=len(lines)))


def join_lines(content: bytes, dice: random.Random) -> bytes:
    """Line ends are missing or of another system."""
    return content.replace(b"\n", dice.choice([b"\r\n", b"\r", b" ", b"\n\n", b"\x0b"]), dice.randint(1, 5))


def recode(content: bytes, dice: random.Random) -> bytes:
    """The text is in another encoding."""
    text = content.decode("utf-8", errors="replace")
    return text.encode(dice.choice(["utf-16", "utf-16-le", "utf-8-sig", "latin-1", "cp1252", "utf-7"]), errors="replace")


def swap_value(content: bytes, dice: random.Random) -> bytes:
    """One value of a JSON text has another type."""
    values = list(re.finditer(rb'(?<=": )(?:"(?:[^"\\]|\\.)*"|-?\d+|null)|(?<=":)(?:"(?:[^"\\]|\\.)*"|-?\d+|null)', content))
    if not values:
        return insert(content, dice)
    found = dice.choice(values)
    other = dice.choice([b"null", b"17", b"-1e400", b"NaN", b"[]", b'[{"a": 1}]', b"{}", b'""', b'" "', b"true", b'"\\u0000"', b'"\\ud800"', b"9" * 50])
    return content[: found.start()] + other + content[found.end() :]


def swap_key(content: bytes, dice: random.Random) -> bytes:
    """One key has another's name, or none."""
    keys = list(re.finditer(rb'"[\w ]{1,30}"(?=\s*:)', content))
    if len(keys) < 2:
        return insert(content, dice)
    found = dice.choice(keys)
    other = dice.choice([dice.choice(keys)[0], b'""', b'"context"', b'"meta"', b'"id"', b'"source"', b'"kind"', b'"answer"', b'"messages"', b'"../x"'])
    return content[: found.start()] + other + content[found.end() :]


def nest(content: bytes, dice: random.Random) -> bytes:
    """The file, or a line of it, lies in brackets of great depth."""
    depth = dice.choice([1, 10, 990, 5_000, 200_000])
    lines = content.splitlines(keepends=True)
    place = dice.randrange(len(lines))
    lines[place] = dice.choice([b"[", b'{"a":']) * depth + lines[place].rstrip(b"\n") + b"\n"
    return b"".join(lines)


def lengthen(content: bytes, dice: random.Random) -> bytes:
    """One piece of the text is repeated until it is long."""
    start = dice.randrange(len(content))
    piece = content[start : start + dice.randint(1, 6)]
    return content[:start] + piece * (dice.choice([100, 3_000, 20_000]) // max(1, len(piece))) + content[start:]


def concatenate(content: bytes, dice: random.Random) -> bytes:
    """Two files have become one."""
    return content + dice.choice([b"", b"\n", b"\x00"]) + content[dice.randrange(len(content)) :]


def zero(content: bytes, dice: random.Random) -> bytes:
    """A stretch reads as zeros, as after a crash of the machine."""
    start = dice.randrange(len(content))
    length = min(dice.randint(1, 512), len(content) - start)
    return content[:start] + bytes(length) + content[start + length :]


def escape_keys(content: bytes, dice: random.Random) -> bytes:
    """The same object again with every character escaped; JSON that means what it meant."""
    lines = content.splitlines()
    try:
        place = dice.randrange(len(lines))
        lines[place] = json.dumps(json.loads(lines[place]), ensure_ascii=True).encode()
    except (ValueError, RecursionError):
        return flip(content, dice)
    return b"\n".join(lines)


_ALL: tuple[Mutation, ...] = (
    flip, truncate, behead, delete, duplicate, splice, insert, unquote, shuffle_lines, join_lines, recode, swap_value, swap_key,
    nest, lengthen, concatenate, zero, escape_keys,
)  # fmt: skip
MUTATIONS: dict[str, Mutation] = {mutation.__name__: mutation for mutation in _ALL}
"""Every way, by its name."""
