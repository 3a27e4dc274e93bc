# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a recording, found in its stamps, joint positions and images. Plain numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

KINDS = (
    'unreadable', 'unfinished', 'no end', 'label missing', 'topic missing', 'time gap', 'clock jump',
    'camera silent', 'frozen camera', 'joint jump', 'not finite', 'frame count', 'too short',
)  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """Something wrong with an episode: its kind, one of KINDS, and where."""

    episode: str
    kind: str
    text: str


@dataclass(frozen=True)
class CheckSettings:
    """When something counts as wrong.

    Attributes:
        gap_s: between messages of a stream, beyond three periods of it.
        frozen_s: so long the same picture while the robot moves.
        moving: so far a joint has to move meanwhile (rad, m).
        jump: joint speed as a multiple of the limit in the robot file.
        shortest_s: of an episode.
    """

    gap_s: float = 0.2
    frozen_s: float = 1.0
    moving: float = 0.05
    jump: float = 3.0
    shortest_s: float = 0.5


def gaps(stamps: np.ndarray, period_s: float, settings: CheckSettings) -> list[str]:
    """Times [s] without a message in a stream of ``period_s``; stamps int64 [N] ns, sorted."""
    limit = max(settings.gap_s, 3 * period_s)
    steps = np.diff(stamps) * 1e-9
    found = np.flatnonzero(steps > limit)
    origin = stamps[0] if len(stamps) else 0
    return [f'{steps[i]:.2f} s without a message from {(stamps[i] - origin) * 1e-9:.2f} s on' for i in found]


def clock_jumps(stamps: np.ndarray, sequence: np.ndarray, period_s: float) -> list[str]:
    """Jumps of the clock: stamps that go back, or leap although no message is missing.

    Args:
        stamps: int64 [N] ns, in the order of arrival.
        sequence: int64 [N], counted by the sender.
    """
    steps, counted = np.diff(stamps) * 1e-9, np.diff(sequence)
    back = np.flatnonzero((steps < -1e-6) & (counted > 0))
    leaps = np.flatnonzero((counted == 1) & (steps > max(0.5, 10 * period_s)))
    found = [f'the clock went back by {-steps[i]:.2f} s' for i in back]
    return found + [f'the clock leapt by {steps[i]:.2f} s although no message is missing' for i in leaps]


def frozen(
    same: np.ndarray, stamps: np.ndarray, moved: np.ndarray, moved_stamps: np.ndarray, settings: CheckSettings
) -> list[str]:
    """Stretches of the same picture while the robot moves.

    Args:
        same: bool [N], frame i equals frame i - 1; the first is False.
        stamps: int64 [N] ns of the frames.
        moved: float [M, dim] joint positions at ``moved_stamps`` int64 [M] ns.
    """
    found: list[str] = []
    if not len(same):
        return found
    origin = stamps[0]
    begins = np.flatnonzero(~same)
    for begin, end in zip(begins, np.append(begins[1:], len(same)) - 1):
        seconds = (stamps[end] - stamps[begin]) * 1e-9
        if seconds < settings.frozen_s:
            continue
        inside = moved[(moved_stamps >= stamps[begin]) & (moved_stamps <= stamps[end])]
        if len(inside) and np.max(np.ptp(inside, axis=0)) > settings.moving:
            found.append(
                f'the same picture for {seconds:.2f} s from {(stamps[begin] - origin) * 1e-9:.2f} s on, '
                'while the robot moves'
            )
    return found


def joint_jumps(
    positions: np.ndarray,
    stamps: np.ndarray,
    names: Sequence[str],
    velocity: np.ndarray | None,
    settings: CheckSettings,
) -> list[str]:
    """Joints that are measured faster than they can be.

    Args:
        positions: float [N, dim] at ``stamps`` int64 [N] ns.
        velocity: float [dim] limits; None: a jump is one that is taken back in the next step, larger than ten
            times the 90th percentile of the steps and 0.2; a gripper may close within a step.
    """
    if len(positions) < 3:
        return []
    steps = np.abs(np.diff(positions, axis=0))
    seconds = np.maximum(np.diff(stamps) * 1e-9, 1e-3)[:, None]
    if velocity is None:
        large = steps > np.maximum(10 * np.quantile(steps, 0.9, axis=0), 0.2)
        back = np.diff(np.diff(positions, axis=0), axis=0)
        wrong = large.copy()
        wrong[:-1] &= np.abs(back) > 1.5 * steps[:-1]
        wrong[-1] = False
    else:
        wrong = steps > settings.jump * velocity * seconds + 1e-3
    found = []
    for joint in map(int, np.flatnonzero(wrong.any(0))):
        first = int(np.argmax(wrong[:, joint]))
        found.append(
            f'{names[joint]} jumps by {steps[first, joint]:.3f} within {seconds[first, 0] * 1000:.0f} ms at '
            f'{(stamps[first] - stamps[0]) * 1e-9:.2f} s ({int(wrong[:, joint].sum())} times)'
        )
    return found


def not_finite(values: np.ndarray, what: str) -> list[str]:
    """Rows of NaN or infinity in float [N, dim]."""
    wrong = int(np.sum(~np.all(np.isfinite(values), axis=1)))
    return [f'{wrong} of {len(values)} rows of {what} hold NaN or infinity'] if wrong else []
