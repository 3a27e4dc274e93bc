# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What the dashboard shows, kept as plain data: rates, counters, curves, who is in control."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import Any

from apprentice_interfaces.msg import ControlState, EpisodeState, RewardSample
from diagnostic_msgs.msg import DiagnosticArray

from apprentice.learning.statistics import wilson
from apprentice.nodes.convert import seconds
from apprentice.robot.types import ControlMode, Outcome

PHASES = ('IDLE', 'RESETTING', 'READY', 'RUNNING', 'ENDED')
LEVELS = ('ok', 'warn', 'error', 'stale')
SEVERITY = ('gone', 'error', 'stale', 'warn', 'ok')
CLAMPS = ('position', 'velocity', 'jump', 'nonfinite')
GONE_AFTER_S = 3.0
GATE_GONE_AFTER_S = 1.5
MAX_POINTS = 3000
MAX_NODES = 64


def finite(value: float, digits: int = 4) -> float | None:
    """A rounded number for JSON, which has no NaN: None instead."""
    return round(float(value), digits) if math.isfinite(value) else None


def name_of(names: tuple[str, ...], index: int) -> str:
    """The name of an enumerated value, or the number itself where a newer sender knows more."""
    return names[index] if index < len(names) else str(index)


class Rate:
    """Messages a second of the robot's clock, over the last ``window_s`` seconds of wall time."""

    def __init__(self, window_s: float = 2.0):
        self._window = window_s
        self._seen: deque[tuple[float, float]] = deque()

    def add(self, stamp: float) -> None:
        """Count a message captured at ``stamp``; a repeated stamp counts once."""
        if self._seen and stamp <= self._seen[-1][1]:
            if stamp == self._seen[-1][1]:
                return
            self._seen.clear()  # the clock was set back: a new simulation
        self._seen.append((time.monotonic(), stamp))

    def report(self) -> dict[str, float | None]:
        """``hz``; ``speed`` of the robot's clock against the wall's; ``age`` of the newest [s]."""
        now = time.monotonic()
        age = now - self._seen[-1][0] if self._seen else math.inf
        while len(self._seen) > 1 and self._seen[0][0] < now - self._window:
            self._seen.popleft()
        if len(self._seen) < 2 or age > self._window:
            return {'hz': 0.0, 'speed': None, 'age': finite(age, 3)}
        (wall0, stamp0), (wall1, stamp1) = self._seen[0], self._seen[-1]
        hz = (len(self._seen) - 1) / (stamp1 - stamp0)
        return {
            'hz': round(hz, 1),
            'speed': round((stamp1 - stamp0) / max(wall1 - wall0, 1e-6), 2),
            'age': finite(age, 3),
        }


class Counters:
    """Episodes by outcome, learning and evaluation apart, and interventions; since this node began."""

    def __init__(self) -> None:
        self._ended: dict[str, tuple[bool, int]] = {}
        self._takeover_id = 0
        self._interventions = 0
        self._report: dict[str, Any] | None = None

    def episode(self, message: EpisodeState) -> None:
        """Count an ended episode; a later label of the same episode replaces its outcome."""
        if message.phase == EpisodeState.ENDED and message.episode_id:
            self._ended[message.episode_id] = (message.eval_only, message.outcome)
            self._report = None

    def control(self, message: ControlState) -> None:
        """Count takeovers by the gate's own number, which starts again with the gate."""
        new = message.takeover_id - self._takeover_id
        if new:
            self._interventions += new if new > 0 else message.takeover_id
            self._takeover_id = message.takeover_id
            self._report = None

    def report(self) -> dict[str, Any]:
        """Counts and success rates with Wilson intervals; discarded episodes are in no rate."""
        if self._report is None:
            self._report = {
                'interventions': self._interventions,
                'all': self._group(list(self._ended.values())),
                'learning': self._group([e for e in self._ended.values() if not e[0]]),
                'evaluation': self._group([e for e in self._ended.values() if e[0]]),
            }
        return self._report

    @staticmethod
    def _group(ended: list[tuple[bool, int]]) -> dict[str, Any]:
        outcomes = [outcome for _, outcome in ended]
        successes, failures = outcomes.count(Outcome.SUCCESS), outcomes.count(Outcome.FAILURE)
        trials = successes + failures
        low, high = wilson(successes, trials)
        return {
            'episodes': len(outcomes),
            'successes': successes,
            'failures': failures,
            'discarded': outcomes.count(Outcome.ABORT),
            'rate': round(successes / trials, 4) if trials else None,
            'low': round(low, 4),
            'high': round(high, 4),
        }


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
        model = message.model or 'reward'
        progress, value = message.progress, message.value
        if message.kind in (
            RewardSample.ABS_PROGRESS,
            RewardSample.TRUTH,
        ):  # one measurement, maybe given twice
            progress, value = progress if math.isfinite(progress) else value, math.nan
        for what, number in (('progress', progress), ('value', value)):
            if math.isfinite(number):
                points = self._series.setdefault(f'{model} {what}', [])
                points.append((round(t, 3), round(float(number), 4)))
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


class Health:
    """The last diagnostics of every node; one that fell silent is gone."""

    def __init__(self) -> None:
        self._nodes: dict[str, tuple[str, str, float]] = {}

    def add(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name in self._nodes or len(self._nodes) < MAX_NODES:
                level = LEVELS[min(status.level[0], len(LEVELS) - 1)]
                self._nodes[status.name] = (level, status.message, time.monotonic())

    def report(self) -> list[dict[str, Any]]:
        """Name, level and message of each node, those in trouble first."""
        now, rows = time.monotonic(), []
        for name, (level, message, seen) in self._nodes.items():
            if now - seen > GONE_AFTER_S:
                level, message = 'gone', f'gone: silent for {now - seen:.0f} s'
            rows.append({'name': name, 'level': level, 'message': message})
        return sorted(rows, key=lambda row: (SEVERITY.index(row['level']), row['name']))


class Control:
    """The gate's newest state; a gate that fell silent is not in control of anything."""

    def __init__(self) -> None:
        self.state: ControlState | None = None
        self._seen = -math.inf
        self._since = (0, 0.0)

    def add(self, message: ControlState) -> None:
        self.state, self._seen = message, time.monotonic()
        if message.epoch != self._since[0]:
            self._since = (message.epoch, self._seen)

    def report(self) -> dict[str, Any] | None:
        """The gate's state for the page, None while no gate speaks."""
        state, now = self.state, time.monotonic()
        if state is None or now - self._seen > GATE_GONE_AFTER_S:
            return None
        known = state.mode in iter(ControlMode)
        return {
            'mode': ControlMode(state.mode).name if known else str(state.mode),
            'owner': state.owner,
            'reason': state.reason,
            'epoch': state.epoch,
            'for_s': round(now - self._since[1], 1) if self._since[1] else None,
            'policy_ready': state.policy_ready,
            'human_ready': state.human_ready,
            'clamped': dict(zip(CLAMPS, (int(n) for n in state.clamped))),
        }


def episode_report(message: EpisodeState | None) -> dict[str, Any] | None:
    """An episode's state for the page, None while no episode node has spoken."""
    if message is None:
        return None
    return {
        'id': message.episode_id,
        'task': message.task,
        'phase': name_of(PHASES, message.phase),
        'outcome': name_of(tuple(outcome.name for outcome in Outcome), message.outcome),
        'step': message.step,
        'elapsed_s': finite(message.elapsed_s, 1),
        'intervention_ratio': finite(message.intervention_ratio, 3),
        'eval_only': message.eval_only,
    }
