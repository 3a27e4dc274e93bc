# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Robots as somebody else would have written them, for tests of what we make of them."""

import contextlib
import copy
import re

import mujoco
import numpy as np
import yaml

from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.sim.worlds import Worlds

SIM_ARM = yaml.safe_load(share('robots', 'sim_arm.yaml').read_text())
NAMES = {**{f'joint{i}': f'a{i}' for i in range(1, 7)}, 'gripper': 'finger'}


def disguised() -> str:
    """Our arm as somebody else would have written it: other names, a tendon gripper from 0 to 255, no tip."""
    text = share('sim', 'robots', 'models', 'arm.xml').read_text()
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


def foreign_spec(folder, text=None, **changes) -> RobotSpec:
    """Write a robot file with changes to SECTION, and the model beside it; returns the loaded file."""
    (folder / 'models').mkdir(exist_ok=True)
    (folder / 'models' / 'foreign.xml').write_text(disguised() if text is None else text)
    data = copy.deepcopy(SIM_ARM)
    section = {**copy.deepcopy(SECTION), **changes}
    data['simulator'] = {key: value for key, value in section.items() if value is not None}
    (folder / 'foreign.yaml').write_text(yaml.safe_dump(data))
    return RobotSpec.load(folder / 'foreign.yaml')


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


def gripper_spec(tmp_path, text=GRIPPER, **changes) -> RobotSpec:
    (tmp_path / 'gripper.xml').write_text(text)
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
