# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Q-chunking: the best of N chunks of a frozen flow, by critics on chunks; no actor is trained.

Li et al., arXiv 2507.07969. The same choice is made in rollouts and in the target, so the critics learn the
value of what will be done.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from apprentice.learning.rl.base import ChunkBatch
from apprentice.learning.rl.core import CriticConfig, Training


@dataclass(frozen=True)
class QChunkingConfig:
    """Settings.

    Attributes:
        candidates: of those in a batch, how many the target looks at; 0: all.
        epsilon: share of explored steps that take any candidate.
    """

    critic: CriticConfig = field(default_factory=CriticConfig)
    candidates: int = 0
    epsilon: float = 0.0


class QChunking(Training):
    """See the module's text; an :class:`~apprentice.learning.rl.base.Algorithm`."""

    Config = QChunkingConfig
    config: QChunkingConfig

    def build(self) -> None:
        self.critics = self.make_critics(self.config.critic)

    def update(self, batch: ChunkBatch) -> dict[str, float]:
        """One critic step."""
        batch = self.mine(batch)
        following = batch.next_candidates
        if self.config.candidates:
            following = following[:, : self.config.candidates]
        metrics = self.critics.fit(batch, self.critics.best_of(batch.next_feature, following))
        self.steps += 1
        return metrics

    @torch.no_grad()
    def choose(
        self,
        feature: torch.Tensor,
        candidates: torch.Tensor,
        explore: bool = False,
        generator: torch.Generator | None = None,
        fixed: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The candidate with the highest mean value."""
        best = self.critics.values(feature, candidates).mean(0).argmax(1)
        if explore:
            best = any_of(best, candidates.shape[1], self.config.epsilon, generator)
        return pick(candidates, best)


def pick(chunks: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
    """One chunk of each row: [B, N, C, A] and int [B] to [B, C, A]."""
    return chunks[torch.arange(len(chunks), device=chunks.device), which]


def any_of(
    best: torch.Tensor, count: int, epsilon: float, generator: torch.Generator | None = None
) -> torch.Tensor:
    """``best`` int [B], but in a share ``epsilon`` of the rows any of the first ``count``."""
    explored = torch.rand(best.shape, generator=generator) < epsilon
    other = torch.randint(count, best.shape, generator=generator)
    return torch.where(explored.to(best.device), other.to(best.device), best)
