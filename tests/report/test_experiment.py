"""Laws of the page of an experiment: it says what is shown and what is not, and nothing in it can act."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qads.compare import (
    UNTRAINED,
    Arm,
    ArmResult,
    Experiment,
    Measured,
    PairedItems,
    Results,
    SettingResult,
    TrainingFacts,
    compare_arms,
    estimate_arm,
    load_experiment,
)
from qads.compare.costs import StageCost
from qads.compare.grid import Setting, Size
from qads.compare.results import Composition, Trial
from qads.config import SavedScorer
from qads.report import EXPERIMENT_FILES, experiment_as_json, experiment_findings, render_experiment, write_experiment
from qads.selection import RandomSelection, TopQuality
from report.conftest import HOSTILE
from report.parser import Page

ARMS = {
    "random": {"selection": {"kind": "random"}},
    "qads": {},
    "like": {"selection": {"kind": "random"}, "source_shares_of": "qads"},
}
MODEL = f"model {HOSTILE}"


def make_experiment() -> Experiment:
    return load_experiment(
        {"pool": {"sources": "pool.jsonl"}, "arms": ARMS, "budgets": 60, "models": MODEL, "match": ["rows", "tokens"],
         "tokens_of": "qads"}
    )  # fmt: skip


def make_measured(experiment: Experiment, n_seeds: int, gains: tuple[float, ...]) -> Measured:
    rng, n = np.random.default_rng(0), 30
    values = (
        rng.standard_normal((1, 1, n)) + 0.1 * rng.standard_normal((3, n_seeds, n)) + np.array(gains)[:, None, None]
    )
    sets = ("gsm8k", f"set {HOSTILE}")
    items = PairedItems(
        (*ARMS, UNTRAINED), (*values, np.full((1, n), -3.0)), sets, np.repeat([0, 1], [12, 18])
    )  # fmt: skip
    return Measured(
        "answer_log_likelihood",
        {arm: estimate_arm(items, arm) for arm in items.arms},
        {
            arm: tuple(estimate_arm(items, arm, seed=s) for s in range(len(each)))
            for arm, each in zip(items.arms, items.values, strict=True)
        },
        tuple(compare_arms(items, experiment.pairs)),
        {name: int((items.codes == g).sum()) for g, name in enumerate(sets)},
        1,
    )


def make_results(experiment: Experiment, n_seeds: int = 3, gains: tuple[float, ...] = (0.0, 1.0, 0.98)) -> Results:
    def arm(name: str, flops: int | None) -> ArmResult:
        composition = Composition(60.0, 20_000.0, {f"evil {HOSTILE}": 0.75, "plain": 0.25}, (f"why {HOSTILE}",))
        training = TrainingFacts(30.0, 40_000.0, 25_000.0, 2e13, 50.0)
        trials = {seed: Trial(59 + seed, 19_000 + seed, replace(training, steps=29 + seed)) for seed in range(n_seeds)}
        return ArmResult(
            name, "kind", composition, 0.1, (StageCost("embed", flops, None),), training, {f"cut {HOSTILE}": 2}, trials
        )

    arms = (arm("random", 0), arm("qads", 10**14), arm("like", None))
    done = SettingResult(
        Setting(Size(60), MODEL), arms, np.eye(3), dict.fromkeys(ARMS, tuple(range(n_seeds))),
        (make_measured(experiment, n_seeds, gains),), (),
    )  # fmt: skip
    begun = SettingResult(Setting(Size(60, "tokens"), MODEL), arms[:2], np.full((2, 2), np.nan), {}, (), ("like",))
    return Results((done, begun), 15, 9)


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return make_experiment()


@pytest.fixture(scope="module", params=[1, 3])
def html(request: pytest.FixtureRequest, experiment: Experiment) -> str:
    return render_experiment(experiment, make_results(experiment, request.param))


def test_hostile_content_is_text_and_nothing_else(html: str) -> None:
    page = Page(html)
    assert not {tag for tag, _ in page.elements} & {"script", "img", "iframe", "link", "object", "form", "input"}
    names = {name for _, attributes in page.elements for name in attributes}
    assert not {name for name in names if name.startswith("on") or name in ("src", "style", "srcset", "xlink:href")}
    assert '<script>alert("1")</script>' in page.text
    assert {c for c in html if unicodedata.category(c) in ("Cc", "Cf") and c != "\n"} == set()
    assert "1337" not in html


def test_links_stay_on_the_page_and_only_its_style_is_allowed(html: str) -> None:
    page = Page(html)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    links = [attributes["href"] for _, attributes in page.elements if "href" in attributes]
    assert len(ids) == len(set(ids)) and links and {str(link) for link in links} <= {f"#{name}" for name in ids}
    policy = next(str(m["content"]) for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def test_tables_and_pictures_can_be_heard(html: str) -> None:
    page = Page(html)
    assert len(page.all("caption")) == len(page.all("table")) > 0 and len(page.all("h1")) == 1
    assert all(attributes.get("scope") in ("row", "col") for attributes in page.all("th"))
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    for svg in page.all("svg"):
        named = str(svg.get("aria-labelledby", "")).split()
        assert svg.get("aria-hidden") == "true" or (named and set(named) <= ids)


def test_rows_of_a_table_have_as_many_cells_as_its_head(html: str) -> None:
    for table in re.findall(r"<table.*?</table>", html, re.S):
        widths = {len(re.findall(r"<t[hd][ >]", row)) for row in re.findall(r"<tr>.*?</tr>", table, re.S)}
        assert len(widths) == 1, table[:300]


def test_everything_drawn_lies_in_its_picture(html: str) -> None:
    placed = re.findall(r'(?:x1|x2|y1|y2|cx|cy|x|y)="(-?[\d.]+)%"', html)
    assert placed and all(0 <= float(value) <= 100 for value in placed)
    assert not {"nan", "None", "inf"} & set(re.findall(r"\w+", html.split("<main>")[1]))


def test_what_is_shown_and_what_is_not_leads(experiment: Experiment) -> None:
    found = experiment_findings(experiment, make_results(experiment))
    assert found[0] == "9 of 15 cells are done."
    assert re.search(r"against random: better: qads \(\+\d.*\), like \(", found[1])
    assert re.search(r"qads against like, .*: no difference shown\.", found[2])
    assert found[-1].endswith("not evaluated yet: like.")
    (one,) = [line for line in experiment_findings(experiment, make_results(experiment, 1)) if "against random" in line]
    assert "one seed: no claim: qads" in one and "better" not in one


def test_the_page_says_how_many_seeds_tell_what(experiment: Experiment) -> None:
    page = render_experiment(experiment, make_results(experiment))
    assert "Of an arm with 3 seeds the part" in page and "<small>3 seeds</small>" in page
    assert "From one seed nothing" in render_experiment(experiment, make_results(experiment, n_seeds=1))


def test_steps_that_are_far_apart_are_told(experiment: Experiment) -> None:
    results = make_results(experiment)
    assert "steps of the optimiser: part of a difference" not in render_experiment(experiment, results)
    done = results.settings[0]
    more = replace(done.arms[0], training=replace(done.arms[0].training, steps=58.0))
    apart = replace(results, settings=(replace(done, arms=(more, *done.arms[1:])),))
    assert "Trainings took from 30 to 58 steps of the optimiser" in render_experiment(experiment, apart)


def test_findings_say_of_which_measure_they_are_and_how_many_tables_there_are(experiment: Experiment) -> None:
    results = make_results(experiment)
    done = results.settings[0]
    two = replace(done, measured=(*done.measured, replace(done.measured[0], measure="accuracy")))
    found = experiment_findings(experiment, replace(results, settings=(two,)))
    assert len(found) == len(set(found)) and any("Claims are made of 2 tables" in each for each in found)
    assert sum("accuracy: qads against like" in each for each in found) == 1


def test_that_rows_and_sources_are_not_told_apart_is_said_where_no_arm_holds_the_sources(
    experiment: Experiment,
) -> None:
    def said(arms: dict[str, Arm]) -> list[str]:
        of = replace(experiment, arms=arms)
        return [line for line in experiment_findings(of, make_results(of)) if "cannot be told" in line]

    assert not said(dict(experiment.arms))
    free = {name: replace(arm, source_shares_of=None) for name, arm in experiment.arms.items()}
    (line,) = said(free)
    assert line.startswith("No arm draws random rows of the sources of qads (source_shares_of)")
    # Neither the best rows of its sources nor random ones of another's tell it.
    assert said(experiment.arms | {"like": replace(experiment.arms["like"], selection=TopQuality())})
    assert said(experiment.arms | {"like": replace(experiment.arms["like"], source_shares_of="random")})
    assert not said({name: replace(arm, selection=RandomSelection()) for name, arm in free.items()})


def test_that_the_cost_of_a_scorer_fitted_before_is_not_counted_is_said(experiment: Experiment) -> None:
    assert experiment.quality is not None
    saved = replace(experiment, quality=replace(experiment.quality, scorer=SavedScorer(path="fitted")))
    (said,) = [line for line in experiment_findings(saved, make_results(saved)) if "fitted before" in line]
    assert said in experiment_findings(saved, make_results(saved, 1))
    assert not [line for line in experiment_findings(experiment, make_results(experiment)) if "fitted before" in line]


def test_an_arm_of_unknown_cost_is_in_the_table_and_not_in_the_plot(html: str) -> None:
    (plot,) = re.findall(r'<figure class="chart square">.*?</figure>', html, re.S)
    assert "<title>random: " in plot and "<title>like: " not in plot and ">like<" not in plot
    assert "like" in html.split("What they chose")[1]
    assert "Large marks: no arm gives as much for less: random, qads." in plot


def test_rows_that_training_cut_are_counted(html: str) -> None:
    assert "qads, rows too long to be trained on as they are, over all seeds: 2 cut" in html


def test_json_holds_for_every_arm_what_was_promised(experiment: Experiment) -> None:
    found = json.loads(json.dumps(experiment_as_json(experiment, make_results(experiment)), default=str))
    assert len(found["results"]) == 3 * 3 and len(found["seeds"]) == 3 * 3 * 3
    row = next(r for r in found["results"] if r["arm"] == "qads" and r["set"] == "gsm8k")
    assert {
        "strategy", "ratio", "model", "seeds", "metric", "value", "value_low", "value_high", "difference",
        "difference_low", "difference_high", "together_low", "together_high", "verdict", "selection_flops", "training_flops",
    } <= set(row)  # fmt: skip
    assert (row["ratio"], row["training_flops"], row["selection_flops"], row["verdict"]) == (0.1, 2e13, 1e14, "better")
    assert {r["verdict"] for r in found["results"] if r["arm"] == "random"} == {None}
    assert {(r["seed"], r["rows"], r["tokens"], r["steps"]) for r in found["seeds"]} == {
        (seed, 59 + seed, 19_000 + seed, 29 + seed) for seed in range(3)
    }
    assert {(c["arm"], c["other"]) for c in found["comparisons"]} == set(experiment.pairs)


def test_comparisons_are_on_the_page_where_none_is_with_the_reference(experiment: Experiment) -> None:
    results = make_results(experiment)
    done = results.settings[0]
    (measured,) = done.measured
    others = tuple(each for each in measured.outcomes if each.other != "random")
    some = replace(done, measured=(replace(measured, outcomes=others),))
    html = render_experiment(experiment, replace(results, settings=(some,)))
    assert "<small>against like</small>" in html and "Difference to random" not in html


def test_tables_are_the_same_bytes_twice_and_start_no_formula(experiment: Experiment, tmp_path: Path) -> None:
    results = make_results(experiment)
    first, second = (write_experiment(experiment, results, tmp_path / name) for name in "ab")
    assert [path.name for path in first] == list(EXPERIMENT_FILES)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    formula = load_experiment({"pool": {"sources": "p"}, "arms": ARMS, "budgets": 60, "models": "=1+1"})
    done = results.settings[0]
    risky = Results(
        (SettingResult(Setting(Size(60), "=1+1"), done.arms, done.overlap, done.seeds, done.measured, ()),), 9, 9
    )
    write_experiment(formula, risky, tmp_path / "c")
    with (tmp_path / "c" / "results.csv").open(newline="") as file:
        assert {row["model"] for row in csv.DictReader(file)} == {"'=1+1"}
