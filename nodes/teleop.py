# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""People at the controls: a real one through any device, and in simulation a scripted one beside."""

from __future__ import annotations

from apprentice_interfaces.msg import ControlState
from rclpy.node import Node

from apprentice.nodes import qos
from apprentice.nodes.robot_file import load_simulated
from apprentice.nodes.runtime import Diagnostics, parameter, run
from apprentice.nodes.teleop_commands import HumanCommands
from apprentice.nodes.teleop_drive import TeleopDrive, device_names
from apprentice.robot.types import ControlMode


class TeleopNode(Node):
    """Streams a person's joint targets to human/command.

    A real person drives through the devices of ``device`` while a dead-man is held (teleop_drive.py); the
    scripted person of ``person`` drives whenever else the gate says HUMAN (teleop_person.py).
    """

    def __init__(self) -> None:
        super().__init__('teleop')
        self.spec = load_simulated(self)
        person = parameter(
            self,
            'person',
            'apprentice.sim.people:ScriptedPerson',
            'scripted person as package.module:Class; empty: only a real one drives',
        )
        about = 'mappings of devices, separated by commas: names in share/apprentice/teleop or files; or none'
        devices = parameter(self, 'device', 'browser', about)
        rate = parameter(self, 'rate_hz', 0.0, 'rate of joint states; 0 takes the robot file', 0.0, 1000.0)
        rate = rate or self.spec.control_hz
        self.mode = ControlMode.DISARMED
        commands = HumanCommands(self, self.spec, drives=bool(person or device_names(devices)))
        self._person = None
        if person:
            from apprentice.nodes.teleop_person import PersonDriver

            self._person = PersonDriver(self, self.spec, commands, person, rate)
        self._drive = TeleopDrive(self, self.spec, commands, devices, rate, self._tell_person)
        self.create_subscription(ControlState, 'gate/state', self._on_gate, qos.STATE)
        Diagnostics(self, self._report, self.spec.name)

    def _on_gate(self, message: ControlState) -> None:
        self.mode = ControlMode(message.mode)
        self._drive.on_mode(self.mode, message.takeover_id)
        self._tell_person()

    def _tell_person(self) -> None:
        """The scripted person leaves the controls to a real one."""
        if self._person is not None:
            self._person.on_mode(ControlMode.PAUSED if self._drive.occupied else self.mode)

    def _report(self) -> tuple[bytes, str, dict]:
        values = {**self._drive.values(), **(self._person.values() if self._person is not None else {})}
        problems = self._drive.problems()
        if problems and self._person is None and set(problems) != {'browser'}:
            text = '; '.join(f'{name}: {problem}' for name, problem in problems.items())
            return Diagnostics.WARN, text, values
        return Diagnostics.OK, 'driving' if self.mode == ControlMode.HUMAN else 'watching', values

    def close(self) -> None:
        """Give terminals and device files back."""
        self._drive.close()


def main() -> None:
    """Entry point of ``teleop_node``."""
    run(TeleopNode)


if __name__ == '__main__':
    main()
