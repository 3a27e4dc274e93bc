# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Presses whose answers and states of the gate arrive in an unlucky order."""

import time

import pytest
import rclpy
from std_srvs.srv import SetBool

from apprentice.nodes import convert
from apprentice.nodes.teleop_commands import HumanCommands
from apprentice.nodes.teleop_drive import TeleopDrive
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.teleop import TeleopCommand
from apprentice.robot.teleop_control import DeviceArbiter
from apprentice.robot.types import ControlMode

SPEC = RobotSpec.load(share('robots', 'sim_arm.yaml'))
HUMAN, PAUSED = ControlMode.HUMAN, ControlMode.PAUSED


class Desk:
    """The drive in this process; the test is the gate: it counts takeovers, and answers when spun."""

    def __init__(self, ros, takeovers: int = 0, heard: bool = True) -> None:
        self.ros, self.takeovers, self.asked = ros, takeovers, []
        self.commands = HumanCommands(ros.node, SPEC)
        ros.node.create_service(SetBool, 'gate/request_control', self._serve)
        self.drive = TeleopDrive(ros.node, SPEC, self.commands, 'joy', 50.0, lambda: None)
        assert ros.spin_until(self.drive._control.service_is_ready)
        self.drive._stream.on_joints(
            convert.joint_state_msg(time.time(), SPEC.joint_names, SPEC.vector('home'))
        )
        # a pause of a busy machine is no silence
        self.drive._arbiter = DeviceArbiter({'joy': 5.0})
        self.press(False)
        if heard:  # the gate, for long enough to have seen who else drives
            self.drive.on_mode(PAUSED, takeovers)
            self.drive._heard_at -= 10.0

    def _serve(self, request, response):
        self.asked.append(request.data)
        self.takeovers += request.data
        response.success, response.message = True, f'takeover {self.takeovers}' if request.data else 'PAUSED'
        return response

    def press(self, *held: bool) -> None:
        for state in held:
            self.drive._on_device('joy', TeleopCommand(time.time(), held=state))

    def until_asked(self, *expected: bool) -> None:
        # what was asked stays in there until it is answered
        self.ros.spin_until(lambda: len(self.asked) >= len(expected) and not self.drive._answers)
        assert self.asked == list(expected)

    @property
    def own(self) -> int | None:
        return self.drive._own_id if self.drive.holding else None


@pytest.fixture
def desk(ros):
    return Desk(ros, takeovers=3)


def test_press_release_press_drives_in_its_own_takeover(desk):
    desk.press(True, False, True)
    # the states of the first press come before any answer
    for mode in (HUMAN, PAUSED):
        desk.drive.on_mode(mode, 4)
        assert desk.drive.holding
        assert desk.own is None
    desk.until_asked(True, False, True)
    desk.drive.on_mode(HUMAN, 5)
    assert desk.own == 5


def test_the_state_may_come_before_the_answer(desk):
    desk.press(True)
    desk.drive.on_mode(HUMAN, 4)
    desk.until_asked(True)
    assert desk.own == 4


def test_who_drops_a_press_that_is_unanswered_gives_back_what_may_come(desk):
    desk.drive.on_mode(HUMAN, 3)  # somebody else's takeover
    desk.press(True)
    assert desk.own == 3
    desk.drive.on_mode(PAUSED, 3)  # which ends before the gate hears of us
    assert not desk.drive.holding
    desk.until_asked(True, False)


def test_a_gate_that_was_started_anew_has_to_be_asked_again(desk):
    desk.press(True)
    desk.until_asked(True)
    desk.drive.on_mode(HUMAN, 4)
    assert desk.own == 4
    desk.drive.on_mode(ControlMode.DISARMED, 0)
    assert not desk.drive.holding
    assert desk.drive.values()['last_release'] == 'the gate was started anew'


def test_a_node_that_has_just_begun_takes_over_from_nobody_it_cannot_see(ros):
    desk = Desk(ros, takeovers=3, heard=False)
    desk.press(True)
    assert 'nothing has been heard from the gate' in desk.drive.values()['last_release']
    desk.drive.on_mode(HUMAN, 3)
    desk.press(False, True)
    assert not desk.drive.holding
    assert 'somebody may be driving' in desk.drive.values()['last_release']
    desk.drive.on_mode(PAUSED, 3)
    desk.press(False, True)  # where nobody drives it need not wait
    assert desk.drive.holding


def test_nobody_presses_into_the_takeover_of_another_node(ros, desk):
    other = ros.add(rclpy.create_node('teleop_keyboard'))
    theirs = HumanCommands(other, SPEC)
    assert ros.spin_until(lambda: ros.node.count_publishers('human/command') == 2)
    desk.drive.on_mode(HUMAN, 3)
    desk.press(True)
    assert not desk.drive.holding
    assert '/teleop_keyboard may be driving' in desk.drive.values()['last_release']
    # theirs goes on: nothing was asked of the gate
    desk.until_asked()
    # from any other mode the gate decides; and within a node it changes hands
    desk.drive.on_mode(PAUSED, 3)
    desk.press(False, True)
    desk.until_asked(True)
    desk.press(False)
    desk.until_asked(True, False)
    desk.drive.on_mode(HUMAN, 5)
    desk.commands.publish(time.time(), SPEC.vector('home'))
    desk.press(True)
    assert desk.drive.holding
    assert theirs.driven_elsewhere() == f'/{ros.node.get_name()}'


def test_a_node_that_nobody_drives_through_is_in_nobodys_way(ros, desk):
    idle = HumanCommands(ros.add(rclpy.create_node('idle')), SPEC, drives=False)
    ros.spin_until(lambda: False, 0.3)
    assert ros.node.count_publishers('human/command') == 1
    assert idle.driven_elsewhere() == ''
