# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Which device drives: presses, silence, two at once, and dead-men that were pressed too early."""

from apprentice.robot.teleop import TeleopCommand
from apprentice.robot.teleop_control import Action, DeviceArbiter

HELD, FREE = TeleopCommand(0.0, held=True), TeleopCommand(0.0, held=False)


def arbiter():
    return DeviceArbiter({'pad': 0.5, 'page': 0.3})


def test_press_and_release():
    devices = arbiter()
    assert devices.on_command('pad', FREE, 0.0) == []
    assert devices.on_command('pad', HELD, 0.1) == [Action.TAKE]
    assert devices.on_command('pad', HELD, 0.2) == []
    assert (devices.owner, devices.command) == ('pad', HELD)
    assert devices.on_command('pad', FREE, 0.3) == [Action.RELEASE]
    assert (devices.owner, devices.command) == ('', None)
    assert devices.on_command('pad', FREE, 0.4) == []


def test_a_dead_man_that_was_pressed_before_does_not_count():
    devices = arbiter()
    assert devices.on_command('pad', HELD, 0.0) == []
    assert devices.on_command('pad', FREE, 0.1) == []
    assert devices.on_command('pad', HELD, 0.2) == [Action.TAKE]
    # silence, and it comes back pressed
    assert devices.tick(0.7) == []
    assert devices.tick(0.8) == [Action.RELEASE]
    assert 'pad was silent for 0.60 s' in devices.reason
    assert devices.tick(0.9) == []
    assert devices.on_command('pad', HELD, 1.0) == []
    devices.on_command('pad', FREE, 1.1)
    assert devices.on_command('pad', HELD, 1.2) == [Action.TAKE]
    # the gate took control away
    devices.dropped('the gate is in HOLD')
    assert (devices.owner, devices.reason) == ('', 'the gate is in HOLD')
    assert devices.on_command('pad', HELD, 1.3) == []
    devices.on_command('pad', FREE, 1.4)
    assert devices.on_command('pad', HELD, 1.5) == [Action.TAKE]
    # unplugged, and plugged in again with the button pressed
    assert devices.gone('pad') == [Action.RELEASE]
    assert devices.gone('pad') == []
    assert devices.on_command('pad', HELD, 1.6) == []


def test_the_first_that_holds_has_control_until_it_lets_go():
    devices = arbiter()
    for name in ('pad', 'page'):
        devices.on_command(name, FREE, 0.0)
    assert devices.on_command('page', HELD, 0.1) == [Action.TAKE]
    assert devices.on_command('pad', HELD, 0.2) == []
    assert devices.on_command('page', FREE, 0.3) == [Action.RELEASE]
    # the other was held all along: it has to let go first
    assert devices.on_command('pad', HELD, 0.4) == []
    assert devices.owner == ''
    devices.on_command('pad', FREE, 0.5)
    assert devices.on_command('pad', HELD, 0.6) == [Action.TAKE]
    # the silence of one that does not drive changes nothing
    assert devices.tick(1.0) == []
    assert devices.gone('page') == []


def test_presses_count_from_who_drives_and_stop_from_anybody():
    devices = arbiter()
    label = TeleopCommand(0.0, held=False, events=frozenset({'success', 'discard', 'stop'}))
    assert devices.events('page', label) == ['stop', 'discard', 'success']
    devices.on_command('pad', FREE, 0.0)
    devices.on_command('pad', HELD, 0.1)
    assert devices.events('page', label) == ['stop']
    assert devices.events('pad', label) == ['stop', 'discard', 'success']
