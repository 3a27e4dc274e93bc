# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What counts as worth imitating."""

from dataclasses import replace

import numpy as np

from apprentice.learning.advantage import AdvantageConfig, potential, step_weights
from apprentice.robot.types import Episode, Outcome, Reward, RewardKind


def make(sources: str, outcome: Outcome, progress=None) -> Episode:
    length = len(sources)
    stamps = 5.0 + 0.1 * np.arange(length)
    rewards = [
        Reward(t, t, RewardKind.PROGRESS_DELTA, 0.0, progress=p, model='critic')
        for t, p in zip(stamps, progress if progress is not None else [])
    ]
    return Episode(
        episode_id='e',
        task='pick',
        seed=0,
        outcome=outcome,
        end_cause=0,
        eval_only=False,
        stamps=stamps,
        images={},
        state=np.zeros((length, 2), np.float32),
        action=np.zeros((length, 2), np.float32),
        source=np.array([{'p': 1, 'h': 2, 'x': 4}[s] for s in sources], np.uint8),
        takeover_id=np.zeros(length, np.int64),
        rewards=rewards,
    )


def test_demonstration_counts_fully():
    np.testing.assert_array_equal(step_weights(make('h' * 10, Outcome.SUCCESS), 4), np.ones(10))


def test_failed_policy_counts_nothing_and_failed_help_half():
    weight = step_weights(make('p' * 5 + 'h' * 5, Outcome.FAILURE), 4)
    np.testing.assert_array_equal(weight, [0] * 5 + [0.5] * 5)


def test_a_ceiling_of_nothing_imitates_people_alone():
    config = AdvantageConfig(ceiling=0.0, human_failed=1.0)
    for outcome in (Outcome.SUCCESS, Outcome.FAILURE):
        made = make('p' * 20 + 'h' * 5, outcome, np.linspace(0, 1, 25))
        for weight in (1.0, 0.0):  # also where a reward model is not believed any more
            found = step_weights(made, 4, replace(config, shaping_weight=weight))
            np.testing.assert_array_equal(found, [0] * 20 + [1] * 5)


def test_steps_before_a_takeover_count_against_the_policy():
    weight = step_weights(
        make('p' * 20 + 'h' * 5, Outcome.SUCCESS), 4, AdvantageConfig(before_takeover_s=1.0)
    )
    np.testing.assert_array_equal(weight[:10], 1.0)
    np.testing.assert_array_equal(weight[10:20], 0.0)
    np.testing.assert_array_equal(weight[20:], 1.0)


def test_a_pause_beside_a_takeover_changes_nothing():
    config = AdvantageConfig(before_takeover_s=0.75)
    # within 0.75 s before the second stretch by the person the policy still drove
    weight = step_weights(make('p' * 10 + 'hh' + 'xx' + 'hh', Outcome.SUCCESS), 4, config)
    np.testing.assert_array_equal(weight, [1] * 3 + [0] * 7 + [1, 1, 0, 0, 1, 1])
    paused = step_weights(make('p' * 10 + 'x' * 5 + 'h', Outcome.SUCCESS), 4, config)
    np.testing.assert_array_equal(paused, [1] * 8 + [0] * 7 + [1])


def test_progress_raises_the_weight_and_is_bounded():
    progress = np.concatenate([np.full(10, 0.1), np.linspace(0.1, 1.0, 10)])
    weight = step_weights(make('p' * 20, Outcome.SUCCESS, progress), 4, AdvantageConfig(temperature=0.05))
    assert weight[12] > weight[2]
    assert weight.max() <= 3.0


def test_held_steps_are_nobodys():
    weight = step_weights(make('ppxxp', Outcome.SUCCESS), 2)
    np.testing.assert_array_equal(weight, [1, 1, 0, 0, 1])


def test_truth_and_invalid_samples_are_not_used():
    episode = make('ppp', Outcome.FAILURE)
    episode.rewards = [
        Reward(5.0, 5.0, RewardKind.TRUTH, 1.0, progress=1.0),
        Reward(5.1, 5.1, RewardKind.PROGRESS_DELTA, 0.0, progress=0.7, valid=False),
    ]
    assert potential(episode) is None
