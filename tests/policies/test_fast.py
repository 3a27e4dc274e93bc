# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Action tokens: what they lose, what they refuse, what comes back from a file."""

import copy
import json

import numpy as np
import pytest

from apprentice.policies.fast import FastTokenizer, hold

HORIZON, DIM = 8, 7


def make_chunks(count: int = 300, seed: int = 0) -> np.ndarray:
    """Smooth motions of joints in different units; the last is a gripper that opens or closes."""
    rng = np.random.default_rng(seed)
    row = np.arange(1, HORIZON + 1)[:, None] / HORIZON
    speed, bend = rng.normal(0, 1, (2, count, 1, DIM))
    chunks = (speed * row + 0.3 * bend * row**2) * np.geomspace(0.01, 3.0, DIM)
    chunks[..., -1] = 0.04 * (rng.random((count, 1)) < np.linspace(0.2, 0.8, HORIZON))
    return chunks


def quantiles(chunks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.quantile(chunks.reshape(-1, chunks.shape[-1]), [0.01, 0.99], axis=0)
    return low, high


def make(chunks: np.ndarray, **settings) -> FastTokenizer:
    return FastTokenizer.fit(chunks, *quantiles(chunks), **settings)


@pytest.fixture(scope='module')
def tokenizer() -> FastTokenizer:
    return make(make_chunks())


def test_round_trip_is_within_the_bound_of_rounding(tokenizer):
    chunks = make_chunks(100, seed=1)
    reach = tokenizer.margin * 0.5 * (tokenizer.high - tokenizer.low)
    middle = 0.5 * (tokenizer.high + tokenizer.low)
    clipped = np.clip(chunks, middle - reach, middle + reach)
    decoded = np.stack([tokenizer.decode(tokens) for tokens in tokenizer.encode(chunks)])
    error = 2 * (decoded - clipped) / (tokenizer.high - tokenizer.low)  # in the units that are rounded
    # each coefficient is off by half a step at most, and an orthonormal transform keeps the length of errors
    assert np.sqrt((error**2).mean(1)).max() <= 0.5 / tokenizer.scale + 1e-9
    assert np.sqrt((error**2).mean(1)).max() > 0.2 / tokenizer.scale  # the bound says something
    inside = np.all(np.abs(chunks - middle) <= reach, axis=(1, 2))
    assert inside.mean() > 0.5
    np.testing.assert_array_equal(clipped[inside], chunks[inside])


def test_a_finer_scale_loses_less(tokenizer):
    chunks = make_chunks(50, seed=2)
    fine = make(make_chunks(), scale=40.0)

    def lost(which):
        return np.abs(np.stack([which.decode(t) for t in which.encode(chunks)]) - chunks).mean()

    assert lost(fine) < 0.5 * lost(tokenizer)


def test_coefficients_are_an_orthonormal_dct_low_frequencies_first():
    low, high = -np.ones(2), np.ones(2)
    plain = FastTokenizer(low, high, 4, scale=100.0)
    row = np.arange(4)
    chunk = np.stack([np.full(4, 0.5), np.cos(np.pi * (row + 0.5) / 4)], 1)  # a constant, and the first wave
    # sqrt(1/4) * sum for the constant, sqrt(2/4) * sum of squares for the wave
    expected = np.zeros((4, 2))
    expected[0, 0], expected[1, 1] = np.rint(100 * 0.5 * 4 * 0.5), np.rint(100 * np.sqrt(0.5) * 2)
    np.testing.assert_array_equal(plain.transform(chunk[None])[0], expected.reshape(-1))


def test_merges_shorten_and_the_vocabulary_is_kept(tokenizer):
    chunks = make_chunks(100, seed=3)
    plain = FastTokenizer(tokenizer.low, tokenizer.high, HORIZON)
    small = make(make_chunks(), vocabulary=plain.alphabet + 20)
    assert small.size <= plain.alphabet + 20
    assert tokenizer.size <= 1024

    def length(which):
        return np.mean([len(tokens) for tokens in which.encode(chunks)])

    assert length(plain) == HORIZON * DIM
    assert length(tokenizer) < length(small) < 0.8 * length(plain)
    for tokens, numbers in zip(tokenizer.encode(chunks), tokenizer.transform(chunks), strict=True):
        assert tokenizer.lengths[tokens].sum() == numbers.size


def test_rare_pairs_are_not_joined():
    often, rarely = make(make_chunks(), min_frequency=20), make(make_chunks(), min_frequency=3)
    assert often.size < rarely.size


def test_any_chunk_can_be_written_and_outliers_are_clipped(tokenizer):
    wild = np.random.default_rng(4).choice([-1e3, 0.0, 1e3], (20, HORIZON, DIM))
    width = tokenizer.high - tokenizer.low
    for tokens in tokenizer.encode(wild):
        assert max(tokens) < tokenizer.size
        decoded = tokenizer.decode(tokens)
        assert np.all(decoded <= tokenizer.high + 0.25 * width + 1e-9)  # margin 1.5
        assert np.all(decoded >= tokenizer.low - 0.25 * width - 1e-9)


def test_the_same_comes_back_from_json(tokenizer):
    again = FastTokenizer.from_dict(json.loads(json.dumps(tokenizer.to_dict())))
    chunks = make_chunks(60, seed=5)
    assert again.to_dict() == tokenizer.to_dict()
    assert again.encode(chunks) == tokenizer.encode(chunks)
    assert copy.deepcopy(tokenizer).encode(chunks) == tokenizer.encode(chunks)
    tokens = tokenizer.encode(chunks)[0]
    np.testing.assert_array_equal(again.decode(tokens), tokenizer.decode(tokens))


def test_fitting_twice_gives_the_same():
    assert make(make_chunks()).to_dict() == make(make_chunks()).to_dict()


def test_sequences_that_are_no_chunk_are_refused(tokenizer):
    tokens = tokenizer.encode(make_chunks(1))[0]
    with pytest.raises(ValueError, match='56'):
        tokenizer.decode(tokens[:-1])
    with pytest.raises(ValueError, match='56'):
        tokenizer.decode([*tokens, tokens[0]])
    with pytest.raises(ValueError, match='56'):
        tokenizer.decode([])
    with pytest.raises(ValueError, match='do not exist'):
        tokenizer.decode([tokenizer.size])
    with pytest.raises(ValueError, match='do not exist'):
        tokenizer.decode([-1])


def test_bad_input_is_refused(tokenizer):
    chunks = make_chunks(3)
    low, high = quantiles(chunks)
    with pytest.raises(ValueError, match='larger vocabulary'):
        make(chunks, vocabulary=50)
    with pytest.raises(ValueError, match='no chunks'):
        FastTokenizer.fit(chunks[:0], low, high)
    with pytest.raises(ValueError, match='low below high'):
        FastTokenizer(high, low, HORIZON)
    with pytest.raises(ValueError, match='smaller scale'):
        FastTokenizer(low, high, HORIZON, scale=1e4)
    with pytest.raises(ValueError, match='tokenizer was made for'):
        tokenizer.encode(chunks[:, :4])
    with pytest.raises(ValueError, match='NaN'):
        tokenizer.encode(np.full((1, HORIZON, DIM), np.nan))
    for damage in ({'merges': ['5000 1']}, {'merges': [[1, 2]]}, {'scale': -1.0}, {'more': 1}):
        with pytest.raises(ValueError, match=r'damaged|copy the checkpoint|positive'):
            FastTokenizer.from_dict({**tokenizer.to_dict(), **damage})
    with pytest.raises(ValueError, match='copy the checkpoint'):
        FastTokenizer.from_dict({})


def test_rows_that_do_not_count_repeat_the_last_that_does():
    chunks = np.arange(3 * 4 * 2.0).reshape(3, 4, 2)
    valid = np.array([[True] * 4, [True, True, False, False], [False] * 4])
    held = hold(chunks, valid)
    np.testing.assert_array_equal(held[0], chunks[0])
    np.testing.assert_array_equal(held[1], chunks[1][[0, 1, 1, 1]])
    np.testing.assert_array_equal(held[2], chunks[2][[0, 0, 0, 0]])
