# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The ``robot`` parameter that every node has."""

from __future__ import annotations

from pathlib import Path

from rclpy.node import Node

from apprentice.nodes.runtime import StartupError, parameter
from apprentice.robot.parts import find_robot
from apprentice.robot.spec import RobotSpec

_FOREIGN_S = 8.0  # of a world that does not say, as in apprentice.sim.gym.world


def robot_path(node: Node) -> Path:
    """Declare ``robot`` and find the file: a path, or the name of one in the package's ``robots`` folder."""
    value = parameter(
        node, 'robot', 'sim_arm.yaml', 'robot file: a path, or a name in share/apprentice/robots'
    )
    if not value:
        raise StartupError('parameter robot is empty; pass the path of a robot file, or sim_arm')
    try:
        return find_robot(value)
    except FileNotFoundError as error:
        raise StartupError(f'{error} (robot:=FILE)') from None


def load_robot(node: Node) -> RobotSpec:
    """Declare ``robot`` and read the file. Raises RobotFileError naming cause and remedy."""
    return RobotSpec.load(robot_path(node))


def load_simulated(node: Node) -> RobotSpec:
    """The robot file with the task that the parameter ``sim_task`` asks for, if any."""
    about = 'task in simulation, see docs/simulation.md; empty: the one of the robot file'
    return load_robot(node).with_task(parameter(node, 'sim_task', '', about))


def task_duration(spec: RobotSpec) -> float:
    """Seconds after which an attempt in simulation has failed; 0 for a robot without a simulator.

    The task's own; in a world of somebody else's ``simulator.max_duration_s`` of the robot file. Raises
    StartupError for a task that cannot be loaded.
    """
    simulator = spec.simulator
    if not simulator:
        return 0.0
    if 'world' in simulator or 'task' not in simulator:
        return float(simulator.get('max_duration_s', _FOREIGN_S))
    from apprentice.sim.tasks import load_task  # MuJoCo only where it is used

    try:
        return float(load_task(str(simulator['task'])).max_duration_s)
    except (ValueError, ImportError, RuntimeError) as error:  # of MUJOCO_GL, too
        raise StartupError(f'{error}; or set max_duration_s, then the task need not be known here') from error
