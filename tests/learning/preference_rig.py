# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Random pairs and a small policy that fits them, for the tests of preferences."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from clone_rig import ROBOT, SMALL, make_episode, make_episodes

from apprentice.learning.dataset import policy_spec
from apprentice.learning.preference.dpo import DpoConfig
from apprentice.learning.preference.pairs import PairDraft, Pairs
from apprentice.learning.preference.train_config import DpoTraining
from apprentice.policies import checkpoint
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.token_head import TokenConfig

HORIZON = 8
QUIET = DpoConfig(batch=8, draws=2, learning_rate=1e-3, shift=0, light=0.0, ema=0.0)
TRAINING = DpoTraining(
    steps=6, warm_up=1, snapshot_every=2, validate_every=3, validation=0.3, device='cpu', algorithm=QUIET
)
JOINT = dataclasses.replace(SMALL, tokens=TokenConfig(vocabulary=128, min_frequency=5, width=32))


def make_policy(config=SMALL) -> FlowPolicy:
    episodes = make_episodes()
    torch.manual_seed(0)
    policy = FlowPolicy(policy_spec(episodes, ROBOT, HORIZON), config).eval()
    for block in policy.expert.blocks:  # they begin at zero, and hide all that comes before them
        torch.nn.init.normal_(block.modulation.weight, std=0.3)
    if policy.token_head is not None:
        from apprentice.learning.dataset import Samples

        chunks = Samples.of(episodes, HORIZON).chunks
        policy.fit_tokenizer(chunks.actions, chunks.state, chunks.valid)
    return policy


def make_pairs(episodes: int = 4, each: int = 3, sign: float = 1.0) -> Pairs:
    """Winners are what was executed, losers are moved away from it; half of them end early."""
    parts = []
    for number in range(episodes):
        episode, rng = make_episode(number, 12), np.random.default_rng(100 + number)
        draft = PairDraft(episode, HORIZON)
        for step in range(each):
            winner = episode.action[step : step + HORIZON]
            loser = winner + sign * np.abs(rng.normal(0.05, 0.02, winner.shape))
            valid = np.arange(HORIZON) < (HORIZON if step % 2 else 5)
            draft.add(step, winner, loser, valid, 1.0, 'test')
        parts.append(draft.pairs())
    return Pairs.concatenate(parts)


def save_policy(folder: Path, config=SMALL) -> Path:
    checkpoint.save(make_policy(config), folder, {'name': 'starter'})
    return folder


def quiet(**changes) -> DpoConfig:
    return dataclasses.replace(QUIET, **changes)


def gradients(policy) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None])


def moved(policy, amount=0.02, seed=1):
    """The same policy a little elsewhere, so that it differs from its reference."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in policy.parameters():
            p.add_(amount * torch.randn(p.shape, generator=generator))
