# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Whole curves in one request are what an episode scorer says sample by sample."""

from dataclasses import replace

import numpy as np
import pytest

from apprentice.reward_models.base import Needs, PairCritic, RewardModelError, Score
from apprentice.reward_models.evaluation.curves import curve
from apprentice.reward_models.online import EpisodeScorer
from apprentice.robot.types import RewardKind


class Height:
    """Reads height off the first number of an embedding; also compares, if asked to."""

    kind, model, version = RewardKind.ABS_PROGRESS, 'height', '1'

    def __init__(self, needs=None, absolute=True):
        self.needs, self.absolute = needs or Needs(), absolute

    @classmethod
    def load(cls, weights, device='cpu', **options):
        return cls()

    def encode(self, frames):
        return frames[..., 0, 0, :1].astype(np.float32) / 255

    def negatives(self, text):
        return []

    def score(self, request):
        value = request.emb[:, :, 0, 0].mean(axis=1)  # over the window
        return self._score(RewardKind.ABS_PROGRESS, value, None)

    def _score(self, kind, value, per_frame):
        nothing = np.full(len(value), np.nan, np.float32)
        finite = np.isfinite(value)
        return Score(kind, value, nothing, value, nothing, finite, self.model, self.version, per_frame)


class Comparing(Height):
    def delta(self, request):
        pair = request.emb[:, :, 0, 0]
        return self._score(
            RewardKind.PROGRESS_DELTA, pair[:, 1] - pair[:, 0], pair if self.absolute else None
        )


def walk(seed, length=30):
    rng = np.random.default_rng(seed)
    emb = np.clip(0.3 + 0.05 * np.cumsum(rng.normal(size=(length, 1, 1)), axis=0), 0, 1).astype(np.float32)
    return emb, np.cumsum(rng.uniform(0.1, 0.6, length))


@pytest.mark.parametrize('window', [1, 3])
def test_single_frames(window):
    model = Height(Needs(window=window))
    emb, stamps = walk(0)
    scorer = EpisodeScorer(model, 'up')
    expected = [scorer.add(s, e) for s, e in zip(stamps, emb, strict=True)]
    progress, done = curve(model, emb, stamps, 'up')
    np.testing.assert_allclose(progress, [r.value for r in expected])
    np.testing.assert_allclose(done, [r.done_prob for r in expected])


@pytest.mark.parametrize('absolute', [True, False])
@pytest.mark.parametrize('stride', [0.2, 1.0, 5.0])
def test_pairs(absolute, stride):
    model = Comparing(absolute=absolute)
    assert isinstance(model, PairCritic)
    emb, stamps = walk(1)
    scorer = EpisodeScorer(model, 'up', stride)
    expected = [scorer.add(s, e).progress for s, e in zip(stamps, emb, strict=True)]
    np.testing.assert_allclose(curve(model, emb, stamps, 'up', stride)[0], expected, atol=1e-6)


def test_an_episode_may_begin_half_done():
    emb, stamps = walk(2)
    backwards = emb[np.argsort(-emb[:, 0, 0])]
    falling = curve(Comparing(), backwards, stamps, 'up')[0]
    assert falling[0] == pytest.approx(backwards[0, 0, 0])
    assert falling[-1] < 0.7 * falling[0]
    # a critic that knows differences alone takes the first frame for the beginning
    assert curve(Comparing(absolute=False), backwards, stamps, 'up')[0].max() == 0


def test_a_score_that_is_not_finite_repeats_the_last():
    emb, stamps = walk(3)
    emb[7] = np.nan
    for model in (Height(), Comparing()):
        progress = curve(model, emb, stamps, 'up')[0]
        assert np.all(np.isfinite(progress))
        assert progress[7] == progress[6]


def test_a_demonstration_reaches_the_model():
    seen = []

    class Shown(Height):
        def score(self, request):
            seen.append((request.reference.shape, request.goal.shape))
            return super().score(request)

    emb, stamps = walk(4, 6)
    model = Shown(replace(Needs(), reference=True, goal=True))
    with pytest.raises(RewardModelError, match='needs a demonstration'):
        curve(model, emb, stamps, 'up')
    curve(model, emb, stamps, 'up', reference=emb[:4])
    assert seen == [((6, 4, 1, 1), (6, 1, 1))]
