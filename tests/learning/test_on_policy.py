# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""On-policy algorithms reach the goal on a point mass, from a policy that walks at random; two seeds each."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from point_mass import PointMass, random_walker

from apprentice.learning.rl.flow_ppo import FlowPpo, FlowPpoConfig
from apprentice.learning.rl.fpo import Fpo, FpoConfig
from apprentice.learning.rl.grpo import Grpo, GrpoConfig
from apprentice.learning.rl.on_policy import FlowActor
from apprentice.learning.rl.rollout import RewardConfig, collect
from apprentice.learning.rl.train import summary
from apprentice.policies.policy import FlowPolicy
from apprentice.sim.rollout import RolloutConfig

COMMON = {'learning_rate': 3e-3, 'epochs': 4, 'minibatches': 4, 'divergence_limit': 0.2}
ALGORITHMS = {
    'flow_ppo': (FlowPpo, FlowPpoConfig(noise=1.0, **COMMON)),
    'grpo': (Grpo, GrpoConfig(noise=1.0, **COMMON)),
    'rloo': (Grpo, GrpoConfig(noise=1.0, baseline='leave_one_out', **COMMON)),
    'fpo': (Fpo, FpoConfig(draws=3, **COMMON)),
}
EPISODES, UPDATES = 64, 50
REWARDS = RewardConfig(progress=0.5, gamma=0.95)
ROLLOUT = RolloutConfig(execute_steps=4)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def success(policy: FlowPolicy) -> float:
    """On other starts, as deployed."""
    episodes = collect(PointMass(100), range(9_000, 9_100), policy, FlowActor(policy, 0.0, 4), ROLLOUT)
    return summary(episodes)['success']


def roll_out(algorithm, number: int = 0, episodes: int = EPISODES):
    group = algorithm.group
    seeds = [1000 * number + i for i in range(episodes // group) for _ in range(group)]
    return collect(PointMass(episodes), seeds, algorithm.policy, algorithm.actor, ROLLOUT, REWARDS, number)


@pytest.mark.parametrize('seed', [0, 1])
@pytest.mark.parametrize('name', ALGORITHMS)
def test_it_reaches_the_goal(name, seed):
    kind, config = ALGORITHMS[name]
    policy = random_walker(seed)
    assert success(policy) < 0.5
    algorithm, rates = kind(policy, config, 4, seed), [0.0]
    while sum(rates[-2:]) < 1.7 and len(rates) <= UPDATES:
        episodes = roll_out(algorithm, len(rates))
        rates.append(summary(episodes)['success'])
        assert algorithm.update(episodes)['skipped'] == 0
    assert success(algorithm.result()) >= 0.75, rates


@pytest.mark.parametrize('name', ALGORITHMS)
def test_it_goes_on_from_its_state(name):
    """To the same weights as without the interruption."""
    kind, config = ALGORITHMS[name]
    one = kind(random_walker(), config, 4, seed=3)
    one.update(roll_out(one, 1, 24))
    state = one.state_dict()
    following = roll_out(one, 2, 24)
    policy = random_walker()  # its frozen backbone is not in the state
    torch.nn.init.normal_(policy.expert.leave.weight)
    other = kind(policy, config, 4, seed=9)
    other.load_state_dict(state)
    assert one.update(following) == other.update(roll_out(other, 2, 24))
    for mine, theirs in zip(one.policy.expert.parameters(), other.policy.expert.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
    with pytest.raises(ValueError, match='another policy or algorithm'):
        other.load_state_dict({**state, 'module.expert.leave.bias': torch.zeros(5)})


def test_the_first_ratio_is_one_whatever_the_worker_said():
    algorithm = FlowPpo(random_walker(), FlowPpoConfig(epochs=1, minibatches=1, learning_rate=1e-3), 4)
    metrics = algorithm.update(roll_out(algorithm, 0, 16))
    assert abs(metrics['divergence']) < 1e-6
    assert metrics['clipped'] == 0


def test_warm_up_trains_the_critic_alone():
    algorithm = FlowPpo(random_walker(), FlowPpoConfig(warm_up=1, learning_rate=1e-2), 4)
    expert, critic = copy.deepcopy(algorithm.policy.expert), copy.deepcopy(algorithm.module.critic)
    algorithm.update(roll_out(algorithm, 0, 16))
    assert all(map(torch.equal, expert.parameters(), algorithm.policy.expert.parameters()))
    assert not all(map(torch.equal, critic.parameters(), algorithm.module.critic.parameters()))
    algorithm.update(roll_out(algorithm, 1, 16))
    assert not all(map(torch.equal, expert.parameters(), algorithm.policy.expert.parameters()))


def test_a_reward_that_is_not_finite_changes_nothing():
    algorithm = FlowPpo(random_walker(), FlowPpoConfig(epochs=1), 4)
    episodes = roll_out(algorithm, 0, 16)
    episodes[0].reward[0] = float('nan')
    before = copy.deepcopy(algorithm.module.state_dict())
    assert algorithm.update(episodes)['skipped'] == 1
    for name, tensor in algorithm.module.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_the_reference_holds_the_policy_back():
    """With the same episodes, a larger weight of the divergence leaves the policy nearer to its beginning."""
    divergences = []
    for weight in (1e-9, 3.0):
        config = GrpoConfig(noise=1.0, reference_weight=weight, **{**COMMON, 'divergence_limit': 1e9})
        algorithm = Grpo(random_walker(), config, 4)
        divergences.append(algorithm.update(roll_out(algorithm, 0, 48))['from_reference'])
    assert 0 < divergences[1] < 0.7 * divergences[0]


@pytest.mark.parametrize('baseline', ['group', 'leave_one_out'])
def test_tries_that_all_ended_alike_move_nothing(baseline):
    """Adam has a momentum by then, and the reference would pull."""
    config = GrpoConfig(noise=1.0, baseline=baseline, reference_weight=0.1, **COMMON)
    algorithm = Grpo(random_walker(), config, 4)
    first = algorithm.update(roll_out(algorithm, 0, 24))
    assert first['gradient_steps'] > 0
    alike = []
    for each in roll_out(algorithm, 1, 24):
        reward = torch.zeros_like(each.reward)
        reward[-1] = 0.7
        alike.append(dataclasses.replace(each, reward=reward, discount=torch.ones_like(each.discount)))
    before = copy.deepcopy(algorithm.module.state_dict())
    metrics = algorithm.update(alike)
    assert (metrics['informative'], metrics['skipped']) == (1 / 24, 0)
    assert metrics['gradient_steps'] == first['gradient_steps']
    for name, tensor in algorithm.module.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_without_a_stochastic_step_there_is_no_likelihood():
    with pytest.raises(ValueError, match='use fpo'):
        FlowPpo(random_walker(), FlowPpoConfig(noise=0.0))
    with pytest.raises(ValueError, match='use fpo'):
        GrpoConfig(noise=0.0)
