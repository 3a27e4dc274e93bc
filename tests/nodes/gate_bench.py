# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The world around a gate under test: a tiny robot, a policy, a person, an operator, a simulator."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from typing import Any

import numpy as np
from apprentice_interfaces.msg import ActionChunk as ActionChunkMsg
from apprentice_interfaces.msg import ControlState, ExecutedCommand
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from apprentice.nodes import convert, qos
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import ActionChunk, ControlMode

ROBOT_FILE = share('robots', 'sim_arm.yaml')
SPEC = RobotSpec.load(ROBOT_FILE)
HOME = SPEC.vector('home')
NEAR = HOME + 0.05 * ~SPEC.gripper_mask


def until(condition, timeout=10.0):
    """Wait for a condition; its value."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.002)
    raise AssertionError(f'nothing within {timeout} s')


class Bench(Node):
    """A tiny robot that reaches every command, plus a policy, a person and an operator on demand."""

    def __init__(self, context, forward=False):
        super().__init__('bench', context=context)
        self.position, self.live, self.policy, self.person = HOME.copy(), True, False, False
        self.commands: deque = deque(maxlen=5000)  # (wall time, message)
        self.executed: deque = deque(maxlen=5000)
        self.diagnostics: deque = deque(maxlen=50)
        self.state: Any = None
        self.seq = 0
        self.lock = threading.RLock()
        self.joints = self.create_publisher(JointState, 'joint_states', qos.SENSOR_PUBLISHER)
        self.chunks = self.create_publisher(ActionChunkMsg, 'policy/chunk', qos.COMMAND)
        self.human = self.create_publisher(JointState, 'human/command', qos.SENSOR_PUBLISHER)
        kind = Float64MultiArray if forward else JointTrajectory
        self.create_subscription(kind, SPEC.command.topic, self._on_command, qos.COMMAND)
        self.create_subscription(ExecutedCommand, 'gate/executed', self._on_executed, qos.LOG)
        self.create_subscription(ControlState, 'gate/state', self._on_state, qos.STATE)
        self.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        names = {'arm': SetBool, 'request_control': SetBool, 'pause': SetBool, 'reset': SetBool}
        names |= {'stop': Trigger, 'clear': Trigger}
        self.clients_of = {n: self.create_client(kind, f'gate/{n}') for n, kind in names.items()}
        self.create_timer(0.02, self._on_timer)

    def _on_timer(self):
        with self.lock:
            if not self.live:
                return
            now = convert.now(self)
            self.joints.publish(convert.joint_state_msg(now, SPEC.joint_names, self.position))
            if self.person:
                self.human.publish(convert.joint_state_msg(now, SPEC.joint_names, NEAR))
            if self.policy and self.state and self.state.mode in (1, 3):
                self.plan(now)

    def plan(self, stamp, actions=None):
        self.seq += 1
        chunk = ActionChunk(
            stamp=stamp,
            actions=np.tile(NEAR, (8, 1)) if actions is None else actions,
            dt=0.1,
            seq=self.seq,
            epoch=self.state.epoch,
            names=SPEC.joint_names,
        )
        self.chunks.publish(convert.chunk_msg(chunk, SPEC.base_frame))

    def _on_command(self, message):
        with self.lock:
            self.commands.append((time.monotonic(), message))
            values = message.data if isinstance(message, Float64MultiArray) else message.points[0].positions
            self.position = np.array(values)

    def _on_executed(self, message):
        self.executed.append((time.monotonic(), message))

    def _on_diagnostics(self, message):
        self.diagnostics.append(message)

    def _on_state(self, message):
        self.state = message

    @property
    def mode(self):
        return ControlMode(self.state.mode) if self.state else None

    def until_mode(self, mode, timeout=10.0):
        until(lambda: self.mode == mode, timeout)

    def call(self, name, data=None):
        client = self.clients_of[name]
        assert client.wait_for_service(timeout_sec=20.0)
        request = Trigger.Request() if data is None else SetBool.Request(data=data)
        future = client.call_async(request)
        until(future.done, 20.0)
        return future.result()

    def armed(self):
        until(lambda: self.call('arm', True).success, 20.0)


class Process:
    """The gate as a user starts it."""

    def __init__(self, *parameters, robot=ROBOT_FILE):
        arguments = [sys.executable, '-m', 'apprentice.nodes.gate', '--ros-args', '-p', f'robot:={robot}']
        for item in parameters:
            arguments += ['-p', item]
        # a file: nobody reads while the gate runs, and a full pipe would stop it
        self.log = tempfile.TemporaryFile('w+')  # noqa: SIM115 - open as long as we are
        self.process = subprocess.Popen(arguments, stdout=self.log, stderr=subprocess.STDOUT)

    def finish(self, timeout=60.0):
        code = self.process.wait(timeout)
        self.log.seek(0)
        return code, self.log.read()

    def end(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.finish(20.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.finish()


class Lockstep:
    """The simulator's side of lock-step, driven by the test's thread."""

    def __init__(self, bench):
        self.bench, self.stamp, self.step = bench, 0.0, 0
        bench.live = False

    def publish(self):
        with self.bench.lock:
            message = convert.joint_state_msg(self.stamp, SPEC.joint_names, self.bench.position)
        self.bench.joints.publish(message)

    def answers(self, stamp=None):
        stamp = self.stamp if stamp is None else stamp
        return [
            m for _, m in list(self.bench.commands) if abs(convert.seconds(m.header.stamp) - stamp) < 1e-6
        ]

    def tick(self, repeat=1.0, plan=False, human=False):
        """One control step as the simulator makes it: repeats itself until answered."""
        self.stamp, self.step = self.step / SPEC.control_hz, self.step + 1
        if human:
            self.bench.human.publish(convert.joint_state_msg(self.stamp, SPEC.joint_names, NEAR))
        self.publish()
        if plan:
            self.bench.plan(self.stamp)
        end = time.monotonic() + 15.0
        again = time.monotonic() + repeat
        while not self.answers():
            assert time.monotonic() < end, f'no command for {self.stamp}, state {self.bench.state}'
            if time.monotonic() > again:
                again += repeat
                self.publish()
            time.sleep(0.001)
        return self.answers()[0]
