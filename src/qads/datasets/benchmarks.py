"""Evaluation sets: the benchmarks of mathematical reasoning by name, and files under a name of the user's.

`gsm8k` stands for that benchmark's test split on the hub, `gsm8k=exam.jsonl` for a file that is to be called so, and
anything else for what `load_pool` reads.
"""

from __future__ import annotations

import difflib
import os
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from qads.datasets import expand_sources, load_pool, source_identity
from qads.datasets.storage import is_remote
from qads.errors import PoolError
from qads.pool import Pool, Progress

__all__ = ["BENCHMARKS", "Benchmark", "evaluation_contents", "evaluation_locations", "load_evaluation"]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A benchmark that has a name."""

    title: str
    locations: tuple[str, ...]
    """Where on the hub its test set is; none where it is in files of a repository only."""
    files: str = ""
    """Where its files are, if it is not on the hub in a form that can be read."""


_MAMMOTH = "the folder math_eval/dataset of the repository TIGER-AI-Lab/MAmmoTH on GitHub"
_MATH = "algebra counting_and_probability geometry intermediate_algebra number_theory prealgebra precalculus".split()
_MMLU = "abstract_algebra college_mathematics elementary_mathematics formal_logic high_school_mathematics".split()

BENCHMARKS: dict[str, Benchmark] = {
    "gsm8k": Benchmark(title="GSM8K", locations=("hf://openai/gsm8k:main/test",)),
    "math": Benchmark(title="MATH", locations=tuple(f"hf://EleutherAI/hendrycks_math:{name}/test" for name in _MATH)),
    "math500": Benchmark(title="MATH-500", locations=("hf://HuggingFaceH4/MATH-500/test",)),
    "aqua": Benchmark(title="AQuA-RAT", locations=("hf://deepmind/aqua_rat:raw/test",)),
    "numglue": Benchmark(title="NumGLUE", locations=(), files=_MAMMOTH),
    "svamp": Benchmark(title="SVAMP", locations=("hf://ChilleD/SVAMP/test",)),
    "mathematics": Benchmark(title="DeepMind Mathematics", locations=(), files=_MAMMOTH),
    "simuleq": Benchmark(title="SimulEq", locations=(), files=_MAMMOTH),
    "sat-math": Benchmark(title="SAT-Math (AGIEval)", locations=("hf://hails/agieval-sat-math/test",)),
    "mmlu-math": Benchmark(title="MMLU, mathematics", locations=tuple(f"hf://cais/mmlu:{name}/test" for name in _MMLU)),
    "asdiv": Benchmark(title="ASDiv", locations=("hf://EleutherAI/asdiv/validation",)),
    "mawps": Benchmark(title="MAWPS", locations=("hf://MU-NLPC/Calc-mawps/test",)),
}
"""The nine benchmarks of the QaDS paper, MATH-500, ASDiv and MAWPS, by the name to call them by."""

_MEND = (
    "An evaluation set is read whole, by the names of its columns: call them problem, answer and solution, and mend a "
    "row that cannot be read, or take it out."
)
_T = TypeVar("_T", bound=Hashable)
_NAMED = re.compile(r"(?P<name>[\w.-]+)=(?P<location>.+)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class _Set:
    """What one word of the user stands for."""

    locations: tuple[str, ...]
    name: str | None
    """What all its rows are to be called; None leaves them their own."""


def load_evaluation(sources: Sequence[str], *, progress: Progress | None = None) -> Pool:
    """Read evaluation sets; rows need no solution.

    Args:
        sources: names of `BENCHMARKS`, NAME=LOCATION, or what `load_pool` reads. A file or folder that is there goes
            before a benchmark of the same name.
        progress: called with (rows read, −1).

    Returns:
        One pool of all sets, told apart by `source`. An id that occurs in two sets has the name of its set before it,
        and one that occurs in two files of a set that of its file, too. Rows without a problem are in `rejected`.

    Raises:
        PoolError: a set cannot be read, or a word is neither a benchmark nor a file.

    >>> import qads, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "tiny.jsonl"
    >>> _ = path.write_text('{"question": "1+1?"}')
    >>> load_evaluation([f"exam={path}"]).sources
    ['exam']
    """
    if not sources:
        raise PoolError("load_evaluation: no evaluation set given.")
    files = _files(sources)
    loaded = [_load(file, progress) for file in files]
    shared = _repeated(name for pool in loaded for name in pool.strings("id"))
    within = _repeated(pair for pool in loaded for pair in zip(pool.strings("source"), pool.strings("id"), strict=True))
    tables = [
        _with_unique_ids(pool, file.name, shared, within) if len(loaded) > 1 else pool.table
        for file, pool in zip(files, loaded, strict=True)
    ]
    return Pool(pa.concat_tables(tables), rejected=tuple(row for pool in loaded for row in pool.rejected))


def evaluation_locations(sources: Sequence[str]) -> tuple[str, ...]:
    """Files, folders and hub locations that the words stand for.

    Raises:
        PoolError: a word names a benchmark that has no place, or is near to one.
    """
    return tuple(location for found in map(_resolve, sources) for location in found.locations)


def evaluation_contents(sources: Sequence[str]) -> dict[str, str]:
    """Which content evaluation sets stand for now: name -> what `source_identity` says of each file.

    Raises:
        PoolError: as `load_evaluation`, of what can be told without reading.
    """
    return {
        f"{file.set_name}: {file.name}" if file.set_name else file.name: source_identity(file.location)
        for file in _files(sources)
    }


@dataclass(frozen=True)
class _File:
    """One file of an evaluation set."""

    location: str
    name: str
    """Tells it from all other files that were given."""
    source: str
    """What its rows are to be called that have no name of their own."""
    set_name: str | None
    """What all its rows are to be called; None leaves them their own, or the file's."""


def _files(sources: Sequence[str]) -> list[_File]:
    """The files that the words stand for; of one that comes again under the same name the first.

    Raises:
        PoolError: two words give different files the name of one set, whose results would be one number.
    """
    found = list(map(_resolve, sources))
    _refuse_shared_names(sources, found)
    together = {file.location: file for file in expand_sources([place for each in found for place in each.locations])}
    files = [
        _File(file.location, known.name, known.source, each.name)
        for each in found
        for file in expand_sources(list(each.locations))
        for known in [together.get(file.location, file)]
    ]
    return list({(_place(file.location), file.set_name): file for file in reversed(files)}.values())[::-1]


def _refuse_shared_names(sources: Sequence[str], found: Sequence[_Set]) -> None:
    first: dict[str, tuple[str, tuple[str, ...]]] = {}
    for word, each in zip(sources, found, strict=True):
        if each.name is None:
            continue
        before, locations = first.setdefault(each.name, (word, each.locations))
        if [*map(_place, locations)] != [*map(_place, each.locations)]:
            raise PoolError(
                f"{word}: a set {each.name} is given already, by {before}; both would be told as one. Call one of them "
                f"otherwise, or give both as one: {each.name}=FOLDER or {each.name}='*.jsonl'."
            )


def _place(location: str) -> str:
    return location if is_remote(location) else os.path.realpath(location)


def _resolve(word: str) -> _Set:
    if Path(os.path.expanduser(word)).exists():
        return _Set(locations=(word,), name=None)
    if named := _NAMED.fullmatch(word):
        return replace(_resolve(named["location"]), name=named["name"])
    known = word.lower().replace("_", "-")
    if known not in BENCHMARKS:
        near = difflib.get_close_matches(known, BENCHMARKS, n=1)
        if near and not Path(word).suffix:
            raise PoolError(f"{word}: no such file, and no benchmark of that name; did you mean {near[0]}?")
        return _Set(locations=(word,), name=None)
    benchmark = BENCHMARKS[known]
    if not benchmark.locations:
        raise PoolError(
            f"{word}: {benchmark.title} is in no dataset of the hub that can be read as it is; its files are in "
            f"{benchmark.files}. Give the file: {word}=FILE"
        )
    return _Set(locations=benchmark.locations, name=known)


def _load(file: _File, progress: Progress | None) -> Pool:
    try:
        pool = load_pool(file.location, require_solution=False, progress=progress)
    except PoolError as error:
        raise PoolError(error.found, advice=_MEND) from error
    own = pool.table["source"]
    if file.set_name is None:
        (alone,) = expand_sources([file.location])
        named = pc.call_function("if_else", [pc.call_function("equal", [own, alone.source]), file.source, own])
    else:
        named = pa.array([file.set_name] * len(pool))
    column = named.cast(pa.large_string())
    return Pool(pool.table.set_column(pool.table.column_names.index("source"), "source", column), pool.rejected)


def _repeated(values: Iterable[_T]) -> set[_T]:
    return {value for value, n in Counter(values).items() if n > 1}


def _with_unique_ids(pool: Pool, file: str, shared: set[str], within: set[tuple[str, str]]) -> pa.Table:
    pairs = zip(pool.strings("source"), pool.strings("id"), strict=True)
    ids = [
        f"{source}/{file}/{name}" if (source, name) in within else f"{source}/{name}" if name in shared else name
        for source, name in pairs
    ]
    return pool.table.set_column(0, "id", pa.array(ids, pa.large_string()))
