# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Every off-policy algorithm solves a small problem whose answer is known."""

from __future__ import annotations

import pytest
import torch
from small_problems import (
    BANDIT,
    BEST,
    CHAIN,
    CHAIN_VALUES,
    bandit,
    bandit_reward,
    chain,
    contexts,
    flow,
)

from apprentice.learning.rl.core import CriticConfig
from apprentice.learning.rl.dsrl import Dsrl, DsrlConfig
from apprentice.learning.rl.flow_edit import FlowEdit, FlowEditConfig
from apprentice.learning.rl.q_chunking import QChunking, QChunkingConfig
from apprentice.learning.rl.rlpd_sac import RlpdSac, RlpdSacConfig

SEEDS = [0, 1]


def critic(members: int = 4, **changes) -> CriticConfig:
    settings = {'hidden': (32, 32), 'learning_rate': 2e-3, 'polyak': 0.05, **changes}
    return CriticConfig(members=members, **settings)


def train(algorithm, problem, updates: int, seed: int, size: int = 128):
    g = torch.Generator().manual_seed(100 + seed)
    for _ in range(updates):
        metrics = algorithm.update(problem(size, g))
        assert metrics['skipped'] == 0
    return algorithm


def unseen(seed: int, size: int = 200):
    return bandit(size, torch.Generator().manual_seed(900 + seed))


@pytest.mark.parametrize('precision', ['float32', 'bfloat16'])
@pytest.mark.parametrize('seed', SEEDS)
def test_critics_find_the_values_of_a_chain(seed, precision):
    """Known: gamma^4, gamma^2 and 1 for going on, 0 for giving up, two rows a chunk."""
    algorithm = QChunking(CHAIN, QChunkingConfig(critic(precision=precision)), seed)
    train(algorithm, chain, 400, seed, 64)
    plans = torch.tensor([1.0, -1.0])[None, :, None, None].expand(3, 2, 2, 1)
    values = algorithm.critics.values(torch.eye(3), plans).mean(0)
    assert torch.allclose(values[:, 0], CHAIN_VALUES, atol=0.04), values
    assert torch.allclose(values[:, 1], torch.zeros(3), atol=0.04), values
    assert torch.equal(algorithm.choose(torch.eye(3), plans), plans[:, 0])


@pytest.mark.parametrize('seed', SEEDS)
def test_q_chunking_takes_the_best_candidate(seed):
    algorithm = train(QChunking(BANDIT, QChunkingConfig(critic()), seed), bandit, 250, seed, 64)
    batch = unseen(seed)
    chosen = algorithm.choose(batch.feature, batch.candidates)
    reward = bandit_reward(batch.feature, chosen)
    best = (
        bandit_reward(batch.feature.repeat_interleave(6, 0), batch.candidates.flatten(0, 1))
        .view(200, 6)
        .amax(1)
    )
    assert float((best - reward).mean()) < 0.01
    assert float(reward.mean()) > 0.8


@pytest.mark.parametrize('precision', ['float32', 'bfloat16'])
@pytest.mark.parametrize('seed', SEEDS)
def test_edits_reach_what_no_candidate_is(seed, precision):
    """Known: candidates at 1 and -1, best chunk 1.3 times the side. The best candidate is worth 0.91,
    the best edit of at most 0.4 is worth 1."""
    config = FlowEditConfig(
        critic(precision=precision), 0, scale=0.4, hidden=(32, 32), learning_rate=2e-3, edit_every=1,
        warm_up=100, near=0.02, near_end=0.0, near_updates=200,
    )  # fmt: skip

    def problem(size, g):
        batch = bandit(size, g)
        batch.candidates = torch.tensor([1.0, -1.0]).view(1, 2, 1, 1).expand(size, 2, 2, 1)
        batch.action = batch.candidates[:, 0] * (torch.randint(2, (size, 1, 1), generator=g) * 2 - 1)
        batch.action = batch.action + 0.3 * torch.randn(size, 2, 1, generator=g)
        batch.reward = bandit_reward(batch.feature, batch.action, 1.3)
        return batch

    algorithm = train(FlowEdit(BANDIT, config, seed), problem, 400, seed, 64)
    batch = problem(200, torch.Generator().manual_seed(900 + seed))
    chosen = algorithm.choose(batch.feature, batch.candidates)
    assert float(bandit_reward(batch.feature, chosen, 1.3).mean()) > 0.985
    assert float((chosen - 1.3 * batch.feature[:, :1, None]).abs().mean()) < 0.1
    explored = algorithm.choose(batch.feature, batch.candidates, True, torch.Generator().manual_seed(0))
    apart = (explored[:, None] - batch.candidates).abs().amax((2, 3)).amin(1)
    assert float(apart.mean()) > 0.01
    assert float(apart.max()) <= 0.4 + 1e-6  # never further from a candidate than the scale


def test_a_person_attracts_the_edits():
    """Known: a person's chunk is 0.06 away from a candidate, and nothing else counts."""
    config = FlowEditConfig(
        critic(), 0, hidden=(32, 32), learning_rate=2e-3, edit_every=1, warm_up=1, near=0.0, near_end=0.0,
        human=50.0, sigma=0.0,
    )  # fmt: skip
    algorithm = FlowEdit(BANDIT, config, 0)

    def helped(size, g):
        batch = bandit(size, g)
        batch.candidates = torch.tensor([1.0, -1.0]).view(1, 2, 1, 1).expand(size, 2, 2, 1)
        batch.reward = torch.zeros(size)
        batch.human = torch.ones(size, dtype=torch.bool)
        batch.action = (1.06 * batch.feature[:, :1, None]).expand(-1, 2, -1).contiguous()
        return batch

    train(algorithm, helped, 150, 0, 64)
    feature = contexts(100, torch.Generator().manual_seed(5))
    candidate = feature[:, :1, None].expand(-1, 2, -1)
    moved = algorithm.edit(feature, candidate[:, None])[:, 0].detach() - candidate
    towards = moved * feature[:, :1, None]
    assert float((towards - 0.06).abs().mean()) < 0.02


@pytest.mark.parametrize('seed', SEEDS)
def test_rlpd_finds_the_best_chunk_from_nothing(seed):
    config = RlpdSacConfig(critic(2), hidden=(32, 32), bound=2.0, learning_rate=2e-3, actor_every=1)
    algorithm = RlpdSac(BANDIT, config, seed)
    train(algorithm, lambda size, g: bandit(size, g, spread=2.0), 400, seed, 64)
    batch = unseen(seed)
    chosen = algorithm.choose(batch.feature, batch.candidates)
    assert float((chosen - BEST * batch.feature[:, :1, None]).abs().mean()) < 0.15
    assert float(bandit_reward(batch.feature, chosen).mean()) > 0.97
    assert algorithm.choose(batch.feature, batch.candidates, True).abs().max() <= 2.0


def test_the_gripper_has_a_critic_of_its_own():
    """Known: closing (1) pays where the side is 1, opening (-1) where it is -1."""
    config = RlpdSacConfig(critic(2), hidden=(32, 32), learning_rate=2e-3, gripper=(0,))
    algorithm = RlpdSac(BANDIT, config, 0)

    def gripping(size, g):
        batch = bandit(size, g)
        batch.action = (torch.randint(2, (size, 1, 1), generator=g) * 2.0 - 1).expand(-1, 2, -1).contiguous()
        batch.reward = (batch.action[:, 0, 0] == batch.feature[:, 0]).float()
        return batch

    train(algorithm, gripping, 200, 0)
    batch = unseen(0)
    chosen = algorithm.choose(batch.feature, batch.candidates)
    assert torch.equal(chosen, batch.feature[:, :1, None].expand(-1, 2, -1))


@pytest.mark.parametrize('seed', SEEDS)
@pytest.mark.parametrize('way', ['kept noise', 'decode', 'sac'])
def test_dsrl_steers_a_black_box(way, seed):
    """Known: the noise 0.6 times the side makes the best chunk, reward 1; noise as it comes is worth -1.1."""
    config = DsrlConfig(critic(2), 'sac' if way == 'sac' else 'na', (32, 32), learning_rate=2e-3)
    algorithm = Dsrl(BANDIT, config, seed)
    if way == 'decode':
        algorithm.decode = lambda feature, noise: flow(noise)

    def problem(size, g):
        batch = bandit(size, g)
        if way == 'decode':
            batch.noise = None
        if way == 'sac':
            batch.executed_noise = batch.noise[:, 0]
            batch.action = flow(batch.executed_noise)
            batch.reward = bandit_reward(batch.feature, batch.action)
        return batch

    train(algorithm, problem, 300, seed, 64)
    feature = contexts(200, torch.Generator().manual_seed(900 + seed))
    noise = algorithm.noise(feature)
    reward = bandit_reward(feature, flow(noise))
    assert float(reward.mean()) > 0.97
    assert noise.abs().max() <= 2.5
    planned = flow(noise)[:, None]
    assert torch.equal(algorithm.choose(feature, planned), planned[:, 0])


def test_dsrl_says_what_is_missing():
    batch = bandit(8, torch.Generator().manual_seed(0))
    batch.noise = None
    with pytest.raises(ValueError, match='set decode'):
        Dsrl(BANDIT, DsrlConfig(critic(2))).update(batch)
    with pytest.raises(ValueError, match='executed_noise'):
        Dsrl(BANDIT, DsrlConfig(critic(2), 'sac')).update(batch)
