"""Mutated files: real ones where they are, invented ones always. Case `n` of a seed is the same file everywhere."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from fuzzing.mutations import MUTATIONS

__all__ = ["Case", "Records", "cases", "invented_records", "real_records"]

Records = Sequence[Mapping[str, Any]]

COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstandard.compress,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One file that went bad."""

    name: str
    """Its number, how it went bad, and the ending by which it is read."""
    content: bytes


def as_jsonl(records: Records) -> bytes:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()


def as_json(records: Records) -> bytes:
    return json.dumps(list(records), ensure_ascii=False, indent=1).encode()


def as_delimited(records: Records, delimiter: str) -> bytes:
    text = io.StringIO()
    columns = list(dict.fromkeys(name for record in records for name in record))
    writer = csv.DictWriter(text, columns, delimiter=delimiter)
    writer.writeheader()
    writer.writerows({name: json.dumps(v) if isinstance(v, list | dict) else v for name, v in r.items()} for r in records)
    return text.getvalue().encode()


def _texts(records: Records) -> pa.Table:
    columns = dict.fromkeys(name for record in records for name in record)
    return pa.table(
        {name: [None if (v := r.get(name)) is None else v if isinstance(v, str) else json.dumps(v) for r in records] for name in columns}
    )


def as_parquet(records: Records) -> bytes:
    file = io.BytesIO()
    pq.write_table(_texts(records), file)
    return file.getvalue()


def as_arrow(records: Records) -> bytes:
    file = io.BytesIO()
    table = _texts(records)
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return file.getvalue()


FORMATS: dict[str, Callable[[Records], bytes]] = {
    ".jsonl": as_jsonl, ".json": as_json, ".csv": lambda records: as_delimited(records, ","),
    ".tsv": lambda records: as_delimited(records, "\t"), ".parquet": as_parquet, ".arrow": as_arrow,
}  # fmt: skip
_TEXT = (".jsonl", ".jsonl", ".json", ".csv", ".tsv")


def real_records(folder: Path, n: int = 6) -> list[Records]:
    """The first rows of every real file whose records are one row each."""
    found: list[Records] = []
    for path in sorted([*folder.glob("pool/*.gz"), *folder.glob("eval/*.gz")]):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            found.append([json.loads(line) for line, _ in zip(file, range(n), strict=False)])
    for path in sorted(folder.glob("original/*.json*")):
        if "instruct" in path.name:
            continue  # One record is several rows there.
        text = path.read_text(encoding="utf-8")
        rows = json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()[:n]]
        found.append(rows[:n])
    return found


def invented_records() -> list[Records]:
    """Files as they could be, of the shapes that are read."""
    numbers = range(6)
    turns = [[{"role": "user", "content": f"What is {n}+{n}?"}, {"role": "assistant", "content": f"It is {n + n}."}] for n in numbers]
    return [
        [{"id": f"a{n}", "question": f"Tom has {n} pears and buys {n}.", "answer": f"{n}+{n} = <<{n}+{n}={n + n}>>{n + n}\n#### {n + n}"} for n in numbers],
        [{"instruction": f"Add {n} to itself.", "input": "" if n % 2 else "Be brief.", "output": f"{n + n}"} for n in numbers],
        [{"problem": f"Find $x$ in $x - {n} = \\frac{{1}}{{2}}$.", "solution": f"$\\boxed{{{n}.5}}$", "level": n} for n in numbers],
        [{"messages": turn, "source": "chat"} for turn in turns],
        [{"question": f"Which is {n}?", "options": [f"A){n}", "B)7"], "rationale": "It says so.", "correct": "A"} for n in numbers],
        [{"prompt": f"Né en {1900 + n} — âge ?", "completion": f"{n} ans", "meta": {"deep": [n, {"er": None}]}} for n in numbers],
    ]  # fmt: skip


def cases(donors: Sequence[Records], n: int, seed: int = 0) -> Iterator[Case]:
    """`n` mutated files.

    Two of three are text that was mutated, of which a third was compressed then; the others are compressed files and
    tables whose own bytes were.
    """
    names = list(MUTATIONS)
    for number in range(n):
        dice = random.Random(f"{seed}-{number}")
        records = list(dice.choice(donors))
        dice.shuffle(records)
        records = records[: dice.randint(1, len(records))]
        how = [names[number % len(names)], *dice.choices(names, k=dice.choice([0, 0, 1, 2]))]
        after = number % 3 == 2
        ending = dice.choice((*_TEXT, ".parquet", ".parquet", ".arrow")) if after else dice.choice(_TEXT)
        outer = dice.choice(["", *COMPRESSIONS]) if after or dice.random() < 0.3 else ""
        content = FORMATS[ending](records)
        if after and outer:
            content = COMPRESSIONS[outer](content)
        for name in how:
            content = MUTATIONS[name](content, dice) if content else content
        if outer and not after:
            content = COMPRESSIONS[outer](content)
        yield Case(f"{number:05d}-{'-'.join(how)}{ending}{outer}", content)
