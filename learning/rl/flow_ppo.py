# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Flow-SDE PPO: proximal policy optimisation of a flow policy, a chunk being one action (piRL, 2510.25889).

The likelihood is that of the one stochastic step of the sampler (:mod:`.flow_sde`); the trainer computes the
old one again before the first step, so the ratio starts at 1 whatever machine rolled out. Advantages are GAE
(1506.02438) with discounts by the rows that were followed, the loss is PPO's clipped one (1707.06347).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from apprentice.learning.rl.advantages import generalized_advantage
from apprentice.learning.rl.episodes import MacroEpisode, Macros
from apprentice.learning.rl.flow_sde import log_likelihood, step_of_chain
from apprentice.learning.rl.on_policy import OnPolicy, OnPolicyConfig
from apprentice.learning.rl.rollout import feature_size
from apprentice.policies.policy import FlowPolicy

PART = 256  # macro actions at once where no gradient is needed


@dataclass(frozen=True)
class FlowPpoConfig(OnPolicyConfig):
    """Beside those of :class:`OnPolicyConfig`.

    Attributes:
        decay: lambda of GAE, per chunk.
        critic_learning_rate, critic_weight, critic_width: of the value function.
        warm_up: updates that train the value function alone.
    """

    decay: float = 0.95
    critic_learning_rate: float = 1e-3
    critic_weight: float = 0.5
    critic_width: int = 128
    warm_up: int = 0


class Critic(nn.Module):
    """Value [B] of features [B, F]; 0 at first."""

    def __init__(self, features: int, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.layers = nn.Sequential(
            nn.Linear(features, width), nn.LayerNorm(width), nn.SiLU(),
            nn.Linear(width, width), nn.LayerNorm(width), nn.SiLU(),
            nn.Linear(width, 1),
        )  # fmt: skip
        nn.init.zeros_(self.layers[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.layers[-1].bias)  # type: ignore[arg-type]

    def forward(self, feature: torch.Tensor) -> torch.Tensor:
        return self.layers(self.norm(feature))[:, 0]


def clipped(ratio: torch.Tensor, advantage: torch.Tensor, clip: float) -> torch.Tensor:
    """PPO's loss of each item, to be minimised."""
    return -torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


class ChainObjective(nn.Module):
    """Clipped loss of the stochastic step; beside it a value function or a divergence from a reference."""

    def __init__(self, policy: FlowPolicy, config: Any, rows: int, critic: nn.Module | None = None):
        super().__init__()
        self.expert, self.critic = policy.expert, critic
        self.config, self.rows, self.steps = config, rows, policy.config.denoise_steps
        self.policy_weight = 1.0

    def log_likelihood(self, macros: Macros) -> torch.Tensor:
        """Of the stochastic step under the present weights, [B]."""
        step = step_of_chain(self.expert, macros.prefix, macros.chain, self.steps, self.config.noise)
        return log_likelihood(*step, macros.chain.after, self.rows)

    def forward(self, macros: Macros) -> dict[str, torch.Tensor]:
        """Sums over the macro actions."""
        difference = self.log_likelihood(macros) - macros.old
        ratio = difference.exp()
        policy = clipped(ratio, macros.advantage, self.config.clip)
        sums = {
            'policy_loss': policy.sum(),
            'divergence': (ratio - 1 - difference).detach().sum(),  # from the old weights, k3 estimator
            'clipped': ((ratio - 1).abs() > self.config.clip).float().sum(),
        }
        loss = self.policy_weight * sums['policy_loss']
        if self.critic is not None:
            sums['value_loss'] = (self.critic(macros.feature) - macros.target).square().sum()
            loss = loss + self.config.critic_weight * sums['value_loss']
        return {'loss': loss, **sums}


class FlowPpo(OnPolicy):
    """See the text of this module."""

    Config: type = FlowPpoConfig

    def objective(self) -> nn.Module:
        if not self.config.noise:
            raise ValueError(
                'algorithm.noise is 0: without a stochastic step there is no likelihood; use fpo'
            )
        return ChainObjective(self.policy, self.config, self.rows, self.make_critic())

    def make_critic(self) -> nn.Module:
        return Critic(feature_size(self.policy), self.config.critic_width)

    def parameter_groups(self) -> list[dict[str, Any]]:
        critic = {'params': list(self.module.critic.parameters()), 'lr': self.config.critic_learning_rate}
        return [*super().parameter_groups(), critic]

    def prepare(self, episodes: Sequence[MacroEpisode]) -> tuple[Macros, dict[str, float]]:
        macros = Macros.of(episodes, self.ranks.device)
        with torch.no_grad():
            value = self.module.critic(macros.feature)
            advantages, first = [], 0
            for episode in episodes:
                mine = value[first : first + len(episode)].cpu()
                first += len(episode)
                advantages.append(
                    generalized_advantage(episode.reward, mine, episode.discount, self.config.decay)
                )
            advantage = torch.cat(advantages).to(value)
            macros.target = advantage + value
            macros.advantage = self.normalized(advantage)
            self.remember(macros)
        self.module.policy_weight = float(self.updates >= self.config.warm_up)
        error, spread = (macros.target - value).var(), macros.target.var().clamp(min=1e-9)
        return macros, {'explained_variance': float(1 - error / spread)}

    def remember(self, macros: Macros) -> None:
        """Fill in what the weights before the update say."""
        parts = torch.arange(len(macros)).split(PART)
        macros.old = torch.cat([self.module.log_likelihood(macros.take(rows)) for rows in parts])


ALGORITHM = FlowPpo
