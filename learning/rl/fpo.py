# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""FPO: the policy gradient of a flow policy without likelihoods (arXiv 2507.21053).

The ratio of PPO is replaced by exp(old loss - new loss) of flow matching on the chunk that was followed, with
the same noise and times before and after: any sampler will do, and nothing of the chain is kept. With
``per_draw`` each pair of noise and time has a ratio of its own (FPO++, 2602.02481). Critic and GAE are those
of Flow-SDE PPO.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from apprentice.learning.rl.episodes import Macros
from apprentice.learning.rl.flow_ppo import PART, ChainObjective, FlowPpo, FlowPpoConfig, clipped
from apprentice.policies import flow


@dataclass(frozen=True)
class FpoConfig(FlowPpoConfig):
    """Beside those of :class:`.flow_ppo.FlowPpoConfig`; exploration is that of the flow, so no noise.

    Attributes:
        draws: pairs of noise and time for each chunk.
        per_draw: a ratio for each pair instead of one for their mean.
    """

    noise: float = 0.0
    clip: float = 0.05
    draws: int = 8
    per_draw: bool = True


class FlowRatioObjective(ChainObjective):
    """The clipped loss with ratios from flow losses."""

    def losses(self, macros: Macros) -> torch.Tensor:
        """Flow losses [B, N] at the kept noise and times, on the rows that were followed."""
        draws, horizon = macros.noise.shape[1], macros.action.shape[1]
        time = macros.time.flatten(0, 1).expand(-1, horizon)
        valid = torch.arange(horizon, device=time.device) < macros.rows.repeat_interleave(draws)[:, None]
        action, noise = macros.action.repeat_interleave(draws, 0), macros.noise.flatten(0, 1)
        error = flow.flow_loss(self.expert, macros.prefix.repeat(draws), action, noise, time, valid)
        return error.unflatten(0, (-1, draws))

    def forward(self, macros: Macros) -> dict[str, torch.Tensor]:
        difference = macros.old - self.losses(macros)
        difference = difference if self.config.per_draw else difference.mean(1, keepdim=True)
        ratio = difference.clamp(-20, 20).exp()
        policy = clipped(ratio, macros.advantage[:, None], self.config.clip).mean(1)
        sums = {
            'policy_loss': policy.sum(),
            'clipped': ((ratio - 1).abs() > self.config.clip).float().mean(1).sum(),
            'value_loss': (self.critic(macros.feature) - macros.target).square().sum(),  # type: ignore[misc]
        }
        return {
            'loss': self.policy_weight * sums['policy_loss'] + self.config.critic_weight * sums['value_loss'],
            **sums,
        }


class Fpo(FlowPpo):
    """See the text of this module."""

    Config: type = FpoConfig

    def objective(self) -> nn.Module:
        return FlowRatioObjective(self.policy, self.config, self.rows, self.make_critic())

    def remember(self, macros: Macros) -> None:
        count, draws = len(macros), self.config.draws
        noise = torch.randn(count, draws, *macros.action.shape[1:], generator=self.generator)
        time = flow.sample_time((count, draws, 1), self.generator, self.policy.config.time_alpha)
        macros.noise, macros.time = noise.to(macros.action), time.to(macros.action)
        parts = torch.arange(count).split(PART)
        macros.old = torch.cat([self.module.losses(macros.take(rows)) for rows in parts])


ALGORITHM = Fpo
