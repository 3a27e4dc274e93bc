# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The robot file: what is accepted, and that every refusal names cause and remedy."""

import copy

import numpy as np
import pytest
import yaml

from apprentice.robot.parts import load_part, share
from apprentice.robot.spec import RobotFileError, RobotSpec


@pytest.fixture
def data() -> dict:
    return yaml.safe_load(share('robots', 'sim_arm.yaml').read_text())


def test_shipped_file_loads():
    spec = RobotSpec.load(share('robots', 'sim_arm.yaml'))
    assert spec.dim == 7
    assert spec.gripper_mask.tolist() == [False] * 6 + [True]
    assert np.all(spec.vector('lower') < spec.vector('upper'))
    assert spec.camera('wrist').width == 64


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda d: d.pop('joints'), 'joints is missing'),
        (lambda d: d.pop('name'), 'missing name'),
        (lambda d: d.update(control_hzz=3), "did you mean 'control_hz'"),
        (lambda d: d['joints'][0].update(lower=5.0), 'not below upper'),
        (lambda d: d['joints'][0].update(home=9.0), 'outside its limits'),
        (lambda d: d['joints'][0].update(velocity='fast'), 'expected float'),
        (lambda d: d['joints'][0].update(velocity=0), 'must be positive'),
        (lambda d: d['joints'][0].update(spread=-0.1), 'spread -0.1 is negative'),
        (lambda d: d['joints'][0].update(upper=float('nan')), 'finite'),
        (lambda d: d['joints'][1].update(name='joint1'), 'unique'),
        (lambda d: d['cameras'][0].pop('topic'), 'missing topic'),
        (lambda d: d['cameras'][0].update(width=0), 'must be > 0'),
        (lambda d: d.update(command={'type': 'wishes'}), 'command.type'),
        (lambda d: d.update(joints={}), 'must be a list'),
    ],
)
def test_wrong_file_names_the_field(data, change, message):
    wrong = copy.deepcopy(data)
    change(wrong)
    with pytest.raises(RobotFileError, match=message):
        RobotSpec.from_dict(wrong)


def test_missing_and_broken_files_name_the_file(tmp_path):
    with pytest.raises(RobotFileError, match='does not exist; pass robot:='):
        RobotSpec.load(tmp_path / 'none.yaml')
    broken = tmp_path / 'broken.yaml'
    broken.write_text('a: [')
    with pytest.raises(RobotFileError, match=r'broken\.yaml is not valid YAML'):
        RobotSpec.load(broken)


def test_unknown_camera_names_the_known_ones():
    spec = RobotSpec.load(share('robots', 'sim_arm.yaml'))
    with pytest.raises(RobotFileError, match='front, wrist'):
        spec.camera('top')


def test_parts_load_or_say_why():
    assert load_part('apprentice.robot.spec:RobotSpec') is RobotSpec
    for wrong, why in (
        ('nothing', 'not of the form'),
        ('apprentice.robot.spec:Robott', "has no 'Robott'"),
        ('no.such:Thing', 'installed'),
    ):
        with pytest.raises(ImportError, match=why):
            load_part(wrong)
