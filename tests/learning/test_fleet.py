# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Several robots: episodes apart by robot, the weak one drawn more often, nobody starved."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from clone_rig import ROBOT, make_episode

from apprentice.episodes.episode_writer import write_episode
from apprentice.learning.fleet import Fleet, FleetConfig, batch_shares, split_counts
from apprentice.learning.replay import Replay
from apprentice.learning.rl.buffer import shared_weights
from apprentice.robot.types import Outcome, Source


def autonomous(number: int, success: bool, name: str):
    outcome = Outcome.SUCCESS if success else Outcome.FAILURE
    return make_episode(number, source=Source.POLICY, outcome=outcome, episode_id=f'{name}/e-{number:03d}')


def test_shares_by_hand():
    np.testing.assert_allclose(batch_shares(np.array([0.9, 0.1]), 0.0), [0.9, 0.1])
    np.testing.assert_allclose(batch_shares(np.array([0.9, 0.1]), 0.5), [0.7, 0.3])
    np.testing.assert_allclose(batch_shares(np.array([1.0, 0.0]), 0.5), [0.75, 0.25])  # the floor
    np.testing.assert_allclose(batch_shares(np.array([0.0, 0.0]), 0.2), [0.5, 0.5])
    with pytest.raises(ValueError, match='floor'):
        FleetConfig(floor=1.5)


def test_counts_are_whole_and_add_up():
    rng = np.random.default_rng(0)
    found = np.array([split_counts(10, [0.55, 0.33, 0.12], rng) for _ in range(2000)])
    assert set(found.sum(1)) == {10}
    np.testing.assert_allclose(found.mean(0), [5.5, 3.3, 1.2], atol=0.05)
    assert (found >= [5, 3, 1]).all()


def test_robots_without_a_share_are_equal_where_nobody_else_is():
    rng = np.random.default_rng(0)
    assert split_counts(8, [0.0], rng).tolist() == [8]
    assert split_counts(8, [0.0, 0.0], rng).tolist() == [4, 4]


def test_only_the_last_autonomous_episodes_judge_a_robot(tmp_path):
    fleet = Fleet({'/left': tmp_path / 'l', 'right': tmp_path / 'r'}, FleetConfig(recent=4, floor=0.0))
    left, right = fleet.members
    assert fleet.names == ['left', 'right']
    assert fleet.shares() == {'left': 0.5, 'right': 0.5}
    for number in range(10):  # old failures do not count any more
        fleet.count(left, autonomous(number, success=number >= 6, name='left'))
    for number in range(4):
        fleet.count(right, autonomous(number, success=number == 0, name='right'))
    helped = make_episode(7, episode_id='right/e-007')  # a person drove
    fleet.count(right, helped)
    assert (fleet.failure_rate('left'), fleet.failure_rate('right')) == (0.0, 0.75)
    assert fleet.shares() == {'left': 0.0, 'right': 1.0}
    fleet.count(right, autonomous(1, success=True, name='right'))  # a later label: counted once
    assert fleet.failure_rate('right') == 0.5


def test_files_of_one_name_are_two_episodes(tmp_path):
    for name in ('l', 'r'):
        write_episode(tmp_path / name / 'episodes', make_episode(0), ROBOT)
    fleet = Fleet({'left': tmp_path / 'l', 'right': tmp_path / 'r'})
    ids = [member.read(path, ROBOT).episode_id for member, path in fleet.sealed()]
    assert ids == ['left/episode-0000', 'right/episode-0000']
    single = Fleet({'': tmp_path / 'l'})
    assert [m.key(path.stem) for m, path in single.sealed()] == ['episode-0000']


@pytest.mark.parametrize('robots', [{}, {'': 'a', 'right': 'b'}, {'left': 'a', 'right': 'a'}])
def test_robots_that_cannot_be_told_apart_are_refused(robots, tmp_path):
    with pytest.raises(ValueError, match='each'):
        Fleet({name: tmp_path / folder for name, folder in robots.items()})


def test_the_replay_draws_by_shares_whatever_each_robot_brought():
    from apprentice.learning.dataset import policy_spec

    replay = Replay(policy_spec([make_episode(i) for i in range(4)], ROBOT, 8))
    for number in range(9):
        episode = make_episode(number, source=Source.POLICY, task='left', episode_id=f'left/{number}')
        replay.add(episode)
    replay.add(make_episode(0, source=Source.POLICY, task='right', episode_id='right/0'))
    rng = np.random.default_rng(0)
    assert replay.sample(1000, rng).text.count('right') < 200
    replay.shares = {'left': 0.3, 'right': 0.7}
    assert replay.sample(1000, rng).text.count('right') == 700


def test_critics_draw_by_shares_and_demonstrations_as_before():
    robot = torch.tensor([0] * 90 + [1] * 10 + [-1] * 50)
    weights = shared_weights(robot, [0.25, 0.75])
    assert float(weights[robot == 1].sum() / weights[robot >= 0].sum()) == pytest.approx(0.75)
    assert float(weights[robot >= 0].sum()) == pytest.approx(100)
    assert weights[robot == -1].tolist() == [1.0] * 50
    none = shared_weights(torch.tensor([0, 0, 2, -1]), [0.0, 1.0, 0.0])  # the only ones here have no share
    assert none.tolist() == [0.75, 0.75, 1.5, 1.0]
    only = shared_weights(torch.tensor([0, 0]), [0.25, 0.75])  # the other has nothing yet
    assert only.tolist() == [1.0, 1.0]
