"""Laws of runs set side by side: what they share is counted, what they do not is told, names and rows are inert."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from cli.conftest import parsed
from qads.config import load_config
from qads.errors import InputError, RunError
from qads.pool import to_json
from qads.report import runs_as_json, write_runs_report
from qads.report.evidence import open_run
from qads.report.runs import compare_runs
from qads.run import run_pipeline
from report.parser import Page
from report.runs import EVIL_NAME, RANDOM, foreign_run, other_run
from report.test_page import without_scripts
from report.test_samples import array, unpacked
from run.tiny import make_model, rows, settings, write_rows


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random rows of the same pool, by a run whose name would like to act."""
    return other_run(tmp_path_factory.mktemp("drawn"), name=EVIL_NAME, **RANDOM)


def ids(root: Path) -> set[str]:
    return set(open_run(root).reasons["id"])


def test_what_both_chose_is_what_their_selections_share(plain_run: Path, drawn: Path) -> None:
    facts = compare_runs([open_run(plain_run), open_run(drawn)])
    a, b = ids(plain_run), ids(drawn)
    (overlap,) = facts.overlaps
    assert (overlap.both, overlap.either) == (len(a & b), len(a | b)) and overlap.jaccard == len(a & b) / len(a | b)
    assert overlap.by_chance == 12 * 12 / 40
    assert [each.n_alone for each in facts.chosen] == [len(a - b), len(b - a)]
    assert (facts.by_all, facts.by_none, facts.shared.is_one_pool) == (len(a & b), 40 - len(a | b), True)
    assert sum(s.rows for s in facts.sources) == 40 and sum(s.by_all for s in facts.sources) == len(a & b)
    for r, each in enumerate(facts.chosen):
        assert sum(s.picks[r] for s in facts.sources) == 12 and sum(s.alone[r] for s in facts.sources) == each.n_alone
    assert "selection.kind" in {each.name for each in facts.settings} and facts.agreements == ()
    assert {"select", "mixture"} <= {each.name for each in facts.stages} and facts.versions == ()


def test_the_order_of_the_runs_changes_names_and_no_numbers(plain_run: Path, drawn: Path) -> None:
    runs = [open_run(plain_run), open_run(drawn)]
    there, back = compare_runs(runs), compare_runs(runs[::-1])
    assert there.overlaps[0].both == back.overlaps[0].both
    assert [each.radius for each in there.chosen] == [each.radius for each in back.chosen[::-1]]
    assert {s.name.text: s.picks for s in there.sources} == {s.name.text: s.picks[::-1] for s in back.sources}


def test_runs_of_other_pools_are_compared_on_the_rows_that_are_in_all(plain_run: Path, tmp_path: Path) -> None:
    part = other_run(tmp_path, rows=tuple(range(30, 5, -1)))  # In another order.
    facts = compare_runs([open_run(plain_run), open_run(part)])
    assert len(facts.shared) == 25 and not facts.shared.is_one_pool
    first, second = (open_run(root).pool.strings("problem") for root in (plain_run, part))
    at = facts.shared.positions
    assert [first[i] for i in at[0]] == [second[i] for i in at[1]]
    assert [each.n_pool for each in facts.chosen] == [40, 25]
    assert facts.chosen[1].n_shared_picks == facts.chosen[1].n_picks == 8
    assert facts.chosen[0].n_shared_picks < facts.chosen[0].n_picks == 12
    write_runs_report([plain_run, part], tmp_path / "page.html")
    text = " ".join(Page(without_scripts((tmp_path / "page.html").read_text())).text.split())
    left = 12 - facts.chosen[0].n_shared_picks
    assert "The pools are not the same" in text and f"has 15 more, of which it chose {left}" in text


def test_runs_that_share_no_row_or_are_the_same_run_are_refused(plain_run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="have no row in common, word for word"):
        write_runs_report([plain_run, foreign_run(tmp_path / "foreign")], tmp_path / "page.html")
    with pytest.raises(InputError, match="a run is given twice"):
        write_runs_report([plain_run, plain_run / "."], tmp_path / "page.html")
    with pytest.raises(InputError, match="it must be 2 to 6"):
        write_runs_report([plain_run], tmp_path / "page.html")
    with pytest.raises(RunError, match="not a run directory"):
        write_runs_report([plain_run, tmp_path], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists() and not (tmp_path / ".lock").exists()


def test_qualities_agree_as_their_correlations_say(tmp_path: Path) -> None:
    model, pool = make_model(tmp_path / "model"), write_rows(tmp_path / "pool.jsonl", rows(40))
    roots = [
        run_pipeline(
            load_config(settings(model, pool, seed=seed, anchors={"n": 3 + seed})), tmp_path / str(seed)
        ).directory
        for seed in (0, 1)
    ]
    runs = [open_run(root) for root in roots]
    facts = compare_runs(runs)
    (found,) = facts.agreements
    a, b = (run.quality[at] for run, at in zip(runs, facts.shared.positions, strict=True) if run.quality is not None)
    known = np.isfinite(a) & np.isfinite(b)
    assert found.n_rows == known.sum() and found.n_real <= 20
    assert found.pearson == pytest.approx(np.corrcoef(a[known], b[known])[0, 1], abs=1e-6)
    for i, mine in enumerate(facts.picked):
        for j, quality in enumerate((a, b)):
            assert facts.chosen[i].quality[j] == pytest.approx(np.nanmean(quality[mine]), rel=1e-5)


@pytest.mark.parametrize("n", [0, 5, 21, 40])
def test_texts_are_those_of_the_earliest_picks_of_any_run(plain_run: Path, drawn: Path, tmp_path: Path, n: int) -> None:
    found = write_runs_report([plain_run, drawn], tmp_path / "page.html", texts=n).samples
    assert found is not None
    columns, whole = unpacked(found.columns), unpacked(found.texts)["rows"]
    steps = np.stack([array(run["step"], "<i4") for run in columns["runs"]])
    earliest = np.where(steps < 0, 10**6, steps).min(axis=0)
    n_picked = int((earliest < 10**6).sum())
    assert len(whole) == len(set(whole)) == n
    assert earliest[whole[:n_picked]].tolist() == sorted(earliest)[: min(n, n_picked)]


def test_the_page_is_the_same_twice_and_nothing_in_it_acts(plain_run: Path, drawn: Path, tmp_path: Path) -> None:
    for name in ("one.html", "two.html"):
        found = write_runs_report([plain_run, drawn], tmp_path / name)
    html = (tmp_path / "one.html").read_text()
    assert html == (tmp_path / "two.html").read_text()
    page = Page(without_scripts(html))
    names = {name for _, attributes in page.elements for name in attributes}
    assert not {name for name in names if name.startswith("on") or name in ("src", "style", "srcset")}
    assert not {tag for tag, _ in page.elements} & {"img", "iframe", "object", "base", "link"}
    assert {c for c in without_scripts(html) if unicodedata.category(c) in ("Cc", "Cf") and c != "\n"} == set()
    assert "1337" not in without_scripts(html) and len(page.all("script")) == 4
    assert len(page.all("caption")) == len(page.all("table")) > 4 and len(page.all("h1")) == 1
    found_ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(found_ids) == len(set(found_ids))
    links = {str(a["href"]) for a in page.all("a")}
    assert links <= {f"#{name}" for name in found_ids}
    written = parsed(to_json(runs_as_json(found)))
    assert written["chosen_by_all"] + len(written["rows_that_differ"]) + written["chosen_by_none"] == 40
    assert re.search(r"Not in .*: covered by", " ".join(page.text.split()))
