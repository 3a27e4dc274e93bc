# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""How much each executed step is worth imitating: people's help is good, progress is good, failure is not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apprentice.robot.types import Episode, Outcome, Reward, RewardKind, Source


@dataclass(frozen=True)
class AdvantageConfig:
    """Weights of advantage-weighted imitation.

    Attributes:
        temperature: w = exp(advantage / temperature) for the policy's own steps.
        ceiling: largest weight.
        before_takeover_s: steps so shortly before a takeover count against the policy (weight 0).
        human_failed: weight of a person's steps in an episode that failed.
        model: reward model whose progress is used; empty takes any that reports progress.
    """

    temperature: float = 0.3
    ceiling: float = 3.0
    before_takeover_s: float = 1.5
    human_failed: float = 0.5
    model: str = ''


def potential(episode: Episode, model: str = '') -> np.ndarray | None:
    """Progress at every step, float64 [T] in [0, 1], linear between the valid samples; None without samples.

    The simulator's truth is never used. A successful end counts as 1, whatever the model says there.
    """
    samples = sorted(
        (r.t1, progress)
        for r in episode.rewards
        if r.valid
        and r.kind in (RewardKind.PROGRESS_DELTA, RewardKind.ABS_PROGRESS)
        and (not model or r.model == model)
        and np.isfinite(progress := _progress(r))
    )
    if not samples or not len(episode):
        return None
    times, values = np.array(samples).T
    if episode.outcome == Outcome.SUCCESS:
        end = episode.stamps[-1]
        keep = times < end
        times, values = np.append(times[keep], end), np.append(values[keep], 1.0)
    return np.clip(np.interp(episode.stamps, times, values), 0.0, 1.0)


def _progress(reward: Reward) -> float:
    """The accumulated progress of a sample; a single-frame progress model reports it as its value."""
    if reward.kind == RewardKind.ABS_PROGRESS and not np.isfinite(reward.progress):
        return reward.value
    return reward.progress


def step_weights(episode: Episode, horizon: int, config: AdvantageConfig | None = None) -> np.ndarray:
    """Imitation weight of every step, float32 [T].

    The advantage of a step is the progress over the following ``horizon`` steps less its mean over the
    policy's steps of the episode. Without a progress measurement it is 0, so outcome and takeovers decide.
    """
    config = config or AdvantageConfig()
    length = len(episode)
    human = episode.source == int(Source.HUMAN)
    success = episode.outcome == Outcome.SUCCESS
    weight = np.zeros(length)
    if success:
        phi = potential(episode, config.model)
        advantage = np.zeros(length)
        driven = episode.source == int(Source.POLICY)
        if phi is not None and np.any(driven):
            gain = phi[np.minimum(np.arange(length) + horizon, length - 1)] - phi
            advantage = gain - gain[driven].mean()
        weight = np.minimum(np.exp(advantage / config.temperature), config.ceiling)
    begins = np.flatnonzero(human & ~np.append(False, human[:-1]))
    for begin in begins:
        stamp = episode.stamps[begin]
        weight[(episode.stamps < stamp) & (episode.stamps >= stamp - config.before_takeover_s)] = 0.0
    weight[human] = 1.0 if success else config.human_failed
    # holding and resetting are nobody's intention
    somebody = human | (episode.source == int(Source.POLICY))
    return (weight * somebody).astype(np.float32)
