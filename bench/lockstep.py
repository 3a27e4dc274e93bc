# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What ROS costs the simulated robot: sim_robot_node in lock-step beside the same world in a bare loop.

A control tick is a command, the physics, the measured joints, poses of tool and objects, and at the camera
rate two images with the truth. The node gets each command from another process over its controller topic
and answers with joint states: so a tick also pays for two messages and two wake-ups of Python. ``in its
own process`` calls the node's command directly: what making and sending the messages costs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from typing import Any

import psutil

from apprentice.bench.measure import numbers, timed
from apprentice.bench.runner import LIMIT, OURS, Case, Contestant, Ratio
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec

HERE = 'apprentice.bench.lockstep'
OVERHEAD = 1.3  # the most that a tick may cost beside the bare loop


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def cases(args: argparse.Namespace) -> list[Case]:
    parameters = {'seconds': args.seconds}
    names = {
        'library loop': (LIMIT, 'library'),
        'node in its own process': (OURS, 'inside'),
        'node over topics': (OURS, 'over_topics'),
    }
    return [
        Case(
            'control tick in lock-step',
            'ticks/s',
            [Contestant(n, kind, f'{HERE}:{way}', parameters=parameters) for n, (kind, way) in names.items()],
            [
                Ratio('node in its own process', 'library loop', 1 / OVERHEAD),
                Ratio('node over topics', 'library loop', 1 / OVERHEAD),
            ],
            note='sim_arm, two cameras at half the control rate',
        )
    ]


def library(seconds: float) -> dict[str, Any]:
    """The same world without ROS."""
    from apprentice.sim.world import World

    spec = RobotSpec.load(share('robots', 'sim_arm.yaml'))
    world, target = World(spec, 0), spec.vector('home')
    every = round(spec.control_hz / spec.cameras[0].rate_hz)
    ticks = 0

    def tick() -> int:
        nonlocal ticks
        world.step(target, 1 / spec.control_hz)
        if ticks % every == 0:
            world.render(), world.progress(), world.success()
        world.state(), world.velocity(), world.objects(), world.tip()
        ticks += 1
        return 1

    for _ in range(20):
        tick()
    return numbers(timed(tick, seconds), 'mujoco')


def inside(seconds: float) -> dict[str, Any]:
    """The node's own work for a command."""
    _own_domain()
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


def over_topics(seconds: float) -> dict[str, Any]:
    """The node in another process, commanded as the gate does."""
    _own_domain()
    import rclpy
    from sensor_msgs.msg import JointState
    from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

    from apprentice.nodes import qos

    spec = RobotSpec.load(share('robots', 'sim_arm.yaml'))
    rclpy.init()
    node = rclpy.create_node('bench_commander')
    command = node.create_publisher(JointTrajectory, spec.command.topic, qos.COMMAND)
    point = JointTrajectoryPoint(positions=[float(v) for v in spec.vector('home')])
    seen = 0

    def answer(message: JointState) -> None:
        nonlocal seen
        seen += 1
        reply = JointTrajectory(joint_names=list(spec.joint_names), points=[point])
        reply.header.stamp = message.header.stamp
        command.publish(reply)

    node.create_subscription(JointState, spec.joint_states_topic, answer, qos.SENSOR)
    arguments = ['-m', 'apprentice.nodes.sim_robot', '--ros-args', '-p', 'lockstep:=true']
    robot = subprocess.Popen([sys.executable, *arguments])
    try:
        deadline = time.monotonic() + 60.0
        while seen < 100:
            rclpy.spin_once(node, timeout_sec=0.5)
            if time.monotonic() > deadline or robot.poll() is not None:
                raise TimeoutError('sim_robot_node did not run; its last words are above')
        executor = rclpy.executors.SingleThreadedExecutor()
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


def _own_domain() -> None:
    """Use a ROS domain that nobody else on this machine uses."""
    from apprentice.cli.environment import free_domain

    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    os.environ['ROS_DOMAIN_ID'] = str(free_domain(range(120, 200)))
