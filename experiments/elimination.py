"""How many anchors are enough: the stopping rules replayed on a matrix of which every pair is known.

The rules run as in production (`qads.quality.rounds.play_rounds`), with the matrix in place of the model, under many
seeds of the order of the anchors. Beside each rule stands the plain alternative: as many random anchors for
everyone, in one round, as the rule used for the average candidate.

    python experiments/aggregates.py matrix --out experiments-out          # makes the matrix
    python experiments/elimination.py experiments-out/influence.parquet --json experiments-out/elimination.json

Sources and token counts come from the sample that `aggregates.py` draws, by the tokenizer of its model. For a table of
other rows the source is the id up to its first hyphen and token counts are a stated guess.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from aggregates import MODEL, draw_sample
from aggregates_table import correlations
from jaxtyping import Bool, Float, Int

import qads
from qads import Influence, UntilRankStable, UntilStandardError
from qads.prompts import ExemplarTemplate
from qads.quality.influence import AGGREGATES, Aggregate
from qads.quality.rounds import play_rounds
from qads.quality.tokens import fit_texts
from qads.run.sealed import write_json

GUESSED_TOKENS = (180, 120)
"""Of an example and of an anchor, where the rows are not those of `aggregates.py`."""
COLUMNS: Mapping[str, tuple[str, str]] = {
    "passes": ("anchor passes saved", ".2f"),
    "tokens": ("tokens saved", ".2f"),
    "spearman": ("Spearman", ".3f"),
    "within": ("within sources", ".3f"),
    "top 10%": ("of the top 10%", ".2f"),
    "top 25%": ("of the top 25%", ".2f"),
    "level": ("same level", ".2f"),
    "level of stopped": ("same level, stopped", ".2f"),
    "stopped": ("stopped early", ".2f"),
    "ran out": ("ran out", ".2f"),
}
"""Figure -> heading and format."""
Figures = dict[str, float]
Summary = dict[str, list[float]]
"""Figure -> mean, low and high over seeds; empty where it never was."""


@dataclass(frozen=True)
class Whole:
    """The complete matrix and what its rows are."""

    influence: Influence
    sources: Int[np.ndarray, " n"]
    example_tokens: Float[np.ndarray, " n"]
    """Of header and example."""
    anchor_tokens: Float[np.ndarray, " m"]
    aggregate: Aggregate
    levels: int

    @property
    def quality(self) -> Float[np.ndarray, " n"]:
        """By the whole matrix."""
        return self.influence.quality(self.aggregate)

    @property
    def scorable(self) -> Bool[np.ndarray, "n m"]:
        """Pairs that have a score."""
        return ~np.isnan(self.influence.gains)

    def cost(self, scored: Bool[np.ndarray, "n m"], n_shown: Int[np.ndarray, " n"]) -> float:
        """Tokens of these pairs, with every example run so many times, and of the anchors alone."""
        pairs = (scored * self.anchor_tokens).sum()
        return float(pairs + (n_shown * self.example_tokens).sum() + self.anchor_tokens.sum())

    def figures(self, found: Influence, n_shown: Int[np.ndarray, " n"]) -> Figures:
        """How much was saved, and how near the whole matrix the rest comes."""
        scored, early = ~np.isnan(found.one_shot), found.pending.any(axis=1)
        quality, truth = found.quality(self.aggregate), self.quality
        pooled, _, within, _ = correlations(quality[:, None], truth, self.sources)[0]
        same = self._level(quality) == self._level(truth)
        every = np.ones_like(n_shown)
        return {
            "passes": float(self.scorable.sum() / scored.sum()),
            "tokens": self.cost(self.scorable, every) / self.cost(scored, n_shown),
            "spearman": float(pooled),
            "within": float(within),
            **{f"top {share}%": self._kept(quality, truth, share / 100) for share in (10, 25)},
            "level": float(same.mean()),
            "level of stopped": float(same[early].mean()) if early.any() else np.nan,
            "stopped": float(early.mean()),
        }

    def _level(self, quality: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        return np.searchsorted(np.quantile(quality, np.arange(1, self.levels) / self.levels), quality, "right")

    def _kept(self, quality: Float[np.ndarray, " n"], truth: Float[np.ndarray, " n"], share: float) -> float:
        k = max(1, round(share * len(truth)))
        return len({*np.argsort(-quality)[:k].tolist()} & {*np.argsort(-truth)[:k].tolist()}) / k


def read_whole(table: Path, aggregate: Aggregate, levels: int, seed: int) -> tuple[Whole, str]:
    """The matrix with sources and token counts, and where these come from; rows that no anchor could score go."""
    influence = Influence.from_table(pq.read_table(table))
    if influence.left_out is not None:
        raise SystemExit(f"{table}: a stopping rule left pairs out; the replay needs all of them.")
    rows = np.flatnonzero(influence.n_scored > 0)
    names = tuple(influence.candidate_ids[i] for i in rows)
    influence = dataclasses.replace(influence, one_shot=influence.one_shot[rows], candidate_ids=names, origin=None)
    lengths, sources, origin = _texts(influence, seed)
    return Whole(influence, np.unique(sources, return_inverse=True)[1], *lengths, aggregate, levels), origin


def _texts(influence: Influence, seed: int) -> tuple[tuple[np.ndarray, np.ndarray], list[str], str]:
    """Tokens of examples and anchors, sources of the candidates, and how the tokens are known."""
    lm = qads.open_causal_lm(MODEL, dtype="float32", device="cpu")
    sample, names = draw_sample(lm, seed), influence.candidate_ids
    at = {name: i for i, name in enumerate(sample.candidates.strings("id"))}
    if set(names) <= set(at) and influence.anchor_ids == tuple(sample.anchors.strings("id")):
        candidates = sample.candidates.take([at[name] for name in names])
        renderer = ExemplarTemplate().renderer(None)
        texts = fit_texts(lm.tokenizer, renderer, candidates, sample.anchors, lm.max_length, "error")
        examples = np.array([len(texts.header) + len(ids or ()) for ids in texts.examples], float)
        anchors = np.array([len(t.ids) for t in texts.targets if t], float)
        return (examples, anchors), candidates.strings("source"), f"tokens by the tokenizer of {MODEL}"
    example, anchor = GUESSED_TOKENS
    lengths = np.full(len(names), float(example)), np.full(len(influence.anchor_ids), float(anchor))
    sources = [name.partition("-")[0] for name in names]
    return lengths, sources, f"tokens guessed: {example} an example, {anchor} an anchor"


Rule = UntilStandardError | UntilRankStable


def replay(whole: Whole, rule: Rule) -> tuple[Figures, float]:
    """One run of a rule on the matrix, and how many anchors the average candidate got."""
    full = whole.influence
    n_shown = np.zeros(len(full.candidate_ids), np.int64)

    def score(rows: Int[np.ndarray, " r"], columns: Int[np.ndarray, " c"]) -> Float[np.ndarray, "r c"]:
        n_shown[rows] += 1
        return full.one_shot[np.ix_(rows, columns)]

    played = play_rounds(
        rule, whole.aggregate, zero_shot=full.zero_shot, anchor_groups=full.anchor_groups, may_score=whole.scorable,
        score=score,
    )  # fmt: skip
    found = dataclasses.replace(full, one_shot=played.one_shot, left_out=played.pending)
    out = ~rule.met(found, whole.aggregate) & ~played.pending.any(axis=1)
    return whole.figures(found, n_shown) | {"ran out": float(out.mean())}, float(found.n_scored.mean())


def same_for_all(whole: Whole, n_anchors: int, seed: int) -> Figures:
    """The first `n_anchors` of the same random order for everyone, in one round."""
    full = whole.influence
    order = UntilStandardError(se=1, seed=seed).order(full.anchor_groups)
    pending = whole.scorable.copy()
    pending[:, order[:n_anchors]] = False
    found = dataclasses.replace(full, one_shot=np.where(pending, np.nan, full.one_shot), left_out=pending)
    return whole.figures(found, np.ones(len(full.candidate_ids), np.int64))


def over_seeds(one: Callable[[int], Figures], n_seeds: int) -> Summary:
    """Mean and 95% interval of every figure over seeds."""
    every = [one(seed) for seed in range(n_seeds)]
    found: Summary = {}
    for name in every[0]:
        values = np.array([figures[name] for figures in every])
        values = values[np.isfinite(values)]
        found[name] = [float(values.mean()), *np.percentile(values, [2.5, 97.5]).tolist()] if len(values) else []
    return found


def name_of(rule: Rule) -> str:
    """The rule with its settings."""
    if isinstance(rule, UntilStandardError):
        return f"until-se {rule.se:g}"
    return f"until-rank-stable, confidence {rule.confidence:g}, tolerance {rule.tolerance:g}"


def report(
    whole: Whole, rules: Sequence[Rule], counts: Sequence[int], n_seeds: int
) -> dict[str, dict[str, list[float]]]:
    """Print the table; returns the figures by rule, and by ``N anchors for all``."""
    print("\n| |" + "|".join(heading for heading, _ in COLUMNS.values()) + "|\n|---|" + "---|" * len(COLUMNS))
    found: dict[str, Summary] = {}
    for rule in rules:
        used: list[float] = []

        def one(seed: int, rule: Rule = rule, used: list[float] = used) -> Figures:
            figures, n_anchors = replay(whole, dataclasses.replace(rule, seed=seed))
            used.append(n_anchors)
            return figures

        name = name_of(rule)
        found[name] = over_seeds(one, n_seeds)
        _print_row(name, found[name])
        plain = f"— {np.mean(used):.1f} anchors for all"
        found[f"{name}: the same for all"] = over_seeds(
            lambda seed, used=used: same_for_all(whole, round(used[seed]), seed), n_seeds
        )
        _print_row(plain, found[f"{name}: the same for all"])
    for count in counts:
        found[f"{count} anchors for all"] = over_seeds(lambda seed, k=count: same_for_all(whole, k, seed), n_seeds)
        _print_row(f"{count} anchors for all", found[f"{count} anchors for all"])
    return found


def _print_row(name: str, figures: Summary) -> None:
    cells = [_cell(figures.get(column, []), form) for column, (_, form) in COLUMNS.items()]
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _cell(figure: Sequence[float], form: str) -> str:
    return f"{figure[0]:{form}} [{figure[1]:{form}}, {figure[2]:{form}}]" if figure else "–"


def main() -> None:
    """Replay the rules on a matrix."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="influence.parquet with every pair")
    parser.add_argument("--aggregate", choices=AGGREGATES, default="positive_gain")
    parser.add_argument("--levels", type=int, default=UntilRankStable.levels)
    parser.add_argument("--se", type=float, nargs="*", default=[0.003, 0.005, 0.007, 0.01, 0.015, 0.02])
    parser.add_argument("--tolerance", type=float, nargs="*", default=[0.0, 0.1, 0.2, 0.3, 0.4])
    parser.add_argument("--confidence", type=float, nargs="*", default=[0.8, 0.95])
    parser.add_argument("--for-all", type=int, nargs="*", default=[8, 12, 16, 21, 32])
    parser.add_argument("--seeds", type=int, default=100, help="orders of the anchors")
    parser.add_argument("--sample-seed", type=int, default=0, help="that of aggregates.py")
    parser.add_argument("--json", type=Path, help="where to write all figures")
    given = parser.parse_args()
    whole, origin = read_whole(given.table, given.aggregate, given.levels, given.sample_seed)
    n, m = whole.influence.one_shot.shape
    print(
        f"{n} candidates of {len(np.unique(whole.sources))} sources, {m} anchors of "
        f"{len(set(whole.influence.anchor_groups))}, {given.aggregate}, {given.levels} levels; {origin}. Mean over "
        f"{given.seeds} orders of the anchors, in brackets 95% of them. Saved: whole matrix ÷ what was run."
    )
    rules: list[Rule] = [UntilStandardError(se=se) for se in given.se]
    rules += [
        UntilRankStable(levels=given.levels, confidence=confidence, tolerance=tolerance)
        for confidence in given.confidence
        for tolerance in given.tolerance
    ]
    figures = report(whole, rules, [k for k in given.for_all if k < m], given.seeds)
    if given.json:
        write_json(
            given.json, {"candidates": n, "anchors": m, "seeds": given.seeds, "tokens": origin, "figures": figures}
        )


if __name__ == "__main__":
    main()
