"""Random rows, with a share for every group.

Random selection that keeps to shares of the sources is what a selector that looks at rows must beat: much of what
selection does to a mixture is done by the shares alone.

    equal          k_g ∝ 1
    sqrt           k_g ∝ √n_g
    proportional   k_g ∝ n_g

Counts are whole by largest remainders (Hamilton's method): every group gets its share rounded down, and what is left
goes to the largest remainders, one each. A group with fewer rows than its share gives all it has, and the others share
the rest by the same rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from qads.choices import check_choices
from qads.kernels.apportion import apportion
from qads.pool import Progress, Selection
from qads.selection.budget import Budget
from qads.selection.constraints import Constraints
from qads.selection.inputs import check_seed, unread
from qads.selection.needs import checked_groups
from qads.selection.ranked import unlimited_inputs, unlimited_selection

__all__ = ["Shares", "StratifiedRandom"]

Shares = Literal["equal", "sqrt", "proportional"]


@dataclass(frozen=True, kw_only=True)
class StratifiedRandom:
    """Random rows, with a share for every group.

    >>> import qads
    >>> x, source = [[0.0]] * 6, ["a", "a", "a", "a", "b", "b"]
    >>> sorted(source[row] for row in qads.StratifiedRandom()(x, budget=4, groups=source).indices)
    ['a', 'a', 'b', 'b']
    """

    kind: Literal["stratified-random"] = "stratified-random"
    """Name of the method in a configuration."""
    shares: Shares = "equal"
    """How many rows a group gives: as many as any other, or in proportion to (the square root of) its size."""
    seed: int = 0
    """Seed of the draw."""

    needs: ClassVar[tuple[str, ...]] = ("groups",)
    reads_embeddings: ClassVar[bool] = False  # They only say how many rows there are.
    takes_limits: ClassVar[bool] = False  # It picks a whole; see `ranked.py: unlimited_inputs`.
    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        check_choices(self)
        check_seed(self.seed, method="StratifiedRandom")

    def __call__(
        self,
        embeddings: npt.ArrayLike,
        quality: npt.ArrayLike | None = None,
        *,
        budget: Budget,
        progress: Progress | None = None,
        constraints: Constraints | None = None,
        groups: npt.ArrayLike | None = None,
    ) -> Selection:
        """Select rows, the groups taking turns in proportion to their counts.

        Args:
            embeddings: float array-like [n, d]; it only says how many rows there are.
            quality: one number a row [n]; passed on.
            budget: number of rows, or a fraction in (0, 1] as a float.
            progress: called with (picks made, budget).
            constraints: refused; see `selection/ranked.py`.
            groups: one string a row [n].

        Returns:
            The selection, exactly as long as the budget; prefix-closed with equal shares, where a smaller budget takes
            from each group the first of its rows.

        Raises:
            InputError: an input is not what it must be; the message names the row.
        """
        inputs = unlimited_inputs(
            unread(embeddings, method="StratifiedRandom"), quality, budget, constraints, method="StratifiedRandom"
        )
        n = len(inputs.x)
        names, codes = checked_groups(groups, n, method="StratifiedRandom")
        sizes = np.bincount(codes, minlength=len(names))
        counts = np.array(apportion(inputs.terms.k, self._weights(sizes.tolist()), sizes.tolist()))
        order = np.random.default_rng(self.seed).permutation(n)
        by_group = order[np.argsort(codes[order], kind="stable")]
        starts = np.cumsum(sizes) - sizes
        place = np.arange(n) - starts[codes[by_group]]  # Of each row in the order of its group.
        drawn = place < counts[codes[by_group]]
        rows, place, group = by_group[drawn], place[drawn], codes[by_group][drawn]
        turn = place if self.shares == "equal" else (place + 0.5) / counts[group]
        if progress:
            progress(inputs.terms.k, inputs.terms.k)
        return unlimited_selection(
            rows[np.lexsort((group, turn))], np.full(len(rows), np.nan), inputs, kind=self.kind,
            prefix_closed=self.prefix_closed,
        )  # fmt: skip

    @property
    def prefix_closed(self) -> bool:
        """Whether the first picks are the selection for a smaller budget."""
        return self.shares == "equal"

    def _weights(self, sizes: Sequence[int]) -> list[Fraction]:
        if self.shares == "equal":
            return [Fraction(1)] * len(sizes)
        return [Fraction(size if self.shares == "proportional" else float(np.sqrt(size))) for size in sizes]
