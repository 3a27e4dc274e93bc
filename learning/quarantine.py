# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Which rows of an episode can be learned from, and when so many are bad that learning must stop."""

from __future__ import annotations

import numpy as np

from apprentice.policies.spec import PolicySpec
from apprentice.robot.types import Episode

STOPPING_SHARE = 0.01
LIMIT = 20.0  # standard deviations; a target further out would outweigh everything else in a loss
TURN = 2 * np.pi  # rad; no joint is told to go so far within a step: a fault of a sensor or a unit


def sound_rows(episode: Episode, spec: PolicySpec, limit: float = LIMIT) -> np.ndarray:
    """Rows to learn from: state and action finite, the action within ``limit`` standard deviations, bool [T].

    A row that is not is no fault: a person may move a joint that the demonstrations hardly moved.
    """
    return np.isfinite(np.asarray(episode.state)).all(1) & (_deviations(episode, spec) <= limit).all(1)


def faulty_rows(episode: Episode, spec: PolicySpec, limit: float = LIMIT) -> np.ndarray:
    """Rows that no arm makes, bool [T]: not finite, or further out than ``limit`` and than a whole turn."""
    apart = _deviations(episode, spec)
    possible = (apart <= limit) | (apart * spec.action.std <= TURN)
    return ~(np.isfinite(np.asarray(episode.state)).all(1) & possible.all(1))


def _deviations(episode: Episode, spec: PolicySpec) -> np.ndarray:
    """Of the (relative) actions from their mean, in standard deviations [T, dim]; NaN is in no range."""
    state, action = np.asarray(episode.state, np.float64), np.asarray(episode.action, np.float64)
    with np.errstate(invalid='ignore'):
        target = action - np.where(spec.relative, state, 0.0)
        return np.abs((target - spec.action.mean) / spec.action.std)


def alarm(name: str, faulty: np.ndarray) -> str:
    """Why learning must stop: more than 1 % of the rows [T] of an episode are faulty; empty: it need not."""
    bad = int(np.sum(faulty))
    if bad <= STOPPING_SHARE * len(faulty):
        return ''
    return (
        f'{name}: {bad} of {len(faulty)} steps hold states or actions that are not finite or far '
        'out; quarantined. Look at the sensors and the log, then call learner/clear_alarm'
    )
