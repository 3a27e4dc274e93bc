# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A golden buffer of a made-up pick, fast to compute, and programs that are good and bad at it."""

from __future__ import annotations

import json

import numpy as np

from apprentice.reward_models.programs.admission import GoldenEpisode, with_ranges
from apprentice.reward_models.programs.folder import Written
from apprentice.reward_models.programs.task import RewardTask, described

INSTRUCTION = 'pick up the red cube'
UPRIGHT = np.array([1.0, 0, 0, 0])


def golden(seed: int = 0, count: int = 12, steps: int = 30) -> list[GoldenEpisode]:
    """In turns: the hand reaches and lifts; it stops half-way; it goes away."""
    rng, found = np.random.default_rng(seed), []
    for number in range(count):
        label = ('success', 'near_miss', 'failure')[number % 3]
        cube = np.array([*rng.uniform((0.2, -0.13), (0.36, 0.13)), 0.02])
        start = np.array([0.28, 0.0, 0.2]) + rng.uniform(-0.03, 0.03, 3)
        share = np.linspace(0, {'success': 1, 'near_miss': 0.75, 'failure': -0.5}[label], steps)[:, None]
        tip, cubes = start + share * (cube - start), np.tile(cube, (steps, 1))
        if label == 'success':
            lift = np.linspace(0, 0.12, steps)[:, None] * np.array([0, 0, 1.0])
            tip, cubes = np.concatenate([tip, cube + lift]), np.concatenate([cubes, cube + lift])
        turn = np.tile(UPRIGHT, (len(tip), 1))
        time = 0.1 * np.arange(len(tip))[:, None]
        state = {'tip': np.hstack([tip, turn]), 'cube_red': np.hstack([cubes, turn]), 'time': time}
        found.append(GoldenEpisode(label, state))
    return found


def written(source: str | list, form: str = 'python', bounds=(-10.0, 10.0), buffer=None) -> Written:
    """A program for the made-up pick, with the ranges of the golden buffer."""
    buffer = buffer or golden()
    examples = {name: np.concatenate([e.state[name] for e in buffer]) for name in buffer[0].state}
    text = source if isinstance(source, str) else json.dumps(source)
    return with_ranges(Written(form, text, RewardTask(INSTRUCTION, described(examples)), bounds), buffer)


TERMS = [
    {'residual': 'distance', 'of': ['tip', 'cube_red'], 'weight': 2},
    {'residual': 'height', 'of': ['cube_red'], 'target': 0.14, 'weight': 5},
]
GOOD = """
def reward(state, previous):
    gap = np.linalg.norm(state['tip'][:, :3] - state['cube_red'][:, :3], axis=1)
    reach = np.exp(-gap / 0.1)
    lift = 5.0 * np.clip((state['cube_red'][:, 2] - 0.02) / 0.1, 0, 1)
    return reach + lift, {'reach': reach, 'lift': lift}
"""
# each is good but for one thing
BAD = {
    'finite': GOOD.replace('return reach + lift', "return np.log(state['time'][:, 0]) + reach"),
    'shape': GOOD.replace('return reach + lift', 'return reach - reach.mean()'),
    'bounded': GOOD.replace('return reach + lift', 'return 100 * (reach + lift)'),
    'time_shift': GOOD.replace('return reach + lift', "return reach + lift - 0.01 * state['time'][:, 0]"),
    'ordering': GOOD.replace('return reach + lift', 'return -reach - lift'),
    'slow': GOOD.replace(
        'return', 'for i in range(1000):\n        reach = reach + 0 * np.sort(lift)\n    return'
    ),
}
