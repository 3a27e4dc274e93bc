# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Foreign MJCF as robots: our arm in disguise behaves the same; every mistake has its remedy."""

import contextlib
import copy
import re

import mujoco
import numpy as np
import pytest
import yaml
from foreign_robots import NAMES, SECTION, SIM_ARM, disguised, foreign_spec, trajectory

from apprentice.robot.parts import share
from apprentice.robot.spec import RobotFileError, RobotSpec
from apprentice.sim.robots.robot_model import RobotModel, looking
from apprentice.sim.robots.section import GYM_KEYS, SCENE_KEYS
from apprentice.sim.worlds import Worlds


def test_the_disguised_arm_moves_as_ours_does(tmp_path):
    ours, solved, _ = trajectory(RobotSpec.from_dict(copy.deepcopy(SIM_ARM)))
    theirs, also_solved, frames = trajectory(foreign_spec(tmp_path))
    np.testing.assert_allclose(theirs, ours, atol=1e-6)
    assert solved
    assert also_solved
    # no camera, no light in the file: the ones that were asked for see something
    assert all(frame.std() > 5 for frame in frames.values())


class OwnModel:
    """A part that gives the model."""

    def load(self) -> mujoco.MjSpec:
        return mujoco.MjSpec.from_string(disguised())


def test_a_part_gives_the_model(tmp_path):
    spec = foreign_spec(tmp_path, model=f'{__name__}:OwnModel')
    assert RobotModel(spec).joints == [NAMES[name] for name in spec.joint_names]


def test_the_base_can_be_put_elsewhere(tmp_path):
    spec = foreign_spec(tmp_path, base={'position': [0.1, 0.2, 0.3], 'quaternion': [0, 0, 0, 1]})
    with (
        contextlib.closing(Worlds(spec)) as worlds,
        contextlib.closing(Worlds(foreign_spec(tmp_path))) as plain,
    ):
        for each in (worlds, plain):
            each.reset([0], [0])
        turned = plain.view.tip[0] * [-1, -1, 1] + [0.1, 0.2, 0.3]
        np.testing.assert_allclose(worlds.view.tip[0], turned, atol=1e-3)


ORIENTATIONS = ('euler="0.3 0.4 0.5"', 'axisangle="1 0 0 0.4"', 'xyaxes="0 1 0 0 0 1"', 'zaxis="1 0 1"')


@pytest.mark.parametrize('orientation', ORIENTATIONS)
def test_a_quaternion_replaces_every_kind_of_orientation(tmp_path, orientation):
    text = disguised().replace('<body name="base_link"', f'<body name="base_link" {orientation}')
    lens = f'<camera name="lens" pos="1 0 1" mode="targetbody" target="base_link" {orientation}/>'
    text = text.replace('<worldbody>', f'<worldbody>{lens}{lens.replace("lens", "other")}')
    cameras = {
        'front': {'camera': 'lens', 'target': [0, 0, 0]},
        'wrist': {'camera': 'other', 'quaternion': [0.6, 0, 0.8, 0]},
    }
    spec = foreign_spec(tmp_path, text, base={'quaternion': [0, 0, 0, 1]}, cameras=cameras)
    model = RobotModel(spec).specification.compile()
    np.testing.assert_allclose(model.body('base_link').quat, [0, 0, 0, 1], atol=1e-9)
    np.testing.assert_allclose(model.camera('wrist').quat, [0.6, 0, 0.8, 0], atol=1e-9)
    aim = looking(np.array([1.0, 0, 1]), np.zeros(3))
    assert abs(np.dot(model.camera('front').quat, aim)) == pytest.approx(1.0)
    fixed = int(mujoco.mjtCamLight.mjCAMLIGHT_FIXED)
    assert [int(model.camera(name).mode[0]) for name in ('front', 'wrist')] == [fixed] * 2


def test_numbers_may_come_from_numpy(tmp_path):
    spec = foreign_spec(tmp_path)
    spec.simulator['timestep'] = np.float32(0.002)
    assert RobotModel(spec).specification.option.timestep == pytest.approx(0.002)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'model': None}, r'simulator\.model is missing'),
        ({'model': 'models/other.xml'}, r"no file .*other\.xml; its folder has: \['foreign\.xml'\]"),
        ({'model': '$NO_SUCH_FOLDER/panda.xml'}, r'NO_SUCH_FOLDER is not set; export it'),
        ({'model': 'no_such_package:assets/panda.xml'}, r"no Python package 'no_such_package'"),
        ({'text': '<mujoco><worldbody></mujoco>'}, r'foreign\.xml cannot be read: XML'),
        ({'text': '<mujoco><worldbody><body name="b" quad="1"/></worldbody></mujoco>'}, 'quad'),
        ({'camera': {}}, r"camera is unknown; did you mean 'cameras'"),
        ({'joints': {'joint1': 'a9'}}, r"no joint 'a9'; it has: \['a1', .*simulator\.joints"),
        ({'joints': None}, r"no joint 'joint1'"),
        ({'joints': {'elbow': 'a1'}}, r"joints: unknown \['elbow'\]"),
        ({'actuators': {'joint2': 'servo9'}}, r"no actuator 'servo9'; it has: \['servo_joint1'"),
        ({'gripper': {'joint': 'finger', 'actuator': 'pull'}}, r'control is missing.*\[0, 255\]'),
        ({'gripper': {'joint': 'finger', 'opened': 1}}, r"gripper: unknown \['opened'\]"),
        ({'gripper': {'joint': 'finger', 'actuator': 'pull', 'control': [1]}}, r'must be 2 numbers'),
        ({'tip': None}, r"no site 'tip'.*simulator\.tip: \{body"),
        ({'tip': {'body': 'paw'}}, r"no body 'paw'; it has: .*'hand'"),
        ({'cameras': {}}, r"no camera 'front'.*simulator\.cameras: \{front: \{position"),
        ({'cameras': {**SECTION['cameras'], 'front': {'camera': 'lens'}}}, r"no camera 'lens'"),
        ({'cameras': {**SECTION['cameras'], 'front': {'position': [0, 0]}}}, r'must be 3 numbers'),
        ({'remove': ['block']}, r"no body 'block'"),
        ({'scene': 'kitchen'}, 'use auto, table or none'),
        ({'timestep': -1}, 'timestep must be a positive number'),
        ({'timestep': float('inf')}, 'timestep must be a positive number, got inf'),
        ({'timestep': '1e-3'}, r'got .1e-3.; YAML reads this as text'),
        ({'joints': {**SECTION['joints'], 'joint2': 'a1'}}, r"'a1' of the model is named twice, .*'joint2'"),
        ({'cameras': {**SECTION['cameras'], 'front': None}}, r'cameras\.front must be a mapping, got None'),
        ({'cameras': {**SECTION['cameras'], 'front': {}}}, r'cameras\.front must be a mapping'),
        ({'follow': {'gripper_mirror': {'joint': 'finger', 'factor': 'x'}}}, r'factor must be a number, got'),
        ({'colour': 'red'}, r"colour is unknown; known: \['actuators', 'base', "),
        ({'env': 'Pusher-v5'}, r'env is for Gymnasium environments; leave it out'),
    ],
)
def test_wrong_files_say_what_is_there_and_what_to_do(tmp_path, changes, message):
    with pytest.raises(RobotFileError, match=message) as error:
        RobotModel(foreign_spec(tmp_path, **changes))
    assert 'sim_arm' in str(error.value)


def test_a_name_of_the_task_that_the_robot_has_too(tmp_path):
    text = disguised().replace('name="link3"', 'name="first"')
    with pytest.raises(RobotFileError, match=r"in the scene of task 'pick'.*rename it"):
        Worlds(foreign_spec(tmp_path, text))


def test_assets_of_an_installed_package():
    data = copy.deepcopy(SIM_ARM)
    data['simulator']['model'] = 'apprentice.sim.robots:models/arm.xml'
    assert RobotModel(RobotSpec.from_dict(data)).joints == list(RobotSpec.from_dict(data).joint_names)


def test_looking():
    rotation = np.zeros(9)
    mujoco.mju_quat2Mat(rotation, looking(np.array([1.0, 0, 1]), np.zeros(3)))
    right, up, backward = rotation.reshape(3, 3).T
    np.testing.assert_allclose(backward, [2**-0.5, 0, 2**-0.5], atol=1e-9)
    np.testing.assert_allclose(right, [0, 1, 0], atol=1e-9)
    assert up[2] > 0
    mujoco.mju_quat2Mat(rotation, looking(np.array([0.0, 0, 2]), np.zeros(3)))
    np.testing.assert_allclose(rotation.reshape(3, 3)[:, 2], [0, 0, 1], atol=1e-9)


def snippet(name: str) -> str:
    """A fenced block of docs/robots.md, by its first line."""
    text = share('docs', 'robots.md').read_text()
    return re.search(rf'^```\w+\n# {name}\n(.*?)^```', text, re.DOTALL | re.MULTILINE)[1]


def test_what_the_documentation_says():
    keys = re.findall(r'^\| `(\w+)` \|', share('docs', 'robots.md').read_text(), re.MULTILINE)
    assert set(keys) == set(SCENE_KEYS)
    panda = RobotSpec.load(share('robots', 'panda_menagerie.yaml'))
    assert yaml.safe_load(snippet('panda')) == panda.simulator
    fetch = RobotSpec.load(share('robots', 'gym_fetch.yaml')).simulator
    for key, value in yaml.safe_load(snippet('gym')).items():
        shipped = fetch[key]
        assert shipped == value or value.items() <= shipped.items(), key
    gym_text = share('docs', 'robots.md').read_text().split('# Any Gymnasium')[1]
    assert [key for key in GYM_KEYS if f'{key}`' not in gym_text and f'{key}:' not in gym_text] == []
