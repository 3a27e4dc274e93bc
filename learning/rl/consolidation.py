# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The flow learns what went well: weighted flow matching between episodes, and the fallback without critics.

With critics, the policy's own steps weigh exp(advantage / temperature) (AWR, arXiv 1910.00177), the advantage
being the value of what was executed over that of what the flow would have done. Without critics, RA-BC weighs
by the progress over a chunk (SARM, arXiv 2509.25358, equations 8 and 9, as LeRobot has them).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from apprentice.learning.guidance.accounting import BEFORE_TAKEOVER_S, before_takeover
from apprentice.learning.rl.base import ChunkBatch
from apprentice.learning.rl.buffer import ChunkBuffer
from apprentice.learning.rl.core import Critics
from apprentice.robot.types import Episode, Outcome, Source


@dataclass(frozen=True)
class ConsolidationConfig:
    """Weights of executed steps.

    Attributes:
        temperature, ceiling: w = min(exp(advantage / temperature), ceiling), for the policy in a success.
        human: weight of a person's steps in a success; human_failed: in another episode.
        before_takeover_s: the policy's steps so shortly before a takeover weigh nothing.
    """

    temperature: float = 0.3
    ceiling: float = 3.0
    human: float = 1.0
    human_failed: float = 0.0
    before_takeover_s: float = BEFORE_TAKEOVER_S


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
        advantage: [T]; None: 0 everywhere, so that the policy's successful steps weigh 1.
    """
    config = config or ConsolidationConfig()
    success = episode.outcome == Outcome.SUCCESS
    human, policy = (episode.source == int(source) for source in (Source.HUMAN, Source.POLICY))
    weight = np.zeros(len(episode))
    if success:
        gain = np.zeros(len(episode)) if advantage is None else np.asarray(advantage, np.float64)
        # cut before exp, which would overflow
        highest = np.log(config.ceiling) * config.temperature
        weight[policy] = np.exp(np.minimum(gain, highest) / config.temperature)[policy]
    weight[before_takeover(episode.stamps, episode.source, config.before_takeover_s)] = 0.0
    weight[human] = config.human if success else config.human_failed
    return weight.astype(np.float32)


@dataclass(frozen=True)
class ProgressGain:
    """What is gained over a chunk, over many episodes: mean and standard deviation."""

    mean: float
    std: float

    @classmethod
    def of(cls, potentials: Iterable[np.ndarray], horizon: int) -> ProgressGain:
        """From the potentials [T] of episodes. Raises ValueError without any."""
        gains = [progress_gain(phi, horizon) for phi in potentials if len(phi)]
        if not gains:
            raise ValueError('no episode has a potential; RA-BC needs a reward model that reports progress')
        together = np.concatenate(gains)
        return cls(float(together.mean()), float(together.std()))


def progress_gain(phi: np.ndarray, horizon: int) -> np.ndarray:
    """Phi_{t + horizon} - Phi_t, float64 [T]; after the end the potential stays."""
    phi = np.asarray(phi, np.float64)
    return phi[np.minimum(np.arange(len(phi)) + horizon, len(phi) - 1)] - phi


def rabc_weights(phi: np.ndarray, horizon: int, gain: ProgressGain, kappa: float = 0.01) -> np.ndarray:
    """RA-BC: weight of every step, float32 [T].

    1 where more than ``kappa`` is gained, 0 where something is lost; in between the gain's place between two
    standard deviations below the mean and two above it.
    """
    found = progress_gain(phi, horizon)
    soft = np.clip((found - (gain.mean - 2 * gain.std)) / (4 * gain.std + 1e-6), 0.0, 1.0)
    return np.where(found > kappa, 1.0, np.where(found >= 0, soft, 0.0)).astype(np.float32)


def progress_weights(
    episode: Episode, phi: np.ndarray, horizon: int, gain: ProgressGain, kappa: float = 0.01
) -> np.ndarray:
    """:func:`rabc_weights` of the steps that the policy or a person drove; the others weigh nothing."""
    driven = np.isin(episode.source, (int(Source.POLICY), int(Source.HUMAN)))
    return rabc_weights(phi, horizon, gain, kappa) * driven
