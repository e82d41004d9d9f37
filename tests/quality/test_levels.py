"""Levels of quality: equal counts, equal labels together, each level one token where it stands."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import ByteLevelBPETokenizer, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from qads.errors import InputError, ModelError
from qads.models import open_tokenizer, token_ids
from qads.prompts import QUALITY_QUESTION
from qads.quality.scorers.levels import Levels, LevelTokens
from qads.quality.scorers.validation import held_out_part


@given(st.lists(st.floats(-1, 1), min_size=10, max_size=60, unique=True), st.integers(2, 9))
def test_without_equal_labels_levels_have_equal_counts_and_rise(labels: list[float], n_levels: int):
    quality = np.array(labels)
    levels, level = Levels.of(quality, n_levels)
    assert len(levels) == n_levels and np.ptp(levels.counts) <= 1
    np.testing.assert_array_equal(np.bincount(level), levels.counts)
    assert (np.diff(level[np.argsort(quality)]) >= 0).all() and (np.diff(levels.values) > 0).all()
    # What a level stands for is the mean of its rows, so a model that is always sure and right gets the mean right.
    np.testing.assert_allclose(levels.expectation(np.eye(n_levels)[level]).mean(), quality.mean(), atol=1e-12)


@given(st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.3]), min_size=10, max_size=60), st.integers(2, 9))
def test_equal_labels_lie_in_one_level_and_no_level_is_empty(labels: list[float], n_levels: int):
    quality = np.array(labels)
    try:
        levels, level = Levels.of(quality, n_levels)
    except InputError:
        return
    assert all(len(set(level[quality == value])) == 1 for value in set(labels))
    assert 2 <= len(levels) <= min(n_levels, len(set(labels))) and levels.counts.min() >= 1


def test_labels_that_make_one_level_are_refused():
    with pytest.raises(InputError, match="12 rows it is fitted on have 1 different"):
        Levels.of(np.full(12, 0.5), 5)


def test_expectation_lies_between_the_lowest_and_the_highest_level():
    levels, _ = Levels.of(np.linspace(0, 1, 50), 5)
    uniform = levels.expectation(np.full((1, 5), 0.2))
    np.testing.assert_allclose(uniform, levels.values.mean())


def bytes_tokenizer(*texts: str) -> PreTrainedTokenizerFast:
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator([text for text in texts for _ in range(9)], vocab_size=400, show_progress=False)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer._tokenizer)


@pytest.mark.parametrize("which", ["smollm2", "space in the digit", "space alone"])
def test_question_and_level_are_the_tokens_of_the_text_they_make(which: str):
    tokenizer = {
        "smollm2": lambda: open_tokenizer("smollm2-135m").tokenizer,
        "space in the digit": lambda: bytes_tokenizer("Quality: 1 2 3 4 5 6 7 8 9"),
        "space alone": lambda: bytes_tokenizer("Quality:"),
    }[which]()
    found = LevelTokens.of(tokenizer, 9)
    assert len(set(found.levels)) == 9
    for level, token in enumerate(found.levels, 1):
        assert (*found.question, token) == token_ids(tokenizer, f"{QUALITY_QUESTION}{level}")
    has_space = tokenizer.convert_ids_to_tokens(found.levels[0]).startswith("Ġ")
    assert has_space == (which == "space in the digit")


def test_a_level_of_two_tokens_is_refused_by_name():
    tokenizer = open_tokenizer("smollm2-135m").tokenizer
    with pytest.raises(ModelError, match=r"makes 2 tokens \('1' '0'\) of the level '10'.*Lower levels, which is 12"):
        LevelTokens.of(tokenizer, 12)


def test_levels_that_are_one_token_are_refused():
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "Quality": 1}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(ModelError, match="makes no token that others have not of the level '1'"):
        LevelTokens.of(PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]"), 5)


@given(st.integers(0, 5), st.sampled_from([0.1, 0.2, 0.5]), st.integers(20, 200))
def test_about_the_same_share_of_every_source_is_held_out_and_no_group_is_torn(seed: int, share: float, n: int):
    rng = np.random.default_rng(seed)
    groups = np.sort(rng.integers(0, n, n))  # Some of one row, some of several.
    sources = np.array(["a", "b", "c"])[groups % 3]
    held = held_out_part(groups, sources.tolist(), rng.random(n), share=share, seed=seed)
    assert all(len(set(held[groups == group])) == 1 for group in set(groups.tolist()))
    for name in set(sources.tolist()):
        own = [held[groups == group][0] for group in set(groups[sources == name].tolist())]
        assert abs(sum(own) - share * len(own)) <= 1


def test_high_and_low_quality_are_held_out_alike_and_the_seed_says_which():
    quality = np.random.default_rng(0).random(100)
    held = held_out_part(np.arange(100), ["a"] * 100, quality, share=0.2, seed=0)
    assert held.sum() == 20 and np.bincount((np.argsort(np.argsort(quality))[held]) // 20).tolist() == [4] * 5
    again = [held_out_part(np.arange(100), ["a"] * 100, quality, share=0.2, seed=s) for s in (0, 1)]
    assert (again[0] == held).all() and (again[1] != held).any()
