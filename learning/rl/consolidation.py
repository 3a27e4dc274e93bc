# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The flow learns what went well: how much weighted flow matching learns of each step, by the critics.

The policy's own steps weigh exp(advantage / temperature) - 1 (AWR, arXiv 1910.00177, less what a step without
advantage would weigh), the advantage being the value of what was executed over that of what the flow would
have done: to imitate what it does anyway only takes the place of what people taught. Without critics see
learning/advantage.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from apprentice.learning.guidance.accounting import BEFORE_TAKEOVER_S, before_takeover
from apprentice.learning.rl.base import ChunkBatch
from apprentice.learning.rl.buffer import ChunkBuffer
from apprentice.learning.rl.core import Critics
from apprentice.robot.settings import at_least, positive
from apprentice.robot.types import Episode, Outcome, Source


@dataclass(frozen=True)
class ConsolidationConfig:
    """Weights of executed steps.

    Attributes:
        temperature, ceiling, own: w = exp(advantage / temperature) - 1 + own, within 0 and the ceiling, for
            the policy in a success. ``own`` is the weight of what was as good as the policy's candidates: 1
            imitates whatever succeeded, 0 only what was better.
        human: weight of a person's steps in a success; human_failed: in another episode.
        before_takeover_s: the policy's steps so shortly before a takeover weigh nothing.
    """

    temperature: float = 0.3
    ceiling: float = 3.0
    own: float = 0.0
    human: float = 1.0
    human_failed: float = 1.0
    before_takeover_s: float = BEFORE_TAKEOVER_S

    def __post_init__(self) -> None:
        positive(self, 'temperature')
        at_least(self, 0, 'ceiling', 'own', 'human', 'human_failed', 'before_takeover_s')


@torch.no_grad()
def advantages(critics: Critics, batch: ChunkBatch) -> torch.Tensor:
    """Value of the executed chunk over the mean value of the candidates, [B]; means over the critics."""
    chunks = torch.cat([batch.action[:, None], batch.candidates], 1)
    values = critics.values(batch.feature, chunks).mean(0)
    return values[:, 0] - values[:, 1:].mean(1)


def episode_advantages(
    critics: Critics, buffer: ChunkBuffer, episode: Episode, session: str = ''
) -> np.ndarray:
    """Advantage of every step, float64 [T]; between the beginnings of windows it is linear, 0 without any.

    Raises KeyError for an episode that is not in the buffer.
    """
    start, batch = buffer.of(episode.episode_id, session)
    if not len(start):
        return np.zeros(len(episode))
    found = advantages(critics, batch).cpu().numpy().astype(np.float64)
    return np.interp(np.arange(len(episode)), start, found)


def consolidation_weights(
    episode: Episode, advantage: np.ndarray | None = None, config: ConsolidationConfig | None = None
) -> np.ndarray:
    """Weight of every step, float32 [T].

    Args:
        advantage: [T]; None: 0 everywhere, so that the policy's successful steps weigh ``own``.
    """
    config = config or ConsolidationConfig()
    success = episode.outcome == Outcome.SUCCESS
    human, policy = (episode.source == int(source) for source in (Source.HUMAN, Source.POLICY))
    weight = np.zeros(len(episode))
    if success:
        gain = np.zeros(len(episode)) if advantage is None else np.asarray(advantage, np.float64)
        # cut before exp, which would overflow
        highest = np.log(config.ceiling + 1) * config.temperature
        better = np.exp(np.minimum(gain, highest) / config.temperature) - 1
        weight[policy] = np.clip(better + config.own, 0, config.ceiling)[policy]
    weight[before_takeover(episode.stamps, episode.source, config.before_takeover_s)] = 0.0
    weight[human] = config.human if success else config.human_failed
    return weight.astype(np.float32)
