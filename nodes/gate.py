# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The gate's process: the only publisher of the robot command.

Around ``apprentice.robot.gate``. Live, a timer on the steady clock makes one control step a period.
In lock-step every new stamp of ``joint_states`` makes one control step, after a bounded wait for the
one in control. This process never imports torch.
"""

from __future__ import annotations

import dataclasses
import time
from collections import deque

import numpy as np
from apprentice_interfaces.msg import ActionChunk, ControlState, EpisodeState, ExecutedCommand
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from apprentice.nodes import convert, qos
from apprentice.nodes.robot_file import load_robot
from apprentice.nodes.runtime import Diagnostics, StartupError, other_publishers, parameter, run, wall_timer
from apprentice.robot.gate import Gate, GateConfig, Tick
from apprentice.robot.limits import CLAMP_NAMES
from apprentice.robot.lockstep import LockstepWait
from apprentice.robot.types import ControlMode

_POLL_S = 0.01  # how often a lock-step wait looks at the wall clock
_ALONE = 'only the gate may command; end it (a killed one fades within 20 s), then arm'
_ROUTINE = ('shadow', 'mode', 'epoch', 'paused', 'release')  # refusals that every takeover brings about


class GateNode(Node):
    """Arbitration, limits and watchdogs between policy, person and controller."""

    def __init__(self) -> None:
        super().__init__('gate')
        self._declare()
        spec = self.spec
        self._tick: Tick | None = None
        self._command: JointTrajectory | Float64MultiArray | None = None  # of the last control step
        self._seq = 0
        self._episode = ''
        self._state_key: tuple = ()
        self._logged: tuple = ()
        self._arm_refusal = ''
        self._foreign = False  # somebody else publishes robot commands
        self._intervals: deque[float] = deque(maxlen=1000)
        self._last_wall = 0.0
        # lock-step
        self._time = 0.0  # newest stamp of joint_states
        self._pending: float | None = None  # stamp that still needs a command

        trajectory = spec.command.type == 'joint_trajectory'
        kind = JointTrajectory if trajectory else Float64MultiArray
        self._command_publisher = self.create_publisher(kind, spec.command.topic, qos.COMMAND)
        self._executed_publisher = self.create_publisher(ExecutedCommand, 'gate/executed', qos.LOG)
        self._state_publisher = self.create_publisher(ControlState, 'gate/state', qos.STATE)
        for message, topic, callback, profile in (
            (ActionChunk, 'policy/chunk', self._on_chunk, qos.COMMAND),
            (JointState, 'human/command', self._on_human, qos.SENSOR),
            (JointState, spec.joint_states_topic, self._on_joint_states, qos.SENSOR),
            (EpisodeState, 'episode/state', self._on_episode, qos.STATE),
        ):
            self.create_subscription(message, topic, callback, profile)
        gate = self.gate
        self._switch('gate/arm', lambda on, now: self._arm(now) if on else gate.disarm(now))
        self._switch('gate/request_control', gate.request_control)
        self._switch('gate/pause', gate.pause)
        self._switch('gate/reset', gate.reset)
        self._trigger('gate/stop', gate.stop)
        self._trigger('gate/clear', gate.clear)
        Diagnostics(self, self._report, hardware_id=spec.name)
        wall_timer(self, 0.1, self._supervise)
        if self._lockstep:
            self._poll = wall_timer(self, _POLL_S, self._advance)
            self._poll.cancel()
        else:
            wall_timer(self, gate.period, self._live_tick)
        self._publish_state()
        self.get_logger().info(
            f'{spec.name}: {"lock-step" if self._lockstep else f"live at {1 / gate.period:g} Hz"}, '
            f'commands on {self._command_publisher.topic_name}'
        )

    def _declare(self) -> None:
        self.spec = load_robot(self)
        rate = parameter(self, 'rate_hz', 0.0, 'control rate; 0: control_hz of the robot file', 0, 1000)
        self._lockstep = parameter(
            self, 'lockstep', False, 'one command per joint_states stamp instead of a timer'
        )
        execute_steps = parameter(
            self, 'execute_steps', 4, 'lock-step: rows of a chunk followed before a newer one', 1, 1000
        )
        policy_wait = parameter(
            self, 'policy_wait_s', 5.0, 'lock-step: longest wall wait for a chunk', 0, 600
        )
        human_wait = parameter(
            self, 'human_wait_s', 1.0, 'lock-step: longest wall wait for human/command', 0, 600
        )
        self._arm_on_start = parameter(self, 'arm_on_start', False, 'arm once, as soon as it is possible')
        values = {'period_s': 1.0 / rate if rate else 0.0}
        for field in dataclasses.fields(GateConfig):
            if field.name not in values:
                about = field.metadata
                values[field.name] = parameter(
                    self, field.name, field.default, about['description'], about['low'], about['high']
                )
        if self._lockstep and self.spec.command.type != 'joint_trajectory':
            raise StartupError(
                f'lockstep needs the stamped joint_trajectory command, robot {self.spec.name!r} has '
                f'{self.spec.command.type}: set command.type in the robot file, or lockstep to false'
            )
        if self._lockstep and rate and abs(rate - self.spec.control_hz) > 1e-6:
            raise StartupError(
                f'in lock-step the rate is control_hz of the robot file ({self.spec.control_hz:g}): '
                f'remove rate_hz:={rate:g}'
            )
        self.gate = Gate(self.spec, GateConfig(**values))
        self._wait = LockstepWait(self.gate, execute_steps, policy_wait, human_wait)

    # inputs

    def _now(self) -> float:
        """The gate's clock [s]: in lock-step the newest joint_states stamp, else the node's clock."""
        return self._time if self._lockstep else convert.now(self)

    def _on_joint_states(self, message: JointState) -> None:
        try:
            position = convert.joint_vector(message, self.spec.joint_names)
        except convert.MessageError as error:
            self.get_logger().error(
                f'{self.spec.joint_states_topic}: {error}; robot {self.spec.name!r} expects '
                f'{list(self.spec.joint_names)}',
                throttle_duration_sec=2.0,
            )
            return
        stamp = convert.seconds(message.header.stamp)
        if not self._lockstep:
            self.gate.on_joint_state(position, stamp or self._now(), self._now())
        elif self._tick is not None and stamp == self._tick.stamp:
            # the simulator repeats itself because our answer was lost: so do we
            if self._command is not None:
                self._command_publisher.publish(self._command)
        elif stamp != self._pending:
            self._time = self._pending = stamp
            self._wait.begin(stamp)
            self.gate.on_joint_state(position, stamp, stamp)
            if self._arm_on_start:
                self._try_arm_on_start()
            self._poll.reset()
        self._after_input()

    def _on_chunk(self, message: ActionChunk) -> None:
        try:
            chunk = convert.chunk_of(message)
        except convert.MessageError as error:
            self.gate.refused['shape'] += 1
            self.get_logger().warning(f'refused: {error}', throttle_duration_sec=2.0)
            return
        refusal = self.gate.on_chunk(chunk, self._now())
        if refusal and not refusal.startswith(_ROUTINE):
            self.get_logger().warning(f'refused {refusal}', throttle_duration_sec=2.0)
        if refusal:
            self._wait.refused(chunk)
        self._after_input()

    def _on_human(self, message: JointState) -> None:
        try:
            target = convert.joint_vector(message, self.spec.joint_names)
        except convert.MessageError as error:
            self.get_logger().warning(f'human/command ignored: {error}', throttle_duration_sec=2.0)
            return
        header = message.header
        problem = self.gate.on_human(target, convert.seconds(header.stamp), self._now(), header.frame_id)
        if problem:
            self.get_logger().warning(f'human/command ignored: {problem}', throttle_duration_sec=2.0)
        self._after_input()

    def _on_episode(self, message: EpisodeState) -> None:
        self._episode = message.episode_id if message.phase == EpisodeState.RUNNING else ''
        if message.phase in (EpisodeState.RESETTING, EpisodeState.READY):
            self.gate.on_start(message.seed)

    def _switch(self, name, action) -> None:
        def serve(request, response):
            response.success, response.message = action(request.data, self._now())
            self._after_input()
            return response

        self.create_service(SetBool, name, serve)

    def _trigger(self, name, action) -> None:
        def serve(request, response):
            response.success, response.message = action(self._now())
            self._after_input()
            return response

        self.create_service(Trigger, name, serve)

    def _arm(self, now: float) -> tuple[bool, str]:
        others = other_publishers(self, self._command_publisher.topic_name)
        if others:
            return False, f'another publisher ({others}) on {self._command_publisher.topic_name}: {_ALONE}'
        return self.gate.arm(now)

    def _try_arm_on_start(self) -> None:
        armed, message = self._arm(self._now())
        if armed:
            self._arm_on_start = False
        elif message != self._arm_refusal:
            self.get_logger().warning(f'not armed yet: {message}')
        self._arm_refusal = message

    # control steps

    def _live_tick(self) -> None:
        wall = time.perf_counter()
        if self._last_wall:
            self._intervals.append(wall - self._last_wall)
        self._last_wall = wall
        self._step(self._now())

    def _advance(self) -> None:
        """Lock-step: answer the pending stamp, unless somebody is still worth waiting for."""
        if self._pending is not None and self._wait.over(time.monotonic()):
            stamp, self._pending = self._pending, None
            self._poll.cancel()
            self._step(stamp)

    def _step(self, now: float) -> None:
        tick = self._tick = self.gate.tick(now)
        if tick.setpoint is None or tick.requested is None:
            self._command = None
        else:
            self._seq += 1
            self._command = self._command_of(tick.stamp, tick.setpoint)
            # disarmed, the controller is somebody else's; but a lock-step simulator waits for its tick
            if tick.mode != ControlMode.DISARMED or (self._lockstep and not self._foreign):
                self._command_publisher.publish(self._command)
            self._executed_publisher.publish(self._executed_of(tick))
        self._publish_if_changed()

    def _command_of(self, stamp: float, setpoint: np.ndarray) -> JointTrajectory | Float64MultiArray:
        if self.spec.command.type == 'joint_trajectory':
            return convert.trajectory_msg(stamp, self.spec.joint_names, setpoint, self.gate.period)
        return Float64MultiArray(data=[float(p) for p in setpoint])

    def _executed_of(self, tick: Tick) -> ExecutedCommand:
        message = ExecutedCommand(
            seq=self._seq,
            chunk_seq=tick.chunk_seq,
            chunk_index=tick.chunk_index,
            source=int(tick.source),
            epoch=tick.epoch,
            takeover_id=tick.takeover_id,
            episode_id=self._episode,
            requested=np.clip(tick.requested, -3e38, 3e38).astype(np.float32),
            executed=tick.setpoint.astype(np.float32),
            clamp_bits=tick.clamp_bits,
        )
        message.header.stamp = convert.stamp_of(tick.stamp)
        message.header.frame_id = self.spec.base_frame
        return message

    def _after_input(self) -> None:
        self._advance()
        self._publish_if_changed()

    # state

    def _supervise(self) -> None:
        """Ten times a second of wall time: watch the command topic, arm on start, repeat the state."""
        others = other_publishers(self, self._command_publisher.topic_name)
        self._foreign = bool(others)
        if others:
            self.gate.hold(f'another publisher ({others}) on the command topic: {_ALONE}', self._now())
        if self._arm_on_start and not self._lockstep:
            self._try_arm_on_start()
        self._publish_state()

    def _publish_if_changed(self) -> None:
        gate = self.gate
        if (gate.mode, gate.epoch, gate.takeover_id, gate.reason) != self._state_key:
            self._publish_state()

    def _publish_state(self) -> None:
        gate, now = self.gate, self._now()
        self._state_key = (gate.mode, gate.epoch, gate.takeover_id, gate.reason)
        if (gate.mode, gate.epoch) != self._logged:
            alarming = gate.mode in (ControlMode.HOLD, ControlMode.FAULT, ControlMode.STOP)
            text = f'{gate.mode.name} (epoch {gate.epoch}){": " if gate.reason else ""}{gate.reason}'
            # rclpy allows one severity per line of code
            if alarming:
                self.get_logger().warning(text)
            else:
                self.get_logger().info(text)
            self._logged = (gate.mode, gate.epoch)
        message = ControlState(
            mode=int(gate.mode),
            owner=gate.owner,
            epoch=gate.epoch,
            takeover_id=gate.takeover_id,
            since=convert.stamp_of(gate.since),
            reason=gate.reason,
            policy_ready=gate.policy_ready(now),
            human_ready=gate.human_ready(now),
            clamped=[gate.clamped[bit] for bit in CLAMP_NAMES],
        )
        message.header.stamp = convert.stamp_of(now)
        message.header.frame_id = self.spec.base_frame
        self._state_publisher.publish(message)

    def _report(self) -> tuple[bytes, str, dict]:
        gate = self.gate
        values = {'mode': gate.mode.name, 'epoch': gate.epoch, 'control_steps': self._seq}
        if self._intervals:
            intervals = np.array(self._intervals)
            for name, value in zip(('p50', 'p99'), np.percentile(intervals, (50, 99))):
                values[f'interval_{name}_ms'] = round(1e3 * float(value), 2)
            values['rate_hz'] = round(1.0 / float(np.mean(intervals)), 2)
        values.update({f'refused_{reason}': count for reason, count in sorted(gate.refused.items())})
        values.update({f'clamped_{name}': gate.clamped[bit] for bit, name in CLAMP_NAMES.items()})
        level = Diagnostics.OK
        if gate.mode in (ControlMode.FAULT, ControlMode.STOP):
            level = Diagnostics.ERROR
        elif gate.mode == ControlMode.HOLD:
            level = Diagnostics.WARN
        return level, f'{gate.mode.name}: {gate.reason}' if gate.reason else gate.mode.name, values


def main() -> None:
    """Entry point of ``gate_node``."""
    run(GateNode)


if __name__ == '__main__':
    main()
