# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Windows and rewards of chunk transitions, against what is computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from chunk_rig import episode
from small_policy import small_policy

from apprentice.learning.advantage import AdvantageConfig
from apprentice.learning.rl.windows import WindowConfig, step_rewards, windows
from apprentice.robot.types import Outcome

CONFIG = WindowConfig(rows=3, stride=1, discount=0.9, scale=0.5, toggle_penalty=0.0)


def cut(made, config=CONFIG, **options):
    rewards = step_rewards(made, config, **options)
    return windows(made, rewards, config), rewards


def test_a_success_without_a_reward_model():
    """Four steps, reward 1 at the last: 0.9 to the number of steps before it."""
    found, rewards = cut(episode('pppp'))
    assert rewards.reward.tolist() == [0, 0, 0, 1]
    assert found.start.tolist() == [0, 1, 2, 3]
    assert found.rows.tolist() == [3, 3, 2, 1]
    assert found.following.tolist()[:1] == [3]
    assert found.reward.tolist() == pytest.approx([0, 0.81, 0.9, 1])
    assert found.discount.tolist() == pytest.approx([0.729, 0, 0, 0])


def test_a_time_out_is_bootstrapped_from_its_last_observation():
    found, rewards = cut(episode('pppp', Outcome.FAILURE, cause=3))
    assert not rewards.terminal
    assert found.start.tolist() == [0, 1, 2]  # what followed the last step was not seen
    assert found.following.tolist() == [3, 3, 3]
    assert found.discount.tolist() == pytest.approx([0.729, 0.81, 0.9])
    failed, _ = cut(episode('pppp', Outcome.FAILURE))
    assert failed.discount.tolist() == pytest.approx([0.729, 0, 0, 0])


def test_a_success_seen_after_the_time_was_over_is_a_success():
    phi = [0.1, 0.4, 0.2, 0.7]
    found, rewards = cut(episode('pppp', Outcome.SUCCESS, phi, cause=3))
    wanted, known = cut(episode('pppp', Outcome.SUCCESS, phi))
    assert rewards.terminal
    np.testing.assert_array_equal(rewards.reward, known.reward)
    np.testing.assert_array_equal(found.discount, wanted.discount)
    assert rewards.reward[-1] == pytest.approx(1 - 0.5)


def test_potentials_telescope_and_end_at_nothing():
    """A window that goes on: 0.5 (gamma^m Phi' - Phi). One that succeeds: gamma^(m-1) - 0.5 Phi."""
    phi = [0.1, 0.4, 0.2, 0.7, 0.9]
    found, rewards = cut(episode('ppppp', progress=phi))
    seen = rewards.phi
    assert seen[:4].tolist() == pytest.approx(phi[:4])
    assert found.reward[0] == pytest.approx(0.5 * (0.9**3 * 0.7 - 0.1))
    assert found.reward[1] == pytest.approx(0.5 * (0.9**3 * seen[4] - 0.4))
    assert found.reward[2] == pytest.approx(0.9**2 - 0.5 * 0.2)
    assert found.reward[4] == pytest.approx(1 - 0.5 * seen[4])
    half = step_rewards(episode('ppppp', progress=phi), CONFIG, advantage=AdvantageConfig(shaping_weight=0.5))
    assert half.reward[0] == pytest.approx(0.5 * 0.5 * (0.9 * 0.4 - 0.1))
    assert half.reward[4] == pytest.approx(1 - 0.5 * 0.5 * seen[4])


def test_moving_to_and_fro_earns_nothing():
    up_and_down = episode('p' * 9, Outcome.FAILURE, [0.2, 0.8] * 4 + [0.2], cause=3)
    config = WindowConfig(rows=8, discount=1.0, toggle_penalty=0.0)
    found, _ = cut(up_and_down, config)
    assert found.reward[0] == pytest.approx(0.0)


def test_windows_end_where_nobody_drives():
    found, _ = cut(episode('ppxxhhhp'))
    assert found.start.tolist() == [0, 1, 4, 5, 6, 7]
    assert found.rows.tolist() == [2, 1, 3, 3, 2, 1]
    assert found.following.tolist()[:2] == [2, 2]
    assert found.discount.tolist()[:2] == pytest.approx([0.81, 0.9])
    assert found.human.tolist() == [False, False, True, True, False, False]


def test_a_success_after_the_last_driven_step_is_earned_by_it():
    """The gate holds for two steps until the episode ends: the reward is discounted by them."""
    found, _ = cut(episode('ppxx'))
    assert found.reward.tolist() == pytest.approx([0.9 * 0.81, 0.81])
    assert found.discount.tolist() == [0, 0]
    held, _ = cut(episode('ppxx', Outcome.FAILURE, cause=3))
    assert held.start.tolist() == [0, 1]
    assert held.following.tolist() == [2, 2]


def test_a_takeover_costs_what_is_asked_for():
    config = WindowConfig(rows=3, stride=1, takeover_penalty=0.3, toggle_penalty=0.0)
    _, rewards = cut(episode('pppphh'), config)
    assert rewards.reward[4] == pytest.approx(-0.3)
    _, held = cut(episode('ppxhxhp', Outcome.FAILURE), config)  # the gate holds before the person drives
    assert held.reward.tolist() == pytest.approx([0, 0, 0, -0.3, 0, 0, 0])


def test_toggling_the_gripper_costs():
    policy = small_policy()
    spec = type(policy.spec)(**{**vars(policy.spec), 'gripper': ((0.0, 1.0),)})
    made = episode('ppppp')
    made.action[:, 2] = [0.1, 0.9, 0.8, 0.2, 0.3]
    reward = step_rewards(made, WindowConfig(toggle_penalty=0.02), spec).reward
    assert reward.tolist() == pytest.approx([0, -0.02, 0, -0.02, 1])


def test_strides_and_settings():
    found, _ = cut(episode('p' * 9), WindowConfig(rows=4, stride=4))
    assert found.start.tolist() == [0, 4, 8]
    assert found.moments().tolist() == [0, 4, 8]
    with pytest.raises(ValueError, match='a discount in'):
        WindowConfig(discount=0.0)
    nobody, _ = cut(episode('xxx'))
    assert len(nobody) == 0
    single, _ = cut(episode('p', Outcome.UNKNOWN))
    assert len(single) == 0
    assert np.isfinite(cut(episode('p'))[0].reward).all()
