# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The ``faults`` parameter of nodes that can fail on purpose; empty: they do not.

It may be set while the node runs; the times of a plan count from that moment::

    ros2 param set /sim_robot faults "[{kind: camera_drop, for_s: 2.0}]"

On a command line (``-p faults:=...``) YAML text needs quotes of its own, because ROS reads it as YAML too.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node

from apprentice.nodes.runtime import StartupError, parameter, wall_timer
from apprentice.robot.spec import RobotSpec
from apprentice.sim.faults import FaultPlan, FaultPlanError, FaultyRobot

_WATCH_S = 0.02


class Faults:
    """The fault plan of one node.

    Args:
        clock: the node's time [s], in which the plan is timed.

    Attributes:
        robot: the devices with their faults, see FaultyRobot.
    """

    def __init__(self, node: Node, spec: RobotSpec, clock: Callable[[], float]):
        self._node, self._spec, self._clock = node, spec, clock
        about = 'faults on purpose: a YAML file or YAML text, see apprentice.sim.faults; empty: none'
        text = parameter(node, 'faults', '', about, read_only=False)
        try:
            self._begin(text)
        except FaultPlanError as error:
            raise StartupError(f'parameter faults: {error}') from error
        node.add_on_set_parameters_callback(self._on_set)
        wall_timer(node, _WATCH_S, self._watch)

    def _begin(self, text: str) -> None:
        cameras = [camera.name for camera in self._spec.cameras]
        plan = FaultPlan.parse(text).check(cameras, self._spec.joint_names)
        self.plan, self._began = plan, self._clock()
        self.robot = FaultyRobot(plan, self._spec.joint_names)
        if plan.faults:
            self._node.get_logger().warning(f'{len(plan.faults)} faults on purpose: {text}')

    def _on_set(self, parameters) -> SetParametersResult:
        for each in parameters:
            if each.name == 'faults':
                try:
                    self._begin(each.value)
                except FaultPlanError as error:
                    return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    @property
    def now(self) -> float:
        """Seconds since the plan was given."""
        return self._clock() - self._began

    def slowness(self) -> float:
        """Wall seconds that a model takes longer than it does."""
        fault = self.plan.find('slow_model', self.now)
        return fault.amount if fault is not None else 0.0

    def _watch(self) -> None:
        if self.plan.faults and self.plan.find('dead_node', self.now, self._node.get_name()):
            os.kill(os.getpid(), signal.SIGKILL)  # no goodbye: that is what is to be survived
