"""Slow, obvious oracles: the definitions, written out, that the fast code is judged by.

Nothing here is imported from `qads` and nothing is clever. One section an algorithm.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any, NamedTuple

import numpy as np

# ---------------------------------------------------------------------------------------------------------
# Selection: K-center Greedy with quality, float64, direct distances.
# ---------------------------------------------------------------------------------------------------------


class Picks(NamedTuple):
    """What greedy selection chose, step 0 first."""

    indices: np.ndarray
    gains: np.ndarray
    distances: np.ndarray
    nearest: np.ndarray


def distances_from(x: np.ndarray, row: int, metric: str = "euclidean") -> np.ndarray:
    """Distance of every row to one row.

    For the cosine, 1 − ⟨u, v⟩ = |u − v|²/2 of the unit vectors; the right side gives 0 for equal rows and the
    left side only nearly so.
    """
    x = np.asarray(x, dtype=np.float64)
    if metric == "cosine":
        unit = x / np.sqrt((x * x).sum(axis=1, keepdims=True))
        return ((unit - unit[row]) ** 2).sum(axis=1) / 2
    return np.sqrt(((x - x[row]) ** 2).sum(axis=1))


def nearest_pick(x: np.ndarray, picks: Sequence[int], metric: str = "euclidean") -> tuple[np.ndarray, np.ndarray]:
    """For every row the distance to the nearest pick, and the step of that pick (the earliest of equals)."""
    if len(picks) == 0:
        return np.full(len(x), np.inf), np.full(len(x), -1)
    to_each = np.stack([distances_from(x, row, metric) for row in picks])
    return to_each.min(axis=0), to_each.argmin(axis=0)


def scaled(quality: Sequence[float] | np.ndarray, scale: str) -> np.ndarray:
    """Quality on [0, 1]. The rank of a value is the mean of the places that its equals take."""
    values = [float(value) for value in quality]
    if scale == "rank":
        below = [sum(other < value for other in values) for value in values]
        equal = [values.count(value) for value in values]
        return np.array([(b + (e + 1) / 2) / len(values) for b, e in zip(below, equal, strict=True)])
    if scale == "minmax":
        low, high = min(values), max(values)
        return np.array([1.0 if high == low else (value - low) / (high - low) for value in values])
    return np.array(values)


def kcenter_scores(
    x: np.ndarray,
    q: np.ndarray,
    picks: Sequence[int],
    *,
    combine: str = "product",
    alpha: float = 1.0,
    w: float = 0.5,
    metric: str = "euclidean",
) -> np.ndarray:
    """Score of every row after the picks so far; −inf for the picks themselves.

    The sum is rounded as ((1 − w) / d_max) · d + w · q, which is part of its definition: rows of different
    distance and quality can tie in it exactly.
    """
    d, _ = nearest_pick(x, picks, metric)
    if combine == "product":
        score = q**alpha * d
    else:
        d_max = distances_from(x, picks[0], metric).max()
        score = (1 - w) / (d_max if d_max > 0 else 1.0) * d + w * q
    score[list(picks)] = -np.inf
    return score


def kcenter_greedy(
    x: np.ndarray,
    quality: Sequence[float] | np.ndarray | None = None,
    *,
    budget: int,
    scale: str = "rank",
    start: str = "quality",
    n_start: int = 1,
    seed: int = 0,
    metric: str = "euclidean",
    **rule: float | str,
) -> Picks:
    """Greedy selection: always the row of highest score, the lowest row of equals."""
    n = len(x)
    q = np.ones(n) if quality is None else scaled(quality, scale)
    if start == "quality":
        first = [min(row for row in range(n) if q[row] == max(q))]
    else:
        first = [int(row) for row in np.random.default_rng(seed).choice(n, n_start, replace=False)]
    picks: list[int] = []
    gains, distances, nearest = np.full(budget, np.nan), np.empty(budget), np.empty(budget, dtype=np.int64)
    for step in range(budget):
        d, at = nearest_pick(x, picks, metric)
        if step < len(first):
            row = first[step]
            gains[step] = q[row] if start == "quality" else np.nan
        else:
            score = kcenter_scores(x, q, picks, metric=metric, **rule)  # type: ignore[arg-type]
            row = min(i for i in range(n) if score[i] == score.max())
            gains[step] = score[row]
        distances[step], nearest[step] = d[row], at[row]
        picks.append(row)
    return Picks(np.array(picks), gains, distances, nearest)


def kcenter_after(
    x: np.ndarray,
    q: np.ndarray,
    given: np.ndarray,
    *,
    budget: int,
    combine: str = "product",
    alpha: float = 1.0,
    w: float = 0.5,
    metric: str = "euclidean",
) -> Picks:
    """Greedy selection where centres are there already: rows by number, never picked again, or vectors.

    The nearest of a pick is a step, or −2 − g for given centre g. d_max is the largest distance to the first given.
    """
    given = np.asarray(given)
    n_given = len(given)
    both = np.concatenate([x[given] if given.ndim == 1 else given, x])
    d_max = distances_from(both, 0, metric)[n_given:].max()
    picks: list[int] = []
    gains, distances, nearest = np.empty(budget), np.empty(budget), np.empty(budget, dtype=np.int64)
    for step in range(budget):
        d, at = nearest_pick(both, [*range(n_given), *(n_given + row for row in picks)], metric)
        d, at = d[n_given:], at[n_given:]
        score = q**alpha * d if combine == "product" else (1 - w) / (d_max if d_max > 0 else 1.0) * d + w * q
        score[picks] = -np.inf
        if given.ndim == 1:
            score[given] = -np.inf
        row = min(i for i in range(len(x)) if score[i] == score.max())
        gains[step], distances[step] = score[row], d[row]
        nearest[step] = at[row] - n_given if at[row] >= n_given else -2 - at[row]
        picks.append(row)
    return Picks(np.array(picks), gains, distances, nearest)


def covering_radius(x: np.ndarray, picks: Sequence[int]) -> float:
    """The largest distance of any row to its nearest pick."""
    return float(nearest_pick(x, picks)[0].max())


def smallest_covering_radius(x: np.ndarray, k: int) -> float:
    """The smallest covering radius that k rows can have, by trying all sets of k."""
    return min(covering_radius(x, picks) for picks in itertools.combinations(range(len(x)), k))


def rounded_half_up(fraction: str, n_rows: int) -> int:
    """The count that a decimal fraction of the rows comes to, as on paper."""
    with localcontext() as context:
        context.prec = 400
        return int((Decimal(fraction) * n_rows).to_integral_value(ROUND_HALF_UP))


# ---------------------------------------------------------------------------------------------------------
# Likelihood: every pair by itself, one plain forward pass over the whole sequence.
# ---------------------------------------------------------------------------------------------------------


def mean_answer_log_likelihood(model: Any, tokenizer: Any, blocks: Sequence[str], solution: str) -> float:
    """Mean log-probability (nats a token) of the tokens of `solution`, which ends the last of `blocks`.

    The sequence is the tokenizer's BOS, if it has one, and the tokens of every block, each tokenised by itself.
    """
    import torch

    opening = tokenizer("")["input_ids"]
    ids = list(opening[:1]) if opening and opening[0] == tokenizer.bos_token_id else []
    for block in blocks[:-1]:
        ids += tokenizer(block, add_special_tokens=False)["input_ids"]
    last = tokenizer(blocks[-1], add_special_tokens=False, return_offsets_mapping=True)
    first_character = len(blocks[-1]) - len(solution)
    scored = [len(ids) + i for i, (_, end) in enumerate(last["offset_mapping"]) if end > first_character]
    ids += last["input_ids"]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    log_probs = torch.log_softmax(logits[[position - 1 for position in scored]].double(), dim=-1)
    return float(np.mean([log_probs[row, ids[position]].item() for row, position in enumerate(scored)]))


# ---------------------------------------------------------------------------------------------------------
# Selection under limits: the definition of every limit, asked anew for every row at every step.
# ---------------------------------------------------------------------------------------------------------


class GroupRule(NamedTuple):
    """Least and greatest numbers of picks by group; code −1 has no limits."""

    codes: np.ndarray
    minimum: Sequence[int]
    maximum: Sequence[int]


def may_follow(picks: Sequence[int], row: int, k: int, groups: Sequence[GroupRule]) -> bool:
    """Whether a selection of k that begins with the picks may go on with the row."""
    n_left = k - len(picks) - 1
    for rule in groups:
        counts = [sum(int(rule.codes[pick]) == code for pick in (*picks, row)) for code in range(len(rule.minimum))]
        code = int(rule.codes[row])
        if code >= 0 and counts[code] > rule.maximum[code]:
            return False
        if sum(max(0, low - count) for low, count in zip(rule.minimum, counts, strict=True)) > n_left:
            return False
    return True


def limited_greedy(
    x: np.ndarray,
    weight: np.ndarray,
    *,
    start: Sequence[int],
    k: int,
    distance_share: float | None = None,
    metric: str = "euclidean",
    out: Sequence[int] = (),
    groups: Sequence[GroupRule] = (),
    tokens: Sequence[int] | None = None,
    max_tokens: int = 0,
    least_distance: float = 0.0,
) -> list[int]:
    """Start rows, then always the row of highest score of those that may follow; ends before tokens run over."""
    picks: list[int] = []
    n = len(x)
    while len(picks) < k:
        if len(picks) < len(start):
            row = start[len(picks)]
        else:
            d, _ = nearest_pick(x, picks, metric)
            if distance_share is None:
                score = weight * d
            else:
                score = distance_share / (distances_from(x, picks[0], metric).max() or 1.0) * d + weight
            open_rows = [
                i for i in range(n)
                if i not in picks and i not in out and d[i] >= least_distance and may_follow(picks, i, k, groups)
                and (tokens is None or tokens[i] <= max_tokens)
            ]  # fmt: skip
            if not open_rows:
                break
            row = max(open_rows, key=lambda i: (score[i], -i))
        if tokens is not None and sum(tokens[i] for i in (*picks, row)) > max_tokens:
            break
        picks.append(row)
    return picks


def likelihoods_with_and_without_problem(model: Any, tokenizer: Any, text: str, solution: str) -> tuple[float, float]:
    """Mean log-probability of the tokens of `solution`, which ends `text`: after the rest of it, and by themselves.

    By themselves they are the same tokens. Without a BOS token the first of them counts in neither mean.
    """
    import torch

    opening = tokenizer("")["input_ids"]
    bos = list(opening[:1]) if opening and opening[0] == tokenizer.bos_token_id else []
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ends = [end for _, end in encoded["offset_mapping"]]
    own = [token for token, end in zip(encoded["input_ids"], ends, strict=True) if end > len(text) - len(solution)]
    means = []
    for ids in (bos + encoded["input_ids"], bos + own):
        with torch.no_grad():
            log_probs = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), dim=-1)
        first = len(ids) - len(own) + (0 if bos else 1)
        means.append(float(np.mean([log_probs[at - 1, ids[at]].item() for at in range(first, len(ids))])))
    return means[0], means[1]


# ---------------------------------------------------------------------------------------------------------
# The other strategies.
# ---------------------------------------------------------------------------------------------------------


def cosines(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Cosine similarity of every row of x to every row of y."""
    x, y = (np.asarray(rows, np.float64) for rows in (x, y))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)) @ (y / np.linalg.norm(y, axis=1, keepdims=True)).T


def deita(x: np.ndarray, quality: np.ndarray, threshold: float) -> list[int]:
    """By quality, a row is kept if its cosine to every row kept is at most the threshold, rounding forgiven."""
    kept: list[int] = []
    for row in sorted(range(len(x)), key=lambda row: (-quality[row], row)):
        distance = distances_from(x, row, "cosine")
        if all(1 - distance[other] <= threshold + 1e-12 for other in kept):
            kept.append(row)
    return kept


def covered(similarity: np.ndarray, picks: Sequence[int]) -> float:
    """Facility location: the sum over all rows of the similarity to the pick most like it."""
    return float(similarity[:, list(picks)].max(axis=1).sum()) if len(picks) else 0.0


def most_covered(similarity: np.ndarray, k: int) -> float:
    """The largest coverage that k rows can have, by trying all sets of k."""
    return max(covered(similarity, picks) for picks in itertools.combinations(range(len(similarity)), k))


def redundancies(x: np.ndarray, labels: Sequence[int], order: Sequence[int]) -> np.ndarray:
    """SemDeDup: the largest cosine of a row to one before it, in the order, of its cell; −∞ where there is none."""
    alike = cosines(x, x)
    place = {row: at for at, row in enumerate(order)}
    return np.array(
        [
            max(
                (alike[row, other] for other in range(len(x)) if labels[other] == labels[row] and place[other] < at),
                default=-np.inf,
            )
            for row, at in sorted(place.items())
        ]
    )


def nearest_in_turn(x: np.ndarray, targets: np.ndarray, k: int) -> list[int]:
    """The targets in turn take the free row most like them, the lowest of equals."""
    alike = np.round(cosines(x, targets), 10)
    taken: list[int] = []
    for step in range(k):
        mine = alike[:, step % len(targets)]
        taken.append(min((row for row in range(len(x)) if row not in taken), key=lambda row: (-mine[row], row)))
    return taken


def spread_value(x: np.ndarray, picks: Sequence[int], utility: float, lam: float) -> float:
    """GIST's objective: utility and the weighted smallest distance; for one row the largest of all distances."""
    to_each = np.stack([distances_from(x, row) for row in range(len(x))])
    apart = [to_each[i, j] for i, j in itertools.combinations(picks, 2)]
    return utility + lam * float(min(apart, default=to_each.max()))


def best_without_each(
    values: np.ndarray, codes: np.ndarray, weights: np.ndarray, places: float, n_groups: int
) -> np.ndarray:
    """Mean of the best `places`, row by row: of each column without each group, at last of all rows."""
    found = np.zeros((len(values), n_groups + 1))
    for j, column in enumerate(values):
        for group in range(n_groups + 1):
            left, total = places, 0.0
            for value, weight in sorted(zip(column[codes != group], weights[codes != group], strict=True))[::-1]:
                taken = min(weight, left)
                total, left = total + taken * value, left - taken
            found[j, group] = total / places
    return found
