# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Every clamp on its own, their order, and the promise that holds whatever comes in."""

import numpy as np
import pytest

from apprentice.robot.limits import (
    CLAMP_JUMP,
    CLAMP_NONFINITE,
    CLAMP_POSITION,
    CLAMP_VELOCITY,
    Limits,
)
from apprentice.robot.spec import JointSpec, RobotSpec

SPEC = RobotSpec(
    name='two',
    joints=(
        JointSpec('a', lower=-1.0, upper=1.0, velocity=1.0, jump=0.3, home=0.0),
        JointSpec('g', lower=0.0, upper=0.04, velocity=0.2, jump=0.05, home=0.04, gripper=True),
    ),
    cameras=(),
    control_hz=10.0,
)
LIMITS = Limits(SPEC, 0.1)
ZERO = np.zeros(2)


def clamp(target, setpoint=ZERO, measured=ZERO, scale=1.0):
    return LIMITS.clamp(np.array(target), np.array(setpoint), np.array(measured), scale)


def test_a_permitted_target_passes_unchanged():
    value, bits = clamp([0.05, 0.01])
    np.testing.assert_allclose(value, [0.05, 0.01])
    assert bits == 0


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_a_target_that_is_not_finite_is_rejected_as_a_whole(bad):
    value, bits = clamp([0.05, bad], setpoint=[0.02, 0.03])
    np.testing.assert_array_equal(value, [0.02, 0.03])
    assert bits == CLAMP_NONFINITE


def test_position():
    value, bits = clamp([1.05, 0.04], setpoint=[0.98, 0.04], measured=[0.98, 0.04])
    np.testing.assert_allclose(value, [1.0, 0.04])
    assert bits == CLAMP_POSITION


def test_float32_rounding_at_a_limit_is_no_clamp():
    value, bits = clamp([1.0 + 1e-7, 0.04 + 1e-9], setpoint=[0.98, 0.04], measured=[0.98, 0.04])
    assert value[0] == 1.0
    assert bits == 0


def test_velocity_and_reset_speed():
    value, bits = clamp([0.25, 0.0])
    assert value[0] == pytest.approx(0.1)
    assert bits == CLAMP_VELOCITY
    assert clamp([0.25, 0.0], scale=0.25).value[0] == pytest.approx(0.025)


def test_jump_keeps_the_setpoint_near_the_arm():
    value, bits = clamp([0.45, 0.0], setpoint=[0.4, 0.0], measured=[0.12, 0.0])
    assert value[0] == pytest.approx(0.42)
    assert bits == CLAMP_JUMP


def test_a_setpoint_far_from_the_arm_walks_back_at_the_velocity_limit():
    value, bits = clamp([0.9, 0.0], setpoint=[0.9, 0.0], measured=[-0.5, 0.0])
    assert value[0] == pytest.approx(0.8)
    assert bits == CLAMP_JUMP


def test_far_and_excess():
    assert not LIMITS.far(np.array([0.3, 0.0]), ZERO)
    assert LIMITS.far(np.array([0.31, 0.0]), ZERO)
    assert LIMITS.excess(np.array([0.3, 0.0]), ZERO) == pytest.approx(1.0)


def test_whatever_comes_in_the_setpoint_is_finite_inside_and_slow():
    random = np.random.default_rng(0)
    lower, upper = SPEC.vector('lower'), SPEC.vector('upper')
    step = SPEC.vector('velocity') * 0.1 + 1e-12
    specials = np.array([np.nan, np.inf, -np.inf, 1e300, -1e300, 0.0])
    for _ in range(3000):
        setpoint = random.uniform(lower, upper)
        measured = random.uniform(lower - 2, upper + 2)
        target = random.normal(0, 3, 2)
        if random.random() < 0.3:
            target[random.integers(2)] = random.choice(specials)
        value, bits = LIMITS.clamp(target, setpoint, measured)
        assert np.all(np.isfinite(value))
        assert np.all((value >= lower) & (value <= upper))
        assert np.all(np.abs(value - setpoint) <= step)
        if bits == 0:
            np.testing.assert_allclose(value, target, atol=3e-6)
