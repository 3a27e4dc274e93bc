# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""FlowEdit: candidates of a frozen flow, small bounded edits of them, and critics that choose; the default.

After EXPO (arXiv 2507.07986): no gradient of a value ever enters the flow, and the same choice is made in
rollouts and in targets. With an edit scale of 0 it is Q-chunking. A person's chunks attract the edits of the
candidates next to them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from apprentice.learning.rl.base import ChunkBatch
from apprentice.learning.rl.core import CriticConfig, Training, adam
from apprentice.learning.rl.networks import perceptron, single
from apprentice.learning.rl.q_chunking import any_of, pick


@dataclass(frozen=True)
class FlowEditConfig:
    """Settings.

    Attributes:
        candidates: of those in a batch, how many the target looks at; 0: all.
        scale: largest edit of one number of a chunk, in standard deviations of the action.
        sigma: noise of the edits before they are bounded, in training.
        limit: chunks are cut to this, in standard deviations.
        epsilon: share of explored steps that take any candidate.
        edit_every: critic updates for one of the edits.
        warm_up: critic updates before the edits are trained and used.
        near, near_end: weight of the squared size of an edit, in units of ``scale``, first and after
            ``near_updates`` updates of the edits.
        human: weight of the squared distance to what a person did.
    """

    critic: CriticConfig = field(default_factory=CriticConfig)
    candidates: int = 0
    scale: float = 0.1
    sigma: float = 0.2
    limit: float = 5.0
    epsilon: float = 0.1
    hidden: tuple[int, ...] = (256, 256)
    learning_rate: float = 3e-4
    edit_every: int = 20
    warm_up: int = 1000
    near: float = 1.0
    near_end: float = 0.1
    near_updates: int = 2000
    human: float = 2.0

    def __post_init__(self):
        if self.scale < 0 or self.limit <= 0 or self.edit_every < 1:
            raise ValueError('flow edit: give scale >= 0, limit > 0 and edit_every >= 1')


class FlowEdit(Training):
    """See the module's text; an :class:`~apprentice.learning.rl.base.Algorithm`."""

    Config = FlowEditConfig
    config: FlowEditConfig

    def build(self) -> None:
        config, sizes, g = self.config, self.sizes, self.generator
        self.critics = self.make_critics(config.critic)
        inputs = sizes.feature + sizes.chunk
        self.editor = perceptron(inputs, config.hidden, sizes.chunk, generator=g).to(self.device)
        with torch.no_grad():  # the first edits are almost none
            self.editor.weights[-1].mul_(0.01)
            self.editor.biases[-1].zero_()
        self._optimizer = adam(self.editor, config.learning_rate)
        self.keep('editor', self.editor, self._optimizer)

    @property
    def editing(self) -> bool:
        """Whether the edits are in use."""
        return self.config.scale > 0 and self.steps > self.config.warm_up

    def edit(
        self, feature: torch.Tensor, chunks: torch.Tensor, noise: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Edited ``chunks`` [B, N, C, A]: clip(a + scale * tanh(mu(z, a) + sigma * noise))."""
        config, flat = self.config, chunks.flatten(2)
        seen = feature[:, None].expand(-1, flat.shape[1], -1)
        mu = single(self.editor, torch.cat([seen, flat], -1).flatten(0, 1)).view_as(chunks)
        if noise is not None:
            mu = mu + config.sigma * noise
        return (chunks + config.scale * torch.tanh(mu)).clamp(-config.limit, config.limit)

    def update(self, batch: ChunkBatch) -> dict[str, float]:
        """One critic step, and now and then one of the edits."""
        batch = self.mine(batch)
        config, following = self.config, batch.next_candidates
        if config.candidates:
            following = following[:, : config.candidates]
        with torch.no_grad():
            if self.editing:
                edited = self.edit(batch.next_feature, following, self.draw(*following.shape))
                following = torch.cat([following, edited], 1)
            value = self.critics.best_of(batch.next_feature, following)
        metrics = self.critics.fit(batch, value)
        self.steps += 1
        if self.editing and self.steps % config.edit_every == 0:
            metrics |= self._update_edit(batch)
        return metrics

    def _update_edit(self, batch: ChunkBatch) -> dict[str, float]:
        config = self.config
        count = batch.candidates.shape[1]
        drawn = self.draw_index(count, len(batch))
        # a person's chunk says something about the candidate it is next to, not about another mode
        rows = batch.valid[:, None, :, None]
        apart = ((batch.candidates - batch.action[:, None]).square() * rows).sum((2, 3))
        chunk = pick(batch.candidates, torch.where(batch.human, apart.argmin(1), drawn))
        edited = self.edit(batch.feature, chunk[:, None], self.draw(len(batch), 1, *chunk.shape[1:]))
        self.critics.online.requires_grad_(False)
        value = self.critics.values(batch.feature, edited).mean()
        self.critics.online.requires_grad_(True)
        done = (self.steps - config.warm_up) / config.edit_every / max(config.near_updates, 1)
        near = config.near + (config.near_end - config.near) * min(done, 1.0)
        size = ((edited[:, 0] - chunk) / config.scale).square().mean()
        valid = batch.valid[..., None].expand_as(chunk) * batch.human[:, None, None]
        away = ((edited[:, 0] - batch.action).square() * valid).sum() / (len(batch) * self.sizes.chunk)
        loss = -value + near * size + config.human * away
        done_step = self.step(self._optimizer, loss, config.critic.clip)
        return {
            'edit_loss': done_step['loss'],
            'edit_value': float(value.detach()),
            'edit_size': float(size.detach()) ** 0.5,
            'edit_skipped': done_step['skipped'],
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
        """The candidate or edit with the highest mean value."""
        chunks = candidates
        if self.editing:
            noise = torch.randn(candidates.shape, generator=generator).to(candidates) if explore else None
            edited = self.edit(feature, candidates, noise)
            if fixed is not None:
                edited = candidates.where(fixed[:, None, :, None], edited)
            chunks = torch.cat([candidates, edited], 1)
        best = self.critics.values(feature, chunks).mean(0).argmax(1)
        if explore:
            best = any_of(best, candidates.shape[1], self.config.epsilon, generator)
        return pick(chunks, best)
