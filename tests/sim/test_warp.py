# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""MuJoCo Warp on a CPU: the motion and the pictures of MuJoCo, simulations that leave each other alone.

The first test compiles the kernels, which takes about a minute on a fresh machine; the others take them
from the cache, so the file is one group for one worker.
"""

import contextlib
import dataclasses
import sys

import mujoco
import numpy as np
import pytest

from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.sim.physics import make_physics
from apprentice.sim.physics.threads import ThreadPhysics
from apprentice.sim.worlds import Worlds

ROBOT = RobotSpec.load(share('robots', 'sim_arm.yaml'))
FRONT, WRIST = ROBOT.cameras
SPEC = dataclasses.replace(ROBOT, cameras=(FRONT, dataclasses.replace(WRIST, width=48, height=32)))
HOME = SPEC.vector('home')
SPHERES = """<mujoco><option timestep="0.005" {option}/><worldbody><geom type="plane" size="1 1 1"/>
<body pos="0 0 0.1"><freejoint/><geom size="0.1"/></body>
<body pos="0 0.3 0.1"><freejoint/><geom size="0.1"/></body></worldbody></mujoco>"""
pytestmark = [pytest.mark.xdist_group('warp'), pytest.mark.timeout(900)]  # kernels of a fresh machine


def targets(seed, steps, count):
    return (
        HOME + np.random.default_rng(seed).uniform(-0.3, 0.3, (steps, count, SPEC.dim)) * ~SPEC.gripper_mask
    )


@pytest.fixture(scope='module')
def both():
    """Three worlds in MuJoCo Warp, and the same in MuJoCo."""
    pytest.importorskip('mujoco_warp')
    with contextlib.ExitStack() as stack:
        made = [
            stack.enter_context(contextlib.closing(Worlds(SPEC, 3, engine=engine, rendering=rendering)))
            for engine, rendering in (('warp', 'warp'), ('threads', 'gl'))
        ]
        made[1].scene.model.vis.quality.numquads = 40  # GL lights corners of quads, ray tracing each pixel
        yield made


@pytest.fixture
def worlds(both):
    """Three worlds in MuJoCo Warp, at the starts of seeds 0, 1, 2."""
    both[0].reset(range(3), range(3))
    return both[0]


def positions(worlds):
    return worlds.physics.read('qpos').copy()


def test_the_arm_moves_as_in_mujoco(both):
    for worlds in both:
        worlds.reset(range(3), range(3))
    np.testing.assert_allclose(positions(both[0]), positions(both[1]), atol=1e-3)  # cubes have just landed
    for command in targets(0, 10, 3):
        for worlds in both:
            worlds.step(command, SPEC.action_dt)
        np.testing.assert_allclose(both[0].joints, both[1].joints, atol=1e-5)
        np.testing.assert_allclose(both[0].velocities, both[1].velocities, atol=1e-3)
        np.testing.assert_allclose(both[0].view.tip, both[1].view.tip, atol=1e-5)
    np.testing.assert_allclose(positions(both[0]), positions(both[1]), atol=1e-3)
    np.testing.assert_allclose(both[0].physics.read('time'), both[1].physics.read('time'), rtol=1e-5)


def test_the_expert_grasps_and_lifts_as_in_mujoco(both):
    needed = []
    for worlds in both:
        worlds.reset(range(3), (3, 4, 5))
        expert, steps = worlds.expert(), np.full(3, -1)
        for step in range(80):
            steps[(steps < 0) & worlds.success()] = step
            if steps.min() >= 0:
                break
            joints = worlds.joints
            acts = [expert.act(joints[i], worlds.objects(i), worlds.instructions[i]) for i in range(3)]
            worlds.step(np.array(acts), SPEC.action_dt)
        needed.append(steps)
    assert needed[0].min() > 0, 'an attempt failed'
    np.testing.assert_allclose(needed[0], needed[1], atol=2)  # control steps until success


def test_simulations_that_were_not_chosen_stand_still(worlds):
    before, poses = positions(worlds), worlds.physics.read('xpos').copy()
    state = worlds.physics.save(1)
    worlds.step(targets(1, 1, 3)[0][[0, 2]], SPEC.action_dt, [0, 2])
    after = positions(worlds)
    np.testing.assert_array_equal(after[1], before[1])
    np.testing.assert_array_equal(worlds.physics.read('xpos')[1], poses[1])
    np.testing.assert_array_equal(worlds.physics.save(1), state)
    assert np.all(np.abs(after[[0, 2]] - before[[0, 2]]).max(1) > 0.01)
    worlds.reset([1], [7])
    np.testing.assert_array_equal(positions(worlds)[[0, 2]], after[[0, 2]])
    assert np.abs(positions(worlds)[1] - before[1]).max() > 0.01


def test_branches_go_on_the_same_to_the_bit(worlds):
    for command in targets(2, 3, 3):
        worlds.step(command, SPEC.action_dt)
    snapshot, after = worlds.save(1), targets(3, 4, 3)
    for command in after:
        worlds.step(command, SPEC.action_dt)
    expected, progress = positions(worlds)[1], worlds.progress()[1]
    worlds.restore(2, snapshot)
    for command in after:
        worlds.step(command[[1]], SPEC.action_dt, [2])
    np.testing.assert_array_equal(positions(worlds)[2], expected)
    assert worlds.progress()[2] == progress


def test_states_are_exchanged_with_mujoco(both, worlds):
    both[1].reset([0], [9])
    worlds.restore(1, both[1].save(0))
    np.testing.assert_allclose(positions(worlds)[1], positions(both[1])[0], atol=1e-6)
    np.testing.assert_allclose(worlds.view.tip[1], both[1].view.tip[0], atol=1e-6)
    model, data = worlds.physics.materialize(1)
    np.testing.assert_allclose(data.site('tip').xpos, worlds.view.tip[1], atol=1e-6)
    np.testing.assert_array_equal(
        model.geom('first').rgba, both[1].physics.materialize(0)[0].geom('first').rgba
    )


@pytest.mark.parametrize('bad', [np.nan, 1e11])
def test_a_diverged_simulation_stands_still_and_the_others_go_on(worlds, bad):
    commands = targets(4, 3, 3)
    for command in commands:
        worlds.step(command, SPEC.action_dt)
    clean = positions(worlds)
    worlds.reset(range(3), range(3))
    worlds.step(commands[0], SPEC.action_dt)
    worlds.physics.write('qvel', 0, bad, [1])
    for command in commands[1:]:
        worlds.step(command, SPEC.action_dt)
    assert worlds.failed.tolist() == [False, True, False]
    assert not worlds.success()[1]
    assert np.all(np.isfinite(positions(worlds)))
    np.testing.assert_array_equal(positions(worlds)[[0, 2]], clean[[0, 2]])
    worlds.reset([1], [1])
    assert not worlds.failed.any()
    for command in commands:
        worlds.step(command[[1]], SPEC.action_dt, [1])
    np.testing.assert_array_equal(positions(worlds)[1], clean[1])


def test_each_simulation_has_its_own_model_values_until_a_reset(worlds):
    physics = worlds.physics
    number = worlds.scene.id('actuator', 'joint1')
    command = np.tile(HOME, (3, 1))
    command[:, 0] += 0.3
    for name in ('actuator_gainprm', 'actuator_biasprm'):
        physics.write_model(name, number, np.zeros(10), 1)  # a motor that is off
    start = worlds.joints.copy()
    worlds.step(command, 0.3)
    moved = np.abs(worlds.joints - start)[:, 0]
    assert moved[1] < 0.01 < 0.1 < min(moved[0], moved[2])
    worlds.reset([1], [1])
    worlds.step(command, 0.3)
    assert np.abs(worlds.joints - start)[1, 0] > 0.1
    with pytest.raises(ValueError, match='no model field'):
        physics.write_model('tex_data', 0, np.zeros(1), 0)
    with pytest.raises(ValueError, match='cannot be written'):
        physics.write('xpos', 0, np.zeros(3), [0])


def test_arrays_are_shared_with_torch(worlds):
    control, joints = worlds.physics.tensor('ctrl'), worlds.physics.tensor('qpos')
    control[1] = control.new_tensor(targets(5, 1, 3)[0, 1])
    before = joints.clone()
    worlds.physics.step(20)
    assert (joints[1] - before[1]).abs().max() > 0.01
    np.testing.assert_array_equal(joints.cpu().numpy(), positions(worlds).astype(np.float32))


def test_nothing_written_into_a_tensor_is_lost():
    """Neither to what is written through the engine before or after it, nor to a reader."""
    pytest.importorskip('torch')
    warp = pytest.importorskip('apprentice.sim.physics.warp')
    model = mujoco.MjModel.from_xml_string(SPHERES.format(option=''))
    with contextlib.closing(warp.WarpPhysics(model, 2, device='cpu')) as physics:
        state = physics.save(1)
        qpos = physics.tensor('qpos')
        assert physics.read('qpos')[0, 0] == 0
        qpos[0, 0] = 0.25
        assert physics.read('qpos')[0, 0] == 0.25  # read before, and written since
        physics.write('qpos', 1, 0.5, [0])
        assert qpos[0, 1] == 0.5
        qpos[0, 2] = 0.75
        physics.write('qpos', 7, 0.125, [0])
        physics.restore(1, state)
        qpos[1, 0] = 0.375
        physics.forward([0, 1])
        np.testing.assert_array_equal(physics.read('qpos')[0, [0, 1, 2, 7]], [0.25, 0.5, 0.75, 0.125])
        np.testing.assert_allclose(physics.read('xpos')[:, 1, 0], [0.25, 0.375])
        physics.reset([0])
        qpos[0, 0] = 0.625
        np.testing.assert_allclose(physics.save(1)[1:8], [0.375, *state[2:8]])
        np.testing.assert_allclose(physics.save(0)[1:8], [0.625, *model.qpos0[1:7]], rtol=1e-6)


def test_frames_look_as_in_gl(both):
    for worlds in both:
        worlds.reset(range(3), range(3))
    ours, theirs = (worlds.render() for worlds in both)
    assert ours['wrist'].shape == (3, 32, 48, 3)
    for name in ours:
        difference = np.abs(ours[name].astype(int) - theirs[name])
        assert difference.mean() < 2.0, name  # of 255
        assert np.mean(difference.max(-1) > 40) < 0.01, name  # edges
    some = both[0].render([2, 0])
    np.testing.assert_array_equal(some['front'], ours['front'][[2, 0]])


def test_frames_of_other_engines_and_of_changed_looks(both, worlds):
    from apprentice.sim.warp_render import WarpRendering

    plain = worlds.render()['front']
    red = np.array([1.0, 0.0, 0.0, 1.0])
    camera = worlds.scene.id('camera', 'front')
    for each in both:
        each.reset(range(3), range(3))
        each.physics.write_model('geom_rgba', each.scene.id('geom', 'table'), red, 1)
        each.physics.write_model('cam_pos', camera, each.scene.model.cam_pos[camera] + [0, 0, 0.1], 2)
        each.physics.write_model('light_diffuse', 0, np.zeros(3), 0)
        each.physics.write_model('geom_pos', each.scene.id('geom', 'table'), np.array([0.25, 0.3, -0.02]), 0)
        each.physics.forward(range(3))
    places = [each.physics.read('geom_xpos') for each in both]
    np.testing.assert_allclose(*places, atol=1e-3)
    ours, theirs = (each.render()['front'] for each in both)
    with contextlib.closing(WarpRendering(both[1].scene)) as rendering:
        uploaded = both[1].frame_buffers(3)
        rendering.render(both[1].physics, [0, 1, 2], uploaded)
    assert np.abs(ours.astype(int) - theirs).mean() < 2.0
    assert np.abs(ours.astype(int) - uploaded['front']).mean() < 0.2
    assert np.median(ours[1], (0, 1)).argmax() == 0  # RGB: the table is red
    assert ours[0].mean() < plain[0].mean()
    assert np.abs(ours[2].astype(int) - plain[2]).mean() > 5.0
    worlds.reset(range(3), range(3))
    np.testing.assert_allclose(worlds.render()['front'], plain, atol=1)


@pytest.mark.slow  # rays of their own for each simulation are another kernel
def test_fields_of_view_may_differ():
    pytest.importorskip('mujoco_warp')
    with contextlib.ExitStack() as stack:
        frames = []
        for engine, rendering in (('warp', 'warp'), ('threads', 'warp'), ('threads', 'gl')):
            worlds = stack.enter_context(
                contextlib.closing(Worlds(SPEC, 3, engine=engine, rendering=rendering))
            )
            worlds.scene.model.vis.quality.numquads = 40
            worlds.reset(range(3), range(3))
            plain = worlds.render()['front']
            worlds.physics.write_model('cam_fovy', worlds.scene.id('camera', 'front'), 50.0, 2)
            frames.append(worlds.render()['front'])
            assert np.abs(frames[-1].astype(int) - plain).mean((1, 2, 3))[2] > 5.0
        assert np.abs(frames[0].astype(int) - frames[2]).mean() < 2.0
        assert np.abs(frames[1].astype(int) - frames[2]).mean() < 2.0


@pytest.mark.slow
def test_the_field_of_view_of_a_single_simulation_may_change():
    pytest.importorskip('mujoco_warp')
    with contextlib.ExitStack() as stack:
        frames = []
        for engine, rendering in (('warp', 'warp'), ('threads', 'gl')):
            worlds = stack.enter_context(
                contextlib.closing(Worlds(SPEC, 1, engine=engine, rendering=rendering))
            )
            worlds.scene.model.vis.quality.numquads = 40
            worlds.reset([0], [0])
            plain = worlds.render()['front']
            worlds.physics.write_model('cam_fovy', worlds.scene.id('camera', 'front'), 60.0, 0)
            frames.append(worlds.render()['front'])
            assert np.abs(frames[-1].astype(int) - plain).mean() > 5.0
        assert np.abs(frames[0].astype(int) - frames[1]).mean() < 2.0


def test_too_many_contacts_are_an_error_that_names_the_remedy(worlds):
    from apprentice.sim.physics import warp

    with contextlib.closing(
        warp.WarpPhysics(worlds.scene.model, 3, contacts=2, constraints=worlds.physics.constraints)
    ) as physics:
        for sim in range(3):
            physics.restore(sim, worlds.physics.save(sim))
        before = physics.save(0)
        with pytest.raises(warp.CapacityError, match=r'(NARROW|BROAD)PHASE.*nconmax="4"'):
            physics.step(3)
        np.testing.assert_array_equal(physics.save(0), before)


def test_room_for_contacts_is_taken_from_the_model_and_unsupported_features_are_named():
    pytest.importorskip('mujoco_warp')
    from apprentice.sim.physics import warp

    text = SPHERES.format(option='')
    assert _room(warp, text) == (3 * 8, 3 * 8 * 4)
    assert _room(warp, text.replace('<worldbody>', '<size nconmax="5" njmax="33"/><worldbody>')) == (5, 33)
    with pytest.raises(ValueError, match=r"PGS.*engine 'batch'"):
        make_physics(mujoco.MjModel.from_xml_string(SPHERES.format(option='solver="PGS"')), 1, 1, 'warp')


def _room(warp, text):
    model = mujoco.MjModel.from_xml_string(text)
    contacts = warp.contact_room(model, warp.mjw.put_model(model))
    return contacts, warp.constraint_room(model, contacts)


def test_without_the_package_the_error_names_what_to_install(monkeypatch):
    for name in list(sys.modules):
        if name.startswith('apprentice.sim.physics.warp'):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'mujoco_warp', None)
    model = mujoco.MjModel.from_xml_string('<mujoco/>')
    with pytest.raises(ImportError, match=r"pip install 'apprentice\[warp\]'"):
        make_physics(model, 1, 1, 'warp')
    assert isinstance(make_physics(model, 1, 1, 'auto'), ThreadPhysics)
