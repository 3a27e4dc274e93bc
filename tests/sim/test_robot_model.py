# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Foreign MJCF and URDF as robots: our arm in disguise behaves the same; every mistake has its remedy."""

import contextlib
import copy
import re

import mujoco
import numpy as np
import pytest
import yaml

from apprentice.robot.parts import share
from apprentice.robot.spec import RobotFileError, RobotSpec
from apprentice.sim.robots.arm import ArmModel
from apprentice.sim.robots.robot_model import KEYS, RobotModel, looking
from apprentice.sim.worlds import Worlds

SIM_ARM = yaml.safe_load(share('robots', 'sim_arm.yaml').read_text())
NAMES = {**{f'joint{i}': f'a{i}' for i in range(1, 7)}, 'gripper': 'finger'}


def disguised() -> str:
    """Our arm as somebody else would have written it: other names, a tendon gripper from 0 to 255, no tip."""
    text = ArmModel.path.read_text()
    text = re.sub(r'\s*<(camera|site|light) .*?/>', '', text)
    text = re.sub(r'\s*<position name="gripper".*?/>', '', text)
    for ours, theirs in NAMES.items():
        text = re.sub(rf'<joint (.*?)name="{ours}"', rf'<joint \1name="{theirs}"', text)
        text = text.replace(f'joint="{ours}"', f'joint="{theirs}"').replace(
            f'joint2="{ours}"', f'joint2="{theirs}"'
        )
        text = text.replace(f'<position name="{ours}"', f'<position name="servo_{ours}"')
    slope = 900 * 0.04 / 255
    pull = (
        f'<general name="pull" tendon="split" ctrllimited="true" ctrlrange="0 255" forcerange="-25 25" '
        f'biastype="affine" gainprm="{slope!r}" biasprm="0 -900 -10"/>'
    )
    tendon = '<tendon><fixed name="split"><joint joint="finger" coef="1"/></fixed></tendon>'
    key = '<keyframe><key name="home" qpos="0 0 0 0 0 0 0.04 0.04"/></keyframe>'
    return text.replace('</actuator>', f'{pull}</actuator>{tendon}{key}')


SECTION = {
    'model': 'models/foreign.xml',
    'task': 'pick',
    'joints': {ours: theirs for ours, theirs in NAMES.items() if ours != 'gripper'},
    'gripper': {'joint': 'finger', 'actuator': 'pull', 'control': [0, 255]},
    'tip': {'body': 'hand', 'position': [0, 0, 0.11]},
    'cameras': {
        'front': {'position': [0.8, 0, 0.5], 'target': [0.2, 0, 0], 'fovy': 31},
        'wrist': {'body': 'hand', 'position': [-0.075, 0, 0], 'target': [0.02, 0, 0.2], 'fovy': 70},
    },
}


@pytest.fixture
def write(tmp_path):
    """Write a robot file with changes to SECTION, and the model beside it; returns the loaded file."""

    def factory(text=None, **changes) -> RobotSpec:
        (tmp_path / 'models').mkdir(exist_ok=True)
        (tmp_path / 'models' / 'foreign.xml').write_text(disguised() if text is None else text)
        data = copy.deepcopy(SIM_ARM)
        section = {**copy.deepcopy(SECTION), **changes}
        data['simulator'] = {key: value for key, value in section.items() if value is not None}
        (tmp_path / 'foreign.yaml').write_text(yaml.safe_dump(data))
        return RobotSpec.load(tmp_path / 'foreign.yaml')

    return factory


def trajectory(spec, seed=3, steps=30):
    """Joints, tool and the state of an expert's attempt."""
    with contextlib.closing(Worlds(spec)) as worlds:
        worlds.reset([0], [seed])
        expert, found = worlds.expert(), []
        for _ in range(steps):
            target = expert.act(worlds.joints[0].copy(), worlds.objects(0), worlds.instructions[0])
            worlds.step(target[None], spec.action_dt)
            found.append(np.concatenate([worlds.joints[0], worlds.view.tip[0], worlds.progress()]))
        return np.array(found), bool(worlds.success()[0]), worlds.render()


def test_the_disguised_arm_moves_as_ours_does(write):
    ours, solved, _ = trajectory(RobotSpec.from_dict(copy.deepcopy(SIM_ARM)))
    theirs, also_solved, frames = trajectory(write())
    np.testing.assert_allclose(theirs, ours, atol=1e-6)
    assert solved
    assert also_solved
    # no camera, no light in the file: the ones that were asked for see something
    assert all(frame.std() > 5 for frame in frames.values())


def test_new_servos_for_motors_hold_and_move_the_arm(write):
    text = re.sub(
        r'<position name="servo_(\w+)" joint="(\w+)".*?/>', r'<motor name="m_\1" joint="\2"/>', disguised()
    )
    with pytest.raises(RobotFileError, match=r"'m_joint1'.* does not take a position.*actuators: position"):
        RobotModel(write(text))
    spec = write(text, actuators='position')
    _, solved, _ = trajectory(spec, steps=50)
    assert solved
    with contextlib.closing(Worlds(spec)) as worlds:
        assert worlds.scene.model.nu == spec.dim  # the motors are gone


def test_the_base_can_be_put_elsewhere(write):
    spec = write(base={'position': [0.1, 0.2, 0.3], 'quaternion': [0, 0, 0, 1]})
    with contextlib.closing(Worlds(spec)) as worlds, contextlib.closing(Worlds(write())) as plain:
        for each in (worlds, plain):
            each.reset([0], [0])
        turned = plain.view.tip[0] * [-1, -1, 1] + [0.1, 0.2, 0.3]
        np.testing.assert_allclose(worlds.view.tip[0], turned, atol=1e-3)


GRIPPER = """
<mujoco><compiler angle="radian" autolimits="true"/><option integrator="implicitfast"/>
  <default><default class="finger">
    <joint range="0 0.8" damping="0.1" armature="0.005"/></default></default>
  <worldbody><body name="hand" pos="0 0 0.5">
    <geom size="0.02"/><joint name="lift" type="slide" axis="0 0 1" range="-1 1"/>
    <body name="left"><joint class="finger" name="left" axis="1 0 0"/>
      <geom size="0.01" pos="0 0.05 0"/></body>
    <body name="right"><joint class="finger" name="right" axis="-1 0 0"/>
      <geom size="0.01" pos="0 -0.05 0"/></body>
    <body name="thing"><joint name="thing"/><geom size="0.01"/></body>
  </body></worldbody>
  <tendon><fixed name="split">
    <joint joint="left" coef="0.5"/><joint joint="right" coef="0.5"/></fixed></tendon>
  <equality><joint joint1="left" joint2="right" solref="0.005 1"/></equality>
  <actuator><position name="lift" joint="lift" kp="5000" kv="300"/>
    <general name="fingers" tendon="split" ctrlrange="0 255" forcerange="-5 5" biastype="affine"
      gainprm="0.00627451 0 0" biasprm="0 -2 -0.2"/></actuator>
</mujoco>"""


def gripper_spec(tmp_path, **changes) -> RobotSpec:
    (tmp_path / 'gripper.xml').write_text(GRIPPER)
    joint = {'velocity': 1.0, 'jump': 0.5}
    return RobotSpec.from_dict({
        'name': 'hoist', 'cameras': [], 'folder': str(tmp_path),
        'joints': [
            {'name': 'lift', 'lower': -1, 'upper': 1, 'home': 0.1, **joint},
            {'name': 'grip', 'lower': 0.0, 'upper': 0.0425, 'home': 0.0425, 'gripper': True, **joint},
        ],
        'simulator': {
            'model': 'gripper.xml', 'tip': {'body': 'hand'}, 'task': f'{__name__}:Nothing',
            'remove': ['thing'],
            'gripper': {'joint': 'left', 'actuator': 'fingers', 'position': [0.8, 0.0], 'control': [255, 0]},
            **changes,
        },
    })  # fmt: skip


class Nothing:
    """A task without objects."""

    name, max_duration_s, robot = 'nothing', 1.0, ''

    def build(self, model):
        joint = model.worldbody.add_body(name='door').add_joint(name='door', range=[0, 1.5], limited=True)
        joint.type = mujoco.mjtJoint.mjJNT_HINGE
        model.body('door').add_geom(size=[0.01] * 3, pos=[1, 1, 1], contype=0, conaffinity=0)


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
    from apprentice.sim.scene import Scene

    scene = Scene(gripper_spec(tmp_path))
    qpos = scene.start_qpos(np.array([0.1, 0.02125]), {})
    assert qpos[scene.address('jnt_qposadr', 'left')] == pytest.approx(0.4)
    assert qpos[scene.address('jnt_qposadr', 'right')] == pytest.approx(0.4)
    assert scene.model.joint('door').range[1] == pytest.approx(1.5)


def test_a_task_gives_radians_to_a_model_in_degrees(tmp_path):
    from apprentice.sim.scene import Scene

    global GRIPPER
    text, GRIPPER = (
        GRIPPER,
        GRIPPER.replace('angle="radian"', 'angle="degree"').replace('range="0 0.8"', 'range="0 45.8"'),
    )
    try:
        model = Scene(gripper_spec(tmp_path)).model
    finally:
        GRIPPER = text
    assert model.joint('door').range[1] == pytest.approx(1.5)
    assert model.joint('left').range[1] == pytest.approx(0.8, abs=0.01)


LINK = """<inertial><mass value="{}"/><origin xyz="0 0 0.1"/>
    <inertia ixx="0.01" iyy="0.01" izz="0.01" ixy="0" ixz="0" iyz="0"/></inertial>"""
LIMIT = '<limit lower="{}" upper="{}" effort="{}" velocity="2"/>'
URDF = f"""<?xml version="1.0"?>
<robot name="two" xmlns:xacro="http://ros.org/wiki/xacro">
  <link name="base"/>
  <link name="upper">{LINK.format(2)}
    <visual><geometry><mesh filename="package://two_description/meshes/upper.dae"/></geometry></visual>
    <collision><geometry>
      <mesh filename="package://two_description/meshes/box.obj" scale="0.1 0.1 0.2"/>
    </geometry></collision>
  </link>
  <link name="fore">{LINK.format(1)}<visual><geometry><box size="0.05 0.05 0.2"/></geometry></visual></link>
  <link name="tool"/>
  <link name="left">{LINK.format(0.05)}</link><link name="right">{LINK.format(0.05)}</link>
  <joint name="pan" type="revolute"><parent link="base"/><child link="upper"/>
    <axis xyz="0 1 0"/>{LIMIT.format(-2, 2, 80)}</joint>
  <joint name="bend" type="continuous"><parent link="upper"/><child link="fore"/>
    <origin xyz="0 0 0.3"/><axis xyz="0 1 0"/></joint>
  <joint name="fixed" type="fixed"><parent link="fore"/><child link="tool"/><origin xyz="0 0 0.3"/></joint>
  <joint name="f1" type="prismatic"><parent link="tool"/><child link="left"/>
    <axis xyz="0 1 0"/>{LIMIT.format(0, 0.04, 20)}</joint>
  <joint name="f2" type="prismatic"><parent link="tool"/><child link="right"/>
    <axis xyz="0 -1 0"/>{LIMIT.format(0, 0.04, 20)}
    <mimic joint="f1" multiplier="0.5" offset="0.01"/></joint>
</robot>"""
CORNERS = [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
FACES = ('1 2 4 3', '5 7 8 6', '1 5 6 2', '3 4 8 7', '1 3 7 5', '2 6 8 4')


def urdf_spec(tmp_path, text=URDF, mesh=True, **changes) -> RobotSpec:
    package = tmp_path / 'two_description'
    for folder in ('urdf', 'meshes'):
        (package / folder).mkdir(parents=True, exist_ok=True)
    (package / 'urdf' / 'two.urdf').write_text(text)
    if mesh:
        corners = ''.join(f'v {x} {y} {z}\n' for x, y, z in CORNERS)
        (package / 'meshes' / 'box.obj').write_text(corners + ''.join(f'f {face}\n' for face in FACES))
    joint = {'velocity': 1.0, 'jump': 0.5}
    return RobotSpec.from_dict({
        'name': 'two', 'folder': str(tmp_path),
        'cameras': [{'name': 'side', 'topic': 'side', 'width': 32, 'height': 32, 'rate_hz': 10}],
        'joints': [
            {'name': 'pan', 'lower': -2, 'upper': 2, 'home': 0.8, **joint},
            {'name': 'bend', 'lower': -3, 'upper': 3, 'home': 0.7, **joint},
            {'name': 'f1', 'lower': 0.0, 'upper': 0.04, 'home': 0.02, 'gripper': True, **joint},
        ],
        'simulator': {
            'model': 'two_description/urdf/two.urdf', 'tip': {'body': 'tool'}, 'task': f'{__name__}:Nothing',
            'cameras': {'side': {'position': [0, -2, 0.5], 'target': [0, 0, 0.3]}},
            'base': {'position': [0, 0, 0.5]},
            **changes,
        },
    })  # fmt: skip


def test_a_urdf_gets_servos_and_keeps_its_links_and_mimics(tmp_path, caplog):
    from apprentice.sim.scene import Scene

    scene = Scene(urdf_spec(tmp_path))
    assert 'upper.dae' in caplog.text
    model, data = scene.model, mujoco.MjData(scene.model)
    assert model.nmesh == 1
    assert model.nu == 3
    targets = np.array([-0.6, 1.2, 0.03])
    data.qpos[:] = scene.start_qpos(np.array([0.8, 0.7, 0.02]), {})
    data.ctrl[scene.ctrl] = targets
    mujoco.mj_step(model, data, 2000)
    np.testing.assert_allclose(data.qpos[scene.qpos], targets, atol=5e-3)
    assert data.joint('f2').qpos[0] == pytest.approx(0.01 + 0.5 * 0.03, abs=2e-3)
    assert model.body('tool').id > 0
    tool, _ = scene.kinematics().forward(targets[:2])
    np.testing.assert_allclose(
        tool, [0.3 * np.sin(-0.6) + 0.3 * np.sin(0.6), 0, 0.5 + 0.6 * np.cos(0.6)], atol=1e-3
    )


def test_gains_of_a_urdf(tmp_path):
    gains = {'pan': {'kp': 123.0, 'damping': 4.0}}
    model = RobotModel(urdf_spec(tmp_path, gains=gains)).specification.compile()
    assert model.actuator('pan').gainprm[0] == 123.0
    assert model.actuator('pan').biasprm[2] == -4.0
    assert model.actuator('bend').gainprm[0] > 0
    with pytest.raises(RobotFileError, match='kp must be positive'):
        RobotModel(urdf_spec(tmp_path, gains={'kp': -1}))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'text': URDF.replace('upper.dae', 'upper.stl')}, r'upper\.stl.*is not there.*simulator\.packages'),
        ({'text': URDF.replace('box.obj', 'box.dae')}, r'collision mesh.*convert it'),
        ({'text': URDF.replace('<link name="base"/>', '<xacro:link/>')}, 'xacro two.urdf > robot.urdf'),
        ({'text': '<mujoco/>'}, 'begins with <robot>'),
        ({'text': URDF[:200]}, 'not valid XML'),
        ({'mesh': False}, r'box\.obj.*is not there'),
        ({'packages': {'two_description': 'elsewhere'}}, r'elsewhere.*no file'),
    ],
)  # fmt: skip
def test_wrong_urdf(tmp_path, changes, message):
    with pytest.raises(RobotFileError, match=message) as error:
        RobotModel(urdf_spec(tmp_path, **changes))
    assert 'two' in str(error.value)


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
    ],
)
def test_wrong_files_say_what_is_there_and_what_to_do(write, changes, message):
    with pytest.raises(RobotFileError, match=message) as error:
        RobotModel(write(**changes))
    assert 'sim_arm' in str(error.value)


def test_a_name_of_the_task_that_the_robot_has_too(write):
    text = disguised().replace('name="link3"', 'name="first"')
    with pytest.raises(RobotFileError, match=r"in the scene of task 'pick'.*rename it"):
        Worlds(write(text))


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
    assert set(keys) == set(KEYS)
    panda = RobotSpec.load(share('robots', 'panda_menagerie.yaml'))
    assert yaml.safe_load(snippet('panda')) == panda.simulator
    fetch = RobotSpec.load(share('robots', 'gym_fetch.yaml')).simulator
    for key, value in yaml.safe_load(snippet('gym')).items():
        shipped = fetch[key]
        assert shipped == value or value.items() <= shipped.items(), key


def test_the_snippet_for_gymnasium():
    pytest.importorskip('gymnasium')
    found = {}
    exec(snippet('tasks'), found)
    assert found['info']['instruction'] == 'pick up the red cube'
    assert found['observation']['front'].shape == (64, 64, 3)
    assert found['batch']['state'].shape == (4, 7)
    found['env'].close()
    found['envs'].close()
