# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""RECAP on a choice between two movements of which one is right: values, labels, and what the policy does."""

from __future__ import annotations

import pytest
import torch
from point_mass import random_walker

from apprentice.learning.distributed import Ranks
from apprentice.learning.rl.episodes import MacroEpisode
from apprentice.learning.rl.flow_sde import Chain
from apprentice.learning.rl.recap import (
    POSITIVE,
    Recap,
    RecapConfig,
    ValueDistribution,
    advantages,
    time_to_go,
)
from apprentice.policies import checkpoint
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.prefix import Inputs

GOOD, BAD, SHARE = 1.0, -1.0, 0.3  # where the movements lead, normalised; share of the good ones in the data
CONFIG = RecapConfig(steps=250, batch=48, value_steps=60, learning_rate=3e-3, value_width=32, longest_rows=8)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def inputs(count: int = 1) -> Inputs:
    return Inputs({}, torch.zeros(count, 2), ['go'] * count)


@torch.no_grad()
def make_episode(policy: FlowPolicy, number: int, good: bool, human: bool = False) -> MacroEpisode:
    """One chunk of four rows; success if it was the good one."""
    generator = torch.Generator().manual_seed(number)
    action = torch.full((1, 4, 2), GOOD if good else BAD) + 0.1 * torch.randn(1, 4, 2, generator=generator)
    prefix = policy.encode(inputs())
    chain = Chain(action, action, torch.zeros(1, dtype=torch.long))
    feature = torch.cat([prefix.pooled, torch.zeros(1, 3)], 1)
    return MacroEpisode(
        number, 0, good, float(good), prefix, feature, action, chain, torch.tensor([4]),
        torch.tensor([float(good)]), torch.tensor([0.0]), torch.tensor([human]),
    )  # fmt: skip


def data(policy: FlowPolicy, count: int = 100) -> list[MacroEpisode]:
    return [make_episode(policy, number, number % 10 < 10 * SHARE) for number in range(count)]


def ends(policy: FlowPolicy, count: int = 200) -> torch.Tensor:
    """Where the sampled chunks lead, normalised [count]."""
    sampled = policy.candidates(inputs(), count, torch.Generator().manual_seed(0))[0]
    state = torch.zeros(count, 2)
    return policy.normalize_actions(sampled, state).mean((1, 2))


@pytest.mark.parametrize('seed', [0, 1])
def test_told_positive_it_does_the_good_one(seed, tmp_path):
    """Half of the data's answer is known: without condition the data's mixture, with it the good movement."""
    policy = random_walker(seed)
    recap = Recap(policy, CONFIG, 4, seed)
    metrics = recap.update(data(policy))
    assert metrics['positive'] == pytest.approx(SHARE, abs=0.02)
    told, untold = ends(recap.result()), ends(recap.policy)
    assert float((told > 0).float().mean()) > 0.9
    assert float(told.mean()) == pytest.approx(GOOD, abs=0.2)
    assert float((untold > 0).float().mean()) == pytest.approx(SHARE, abs=0.2)
    # the plain policy that is saved is what acts in rollouts with b = 1
    with torch.no_grad():
        prefix = policy.encode(inputs(50))
        acted, _ = recap.actor.sample(prefix, torch.Generator().manual_seed(0))
    folded = recap.result()
    checkpoint.save(folded, tmp_path / 'policy')
    loaded, _ = checkpoint.load(tmp_path / 'policy')
    again = loaded.candidates(inputs(), 50, torch.Generator().manual_seed(0))[0]
    torch.testing.assert_close(loaded.normalize_actions(again, torch.zeros(50, 2)), acted, atol=1e-4, rtol=0)


def test_guidance_goes_from_the_policy_to_the_condition_and_beyond():
    policy = random_walker()
    recap = Recap(policy, CONFIG, 4)
    recap.update(data(policy))
    shares = [float((ends(recap.guided(b)) > 0).float().mean()) for b in (0.0, 1.0, 2.0)]
    torch.testing.assert_close(ends(recap.guided(0.0)), ends(recap.policy))
    torch.testing.assert_close(ends(recap.guided(1.0)), ends(recap.result()))
    assert shares[0] < shares[1] - 0.3
    assert shares[2] >= shares[1] - 0.02


def test_what_a_person_did_is_positive_whatever_came_of_it():
    policy = random_walker()
    recap = Recap(policy, RecapConfig(steps=1, value_steps=50), 4)
    episodes = [*data(policy, 20), make_episode(policy, 99, good=False, human=True)]
    recap.update(episodes)
    from apprentice.learning.rl.episodes import Macros

    macros = Macros.of(episodes, torch.device('cpu'))
    labels = recap.label(macros, [time_to_go(episode, 8) for episode in episodes])
    assert bool(labels[-1])
    assert labels[:-1].tolist() == [episode.success for episode in episodes[:-1]]


def test_each_round_begins_with_the_first_policy_and_keeps_the_episodes():
    policy = random_walker()
    recap = Recap(policy, RecapConfig(steps=1, value_steps=1, learning_rate=1e-9), 4)
    torch.nn.init.normal_(policy.expert.leave.bias)  # as if a round had changed it
    recap.update(data(policy, 10))
    recap.update(data(policy, 10))
    assert len(recap.episodes) == 20
    assert float(recap.policy.expert.leave.bias.detach().abs().max()) < 1e-6
    state = recap.state_dict()
    other = Recap(random_walker(), recap.config, 4)
    other.load_state_dict(state)
    assert len(other.episodes) == 20
    assert other.update(data(policy, 10)) == recap.update(data(policy, 10))
    with pytest.raises(ValueError, match='another policy or algorithm'):
        other.load_state_dict({'generator': state['generator']})


def test_the_value_is_the_expected_return():
    """Two states: success at once half of the time or never; 201 bins find both means."""
    torch.manual_seed(0)
    value = ValueDistribution(2, 201, 32)
    optimizer = torch.optim.AdamW(value.parameters(), 3e-3)
    feature = torch.eye(2).repeat(64, 1)
    returns = torch.where(torch.arange(128) % 4 == 0, -0.2, -1.0)  # of the first state every second
    for _ in range(150):
        optimizer.zero_grad()
        value.loss(feature, returns).backward()
        optimizer.step()
    found = value(torch.eye(2))
    assert found.tolist() == pytest.approx([-0.6, -1.0], abs=0.03)
    assert len(value.centres) == 201


def test_time_to_go_and_advantages_by_hand():
    policy = random_walker()
    won, lost = make_episode(policy, 0, True), make_episode(policy, 1, False)
    won.rows, won.reward = torch.tensor([4, 4, 2]), torch.zeros(3)
    torch.testing.assert_close(time_to_go(won, 20), torch.tensor([-0.5, -0.3, -0.1]))
    torch.testing.assert_close(time_to_go(lost, 20), torch.tensor([-1.0]))
    value = torch.tensor([-0.7, -0.6, -0.1])
    found = advantages(time_to_go(won, 20), value, 1)
    # a chunk costs 0.2; the last one ends the episode
    torch.testing.assert_close(found, torch.tensor([-0.2 - 0.6 + 0.7, -0.2 - 0.1 + 0.6, 0.0]))
    torch.testing.assert_close(advantages(time_to_go(won, 20), value, 9), time_to_go(won, 20) - value)


def test_recap_is_for_one_process():
    with pytest.raises(ValueError, match='one process'):
        Recap(random_walker(), ranks=Ranks(0, 2))
    assert POSITIVE == 1
