# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Recorded episodes that are easy to tell apart: the better they go, the brighter their pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from apprentice.episodes.episode_writer import write_episode
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode, Outcome, Reward, RewardKind, Source

SPEC = RobotSpec.load(share('robots', 'sim_arm.yaml'))
ROBOT_FILE = share('robots', 'sim_arm.yaml').read_text()


def make(
    number: int, length: int = 30, claim: float = float('nan'), margin: float = 0.5, **changes
) -> Episode:
    """Progress rises evenly to a level of the number's; ``claim``: what a critic says at the end."""
    rng = np.random.default_rng(number)
    level = 0.2 + 0.1 * (number % 8)
    progress = np.linspace(0, level, length)
    pictures = np.clip(40 + 200 * progress, 0, 255).astype(np.uint8)[:, None, None, None]
    noise = rng.integers(0, 12, (length, 64, 64, 3), dtype=np.uint8)
    state = (SPEC.vector('home') + rng.normal(0, 0.02, (length, SPEC.dim)).cumsum(0) * 0.2).astype(np.float32)
    state = np.clip(state, SPEC.vector('lower'), SPEC.vector('upper')).astype(np.float32)
    stamps = 100.0 * (number + 1) + SPEC.action_dt * np.arange(length)
    done = bool(level >= 0.6)
    rewards = [
        Reward(t, t, RewardKind.TRUTH, p, p, float(done and i > length - 3), model='simulator')
        for i, (t, p) in enumerate(zip(stamps.tolist(), progress.tolist(), strict=True))
    ]
    if np.isfinite(claim):
        last = float(stamps[-1])
        rewards.append(
            Reward(
                last - 1, last, RewardKind.ABS_PROGRESS, claim, claim, claim, model='critic', margin=margin
            )
        )
    values = {
        'episode_id': f'run-{number:05d}',
        'task': 'pick up the red cube',
        'seed': number,
        'outcome': Outcome.SUCCESS if done else Outcome.FAILURE,
        'end_cause': 2 if done else 3,
        'eval_only': False,
        'stamps': stamps,
        'images': {camera.name: pictures + noise // 4 for camera in SPEC.cameras},
        'state': state,
        'action': state,
        'source': np.full(length, int(Source.POLICY), np.uint8),
        'takeover_id': np.zeros(length, np.int64),
        'rewards': rewards,
        'robot': SPEC.name,
    }
    return Episode(**{**values, **changes})


def record(folder: Path, episodes: list[Episode]) -> Path:
    """Write them as the recorder would have; returns the run folder."""
    for episode in episodes:
        write_episode(folder / 'episodes', episode, SPEC, ROBOT_FILE)
    return folder
