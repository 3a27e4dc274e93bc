# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The ``faults`` parameter of nodes that can fail on purpose; empty: they do not.

It may be set while the node runs; the times of a plan count from that moment::

    ros2 param set /sim_robot faults "[{kind: camera_drop, for_s: 2.0}]"

On a command line (``-p faults:=...``) YAML text needs quotes of its own, because ROS reads it as YAML too.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node

from apprentice.nodes.runtime import StartupError, parameter, wall_timer
from apprentice.robot.spec import RobotSpec
from apprentice.sim.faults import KINDS, Fault, FaultPlan, FaultPlanError, FaultyRobot

# who carries out what; beside these every node with a plan carries out a dead_node of its own name
MODEL_FAULTS = frozenset({'slow_model'})
DEVICE_FAULTS = frozenset(KINDS) - MODEL_FAULTS - {'dead_node'}
_NODES = ('sim_robot', 'loopback_robot', 'policy')  # those that have a plan
_WATCH_S = 0.02


class Faults:
    """The fault plan of one node.

    Args:
        clock: the node's time [s], in which the plan is timed; 0 while it does not know.
        kinds: the faults that this node carries out; the others of a plan are for other nodes.

    Attributes:
        robot: the devices with their faults, see FaultyRobot.
    """

    def __init__(self, node: Node, spec: RobotSpec, clock: Callable[[], float], kinds: frozenset[str]):
        self._node, self._spec, self._clock, self._kinds = node, spec, clock, kinds
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
        self._announce()

    def _announce(self) -> None:
        """Log what of the plan happens here, elsewhere and nowhere."""
        name, log = self._node.get_name(), self._node.get_logger()
        rest = [fault for fault in self.plan.faults if not self._here(fault)]
        lost = [fault for fault in rest if fault.kind == 'dead_node' and fault.target not in _NODES]
        if len(rest) < len(self.plan.faults):
            log.warning(f'faults on purpose here: {_list(filter(self._here, self.plan.faults))}')
        if len(lost) < len(rest):
            log.info(
                f'faults for other nodes, which {name} does not carry out: '
                f'{_list(fault for fault in rest if fault not in lost)}'
            )
        if lost:
            log.warning(
                f'faults that nobody carries out: {_list(lost)}; only {", ".join(_NODES)} take a fault plan, '
                'kill another node by its process'
            )

    def _here(self, fault: Fault) -> bool:
        dies = fault.kind == 'dead_node' and fault.target == self._node.get_name()
        return dies or fault.kind in self._kinds

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
        """Seconds since the plan was given, or since the node first knew the time."""
        now = self._clock()
        if self._began <= 0:
            self._began = now  # simulated time is 0 until the first /clock
        return now - self._began

    def slowness(self) -> float:
        """Wall seconds that a model takes longer than it does."""
        fault = self.plan.find('slow_model', self.now)
        return fault.amount if fault is not None else 0.0

    def _watch(self) -> None:
        if self.plan.faults and self.plan.find('dead_node', self.now, self._node.get_name()):
            os.kill(os.getpid(), signal.SIGKILL)  # no goodbye: that is what is to be survived


def _list(faults: Iterable[Fault]) -> str:
    return ', '.join(f'{fault.kind} {fault.target}'.rstrip() for fault in faults)
