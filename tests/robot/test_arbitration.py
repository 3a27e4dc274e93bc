# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Stop, fault, reset, pause and the table of transitions, under a fake clock."""

import numpy as np
import pytest
from gate_rig import HOME, PERIOD, Rig

from apprentice.robot.arbitration import TRANSITIONS
from apprentice.robot.types import ControlMode, Source


def test_stop_is_latched_until_cleared_and_armed():
    rig = Rig().run_policy()
    rig.step()
    rig.gate.stop(rig.now)
    held = rig.step().setpoint
    assert not rig.gate.arm(rig.now)[0]
    assert not rig.gate.request_control(True, rig.now)[0]
    assert not rig.gate.reset(True, rig.now)[0]
    rig.gate.disarm(rig.now)
    rig.gate.on_joint_state(np.full(7, np.nan), rig.now, rig.now)
    assert rig.send().startswith('mode:')
    np.testing.assert_array_equal(rig.step(30, human=HOME).setpoint, held)
    assert rig.mode == ControlMode.STOP
    assert rig.gate.clear(rig.now)[0]
    assert rig.mode == ControlMode.DISARMED
    rig.arm()
    assert rig.mode == ControlMode.PAUSED


def test_a_joint_state_that_is_not_finite_is_a_fault():
    rig = Rig().run_policy()
    held = rig.step().setpoint
    bad = HOME.copy()
    bad[2] = np.nan
    rig.gate.on_joint_state(bad, rig.now, rig.now)
    assert rig.mode == ControlMode.FAULT
    assert 'joint3' in rig.gate.reason
    np.testing.assert_array_equal(rig.step().setpoint, held)
    assert not rig.gate.arm(rig.now)[0]
    assert rig.gate.clear(rig.now)[0]


def test_degrees_instead_of_radians_are_a_fault():
    rig = Rig()
    rig.gate.on_joint_state(np.degrees(HOME), rig.now, rig.now)
    assert rig.mode == ControlMode.FAULT
    assert 'units' in rig.gate.reason


def test_a_measurement_slightly_outside_starts_at_the_limit():
    rig = Rig()
    rig.gate.setpoint = None
    rig.position = HOME.copy()
    rig.position[6] = 0.0405
    assert rig.step().setpoint[6] == 0.04


# reset and pause


def test_reset_drives_home_slowly_and_straight_then_waits_for_a_plan():
    rig = Rig()
    rig.position = HOME + np.array([1.0, 0.5, 0, 0, 0, 0, -0.04])
    rig.step()
    rig.run_policy()
    assert rig.gate.reset(True, rig.now)[0]
    assert rig.send().startswith('mode:')
    tick = rig.step()
    assert tick.source == Source.RESET
    assert tick.clamp_bits == 0
    assert HOME[0] + 1.0 - tick.setpoint[0] == pytest.approx(0.25 * 2.0 * PERIOD)
    np.testing.assert_allclose((tick.setpoint - HOME)[1], 0.5 * (tick.setpoint - HOME)[0])
    rig.step(45)
    np.testing.assert_allclose(rig.gate.setpoint, HOME, atol=1e-9)
    assert rig.gate.reason == 'at home'
    assert rig.gate.reset(False, rig.now)[0]
    assert rig.mode == ControlMode.PAUSED
    rig.step()
    assert rig.send() == ''
    assert rig.mode == ControlMode.POLICY


def test_a_reset_ends_where_the_seed_of_the_episode_says_and_the_simulator_starts_there():
    rig, found = Rig(), []
    for seed in range(20):
        rig.run_policy().gate.on_start(seed)
        rig.gate.reset(True, rig.now)
        rig.step(20)
        assert rig.gate.reason == 'at home'
        found.append(rig.gate.setpoint.copy())
        rig.gate.reset(False, rig.now)
    spec, away = rig.gate.spec, np.array(found) - HOME
    np.testing.assert_allclose(found[7], spec.start_posture(np.random.default_rng(7)), atol=1e-12)
    assert np.all(np.abs(away) <= spec.vector('spread') + 1e-9)
    assert np.all(away[:, 6] == 0)
    assert np.all(away[:, :6].std(0) > 0.02)


@pytest.mark.parametrize('mode', [ControlMode.RESET, ControlMode.DISARMED])
def test_a_teleported_arm_takes_the_setpoint_along(mode):
    rig = Rig()
    if mode == ControlMode.RESET:
        rig.run_policy().gate.reset(True, rig.now)
    rig.step()
    rig.position = HOME + np.array([1.5, 0, 0, 0, 0, 0, 0])
    tick = rig.step()
    assert tick.setpoint[0] > 1.4


def test_reset_while_held_says_to_arm():
    rig = Rig()
    assert 'gate/arm' in rig.gate.reset(True, rig.now)[1]
    assert not rig.gate.reset(False, rig.now)[0]


def test_pause_holds_the_policy_back():
    rig = Rig().run_policy()
    rig.step()
    assert rig.gate.pause(True, rig.now)[0]
    assert rig.send().startswith('paused:')
    assert rig.step(10).source == Source.HOLD
    # a person may come and go; the pause stays
    rig.take().step(human=HOME)
    rig.gate.request_control(False, rig.now)
    assert rig.send().startswith('paused:')
    assert rig.gate.pause(False, rig.now)[0]
    assert rig.send(stamp=rig.now - 0.1).startswith('release:')
    assert rig.send() == ''


# the table


def test_the_table_keeps_the_priorities():
    for event in ('stop', 'fault'):
        assert ControlMode.HUMAN in TRANSITIONS[event][0]
    assert ControlMode.FAULT in TRANSITIONS['stop'][0]
    assert ControlMode.STOP not in TRANSITIONS['fault'][0]
    leaving_stop = {event for event, (modes, _) in TRANSITIONS.items() if ControlMode.STOP in modes}
    assert leaving_stop == {'clear'}
    leaving_hold = {event for event, (modes, _) in TRANSITIONS.items() if ControlMode.HOLD in modes}
    assert leaving_hold == {'stop', 'fault', 'arm', 'disarm', 'take'}
    into_policy = {event for event, (_, mode) in TRANSITIONS.items() if mode == ControlMode.POLICY}
    assert into_policy == {'plan'}
