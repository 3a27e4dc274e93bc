# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What is commanded, by whom, within which limits: the gate's logic, without ROS.

Time comes in as seconds, so the whole machine runs under a fake clock. This is discipline in
Python, not a safety function: a hardware emergency stop and the controller's own limits stay in charge.

Holding means that the setpoint stops moving. For a position interface that is a stop within one
control period of the setpoint; the arm itself brakes as its position controller does. A hold
never commands zeros.

Which mode may follow which is written down in apprentice.robot.arbitration.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from apprentice.robot.arbitration import Arbiter
from apprentice.robot.chunk import next_setpoint
from apprentice.robot.limits import CLAMP_NAMES, CLAMP_NONFINITE, Limits
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import ActionChunk, ControlMode, Source

_EPSILON = 1e-6  # stamps are sums of floats


def _setting(default: float, low: float, high: float, description: str) -> Any:
    return field(default=default, metadata={'low': low, 'high': high, 'description': description})


@dataclass(frozen=True)
class GateConfig:
    """Times [s] and shares of the gate; each field carries its description and range as metadata."""

    period_s: float = _setting(0.0, 0.0, 1.0, 'control period; 0: 1 / control_hz of the robot file')
    chunk_max_age_s: float = _setting(0.5, 0.01, 10.0, 'refuse chunks planned from an older observation')
    policy_hold_s: float = _setting(0.3, 0.0, 5.0, 'hold this long after the last row of a chunk, then HOLD')
    human_timeout_s: float = _setting(0.1, 0.01, 5.0, 'a human command older than this is not followed')
    human_latch_s: float = _setting(0.5, 0.0, 10.0, 'keep HUMAN this long without a fresh command, then HOLD')
    joint_timeout_s: float = _setting(0.1, 0.01, 10.0, 'joint states older than this cause HOLD')
    clock_tolerance_s: float = _setting(0.1, 0.0, 10.0, 'how far a stamp may lie in the future')
    reset_scale: float = _setting(0.25, 0.01, 1.0, 'speed of a reset, share of the velocity limits')
    clamp_share: float = _setting(
        0.2, 0.0, 1.0, 'HOLD when more than this share of steps is clamped; 1: never'
    )
    clamp_window_s: float = _setting(2.0, 0.1, 60.0, 'time over which clamped steps are counted')
    clamp_tolerance: float = _setting(
        0.1, 0.0, 10.0, 'a step counts as clamped when cut by more than this x jump'
    )


@dataclass(frozen=True)
class Tick:
    """One control step. Vectors are float64 [dim] in the robot file's order (rad, gripper m).

    ``setpoint`` is to be reached one period after ``stamp``; None: there is nothing to command,
    because no joint state has been seen. ``requested`` is what was asked for before the limits.
    """

    stamp: float
    mode: ControlMode
    source: Source
    setpoint: np.ndarray | None
    requested: np.ndarray | None
    epoch: int
    takeover_id: int = 0
    chunk_seq: int = 0
    chunk_index: int = 0
    clamp_bits: int = 0


class Gate(Arbiter):
    """The arbitration state machine with its inputs, limits and watchdogs. Call it from one thread.

    ``refused`` counts chunks by reason, ``clamped`` control steps by CLAMP bit.
    """

    def __init__(self, spec: RobotSpec, config: GateConfig | None = None):
        super().__init__()
        self.spec, self.config = spec, config or GateConfig()
        self.period = self.config.period_s or 1.0 / spec.control_hz
        self.limits = Limits(spec, self.period)
        self.refused: Counter[str] = Counter()
        self.clamped: Counter[int] = Counter()
        self.setpoint: np.ndarray | None = None
        self.measured: np.ndarray | None = None
        self.chunk: ActionChunk | None = None
        self._start, self._grippers = spec.vector('home'), spec.gripper_mask
        self._joint_times = (-math.inf, -math.inf)  # header stamp, time of receipt
        self._human: np.ndarray | None = None
        self._human_times = (-math.inf, -math.inf)
        self._human_fresh = -math.inf  # last tick at which the person's command could be followed
        self._human_source = ''  # who sent the newest of them
        self._driver: str | None = None  # whose commands this takeover follows; None: nobody's yet
        self._last_seq: int | None = None
        self._last_tick = -math.inf
        self._window_steps = max(1, round(self.config.clamp_window_s / self.period))
        self._window: deque[bool] = deque(maxlen=self._window_steps)

    # inputs

    def on_joint_state(self, position: np.ndarray, stamp: float, now: float) -> None:
        """Measured joint positions [dim]; not finite, or far outside the limits: FAULT."""
        if not np.all(np.isfinite(position)):
            bad = [n for n, p in zip(self.spec.joint_names, position) if not np.isfinite(p)]
            self._go('fault', now, f'joint state of {bad} is not finite: check the robot driver, clear, arm')
            return
        outside = np.abs(position - self.limits.inside(position)) > self.limits.jump
        if np.any(outside):
            i = int(np.argmax(outside))
            joint = self.spec.joints[i]
            self._go(
                'fault',
                now,
                f'{joint.name} is measured at {position[i]:.3f}, outside [{joint.lower}, {joint.upper}]: '
                'check units and limits in the robot file, move the joint inside, clear, arm',
            )
            return
        self.measured, self._joint_times = np.array(position, np.float64), (stamp, now)

    def on_start(self, seed: int) -> None:
        """An episode of ``seed`` is to begin: resets end at its posture, where the simulator starts, too."""
        self._start = self.spec.start_posture(seed)

    def on_chunk(self, chunk: ActionChunk, now: float) -> str:
        """A policy's plan. Returns '' when accepted, else ``reason: cause and remedy``.

        A chunk that is not finite is a broken policy: while the policy is in control it causes HOLD.
        """
        refusal = self._refusal(chunk, now)
        if refusal:
            self.refused[refusal.partition(':')[0]] += 1
            if refusal.startswith('nonfinite'):
                self.clamped[CLAMP_NONFINITE] += 1
                if self.mode == ControlMode.POLICY:
                    self._go('hold', now, refusal)
            return refusal
        self.chunk, self._last_seq = chunk, chunk.seq
        self._go('plan', now, '')
        return ''

    def on_human(self, target: np.ndarray, stamp: float, now: float, source: str = '') -> str:
        """A person's joint target [dim]; the stream itself is the dead-man. Returns '' or why it is ignored.

        ``stamp`` 0 means that the device does not stamp: then the time of receipt alone counts. ``source``
        tells senders apart: a takeover belongs to the one who streams as it begins, or else to the first
        to stream in it, until it ends. Two would move the robot by turns.
        """
        if self._driver not in (None, source):
            self.refused['driver'] += 1
            names = [name or 'a sender without a name' for name in (source, self._driver)]
            return f'driver: {names[0]} sends while {names[1]} drives; one at a time, let go there first'
        if target.shape != (self.spec.dim,) or not np.all(np.isfinite(target)):
            self.clamped[CLAMP_NONFINITE] += 1
            return 'nonfinite: the human command is not finite; check the teleoperation device'
        self._human, self._human_times = np.array(target, np.float64), (stamp or now, now)
        self._human_source = source
        if self.mode == ControlMode.HUMAN:
            self._driver = source
        return ''

    def arm(self, now: float) -> tuple[bool, str]:
        """As Arbiter.arm; refused without fresh joint states."""
        topic, age = self.spec.joint_states_topic, self._age(self._joint_times, now)
        if self.mode not in (ControlMode.STOP, ControlMode.FAULT):
            if self.measured is None:
                return False, f'no joint state has arrived on {topic}: start the driver or the simulator'
            if age > self.config.joint_timeout_s + _EPSILON:
                return False, f'joint states on {topic} are {age:.2f} s old: check the driver'
        return super().arm(now)

    def policy_ready(self, now: float) -> bool:
        """Whether a chunk of this epoch still has rows to follow."""
        return self.chunk is not None and now < self._chunk_end(self.chunk)

    def human_ready(self, now: float) -> bool:
        """Whether the human stream is fresh."""
        return (
            self._human is not None
            and self._age(self._human_times, now) <= self.config.human_timeout_s + _EPSILON
        )

    def awaits(self, now: float, execute_steps: int) -> Source:
        """Whose message a lock-step tick at ``now`` should wait for; Source.NONE: nobody's.

        The policy's, once ``execute_steps`` rows of the active chunk have been followed.
        """
        if self.mode == ControlMode.HUMAN:
            return Source.HUMAN if self._human_times[0] < now - _EPSILON else Source.NONE
        if self.waiting_for_policy:
            return Source.POLICY
        if self.mode == ControlMode.POLICY:
            chunk = self.chunk
            if chunk is None or (now - chunk.stamp) / chunk.dt > execute_steps - 1e-3:
                return Source.POLICY
        return Source.NONE

    # the control step

    def tick(self, now: float) -> Tick:
        """The command for the control step at ``now``; call once a period."""
        self._watch(now)
        self._last_tick = now
        if self.measured is not None and (
            self.setpoint is None
            or (
                self.mode in (ControlMode.DISARMED, ControlMode.RESET)
                and self.limits.far(self.setpoint, self.measured)
            )
        ):
            # nothing commanded yet, or the arm was moved by hand, or a simulator's reset placed it elsewhere
            self.setpoint = self.limits.inside(self.measured)
        if self.setpoint is None or self.measured is None:
            return Tick(now, self.mode, Source.NONE, None, None, self.epoch)
        requested, source, index = self._request(now, self.setpoint)
        value, bits = self.limits.clamp(requested, self.setpoint, self.measured)
        self.setpoint = value
        result = Tick(
            stamp=now,
            mode=self.mode,
            source=source,
            setpoint=value.copy(),
            requested=requested,
            epoch=self.epoch,
            takeover_id=self.takeover_id if source == Source.HUMAN else 0,
            chunk_seq=self.chunk.seq if self.chunk is not None and source == Source.POLICY else 0,
            chunk_index=index,
            clamp_bits=bits,
        )
        self._count(result, now)
        return result

    def _request(self, now: float, setpoint: np.ndarray) -> tuple[np.ndarray, Source, int]:
        """What the one in control asks for: (target [dim], source, row of the chunk)."""
        if self.mode == ControlMode.POLICY and self.chunk is not None and self.policy_ready(now):
            followed = next_setpoint(self.chunk, setpoint, now, self.period)
            if followed is not None:
                return followed[0], Source.POLICY, followed[1]
        if self.mode == ControlMode.HUMAN and self._human is not None and self.human_ready(now):
            self._human_fresh = now
            return self._human.copy(), Source.HUMAN, 0
        if self.mode == ControlMode.RESET:
            way = self._start - setpoint
            steps = float(np.max(np.abs(way) / (self.limits.step * self.config.reset_scale)))
            self.reason = 'at home' if steps < 1e-3 else 'driving home'
            return setpoint + way / max(1.0, steps), Source.RESET, 0
        return setpoint.copy(), Source.NONE if self.mode == ControlMode.DISARMED else Source.HOLD, 0

    def _watch(self, now: float) -> None:
        """HOLD when something the present mode relies on went stale."""
        if now < self._last_tick - _EPSILON:
            self.chunk = None
            self._human_times = (-math.inf, -math.inf)
            self._go(
                'hold',
                now,
                f'time went back by {self._last_tick - now:.3f} s: check clock and simulator, arm',
            )
        age = self._age(self._joint_times, now)
        if age > self.config.joint_timeout_s + _EPSILON:
            topic = self.spec.joint_states_topic
            self._go('hold', now, f'joint states on {topic} are {age:.2f} s old: check the driver, then arm')
        if self.mode == ControlMode.POLICY:
            late = now - self._chunk_end(self.chunk) if self.chunk is not None else math.inf
            if late > self.config.policy_hold_s + _EPSILON:
                self._go('hold', now, f'no fresh chunk for {late:.2f} s: check the policy node, then arm')
        elif self.mode == ControlMode.HUMAN and not self.human_ready(now):
            lost = now - self._human_fresh
            if lost > self.config.human_latch_s + _EPSILON:
                self._go(
                    'hold',
                    now,
                    f'no human command for {lost:.2f} s without a release: take control again, or arm',
                )

    def _count(self, tick: Tick, now: float) -> None:
        for bit in CLAMP_NAMES:
            self.clamped[bit] += bool(tick.clamp_bits & bit)
        if (
            tick.source not in (Source.POLICY, Source.HUMAN)
            or tick.requested is None
            or tick.setpoint is None
        ):
            return
        # a gripper is commanded open or shut in one step, so its cuts say nothing about the policy
        requested = np.where(self._grippers, tick.setpoint, tick.requested)
        cut = (
            tick.clamp_bits != 0
            and self.limits.excess(requested, tick.setpoint) > self.config.clamp_tolerance
        )
        self._window.append(cut)
        if sum(self._window) > self.config.clamp_share * self._window_steps:
            names = ', '.join(name for bit, name in CLAMP_NAMES.items() if tick.clamp_bits & bit)
            self._go(
                'hold',
                now,
                f'{sum(self._window)} of {self._window_steps} steps exceeded a limit ({names}): '
                f'check the {tick.source.name.lower()} commands, then arm',
            )

    def _go(self, event: str, now: float, reason: str) -> bool:
        epoch, before = self.epoch, self.mode
        if not super()._go(event, now, reason):
            return False
        if before == ControlMode.HUMAN:  # what came before is of that takeover
            self._human_times = (-math.inf, -math.inf)
        begins = self.mode == ControlMode.HUMAN and self.human_ready(now)
        self._driver = self._human_source if begins else None
        self._window.clear()
        self._human_fresh = now
        if self.epoch != epoch:
            self.chunk, self._last_seq = None, None
        return True

    def _refusal(self, chunk: ActionChunk, now: float) -> str:
        """Why a chunk is refused, as ``reason: cause and remedy``; '' when it is not."""
        config, spec, name = self.config, self.spec, f'chunk {chunk.seq}'
        if chunk.shadow:
            return f'shadow: {name} is a shadow plan; publish it on policy/shadow_chunk'
        if self.mode not in (ControlMode.POLICY, ControlMode.PAUSED):
            return f'mode: {name} while {self.mode.name}; plan when gate/state says POLICY or PAUSED'
        if self._paused:
            return f'paused: {name} while paused; call gate/pause with false'
        if chunk.control_mode != 'joint_position':
            return f'control_mode: {name} has {chunk.control_mode!r}; publish joint_position'
        if tuple(chunk.names) != spec.joint_names:
            return f'names: {name} has {list(chunk.names)}, not those of robot {spec.name!r}; use its weights'
        if not (1e-3 <= chunk.dt <= 1.0 and 1 <= chunk.horizon <= 1000):
            return f'shape: {name} has dt {chunk.dt} s, horizon {chunk.horizon}; use 0.001 to 1, 1 to 1000'
        if np.shape(chunk.actions) != (chunk.horizon, spec.dim):
            return f'shape: {name} is {np.shape(chunk.actions)}; publish [horizon, {spec.dim}]'
        if chunk.epoch != self.epoch:
            return f'epoch: {name} was planned in epoch {chunk.epoch}, now {self.epoch}; plan again'
        if not (math.isfinite(chunk.stamp) and np.all(np.isfinite(chunk.actions))):
            return (
                f'nonfinite: {name} is not finite; check weights version {chunk.weights_version}, roll back'
            )
        if self._last_seq is not None and chunk.seq <= self._last_seq:
            return f'seq: {name} came after {self._last_seq}; is a second policy node running?'
        age = now - chunk.stamp
        if age > config.chunk_max_age_s + _EPSILON:
            return f'age: {name} has an observation {age:.2f} s old; plan faster or check the clocks'
        if -age > config.clock_tolerance_s + _EPSILON:
            return f'future: {name} is stamped {-age:.2f} s ahead; synchronise the clocks'
        if now >= self._chunk_end(chunk):
            return f'expired: {name} is past its last row or valid_until; plan faster or farther'
        if self.mode == ControlMode.PAUSED and chunk.stamp < self.since - _EPSILON:
            return f'release: {name} was planned from an observation before control changed; plan again'
        return ''

    @staticmethod
    def _chunk_end(chunk: ActionChunk) -> float:
        return min(chunk.stamp + chunk.horizon * chunk.dt, chunk.valid_until)

    def _age(self, times: tuple[float, float], now: float) -> float:
        """Age of a message [s] by stamp or receipt, whichever is worse; infinite when from the future."""
        stamp, received = times
        if stamp - now > self.config.clock_tolerance_s + _EPSILON:
            return math.inf
        return max(now - received, now - stamp)
