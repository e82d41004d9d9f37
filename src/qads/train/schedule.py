"""Which rows a training sees, in which order, and which of them share a step of the optimiser.

    epoch e        the rows in the order of a permutation drawn from (seed, e)
    step           the next `batch_size` rows of these epochs one behind the other; only the last step may have fewer
    or             those whose middle lies in the next `batch_tokens` tokens

so the order depends on nothing but the number of rows and the seed, and a longer training begins as a shorter one does.
With `batch_tokens` trainings on as many tokens have as many steps, whatever the lengths of their rows, unless a row is
longer than a step.
How the rows of a step are spread over passes and processes changes rounding only, but for an adapter's dropout, which
draws anew in every pass: a step's loss is the mean over all its answer tokens, whatever pass they ran in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice

import numpy as np

from qads.errors import InputError
from qads.kernels.padded_batches import batches_by_length

__all__ = ["Schedule", "make_schedule", "share_out"]

_MOST_EPOCHS = 100_000


@dataclass(frozen=True)
class Schedule:
    """The steps of a training."""

    steps: tuple[tuple[int, ...], ...]
    """Rows of every step, in order."""

    @property
    def times(self) -> Counter[int]:
        """How often each row is trained on."""
        return Counter(row for step in self.steps for row in step)

    def totals(self, amounts: Sequence[int]) -> list[int]:
        """The sum of an amount of every row (its tokens) over each step."""
        return [sum(amounts[row] for row in step) for step in self.steps]


def make_schedule(
    lengths: Sequence[int],
    *,
    batch_size: int,
    seed: int,
    batch_tokens: int | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    tokens: int | None = None,
) -> Schedule:
    """The steps of a budget; exactly one of epochs, steps and tokens is given.

    Args:
        lengths: tokens of every row.
        batch_size: rows in a step.
        batch_tokens: tokens of a step, as near as whole rows come; instead of `batch_size`.
        seed: of the order.
        epochs: how often every row is trained on; of 2.5 half of the rows a third time.
        steps: steps of the optimiser.
        tokens: tokens at most: training ends before the first row that would exceed them.

    Raises:
        InputError: the budget does not reach for one row, or goes over all of them absurdly often.

    >>> make_schedule([5, 5, 5], batch_size=2, seed=0, epochs=1).steps
    ((2, 0), (1,))
    """
    rows = _rows_by_epoch(len(lengths), seed)
    of_a_step = batch_size / len(lengths) if batch_tokens is None else batch_tokens / sum(lengths)
    times = epochs or (steps or 0) * of_a_step or (tokens or 0) / sum(lengths)
    if times > _MOST_EPOCHS:
        raise InputError(
            f"train: the budget goes {times:,.0f} times over {len(lengths)} rows; more than {_MOST_EPOCHS:,} times "
            "is a slip. Lower epochs, steps or tokens."
        )
    if tokens is not None:
        if lengths[first := next(_rows_by_epoch(len(lengths), seed))] > tokens:
            raise InputError(
                f"train: a budget of {tokens} tokens does not reach for the first row, which has "
                f"{lengths[first]}. Give more."
            )
        rows = _within(rows, lengths, tokens)
    elif steps is None:
        rows = islice(rows, max(1, round((epochs or 0) * len(lengths))))
    batches = _batches(rows, lengths, batch_size, batch_tokens)
    return Schedule(tuple(batches if steps is None else islice(batches, steps)))


def _batches(
    rows: Iterator[int], lengths: Sequence[int], batch_size: int, batch_tokens: int | None
) -> Iterator[tuple[int, ...]]:
    """The rows of step after step."""
    if batch_tokens is None:
        while batch := tuple(islice(rows, batch_size)):
            yield batch
        return
    for _, batch in groupby(_numbered(rows, lengths, batch_tokens), key=lambda each: each[0]):
        yield tuple(row for _, row in batch)


def _numbered(rows: Iterator[int], lengths: Sequence[int], batch_tokens: int) -> Iterator[tuple[int, int]]:
    """(number of the stretch of `batch_tokens` tokens that the row's middle lies in, row)."""
    before = 0
    for row in rows:
        yield (2 * before + lengths[row]) // (2 * batch_tokens), row
        before += lengths[row]


def share_out(
    rows: Sequence[int], lengths: Sequence[int], *, n_processes: int, pass_size: int, packed: bool
) -> list[list[list[int]]]:
    """The rows of a step, spread over processes and passes of near `pass_size` tokens at most; a longer row goes alone.

    Every process has as many passes, some of them empty: where weights are split over processes all must run together.

    Args:
        rows: of the step.
        lengths: tokens of every row there is.
        n_processes: how many train together.
        pass_size: tokens of a pass, padding included.
        packed: rows of a pass lie one behind the other; else they are padded to the longest.

    Returns:
        Process -> pass -> rows.
    """
    shares: list[list[int]] = [[] for _ in range(n_processes)]
    for row in sorted(rows, key=lambda row: -lengths[row]):
        min(shares, key=lambda share: sum(lengths[other] for other in share)).append(row)
    passes = [_passes(share, lengths, pass_size, packed) for share in shares]
    most = max(map(len, passes))
    return [each + [[] for _ in range(most - len(each))] for each in passes]


def _passes(rows: Sequence[int], lengths: Sequence[int], pass_size: int, packed: bool) -> list[list[int]]:
    """Rows, the longest first, in passes: each row joins the first that has room for it."""
    if not packed:
        return [[rows[i] for i in batch] for batch in batches_by_length([lengths[row] for row in rows], pass_size)]
    passes: list[list[int]] = []
    for row in rows:
        room = (each for each in passes if sum(lengths[other] for other in each) + lengths[row] <= pass_size)
        if (found := next(room, None)) is None:
            passes.append([row])
        else:
            found.append(row)
    return passes


def _rows_by_epoch(n_rows: int, seed: int) -> Iterator[int]:
    """The rows of epoch after epoch, without end."""
    epoch = 0
    while True:
        yield from np.random.default_rng([seed, epoch]).permutation(n_rows).tolist()
        epoch += 1


def _within(rows: Iterator[int], lengths: Sequence[int], tokens: int) -> Iterator[int]:
    """The rows until the first that would exceed the budget."""
    spent = 0
    for row in rows:
        spent += lengths[row]
        if spent > tokens:
            return
        yield row
