# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The dashboard's curves: reward and progress of the current episode, and when a person drove."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

from apprentice_interfaces.msg import ControlState, EpisodeState, RewardSample

from apprentice.nodes.convert import seconds

MAX_POINTS = 3000


def points_of(message: RewardSample) -> dict[str, float]:
    """What of a sample is drawn: curve name -> number; also for samples read from a log."""
    model = message.model or 'reward'
    progress, value = message.progress, message.value
    if message.kind in (RewardSample.ABS_PROGRESS, RewardSample.TRUTH):
        # one measurement, maybe given twice
        progress, value = progress if math.isfinite(progress) else value, math.nan
    found = {f'{model} progress': progress, f'{model} value': value}
    return {key: round(float(number), 4) for key, number in found.items() if math.isfinite(number)}


class Curves:
    """Reward and progress of the current episode, and when a person drove; read in increments.

    Times leave here in seconds since the episode began. Without an episode node the curve begins at
    the first sample and keeps the newest part.
    """

    def __init__(self) -> None:
        self._key: tuple[str, float] | None = None
        self._origin: float | None = None
        self._series: dict[str, list[tuple[float, float]]] = {}
        self._taken: dict[str, int] = {}
        self._spans: list[tuple[float, float | None]] = []  # stamps; the last one may be open
        self._early: deque[RewardSample] = deque(maxlen=256)
        self._spans_changed = self._reset = True

    def episode(self, message: EpisodeState) -> None:
        """Begin again when an episode begins; until then the last one stays visible."""
        started = seconds(message.started)
        if started <= 0 or (message.episode_id, started) == self._key:
            return
        self._key, self._origin = (message.episode_id, started), started
        self._clear()
        self._spans = [span for span in self._spans if span[1] is None or span[1] > started]
        early, self._early = list(self._early), deque(maxlen=256)
        for sample in early:  # topics are not ordered: samples may come before the episode does
            self.sample(sample)

    def control(self, message: ControlState) -> None:
        """Open or close the span in which a person drives."""
        driving = message.mode == ControlState.HUMAN
        is_open = bool(self._spans) and self._spans[-1][1] is None
        if driving != is_open:
            self._spans_changed = True
            if driving:
                self._spans.append((seconds(message.since), None))
            else:
                self._spans[-1] = (self._spans[-1][0], seconds(message.since))
            del self._spans[:-200]

    def sample(self, message: RewardSample) -> None:
        """Append one measurement to the curves of its model."""
        current = self._key[0] if self._key else ''
        if message.episode_id and message.episode_id != current:
            self._early.append(message)
            return
        stamp = seconds(message.t1)
        if self._origin is None:
            self._origin = stamp
            self._reset = True
        t = stamp - self._origin
        if t < 0 or not message.valid:
            return
        for key, number in points_of(message).items():
            points = self._series.setdefault(key, [])
            points.append((round(t, 3), number))
            if len(points) > MAX_POINTS:
                del points[: MAX_POINTS // 2]
                self._reset = True

    def increment(self) -> dict[str, Any] | None:
        """What is new since the last call, None if nothing is."""
        if self._reset:
            self._reset = False
            self._taken = {key: len(points) for key, points in self._series.items()}
            self._spans_changed = False
            return self.full()
        new = {key: points[self._taken.get(key, 0) :] for key, points in self._series.items()}
        new = {key: points for key, points in new.items() if points}
        if not new and not self._spans_changed:
            return None
        self._taken = {key: len(points) for key, points in self._series.items()}
        message: dict[str, Any] = {'type': 'curves', 'reset': False, 'series': new}
        if self._spans_changed:
            message['spans'] = self._relative_spans()
            self._spans_changed = False
        return message

    def full(self) -> dict[str, Any]:
        """Everything of this episode, for a page that just opened or fell behind."""
        return {
            'type': 'curves',
            'reset': True,
            'episode': self._key[0] if self._key else '',
            'series': self._series,
            'spans': self._relative_spans(),
        }

    def _relative_spans(self) -> list[list[float | None]]:
        origin = self._origin
        if origin is None:
            return []
        return [
            [max(0.0, start - origin), None if end is None else end - origin]
            for start, end in self._spans
            if end is None or end > origin
        ]

    def _clear(self) -> None:
        self._series, self._taken = {}, {}
        self._reset = self._spans_changed = True
