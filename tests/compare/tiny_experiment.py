"""An experiment that goes round in seconds: a model of random weights, a pool of a few rows, two small evaluation sets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qads.compare import Experiment, load_experiment
from run.tiny import make_model, rows, settings, write_rows

ARMS: dict[str, dict[str, Any]] = {
    "random": {"selection": {"kind": "random"}},
    "qads": {"selection": {"kind": "kcenter"}},
    "like-qads": {"selection": {"kind": "random"}, "source_shares_of": "qads"},
}


@dataclass(frozen=True)
class Files:
    """What an experiment reads."""

    model: Path
    pool: Path
    sets: tuple[str, ...]

    def settings(self, **changes: Any) -> dict[str, Any]:
        """A whole experiment around them."""
        whole = settings(self.model, self.pool) | {
            "models": str(self.model), "arms": ARMS, "budgets": 9, "tokens_of": "qads", "seeds": [0, 1],
            "train": {"epochs": 1, "batch_size": 3, "learning_rate": 1e-3, "dtype": "float32"},
            "evaluate": {"sets": self.sets, "generate": False, "dtype": "float32"},
        }  # fmt: skip
        del whole["budget"]
        return whole | changes

    def experiment(self, **changes: Any) -> Experiment:
        """The same, read."""
        return load_experiment(self.settings(**changes))


def make_files(folder: Path) -> Files:
    """Forty rows of three sources of unequal size; sources differ in length."""
    made = rows(40)
    for number, row in enumerate(made):
        row["source"] = "large" if number < 24 else "middle" if number < 34 else "small"
        row["solution"] += f" So it is {row['answer']}." * {"large": 0, "middle": 2, "small": 5}[row["source"]]
    sets = {
        name: write_rows(folder / f"{name}.jsonl", rows(n, seed=n, prefix=name)) for name, n in (("one", 7), ("two", 5))
    }
    return Files(
        make_model(folder / "model"), write_rows(folder / "pool.jsonl", made),
        tuple(f"{name}={path}" for name, path in sets.items()),
    )  # fmt: skip
