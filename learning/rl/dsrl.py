# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""DSRL: reinforcement learning of the noise a frozen flow starts from.

Wagenmaker et al., arXiv 2506.15799. Of the policy nothing is needed but the function noise -> chunk, so it
may be a black box behind a server. In the variant ``na`` critics judge chunks, whoever made them, people too;
what they say is distilled into critics of the noise, whose gradient the actor follows. The variant ``sac``
learns from executed noise alone. All rows of a chunk come of all rows of its noise, so whole chunks must be
kept (``rows`` of :class:`.features.FeatureConfig` 0).

In a recipe (``recipes/dsrl.yaml``) only ``na`` works: the candidates of recorded episodes are kept with their
noise, but nobody knows the noise of what was executed. The flow learns on there, so the candidates should be
planned again often (``refresh_every``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import torch

from apprentice.learning.rl.base import ChunkBatch
from apprentice.learning.rl.core import CriticConfig, Training, adam
from apprentice.learning.rl.gaussian import BoundedGaussian, Temperature
from apprentice.learning.rl.networks import Ensemble
from apprentice.learning.rl.q_chunking import pick

Decode = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class DsrlConfig:
    """Settings.

    Attributes:
        variant: ``na`` or ``sac``, see the module's text.
        hidden: widths of the hidden layers of the actor.
        bound: largest number of the noise.
        repeat: one vector of noise for all rows of a chunk; the candidates must be made of such noise too.
        actor_every: critic updates for one of the actor.
        temperature: of the entropy, first. Where it is small, the actor may settle on one mode of the flow
            before the critics know the other.
        target_entropy: per number of the actor, nats.
    """

    critic: CriticConfig = field(default_factory=lambda: CriticConfig(members=2))
    variant: Literal['na', 'sac'] = 'na'
    hidden: tuple[int, ...] = (256, 256)
    bound: float = 2.5
    repeat: bool = False
    learning_rate: float = 3e-4
    actor_every: int = 1
    temperature: float = 0.3
    temperature_rate: float = 3e-4
    target_entropy: float = -0.5


class Dsrl(Training):
    """An :class:`~apprentice.learning.rl.base.Algorithm` and :class:`~apprentice.learning.rl.base.Steering`.

    Attributes:
        decode: (feature [B, D], noise [B, C, A]) -> chunk [B, C, A], for whoever can plan from a feature;
            then fresh noise is distilled and targets are exact. Without it, the candidates kept in the batch
            with their noise are enough.
    """

    Config = DsrlConfig
    config: DsrlConfig

    def build(self) -> None:
        config, sizes, g, device = self.config, self.sizes, self.generator, self.device
        self.decode: Decode | None = None
        self.critics = self.make_critics(config.critic)
        numbers = sizes.actions if config.repeat else sizes.chunk
        self.actor = BoundedGaussian(sizes.feature, numbers, config.hidden, config.bound, generator=g).to(
            device
        )
        self.temperature = Temperature(config.temperature, config.target_entropy * numbers).to(device)
        self._actor_optimizer = adam(self.actor, config.learning_rate)
        self._temperature_optimizer = adam(self.temperature, config.temperature_rate)
        self.keep('actor', self.actor, self._actor_optimizer)
        self.keep('temperature', self.temperature, self._temperature_optimizer)
        if config.variant == 'na':
            critic = config.critic
            self.noise_critics = Ensemble(
                critic.members,
                sizes.feature,
                sizes.chunk,
                critic.hidden,
                1,
                critic.layer_norm,
                critic.activation,
                g,
            ).to(device)
            self._noise_optimizer = adam(self.noise_critics, critic.learning_rate)
            self.keep('noise_critic', self.noise_critics, self._noise_optimizer)
        else:
            self.noise_critics = self.critics.online

    def _sample(self, feature: torch.Tensor, noise: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        rows, actions = self.sizes.rows, self.sizes.actions
        flat, log_prob = self.actor(feature, noise)
        if self.config.repeat:
            return flat[:, None].expand(-1, rows, -1), log_prob
        return flat.unflatten(1, (rows, actions)), log_prob

    def _steered(self, feature: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self._sample(feature, self.draw(len(feature), self.actor.numbers))

    def update(self, batch: ChunkBatch) -> dict[str, float]:
        """One critic step, one of the distillation, and now and then one of the actor.

        Raises ValueError for a batch without the noise that the variant needs.
        """
        batch = self.mine(batch)
        if self.config.variant == 'sac':
            metrics = self._update_from_noise(batch)
        else:
            metrics = self._update_from_chunks(batch)
        self.steps += 1
        if self.steps % self.config.actor_every == 0:
            metrics |= self._update_actor(batch.feature)
        return metrics

    def _update_from_noise(self, batch: ChunkBatch) -> dict[str, float]:
        if batch.executed_noise is None:
            raise ValueError('dsrl: the batch has no executed_noise; keep it, or use the variant na')
        with torch.no_grad():
            noise, _ = self._steered(batch.next_feature)
            values = self.critics.target_values(batch.next_feature, noise[:, None])[..., 0]
        return self.critics.fit(replace(batch, action=batch.executed_noise), self.critics.smallest(values))

    def _update_from_chunks(self, batch: ChunkBatch) -> dict[str, float]:
        with torch.no_grad():
            noise, _ = self._steered(batch.next_feature)
            if self.decode is not None:
                chunk = self.decode(batch.next_feature, noise)
                values = self.critics.target_values(batch.next_feature, chunk[:, None])[..., 0]
                value = self.critics.smallest(values)
            else:  # what was distilled from the target critics says the same of noise
                value = self.noise_critics(batch.next_feature, noise[:, None].flatten(2)).mean(0)[:, 0]
        return {**self.critics.fit(batch, value), **self._distil(batch)}

    def _distil(self, batch: ChunkBatch) -> dict[str, float]:
        """The critics of the noise say of noise what the critics say of the chunk that comes of it."""
        if self.decode is not None:
            noise = self.draw(len(batch), 1, self.sizes.rows, self.sizes.actions)
            if self.config.repeat:
                noise = noise[:, :, :1].expand_as(noise)
            chunks = self.decode(batch.feature, noise[:, 0])[:, None]
        elif batch.noise is not None:
            noise, chunks = batch.noise, batch.candidates
        else:
            raise ValueError('dsrl: the batch has no noise of its candidates; keep it, or set decode')
        target = self.critics.target_values(batch.feature, chunks).mean(0)
        found = self.noise_critics(batch.feature, noise.flatten(2))
        loss = (found - target).square().mean((1, 2)).sum()
        done = self.step(self._noise_optimizer, loss, self.config.critic.clip)
        return {
            'distillation_loss': done['loss'] / self.noise_critics.members,
            'distillation_skipped': done['skipped'],
        }

    def _update_actor(self, feature: torch.Tensor) -> dict[str, float]:
        noise, log_prob = self._steered(feature)
        self.noise_critics.requires_grad_(False)
        value = self.noise_critics(feature, noise[:, None].flatten(2)).mean()
        self.noise_critics.requires_grad_(True)
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

    def require(self, horizon: int) -> None:
        """Raise ValueError naming what cannot be learned from recorded episodes, with the remedy."""
        if self.config.variant == 'sac':
            raise ValueError(
                'dsrl: episodes do not hold the noise that executed chunks came from, which the variant sac '
                'learns from, and a person has none; use the variant na'
            )
        if self.config.repeat:
            raise ValueError(
                'dsrl: candidates of recorded episodes are planned from noise of its own in every row, so '
                'nothing says what repeated noise makes; leave repeat false'
            )
        if self.sizes.rows != horizon:
            raise ValueError(
                f'dsrl: all {horizon} rows of a chunk come of all rows of its noise, but {self.sizes.rows} '
                f'are kept; set features.rows to 0 and windows.rows to {horizon}'
            )

    @torch.no_grad()
    def noise(
        self, feature: torch.Tensor, explore: bool = False, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Noise [B, C, A] to plan from; see :class:`~apprentice.learning.rl.base.Steering`."""
        drawn = None
        if explore:
            drawn = torch.randn(len(feature), self.actor.numbers, generator=generator).to(feature)
        return self._sample(feature, drawn)[0]

    @torch.no_grad()
    def choose(
        self,
        feature: torch.Tensor,
        candidates: torch.Tensor,
        explore: bool = False,
        generator: torch.Generator | None = None,
        fixed: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The best of ``candidates``, which were planned from :meth:`noise`; of one, that one.

        Several need the variant ``na``; in ``sac`` nothing judges chunks, and the first is taken.
        """
        if candidates.shape[1] == 1 or self.config.variant == 'sac':
            return candidates[:, 0]
        return pick(candidates, self.critics.values(feature, candidates).mean(0).argmax(1))
