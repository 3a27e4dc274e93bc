# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Which rows of an episode can be learned from, and when so many are bad that learning must stop."""

from __future__ import annotations

import numpy as np

from apprentice.policies.spec import PolicySpec
from apprentice.robot.types import Episode

STOPPING_SHARE = 0.01
LIMIT = 20.0  # standard deviations; an action further out is a fault of a sensor or a unit


def sound_rows(episode: Episode, spec: PolicySpec, limit: float = LIMIT) -> np.ndarray:
    """Rows whose state and action are finite, the action within ``limit`` standard deviations, bool [T]."""
    state, action = np.asarray(episode.state, np.float64), np.asarray(episode.action, np.float64)
    with np.errstate(invalid='ignore'):
        target = action - np.where(spec.relative, state, 0.0)
        near = np.abs((target - spec.action.mean) / spec.action.std) <= limit
    return np.isfinite(state).all(1) & near.all(1)  # what is no number is in no range


def alarm(name: str, sound: np.ndarray) -> str:
    """Why learning must stop: more than 1 % of the rows [T] of an episode are bad; empty: it need not."""
    bad = int(np.sum(~sound))
    if bad <= STOPPING_SHARE * len(sound):
        return ''
    return (
        f'{name}: {bad} of {len(sound)} steps hold states or actions that are not finite or far '
        'out; quarantined. Look at the sensors and the log, then call learner/clear_alarm'
    )
