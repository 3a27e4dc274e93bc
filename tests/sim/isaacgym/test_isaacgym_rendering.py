# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Isaac Gym's cameras against the contract fake, which draws a square where each body's origin is."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from isaacgym_scenes import options, scene

from apprentice.robot.spec import CameraSpec
from apprentice.sim.isaacgym.physics import IsaacGymPhysics
from apprentice.sim.isaacgym.process import IsaacGymError
from apprentice.sim.isaacgym.rendering import IsaacGymRendering
from apprentice.sim.physics.threads import ThreadPhysics

SIZES = {'side': (96, 96), 'hand': (80, 80)}
COLOURS = {'ball': (0.2, 0.8, 0.2), 'wedge': (0.8, 0.2, 0.2)}


def make_scene(model):
    cameras = tuple(CameraSpec(name, name, width, height, 10.0) for name, (width, height) in SIZES.items())
    numbers = {'camera': lambda name: int(model.camera(name).id)}
    spec = SimpleNamespace(cameras=cameras)
    return SimpleNamespace(spec=spec, model=model, id=lambda kind, name: numbers[kind](name))


@pytest.fixture(scope='module', params=['cuda:0', 'cpu'])
def worker(request):
    model = scene()
    physics = IsaacGymPhysics(model, 2, options=options(device=request.param))
    rendering = IsaacGymRendering(make_scene(model))
    yield physics, rendering
    rendering.close()
    physics.close()


@pytest.fixture
def pair(worker):
    worker[0].reset(range(2))
    worker[0].forward(range(2))
    return worker


def frames_of(physics, rendering, sims):
    out = {name: np.zeros((len(sims), h, w, 3), np.uint8) for name, (w, h) in SIZES.items()}
    rendering.render(physics, sims, out)
    return out


def seen_at(frame, colour):
    """Row and column of the middle of a square, or None."""
    rows, columns = np.nonzero((frame == np.round(255 * np.array(colour)).astype(np.uint8)).all(-1))
    return (rows.mean(), columns.mean()) if len(rows) else None


def expected(physics, sim, camera, body, height):
    """Where MuJoCo's camera of the same simulation has the body's origin; independent of frames.py."""
    model, data = physics.materialize(sim)
    number = model.camera(camera).id
    frame = data.cam_xmat[number].reshape(3, 3)
    right, up, back = frame.T @ (data.body(body).xpos - data.cam_xpos[number])
    scale = height / 2 / np.tan(np.radians(model.cam_fovy[number]) / 2)
    return height / 2 - scale * up / -back - 0.5, height / 2 + scale * right / -back - 0.5


def assert_seen_where_mujoco_sees(physics, frames, sims):
    for row, sim in enumerate(sims):
        for body, colour in COLOURS.items():
            wanted = expected(physics, sim, 'side', body, SIZES['side'][1])
            found = seen_at(frames['side'][row], colour)
            assert found is not None, (sim, body)
            np.testing.assert_allclose(found, wanted, atol=1.0)


def test_bodies_are_seen_where_mujocos_cameras_see_them(pair):
    physics, rendering = pair
    first = int(physics.model.joint('ball').qposadr[0])
    physics.write('qpos', range(first, first + 3), [0.3, 0.4, 0.5], [1])
    physics.step(3)
    frames = frames_of(physics, rendering, [0, 1])
    assert frames['side'].shape == (2, 96, 96, 3)
    assert_seen_where_mujoco_sees(physics, frames, [0, 1])
    only = frames_of(physics, rendering, [1])
    np.testing.assert_array_equal(only['side'][0], frames['side'][1])


def test_a_camera_on_a_link_moves_with_it(pair):
    physics, rendering = pair
    first = int(physics.model.joint('ball').qposadr[0])
    for angle in (0.2, -0.3):
        physics.write('ctrl', [0, 1, 2], [angle, angle, angle], [0, 1])
        physics.step(200)
        model, data = physics.materialize(0)
        number = model.camera('hand').id
        frame = data.cam_xmat[number].reshape(3, 3)
        ahead = data.cam_xpos[number] + frame @ [0.06, 0.1, -0.5]  # to the right, above, before the camera
        physics.write('qpos', range(first, first + 3), ahead, [0])
        physics.forward([0])
        frames = frames_of(physics, rendering, [0])
        wanted = expected(physics, 0, 'hand', 'ball', SIZES['hand'][1])
        assert wanted[0] < 30  # above the middle
        assert wanted[1] > 44  # right of it
        np.testing.assert_allclose(seen_at(frames['hand'][0], COLOURS['ball']), wanted, atol=1.2)


def test_frames_show_written_states_and_change_nothing(pair):
    physics, rendering = pair
    physics.step(3)
    frames_of(physics, rendering, [0])
    before = {name: physics.read(name).copy() for name in ('qpos', 'qvel', 'time', 'xpos')}
    saved = physics.save(0)
    physics.step(40)
    physics.restore(1, saved)
    frames = frames_of(physics, rendering, [0, 1])
    assert_seen_where_mujoco_sees(physics, frames, [0, 1])
    for name, values in before.items():
        np.testing.assert_allclose(physics.read(name)[1], values[0], atol=1e-9)
    moved = physics.read('qpos')[0].copy()
    frames_of(physics, rendering, [0])
    np.testing.assert_array_equal(physics.read('qpos')[0], moved)


def test_colours_and_camera_poses_of_one_simulation(pair):
    physics, rendering = pair
    model = physics.model
    physics.write_model('geom_rgba', model.geom('ball').id, np.array([0.2, 0.4, 1.0, 1.0]), 1)
    number = model.camera('side').id
    physics.write_model('cam_pos', number, model.cam_pos[number] + [0.3, 0, -0.1], 1)
    physics.step(1)
    frames = frames_of(physics, rendering, [0, 1])
    for row, colour in ((0, COLOURS['ball']), (1, (0.2, 0.4, 1.0))):
        found = seen_at(frames['side'][row], colour)
        np.testing.assert_allclose(found, expected(physics, row, 'side', 'ball', 96), atol=1.0)
    physics.reset([1])
    physics.step(1)
    frames = frames_of(physics, rendering, [0, 1])
    np.testing.assert_allclose(
        seen_at(frames['side'][1], COLOURS['ball']), expected(physics, 1, 'side', 'ball', 96), atol=1.0
    )


def test_what_is_hidden_is_out_of_view_and_stays_where_it_is(pair):
    physics, rendering = pair
    model, colours = physics.model, {'ball': (0.4, 0.2, 0.6), 'mark': (0.8, 0.4, 0.2)}
    physics.step(1)
    for sim in (0, 1):
        for name, colour in colours.items():
            physics.write_model('geom_rgba', model.geom(name).id, np.array([*colour, 1.0 - sim]), sim)
    physics.write('ctrl', [0, 1, 2], [0.2, 0.2, 0.2], [0, 1])
    physics.step(3)
    before = {name: physics.read(name).copy() for name in ('qpos', 'qvel', 'xpos')}
    for _ in range(2):
        frames = frames_of(physics, rendering, [1, 0])['side']
        for name, colour in colours.items():
            assert seen_at(frames[0], colour) is None, name
            np.testing.assert_allclose(
                seen_at(frames[1], colour), expected(physics, 0, 'side', name, 96), atol=1.0
            )
        assert seen_at(frames[0], COLOURS['wedge']) is not None
    for name, values in before.items():
        np.testing.assert_array_equal(physics.read(name), values)
    physics.step(3)
    np.testing.assert_allclose(physics.read('qpos')[1], physics.read('qpos')[0], atol=1e-6)
    physics.write_model('geom_rgba', model.geom('ball').id, np.array([*colours['ball'], 1.0]), 1)
    frames = frames_of(physics, rendering, [1])['side']
    np.testing.assert_allclose(
        seen_at(frames[0], colours['ball']), expected(physics, 1, 'side', 'ball', 96), atol=1.0
    )


@pytest.mark.parametrize('geom', ['block', 'front', 'left', 'floor'])
def test_what_cannot_be_moved_out_of_view_is_named(pair, geom):
    physics, rendering = pair
    physics.write_model('geom_rgba', physics.model.geom(geom).id, np.zeros(4), 0)
    frames_of(physics, rendering, [1])
    with pytest.raises(ValueError, match=f"simulation 0: geom '{geom}' has an alpha of 0"):
        frames_of(physics, rendering, [0])


def test_what_cannot_be_shown_is_refused(pair):
    physics, rendering = pair
    other = ThreadPhysics(scene())
    with pytest.raises(ValueError, match='not ThreadPhysics'):
        frames_of(other, rendering, [0])
    physics.write_model('cam_fovy', 0, np.array(33.0), 1)
    physics.step(1)
    frames_of(physics, rendering, [0])
    with pytest.raises(ValueError, match='cam_fovy'):
        frames_of(physics, rendering, [1])
    assert physics.materialize(1)[0].cam_fovy[0] == 33.0


def test_without_graphics_the_reason_is_named():
    model = scene()
    physics = IsaacGymPhysics(model, 1, options=options(graphics=False))
    try:
        with pytest.raises(ValueError, match='without graphics'):
            frames_of(physics, IsaacGymRendering(make_scene(model)), [0])
        arrays = [['c', 'uint8', [1, 8, 8, 3]]]
        memory, _ = physics.worker.share(arrays)
        camera = {'name': 'c', 'width': 8, 'height': 8, 'field_of_view': 50.0, 'near': 0.1, 'far': 9.0}
        place = {'body': -1, 'position': [0, 0, 0], 'rotation': [0, 0, 0, 1]}
        with pytest.raises(IsaacGymError, match='display driver'):
            physics.worker.call('cameras', memory=memory, arrays=arrays, cameras=[camera | place])
    finally:
        physics.close()
