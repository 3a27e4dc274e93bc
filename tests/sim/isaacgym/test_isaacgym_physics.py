# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The Isaac Gym engine against the contract fake: wiring, frames, order of calls. No claim about PhysX."""

from __future__ import annotations

import json

import mujoco
import numpy as np
import pytest
from isaacgym_scenes import options, scene

from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.sim.isaacgym.library import Library
from apprentice.sim.isaacgym.physics import IsaacGymPhysics
from apprentice.sim.physics.threads import ThreadPhysics
from apprentice.sim.worlds import Worlds

DERIVED = (
    'xpos',
    'xquat',
    'xmat',
    'site_xpos',
    'site_xmat',
    'geom_xpos',
    'geom_xmat',
    'cam_xpos',
    'cam_xmat',
)


@pytest.fixture(scope='module')
def record(tmp_path_factory):
    """Where the fake writes what is set, one line a call."""
    return tmp_path_factory.mktemp('fake') / 'record'


@pytest.fixture(scope='module')
def engine(record):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('FAKE_ISAACGYM_RECORD', str(record))
        physics = IsaacGymPhysics(scene(), 3, options=options())
    yield physics
    physics.close()


@pytest.fixture
def physics(engine):
    engine.reset(range(engine.count))
    engine.forward(range(engine.count))
    return engine


def arrived(record, what, actor):
    """What was set last, by simulation: (number of calls, values)."""
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    found = [line for line in lines if (line['what'], line['actor']) == (what, actor)]
    return len(found), {line['sim']: line['values'] for line in found}


def address(physics, joint):
    return int(physics.model.joint(joint).qposadr[0])


def assert_poses_are_mujocos(physics):
    """Every derived field, computed by MuJoCo from the positions that the engine reports."""
    data = mujoco.MjData(physics.model)
    for sim in range(physics.count):
        data.qpos[:] = physics.read('qpos')[sim]
        mujoco.mj_kinematics(physics.model, data)
        mujoco.mj_camlight(physics.model, data)
        for name in DERIVED:
            found, wanted = physics.read(name)[sim], getattr(data, name)
            if name == 'xquat':
                found = found * np.sign((found * wanted).sum(-1, keepdims=True))
            assert found.shape == wanted.shape, name
            np.testing.assert_allclose(found, wanted, atol=5e-6, err_msg=name)


def test_each_joint_goes_to_its_own_target(physics):
    model = physics.model
    ctrl = np.array([[0.5, 0.3, -0.8, 0.03], [-0.5, -0.2, 0.4, 0.01], [0, 0, 0, 0]])
    physics.write('ctrl', range(4), ctrl, [0, 1, 2])
    physics.step(400)
    qpos = physics.read('qpos')
    for column, name in enumerate(('twist_a', 'twist_b', 'left'), start=1):
        np.testing.assert_allclose(qpos[:, address(physics, name)], ctrl[:, column], atol=1e-4)
    # the spring of the lever pulls, its target is counted from ref
    np.testing.assert_allclose(
        qpos[:, address(physics, 'lever')], (24 * ctrl[:, 0] + 8 * 0.2) / 32, atol=1e-4
    )
    np.testing.assert_allclose(qpos[:, address(physics, 'right')], 0.002 + 0.5 * ctrl[:, 3], atol=1e-4)
    np.testing.assert_allclose(physics.read('time'), 400 * model.opt.timestep)
    assert not physics.failed.any()


def test_poses_after_steps_and_after_writes_are_mujocos(physics):
    assert_poses_are_mujocos(physics)
    physics.write('ctrl', range(4), [[0.5, 0.3, -0.8, 0.03]], [1])
    physics.write('qpos', address(physics, 'drawer'), 0.15, [2])
    physics.step(30)
    assert physics.read('qpos')[2, address(physics, 'drawer')] == pytest.approx(0.15)
    assert_poses_are_mujocos(physics)
    physics.write('qpos', address(physics, 'twist_a'), 0.9, [0])
    physics.forward([0])
    assert_poses_are_mujocos(physics)


@pytest.mark.parametrize('mode', ['local', 'global'])
def test_positions_are_those_of_one_environment(monkeypatch, mode):
    monkeypatch.setenv('FAKE_ISAACGYM', mode)
    physics = IsaacGymPhysics(scene(), 3, options=options())
    try:
        for _ in range(2):
            physics.write('qpos', address(physics, 'ball'), 0.7, [2])
            physics.step(5)
            assert_poses_are_mujocos(physics)
            first = address(physics, 'ball')
            np.testing.assert_allclose(physics.read('qpos')[2, first : first + 2], [0.7, 0.8], atol=1e-5)
            np.testing.assert_allclose(physics.read('qpos')[1, first : first + 2], [0.0, 0.8], atol=1e-5)
    finally:
        physics.close()


def test_free_bodies_fall_and_rest(physics):
    physics.step(400)
    ball, wedge = address(physics, 'ball'), address(physics, 'wedge')
    np.testing.assert_allclose(physics.read('qpos')[:, ball + 2], -0.1 + 0.03, atol=1e-5)  # on the floor
    np.testing.assert_allclose(physics.read('qpos')[:, wedge : wedge + 2], [[0.6, 0.02]] * 3, atol=1e-6)
    np.testing.assert_allclose(physics.read('qpos')[:, wedge + 2], 0.0, atol=1e-5)  # on the block


def test_velocities_of_free_bodies_keep_their_frames(physics):
    """MuJoCo: linear in the world, angular in the body; the same motion must come out."""
    model, sim = physics.model, 1
    first, dof = address(physics, 'ball'), int(model.joint('ball').dofadr[0])
    turned = np.array([0.5, -0.5, 0.5, 0.5])
    speed = np.array([0.3, -0.2, 4.0, 1.0, 2.0, -3.0])
    physics.write('qpos', range(first, first + 7), [0, 0.8, 0.6, *turned], [sim])
    physics.write('qvel', range(dof, dof + 6), speed, [sim])
    before = physics.read('qpos')[sim].copy()
    physics.step(1)
    dt = model.opt.timestep
    speed[2] += dt * model.opt.gravity[2]
    np.testing.assert_allclose(physics.read('qvel')[sim, dof : dof + 6], speed, atol=1e-5)
    velocity = np.zeros(model.nv)
    velocity[dof : dof + 6] = speed
    mujoco.mj_integratePos(model, before, velocity, dt)
    after = physics.read('qpos')[sim, first : first + 7]
    np.testing.assert_allclose(after[:3], before[first : first + 3], atol=1e-6)
    assert abs(after[3:] @ before[first + 3 : first + 7]) == pytest.approx(1, abs=1e-6)


def test_simulations_that_are_not_chosen_stand_still(physics):
    physics.write('ctrl', range(4), [[0.5, 0.3, -0.8, 0.03]], range(3))
    physics.step(5)
    still = {name: physics.read(name)[[0, 2]].copy() for name in ('qpos', 'qvel', 'xpos', 'time')}
    physics.step(5, [1])
    physics.step(5, [1])
    for name, values in still.items():
        np.testing.assert_array_equal(physics.read(name)[[0, 2]], values)
    physics.step(5)
    np.testing.assert_allclose(physics.read('time') / physics.model.opt.timestep, [10, 20, 10])
    np.testing.assert_allclose(physics.read('qpos')[0], physics.read('qpos')[2], atol=1e-7)
    reference = physics.read('qpos')[0].copy()
    physics.reset(range(3))
    physics.write('ctrl', range(4), [[0.5, 0.3, -0.8, 0.03]], range(3))
    physics.step(10)
    np.testing.assert_allclose(physics.read('qpos')[0], reference, atol=1e-6)  # as if never disturbed


def test_a_saved_state_continues_elsewhere(physics):
    assert physics.exact is False
    physics.write('ctrl', range(4), [[0.5, 0.3, -0.8, 0.03]], [0])
    physics.step(7)
    saved = physics.save(0)
    physics.step(7)
    wanted = {name: physics.read(name)[0].copy() for name in ('qpos', 'qvel', 'ctrl', 'time')}
    physics.restore(2, saved)
    np.testing.assert_array_equal(physics.save(2), saved)
    assert_poses_are_mujocos(physics)
    physics.step(7, [2])
    for name, values in wanted.items():
        np.testing.assert_allclose(physics.read(name)[2], values, atol=1e-5)
    with pytest.raises(ValueError, match='numbers'):
        physics.restore(0, saved[:-1])


def run_away(physics, sim):
    """A ball so far and fast that the next step takes it beyond what MuJoCo calls a position."""
    joint = physics.model.joint('ball')
    physics.write('qpos', int(joint.qposadr[0]), 9.98e9, [sim])
    physics.write('qvel', int(joint.dofadr[0]), 9e9, [sim])


def not_a_number(physics, sim):
    physics.write('ctrl', 0, np.nan, [sim])


@pytest.mark.parametrize('diverge', [run_away, not_a_number])
def test_one_that_diverges_is_marked_and_the_others_go_on(physics, diverge):
    physics.step(3)
    diverge(physics, 1)
    stands = physics.read('qpos')[1].copy()
    physics.step(3)
    assert physics.failed.tolist() == [False, True, False]
    np.testing.assert_array_equal(physics.read('qpos')[1], stands)
    physics.step(3)
    np.testing.assert_array_equal(physics.read('qpos')[1], stands)
    assert physics.read('time')[[0, 1, 2]] == pytest.approx(np.array([9, 3, 9]) * physics.model.opt.timestep)
    physics.reset([1])
    physics.step(3)
    assert not physics.failed.any()
    assert np.isfinite(physics.read('qpos')).all()


@pytest.mark.parametrize('value', [np.nan, np.inf, 1e11])
@pytest.mark.parametrize('name', ['qpos', 'qvel'])
def test_what_is_no_state_does_not_reach_the_engine(physics, name, value):
    """The fake stops at a number that is not finite, as a GPU would go on with garbage."""
    physics.step(3)
    physics.write(name, 0, value, [1])
    for steps in (3, 6):
        physics.step(3)
        assert physics.failed.tolist() == [False, True, False]
        assert physics.read('time')[[0, 2]] == pytest.approx((3 + steps) * physics.model.opt.timestep)
        np.testing.assert_array_equal(physics.read('qpos')[1], physics.model.qpos0)
        assert_poses_are_mujocos(physics)
    physics.reset([1])
    physics.step(3)
    assert not physics.failed.any()


def test_gains_differ_between_simulations_until_the_reset(physics):
    model, column = physics.model, address(physics, 'twist_a')
    drive = model.actuator('twist_a').id
    gain, bias = model.actuator_gainprm[drive].copy(), model.actuator_biasprm[drive].copy()
    gain[0], bias[1] = 5, -5
    physics.write_model('actuator_gainprm', drive, gain, 1)
    physics.write_model('actuator_biasprm', drive, bias, 1)
    physics.write('ctrl', drive, 0.5, range(3))
    physics.step(10)
    qpos = physics.read('qpos')[:, column]
    assert qpos[0] == qpos[2]
    rates = np.log(1 - qpos / 0.5)  # the fake's joints approach at the rate stiffness / damping
    assert rates[1] / rates[0] == pytest.approx(
        np.log(1 - 0.005 * 5 / 2) / np.log(1 - 0.005 * 20 / 2), rel=1e-3
    )
    assert physics.materialize(1)[0].actuator_gainprm[drive, 0] == 5
    physics.reset([1])
    physics.write('ctrl', drive, 0.5, [1])
    physics.step(10, [1])
    assert physics.read('qpos')[1, column] == pytest.approx(qpos[0], abs=1e-6)


def test_other_model_values_are_sent_or_refused_with_a_reason(physics, record):
    model = physics.model
    ball = model.geom('ball').id
    actor = f'actor{model.body("ball").id}'
    calls, frictions = arrived(record, 'friction', actor)
    assert frictions == {sim: [pytest.approx(model.geom_friction[ball, 0])] for sim in range(3)}
    physics.write_model('geom_friction', ball, np.array([0.3, 0, 0]), 1)
    physics.step(1)
    again, changed = arrived(record, 'friction', actor)
    assert again == calls + 1
    assert changed == {**frictions, 1: [pytest.approx(0.3)]}
    physics.reset([1])
    physics.step(1)
    assert arrived(record, 'friction', actor)[1] == frictions
    with pytest.raises(ValueError, match='APPRENTICE_ISAACGYM_DEVICE=cpu'):
        physics.write_model('body_mass', model.body('ball').id, np.array(0.2), 0)
    with pytest.raises(ValueError, match='cannot move a shape'):
        physics.write_model('geom_pos', ball, np.zeros(3), 0)
    with pytest.raises(ValueError, match='cannot differ'):
        physics.write_model('opt', 0, np.zeros(3), 0)
    with pytest.raises(ValueError, match='cannot set'):
        physics.write('mocap_pos', 0, np.zeros(3), [0])
    with pytest.raises(ValueError, match="has no 'cvel'"):
        physics.read('cvel')


def test_on_a_cpu_masses_may_change(monkeypatch, tmp_path):
    record = tmp_path / 'record'
    monkeypatch.setenv('FAKE_ISAACGYM_RECORD', str(record))
    physics = IsaacGymPhysics(scene(), 2, options=options(device='cpu', graphics=False))
    try:
        ball = physics.model.body('ball').id
        assert arrived(record, 'mass', f'actor{ball}')[1] == {0: [0.05], 1: [0.05]}
        physics.write_model('body_mass', ball, np.array(0.2), 1)
        physics.step(2)
        assert arrived(record, 'mass', f'actor{ball}')[1] == {0: [0.05], 1: [0.2]}
        assert physics.materialize(1)[0].body_mass[ball] == 0.2
    finally:
        physics.close()


@pytest.mark.slow
def test_the_worker_runs_on_real_torch():
    """The shim of the other tests has the few operations that the worker uses; here they are torch's."""
    physics = IsaacGymPhysics(scene(), 1, options=options(torch=True))
    try:
        assert physics.worker.versions['torch'] != 'shim'
        physics.write('ctrl', 3, 0.03, [0])
        physics.step(100)
        assert physics.read('qpos')[0, address(physics, 'left')] == pytest.approx(0.03, abs=1e-4)
        assert_poses_are_mujocos(physics)
    finally:
        physics.close()


def test_torch_does_what_the_shim_does():
    import torch

    library = Library(None, None, torch)
    tensor = torch.zeros(6).view(-1, 2)
    library.assign(tensor, np.array([2, 0]), np.array([[1.0, 2.0], [3.0, 4.0]]))
    np.testing.assert_array_equal(library.to_numpy(tensor), [[3, 4], [0, 0], [1, 2]])
    assert library.to_device(np.array([1], np.int32), tensor).dtype == torch.int32


def test_worlds_run_on_it_and_start_as_with_any_engine(monkeypatch):
    chosen = options()
    monkeypatch.setenv('APPRENTICE_ISAACGYM_PYTHON', chosen.python)
    monkeypatch.setenv('APPRENTICE_ISAACGYM_PATH', chosen.path)
    spec = RobotSpec.load(share('robots', 'sim_arm.yaml'))
    worlds, others = Worlds(spec, 2, engine='isaacgym'), Worlds(spec, 2, engine='threads')
    try:
        assert isinstance(worlds.physics, IsaacGymPhysics)
        assert isinstance(others.physics, ThreadPhysics)
        instructions = worlds.reset([0, 1], [3, 4])
        assert instructions == others.reset([0, 1], [3, 4])
        for sim in range(2):
            mine, theirs = worlds.objects(sim), others.objects(sim)
            for name in theirs:
                np.testing.assert_allclose(mine[name], theirs[name], atol=1e-3)
        target = worlds.joints + 0.05
        worlds.step(target, 0.5)
        np.testing.assert_allclose(worlds.joints, np.clip(target, *worlds._limits), atol=2e-3)
        mirror = worlds.scene.address('jnt_qposadr', 'gripper_mirror')
        np.testing.assert_allclose(worlds.physics.read('qpos')[:, mirror], worlds.joints[:, -1], atol=1e-5)
        assert np.all((worlds.progress() >= 0) & (worlds.progress() < 1))
        assert not worlds.success().any()
        kinematics = worlds.scene.kinematics()
        tip, _ = kinematics.forward(worlds.joints[1][~spec.gripper_mask])
        np.testing.assert_allclose(worlds.view.tip[1], tip, atol=1e-5)
    finally:
        worlds.close()
        others.close()
