"""The demo pool: skills × styles, with planted flaws, so that a selection can be judged by what it avoids."""

import random
import unicodedata
from collections import Counter
from collections.abc import Mapping
from itertools import cycle, islice

from qads.demo.chatter import draw_chatter
from qads.demo.skills import SKILLS, draw_problem
from qads.demo.styles import STYLES
from qads.demo.task import Draw, Problem, Worked, work, work_wrong
from qads.demo.words import ANCHOR_NAMES, POOL_NAMES

Row = dict[str, object]

MATH_SOURCES: tuple[str, ...] = tuple(STYLES)
SOURCES: tuple[str, ...] = (*MATH_SOURCES, "chatter")
FLAWS: Mapping[str, float] = {"wrong_step": 0.10, "no_reasoning": 0.07, "duplicate": 0.07, "off_topic": 0.06}
"""The share of the pool that has each flaw; the rest is clean."""

_MAX_ANCHOR_WORDS = 60
_MAX_REDRAWS = 1000


def make_demo_rows(*, n_rows: int = 2000, seed: int = 0) -> list[Row]:
    """A small pool of worked problems in which we know what is wrong with each row.

    `meta["flaw"]` is for the table at the end of the demo; no stage reads it. `meta["truth"]` is the right
    answer, which differs from `answer` only for `wrong_step`. A duplicate comes after the clean row that it
    copies; all other problems are distinct.

    Args:
        n_rows: how many rows, at least 1; each flaw has the nearest whole number to its share in `FLAWS`.
        seed: the same seed and size give the same rows on every machine.

    Returns:
        Rows `{id, source, problem, solution, answer, kind, meta}` in shuffled order; `meta` has the keys
        `skill`, `style`, `flaw` (None when clean) and `truth`.

    Raises:
        ValueError: if n_rows is below 1, or so large that the templates run out of distinct problems.

    Example:
        >>> rows = make_demo_rows(n_rows=50)
        >>> rows[0]["id"], len(rows)
        ('demo-00000', 50)
    """
    if n_rows < 1:
        raise ValueError(f"make_demo_rows: n_rows is {n_rows}; it must be at least 1")
    draw = Draw(random.Random(f"qads demo pool {seed}"), POOL_NAMES)
    n_flawed = Counter({flaw: round(n_rows * share) for flaw, share in FLAWS.items()})
    n_flawed["clean"] = n_rows - n_flawed.total()
    fresh = _Fresh()
    clean = _written(draw, fresh, n_flawed["clean"], flaw=None)
    placed = [(draw.rng.random(), row) for row in clean]
    for place, row in draw.rng.sample(placed, n_flawed["duplicate"]):
        placed.append((draw.rng.uniform(place, 1.0), _duplicate(draw, row)))
    others = [
        *_written(draw, fresh, n_flawed["wrong_step"], flaw="wrong_step"),
        *_written(draw, fresh, n_flawed["no_reasoning"], flaw="no_reasoning"),
        *(_off_topic(draw, fresh) for _ in range(n_flawed["off_topic"])),
    ]
    placed += [(draw.rng.random(), row) for row in others]
    placed.sort(key=lambda pair: pair[0])
    return [{**row, "id": f"demo-{i:05d}"} for i, (_, row) in enumerate(placed)]


def make_demo_anchors(*, n_anchors: int = 16, seed: int = 0) -> list[Row]:
    """Clean worked problems that are in no demo pool, whatever its seed and size.

    Every anchor names a person whose name is reserved for anchors, so disjointness needs no comparison. The
    skills take turns and so do the two most readable styles, `stepwise` and `explained`; n anchors are the
    first n of any larger set of the same seed.

    Args:
        n_anchors: how many anchors, at least 1.
        seed: the same seed gives the same anchors on every machine.

    Returns:
        Rows of the same form as those of `make_demo_rows`, without flaws.

    Raises:
        ValueError: if n_anchors is below 1, or so large that the templates run out of distinct problems.

    Example:
        >>> [row["source"] for row in make_demo_anchors(n_anchors=3)]
        ['stepwise', 'explained', 'stepwise']
    """
    if n_anchors < 1:
        raise ValueError(f"make_demo_anchors: n_anchors is {n_anchors}; it must be at least 1")
    draw = Draw(random.Random(f"qads demo anchors {seed}"), ANCHOR_NAMES)
    skills = draw.rng.sample(SKILLS, len(SKILLS))
    fresh = _Fresh()
    anchors: list[Row] = []
    for i, skill in enumerate(islice(cycle(skills), n_anchors)):
        # One round of skills shifts the styles by one, so that every skill meets both.
        style = ("stepwise", "explained")[(i + i // len(SKILLS)) % 2]
        anchors.append({**_anchor(draw, fresh, skill=skill, style=style), "id": f"anchor-{i:05d}"})
    return anchors


class _Fresh:
    """Remembers the problems that were used."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def accepts(self, problem: str) -> bool:
        """True, once, for a problem not seen before, however it is spaced and cased."""
        key = "".join(c for c in unicodedata.normalize("NFKC", problem).casefold() if c.isalnum())
        if key in self._seen:
            return False
        self._seen.add(key)
        return True


def _exhausted(what: str) -> ValueError:
    return ValueError(f"demo: {_MAX_REDRAWS} draws gave no new problem of {what}; ask for fewer rows")


def _fresh_problem(draw: Draw, fresh: _Fresh, skill: str) -> Problem:
    for _ in range(_MAX_REDRAWS):
        problem = draw_problem(draw, skill)
        if fresh.accepts(problem.text):
            return problem
    raise _exhausted(skill)


def _written(draw: Draw, fresh: _Fresh, count: int, *, flaw: str | None) -> list[Row]:
    """Rows over all pairs of skill and source in turn, in an order of their own."""
    pairs = [(skill, source) for skill in SKILLS for source in MATH_SOURCES]
    draw.rng.shuffle(pairs)
    rows: list[Row] = []
    for skill, source in islice(cycle(pairs), count):
        rows.append(_math_row(draw, _fresh_problem(draw, fresh, skill), skill, source, flaw))
    return rows


def _math_row(draw: Draw, problem: Problem, skill: str, source: str, flaw: str | None) -> Row:
    style, right = STYLES[source], work(problem)
    told: Worked = right
    if flaw == "wrong_step":
        told = work_wrong(draw, problem, computed=style.kind == "pot")
    bare = flaw == "no_reasoning"
    return {
        "id": "",
        "source": source,
        "problem": problem.text,
        "solution": style.bare(draw, told.answer) if bare else style.full(draw, told),
        "answer": told.answer,
        "kind": "answer-only" if bare else style.kind,
        "meta": {"skill": skill, "style": source, "flaw": flaw, "truth": right.answer},
    }


def _duplicate(draw: Draw, row: Row) -> Row:
    """The row again, perhaps retyped, perhaps under another source."""
    problem, meta = row["problem"], row["meta"]
    assert isinstance(problem, str) and isinstance(meta, dict)
    retyped = draw.one_of(
        [
            problem,
            problem,
            problem.lower(),
            problem.upper(),
            problem.replace(" ", "  "),
            problem.replace(". ", ".\n"),
            f" {problem}\n",
        ]
    )
    source = row["source"] if draw.rng.random() < 0.5 else draw.one_of(MATH_SOURCES)
    return {**row, "source": source, "problem": retyped, "meta": {**meta, "flaw": "duplicate"}}


def _off_topic(draw: Draw, fresh: _Fresh) -> Row:
    for _ in range(_MAX_REDRAWS):
        request, reply = draw_chatter(draw)
        if fresh.accepts(request):
            return {
                "id": "",
                "source": "chatter",
                "problem": request,
                "solution": reply,
                "answer": None,
                "kind": "general",
                "meta": {"skill": "general", "style": "chatter", "flaw": "off_topic", "truth": None},
            }
    raise _exhausted("chatter")


def _anchor(draw: Draw, fresh: _Fresh, *, skill: str, style: str) -> Row:
    for _ in range(_MAX_REDRAWS):
        problem = draw_problem(draw, skill)
        if not any(name in problem.text for name in draw.names):
            continue  # the template names nobody, so a pool could hold the same problem
        row = _math_row(draw, problem, skill, style, None)
        if len(str(row["solution"]).split()) <= _MAX_ANCHOR_WORDS and fresh.accepts(problem.text):
            return row
    raise _exhausted(skill)
