# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The ``robot`` parameter that every node has."""

from __future__ import annotations

import contextlib
from pathlib import Path

from rclpy.node import Node

from apprentice.nodes.runtime import StartupError, parameter
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec


def robot_path(node: Node) -> Path:
    """Declare ``robot`` and find the file: a path, or the name of one in the package's ``robots`` folder."""
    value = parameter(
        node, 'robot', 'sim_arm.yaml', 'robot file: a path, or a name in share/apprentice/robots'
    )
    if not value:
        raise StartupError('parameter robot is empty; pass the path of a robot file, or sim_arm')
    path = Path(value).expanduser()
    if not path.exists() and len(path.parts) == 1:
        # if there is none either, RobotSpec.load says what is wrong, with the name the user gave
        with contextlib.suppress(FileNotFoundError):
            return share('robots', value if path.suffix else f'{value}.yaml')
    return path


def load_robot(node: Node) -> RobotSpec:
    """Declare ``robot`` and read the file. Raises RobotFileError naming cause and remedy."""
    return RobotSpec.load(robot_path(node))


def load_simulated(node: Node) -> RobotSpec:
    """The robot file with the task that the parameter ``sim_task`` asks for, if any."""
    about = 'task in simulation, see docs/simulation.md; empty: the one of the robot file'
    return load_robot(node).with_task(parameter(node, 'sim_task', '', about))
