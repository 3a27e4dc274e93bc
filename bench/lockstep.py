# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What ROS costs the simulated robot: sim_robot_node in lock-step beside the same world in a bare loop.

A control tick is a command, the physics, the measured joints, and at the camera rate two images with the
truth. The node gets each command from another process over its controller topic, as from the gate, and
answers with images and joint states: a tick also pays for the messages and for two wake-ups of Python
(``round trip`` is that alone: two bare nodes that answer each other). ``in its own process`` calls the node's
command directly: what the node adds, messages made and sent included. In the
second case the commands are planned by the shipped policy, from the images, as in an episode.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from functools import partial
from typing import Any

import numpy as np
import psutil

from apprentice.bench.measure import numbers, timed, use_free_ros_domain
from apprentice.bench.runner import LIMIT, OURS, Case, Contestant, Ratio
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Observation

HERE = 'apprentice.bench.lockstep'
OVERHEAD = 1.3  # the most that a tick of the node may take beside the bare loop
ENVIRONMENT = {'LP_NUM_THREADS': '0', 'OMP_NUM_THREADS': '1'}  # as the launch file sets them
ROWS = 4  # of a chunk that are followed before the next is planned, as in an episode


def cases(args: argparse.Namespace) -> list[Case]:
    return [
        _case(
            'control tick, commands ready',
            False,
            ('library', 'inside', 'over_topics', 'round_trip'),
            args.seconds,
        ),
        _case('control tick, commands planned by the policy', True, ('library', 'over_topics'), args.seconds),
    ]


def _case(title: str, policy: bool, ways: tuple[str, ...], seconds: float) -> Case:
    names = {
        'library': 'library loop',
        'inside': 'node in its own process',
        'over_topics': 'node over topics',
        'round_trip': 'round trip of two bare nodes',
    }
    rows = []
    for way in ways:
        parameters = (
            {'seconds': seconds}
            if way in ('inside', 'round_trip')
            else {'seconds': seconds, 'policy': policy}
        )
        kind = LIMIT if way in ('library', 'round_trip') else OURS
        rows.append(
            Contestant(names[way], kind, f'{HERE}:{way}', parameters=parameters, environment=ENVIRONMENT)
        )
    targets = {'inside': round(1 / OVERHEAD, 2)}  # over topics DDS and the scheduler decide
    compared = [way for way in ways if way in ('inside', 'over_topics')]
    ratios = [Ratio(names[way], names['library'], targets.get(way)) for way in compared]
    return Case(title, 'ticks/s', rows, ratios, note='sim_arm, two cameras at half the control rate')


class Commander:
    """Commands for the ticks of one arm: home, or chunks of the shipped policy."""

    def __init__(self, spec: RobotSpec, policy: bool):
        self.spec, self._ticks, self._chunk = spec, 0, spec.vector('home')[None]
        self._per_row = round(spec.action_dt * spec.control_hz)
        self._act = self._load() if policy else None

    def _load(self):
        import torch
        import torch._dynamo  # before the first GL context, see docs/architecture.md

        from apprentice.policies import checkpoint

        torch.set_num_threads(1)
        policy, _ = checkpoint.load(share('weights', 'policy'))
        generator = torch.Generator().manual_seed(0)
        return lambda observation: policy.act(observation, generator)

    def target(self, images: dict[str, np.ndarray], state: np.ndarray) -> np.ndarray:
        """The command [dim] of the next tick."""
        row = self._ticks // self._per_row % ROWS
        if self._act is not None and self._ticks % (ROWS * self._per_row) == 0:
            self._chunk = self._act(Observation(0.0, images, state, 'pick up the red cube'))
        self._ticks += 1
        return self._chunk[min(row, len(self._chunk) - 1)]


def library(seconds: float, policy: bool) -> dict[str, Any]:
    """The same world without ROS."""
    spec = RobotSpec.load(share('robots', 'sim_arm.yaml'))
    commander = Commander(spec, policy)
    from apprentice.sim.world import World

    world, images, ticks = World(spec, 0), {}, 0
    every = round(spec.control_hz / spec.cameras[0].rate_hz)

    def tick() -> int:
        nonlocal ticks, images
        if ticks % every == 0:
            images = world.render()
            world.progress(), world.success()
        target = commander.target(images, world.state())
        world.velocity()
        world.step(target, 1 / spec.control_hz)
        ticks += 1
        return 1

    for _ in range(20):
        tick()
    return numbers(timed(tick, seconds), 'mujoco', 'torch')


def inside(seconds: float) -> dict[str, Any]:
    """The node's own work for a command."""
    use_free_ros_domain()
    import rclpy

    from apprentice.nodes.sim_robot import SimRobotNode

    rclpy.init(args=['bench', '--ros-args', '-p', 'lockstep:=true'])
    node = SimRobotNode()
    target = node.spec.vector('home')

    def tick() -> int:
        node._command(target)
        return 1

    for _ in range(20):
        tick()
    try:
        return numbers(timed(tick, seconds), 'mujoco', 'ros-jazzy-rclpy')
    finally:
        node.close()
        node.destroy_node()
        rclpy.shutdown()


def over_topics(seconds: float, policy: bool) -> dict[str, Any]:
    """The node in another process, commanded as the gate does; the images are received too."""
    use_free_ros_domain()
    import rclpy
    from sensor_msgs.msg import Image, JointState
    from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

    from apprentice.nodes import convert, qos
    from apprentice.nodes.runtime import make_executor

    spec = RobotSpec.load(share('robots', 'sim_arm.yaml'))
    commander = Commander(spec, policy)
    rclpy.init()
    node = rclpy.create_node('bench_commander')
    command = node.create_publisher(JointTrajectory, spec.command.topic, qos.COMMAND)
    images = {c.name: np.zeros((c.height, c.width, 3), np.uint8) for c in spec.cameras}
    seen = 0

    def see(name: str, message: Image) -> None:
        images[name] = convert.image_array(message)

    def answer(message: JointState) -> None:
        nonlocal seen
        seen += 1
        target = commander.target(images, convert.joint_vector(message, spec.joint_names))
        point = JointTrajectoryPoint(positions=[float(v) for v in target])
        reply = JointTrajectory(joint_names=list(spec.joint_names), points=[point])
        reply.header.stamp = message.header.stamp
        command.publish(reply)

    for camera in spec.cameras:
        node.create_subscription(Image, camera.topic, partial(see, camera.name), qos.SENSOR)
    node.create_subscription(JointState, spec.joint_states_topic, answer, qos.SENSOR)
    arguments = ['-m', 'apprentice.nodes.sim_robot', '--ros-args', '-p', 'lockstep:=true']
    robot = subprocess.Popen([sys.executable, *arguments])
    try:
        deadline = time.monotonic() + 60.0
        while seen < 100:
            rclpy.spin_once(node, timeout_sec=0.5)
            if time.monotonic() > deadline or robot.poll() is not None:
                raise TimeoutError('sim_robot_node did not run; its last words are above')
        executor = make_executor()
        executor.add_node(node)
        child, first, started = psutil.Process(robot.pid), seen, time.perf_counter()
        used = sum(child.cpu_times()[:2])
        while time.perf_counter() < started + seconds:
            executor.spin_once(timeout_sec=0.5)
        wall, done = time.perf_counter() - started, seen - first
        used = sum(child.cpu_times()[:2]) - used
    finally:
        robot.terminate()
        robot.wait()
        node.destroy_node()
        rclpy.shutdown()
    measured = {'value': done / wall, 'count': done, 'wall_s': wall, 'cpu_s': used}
    return numbers(measured, 'mujoco', 'ros-jazzy-rclpy')


def round_trip(seconds: float, echo: bool = False) -> dict[str, Any]:
    """A joint state there and a trajectory back, between two processes that do nothing else."""
    if not echo:
        use_free_ros_domain()
    import rclpy
    from sensor_msgs.msg import JointState
    from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

    from apprentice.nodes import qos
    from apprentice.nodes.runtime import make_executor

    names, values = [f'joint{i}' for i in range(7)], [0.0] * 7
    rclpy.init()
    node, seen = rclpy.create_node(f'bench_{"echo" if echo else "call"}'), 0

    def answer(_: Any) -> None:
        nonlocal seen
        seen += 1
        if echo:
            point = JointTrajectoryPoint(positions=values)
            publisher.publish(JointTrajectory(joint_names=names, points=[point]))
        else:
            publisher.publish(JointState(name=names, position=values, velocity=values))

    ours, theirs = (('command', JointTrajectory), ('state', JointState))[:: 1 if echo else -1]
    publisher = node.create_publisher(ours[1], ours[0], qos.SENSOR_PUBLISHER)
    node.create_subscription(theirs[1], theirs[0], answer, qos.SENSOR)
    executor = make_executor()
    executor.add_node(node)
    if echo:  # until it is ended
        while True:
            executor.spin_once(timeout_sec=0.5)
    code = f'from {HERE} import round_trip; round_trip(0.0, True)'
    other = subprocess.Popen([sys.executable, '-c', code])
    try:
        deadline = time.monotonic() + 60.0
        while seen < 100:  # the first ones are lost until the two have found each other
            if seen == 0:
                answer(None)
                seen = 0
            executor.spin_once(timeout_sec=0.2)
            if time.monotonic() > deadline:
                raise TimeoutError('the other process did not answer')
        first, started = seen, time.perf_counter()
        while time.perf_counter() < started + seconds:
            executor.spin_once(timeout_sec=0.2)
        wall = time.perf_counter() - started
    finally:
        other.terminate()
        other.wait()
        rclpy.shutdown()
    measured = {'value': (seen - first) / wall, 'count': seen - first, 'wall_s': wall, 'cpu_s': 0.0}
    return numbers(measured, 'ros-jazzy-rclpy')
