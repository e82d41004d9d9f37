"""Laws of selection on a Ray cluster: the picks of one machine, to the bit, whoever dies on the way."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from qads.cluster import ClusterGreedy, greedy
from qads.cluster.actors import RayShards
from qads.cluster.checkpoint import Checkpoint, UnusableCheckpointError, identity
from qads.cluster.rows import StoredRows, file_of, opened
from qads.errors import ClusterError, InputError, StorageError
from qads.kernels import rounds
from qads.kernels.bounds import Float32Product
from qads.kernels.distance import GreedyPicks, greedy_scan
from qads.kernels.field import Threads
from qads.kernels.limits import GroupLimits, Limits
from qads.kernels.rounds import ShardedGreedy
from qads.selection import Constraints, KCenterGreedy

N, D, K = 2500, 24, 700
ROWS = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
ROWS[1000:1300] = ROWS[:300]  # Duplicates in other shards.
WEIGHT = np.random.default_rng(1).integers(0, 40, size=N) / 40
RULE: dict[str, Any] = {"start": [7, 2400], "k": K, "cosine": False, "distance_share": None}


def assert_same(picks: GreedyPicks, expected: GreedyPicks) -> None:
    for name in GreedyPicks._fields:
        np.testing.assert_array_equal(getattr(picks, name), getattr(expected, name), err_msg=name)


def head(picks: GreedyPicks, k: int) -> GreedyPicks:
    return GreedyPicks(*(column[:k] for column in picks))


# Settings and files.


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"shards": 0}, "shards is 0; it must be 1 at least"),
        ({"cpus_per_shard": 0}, "cpus_per_shard is 0; it must be 1 at least"),
        ({"checkpoint_every": 0}, "checkpoint_every is 0; it must be 1 at least"),
        ({"restarts": -1}, "restarts is -1; it must be 0 at least"),
        ({"timeout": 0}, "timeout is 0; it must be a number of seconds above 0"),
    ],
)
def test_settings_out_of_range_are_refused_by_name_and_value(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^ClusterGreedy: {message}"):
        ClusterGreedy(**setting)


@pytest.mark.parametrize("limits", [{"least_distance": 0.5}, {"tokens": np.ones(N, np.int64), "max_tokens": 9}])
def test_limits_that_change_with_the_picks_are_refused_by_name(limits: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="ClusterGreedy: token budgets, quotas and a least distance do not work on a"):
        ClusterGreedy()(ROWS, WEIGHT, **RULE, limits=Limits(N, K, **limits))


def test_without_ray_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"Ray is not installed; .*pip install 'qads\[ray\]'"):
        ClusterGreedy()(ROWS, WEIGHT, **RULE, limits=Limits(N, K))  # Limits that limit nothing are none.


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.uint16])
def test_rows_of_a_file_are_those_that_were_written(dtype: type, tmp_path: Path) -> None:
    x = (100 + 10 * ROWS).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    np.testing.assert_array_equal(opened(tmp_path / "x.npy"), x)
    part = StoredRows(path=tmp_path / "x.npy", shape=(N, D), dtype=np.dtype(dtype).name, part=range(10, 40)).read()
    np.testing.assert_array_equal(part, x[10:40])
    assert not part.flags.owndata  # Mapped, not read.


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.asfortranarray(ROWS), "in Fortran order"),
        (ROWS.astype(">f4"), "type >f4"),
        (ROWS.astype(np.int64), "type int64"),
        (ROWS[0], r"shape \(24,\)"),
    ],
)
def test_a_file_of_anything_else_is_refused(array: np.ndarray, found: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(InputError, match=rf"ClusterGreedy: .*x\.npy holds an array of .*{found}.* it must be rows"):
        opened(tmp_path / "x.npy")


def test_a_file_that_is_missing_or_another_one_is_refused_with_its_machine(tmp_path: Path) -> None:
    rows = StoredRows(path=tmp_path / "x.npy", shape=(N, D), dtype="float32", part=range(9))
    with pytest.raises(InputError, match=rf"x\.npy cannot be read on {os.uname().nodename} .*No such file"):
        rows.read()
    np.save(tmp_path / "x.npy", ROWS[:100])
    with pytest.raises(InputError, match=r"has shape \(100, 24\) and type float32, where the selection began \(2500"):
        rows.read()


# Checkpoints.


def inputs(**changed: Any) -> dict[str, str]:
    usual: dict[str, Any] = {"start": [7], "cosine": False, "distance_share": None, "given": None}
    usual |= {"x": ROWS, "weight": WEIGHT} | changed
    return identity(usual.pop("x"), usual.pop("weight"), **usual)


def some_picks(k: int) -> GreedyPicks:
    return GreedyPicks(np.arange(k), np.linspace(1, 0, k), np.full(k, np.inf), np.arange(k) - 1)


def test_picks_are_kept_as_they_are_and_serve_smaller_budgets(tmp_path: Path) -> None:
    kept, picks = Checkpoint(tmp_path / "picks.npz", inputs(), every=10), some_picks(50)
    assert kept.load(50) is None
    kept.keep(picks, 40)
    for k in (1, 40, 50):
        found = Checkpoint(tmp_path / "picks.npz", inputs(), every=10).load(k)
        assert found
        assert_same(found, head(picks, min(k, 40)))
    assert [path.name for path in tmp_path.iterdir()] == ["picks.npz"]


def test_picks_are_written_once_in_so_many_and_when_asked_to(tmp_path: Path) -> None:
    kept, picks = Checkpoint(tmp_path / "picks.npz", inputs(), every=10), some_picks(50)
    seen: list[int] = []
    for n in range(0, 36, 5):
        kept.keep(picks, n)
        found = Checkpoint(tmp_path / "picks.npz", inputs(), every=10).load(50)
        seen.append(len(found.indices) if found else 0)
    kept.keep(picks, 36, now=True)
    found = Checkpoint(tmp_path / "picks.npz", inputs(), every=10).load(50)
    assert found
    assert [*seen, len(found.indices)] == [0, 5, 5, 15, 15, 25, 25, 35, 36]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"x": ROWS[::-1]}, "embeddings"),
        ({"x": ROWS.astype(np.float64)}, "embeddings"),
        ({"weight": WEIGHT / 2}, "weight"),
        ({"start": [8]}, "start"),
        ({"given": np.array([3])}, "given"),
        ({"limits": Limits(N, K, out=np.array([3]))}, "rows left out"),
        ({"limits": Limits(N, K, least_distance=0.5)}, "least distance"),
        ({"limits": Limits(N, K, tokens=np.ones(N, np.int64), max_tokens=9)}, "tokens"),
        (
            {"limits": Limits(N, K, groups=[GroupLimits.of(np.arange(N) % 2, minimum=[None] * 2, maximum=[9, None])])},
            "quotas",
        ),
        (
            {"limits": Limits(N, K, groups=[GroupLimits.of(np.arange(N) % 2, minimum=[9, None], maximum=[None] * 2)])},
            "quotas, budget under minima",
        ),
        ({"cosine": True}, "metric"),
        ({"distance_share": 0.5}, "distance_share"),
        ({"distance_share": 0.5, "weight": WEIGHT / 2}, "weight, distance_share"),
    ],
)
def test_picks_of_other_inputs_are_refused_by_their_name(changed: Any, named: str, tmp_path: Path) -> None:
    Checkpoint(tmp_path / "picks.npz", inputs(), every=1).keep(some_picks(5), 5)
    with pytest.raises(InputError, match=rf"picks\.npz is of another selection, with other {named}; give the inputs"):
        Checkpoint(tmp_path / "picks.npz", inputs(**changed), every=1).load(5)


def test_what_a_killed_process_had_begun_to_write_goes_and_what_a_living_one_has_stays(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    for process in (ended.pid, os.getppid()):
        (tmp_path / f".picks.npz.{process}.partial").write_bytes(b"half")
    Checkpoint(tmp_path / "picks.npz", inputs(), every=10).keep(some_picks(50), 40)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f".picks.npz.{os.getppid()}.partial", "picks.npz"]


def test_an_error_goes_before_that_of_keeping_the_picks_it_leaves(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Checkpoint(tmp_path / "gone" / "picks.npz", inputs(), every=10)
    with pytest.raises(ZeroDivisionError), kept.at_the_end(lambda: (some_picks(5), 5)):
        raise ZeroDivisionError
    assert "the last picks are lost: " in caplog.text and "picks.npz: cannot be written" in caplog.text
    with (
        pytest.raises(StorageError, match=r"picks\.npz: cannot be written"),
        kept.at_the_end(lambda: (some_picks(5), 5)),
    ):
        pass


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_a_file_that_is_no_checkpoint_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "picks.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"picks\.npz is no checkpoint of a selection .*delete it"):
        Checkpoint(tmp_path / "picks.npz", inputs(), every=1).load(5)


def test_a_bit_that_is_flipped_on_the_disk_leaves_no_picks_or_the_same(tmp_path: Path) -> None:
    path, of = tmp_path / "picks.npz", inputs()
    Checkpoint(path, of, every=1).keep(some_picks(5), 5)
    whole, refused = path.read_bytes(), 0
    for at in range(0, 8 * len(whole), 11):
        spoilt = bytearray(whole)
        spoilt[at // 8] ^= 1 << at % 8
        path.write_bytes(spoilt)
        try:
            found = Checkpoint(path, of, every=1).load(5)
        except UnusableCheckpointError:
            refused += 1
        else:
            assert found
            assert_same(found, some_picks(5))
    assert refused > 0.5 * len(whole)


# On Ray. Actors take seconds to start, so that each test starts few.


@pytest.fixture(scope="module")
def ray_address() -> Iterator[str]:
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # Whatever this process imports, actors do.
        ray.init(
            num_cpus=7, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
            object_store_memory=200_000_000,
        )  # fmt: skip
        yield ray.get_runtime_context().gcs_address
        ray.shutdown()


@pytest.fixture(scope="module")
def expected() -> GreedyPicks:
    return greedy_scan(ROWS, WEIGHT, **RULE)


@pytest.fixture
def many_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Races of few rows, so that there is a next round after whatever happens in the middle."""
    monkeypatch.setattr(rounds, "_RACED", 50)


def signal_a_shard(number: signal.Signals) -> None:
    """To the process of one actor: killed, as by a machine that fails or a full memory, or stopped as if it hung."""
    processes = psutil.Process().children(recursive=True)
    shards = [process for process in processes if process.cmdline()[0].startswith("ray::ShardActor")]
    os.kill(shards[0].pid, number)


def kill_a_shard() -> None:
    signal_a_shard(signal.SIGKILL)


def once_at(pick: int, action: Callable[[], None]) -> Callable[[int], None]:
    def on_pick(n: int) -> None:
        if n == pick:
            action()

    return on_pick


@pytest.mark.ray
@pytest.mark.parametrize(("n_shards", "changed"), [(2, {}), (3, {"cosine": True, "distance_share": 0.5})])
def test_it_is_the_scan_to_the_bit(ray_address: str, n_shards: int, changed: dict[str, Any]) -> None:
    seen: list[int] = []
    picks = ClusterGreedy(shards=n_shards)(ROWS, WEIGHT, **RULE | changed, on_pick=seen.append)
    assert_same(picks, greedy_scan(ROWS, WEIGHT, **RULE | changed))
    assert seen == list(range(1, K + 1))


@pytest.mark.ray
def test_a_file_is_read_where_the_shards_are(ray_address: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", ROWS.astype(np.float16))
    rule = RULE | {"start": [], "given": ROWS[:40] + 1}
    picks = ClusterGreedy(shards=2)(tmp_path / "x.npy", WEIGHT, **rule)
    assert_same(picks, greedy_scan(ROWS.astype(np.float16), WEIGHT, **rule))


@pytest.mark.ray
def test_the_selector_picks_on_a_cluster_what_it_picks_here(ray_address: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", ROWS)
    selector, cluster = KCenterGreedy(alpha=0.5), ClusterGreedy(shards=2)
    rows = Constraints(exclude=np.arange(0, N, 3), include=[1, 2000])
    for x, constraints in ((ROWS, None), (np.load(tmp_path / "x.npy", mmap_mode="r"), rows)):
        expected = selector(ROWS, WEIGHT, budget=300, constraints=constraints)
        found = selector(x, WEIGHT, budget=300, constraints=constraints, cluster=cluster)
        for name in ("indices", "gains", "distances", "nearest"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


def test_a_memory_map_of_a_whole_file_of_floats_is_that_file(tmp_path: Path) -> None:
    np.save(path := tmp_path / "x.npy", ROWS)
    np.save(tmp_path / "whole.npy", np.ones((4, 2), np.uint16))  # Numbers; in a file of rows they would be bfloat16.
    assert file_of(np.load(path, mmap_mode="r")) == path
    for other in (ROWS, np.load(path, mmap_mode="r")[1:], np.load(tmp_path / "whole.npy", mmap_mode="r")):
        assert file_of(other) is None


@pytest.mark.ray
@pytest.mark.usefixtures("many_rounds")
def test_an_actor_that_is_killed_in_mid_run_changes_nothing(ray_address: str, expected: GreedyPicks) -> None:
    picks = ClusterGreedy(shards=2)(ROWS, WEIGHT, **RULE, on_pick=once_at(300, kill_a_shard))
    assert_same(picks, expected)


@pytest.mark.ray
@pytest.mark.usefixtures("many_rounds")
def test_where_no_actor_may_start_anew_the_picks_are_kept_and_serve_the_next_run(
    ray_address: str, expected: GreedyPicks, tmp_path: Path
) -> None:
    method = ClusterGreedy(shards=2, restarts=0, checkpoint=tmp_path / "picks.npz")
    with pytest.raises(ClusterError, match=r"shard \d of 2 is lost .*checkpoint goes on from there"):
        method(ROWS, WEIGHT, **RULE, on_pick=once_at(300, kill_a_shard))
    of = identity(ROWS, WEIGHT, **{name: value for name, value in RULE.items() if name != "k"}, given=None)
    kept = Checkpoint(tmp_path / "picks.npz", of, every=1).load(K)
    assert kept and 300 <= len(kept.indices) < K
    assert_same(dataclasses.replace(method, shards=1)(ROWS, WEIGHT, **RULE), expected)


@pytest.mark.ray
@pytest.mark.usefixtures("many_rounds")
def test_a_shard_that_hangs_ends_the_selection_and_the_picks_are_kept(
    ray_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = list[RayShards]()

    def start(*arguments: Any, timeout: float | None, **options: Any) -> RayShards:
        started.append(RayShards(*arguments, timeout=timeout, **options))
        return started[-1]

    def hang() -> None:
        assert started[0]._timeout == 1000.0
        started[0]._timeout = 5.0  # Not before: how long actors take to start on a busy machine, nobody knows.
        signal_a_shard(signal.SIGSTOP)

    monkeypatch.setattr(greedy, "RayShards", start)
    method = ClusterGreedy(shards=2, timeout=1000.0, checkpoint=tmp_path / "picks.npz")
    with pytest.raises(ClusterError, match=r"shard \d of 2 gave no answer within 5 seconds"):
        method(ROWS, WEIGHT, **RULE, on_pick=once_at(300, hang))
    assert 300 <= len(np.load(tmp_path / "picks.npz")["indices"]) < K


def assert_no_shard_is_left() -> None:
    """Every processor of the cluster is free again, a while after."""
    import ray

    time.sleep(3)  # Until the cluster would have told of one that was started last.
    for _ in range(40):
        if ray.available_resources().get("CPU") == 7:
            return
        time.sleep(0.5)
    raise AssertionError("a shard holds a processor still")


@pytest.mark.ray
@pytest.mark.usefixtures("many_rounds")
def test_shards_end_and_the_first_error_is_told_where_the_picks_cannot_be_kept(
    ray_address: str, tmp_path: Path
) -> None:
    (tmp_path / "gone").mkdir()

    def fail() -> None:
        shutil.rmtree(tmp_path / "gone")
        raise ZeroDivisionError

    method = ClusterGreedy(shards=2, checkpoint=tmp_path / "gone" / "picks.npz")
    with pytest.raises(ZeroDivisionError):
        method(ROWS, WEIGHT, **RULE, on_pick=once_at(300, fail))
    assert_no_shard_is_left()


@pytest.mark.ray
def test_shards_that_were_started_before_one_cannot_be_are_ended(ray_address: str) -> None:
    out = [np.zeros(100, np.bool_)]  # Of one shard, where there are two.
    with pytest.raises(ValueError, match="zip"):
        RayShards(
            [ROWS[:100], ROWS[100:200]], [WEIGHT[:100], WEIGHT[100:200]], cosine=False, cpus=1, restarts=0, k=5, out=out
        )  # fmt: skip
    assert_no_shard_is_left()


DRIVER = """
import os, signal, sys
from pathlib import Path
import numpy as np
from qads.cluster import ClusterGreedy
from qads.kernels import rounds

rounds._RACED, folder, address = 50, Path(sys.argv[1]), sys.argv[2]

def die(n):
    if n == 300:
        os.kill(os.getpid(), signal.SIGKILL)

method = ClusterGreedy(address=address, shards=1, checkpoint=folder / "picks.npz", checkpoint_every=60)
x, weight = np.load(folder / "x.npy"), np.load(folder / "weight.npy")
method(x, weight, start=[7, 2400], k=700, cosine=False, distance_share=None, on_pick=die)
"""


@pytest.mark.ray
def test_a_driver_that_is_killed_goes_on_from_its_picks(
    ray_address: str, expected: GreedyPicks, tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", ROWS)
    np.save(tmp_path / "weight.npy", WEIGHT)
    driver = subprocess.run([sys.executable, "-c", DRIVER, str(tmp_path), ray_address], check=False)
    assert driver.returncode == -signal.SIGKILL
    kept = np.load(tmp_path / "picks.npz")["indices"]
    assert 200 < len(kept) <= 300
    method, seen = ClusterGreedy(shards=1, checkpoint=tmp_path / "picks.npz"), list[int]()
    assert_same(method(ROWS, WEIGHT, **RULE, on_pick=seen.append), expected)
    assert seen == list(range(1, K + 1))
    # Now all is kept, for a smaller budget too.
    assert_same(method(ROWS, WEIGHT, **RULE | {"k": 20}), head(expected, 20))


@pytest.mark.ray
def test_shards_that_find_no_file_end_the_selection_with_the_reason(ray_address: str, tmp_path: Path) -> None:
    missing = StoredRows(path=tmp_path / "x.npy", shape=(N, D), dtype="float32", part=range(N))
    shards = RayShards([missing], [WEIGHT], cosine=False, cpus=1, restarts=2, k=K)
    product = Float32Product()
    with Threads(1, product) as threads, pytest.raises(ClusterError, match=r"x\.npy cannot be read on"):
        ShardedGreedy(shards, cosine=False, distance_share=None, product=product, threads=threads).run([0], k=K)
    shards.close()


@pytest.mark.ray
def test_more_shards_than_the_cluster_has_room_for_are_refused(ray_address: str) -> None:
    with pytest.raises(
        InputError, match=r"shards=8 with cpus_per_shard=1 do not fit .* machines have 7 processors; start more"
    ):
        ClusterGreedy(shards=8)(ROWS, WEIGHT, **RULE)
    with pytest.raises(InputError, match=r"shards=1 with cpus_per_shard=9 do not fit"):
        ClusterGreedy(cpus_per_shard=9)(ROWS, WEIGHT, **RULE)


def test_a_shard_has_its_processors_on_one_machine() -> None:
    assert ClusterGreedy(cpus_per_shard=4)._n_shards([6, 6, 6, 6]) == 4
    assert ClusterGreedy(cpus_per_shard=3)._n_shards([6, 2, 7]) == 4
    with pytest.raises(InputError, match=r"shards=5 with cpus_per_shard=4 do not fit .* machines have 6, 6, 6, 6 "):
        ClusterGreedy(shards=5, cpus_per_shard=4)._n_shards([6, 6, 6, 6])


ALONE = """
import signal
import ray
from qads.cluster.connection import cluster, machines

signal.signal(signal.SIGTERM, signal.SIG_IGN)
with cluster(None):
    found = machines()
    assert ray.is_initialized() and len(found) == 1 and found[0][0] >= 1
    with cluster(None):
        assert machines() == found
    assert ray.is_initialized()
assert not ray.is_initialized()
assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
"""


@pytest.mark.ray
@pytest.mark.long
@pytest.mark.slow
def test_without_a_cluster_one_is_started_and_ends_with_the_selection() -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    subprocess.run([sys.executable, "-c", ALONE], check=True, env=environment)
