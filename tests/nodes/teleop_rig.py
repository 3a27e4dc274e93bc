# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The real gate, the loopback robot and the real teleop node, with the test's hands on the device."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import yaml
from apprentice_interfaces.msg import ActionChunk as ActionChunkMsg
from apprentice_interfaces.msg import ControlState, ExecutedCommand
from geometry_msgs.msg import Twist, TwistStamped
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import String
from std_srvs.srv import SetBool

from apprentice.nodes import convert, qos
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import ActionChunk, ControlMode, Source
from apprentice.sim.robots.chain import ArmChain

ROBOT = share('robots', 'sim_arm.yaml')
SPEC = RobotSpec.load(ROBOT)
HOME = SPEC.vector('home')
RATE = 50.0
CHAIN = ArmChain(SPEC)


def patient(folder: Path, *names: str) -> str:
    """Copies of shipped mappings, as ``device``: what a busy machine delays is neither silent nor too old."""
    paths = []
    for name in names:
        data = yaml.safe_load(share('teleop', f'{name}.yaml').read_text())
        data |= {'timeout_s': 2.0, 'max_age_s': 2.0}  # a mapping may not ask for more
        if name == 'spacemouse':
            data['motion_hold_s'] = 1.0
        if name == 'leader':
            data['options']['buttons'] = patient(folder, 'joy')
        paths.append(folder / f'{name}.yaml')
        paths[-1].write_text(yaml.safe_dump(data))
    return ','.join(map(str, paths))


class TeleopRig:
    """Starts the three nodes live at 50 Hz, unless the test has its own (``nodes`` false)."""

    def __init__(self, ros, start_node, device: str, nodes: bool = True):
        self.ros, node = ros, ros.node
        if nodes:
            self._start(start_node, device)
        self.states: list[ControlState] = []
        self.executed: list[tuple[float, ExecutedCommand]] = []
        self.joints: list[JointState] = []
        self.events: list[str] = []
        node.create_subscription(ControlState, 'gate/state', self.states.append, qos.STATE)
        node.create_subscription(
            ExecutedCommand, 'gate/executed', lambda m: self.executed.append((time.monotonic(), m)), qos.LOG
        )
        node.create_subscription(JointState, 'joint_states', self.joints.append, qos.SENSOR)
        node.create_subscription(String, 'teleop/event', lambda m: self.events.append(m.data), qos.LOG)
        self.arm = node.create_client(SetBool, 'gate/arm')
        self.control = node.create_client(SetBool, 'gate/request_control')
        self.chunks = node.create_publisher(ActionChunkMsg, 'policy/chunk', qos.COMMAND)
        self.publishers = {
            topic: node.create_publisher(kind, topic, qos.SENSOR_PUBLISHER)
            for topic, kind in (
                ('joy', Joy),
                ('teleop/joy', Joy),
                ('teleop/twist', TwistStamped),
                ('spacenav/twist', Twist),
                ('spacenav/joy', Joy),
                ('leader/joint_states', JointState),
            )
        }
        self._seq = 0

    def _start(self, start_node, device: str) -> None:
        rate = ('-p', f'robot:={ROBOT}', '-p', f'rate_hz:={RATE}')
        self.robot = start_node('loopback_robot', *rate)
        # a busy machine must not look like a broken driver
        patient = ('-p', 'joint_timeout_s:=5.0', '-p', 'human_timeout_s:=0.4', '-p', 'human_latch_s:=2.0')
        self.gate = start_node('gate', *rate, *patient)
        self.teleop = start_node('teleop', *rate, '-p', "person:=''", '-p', f'device:={device}')

    def ready(self, *topics: str) -> None:
        """Wait for the graph, then arm."""

        def heard():
            return all(self.publishers[topic].get_subscription_count() for topic in topics)

        started = self.ros.spin_until(lambda: heard() and self.joints and self.states, 60.0)
        assert started, self.teleop.output()
        # gate/state is the last that the teleop node subscribes to; the other subscription is the test's
        graph = self.ros.node
        assert self.ros.spin_until(lambda: graph.count_subscribers('gate/state') >= 2, 40.0)
        assert self.ros.spin_until(lambda: graph.count_subscribers('human/command') >= 1, 20.0)
        assert self.ros.spin_until(
            lambda: self.ros.call(self.arm, SetBool.Request(data=True)).success, 20.0
        ), self.gate.output()
        self.wait(0.5)

    def wait(self, seconds: float) -> None:
        self.ros.spin_until(lambda: False, seconds)

    @property
    def mode(self) -> ControlMode:
        return ControlMode(self.states[-1].mode)

    def until_mode(self, mode: ControlMode, timeout: float = 10.0) -> None:
        assert self.ros.spin_until(lambda: self.mode == mode, timeout), f'not {mode.name} but {self.said()}'

    def position(self) -> np.ndarray:
        return convert.joint_vector(self.joints[-1], SPEC.joint_names)

    def joy(
        self, buttons=(), axes=(), topic: str = 'joy', page: str = '', stamp: float | None = None
    ) -> None:
        """One Joy message; ``buttons`` are the numbers of those pressed."""
        message = Joy(axes=[float(a) for a in axes], buttons=[int(i in buttons) for i in range(11)])
        message.header.stamp = convert.stamp_of(time.time() if stamp is None else stamp)
        message.header.frame_id = page
        self.publishers[topic].publish(message)

    def tool(self) -> np.ndarray:
        """Where the tool is, [3] m in the base frame."""
        return CHAIN.forward(self.position()[:6])[0]

    def press(self, free, held) -> None:
        """Press a dead-man, again and again until it counts."""
        self.keep(0.3, free)
        self.hold_until(self.drives, free, held)

    def hold_until(
        self, condition, free, held, timeout: float = 20.0, period: float = 0.02, rest: float = 0.3
    ) -> None:
        """Hold a dead-man until something is so, and press it anew where nobody drives.

        On a busy machine a message may come late, and a pause is taken for silence; holding on is no press.
        """
        end, driven = time.monotonic() + timeout, time.monotonic()
        while not condition():
            assert time.monotonic() < end, self.said()
            if self.drives():
                driven = time.monotonic()
            elif time.monotonic() - driven > 1.5:
                self.keep(rest, free, period)
                driven = time.monotonic()
            held()
            self.ros.spin_until(condition, period)

    def keep(self, seconds: float, say, period: float = 0.02) -> None:
        """Repeat what a device says."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            say()
            self.wait(period)

    def keep_until(self, condition, say, timeout: float = 20.0, period: float = 0.02) -> None:
        """Repeat what a device says until something is so; fails the test if it does not come about."""
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, self.said()
            say()
            self.ros.spin_until(condition, period)

    def said(self) -> str:
        """For a test that fails: the mode, and what the nodes printed."""
        return f'{self.mode.name}\n{self.teleop.output()}\n{self.gate.output()}'

    def drives(self) -> bool:
        return self.mode == ControlMode.HUMAN

    def plan(self, target: np.ndarray) -> None:
        """A policy's chunk of the present epoch, from now on."""
        self._seq += 1
        chunk = ActionChunk(
            stamp=convert.now(self.ros.node),
            actions=np.tile(target, (100, 1)),
            dt=0.1,
            seq=self._seq,
            epoch=self.states[-1].epoch,
            names=SPEC.joint_names,
        )
        self.chunks.publish(convert.chunk_msg(chunk, SPEC.base_frame))

    def plan_until_followed(self, target: np.ndarray) -> None:
        """A chunk that comes late is refused, so another follows until the policy drives."""
        followed = lambda: self.mode == ControlMode.POLICY  # noqa: E731
        self.keep_until(followed, lambda: self.plan(target), period=0.2)

    def speed(self, since: int = 0) -> np.ndarray:
        """Mean speed of the commanded tool [3] (m/s) while a person drove, from a number of commands on."""
        driven = [m for _, m in self.executed[since:] if m.source == Source.HUMAN]
        ends = [CHAIN.forward(np.array(m.executed[:6]))[0] for m in (driven[0], driven[-1])]
        took = convert.seconds(driven[-1].header.stamp) - convert.seconds(driven[0].header.stamp)
        return (ends[1] - ends[0]) / took

    def sources(self) -> list[Source]:
        return [Source(message.source) for _, message in self.executed]


AXES_AT_REST = (0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0)


def axes(**values: float) -> list[float]:
    """Axes of a pad as joy_node numbers them: x, y (left stick), z, yaw (right stick)."""
    numbers = {'y': 0, 'x': 1, 'yaw': 3, 'z': 4}
    result = list(AXES_AT_REST)
    for name, value in values.items():
        result[numbers[name]] = value
    return result
