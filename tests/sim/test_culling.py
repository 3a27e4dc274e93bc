# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What is not drawn because no camera sees it: the frames are the same to the bit."""

import mujoco
import numpy as np
import pytest

from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.sim.culling import Culling
from apprentice.sim.render import SceneRenderer
from apprentice.sim.tasks import load_task
from apprentice.sim.worlds import Worlds

SCENE = """
<mujoco>
  <visual><quality shadowsize="{shadows}"/></visual>
  <asset><material name="plate" reflectance="{mirror}"/></asset>
  <worldbody>
    <camera name="plain" pos="0 0 0" xyaxes="1 0 0 0 0 1" fovy="60"/>
    <camera name="off_centre" pos="0 0 0" xyaxes="1 0 0 0 0 1" sensorsize="0.01 0.01" focal="0.01 0.01"
            resolution="64 64"/>
    <geom name="floor" type="plane" size="0 0 1" pos="0 0 -1"/>
    <geom name="ahead" size="0.1" pos="0 2 0" material="plate"/>
    <geom name="behind" size="0.1" pos="0 -2 0"/>
    <geom name="at_the_edge" size="0.2" pos="1.3 2 0"/>
    <geom name="beside" size="0.1" pos="1.6 2 0"/>
    <geom name="above" size="0.1" pos="0 2 1.6"/>
  </worldbody>
</mujoco>
"""


def scene(shadows: int = 0, mirror: float = 0.0) -> tuple[mujoco.MjModel, mujoco.MjData]:
    model = mujoco.MjModel.from_xml_string(SCENE.format(shadows=shadows, mirror=mirror))
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


def hidden(model, data, camera: str, aspect: float = 1.0) -> set[str]:
    culling, before = Culling(model, aspect), model.geom_group.copy()
    told = culling.hide(model, data, model.camera(camera).id)
    names = {model.geom(i).name for i in np.flatnonzero(model.geom_group == 5)}
    if told:
        culling.restore(model)
    np.testing.assert_array_equal(model.geom_group, before)
    return names


def test_what_is_out_of_view_is_hidden():
    assert hidden(*scene(), 'plain') == {'behind', 'beside', 'above'}
    assert hidden(*scene(), 'plain', aspect=2.0) == {'behind', 'above'}


def test_nothing_is_hidden_where_it_could_be_seen_all_the_same():
    assert hidden(*scene(shadows=1024), 'plain') == set()
    assert hidden(*scene(mirror=0.5), 'plain') == set()
    assert hidden(*scene(), 'off_centre') == set()


@pytest.mark.parametrize('task', ['pick', 'drawer', 'wipe', 'place'])
def test_frames_are_the_same_to_the_bit(task, monkeypatch):
    spec = RobotSpec.load(share('robots', 'sim_arm.yaml'))
    worlds = Worlds(spec, 4, task=load_task(task), randomization='strong')
    worlds.reset(range(4), range(4))
    rng, drawn = np.random.default_rng(0), []
    draw = SceneRenderer.draw

    def counted(self, *arguments):
        draw(self, *arguments)
        drawn.append(self._scene.ngeom)

    monkeypatch.setattr(SceneRenderer, 'draw', counted)
    for _ in range(5):
        target = rng.uniform(spec.vector('lower'), spec.vector('upper'), (4, spec.dim))
        worlds.step(target, 0.3)
        culled = worlds.render()
        with monkeypatch.context() as all_drawn:
            all_drawn.setattr(Culling, 'hide', lambda *_: False)
            for name, frames in worlds.render().items():
                np.testing.assert_array_equal(culled[name], frames)
    worlds.close()
    count = np.array(drawn).reshape(5, 2, -1).sum((0, 2))
    assert count[0] < 0.95 * count[1]
