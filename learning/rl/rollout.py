# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Rollouts for on-policy learning, over :mod:`apprentice.sim.rollout`: the same episodes as in evaluation,
with what the policy saw and drew beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from apprentice.learning.rl.episodes import MacroEpisode, join_prefixes, take
from apprentice.learning.rl.flow_sde import Chain
from apprentice.learning.rl.on_policy import Actor
from apprentice.policies.policy import FlowPolicy, finite, inputs_of
from apprentice.policies.prefix import Inputs, Prefix
from apprentice.robot.types import Episode, Observation, Outcome
from apprentice.sim.rollout import (
    FAULT,
    RolloutConfig,
    SeededAct,
    Simulations,
    Turn,
    attempt_id,
    rollouts,
)


@dataclass(frozen=True)
class RewardConfig:
    """What an episode is worth.

    Attributes:
        success: reward at a success; nothing for a failure.
        progress: weight of the simulator's progress P as a potential, gamma^rows P(then) - P(now), with P = 0
            after the end; does not change which policy is best (Ng et al. 1999). 0: success only.
        gamma: discount of one row.
    """

    success: float = 1.0
    progress: float = 0.0
    gamma: float = 0.99

    def __post_init__(self) -> None:
        if not 0 < self.gamma <= 1:
            raise ValueError(f'reward.gamma is {self.gamma}; give a number in (0, 1]')


class Recorder:
    """A policy for rollouts that keeps what it saw and drew. Noise is of seed, try and step alone.

    Args:
        seed: of the noise.
    """

    def __init__(self, policy: FlowPolicy, actor: Actor, seed: int = 0):
        self.policy, self.actor, self.seed = policy, actor, seed
        self._seen: dict[str, list[_Seen]] = {}

    @torch.no_grad()
    def act(self, observations: list[Observation], turns: list[Turn]) -> np.ndarray:
        policy = self.policy
        inputs = inputs_of(observations, policy.spec).to(policy.device)
        mixed = [np.random.SeedSequence((self.seed, *t)).generate_state(1, np.uint64)[0] for t in turns]
        generators = [torch.Generator().manual_seed(int(each)) for each in mixed]
        prefix = policy.encode(inputs)
        action, chain = self.actor.sample(prefix, generators)
        state = policy.normalize_state(inputs.state)
        for row, (seed, repeat, step) in enumerate(turns):
            one = slice(row, row + 1)
            # copies: a view would keep the whole batch
            kept = Prefix(*(x.cpu().clone() for x in _tensors(take(prefix, one))))
            drawn = Chain(*(x[one].cpu().clone() for x in (chain.before, chain.after, chain.step)))
            self._seen.setdefault(attempt_id(seed, repeat), []).append(
                _Seen(repeat, step, kept, state[one].cpu().clone(), action[one].cpu().clone(), drawn)
            )
        return finite(policy.denormalize_actions(action, inputs.state))

    def finish(self, episode: Episode, longest: int, rewards: RewardConfig) -> MacroEpisode | None:
        """The macro actions of an episode that ended; None for one in which the policy never acted."""
        seen = self._seen.pop(episode.episode_id, [])
        if not seen:
            return None
        first = np.array([each.step for each in seen])
        rows = np.diff(np.append(first, len(episode)))
        truth = np.array([reward.progress for reward in episode.rewards], np.float64)
        success = episode.outcome == Outcome.SUCCESS
        discount = rewards.gamma ** rows.astype(np.float64)
        potential = np.append(truth[first], 0.0)
        reward = rewards.progress * (discount * potential[1:] - potential[:-1])
        # the success is seen after the last row
        reward[-1] += rewards.success * success * rewards.gamma ** (rows[-1] - 1.0)
        discount[-1] = 0.0
        prefix = join_prefixes([each.prefix for each in seen])
        share = torch.as_tensor(first / longest, dtype=torch.float32)[:, None]
        return MacroEpisode(
            seed=episode.seed,
            repeat=seen[0].repeat,
            success=success,
            progress=float(truth.max()),
            prefix=prefix,
            feature=torch.cat([prefix.pooled, torch.cat([each.state for each in seen]), share], 1),
            action=torch.cat([each.action for each in seen]),
            chain=Chain(
                torch.cat([each.chain.before for each in seen]),
                torch.cat([each.chain.after for each in seen]),
                torch.cat([each.chain.step for each in seen]),
            ),
            rows=torch.as_tensor(rows),
            reward=torch.as_tensor(reward, dtype=torch.float32),
            discount=torch.as_tensor(discount, dtype=torch.float32),
            human=torch.zeros(len(rows), dtype=torch.bool),
        )


@dataclass
class _Seen:
    """One plan: tensors of one item."""

    repeat: int
    step: int
    prefix: Prefix
    state: torch.Tensor
    action: torch.Tensor
    chain: Chain


def collect(
    sims: Simulations,
    seeds: Sequence[int],
    policy: FlowPolicy,
    actor: Actor,
    config: RolloutConfig | None = None,
    rewards: RewardConfig | None = None,
    noise_seed: int = 0,
) -> list[MacroEpisode]:
    """One episode for every seed, in the order of seeds and tries; a seed may come several times.

    Episodes in which the simulation diverged are left out.
    """
    config, rewards = config or RolloutConfig(), rewards or RewardConfig()
    recorder = Recorder(policy, actor, noise_seed)
    longest = round((config.max_duration_s or sims.max_duration_s) / sims.spec.action_dt)
    found: list[MacroEpisode] = []
    for episode in rollouts(sims, seeds, SeededAct(recorder.act), config):
        made = recorder.finish(episode, longest, rewards)
        if made is not None and episode.end_cause != FAULT:
            found.append(made)
    return sorted(found, key=lambda each: (each.seed, each.repeat))


def feature_size(policy: FlowPolicy) -> int:
    """F, numbers of a feature: found by encoding an empty picture, whatever the backbone."""
    cameras = {name: torch.from_numpy(stack) for name, stack in policy.spec.blank_images(1).items()}
    state = policy.state_mean.cpu()[None]
    with torch.no_grad():
        prefix = policy.encode(Inputs(cameras, state, ['wait']).to(policy.device))
    return prefix.pooled.shape[1] + policy.spec.dim + 1


def _tensors(prefix: Prefix) -> tuple[torch.Tensor, ...]:
    return prefix.keys, prefix.values, prefix.mask, prefix.pooled
