# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""MuJoCo as a library of kinematics: our arm, a URDF without its meshes, and robots without a model."""

import numpy as np
import pytest

from apprentice.robot.parts import share
from apprentice.robot.spec import RobotFileError, RobotSpec
from apprentice.robot.teleop import rotation_vector
from apprentice.sim.robots.chain import ArmChain
from apprentice.sim.world import World

URDF = """
<robot name="two">
  <link name="base_link"/>
  <link name="inner"/>
  <joint name="turned" type="fixed">
    <parent link="base_link"/><child link="inner"/><origin rpy="0 0 3.141592653589793"/>
  </joint>
  <link name="upper_arm"><visual><geometry><mesh filename="package://nowhere/arm.dae"/></geometry></visual></link>
  <joint name="shoulder" type="revolute">
    <parent link="inner"/><child link="upper_arm"/><origin xyz="0 0 0.1"/><axis xyz="0 0 1"/>
    <limit lower="-3" upper="3" effort="1" velocity="1"/>
  </joint>
  <link name="forearm"/>
  <joint name="elbow" type="revolute">
    <parent link="upper_arm"/><child link="forearm"/><origin xyz="0.3 0 0"/><axis xyz="0 0 1"/>
    <limit lower="-3" upper="3" effort="1" velocity="1"/>
  </joint>
  <link name="tool0"/>
  <joint name="flange" type="fixed">
    <parent link="forearm"/><child link="tool0"/><origin xyz="0.2 0 0"/>
  </joint>
</robot>
"""


def test_our_arm_agrees_with_its_simulation_and_with_itself():
    spec = RobotSpec.load(share('robots', 'sim_arm.yaml'))
    chain, home = ArmChain(spec), spec.vector('home')[:6]
    world = World(spec)
    position, rotation = world.tip()[0], chain.forward(world.state()[:6])
    np.testing.assert_allclose(rotation[0], position, atol=1e-6)
    # the Jacobian is the derivative
    jacobian, (at, turned) = chain.jacobian(home), chain.forward(home)
    for joint in range(6):
        moved = home.copy()
        moved[joint] += 1e-6
        there, then = chain.forward(moved)
        change = np.concatenate([there - at, rotation_vector(then @ turned.T)]) / 1e-6
        np.testing.assert_allclose(jacobian[:, joint], change, atol=1e-4)


def two_joints(folder, **kinematics) -> RobotSpec:
    arm = [{'name': n, 'lower': -3, 'upper': 3, 'velocity': 1, 'jump': 0.2, 'home': 0} for n in 'ab']
    hand = {'name': 'hand', 'lower': 0, 'upper': 1, 'velocity': 1, 'jump': 1, 'home': 0, 'gripper': True}
    (folder / 'two.urdf').write_text(URDF)
    return RobotSpec.from_dict(
        {
            'name': 'two',
            'joints': [*arm, hand],
            'cameras': [],
            'folder': str(folder),
            'kinematics': kinematics,
        }
    )


def test_a_urdf_of_a_real_arm_needs_no_meshes_and_no_simulator(tmp_path):
    joints = {'a': 'shoulder', 'b': 'elbow', 'hand': 'not in the model'}
    chain = ArmChain(two_joints(tmp_path, model='two.urdf', joints=joints, tip={'body': 'tool0'}))
    # in the frame called base_link, which is half a turn away from the one the first joint sits on
    np.testing.assert_allclose(chain.forward(np.zeros(2))[0], [-0.5, 0, 0.1], atol=1e-9)
    np.testing.assert_allclose(chain.forward(np.array([0, np.pi / 2]))[0], [-0.3, -0.2, 0.1], atol=1e-9)
    np.testing.assert_allclose(chain.jacobian(np.zeros(2))[1], [-0.5, -0.2], atol=1e-9)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(RobotFileError, match='names no model; say kinematics'):
        ArmChain(two_joints(tmp_path))
    with pytest.raises(RobotFileError, match="kinematics has no \\['modle'\\]"):
        ArmChain(two_joints(tmp_path, modle='two.urdf'))
    with pytest.raises(RobotFileError, match="no joint 'a'"):
        ArmChain(two_joints(tmp_path, model='two.urdf', tip={'body': 'tool0'}))
    with pytest.raises(RobotFileError, match=r'three\.urdf'):
        ArmChain(two_joints(tmp_path, model='three.urdf'))
    joint = {'name': 'a', 'lower': -3, 'upper': 3, 'velocity': 1, 'jump': 0.2, 'home': 0}
    with pytest.raises(RobotFileError, match='kinematics is'):
        RobotSpec.from_dict({'name': 'x', 'joints': [joint], 'cameras': [], 'kinematics': 3})
