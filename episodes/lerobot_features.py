# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What an episode is as columns of a LeRobotDataset v3.0: one row a step of the policy's grid."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode, Outcome, RewardKind, Source

STATE, ACTION, IMAGES = 'observation.state', 'action', 'observation.images.'
SUCCESS, INTERVENTION, CONTROL, OUTCOME = 'next.success', 'intervention', 'control_source', 'outcome'
STAMP = 'observation.stamp_ns'
# LeRobot adds these to every dataset, in this order
INDEXES = {
    'timestamp': 'float32', 'frame_index': 'int64', 'episode_index': 'int64', 'index': 'int64',
    'task_index': 'int64',
}  # fmt: skip
_SINGLE = {
    'next.reward': 'float32', 'next.done': 'bool', SUCCESS: 'bool', INTERVENTION: 'bool', CONTROL: 'int64',
    OUTCOME: 'int64', STAMP: 'int64',
}  # fmt: skip


def reward_feature(model: str) -> str:
    """Column of a reward model's progress. LeRobot forbids slashes in names."""
    return f'reward.{re.sub(r"[^A-Za-z0-9_-]", "_", model)}.progress'


def features(spec: RobotSpec, models: Sequence[str], video: bool) -> dict[str, dict[str, Any]]:
    """``features`` of ``meta/info.json``: name -> {dtype, shape, names}, images as [H, W, 3].

    Args:
        models: reward models whose progress is kept.
        video: images are mp4 files; else PNG inside parquet.
    """
    vector = {'dtype': 'float32', 'shape': [spec.dim], 'names': list(spec.joint_names)}
    found: dict[str, dict[str, Any]] = {STATE: vector, ACTION: dict(vector)}
    for camera in spec.cameras:
        found[IMAGES + camera.name] = {
            'dtype': 'video' if video else 'image',
            'shape': [camera.height, camera.width, 3],
            'names': ['height', 'width', 'channels'],
        }
    single = {**_SINGLE, **{reward_feature(model): 'float32' for model in models}, **INDEXES}
    return found | {name: {'dtype': kind, 'shape': [1], 'names': None} for name, kind in single.items()}


def columns(episode: Episode, models: Sequence[str], fps: float) -> dict[str, np.ndarray]:
    """Everything but images and the indexes that depend on other episodes; [T] or [T, dim].

    ``next.*`` belong to the transition that begins at the frame: reward 1 and success at the last frame of a
    success, as HIL-SERL (arXiv:2410.21845) has it. ``control_source`` and ``outcome`` are the numbers of
    :class:`Source` and :class:`Outcome`; ``observation.stamp_ns`` is the time of capture on the
    robot's clock, because ``timestamp`` has to be frame_index / fps.
    """
    steps = len(episode)
    last = np.arange(steps) == steps - 1
    success = last & (episode.outcome == Outcome.SUCCESS)
    return {
        STATE: episode.state.astype(np.float32),
        ACTION: episode.action.astype(np.float32),
        'next.reward': success.astype(np.float32),
        'next.done': last,
        SUCCESS: success,
        INTERVENTION: episode.source == int(Source.HUMAN),
        CONTROL: episode.source.astype(np.int64),
        OUTCOME: np.full(steps, int(episode.outcome), np.int64),
        STAMP: np.rint(episode.stamps * 1e9).astype(np.int64),
        **{reward_feature(model): progress(episode, model, 1 / fps) for model in models},
        'timestamp': (np.arange(steps) / fps).astype(np.float32),
        'frame_index': np.arange(steps, dtype=np.int64),
    }


def progress(episode: Episode, model: str, period: float) -> np.ndarray:
    """A model's progress at the end of every step, float32 [T]: linear between its valid samples.

    NaN before its first one. Of one moment the highest revision counts.
    """
    samples = {
        reward.t1: progress_said(reward)
        for reward in sorted(episode.rewards, key=lambda reward: (reward.t1, reward.revision))
        if reward.model == model and reward.valid and np.isfinite(progress_said(reward))
    }
    if not samples:
        return np.full(len(episode), np.nan, np.float32)
    times = np.array(list(samples))
    values = np.interp(episode.stamps + period, times, list(samples.values()), left=np.nan)
    return values.astype(np.float32)


def progress_said(reward: Any) -> float:
    """How far the task is for a Reward or a RewardSample; NaN where it does not say.

    The simulator's truth, and a model of single frames, say it as their value.
    """
    plain = reward.kind == RewardKind.ABS_PROGRESS and not np.isfinite(reward.progress)
    return float(reward.value if plain or reward.kind == RewardKind.TRUTH else reward.progress)
