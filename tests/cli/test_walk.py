"""The commands that README and the documentation show are typed, page by page, where the files that they name are."""

from __future__ import annotations

import gzip
import itertools
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from cli.conftest import Call
from run.tiny import make_model, rows, write_rows

ROOT = Path(__file__).parents[2]
LEFT_OUT = {
    "--against gsm8k ": "a benchmark by its name is read from the hub",
    "HuggingFaceTB/": "a model of the hub",
    ".gguf": "no GGUF file is made here",
    "cuda": "no GPU",
    "engine.kind": "no server",
    "openmathmix": "the run that its recipe draws from",
    "--budget 10000": "ten thousand rows",
    "--labels 200": "two hundred rows beside the labelled ones",
    "qads train": "tests/train trains",
    "qads evaluate": "tests/evaluate evaluates",
    "qads compare": "tests/compare compares",
    "status experiment": "its comparison",
    "s3://": "no such bucket; tests/cli/test_object_storage.py goes to one and back",
    "--ray": "no Ray here; tests/cluster/test_stages.py runs on it",
    "--workers": "tests/cluster/test_stages.py runs with workers",
    "OUT/": "runs that take hours",
    "runs/other": "two runs; tests/cli/test_report.py makes them",
    "part-0": "its files are made by the block of Python before it; tests/run/test_parts.py does the whole",
}
"""Part of a command -> why it cannot be typed here."""


def shown_commands(page: Path) -> list[str]:
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    blocks = [text for language, text in fences if not language]
    lines = [line for block in blocks for line in re.sub(r" *\\\n *", " ", block).splitlines()]
    return [line for line in lines if line.startswith("qads ") and not any(part in line for part in LEFT_OUT)]


LONG = ("hand-off", "method", "token-budgets")
"""Pages of many commands, beside README and quickstart."""
PAGES = [
    pytest.param(page, id=page.stem, marks=pytest.mark.long if page.stem in LONG else ())
    for page in sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
    if shown_commands(page)
]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with every file that the pages speak of."""
    monkeypatch.chdir(tmp_path)
    for folder in ("data/math", "more", "new", "models"):
        (tmp_path / folder).mkdir(parents=True)
    made = rows(214)
    for number, row in enumerate(made):
        row["source"] = ("gsm8k", "math", "forum")[number % 3]
        row["id"] = f"{row['source']}-{17 if number == 150 else number}"  # A page asks for gsm8k-17.
        row["level"] = str(number % 5)
    pools = {"data/a.jsonl": made[:60], "more/b.jsonl": made[60:90], "new/c.jsonl": made[90:110]}
    files = ("my_target", "target", "dev", "gsm8k_test", "math500")
    pools |= {f"{name}.jsonl": made[110 + 6 * n : 116 + 6 * n] for n, name in enumerate(files)}
    pools |= {"part.jsonl": made[60:70]}
    for name, part in pools.items():
        write_rows(tmp_path / name, part)
    for name, part in {"data/d.jsonl.gz": made[150:210], "data/math/e.jsonl.gz": made[210:]}.items():
        text = "".join(json.dumps(row) + "\n" for row in part)
        (tmp_path / name).write_bytes(gzip.compress(text.encode()))
    write_rows(tmp_path / "trained_on.jsonl", made[:3])
    write_rows(tmp_path / "more.jsonl", made[140:144])
    make_model(tmp_path / "models" / "mine")
    for block in re.findall(r"```yaml\n# (\w+\.yaml)\n(.*?)```", (ROOT / "docs/quickstart.md").read_text(), re.DOTALL):
        (tmp_path / block[0]).write_text(block[1].replace("{at_least: 1000}", "{at_least: 2}"))
    return tmp_path


def small(words: list[str]) -> list[str]:
    """Settings that put the small model in every place of one, for commands that take them."""
    if words[0] not in ("select", "run", "score", "embed", "analyze", "fit-scorer", "predict") or "--run" in words:
        return []
    values = {
        "embedding": "{kind: lm, model: models/mine, dtype: float32}",
        "quality.influence.model": "models/mine", "quality.influence.dtype": "float32", "execution.device": "cpu",
    }  # fmt: skip
    if "--scorer" in words:
        values = {"execution.device": "cpu"}
    elif words[0] != "predict":
        values["quality.sample"] = "24"
    return [word for name, value in values.items() for word in ("--set", f"{name}={value}")]


def forget(words: list[str]) -> None:
    """Take away what an earlier command wrote to the same place, since another one is shown."""
    for option, place in itertools.pairwise(words):
        if option in ("-o", "--out"):
            for path in (Path(place), Path(place + ".qads")):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_shows_can_be_typed(qads: Call, desk: Path, page: Path):
    for line in shown_commands(page):
        words = shlex.split(line, comments=True)[1:]
        forget(words)
        if "recipe.yaml" in words and not Path("runs/mine").exists():  # Its selection is made on another page.
            assert qads("run", "mine.yaml", "--out", "runs/mine", *small(["run"])).code == 0
        found = qads(*words, *small(words))
        assert found.code == 0 or (found.code == 1 and words[0] == "check"), f"{line}\n{found.err[-600:]}"
