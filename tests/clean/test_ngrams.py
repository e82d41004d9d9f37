"""What texts share with documents is what a slow search finds, word by word."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qads.clean.ngrams import SEED, NgramIndex, Overlaps
from qads.clean.text import mask_numbers

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d", "7", "8"]), max_size=40)


def covered(document: list[str], text: list[str], n: int) -> tuple[int, int]:
    """Words of the document in runs of n words or more that the text has, and the longest of these runs."""
    inside: set[int] = set()
    longest = 0
    for start in range(len(document)):
        for there in range(len(text)):
            size = 0
            while document[start + size : start + size + 1] == text[there + size : there + size + 1] != []:
                size += 1
            if size >= n:
                inside.update(range(start, start + size))
                longest = max(longest, size)
    return len(inside), longest


def shared(index: NgramIndex, texts: list[list[str]]) -> Overlaps:
    """All parts in one."""
    parts = [Overlaps(*(np.empty(0, np.int64) for _ in Overlaps._fields)), *index.overlaps(texts)]
    return Overlaps(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def few_words(window: list[str]) -> bool:
    return sum(not word.isdecimal() for word in window) < 3


@given(st.lists(WORDS, min_size=1, max_size=3), st.lists(WORDS, min_size=1, max_size=3), st.integers(8, 13))
def test_what_is_shared_is_what_a_slow_search_finds(documents: list[list[str]], texts: list[list[str]], n: int):
    found = shared(NgramIndex(documents, n=n), texts)
    pairs = {pair: k for k, pair in enumerate(zip(found.texts.tolist(), found.documents.tolist(), strict=True))}
    for d, document in enumerate(documents):
        ngram = min(max(len(document) // 2, SEED), n)
        for t, text in enumerate(texts):
            same, longest = covered(document, text, ngram)
            masked, _ = covered(mask_numbers(document), mask_numbers(text), ngram)
            k = pairs.get((t, d))
            got = (0, 0, 0) if k is None else (int(found.same[k]), int(found.longest[k]), int(found.masked[k]))
            assert got[:2] == (same, longest)
            windows = [document[i : i + SEED] for i in range(len(document) - SEED + 1)]
            if not any(map(few_words, windows)):  # Lists of numbers are compared with their numbers.
                assert got[2] == masked
            assert same <= got[2] <= masked


def test_a_document_shorter_than_the_shortest_ngram_shares_nothing():
    found = shared(NgramIndex([["a"] * (SEED - 1)], n=13), [["a"] * 30])
    assert len(found.texts) == 0


def test_no_documents_and_no_texts_share_nothing():
    assert len(shared(NgramIndex([], n=13), [["a"] * 30]).texts) == 0
    assert len(shared(NgramIndex([["a"] * 30], n=13), []).texts) == 0


def test_words_that_no_document_has_match_nothing():
    found = shared(NgramIndex([[f"w{n}" for n in range(20)]], n=13), [[f"v{n}" for n in range(20)]])
    assert len(found.texts) == 0


def test_lists_of_numbers_match_only_with_their_numbers():
    index = NgramIndex([[str(n) for n in range(20)]], n=13)
    assert len(shared(index, [[str(n + 100) for n in range(20)]]).texts) == 0
    assert shared(index, [[str(n) for n in range(20)]]).same.tolist() == [20]


def test_batches_change_nothing():
    draw = np.random.default_rng(0)
    texts = [[f"w{k}" for k in draw.integers(3, size=30)] for _ in range(40)]
    index = NgramIndex(texts[:5], n=13)
    whole = shared(index, texts)
    parts = [shared(index, texts[:13]), shared(index, texts[13:])]
    assert np.concatenate([p.same for p in parts]).tolist() == whole.same.tolist()
    assert np.concatenate([parts[0].texts, parts[1].texts + 13]).tolist() == whole.texts.tolist()


@pytest.mark.parametrize("hits", [1, 7, 60, 200])
def test_parts_of_any_size_change_nothing(hits: int, monkeypatch: pytest.MonkeyPatch):
    draw = np.random.default_rng(1)
    texts = [[f"w{k}" for k in draw.integers(2, size=draw.integers(5, 40))] for _ in range(30)]
    index = NgramIndex(texts[:9], n=10)
    whole = shared(index, texts)
    monkeypatch.setattr("qads.clean.ngrams._HITS", hits)
    assert len(list(index.overlaps(texts))) > 1
    for column, expected in zip(shared(index, texts), whole, strict=True):
        assert column.tolist() == expected.tolist()


@pytest.mark.parametrize(("n_texts", "opening"), [(400, 14), (1, 900)])
def test_an_opening_that_all_have_takes_no_memory(n_texts: int, opening: int):
    start = [f"w{n}" for n in range(opening)]
    index = NgramIndex([[*start, *(f"d{d}-{n}" for n in range(6))] for d in range(1000)], n=13)
    texts = [[*start, *(f"t{t}-{n}" for n in range(6))] for t in range(n_texts)]
    tracemalloc.start()
    n_pairs = sum(len(part.texts) for part in index.overlaps(texts))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_pairs == n_texts * 1000
    assert peak < 60e6  # A hundred bytes for each of 2.8 million and 0.9 million shared windows are more.
