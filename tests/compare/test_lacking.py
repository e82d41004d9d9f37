"""What the items of evaluation sets lack is told of a comparison, and a set that would be missing from it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from compare.tiny_experiment import Files
from qads.compare import Experiment, estimate_experiment, read_results, run_experiment
from qads.errors import InputError
from run.tiny import rows, write_rows


def experiment(files: Files, path: Path, *, n_without: int) -> Experiment:
    """One of which the third set has so many items without a solution, of four."""
    made = [row | ({"solution": ""} if place < n_without else {}) for place, row in enumerate(rows(4, prefix="t"))]
    sets = [*files.sets, f"three={write_rows(path / 'three.jsonl', made)}"]
    return files.experiment(evaluate={"sets": sets, "generate": False, "dtype": "float32"})


def test_a_set_that_would_vanish_is_refused_before_anything_is_written(files: Files, tmp_path: Path) -> None:
    asked, out = experiment(files, tmp_path, n_without=4), tmp_path / "out"
    message = "nothing can be measured on three: none of its 4 items has a solution, for answer_log_likelihood"
    with pytest.raises(InputError, match=message):
        estimate_experiment(asked, out)
    with pytest.raises(InputError, match=message):
        run_experiment(asked, out)
    assert not out.exists()


def test_items_without_what_is_measured_are_told_before_and_after(files: Files, tmp_path: Path) -> None:
    asked, out = experiment(files, tmp_path, n_without=1), tmp_path / "out"
    told = "Without solution, so no likelihood: 1 of 4 items of three"
    assert told in estimate_experiment(asked, out).notes
    assert told in run_experiment(asked, out, max_cells=0).notes
    assert told in read_results(out, asked).notes
