# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The robot of the latency bench: a driver on the wall clock whose picture changes at known times.

Camera and joints are published at one rate, with the stamp of one moment; commands are logged as they
arrive. It also says what the episode node would say, that there is a task. Times: time.monotonic().
"""

from __future__ import annotations

import bisect
import gc
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from apprentice.bench.measure import Stopwatch
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import ControlMode

LEVELS = (40, 200)  # value of all pixels, as in peers/lerobot_async.py
START_S, SETTLE_S = 120.0, 2.0


def robot_file(size: int, camera_hz: float, control_hz: float, action_dt: float) -> dict[str, Any]:
    """Six joints and one camera. No limit cuts the two degrees between the policy's two answers."""
    limits = {'lower': -1.5, 'upper': 1.5, 'velocity': 4.0, 'jump': 1.0, 'home': 0.0}
    return {
        'name': 'bench_arm',
        'control_hz': control_hz,
        'action_dt': action_dt,
        'joints': [{'name': f'joint{i + 1}', **limits} for i in range(6)],
        'cameras': [
            {
                'name': 'front',
                'topic': 'camera/front/image_raw',
                'width': size,
                'height': size,
                'rate_hz': camera_hz,
            }
        ],
    }


def flips(begin: float, end: float, shortest: float, longest: float) -> list[float]:
    """When the picture changes: seeded, the last time so early that there is time to react."""
    rng, found, moment = random.Random(0), [], begin
    while (moment := moment + rng.uniform(shortest, longest)) <= end - shortest:
        found.append(moment)
    return found


@dataclass
class Log:
    """What happened while it was measured.

    Attributes:
        changes: (capture of the first changed picture, +1 bright or -1 dark).
        commands: (arrival, first joint in degrees), those before the measurement included.
        begun, ended: of the measurement.
        plans: seconds from the images to the chunk, as the policy node measured them.
        watch: wall and CPU time of the measurement, all processes.
    """

    changes: list[tuple[float, int]] = field(default_factory=list)
    commands: list[tuple[float, float]] = field(default_factory=list)
    plans: list[float] = field(default_factory=list)
    begun: float = 0.0
    ended: float = 0.0
    watch: Stopwatch = field(default_factory=Stopwatch)


class Driver:
    """Publishes and listens in a node of the caller's."""

    def __init__(self, node: Any, spec: RobotSpec, sway_deg: float):
        from apprentice_interfaces.msg import ActionChunk, ControlState, EpisodeState
        from sensor_msgs.msg import Image, JointState
        from trajectory_msgs.msg import JointTrajectory

        from apprentice.nodes import convert, qos
        from apprentice.nodes.runtime import wall_timer

        camera = spec.cameras[0]
        self.log, self.flips, self.mode, self.reason = Log(), list[float](), ControlMode.DISARMED, ''
        self._node, self._spec, self._convert = node, spec, convert
        self._sway, self._level = math.radians(sway_deg), 0
        self._frames = [np.full((camera.height, camera.width, 3), value, np.uint8) for value in LEVELS]
        self._images = node.create_publisher(Image, camera.topic, qos.SENSOR_PUBLISHER)
        self._joints = node.create_publisher(JointState, spec.joint_states_topic, qos.SENSOR_PUBLISHER)
        self._episode = node.create_publisher(EpisodeState, 'episode/state', qos.STATE)
        for kind, topic, callback, profile in (
            (JointTrajectory, spec.command.topic, self._on_command, qos.COMMAND),
            (ControlState, 'gate/state', self._on_gate, qos.STATE),
            (ActionChunk, 'policy/chunk', lambda m: self.log.plans.append(m.latency_s), qos.COMMAND),
        ):
            node.create_subscription(kind, topic, callback, profile)
        self._episode.publish(EpisodeState(phase=EpisodeState.RUNNING, task='react', episode_id='bench'))
        self._timer = wall_timer(node, 1 / camera.rate_hz, self._capture)

    def _capture(self) -> None:
        now, stamp = time.monotonic(), self._convert.now(self._node)
        level = bisect.bisect_right(self.flips, now) % 2
        if level != self._level:
            self._level = level
            self.log.changes.append((now, 1 if level else -1))
        self._images.publish(self._convert.image_msg(self._frames[level], stamp, 'front'))
        # the joints sway as those of LeRobot's fake arm, where it matters
        angle, sway = math.pi * now, self._sway
        joints = np.array([sway * (math.sin(angle) if i % 2 else math.cos(angle)) for i in range(6)])
        self._joints.publish(self._convert.joint_state_msg(stamp, self._spec.joint_names, joints))

    def _on_command(self, message: Any) -> None:
        self.log.commands.append((time.monotonic(), math.degrees(message.points[0].positions[0])))

    def _on_gate(self, message: Any) -> None:
        self.mode, self.reason = ControlMode(message.mode), message.reason


def run(
    spec: RobotSpec, seconds: float, flip_s: Sequence[float], sway_deg: float, alive: Callable[[], str]
) -> Log:
    """Drive until ``seconds`` have been measured, from when the policy is in control.

    Args:
        flip_s: shortest and longest time between two changes of the picture.
        alive: says which of the other processes has ended; ''.

    Raises RuntimeError when a process ends or the policy loses control.
    """
    import rclpy

    from apprentice.nodes.runtime import make_executor

    rclpy.init()
    node = rclpy.create_node('bench_driver')
    driver, executor = Driver(node, spec, sway_deg), make_executor()
    executor.add_node(node)
    log = driver.log

    def spin(until: Callable[[], bool], limit_s: float) -> bool:
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            executor.spin_once(timeout_sec=0.02)
            if until():
                return True
        return False

    def check() -> None:
        if alive():
            raise RuntimeError(f'{alive()} ended; its last words are above')
        if driver.mode != ControlMode.POLICY:
            raise RuntimeError(f'the gate is {driver.mode.name}: {driver.reason or "no chunk came"}')

    try:
        starting = (ControlMode.DISARMED, ControlMode.PAUSED)
        spin(lambda: bool(alive()) or driver.mode not in starting, START_S)
        check()
        spin(lambda: False, SETTLE_S)
        check()
        gc.collect()
        gc.freeze()  # as the nodes do
        del log.plans[:]
        log.begun = time.monotonic()
        driver.flips = flips(log.begun, log.begun + seconds, *flip_s)
        with log.watch.section():
            spin(lambda: driver.mode != ControlMode.POLICY, seconds)
        log.ended = time.monotonic()
        check()
        return log
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
