# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Devices without a driver node: a terminal that is a pty, and the kernel's events, virtual where allowed."""

import os
import pty

import numpy as np
import pytest
from sensor_msgs.msg import JointState

from apprentice.nodes.runtime import StartupError
from apprentice.nodes.teleop_devices.evdev_device import EvdevState, missing
from apprentice.nodes.teleop_devices.keyboard import KeyboardOptions, TypedKeys, key_names
from apprentice.nodes.teleop_devices.leader import JointTable
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.teleop_mapping import DeviceMapping, Translator
from apprentice.robot.types import ControlMode

SPEC = RobotSpec.load(share('robots', 'sim_arm.yaml'))


# the terminal


def test_names_of_keys():
    assert key_names(b'w \x1b[A\x1bW\r\x7f\xff') == [
        'w', 'space', 'up', 'escape', 'w', 'enter', 'backspace',
    ]  # fmt: skip


def test_a_key_is_held_while_it_repeats():
    now = [0.0]
    keys = TypedKeys(KeyboardOptions(), {'w', 's'}, lambda: now[0])

    def pressed(at, key=''):
        now[0] = at
        if key:
            keys.press(key)
        found = keys.pressed()
        return found.get('w', False), found['any']

    assert pressed(0.0) == (False, False)
    assert pressed(1.0, 'w') == (True, True)
    # a tap moves shortly and holds until the keyboard would repeat
    assert pressed(1.2) == (False, True)
    assert pressed(1.6, 'w') == (True, True)
    assert pressed(1.64, 'w') == (True, True)
    # repeating, 0.3 s of silence are the release
    assert pressed(1.93) == (False, True)
    assert pressed(1.95) == (False, False)
    # a command is no dead-man, and one press although it repeats
    assert pressed(3.0, 'enter') == (False, False)
    assert keys.pressed()['enter']
    now[0] = 3.5
    assert keys.pressed()['enter']


def test_a_terminal_drives_the_real_gate(ros, start_node, tmp_path):
    from teleop_rig import TeleopRig

    ours, theirs = pty.openpty()
    mapping = tmp_path / 'typed.yaml'
    text = share('teleop', 'keyboard.yaml').read_text()
    mapping.write_text(text.replace('options: {', f'options: {{terminal: {os.ttyname(theirs)}, '))
    rig = TeleopRig(ros, start_node, str(mapping))
    rig.ready()
    start = rig.tool()
    rig.keep_until(lambda: rig.tool()[1] > start[1] + 0.01, lambda: os.write(ours, b'a'), period=0.03)
    assert rig.mode == ControlMode.HUMAN
    rig.until_mode(ControlMode.PAUSED)  # nothing is typed any more
    # the terminal window is closed while it drives
    rig.keep_until(rig.drives, lambda: os.write(ours, b'w'), period=0.03)
    os.close(theirs)
    os.close(ours)
    rig.until_mode(ControlMode.PAUSED)
    assert rig.ros.spin_until(lambda: 'the terminal is gone' in rig.teleop.output())


def test_without_a_terminal_it_says_what_to_do(start_node, tmp_path):
    mapping = tmp_path / 'typed.yaml'
    mapping.write_text(
        share('teleop', 'keyboard.yaml').read_text().replace('options: {', 'options: {terminal: /dev/null, ')
    )
    process = start_node('teleop', '-p', "person:=''", '-p', f'device:={mapping}')
    assert process.popen.wait(60.0) == 2
    assert 'start the teleop node in a terminal of its own' in process.output()


@pytest.mark.parametrize(
    ('device', 'message'),
    [
        ('xbocks', "no mapping 'xbocks'"),
        ('joy,joy', 'two mappings have the same name'),
    ],
)
def test_a_wrong_device_ends_with_one_line(start_node, device, message):
    process = start_node('teleop', '-p', "person:=''", '-p', f'device:={device}')
    assert process.popen.wait(60.0) == 2
    assert message in process.output()
    assert 'Traceback' not in process.output()


# the kernel


def test_events_of_a_pad_become_a_command():
    pytest.importorskip('evdev')
    from evdev import ecodes

    mapping = DeviceMapping.load('xbox')
    state, translator = EvdevState(mapping), Translator(mapping)
    state._range = {code: (-32768, 32767) for code in (ecodes.ABS_X, ecodes.ABS_Y)}
    state._range |= {ecodes.ABS_Z: (0, 1023), ecodes.ABS_RZ: (0, 1023)}

    def command(*events):
        for kind, code, value in events:
            state.change(kind, code, value)
        return translator.command(state.axes, state.buttons, 0.0, 0.0)

    rest = command((ecodes.EV_ABS, ecodes.ABS_Z, 0), (ecodes.EV_ABS, ecodes.ABS_RZ, 0))
    assert not rest.held
    assert rest.gripper == 0.0
    forward = command(
        (ecodes.EV_KEY, ecodes.BTN_TL, 1),
        (ecodes.EV_KEY, ecodes.BTN_TR, 1),
        (ecodes.EV_ABS, ecodes.ABS_Y, -32768),
        (ecodes.EV_ABS, ecodes.ABS_RZ, 1023),
        (ecodes.EV_KEY, ecodes.KEY_A, 1),  # not mapped
    )
    assert forward.held
    np.testing.assert_allclose(forward.linear, [mapping.linear_speed, 0, 0])
    assert forward.gripper == -1.0
    assert command((ecodes.EV_KEY, ecodes.BTN_EAST, 1)).events == {'stop'}
    assert not command((ecodes.EV_KEY, ecodes.BTN_TL, 0)).held


def test_names_that_the_kernel_does_not_know():
    pytest.importorskip('evdev')
    for name in ('BTN_SOUHT', '7'):
        data = {'device': 'a.b:C', 'name': 'mine', 'buttons': {'hold': [name]}}
        with pytest.raises(StartupError, match=f"mapping mine: evdev knows no '{name}'"):
            EvdevState(DeviceMapping.from_dict(data))
    assert 'input' in missing([])


def uinput(capabilities):
    """A virtual device; skips where the machine does not allow one."""
    evdev = pytest.importorskip('evdev')
    if not os.access('/dev/uinput', os.W_OK):
        pytest.skip('/dev/uinput is not there or not writable: no virtual device on this machine')
    return evdev.UInput(capabilities, name='apprentice test pad')


def test_a_virtual_pad_drives_and_is_unplugged(ros, start_node):
    evdev = pytest.importorskip('evdev')
    from evdev import AbsInfo, ecodes
    from teleop_rig import TeleopRig

    stick, trigger = AbsInfo(0, -32768, 32767, 0, 0, 0), AbsInfo(0, 0, 255, 0, 0, 0)
    sticks = [ecodes.ABS_X, ecodes.ABS_Y, ecodes.ABS_RX, ecodes.ABS_RY]
    pad = {
        ecodes.EV_KEY: list(range(ecodes.BTN_SOUTH, ecodes.BTN_THUMBR + 1)),
        ecodes.EV_ABS: [
            *((code, stick) for code in sticks),
            *((code, trigger) for code in (ecodes.ABS_Z, ecodes.ABS_RZ)),
            *((code, AbsInfo(0, -1, 1, 0, 0, 0)) for code in (ecodes.ABS_HAT0X, ecodes.ABS_HAT0Y)),
        ],
    }
    device = uinput(pad)
    if not evdev.list_devices():
        device.close()
        pytest.skip('the virtual device does not appear in /dev/input')
    rig = TeleopRig(ros, start_node, 'xbox')
    rig.ready()
    assert ros.spin_until(lambda: 'apprentice test pad' in rig.teleop.output(), 10.0)
    start = rig.tool()
    device.write(ecodes.EV_KEY, ecodes.BTN_TL, 1)
    device.write(ecodes.EV_ABS, ecodes.ABS_Y, -32768)
    device.syn()
    rig.keep_until(lambda: rig.tool()[0] > start[0] + 0.01, lambda: None)
    device.close()
    rig.until_mode(ControlMode.PAUSED)
    # plugged in again with the dead-man pressed: that is no press
    device = uinput(pad)
    device.write(ecodes.EV_KEY, ecodes.BTN_TL, 1)
    device.syn()
    rig.wait(2.5)
    assert rig.mode == ControlMode.PAUSED
    device.write(ecodes.EV_KEY, ecodes.BTN_TL, 0)
    device.syn()
    rig.wait(0.3)
    device.write(ecodes.EV_KEY, ecodes.BTN_TL, 1)
    device.syn()
    rig.until_mode(ControlMode.HUMAN)
    device.close()


# the leader


def test_joints_of_a_leader_in_the_robots_units():
    joints = {
        'joint1': {'leader': 'pan', 'scale': -1.0, 'offset': 0.5},
        'gripper': {'leader': 'trigger', 'closed': 1.0, 'opened': 0.0},
    }
    table = JointTable(SPEC, joints, 'mapping mine')
    message = JointState(name=['trigger', 'pan', 'joint2'], position=[0.25, 0.2, 0.7])
    positions = table.positions(message)
    np.testing.assert_allclose(positions[[0, 1, 6]], [0.3, 0.7, 0.03])
    assert np.all(np.isnan(positions[2:6]))
    for wrong, told in (
        ({'elbow': {}}, "no joint \\['elbow'\\]"),
        ({'joint1': {'sign': -1}}, "joint1 has no \\['sign'\\]"),
        ({'gripper': {'closed': 1.0, 'opened': 1.0}}, 'closed and opened are the same'),
        (3, 'options.joints maps'),
    ):
        with pytest.raises(StartupError, match=told):
            JointTable(SPEC, wrong, 'mapping mine')
