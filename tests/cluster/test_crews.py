"""Laws of crews: whoever computes, the same shards; whoever dies, hangs or fails, nothing is lost and nothing stays."""

from __future__ import annotations

import logging
import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pytest
import torch

import qads
from cluster.hungry import make_hungry_model
from cluster.jobs import Precisions, Programs, Squares
from qads import Row, embed
from qads.cluster import Execution, Grid, MemoryShards, map_shards, workers
from qads.cluster.session import packed, unpacked
from qads.errors import ClusterError, InputError, ModelError, SandboxError, StorageError, TooLongError
from qads.sandbox import Sandbox
from run.tiny import rows

TWO = Execution(workers=2, device="cpu")


@pytest.fixture
def ray_two(monkeypatch: pytest.MonkeyPatch) -> Iterator[Execution]:
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
    if not ray.is_initialized():
        monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        monkeypatch.setenv("RAY_worker_niceness", "0")  # By default actors give way to everything else.
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # Whatever this process imports, actors do.
        ray.init(
            num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
            object_store_memory=100_000_000,
        )  # fmt: skip
    yield Execution(kind="ray", workers=2)


@pytest.fixture(scope="module", autouse=True)
def no_ray_left() -> Iterator[None]:
    yield
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()


@pytest.fixture(params=["processes", pytest.param("ray", marks=pytest.mark.ray)])
def two(request: pytest.FixtureRequest) -> Execution:
    """Two workers, of either kind."""
    return TWO if request.param == "processes" else request.getfixturevalue("ray_two")


def squared(
    work: Squares, execution: Execution, *, n: int = 10, store: MemoryShards | None = None, **options: object
) -> list[int]:
    """Square the numbers below n in shards of 2, with a crew of its own."""
    store = store or MemoryShards()
    with workers(lambda: work, execution) as crew:
        grid = Grid(n_rows=n, rows_per_shard=2)
        n_shards = map_shards(crew, lambda rows: list(rows), grid, store=store, **options)  # pyright: ignore
    return pa.concat_tables([store.tables[i] for i in range(n_shards)])["square"].to_pylist()


def test_any_crew_computes_the_same(two: Execution, tmp_path: Path) -> None:
    expected = [i * i for i in range(10)]
    assert squared(Squares(tmp_path), Execution()) == expected
    assert squared(Squares(tmp_path), two) == expected
    assert len(list(tmp_path.glob("opened-*"))) == 3, "each worker opens the work once"


def test_what_is_there_is_not_computed_and_nobody_is_started_for_nothing(tmp_path: Path) -> None:
    store, seen = MemoryShards(), list[tuple[int, int]]()
    squared(Squares(tmp_path), Execution(), store=store)
    del store.tables[3]

    def never() -> Squares:
        raise AssertionError("nothing is missing")

    squared(Squares(tmp_path), TWO, store=store, progress=lambda *at: seen.append(at))
    assert seen == [(8, 10), (9, 10), (10, 10)], "one bar, told within a shard, too"
    with workers(never, TWO) as crew:
        map_shards(crew, lambda rows: list(rows), Grid(n_rows=10, rows_per_shard=2), store=store)


def test_the_longest_shards_go_first(tmp_path: Path) -> None:
    asked: list[int] = []

    def part(rows: range) -> list[int]:
        asked.append(rows.start)
        return list(rows)

    with workers(lambda: Squares(tmp_path), TWO) as crew:
        grid = Grid(n_rows=8, rows_per_shard=2)
        map_shards(crew, part, grid, store=MemoryShards(), size=lambda rows: rows.start % 5)
    assert asked == [4, 2, 6, 0]


def test_a_worker_that_is_killed_is_replaced_and_its_shard_done_by_another(
    two: Execution, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert squared(Squares(tmp_path, "dies once", at=5), two) == [i * i for i in range(10)]
    assert re.search(r"worker \d is lost, and shard 2 \(rows 4 to 5\) goes to another", caplog.text)


def test_a_shard_that_ends_every_worker_is_given_up_by_name_and_the_others_are_kept(
    two: Execution, tmp_path: Path
) -> None:
    store, execution = MemoryShards(), Execution(**{**vars(two), "shard_retries": 1})
    with pytest.raises(ClusterError, match=r"shard 4 \(rows 8 to 9\) was given up after 2 tries.* worker \d"):
        squared(Squares(tmp_path, "dies", at=9), execution, store=store)
    assert 4 not in store.tables


def test_the_last_words_of_a_process_are_in_the_error(tmp_path: Path) -> None:
    execution = Execution(workers=2, device="cpu", shard_retries=0)
    with pytest.raises(ClusterError, match=r"its process ended with exit code 3; its last words:\nso long"):
        squared(Squares(tmp_path, "exits", at=0), execution)


def test_a_worker_that_hangs_is_ended_and_its_shard_done_by_another(
    two: Execution, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    patient = Execution(**{**vars(two), "shard_timeout": 10.0, "shard_retries": 9})
    assert squared(Squares(tmp_path, "hangs once", at=0), patient, n=2) == [0, 1]
    assert "it said nothing for 10 seconds (execution.shard_timeout)" in caplog.text
    hasty = Execution(**{**vars(two), "shard_timeout": 1.0, "shard_retries": 0})
    with pytest.raises(ClusterError, match=r"shard 0 .*said nothing for 1 seconds \(execution.shard_timeout\)"):
        squared(Squares(tmp_path, "hangs", at=0), hasty, n=2)


def test_a_process_that_stops_half_way_through_its_answer_is_ended_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    patient = replace(TWO, shard_timeout=10.0, shard_retries=9)
    assert squared(Squares(tmp_path, "stops half-way through its answer once", at=0), patient, n=2) == [0, 1]
    assert "it said nothing for 10 seconds (execution.shard_timeout)" in caplog.text


def test_who_has_answered_while_a_shard_was_written_is_not_late(
    two: Execution, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Slow(MemoryShards):
        def put(self, index: int, table: pa.Table) -> None:
            super().put(index, table)
            if len(self.tables) == 3:
                time.sleep(6.0)  # Both have a shard now; without a look at what they said both would be late.

    strict = Execution(**{**vars(two), "shard_timeout": 5.0, "shard_retries": 0})
    assert squared(Squares(tmp_path), strict, n=12, store=Slow()) == [i * i for i in range(12)]
    assert "is lost" not in caplog.text


def test_an_error_is_the_one_that_is_raised_here(two: Execution, tmp_path: Path) -> None:
    for execution in (Execution(), two):
        with pytest.raises(TooLongError, match=r"^Squares: too long\.$"):
            squared(Squares(tmp_path, "refuses", at=3), execution)
        with pytest.raises(TooLongError, match=r"^Squares: will not open\.$"):
            squared(Squares(tmp_path, "cannot open"), execution)
    with pytest.raises(ZeroDivisionError, match="by nothing") as raised:
        squared(Squares(tmp_path, "fails", at=3), two)
    assert re.search(r"raised in worker \d:\nTraceback", raised.value.__notes__[0])
    with pytest.raises(RuntimeError, match=r"Unsendable: .*odd"):
        squared(Squares(tmp_path, "cannot be sent", at=3), two)


def test_what_workers_log_is_logged_here(two: Execution, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "qads")
    squared(Squares(tmp_path, "speaks", at=3), two)
    told = [record.getMessage() for record in caplog.records if "worker" in record.getMessage()]
    assert any(re.fullmatch(r"worker \d: at 3", text) for text in told)
    assert any("beware" in text for text in told)
    assert not any("not heard" in text for text in told)


def test_nobody_is_left_when_the_work_is_done_or_fails(tmp_path: Path) -> None:
    squared(Squares(tmp_path), TWO)
    with pytest.raises(TooLongError):
        squared(Squares(tmp_path, "refuses", at=3), TWO)

    def part(rows: range) -> list[int]:
        if rows.start == 4:
            raise MemoryError("no room to make a part")
        return list(rows)

    with pytest.raises(MemoryError, match="no room"), workers(lambda: Squares(tmp_path), TWO) as crew:
        map_shards(crew, part, Grid(n_rows=10, rows_per_shard=2), store=MemoryShards())
    left = [child.cmdline() for child in psutil.Process().children(recursive=True) if child.status() != "zombie"]
    assert not [line for line in left if "qads.cluster.worker" in line]


def test_a_worker_whose_memory_runs_out_goes_on_with_half_the_batch_and_runs_code_that_is_trusted(
    two: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))  # Both workers put the model's code there.
    model, pool = make_hungry_model(tmp_path / "hungry", most=200), qads.Pool.from_rows(Row(**row) for row in rows(40))
    embedder = qads.LMEmbedder(model=str(model), dtype="float32")
    expected = embedder(pool, execution=Execution(device="cpu"))  # The same weights, by the library's own code.
    monkeypatch.setattr(embed, "_ROWS_PER_SHARD", 20)
    found = embedder(pool, execution=replace(two, trust_remote_code=True))
    assert re.search(r"worker \d: out of memory: going on with max_tokens_per_batch = 1024", caplog.text)
    assert re.search(r"worker \d: out of memory: going on with max_tokens_per_batch = 128", caplog.text)
    assert "is lost" not in caplog.text
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), atol=1e-5)


def test_workers_compute_in_the_precision_that_the_driver_found(
    two: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "qads.cluster.execution.resolve_dtype", lambda dtype, device: "float16" if dtype == "auto" else dtype
    )
    store = MemoryShards()  # No processor finds float16, so that workers have it from here.
    with workers(Precisions, two) as crew:
        map_shards(crew, lambda rows: ["auto", "bfloat16"], Grid(n_rows=2, rows_per_shard=1), store=store)
    assert [table["dtype"].to_pylist() for table in store.tables.values()] == [["float16", "bfloat16"]] * 2


def test_auto_precision_is_what_is_said_or_what_the_device_has() -> None:
    said = Execution(device="cpu", auto_dtype="float16")
    assert said.precision("auto") == said.decided().auto_dtype == "float16" and said.precision("float32") == "float32"
    found = Execution(device="cpu").precision("auto")
    assert found == Execution(device="cpu").decided().auto_dtype and found in ("bfloat16", "float32")
    with pytest.raises(InputError, match="auto_dtype is 'int8'; it must be one of 'auto', 'float32', 'bfloat16'"):
        Execution(auto_dtype="int8")  # pyright: ignore


@pytest.mark.skipif(torch.cuda.is_available(), reason="here are GPUs, which are asked")
def test_a_machine_without_gpus_leads_a_cluster_with_some() -> None:
    far = Execution(kind="ray", gpus_per_worker=1)
    assert (far.found_device, far.precision("auto"), far.pass_size(far.found_device)) == ("cuda", "bfloat16", None)
    assert replace(far, auto_dtype="float32").precision("auto") == "float32"
    for here in (far.here(), Execution(device="cuda")):  # As a worker sees it, whose machine has to have one.
        with pytest.raises(ModelError, match="device 'cuda' cannot be used here"):
            here.precision("auto")


def test_workers_run_programs_behind_walls(two: Execution) -> None:
    try:
        Sandbox(packages=())
    except SandboxError as error:
        pytest.skip(str(error))
    programs, store = ["print(6 * 7)", "import os; print(os.getpid() < 100)"], MemoryShards()
    with workers(Programs, two) as crew:
        map_shards(crew, lambda rows: programs, Grid(n_rows=2, rows_per_shard=1), store=store)
    assert [table["answer"].to_pylist() for table in store.tables.values()] == [["42", "True"]] * 2


def test_a_part_of_a_table_is_sent_without_the_rest() -> None:
    whole = pa.table({"text": [f"row {i}" * 20 for i in range(10_000)]}).replace_schema_metadata({"of": "this"})
    content = packed(("part", whole.slice(5000, 3)))
    assert len(content) < 2000 < len(pickle.dumps(whole.slice(5000, 3)))
    name, part = unpacked(content)
    assert name == "part"
    assert part.equals(whole.slice(5000, 3), check_metadata=True)


DRIVER = """
import sys
from pathlib import Path
from cluster.jobs import Squares
from qads.cluster import Execution, Grid, MemoryShards, map_shards, workers

work = Squares(Path(sys.argv[1]), "hangs with a child", at=0)
with workers(lambda: work, Execution(workers=2, device="cpu")) as crew:
    map_shards(crew, lambda rows: list(rows), Grid(n_rows=2, rows_per_shard=2), store=MemoryShards())
"""


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_and_what_they_started_end_with_the_driver(ending: signal.Signals, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path)], env=environment, stderr=subprocess.DEVNULL
    )  # fmt: skip
    names = [tmp_path / "worker", tmp_path / "child"]
    _until(lambda: all(name.exists() and name.read_text() for name in names))
    numbers = [int(name.read_text()) for name in names]
    driver.send_signal(ending)
    driver.wait(30)
    _until(lambda: not any(_runs(number) for number in numbers))


def _runs(number: int) -> bool:
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _until(is_so: object) -> None:
    for _ in range(1200):
        if is_so():  # pyright: ignore
            return
        time.sleep(0.05)
    raise AssertionError("it never came to that")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"workers": 0}, "execution.workers is 0; it must be 1 at least"),
        ({"workers": "many"}, "execution.workers is 'many'; it must be auto, or a whole number of workers"),
        ({"cpus_per_worker": 0}, "execution.cpus_per_worker is 0"),
        ({"shard_timeout": 0.0}, "execution.shard_timeout is 0; it must be a number of seconds above 0"),
        ({"shard_retries": -1}, "execution.shard_retries is -1; it must be 0 at least"),
        ({"address": "auto"}, "execution.address is 'auto', but execution.kind is local"),
        ({"kind": "ray", "device": "cuda"}, "execution.device is 'cuda', but workers on Ray with gpus_per_worker 0"),
        ({"kind": "ray", "gpus_per_worker": -1.0}, "execution.gpus_per_worker is -1"),
    ],
)  # fmt: skip
def test_impossible_settings_are_refused_by_name_and_value(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        Execution(**settings)  # pyright: ignore


def test_where_no_temporary_file_can_be_made_it_is_said_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(StorageError, match=r"needs a folder for temporary files: No such file .* Set TMPDIR to"):
        squared(Squares(tmp_path), TWO)


@pytest.mark.ray
def test_workers_that_wait_for_room_on_a_busy_cluster_are_told_and_begin_when_there_is_some(
    ray_two: Execution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import ray

    from qads.cluster import ray_workers

    class Holder:
        def ready(self) -> bool:
            return True

    holder = ray.remote(num_cpus=2)(Holder).remote()
    ray.get(holder.ready.remote())
    monkeypatch.setattr(ray_workers, "_LOOK_AROUND", 1.0)
    threading.Timer(5.0, lambda: ray.kill(holder)).start()
    assert squared(Squares(tmp_path), ray_two, n=4) == [0, 1, 4, 9]
    assert caplog.text.count("workers have not begun within 1 seconds") == 1


@pytest.mark.ray
def test_more_workers_than_the_cluster_has_room_for_are_refused(ray_two: Execution, tmp_path: Path) -> None:
    crowd = Execution(kind="ray", workers=3, cpus_per_worker=1)
    with pytest.raises(InputError, match=r"execution.workers: 3 with 1 processors .* have 2 processors and 0 GPUs"):
        squared(Squares(tmp_path), crowd)
