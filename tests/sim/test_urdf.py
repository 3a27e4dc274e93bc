# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""URDF as robots: meshes found, links and mimics kept, mistakes told with their remedy."""

import mujoco
import numpy as np
import pytest
from foreign_robots import URDF, urdf_spec

from apprentice.robot.spec import RobotFileError
from apprentice.sim.robots.robot_model import RobotModel
from apprentice.sim.scene import Scene


def test_a_urdf_gets_servos_and_keeps_its_links_and_mimics(tmp_path, caplog):
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


@pytest.mark.parametrize('strip', ['true', 'false'])
@pytest.mark.parametrize('mesh', ['box.obj', 'meshes/box.obj', 'package://elsewhere/box.obj'])
def test_the_compiler_of_the_file_itself(tmp_path, strip, mesh):
    compiler = f'<mujoco><compiler meshdir="../meshes" strippath="{strip}"/></mujoco>'
    text = URDF.replace('package://two_description/meshes/box.obj', mesh)
    text = text.replace('<link name="base"/>', f'{compiler}<link name="base"/>')
    model = RobotModel(urdf_spec(tmp_path, text)).specification.compile()
    assert model.nmesh == 1
    (tmp_path / 'two_description' / 'meshes' / 'box.obj').unlink()
    with pytest.raises(RobotFileError, match=r'box\.obj.*is not there; looked at: .*two_description'):
        RobotModel(urdf_spec(tmp_path, text, mesh=False))
