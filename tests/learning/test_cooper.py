# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Co-training of reward and policy: a static reward is hacked, one that learns beside the policy is not."""

import numpy as np
import pytest
import torch

from apprentice.learning.cooper import Cooper, CooperConfig, spoiled
from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.preferences.comparisons import Comparison
from apprentice.reward_models.preferences.ensemble import FitConfig, RewardEnsemble, fit

ARMS, DIM = 12, 6
QUICK = CooperConfig(
    fit=FitConfig(steps=15, learning_rate=3e-3, weight_decay=0.01, bootstrap=False),
    tolerance=0.02,
    loss_tolerance=0.1,
)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def world():
    """Arms with features: 0 says whether the arm is right, 1 is a cue that everything right so far had too.

    The policy finds arms that have the cue alone. Nothing the reward was trained on shows them.
    """
    rng = np.random.default_rng(0)
    arms = 0.3 * rng.normal(size=(ARMS, 1, DIM)).astype(np.float32)
    right = np.arange(ARMS) < 3
    arms[right, 0, 0] += 1.0
    arms[right, 0, 1] += 1.0
    arms[3:5, 0, 1] += 4.0  # more of the cue than any right one
    return arms, right


def people(arms, right, among, count, seed):
    """Comparisons of noisy looks at some arms; returns clips and comparisons."""
    rng = np.random.default_rng(seed)
    which = rng.choice(among, (count, 2))
    which = which[right[which[:, 0]] != right[which[:, 1]]]
    clips = arms[which.ravel()] + 0.1 * rng.normal(size=(2 * len(which), 1, DIM)).astype(np.float32)
    said = [Comparison(2 * i, 2 * i + 1, 'left' if right[a] else 'right') for i, (a, _) in enumerate(which)]
    return clips.astype(np.float32), said


def train_policy(cooper, arms, right, updated, rounds=40):
    """A softmax policy by its expected gradient on the reward; the true return at the end."""
    rng, logits = np.random.default_rng(1), np.zeros(ARMS)
    for _ in range(rounds):
        p = np.exp(logits - logits.max())
        p /= p.sum()
        tried = rng.choice(ARMS, 24, p=p)
        reward = cooper.rewards(arms).mean(axis=0)
        logits += 1.0 * p * (reward - p @ reward) * ARMS / 4
        if updated:
            seen = right[tried] & (rng.random(24) < 0.5)  # the rule verifies every second success
            cooper.update('task', arms[tried[seen]], arms[tried[~right[tried]]])
    return float(p @ right)


def make(arms, right):
    usual = np.array([0, 1, 2, *range(5, ARMS)])  # without the arms that have the cue alone
    clips, said = people(arms, right, usual, 200, 2)
    ensemble = fit(clips, said, FitConfig(steps=100, learning_rate=3e-3, weight_decay=0.01))
    frozen_clips, frozen = people(arms, right, usual, 200, 3)
    return Cooper(ensemble, frozen_clips, frozen, QUICK)


def test_a_static_reward_is_hacked_and_one_that_learns_is_not():
    arms, right = world()
    static = make(arms, right)
    assert train_policy(static, arms, right, updated=False) < 0.05
    moving = make(arms, right)
    moving.demonstrations('task', arms[:3])
    assert train_policy(moving, arms, right, updated=True) > 0.95
    assert moving.version > 0


def test_updates_that_make_it_worse_are_taken_back():
    arms, right = world()
    cooper = make(arms, right)
    first = cooper.update('nothing', arms[:0], arms[:0])
    for _ in range(6):  # a rule that is wrong
        before = cooper.rewards(arms)
        report = cooper.update('task', arms[5:], arms[:3])
        assert report.accuracy >= first.accuracy - QUICK.tolerance
        assert report.log_loss <= first.log_loss + QUICK.loss_tolerance
    assert not report.accepted
    assert 'frozen comparisons would' in report.reason
    assert report.tried_accuracy < first.accuracy - QUICK.tolerance
    np.testing.assert_array_equal(cooper.rewards(arms), before)
    version = cooper.version
    good = cooper.update('other', arms[:3], arms[3:5])
    assert good.accepted
    assert good.version == version + 1
    assert np.abs(cooper.rewards(arms) - before).max() > 0.01


def test_without_positives_nothing_happens_until_there_are_demonstrations():
    arms, right = world()
    cooper = make(arms, right)
    nothing = cooper.update('task', arms[:0], arms[3:5])
    assert not nothing.accepted
    assert 'no positive' in nothing.reason
    assert 'no negative' in cooper.update('second', arms[:3], arms[:0]).reason
    cooper.demonstrations('task', arms[:3])
    assert cooper.update('task', arms[:0], arms[3:5]).accepted


def test_a_reward_without_frozen_comparisons_is_refused():
    with pytest.raises(RewardModelError, match='stay frozen'):
        Cooper(RewardEnsemble(2, DIM, 8), np.zeros((2, 1, DIM)), [Comparison(0, 1, 'equal')])


def test_spoiled_clips_are_not_successes():
    clip = np.arange(12, dtype=np.float32)[None, :, None].repeat(60, axis=0)
    made = spoiled(clip, np.random.default_rng(0))
    assert made.shape == clip.shape
    assert (made[:, -1, 0] < 11).all()
    ends = set(made[:, -1, 0].tolist())
    assert 0.0 in ends  # turned round, or never begun
    assert any(3 <= end <= 6 for end in ends)
