# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Devices that fall silent, come back, deliver late or many events at once; in-process, on real topics."""

import time
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from geometry_msgs.msg import Twist, TwistStamped, Vector3
from sensor_msgs.msg import Joy

from apprentice.nodes import convert, qos
from apprentice.nodes.teleop_devices.browser import Browser
from apprentice.nodes.teleop_devices.joy import JoyPad
from apprentice.nodes.teleop_devices.spacemouse import SpaceMouse
from apprentice.robot.teleop_control import Action, DeviceArbiter
from apprentice.robot.teleop_mapping import DeviceMapping

HOLD, STOP = 4, 1


def patient(name: str) -> DeviceMapping:
    """A shipped mapping in which a pause of a busy machine is no silence."""
    return replace(DeviceMapping.load(name), timeout_s=2.0, max_age_s=2.0)


class Hands:
    """A device on the helper node, what it delivered with the time, and what its arbiter asked for."""

    def __init__(self, ros, kind, mapping: DeviceMapping, **topics: type) -> None:
        self.ros, self.name, self.actions, self.events, self.said = ros, mapping.name, [], [], []
        self.arbiter = DeviceArbiter({mapping.name: mapping.timeout_s})
        before = list(ros.node.subscriptions)
        self.device = kind(ros.node, mapping, self._deliver)
        self.heard = 0
        for subscription in set(ros.node.subscriptions) - set(before):
            subscription.callback = partial(self._hear, subscription.callback)
        self._publishers = {
            topic: ros.node.create_publisher(message, topic.replace('__', '/'), qos.SENSOR_PUBLISHER)
            for topic, message in topics.items()
        }
        assert ros.spin_until(lambda: all(p.get_subscription_count() for p in self._publishers.values()))

    def _hear(self, callback, message) -> None:
        callback(message)
        self.heard += 1

    def _deliver(self, command) -> None:
        now = time.monotonic()
        self.said.append((now, command))
        if command is None:
            self.actions += self.arbiter.gone(self.name)
        else:
            self.actions += self.arbiter.on_command(self.name, command, now)
            self.events += self.arbiter.events(self.name, command)

    def send(self, topic: str, message) -> None:
        count = self.heard
        self._publishers[topic].publish(message)
        assert self.ros.spin_until(lambda: self.heard > count)

    def joy(self, *buttons: int, age: float = 0.0) -> None:
        message = Joy(axes=[0.0] * 8, buttons=[int(i in buttons) for i in range(11)])
        message.header.stamp = convert.stamp_of(time.time() - age)
        self.send('joy', message)


def test_stop_in_a_message_that_came_late_is_heard_and_nothing_else(ros):
    pad = Hands(ros, JoyPad, patient('joy'), joy=Joy)
    pad.joy()
    pad.joy(HOLD)
    assert pad.actions == [Action.TAKE]
    pad.joy(HOLD, STOP, age=3.0)
    assert (pad.events, pad.actions) == (['stop'], [Action.TAKE, Action.RELEASE])
    # once a press, and the dead-man that was held all along is none
    pad.joy(HOLD, STOP, age=3.0)
    pad.joy(HOLD, STOP)
    pad.joy(HOLD)
    assert (pad.events, len(pad.actions)) == (['stop'], 2)
    pad.joy(3, age=3.0)  # a label
    assert pad.events == ['stop']


def test_a_pad_whose_messages_all_come_late_can_stop(ros):
    pad = Hands(ros, JoyPad, patient('joy'), joy=Joy)
    pad.joy(STOP, age=3.0)  # pressed already at the beginning
    assert pad.events == []
    pad.joy(age=3.0)
    pad.joy(STOP, age=3.0)
    assert (pad.events, pad.actions) == (['stop'], [])


def test_a_pad_that_comes_back_pressed_does_not_take_the_robot(ros):
    pad = Hands(ros, JoyPad, replace(patient('joy'), timeout_s=1.0), joy=Joy)
    pad.joy()
    ros.spin_until(lambda: False, 1.2)  # longer than timeout_s, nobody drives
    pad.joy(HOLD)
    pad.joy(HOLD)
    assert pad.actions == []
    pad.joy()
    pad.joy(HOLD)
    assert pad.actions == [Action.TAKE]


def push(x: float) -> Twist:
    return Twist(linear=Vector3(x=x))


def mouse_of(ros, **changes) -> Hands:
    data = {'device': 'a.b:C', 'name': 'cap', 'axes': {'x': {'axis': 'x'}}, 'buttons': {'hold': ['motion']}}
    mapping = DeviceMapping.from_dict({**data, **changes})
    return Hands(ros, SpaceMouse, mapping, spacenav__twist=Twist, spacenav__joy=Joy)


def test_a_mouse_that_comes_back_pressed_does_not_take_the_robot(ros):
    mouse = mouse_of(ros, buttons={'hold': ['0']}, timeout_s=1.0)
    mouse.send('spacenav__joy', Joy(buttons=[0, 0]))
    ros.spin_until(lambda: False, 1.2)
    mouse.send('spacenav__joy', Joy(buttons=[1, 0]))
    assert mouse.actions == []
    mouse.send('spacenav__joy', Joy(buttons=[0, 0]))
    mouse.send('spacenav__joy', Joy(buttons=[1, 0]))
    assert mouse.actions == [Action.TAKE]


def joy_of(*buttons: int, age: float = 0.0, page: str = '') -> Joy:
    message = Joy(buttons=[int(i in buttons) for i in range(11)])
    message.header.stamp, message.header.frame_id = convert.stamp_of(time.time() - age), page
    return message


def test_stop_of_a_mouse_is_heard_however_late(ros):
    mouse = mouse_of(ros, buttons={'hold': ['0'], 'stop': ['1']}, timeout_s=2.0)
    mouse.send('spacenav__joy', joy_of())
    mouse.send('spacenav__joy', joy_of(0))
    assert mouse.actions == [Action.TAKE]
    mouse.send('spacenav__joy', joy_of(0, 1, age=3.0))
    assert (mouse.events, mouse.actions) == (['stop'], [Action.TAKE, Action.RELEASE])


def test_stop_of_a_page_is_heard_however_late_and_whoever_drives(ros):
    pages = Hands(ros, Browser, patient('browser'), teleop__twist=TwistStamped, teleop__joy=Joy)
    pages.send('teleop__joy', joy_of(page='a'))
    pages.send('teleop__joy', joy_of(0, page='a'))
    assert pages.actions == [Action.TAKE]
    pages.send('teleop__joy', joy_of(0, 5, age=3.0, page='b'))  # a label is not
    assert (pages.events, pages.actions) == ([], [Action.TAKE])
    pages.send('teleop__joy', joy_of(9, age=3.0, page='b'))
    assert (pages.events, pages.actions) == (['stop'], [Action.TAKE, Action.RELEASE])
    pages.send('teleop__joy', joy_of(0, page='a'))  # held all along: no press
    assert pages.actions == [Action.TAKE, Action.RELEASE]


def test_a_mouse_whose_driver_dies_stops_at_once_and_is_let_go_in_time(ros):
    mouse = mouse_of(ros, timeout_s=1.5, motion_hold_s=2.0)
    mouse.send('spacenav__twist', push(0.0))
    mouse.send('spacenav__twist', push(1.0))
    assert mouse.actions == [Action.TAKE]
    died = time.monotonic()
    assert ros.spin_until(lambda: mouse.said[-1][1] is None)
    after = [(at - died, command) for at, command in mouse.said if at > died]
    assert after[-1][0] > 1.4  # timeout_s, about
    assert mouse.actions == [Action.TAKE, Action.RELEASE]
    standing = [command for at, command in after[:-1] if at > 0.4]
    assert standing
    assert all(command.held and np.all(command.linear == 0.0) for command in standing)
    # and says nothing more
    count = len(mouse.said)
    ros.spin_until(lambda: False, 0.3)
    assert len(mouse.said) == count


# the kernel


class Events:
    """What evdev.InputDevice offers of a pad, where no virtual one can be made: the real event objects."""

    path, name = '/dev/input/event0', 'a pad'

    def __init__(self, bustype: int = 0x03) -> None:
        self.info, self.waiting, self.closed = SimpleNamespace(bustype=bustype), [], False

    def capabilities(self, absinfo: bool = True) -> dict:
        from evdev import ecodes

        return {ecodes.EV_KEY: [ecodes.BTN_TL, ecodes.BTN_EAST], ecodes.EV_ABS: []}

    def active_keys(self) -> list[int]:
        return []

    def read(self) -> list:
        found, self.waiting = self.waiting, []
        return found

    def close(self) -> None:
        self.closed = True


def kernel_pad(ros, monkeypatch, events: Events, **options) -> Hands:
    evdev = pytest.importorskip('evdev')
    from apprentice.nodes.teleop_devices.evdev_device import EvdevDevice

    monkeypatch.setattr(evdev, 'list_devices', lambda: [events.path])
    monkeypatch.setattr(evdev, 'InputDevice', lambda path: events)
    data = {'device': 'a.b:C', 'name': 'mine', 'options': options}
    buttons = {'hold': ['BTN_TL'], 'stop': ['BTN_EAST']}
    return Hands(ros, EvdevDevice, DeviceMapping.from_dict({**data, 'buttons': buttons}))


def test_a_tap_between_two_looks_is_heard(ros, monkeypatch):
    events = Events()
    pad = kernel_pad(ros, monkeypatch, events)
    from evdev import InputEvent, ecodes

    assert ros.spin_until(lambda: pad.said, 5.0)
    tap = [(ecodes.EV_KEY, ecodes.BTN_EAST, 1), (0, 0, 0), (ecodes.EV_KEY, ecodes.BTN_EAST, 0), (0, 0, 0)]
    events.waiting = [InputEvent(0, 0, *event) for event in tap]
    assert ros.spin_until(lambda: not events.waiting)
    ros.spin_until(lambda: bool(pad.events))
    assert pad.events == ['stop']


@pytest.mark.parametrize(('bus', 'wireless', 'taken'), [(3, False, True), (5, False, False), (5, True, True)])
def test_bluetooth_is_taken_only_where_the_mapping_says_so(ros, monkeypatch, bus, wireless, taken):
    events = Events(bus)
    pad = kernel_pad(ros, monkeypatch, events, wireless=wireless)
    assert ros.spin_until(lambda: pad.said or events.closed, 5.0)
    assert (bool(pad.said), events.closed) == (taken, not taken)
    status = pad.device.status()
    assert ('a pad is on Bluetooth' in status and 'wireless: true' in status) == (not taken)
