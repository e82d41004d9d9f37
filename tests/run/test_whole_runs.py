"""Every stage of a run under what happens to runs: killed anywhere, files damaged, the disk full, two at once.

A few of each, drawn by seed; `make soak` does all of them.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from run.disturbed import Watcher, damages
from run.trials import Whole, damaged, full_disk, killed, two_at_once


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return Whole(tmp_path_factory.mktemp("whole"), train=False)


def test_shards_that_a_run_finds_are_counted_in_the_stage_that_it_starts_with(tmp_path: Path):
    shards = [tmp_path / "quality" / "shards" / f"{number:05d}.parquet" for number in range(2)]
    shards[0].parent.mkdir(parents=True)
    for shard in shards:
        shard.touch()
    watcher = Watcher(str(tmp_path))
    watcher.stage_started("quality", 1, 1)
    shards[1].rename(tmp_path / "as it was")
    shards[1].touch()
    watcher.progress(1, 1)
    watcher.stage_finished("quality", {}, reused=False)
    assert (watcher.kept, watcher.again) == (1, ["quality/00001.parquet"])


@pytest.mark.long
@pytest.mark.slow
def test_a_whole_run_killed_at_random_moments_ends_as_if_it_had_not_been(whole: Whole):
    draw = random.Random(0)
    moments = [draw.uniform(0.1, 0.5) * whole.seconds for _ in range(2)]
    found = killed(whole, moments)
    assert found.again == []
    assert found.differing == []


def test_no_damaged_file_of_a_finished_run_is_ever_used(whole: Whole):
    draw = random.Random(1)
    every = list(damages(whole.kept))
    of_stages = {name.split("/")[0]: [d for d in every if d[0].startswith(name.split("/")[0])] for name, _ in every}
    drawn = [
        draw.choice(found) for name, found in of_stages.items() if name not in ("coverage", "projection", "report")
    ]
    found = [damaged(whole, name, kind, draw) for name, kind in drawn]
    assert [each for each in found if not each.is_well] == []


@pytest.mark.slow
def test_a_disk_that_is_full_loses_nothing_and_says_what_it_needs(whole: Whole):
    try:
        found = full_disk(whole, first=16_000, step=1_200_000)
    except PermissionError as error:
        pytest.skip(str(error))
    assert found.wrong == []
    assert len(found.stages) > 2


def test_of_two_drivers_that_start_at_once_one_works_and_the_other_is_told(whole: Whole):
    assert [two_at_once(whole) for _ in range(2)] == [[0, 3]] * 2
