# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The files of real arms: inside the makers' limits, slow, and marked as never run on hardware."""

import numpy as np
import pytest

from apprentice.cli.doctor_checks import robot_file
from apprentice.robot.parts import find_robot
from apprentice.robot.spec import RobotSpec

# position [rad, m] and velocity [rad/s] of the makers, as named in the files
UR = [(-6.283, 6.283, 3.142)] * 2 + [(-3.142, 3.142, 3.142)] + [(-6.283, 6.283, 3.142)] * 3
FR3 = [
    (-2.7437, 2.7437, 2.62), (-1.7837, 1.7837, 2.62), (-2.9007, 2.9007, 2.62), (-3.0421, -0.1518, 2.62),
    (-2.8065, 2.8065, 5.26), (0.5445, 4.5169, 4.18), (-3.0159, 3.0159, 5.26), (0.0, 0.04, np.inf),
]  # fmt: skip
SO101 = [
    (-1.91986, 1.91986, np.inf), (-1.74533, 1.74533, np.inf), (-1.69, 1.69, np.inf),
    (-1.65806, 1.65806, np.inf), (-2.79253, 2.79253, np.inf), (-0.174533, 1.74533, np.inf),
]  # fmt: skip
ROBOTS = {'example_ur5e': [*UR, (0.0, 0.0425, np.inf)], 'franka_fr3': FR3, 'so101': SO101}


@pytest.mark.parametrize('name', ROBOTS)
def test_limits_are_inside_those_of_the_maker(name):
    spec = RobotSpec.load(find_robot(name))
    assert len(spec.joints) == len(ROBOTS[name])
    for joint, (lower, upper, velocity) in zip(spec.joints, ROBOTS[name], strict=True):
        assert lower <= joint.lower < joint.upper <= upper, joint.name
        assert joint.velocity <= 0.5 * velocity, f'{joint.name} is not slow'
        assert joint.jump >= joint.velocity / spec.control_hz, f'{joint.name} could not reach its velocity'
        assert joint.jump < 0.5 * (joint.upper - joint.lower) or joint.gripper, joint.name
    assert spec.gripper_mask.tolist() == [False] * (spec.dim - 1) + [True], 'gripper last'
    assert spec.command.topic.endswith('_controller/joint_trajectory')


@pytest.mark.parametrize('name', ROBOTS)
def test_the_doctor_accepts_it_and_the_file_says_that_nobody_ran_it(name):
    assert robot_file(name)[0] == 'ok'
    text = find_robot(name).read_text()
    assert 'UNTESTED ON HARDWARE' in text
    assert 'Sources:' in text
    assert 'ros2 topic hz' in text
