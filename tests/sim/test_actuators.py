# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Servos told positions in the unit of the robot file, whatever actuators a model comes with."""

import contextlib
import copy
import re

import mujoco
import numpy as np
import pytest
from foreign_robots import GRIPPER, SIM_ARM, disguised, foreign_spec, gripper_spec, trajectory, urdf_spec

from apprentice.robot.spec import RobotFileError, RobotSpec
from apprentice.sim.robots.robot_model import RobotModel
from apprentice.sim.scene import Scene
from apprentice.sim.worlds import Worlds


def test_new_servos_for_motors_hold_and_move_the_arm(tmp_path):
    text = re.sub(
        r'<position name="servo_(\w+)" joint="(\w+)".*?/>', r'<motor name="m_\1" joint="\2"/>', disguised()
    )
    with pytest.raises(RobotFileError, match=r"'m_joint1'.* does not take a position.*actuators: position"):
        RobotModel(foreign_spec(tmp_path, text))
    spec = foreign_spec(tmp_path, text, actuators='position')
    _, solved, _ = trajectory(spec, steps=50)
    assert solved
    with contextlib.closing(Worlds(spec)) as worlds:
        assert worlds.scene.model.nu == spec.dim  # the motors are gone


def test_a_hinged_gripper_that_closes_upwards_is_told_metres(tmp_path):
    robot = RobotModel(gripper_spec(tmp_path))
    assert robot.joints == ['lift', 'left']
    model = robot.specification.compile()
    data = mujoco.MjData(model)
    for metres, angle in ((0.0, 0.8), (0.0425, 0.0), (0.02, 0.8 * (1 - 0.02 / 0.0425))):
        data.ctrl[model.actuator('fingers').id] = metres
        mujoco.mj_step(model, data, 2000)
        assert data.joint('left').qpos[0] == pytest.approx(angle, abs=0.01)
        measured = robot.offset[1] + robot.scale[1] * data.joint('left').qpos[0]
        assert measured == pytest.approx(metres, abs=1e-3)


def test_a_start_puts_both_fingers_where_the_robot_file_says(tmp_path):
    scene = Scene(gripper_spec(tmp_path))
    qpos = scene.start_qpos(np.array([0.1, 0.02125]), {})
    assert qpos[scene.address('jnt_qposadr', 'left')] == pytest.approx(0.4)
    assert qpos[scene.address('jnt_qposadr', 'right')] == pytest.approx(0.4)
    assert scene.model.joint('door').range[1] == pytest.approx(1.5)


def test_a_task_gives_radians_to_a_model_in_degrees(tmp_path):
    text = GRIPPER.replace('angle="radian"', 'angle="degree"').replace('range="0 0.8"', 'range="0 45.8"')
    model = Scene(gripper_spec(tmp_path, text)).model
    assert model.joint('door').range[1] == pytest.approx(1.5)
    assert model.joint('left').range[1] == pytest.approx(0.8, abs=0.01)


def test_gains_of_a_urdf(tmp_path):
    gains = {'pan': {'kp': 123.0, 'damping': 4.0}}
    model = RobotModel(urdf_spec(tmp_path, gains=gains)).specification.compile()
    assert model.actuator('pan').gainprm[0] == 123.0
    assert model.actuator('pan').biasprm[2] == -4.0
    assert model.actuator('bend').gainprm[0] > 0
    with pytest.raises(RobotFileError, match='kp must be a positive number'):
        RobotModel(urdf_spec(tmp_path, gains={'kp': -1}))
    with pytest.raises(RobotFileError, match=r"kp must be a positive number, got 'high'"):
        RobotModel(urdf_spec(tmp_path, gains={'kp': 'high'}))
    with pytest.raises(RobotFileError, match='damping must not be negative'):
        RobotModel(urdf_spec(tmp_path, gains={'damping': -1}))


def replaced(name: str, general: str) -> str:
    """The disguised arm with another actuator at one joint."""
    text, count = re.subn(rf'<position name="servo_{name}".*?/>', general, disguised())
    assert count == 1
    return text


# of joint1: kp 350, kv 30
OTHER_UNITS = (
    '<general name="servo" joint="a1" gear="10" biastype="affine" gainprm="3.5" biasprm="0 -3.5 -0.3"/>',
    '<general name="servo" joint="a1" gear="-10" biastype="affine" gainprm="3.5" biasprm="0 -3.5 -0.3"/>',
    '<general name="servo" joint="a1" biastype="affine" gainprm="1" biasprm="0 -350 -30"/>',
    '<general name="servo" joint="a1" biastype="affine" gainprm="350" biasprm="70 -350 -30"/>',
    '<general name="servo" joint="a1" biastype="affine" gainprm="1" biasprm="0 -350 -30" '
    'ctrlrange="-910 910"/>',
)


@pytest.mark.parametrize('general', OTHER_UNITS)
def test_a_servo_behind_a_gear_or_told_torque_is_told_the_position(tmp_path, general):
    ours = trajectory(RobotSpec.from_dict(copy.deepcopy(SIM_ARM)), steps=12)[0]
    spec = foreign_spec(tmp_path, replaced('joint1', general))
    np.testing.assert_allclose(trajectory(spec, steps=12)[0], ours, atol=1e-6)
    if 'ctrlrange' in general:
        model = RobotModel(spec).specification.compile()
        np.testing.assert_allclose(model.actuator('servo').ctrlrange, [-2.6, 2.6])


SERVO = '<position name="servo_joint1" joint="a1" kp="350" kv="30"/>'


@pytest.mark.parametrize(
    ('general', 'changes', 'message'),
    [
        ('<general name="x" joint="a1" gainprm="0" biastype="affine" biasprm="0 -9"/>', {}, 'not take a pos'),
        ('<position name="x" joint="a1" gear="0" kp="9"/>', {}, 'does not take a position'),
        ('<position name="joint1" tendon="split" kp="9"/>', {}, "drives 'split', not the joint 'a1'"),
        ('<position name="joint1" joint="a2" kp="9"/>', {}, "drives 'a2', not the joint 'a1'"),
        ('', {'actuators': {'joint1': 'servo_joint2'}}, "drives 'a2', not the joint 'a1'"),
        (SERVO, {'actuators': {'gripper': 'servo_joint1'}}, "'servo_joint1' of the model is named twice"),
    ],
)
def test_what_cannot_be_told_a_position_is_refused(tmp_path, general, changes, message):
    with pytest.raises(RobotFileError, match=message):
        RobotModel(foreign_spec(tmp_path, replaced('joint1', general), **changes))
