# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Evidence of an episode from what was measured and seen in it: live, or again from a log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from apprentice.reward_models.monitor.cameras import camera_statistics, shrunk
from apprentice.reward_models.monitor.evidence import Evidence
from apprentice.robot.types import Episode, Outcome, Reward

_PICTURE = 16  # pixels, sides of the small picture that stands for an embedding where there is none
_SAMPLE_S = 0.5  # seconds between the frames that are looked at


@dataclass(frozen=True)
class JointRange:
    """A necessary condition of success: joint ``index`` between ``low`` and ``high`` (rad, gripper m)."""

    name: str
    index: int
    low: float
    high: float


@dataclass
class Seen:
    """What the robot saw and did in an episode.

    Attributes:
        stamps: [T] of the frames [s].
        frames: camera -> uint8 [T, H, W, 3].
        action_stamps, actions: [S], [S, dim], executed joint targets.
    """

    stamps: np.ndarray
    frames: Mapping[str, np.ndarray]
    action_stamps: np.ndarray
    actions: np.ndarray


def evidence_of(
    episode_id: str,
    text: str,
    rewards: Sequence[Reward],
    seen: Seen,
    gold: float = float('nan'),
    lower: np.ndarray | None = None,
    upper: np.ndarray | None = None,
    conditions: Sequence[JointRange] = (),
) -> Evidence:
    """Evidence of one episode as one reward model scored it.

    Args:
        rewards: of one model.
        gold: 1 success, 0 failure, NaN where no other source than the model said so.
        lower, upper: joint limits [dim].
        conditions: what must hold while success is claimed.
    """
    rewards = sorted(rewards, key=lambda reward: reward.t1)
    frames = {name: stack for name, stack in seen.frames.items() if len(stack)}
    pictures = None
    if frames and len(seen.stamps) > 1:
        flat = [
            np.stack([shrunk(frame, _PICTURE).reshape(-1) for frame in frames[name]])
            for name in sorted(frames)
        ]
        pictures = np.concatenate(flat, axis=1) / 255.0
    acted = len(seen.actions) > 0
    return Evidence(
        episode_id=episode_id,
        text=text,
        model=rewards[-1].model if rewards else '',
        version=rewards[-1].version if rewards else '',
        rewards=rewards,
        stamps=None if pictures is None else seen.stamps,
        embeddings=pictures,
        conditions=_conditions(rewards, seen, conditions) if acted else {},
        gold=gold,
        actions=seen.actions if acted else None,
        lower=lower,
        upper=upper,
        cameras={name: camera_statistics(stack) for name, stack in frames.items()},
    )


def evidence_of_episode(
    episode: Episode,
    model: str,
    labelled: bool,
    lower: np.ndarray | None = None,
    upper: np.ndarray | None = None,
    conditions: Sequence[JointRange] = (),
) -> Evidence:
    """Evidence of a logged episode, e.g. for a calibration set.

    Args:
        model: name of the reward model among ``episode.rewards``.
        labelled: whether the outcome comes from another source than this model.
    """
    every = 1
    if len(episode) > 1:
        every = max(1, round(_SAMPLE_S / float(np.median(np.diff(episode.stamps)))))
    chosen = np.arange(0, len(episode), every)
    seen = Seen(
        episode.stamps[chosen],
        {name: np.asarray(stack[chosen]) for name, stack in episode.images.items()},
        episode.stamps,
        episode.action,
    )
    gold = float('nan')
    if labelled and episode.outcome in (Outcome.SUCCESS, Outcome.FAILURE):
        gold = float(episode.outcome == Outcome.SUCCESS)
    rewards = [reward for reward in episode.rewards if reward.model == model]
    return evidence_of(episode.episode_id, episode.task, rewards, seen, gold, lower, upper, conditions)


def _conditions(
    rewards: Sequence[Reward], seen: Seen, conditions: Sequence[JointRange]
) -> dict[str, np.ndarray]:
    """Whether each condition holds at the samples at which the model speaks of success."""
    times = [r.t1 for r in rewards if r.valid and np.isfinite(r.done_prob)]
    if not times or not conditions:
        return {}
    rows = np.clip(np.searchsorted(seen.action_stamps, times, side='right') - 1, 0, len(seen.actions) - 1)
    at = seen.actions[rows]
    return {c.name: (at[:, c.index] >= c.low) & (at[:, c.index] <= c.high) for c in conditions}
