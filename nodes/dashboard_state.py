# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What the dashboard shows, kept as plain data: rates, counters, curves, who is in control."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import Any

from apprentice_interfaces.msg import ControlState, EpisodeState
from diagnostic_msgs.msg import DiagnosticArray

from apprentice.learning.statistics import wilson
from apprentice.robot.types import ControlMode, Outcome

PHASES = ('IDLE', 'RESETTING', 'READY', 'RUNNING', 'ENDED')
LEVELS = ('ok', 'warn', 'error', 'stale')
SEVERITY = ('gone', 'error', 'stale', 'warn', 'ok')
CLAMPS = ('position', 'velocity', 'jump', 'nonfinite')
GONE_AFTER_S = 3.0
GATE_GONE_AFTER_S = 1.5
MAX_NODES = 64
MAX_VALUES = 24


def finite(value: float, digits: int = 4) -> float | None:
    """A rounded number for JSON, which has no NaN: None instead."""
    return round(float(value), digits) if math.isfinite(value) else None


def name_of(names: tuple[str, ...], index: int) -> str:
    """The name of an enumerated value, or the number itself where a newer sender knows more."""
    return names[index] if index < len(names) else str(index)


class Silence:
    """How long somebody has said nothing; wall time. Below ``patience_s`` it is no silence."""

    def __init__(self, patience_s: float):
        self._patience, self._heard = patience_s, -math.inf

    def heard(self) -> None:
        self._heard = time.monotonic()

    def seconds(self) -> float | None:
        """Seconds of silence, None while there is none or nobody ever spoke."""
        age = time.monotonic() - self._heard
        return round(age, 1) if self._patience < age < math.inf else None


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
    """Episodes by outcome, and interventions; since this node began.

    A learning episode counts as a success of the policy only when it ended well without any help: what a
    person finished is no success of the policy, and leaving it out would flatter a policy that is helped
    where it fails. Evaluations (held out, nobody helps) are counted apart. Discarded episodes are in no rate.
    """

    def __init__(self) -> None:
        self._ended: dict[str, tuple[bool, int, bool]] = {}  # eval only, outcome, helped
        self._takeover_id = 0
        self._interventions = 0
        self._report: dict[str, Any] | None = None

    def episode(self, message: EpisodeState) -> None:
        """Count an ended episode; a later label of the same episode replaces its outcome."""
        if message.phase != EpisodeState.ENDED or not message.episode_id:
            return
        known = self._ended.get(message.episode_id)
        # the state of a relabelled episode of an earlier process does not know who drove
        helped = message.intervention_ratio > 0 or bool(known and known[2])
        entry = (message.eval_only, message.outcome, helped)
        if entry != known:
            self._ended[message.episode_id] = entry
            self._report = None

    def control(self, message: ControlState) -> None:
        """Count takeovers by the gate's own number, which starts again with the gate."""
        new = message.takeover_id - self._takeover_id
        if new:
            self._interventions += new if new > 0 else message.takeover_id
            self._takeover_id = message.takeover_id
            self._report = None

    def report(self) -> dict[str, Any]:
        """Counts, and rates with 95 % Wilson intervals."""
        if self._report is None:
            ended = list(self._ended.values())
            outcomes = [outcome for _, outcome, _ in ended]
            self._report = {
                'interventions': self._interventions,
                'episodes': len(ended),
                'successes': outcomes.count(Outcome.SUCCESS),
                'failures': outcomes.count(Outcome.FAILURE),
                'discarded': outcomes.count(Outcome.ABORT),
                'learning': self._rate([e for e in ended if not e[0]]),
                'evaluation': self._rate([e for e in ended if e[0]]),
            }
        return self._report

    @staticmethod
    def _rate(ended: list[tuple[bool, int, bool]]) -> dict[str, Any]:
        decided = [e for e in ended if e[1] in (Outcome.SUCCESS, Outcome.FAILURE)]
        alone = sum(outcome == Outcome.SUCCESS and not helped for _, outcome, helped in decided)
        low, high = wilson(alone, len(decided))
        return {
            'alone': alone,
            'helped': sum(helped for _, _, helped in decided),
            'trials': len(decided),
            'rate': round(alone / len(decided), 4) if decided else None,
            'low': round(low, 4),
            'high': round(high, 4),
        }


class Health:
    """The last diagnostics of every node; one that fell silent is gone."""

    def __init__(self) -> None:
        self._nodes: dict[str, tuple[str, str, list[tuple[str, str]], float]] = {}

    def add(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name in self._nodes or len(self._nodes) < MAX_NODES:
                level = LEVELS[min(status.level[0], len(LEVELS) - 1)]
                values = [(pair.key, pair.value[:120]) for pair in status.values[:MAX_VALUES]]
                self._nodes[status.name] = (level, status.message[:300], values, time.monotonic())

    def report(self) -> list[dict[str, Any]]:
        """Name, level, message and values of each node, those in trouble first."""
        now, rows = time.monotonic(), []
        for name, (level, message, values, seen) in self._nodes.items():
            if now - seen > GONE_AFTER_S:
                level, message = 'gone', f'gone: silent for {now - seen:.0f} s'
            rows.append({'name': name, 'level': level, 'message': message, 'values': values})
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
