# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Caches of embeddings and texts, still frames: what is saved, and that scores stay what they are."""

import numpy as np
import pytest

from apprentice.reward_models.base import (
    Needs,
    PairCritic,
    RewardModel,
    RewardModelError,
    Score,
    ScoreRequest,
)
from apprentice.reward_models.cache.embeddings import EmbeddingCache, content_key
from apprentice.reward_models.cache.model import cached
from apprentice.reward_models.cache.still import StillFrames, largest_change
from apprentice.reward_models.cache.texts import TextCache
from apprentice.reward_models.clip.reward import ClipReward
from apprentice.robot.parts import share
from apprentice.robot.types import RewardKind


def pictures(count, seed=0, size=64):
    """Smooth random pictures: an encoder trained on renders finds differences between them."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), np.uint8)
    return coarse.repeat(size // 8, axis=1).repeat(size // 8, axis=2)


@pytest.fixture(scope='module')
def clip():
    return ClipReward.load(share('weights', 'clip'))


class Counting:
    """An encoder that counts the frames it is given."""

    needs, kind, model, version = Needs(), RewardKind.CLIP_SIM, 'counting', '1'

    def __init__(self, version='1'):
        self.calls, self.version = [], version

    def encode(self, frames):
        self.calls.append(len(frames))
        flat = frames.reshape(*frames.shape[:-3], -1).astype(np.float32)
        return flat[..., :6] / 255 + flat.mean(axis=-1, keepdims=True)

    def score(self, request):
        raise NotImplementedError

    def negatives(self, text):
        return []


class Pairs:
    """The simplest pair critic: what the second of two frames scores more than the first."""

    needs, kind, model, version = Needs(pair=True), RewardKind.PROGRESS_DELTA, 'pairs', '1'

    def __init__(self, clip):
        self.clip, self.encode, self.score = clip, clip.encode, clip.score
        self.negatives, self.load = clip.negatives, clip.load

    def delta(self, request):
        assert request.emb is not None or request.frames is not None
        score: Score = self.clip.score(request)
        score.value = score.per_frame[:, 1] - score.per_frame[:, 0]
        return score


def test_each_content_is_encoded_once(tmp_path):
    model, frames = Counting(), pictures(5)
    wrapped = cached(model, folder=tmp_path)
    first = wrapped.encode(frames)
    again = wrapped.encode(np.concatenate([frames[2:], pictures(1, 9), pictures(1, 9)])[None])
    assert model.calls == [5, 1]  # of two equal new ones, one
    assert again.shape == (1, 5, 6)
    np.testing.assert_array_equal(first[2:], again[0, :3])
    np.testing.assert_allclose(first, Counting().encode(frames), rtol=1e-3)
    counts = wrapped.cache.counts()
    assert (counts.hits, counts.misses, counts.disk_hits) == (4, 6, 0)
    assert counts.memory_bytes == 6 * 12
    wrapped.cache.close()
    later = cached(model, folder=tmp_path)  # another process, another day
    np.testing.assert_array_equal(later.encode(frames), first)
    assert model.calls == [5, 1]
    assert later.cache.counts().disk_hits == 5
    assert later.cache.counts().disk_bytes > 0


def test_what_is_in_the_cache_does_not_change_a_number(clip):
    frames = pictures(4)
    fresh = cached(clip).encode(frames)
    warm = cached(clip)
    warm.encode(frames[:2])
    np.testing.assert_allclose(warm.encode(frames), fresh, atol=1e-3)  # batches sum differently
    assert np.all(fresh.astype(np.float16) == fresh)


def test_scores_are_those_of_the_model(clip):
    for model in (clip, Pairs(clip)):
        wrapped = cached(model)
        assert isinstance(wrapped, RewardModel)
        assert isinstance(wrapped, PairCritic) == isinstance(model, PairCritic)
        frames = pictures(8).reshape(2, 2, 2, 64, 64, 3)
        text = ['pick up the red cube', 'pick up the blue cube']
        request = ScoreRequest(text, frames, [model.negatives(t) for t in text])
        for _ in range(2):
            for name in ('score', 'delta') if isinstance(model, PairCritic) else ('score',):
                mine, own = getattr(wrapped, name)(request), getattr(model, name)(request)
                for value in ('value', 'done_prob', 'margin'):
                    np.testing.assert_allclose(getattr(mine, value), getattr(own, value), atol=5e-3)
        assert wrapped.cache.counts().misses == 8


def test_other_weights_never_share_embeddings(tmp_path):
    frames = pictures(3)
    cached(Counting('1'), folder=tmp_path).encode(frames)
    second = Counting('2')
    cached(second, folder=tmp_path).encode(frames)
    assert second.calls == [3]
    with pytest.raises(RewardModelError, match='another encoder'):
        cached(second, EmbeddingCache('counting 1'))
    with pytest.raises(RewardModelError, match='no version'):
        cached(Counting(''), folder=tmp_path)
    nameless = cached(Counting(''))  # in memory nobody else can see it
    nameless.encode(frames)
    nameless.encode(frames)
    assert nameless.inner.calls == [3]


def test_a_shape_is_part_of_the_content():
    flat = np.zeros((2, 8, 3), np.uint8)
    assert content_key(flat) != content_key(flat.reshape(8, 2, 3))
    assert content_key(flat) == content_key(flat.copy())


def test_memory_is_bounded_and_keeps_what_was_used_last():
    model = Counting()
    cache = cached(model, memory=3 * 12)
    a, b, c, d = pictures(4)[:, None]
    for frame in (a, b, c, a, d):
        cache.encode(frame)
    assert cache.cache.counts().memory_bytes == 36
    cache.encode(a)
    assert len(model.calls) == 4
    cache.encode(b)
    assert len(model.calls) == 5


def test_numbers_that_are_not_finite_are_not_kept(tmp_path):
    model = Counting()
    wrapped = cached(model, folder=tmp_path)
    model.encode = lambda frames: np.full((len(frames), 6), np.nan)
    assert np.isnan(wrapped.encode(pictures(2))).all()
    model.encode = lambda frames: np.full((len(frames), 6), 1e5)
    assert (wrapped.encode(pictures(2)) == 1e5).all()  # too large for float16
    model.encode = lambda frames: np.ones((len(frames), 6))
    assert (wrapped.encode(pictures(2)) == 1).all()


def test_damage_on_disk_is_made_again(tmp_path):
    model, frames = Counting(), pictures(3)
    wrapped = cached(model, folder=tmp_path)
    first = wrapped.encode(frames)
    wrapped.cache.close()
    (data,) = tmp_path.rglob('*.data')
    damaged = bytearray(data.read_bytes())
    damaged[-1] ^= 255
    data.write_bytes(damaged)
    again = cached(model, folder=tmp_path)
    np.testing.assert_array_equal(again.encode(frames), first)
    assert model.calls == [3, 1]
    assert again.cache.counts().corrupt == 1


def test_a_text_is_encoded_once_for_a_model(clip):
    cache, calls = TextCache(limit=3), []

    def encode(texts):
        calls.append(list(texts))
        return np.array([[len(text), 0.0] for text in texts], np.float32)

    np.testing.assert_array_equal(cache.get('m', ['a', 'bb', 'a'], encode)[:, 0], [1, 2, 1])
    cache.get('m', ['bb', 'ccc'], encode)
    cache.get('n', ['bb'], encode)
    assert calls == [['a', 'bb'], ['ccc'], ['bb']]
    assert (cache.hits, cache.misses, len(cache), cache.used_bytes) == (2, 4, 3, 24)
    assert list(cache.get('m', [*'abcdef'], encode)[:, 0]) == [1] * 6  # more than it may keep
    assert len(cache) == 3


def test_an_instruction_is_encoded_once_however_many_frames(clip):
    texts = clip.encoder.texts
    request = ScoreRequest(
        ['pick up the green cube'], pictures(2).reshape(1, 1, 2, 64, 64, 3), [['pick up the red cube']]
    )
    clip.score(request)
    before = texts.misses
    for _ in range(3):
        clip.score(request)
    assert texts.misses == before


def test_still_frames_see_a_small_thing_move():
    base = pictures(1)[0]
    noisy = np.clip(base + np.random.default_rng(0).normal(0, 1.5, base.shape), 0, 255).astype(np.uint8)
    moved = base.copy()
    moved[20:26, 30:36] = 255 - moved[20:26, 30:36]
    assert np.abs(base.astype(int) - moved).mean() / 255 < 0.01  # the mean over the image sees nothing
    assert largest_change(base, noisy) < 0.01 < largest_change(base, moved)
    assert largest_change(base, base) == 0.0
    assert largest_change(np.zeros((5, 3, 3), np.uint8), np.full((5, 3, 3), 255, np.uint8)) == 1.0


def test_still_frames_compare_with_the_last_encoded_one():
    still, emb = StillFrames(0.01), np.ones(4, np.float32)
    dark = np.zeros((16, 16, 3), np.uint8)
    assert still.get('front', dark) is None
    still.put('front', dark, emb)
    assert still.get('front', dark + 1) is emb
    assert still.get('wrist', dark) is None
    assert still.get('front', dark + 2) is emb
    assert still.get('front', dark + 3) is None  # a slow change adds up
    assert still.get('front', np.zeros((8, 8, 3), np.uint8)) is None
    assert still.skipped == 2
    still.forget('front')
    assert still.get('front', dark) is None
    still.put('front', dark, emb * np.nan)
    assert still.get('front', dark) is None
    off = StillFrames(0.0)
    off.put('front', dark, emb)
    assert off.get('front', dark) is None
