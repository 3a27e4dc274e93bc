# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Rates, jitter and latency from stamps. The rows are those of nodes/probe.py."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from apprentice.robot.types import Source

Numbers = dict[str, Any]


def spread(values: Sequence[float] | np.ndarray, scale: float = 1.0) -> Numbers:
    """p50, p99, largest value and number of ``values``, times ``scale``; without values only the number."""
    data = np.asarray(values, float) * scale
    if not len(data):
        return {'count': 0}
    p50, p99 = np.percentile(data, (50, 99))
    return {'p50': float(p50), 'p99': float(p99), 'max': float(data.max()), 'count': len(data)}


def intervals(stamps: Sequence[float], period: float) -> Numbers:
    """Rate [1/s] and missed periods of a periodic signal, and the deviation of its intervals [ms]."""
    gaps = np.diff(np.unique(np.asarray(stamps, float)))
    if not len(gaps):
        return {'received': len(stamps)}
    return {
        'received': len(stamps),
        'hz': 1.0 / float(np.mean(gaps)),
        'missed': int(np.sum(np.where(gaps > 1.5 * period, np.rint(gaps / period) - 1, 0))),
        'interval_ms': spread(gaps, 1e3),
        'jitter_ms': spread(np.abs(gaps - period), 1e3),
    }


def chunk_rate(chunks: Sequence[Sequence[float]]) -> Numbers:
    """Rate [1/s] while planning goes on, and latency [ms], of rows [stamp, received, seq, epoch, latency]."""
    gaps = [b[0] - a[0] for a, b in pairwise(chunks) if a[3] == b[3] and b[2] == a[2] + 1]
    return {
        'count': len(chunks),
        'hz': 1.0 / float(np.mean(gaps)) if gaps else float('nan'),
        'interval_ms': spread(gaps, 1e3),
        'latency_ms': spread([c[4] for c in chunks], 1e3),
    }


def camera_to_command(chunks: Sequence[Sequence[float]], executed: Sequence[Sequence[float]]) -> Numbers:
    """From capture of the image a chunk was planned from to its first control step [ms]."""
    first: dict[int, float] = {}
    for row in executed:
        if row[3]:
            first.setdefault(int(row[3]), row[0])
    return spread([first[int(c[2])] - c[0] for c in chunks if int(c[2]) in first], 1e3)


def takeover_latency(takeovers: Sequence[Sequence[float]], executed: Sequence[Sequence[float]]) -> Numbers:
    """From the press to the first control step that follows the person [ms]; presses without one left out."""
    human = np.array([row[0] for row in executed if row[4] == Source.HUMAN])
    found = []
    for asked, _ in takeovers:
        after = human[human >= asked]
        if len(after) and after[0] - asked < 2.0:
            found.append(after[0] - asked)
    return spread(found, 1e3)


def lockstep_shares(executed: Sequence[Sequence[float]], frames: Sequence[float]) -> Numbers:
    """Speed of simulated time, and wall time by what each control step had to wait for.

    A step is a *plan* if it is the first of its chunk, a *frame* if a camera image was due at it, else
    *plain*; the wall time of a step is what passed since the step before. Only while episodes run.
    """
    due = {round(stamp * 1e3) for stamp in frames}
    wall: dict[str, list[float]] = {'plan': [], 'human': [], 'frame': [], 'plain': []}
    robot = 0.0
    for before, row in pairwise(executed):
        if not (before[5] and row[5]) or row[0] <= before[0]:
            continue
        if row[3] and row[3] != before[3]:
            kind = 'plan'
        elif row[4] == Source.HUMAN:
            kind = 'human'
        else:
            kind = 'frame' if round(row[0] * 1e3) in due else 'plain'
        wall[kind].append(row[1] - before[1])
        robot += row[0] - before[0]
    total, steps = sum(map(sum, wall.values())), sum(map(len, wall.values()))
    if not total:
        return {'steps': 0}
    return {
        'steps': steps,
        'steps_per_wall_s': steps / total,
        'real_time_factor': robot / total,
        'wall_ms': {k: {**spread(v, 1e3), 'share': sum(v) / total} for k, v in wall.items()},
    }
