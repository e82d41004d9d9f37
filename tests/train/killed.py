"""A training that kills itself: MODEL OUT SETTINGS(JSON) STEP, killed by the system right after that step."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import qads
from qads.cluster import Execution
from qads.train import FineTuning, StepLog
from run.tiny import rows


def main() -> None:
    """Train, and be killed."""
    out, settings, at = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])

    def watch(step: StepLog) -> None:
        if step.step == at:
            os.kill(os.getpid(), signal.SIGKILL)

    lora = settings["lora"] and qads.Lora(**settings["lora"])
    method = FineTuning(**settings | {"checkpoints": qads.Checkpointing(**settings["checkpoints"]), "lora": lora})
    pool = qads.Pool.from_rows(qads.Row(**row) for row in rows(14))
    method(pool, out, execution=Execution(device="cpu", max_tokens_per_batch=200), on_step=watch)


if __name__ == "__main__":
    main()
