# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Mapping files: what is refused with which words, and what axes and buttons become."""

import numpy as np
import pytest

from apprentice.robot.teleop import shaped
from apprentice.robot.teleop_mapping import DeviceMapping, MappingError, Translator, shipped

BASIC = {
    'device': 'some.module:Pad',
    'dead_zone': 0.1,
    'expo': 0.0,
    'axes': {'x': {'axis': 1}, 'gripper': {'plus': 'axis2', 'minus': 'axis5', 'rest': 1}},
    'buttons': {'hold': [4], 'fast': [5], 'success': [3], 'stop': [1]},
}


def changed(**values):
    return {**BASIC, **values}


@pytest.mark.parametrize('name', shipped())
def test_shipped_mappings_are_right(name):
    mapping = DeviceMapping.load(name)
    assert mapping.name == name
    assert ':' in mapping.device


def test_what_is_shipped():
    assert {'xbox', 'dualsense', 'spacemouse', 'keyboard', 'so101_leader', 'joy', 'browser'} <= set(shipped())


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        ({}, 'device is missing'),
        ([], 'device is missing'),
        (changed(spped=1), "has no \\['spped'\\]"),
        (changed(axes={'w': {'axis': 1}}), "axes has no \\['w'\\]"),
        (changed(axes={'x': {'axes': 1}}), "axes.x has no \\['axes'\\]"),
        (changed(axes={'x': {}}), 'axes.x: name an axis'),
        (changed(axes={'x': {'axis': 1, 'plus': 2}}), 'axes.x: name an axis'),
        (changed(axes={'x': {'axis': 1, 'rest': 1.0}}), 'axes.x.rest'),
        (changed(buttons={'hold': []}), 'buttons.hold is empty'),
        (changed(buttons={'hold': 4}), 'give a list'),
        (changed(frame='camera'), "use one of \\['base', 'tool'\\]"),
        (changed(linear_speed=0.5), '0.25 at most'),
        (changed(linear_speed='fast'), 'type float'),
        (changed(timeout_s=0.0), 'give a positive number'),
        (changed(timeout_s=float('nan')), 'give a positive number'),
        (changed(timeout_s=60.0), '2.0 at most'),
        (changed(dead_zone=1.0), '0.9 at most'),
        (changed(options=3), 'options is 3; give a mapping'),
    ],
)
def test_what_is_wrong_is_named(data, message):
    with pytest.raises(MappingError, match=message):
        DeviceMapping.from_dict(data)


def test_files_are_named_in_errors(tmp_path):
    with pytest.raises(MappingError, match=r"no mapping 'xbocks'.*xbox"):
        DeviceMapping.load('xbocks')
    path = tmp_path / 'mine.yaml'
    path.write_text('device: [')
    with pytest.raises(MappingError, match=r'mine\.yaml cannot be read'):
        DeviceMapping.load(str(path))
    path.write_text('device: a.b:C\nslow: 2.0\nbuttons: {hold: [1]}\n')
    with pytest.raises(MappingError, match=r'mine\.yaml: slow is 2.0'):
        DeviceMapping.load(str(path))
    path.write_text('device: a.b:C\nbuttons: {hold: [1]}\n')
    assert DeviceMapping.load(str(path)).name == 'mine'


def test_shape_of_a_stick():
    assert shaped(0.1, 0.1, 0.5) == 0.0
    assert shaped(1.0, 0.1, 0.5) == 1.0
    assert shaped(-1.0, 0.1, 0.5) == -1.0
    assert 0 < shaped(0.5, 0.1, 0.9) < shaped(0.5, 0.1, 0.0) < 0.5
    assert shaped(7.0, 0.1, 0.0) == 1.0
    assert [shaped(value, 0.1, 0.5) for value in (np.nan, np.inf, -np.inf)] == [0.0, 0.0, 0.0]


def test_axes_buttons_and_speeds():
    translator = Translator(DeviceMapping.from_dict(BASIC))
    slow = translator.command({'1': 1.0}, {'4': True}, 5.0, 0.0)
    assert (slow.held, slow.stamp) == (True, 5.0)
    np.testing.assert_allclose(slow.linear, [0.2 * 0.3, 0, 0])
    fast = translator.command({'1': -1.0}, {'4': True, '5': True}, 5.0, 0.0)
    np.testing.assert_allclose(fast.linear, [-0.2, 0, 0])
    np.testing.assert_allclose(fast.joint_velocity, [-0.5, 0, 0, 0, 0, 0])
    assert not translator.command({'1': 1.0}, {}, 5.0, 0.0).held
    # without a button for it there is one speed
    always = Translator(DeviceMapping.from_dict(changed(buttons={'hold': [4]})))
    np.testing.assert_allclose(always.command({'1': 1.0}, {}, 0.0, 0.0).linear, [0.2, 0, 0])


def test_a_trigger_counts_after_it_was_seen_at_rest():
    translator = Translator(DeviceMapping.from_dict(BASIC))
    gripper = lambda **axes: translator.command(axes, {}, 0.0, 0.0).gripper  # noqa: E731
    # joy_node says 0 before the trigger is first touched, which would be half pressed
    assert gripper(axis2=0.0, axis5=0.0) == 0.0
    assert gripper(axis2=1.0, axis5=1.0) == 0.0
    assert gripper(axis2=-1.0, axis5=1.0) == 1.0
    assert gripper(axis2=1.0, axis5=-1.0) == -1.0
    assert gripper(axis2=-1.0, axis5=-1.0) == 0.0
    translator.forget()
    assert gripper(axis2=-1.0, axis5=1.0) == 0.0


def test_a_press_is_told_once():
    translator = Translator(DeviceMapping.from_dict(BASIC))
    events = lambda **buttons: translator.command({}, buttons, 0.0, 0.0).events  # noqa: E731
    assert events(**{'3': True}) == set()  # pressed before anybody listened
    assert events() == set()
    assert events(**{'3': True}) == {'success'}
    assert events(**{'3': True, '1': True}) == {'stop'}
    assert events(**{'3': True}) == set()
    assert events() == set()
    assert events(**{'3': True}) == {'success'}


def test_motion_as_a_dead_man_outlasts_the_motion():
    translator = Translator(DeviceMapping.from_dict(changed(buttons={'hold': ['motion']})))
    held = lambda push, now: translator.command({'1': push}, {}, 0.0, now).held  # noqa: E731
    assert not held(0.05, 0.0)
    assert held(0.5, 1.0)
    assert held(0.0, 1.5)
    assert not held(0.0, 1.6)


def test_garbage_is_no_motion():
    translator = Translator(DeviceMapping.from_dict(BASIC))
    for value in (np.nan, np.inf, -np.inf):
        command = translator.command({'1': value, 'axis2': value}, {'4': True}, np.nan, 0.0)
        assert not np.any(command.linear)
        assert command.gripper == 0.0
    np.testing.assert_allclose(translator.command({'1': 1e30}, {}, 0.0, 0.0).linear, [0.06, 0, 0])
