# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The learner obeys reports on its reward models."""

from dataclasses import replace

import numpy as np
import pytest

from apprentice.learning.advantage import AdvantageConfig, step_weights
from apprentice.learning.health import Health, Obedience
from apprentice.reward_models.monitor.detector import Level
from apprentice.robot.types import Episode, Outcome, Reward, RewardKind, Source


def episode(versions=('1',)):
    length = 40
    stamps = 10.0 + 0.1 * np.arange(length)
    rewards = []
    for version in versions:
        # version 1 sees progress in the first half, version 2 in the second
        half = np.linspace(0, 1, 21)
        phi = np.concatenate([half, np.ones(19)]) if version == '1' else np.concatenate([np.zeros(19), half])
        rewards += [
            Reward(t, t, RewardKind.ABS_PROGRESS, p, progress=p, model='critic', version=version)
            for t, p in zip(stamps, phi)
        ]
    state = np.zeros((length, 2), np.float32)
    return Episode(
        'e', 'pick', 0, Outcome.SUCCESS, 1, False, stamps, {}, state, state,
        np.full(length, int(Source.POLICY), np.uint8), np.zeros(length, np.int64), rewards,
    )  # fmt: skip


def weights(config, versions=('1',)):
    return step_weights(episode(versions), 8, config)


def test_shaping_fades_with_its_weight_until_the_outcome_alone_is_left():
    full, half, none = (weights(AdvantageConfig(shaping_weight=w)) for w in (1.0, 0.3, 0.0))
    assert full.std() > 2 * half.std() > 0
    np.testing.assert_allclose(none, 1.0)
    np.testing.assert_allclose(weights(AdvantageConfig()), full)


def test_a_frozen_model_is_used_in_its_old_version_only():
    frozen = AdvantageConfig(frozen=(('critic', '1'),))
    np.testing.assert_allclose(weights(frozen, ('1', '2')), weights(AdvantageConfig()))
    # nothing of the old version: the outcome decides
    np.testing.assert_allclose(weights(frozen, ('2',)), 1.0)
    assert weights(AdvantageConfig(frozen=(('other', '9'),)), ('2',)).std() > 0.1


@pytest.mark.parametrize(
    ('level', 'weight'), [(Level.FLAG, 1.0), (Level.DOWN_WEIGHT, 0.3), (Level.SPARSE, 0.0), (Level.STOP, 0.0)]
)
def test_the_strongest_report_on_a_model_in_use_counts(level, weight):
    obedience, config = Obedience(), AdvantageConfig(temperature=0.5)
    obedience.hear(Health('clip', '1', Level.STOP, 0.0))  # recorded, but nothing is learned from it
    obedience.hear(Health('critic', '1', Level.OK, 1.0))
    obedience.hear(Health('other', '1', level, weight, 'because'))
    obeyed = obedience.advantage(config, {'critic', 'other'})
    assert (obeyed.shaping_weight, obeyed.temperature) == (weight, 0.5)
    stopped = obedience.stopped({'critic', 'other'})
    assert ('because' in stopped) == (level == Level.STOP)
    obedience.hear(Health('other', '1', Level.OK, 1.0))
    assert obedience.advantage(config, {'critic', 'other'}) == config
    assert not obedience.stopped({'critic', 'other'})


def test_the_version_of_the_freeze_is_kept_until_it_thaws():
    obedience, config = Obedience(), AdvantageConfig()
    obedience.hear(Health('critic', '1', Level.FREEZE, 0.3))
    obedience.hear(Health('critic', '2', Level.FREEZE, 0.3))  # a newer model scores meanwhile
    assert obedience.advantage(config, {'critic'}).frozen == (('critic', '1'),)
    obedience.hear(Health('critic', '1', Level.DOWN_WEIGHT, 0.3))
    assert obedience.advantage(config, {'critic'}) == replace(config, shaping_weight=0.3)
