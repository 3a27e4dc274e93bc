# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Episodes for the small policy, with a driver and a progress for every step."""

from __future__ import annotations

import numpy as np

from apprentice.robot.types import Episode, Outcome, Reward, RewardKind, Source

DRIVERS = {'p': Source.POLICY, 'h': Source.HUMAN, 'x': Source.HOLD, 'n': Source.NONE}


def episode(
    drivers: str,
    outcome: Outcome = Outcome.SUCCESS,
    progress: list[float] | None = None,
    cause: int = 2,
    name: str = 'e',
    seed: int = 0,
    **changes,
) -> Episode:
    """A letter of ``drivers`` a step of 0.1 s: p policy, h human, x hold, n nobody."""
    length, rng = len(drivers), np.random.default_rng(seed)
    stamps = 5.0 + 0.1 * np.arange(length)
    state = rng.normal(0.3, 0.3, (length, 3)).astype(np.float32)
    values = {
        'episode_id': name,
        'task': 'pick up the red cube',
        'seed': seed,
        'outcome': outcome,
        'end_cause': cause,
        'eval_only': False,
        'stamps': stamps,
        'images': {
            'front': rng.integers(0, 256, (length, 32, 32, 3), np.uint8),
            'wrist': rng.integers(0, 256, (length, 16, 16, 3), np.uint8),
        },
        'state': state,
        'action': state + rng.normal(0, 0.1, (length, 3)).astype(np.float32),
        'source': np.array([int(DRIVERS[d]) for d in drivers], np.uint8),
        'takeover_id': np.zeros(length, np.int64),
        'rewards': measured(stamps, progress or []),
        'robot': 'small',
        'weights_version': 3,
    }
    return Episode(**{**values, **changes})


def measured(stamps: np.ndarray, progress: list[float]) -> list[Reward]:
    """Progress reported at the first stamps."""
    return [
        Reward(t, t, RewardKind.PROGRESS_DELTA, 0.0, progress=p, model='critic')
        for t, p in zip(stamps, progress, strict=False)
    ]
