# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""RLPD: soft actor-critic with LayerNorm critics on half human data, as HIL-SERL uses it; the known baseline.

Ball et al., arXiv 2302.02948; Luo et al., arXiv 2410.21845. It starts from nothing and looks at no candidate.
A gripper may have a critic of its own that chooses one of a few positions, as in HIL-SERL.
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass, field, replace

import torch
from torch.nn import functional

from apprentice.learning.rl.base import ChunkBatch
from apprentice.learning.rl.core import CriticConfig, Training, adam, backup
from apprentice.learning.rl.gaussian import BoundedGaussian, Temperature
from apprentice.learning.rl.networks import perceptron, single


@dataclass(frozen=True)
class RlpdSacConfig:
    """Settings.

    Attributes:
        hidden: widths of the actor's hidden layers.
        bound: largest number of a chunk, in standard deviations of the action.
        actor_every: critic updates for one of the actor.
        temperature: of the entropy, first.
        target_entropy: per number of a chunk, nats.
        entropy_backup: count the entropy in the target too.
        gripper: columns of an action that a discrete critic chooses; empty: all are continuous.
        gripper_positions: what it chooses from, in standard deviations of the action.
    """

    critic: CriticConfig = field(default_factory=lambda: CriticConfig(members=2))
    hidden: tuple[int, ...] = (256, 256)
    layer_norm: bool = True
    activation: str = 'relu'
    bound: float = 3.0
    learning_rate: float = 3e-4
    actor_every: int = 2
    temperature: float = 0.01
    temperature_rate: float = 3e-4
    target_entropy: float = -0.5
    entropy_backup: bool = False
    gripper: tuple[int, ...] = ()
    gripper_positions: tuple[float, ...] = (-1.0, 1.0)


class RlpdSac(Training):
    """See the module's text; an :class:`~apprentice.learning.rl.base.Algorithm`."""

    Config = RlpdSacConfig
    config: RlpdSacConfig

    def build(self) -> None:
        config, sizes, g, device = self.config, self.sizes, self.generator, self.device
        self.critics = self.make_critics(config.critic)
        self.actor = BoundedGaussian(
            sizes.feature,
            sizes.chunk,
            config.hidden,
            config.bound,
            config.layer_norm,
            config.activation,
            g,
        ).to(device)
        self.temperature = Temperature(config.temperature, config.target_entropy * sizes.chunk).to(device)
        self._actor_optimizer = adam(self.actor, config.learning_rate)
        self._temperature_optimizer = adam(self.temperature, config.temperature_rate)
        self.keep('actor', self.actor, self._actor_optimizer)
        self.keep('temperature', self.temperature, self._temperature_optimizer)
        self.gripper = DiscreteGripper(self, config) if config.gripper else None

    def act(self, feature: torch.Tensor, noise: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """A chunk [B, C, A] of the actor, and the logarithm of its density [B]."""
        chunk, log_prob = self.actor(feature, noise)
        return self._continuous(chunk.unflatten(1, (self.sizes.rows, self.sizes.actions))), log_prob

    def _continuous(self, chunk: torch.Tensor) -> torch.Tensor:
        return self.gripper.without(chunk) if self.gripper else chunk

    def update(self, batch: ChunkBatch) -> dict[str, float]:
        """One critic step, and now and then one of actor and temperature."""
        batch = self.mine(batch)
        config, size = self.config, (len(batch), self.sizes.chunk)
        with torch.no_grad():
            following, log_prob = self.act(batch.next_feature, self.draw(*size))
            values = self.critics.target_values(batch.next_feature, following[:, None])[..., 0]
            value = self.critics.smallest(values)
            if config.entropy_backup:
                value = value - self.temperature.value * log_prob
        continuous = replace(batch, action=self._continuous(batch.action)) if self.gripper else batch
        metrics = self.critics.fit(continuous, value)
        if self.gripper:
            metrics |= self.gripper.fit(batch)
        self.steps += 1
        if self.steps % config.actor_every == 0:
            metrics |= self._update_actor(batch.feature, self.draw(*size))
        return metrics

    def _update_actor(self, feature: torch.Tensor, noise: torch.Tensor) -> dict[str, float]:
        chunk, log_prob = self.act(feature, noise)
        self.critics.online.requires_grad_(False)  # only the gradient by the action is wanted
        value = self.critics.values(feature, chunk[:, None]).mean()
        self.critics.online.requires_grad_(True)
        clip = self.config.critic.clip
        done = self.step(self._actor_optimizer, self.temperature.value * log_prob.mean() - value, clip)
        if not done['skipped']:
            self.step(self._temperature_optimizer, self.temperature.loss(log_prob), clip)
        return {
            'actor_loss': done['loss'],
            'entropy': -float(log_prob.detach().mean()),
            'temperature': float(self.temperature.value),
            'actor_skipped': done['skipped'],
        }

    @torch.no_grad()
    def choose(
        self,
        feature: torch.Tensor,
        candidates: torch.Tensor,
        explore: bool = False,
        generator: torch.Generator | None = None,
        fixed: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The actor's chunk; of ``candidates`` only rows that are fixed are looked at."""
        noise = None
        if explore:
            noise = torch.randn(len(feature), self.sizes.chunk, generator=generator).to(feature)
        chunk = self.act(feature, noise)[0]
        chunk = self.gripper.put(chunk, feature) if self.gripper else chunk
        return chunk if fixed is None else candidates[:, 0].where(fixed[..., None], chunk)


class DiscreteGripper:
    """Values of the gripper's positions, learned by double DQN (arXiv 1509.06461)."""

    def __init__(self, owner: RlpdSac, config: RlpdSacConfig):
        sizes, self._owner, self._config = owner.sizes, owner, config.critic
        wrong = [column for column in config.gripper if not 0 <= column < sizes.actions]
        if wrong or not config.gripper_positions:
            raise ValueError(f'gripper columns {config.gripper}; give columns below {sizes.actions}')
        self._columns = torch.tensor(config.gripper, device=owner.device)
        # several grippers: every combination
        combinations = itertools.product(config.gripper_positions, repeat=len(config.gripper))
        self._positions = torch.tensor(list(combinations), device=owner.device)
        self._online = perceptron(
            sizes.feature, config.hidden, len(self._positions), generator=owner.generator
        ).to(owner.device)
        self._target = copy.deepcopy(self._online).requires_grad_(False)
        self._optimizer = adam(self._online, config.learning_rate)
        owner.keep('gripper', self._online, self._optimizer)
        owner.keep('gripper_target', self._target)

    def without(self, chunk: torch.Tensor) -> torch.Tensor:
        """``chunk`` [..., A] with 0 in the columns of the gripper."""
        return chunk.index_fill(-1, self._columns, 0.0)

    def put(self, chunk: torch.Tensor, feature: torch.Tensor) -> torch.Tensor:
        """``chunk`` [B, C, A] with the best position in all rows."""
        best = self._positions[single(self._online, feature).argmax(1)]
        return chunk.index_copy(-1, self._columns, best[:, None].expand(-1, chunk.shape[1], -1))

    def chosen(self, batch: ChunkBatch) -> torch.Tensor:
        """Which position was executed, int [B]: the nearest to that of the last valid row."""
        rows = batch.valid.sum(1).clamp(min=1) - 1
        done = batch.action[torch.arange(len(batch), device=rows.device), rows][:, self._columns]
        return (done[:, None] - self._positions).square().sum(-1).argmin(1)

    def fit(self, batch: ChunkBatch) -> dict[str, float]:
        """One step, then the target follows."""
        with torch.no_grad():
            best = single(self._online, batch.next_feature).argmax(1, keepdim=True)
            value = single(self._target, batch.next_feature).gather(1, best)[:, 0]
            target = backup(batch.reward, batch.discount, value)
        found = single(self._online, batch.feature).gather(1, self.chosen(batch)[:, None])[:, 0]
        done = self._owner.step(self._optimizer, functional.mse_loss(found, target), self._config.clip)
        if not done['skipped']:
            pairs = (list(self._target.parameters()), list(self._online.parameters()))
            torch._foreach_lerp_(*pairs, self._config.polyak)
        return {'gripper_loss': done['loss'], 'gripper_skipped': done['skipped']}
