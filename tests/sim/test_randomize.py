# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Domain randomisation: read strictly, drawn for a seed, the same in every engine, carried by snapshots."""

import contextlib
import copy

import numpy as np
import pytest
import yaml

from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Outcome
from apprentice.sim.physics import batch
from apprentice.sim.pool import WorldPool
from apprentice.sim.randomize import LEVELS, Dynamics, Looks, Randomization, RandomizationError, Sensors
from apprentice.sim.rollout import RolloutConfig, rollouts
from apprentice.sim.world import World
from apprentice.sim.worlds import Worlds

SPEC = RobotSpec.load(share('robots', 'sim_arm.yaml'))
HOME = SPEC.vector('home')
ENGINES = [
    'threads',
    pytest.param('batch', marks=pytest.mark.skipif(not batch.available(), reason='MuJoCo below 3.17')),
]
PERIOD = 1 / SPEC.control_hz


@pytest.fixture
def make():
    with contextlib.ExitStack() as stack:

        def factory(count=1, randomization='strong', engine='threads', **options):
            worlds = Worlds(SPEC, count, engine=engine, randomization=randomization, **options)
            return stack.enter_context(contextlib.closing(worlds))

        yield factory


def commands(seed, steps, count):
    rng = np.random.default_rng(seed)
    return HOME + rng.uniform(-0.3, 0.3, (steps, count, SPEC.dim)) * ~SPEC.gripper_mask


def run(worlds, targets):
    for target in targets:
        worlds.step(target, PERIOD)
    return worlds


# files


def test_shipped_levels_differ_and_survive_a_round_trip():
    levels = {path.stem: Randomization.load(path.stem) for path in LEVELS.glob('*.yaml')}
    assert set(levels) == {'none', 'mild', 'strong'}
    assert not levels['none'].active
    assert levels['mild'].active
    for name, level in levels.items():
        assert level.name == name
        assert Randomization.from_dict(yaml.safe_load(yaml.safe_dump(level.to_dict()))) == level
    mild, strong = levels['mild'], levels['strong']
    assert mild.dynamics.mass[1] < strong.dynamics.mass[1]
    assert mild.cameras.position_m < strong.cameras.position_m


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('dynamics: {mass: [0.01, 3]}', r'dynamics\.mass .*\[0\.01, 3\].*within 0\.1 to 10'),
        ('dynamics: {mass: [2, 1]}', r'dynamics\.mass .*a range \[low, high\]'),
        ('dynamics: {mass: 2}', r'dynamics\.mass'),
        ('lights: {tint: .nan}', r'lights\.tint'),
        ('looks: {texture: yes}', r'looks\.texture'),
        ('sensors: {joint_noise: a lot}', r"sensors\.joint_noise .*'a lot'; give a number within 0 to 0\.2"),
        ('sensors: {joint_nose: 0.1}', r"unknown \['joint_nose'\]; known are .*joint_noise"),
        ('weather: {rain: 1}', r"unknown \['weather'\]; known are"),
        ('lights: 3', 'lights must hold fields'),
        ('[1, 2]', 'is a list'),
        ('a: [', 'is not YAML'),
    ],
)
def test_wrong_files_name_field_range_and_remedy(tmp_path, text, message):
    path = tmp_path / 'level.yaml'
    path.write_text(text)
    with pytest.raises(RandomizationError, match=message):
        Randomization.load(path)


def test_unknown_level_names_those_there_are():
    with pytest.raises(RandomizationError, match=r"no randomization 'wild'.*'mild', 'none', 'strong'"):
        Randomization.load('wild')


# draws


@pytest.mark.parametrize('engine', ENGINES)
def test_a_seed_is_a_seed_whatever_the_engine_and_the_company(make, engine):
    seeds, targets = (4, 7, 1), commands(0, 6, 3)
    together = make(3, engine=engine)
    together.reset(range(3), seeds)
    run(together, targets)
    frames = together.render()
    for i, seed in enumerate(seeds):
        alone = make()
        alone.reset([0], [seed])
        run(alone, targets[:, [i]])
        np.testing.assert_array_equal(alone.physics.read('qpos')[0], together.physics.read('qpos')[i])
        np.testing.assert_array_equal(alone.joints[0], together.joints[i])
        for name, frame in alone.render().items():
            np.testing.assert_array_equal(frame[0], frames[name][i])


def test_the_start_of_a_seed_is_the_same_with_and_without(make):
    plain, strayed = make(4, None), make(4)
    told = [worlds.reset(range(4), range(4)) for worlds in (plain, strayed)]
    assert told[0] == told[1]
    for sim in range(4):
        for name, pose in plain.objects(sim).items():
            np.testing.assert_allclose(strayed.objects(sim)[name][:3], pose[:3], atol=2e-3)
    np.testing.assert_allclose(strayed.view.joints, plain.view.joints, atol=0.05)


@pytest.mark.parametrize('engine', ENGINES)
def test_none_is_the_plain_simulation(make, engine):
    plain, none = make(2, None, engine), make(2, 'none', engine)
    for worlds in (plain, none):
        worlds.reset([0, 1], [3, 4])
        run(worlds, commands(1, 3, 2))
    np.testing.assert_array_equal(plain.physics.read('qpos'), none.physics.read('qpos'))
    np.testing.assert_array_equal(plain.render()['front'], none.render()['front'])


@pytest.mark.parametrize('engine', ENGINES)
def test_every_section_strays_and_a_reset_takes_it_back(make, engine):
    worlds = make(2, engine=engine)
    worlds.reset([0, 1], [0, 1])
    models = [copy.copy(worlds.physics.materialize(sim)[0]) for sim in (0, 1)]
    plain = worlds.scene.model
    for name in (
        'light_pos', 'light_dir', 'light_diffuse', 'geom_rgba', 'geom_friction', 'cam_pos', 'cam_quat',
        'cam_fovy', 'actuator_gainprm', 'actuator_biasprm', 'dof_damping', 'body_mass', 'body_inertia',
    ):  # fmt: skip
        values = [np.array(getattr(model, name)) for model in (plain, *models)]
        assert not np.array_equal(values[0], values[1]), name
        assert not np.array_equal(values[1], values[2]), name
    first, arm = plain.body('first').id, plain.body('hand').id
    assert models[0].body_mass[first] != plain.body_mass[first]
    assert models[0].body_mass[arm] == plain.body_mass[arm]  # the robot is what it is
    worlds.physics.reset([0])
    again = worlds.physics.materialize(0)[0]
    np.testing.assert_array_equal(again.cam_pos, plain.cam_pos)
    np.testing.assert_array_equal(again.geom_matid, plain.geom_matid)


@pytest.mark.parametrize('engine', ENGINES)
def test_textures_and_clutter_are_seen(make, engine):
    plain = make(4, None, engine)
    textured = make(4, Randomization(looks=Looks(texture=1.0)), engine)
    cluttered = make(4, Randomization(looks=Looks(clutter=6)), engine)
    frames = []
    for worlds in (plain, textured, cluttered):
        worlds.reset(range(4), range(4))
        frames.append(worlds.render()['front'].astype(int))
    assert np.all(np.abs(frames[1] - frames[0]).mean((1, 2, 3)) > 2)
    assert len({frame.tobytes() for frame in frames[1]}) == 4
    assert np.abs(frames[2] - frames[0]).max() > 20
    np.testing.assert_array_equal(plain.physics.read('qpos'), textured.physics.read('qpos'))
    np.testing.assert_array_equal(plain.physics.read('qpos'), cluttered.physics.read('qpos'))


# delay


@pytest.mark.parametrize('engine', ENGINES)
def test_a_command_takes_effect_after_its_delay_whatever_the_rhythm(make, engine):
    delay = 0.1
    plain = make(1, None, engine)
    late = make(2, Randomization(dynamics=Dynamics(delay_s=(delay, delay))), engine)
    plain.reset([0], [0])
    late.reset([0, 1], [0, 0])
    before = late.view.joints.copy()
    target = HOME + 0.2 * ~SPEC.gripper_mask
    moves = []
    for _ in range(8):
        late.step(np.tile(target, (2, 1)), PERIOD)
        moves.append(np.abs(late.view.joints - before).max())
    plain.step(plain.view.joints.copy(), delay)
    for _ in range(6):
        plain.step(target[None], PERIOD)
    assert moves[1] < 1e-3 < 0.05 < moves[3]
    np.testing.assert_allclose(late.view.joints[0], plain.view.joints[0], atol=2e-3)
    np.testing.assert_array_equal(late.view.joints[0], late.view.joints[1])
    finer = make(1, Randomization(dynamics=Dynamics(delay_s=(delay, delay))), engine)
    finer.reset([0], [0])
    for _ in range(16):
        finer.step(target[None], PERIOD / 2)
    np.testing.assert_array_equal(finer.view.joints[0], late.view.joints[0])


# sensors


def test_joint_errors_have_the_size_asked_for_and_are_read_the_same_twice(make):
    sensors = Sensors(joint_noise=0.01, joint_offset=0.05)
    worlds = make(64, Randomization(sensors=sensors), engine='auto')
    worlds.reset(range(64), range(64))
    errors = []
    for _ in range(30):
        worlds.step(np.tile(HOME, (64, 1)), PERIOD)
        np.testing.assert_array_equal(worlds.joints, worlds.joints)
        errors.append(worlds.joints - worlds.view.joints)
    arm = ~SPEC.gripper_mask
    errors = np.stack(errors)  # [time, simulation, joint]
    offset, noise = errors.mean(0), errors - errors.mean(0)
    assert noise[..., arm].std() == pytest.approx(0.01, rel=0.05)
    assert noise[..., ~arm].std() == pytest.approx(0.01 * 0.04, rel=0.1)
    assert 0.04 < np.abs(offset[:, arm]).max() < 0.05 + 0.01
    assert np.abs(offset[:, ~arm]).max() < 0.001
    one = noise[..., 0]
    for a, b in ((one[1:], one[:-1]), (one[:, 1:], one[:, :-1]), (one, noise[..., 1])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.1  # in time, between simulations and joints


def test_image_errors(make):
    plain = make(2, None)
    noisy = make(2, Randomization(sensors=Sensors(image_noise=0.1)))
    blurred = make(2, Randomization(sensors=Sensors(blur_px=3.0)))
    exposed = make(2, Randomization(sensors=Sensors(image_brightness=0.5)))
    seen = []
    for worlds in (plain, noisy, blurred, exposed):
        worlds.reset([0, 1], [0, 1])
        seen.append(worlds.render()['front'].astype(float))
    middle = (seen[0] > 80) & (seen[0] < 170)  # where nothing is cut off
    assert (seen[1] - seen[0])[middle].std() == pytest.approx(25.5, rel=0.1)
    edges = [np.abs(np.diff(frames, axis=2)).mean((1, 2, 3)) for frames in seen]
    assert np.all(edges[2] <= edges[0])  # how much is drawn, down to nothing
    assert np.any(edges[2] < 0.8 * edges[0])
    assert np.all(np.abs(seen[3].mean((1, 2, 3)) - seen[0].mean((1, 2, 3))) > 1)
    np.testing.assert_array_equal(noisy.render()['front'], seen[1])
    noisy.step(np.tile(HOME, (2, 1)), PERIOD)
    assert not np.array_equal(noisy.render()['front'], seen[1])


# snapshots, pools, nodes


@pytest.mark.parametrize('engine', ENGINES)
def test_branches_go_on_the_same_to_the_bit(make, engine):
    worlds, before, after = make(3, engine=engine), commands(1, 4, 3), commands(2, 5, 3)
    worlds.reset(range(3), (10, 11, 12))
    run(worlds, before)
    snapshot = worlds.save(1)
    run(worlds, after)
    other = make(2, engine=engine)
    other.reset([0, 1], [5, 6])
    other.restore(0, snapshot)
    for command in after:
        other.step(command[[1]], PERIOD, [0])
    np.testing.assert_array_equal(other.physics.read('qpos')[0], worlds.physics.read('qpos')[1])
    np.testing.assert_array_equal(other.joints[0], worlds.joints[1])
    for name, frames in worlds.render([1]).items():
        np.testing.assert_array_equal(other.render([0])[name], frames)
    # what the branch replaced has left nothing behind
    a, b = other.physics.materialize(0)[0], worlds.physics.materialize(1)[0]
    np.testing.assert_array_equal(a.geom_matid, b.geom_matid)
    np.testing.assert_array_equal(a.geom_rgba, b.geom_rgba)
    plain = make(1, None)
    plain.reset([0], [0])
    with pytest.raises(ValueError, match='another randomization'):
        plain.restore(0, snapshot)


def test_pool_and_single_world_see_the_same(make):
    worlds = make(2)
    worlds.reset([0, 1], [3, 4])
    target = commands(5, 3, 2)
    run(worlds, target)
    with WorldPool(SPEC, 2, 2, randomization='strong') as pool:
        pool.reset([0, 1], [3, 4])
        for each in target:
            pool.step(each, PERIOD, render=True)
        np.testing.assert_array_equal(pool.joints, worlds.joints)
        np.testing.assert_array_equal(pool.frames()['wrist'], worlds.render()['wrist'])
    with contextlib.closing(World(SPEC, 3, randomization='strong')) as world:
        for each in target:
            world.step(each[0], PERIOD)
        np.testing.assert_array_equal(world.state(), worlds.joints[0])
        np.testing.assert_array_equal(world.render()['wrist'], worlds.render()['wrist'][0])


def test_the_expert_copes_with_mild_and_rollouts_repeat(make):
    worlds = make(4, 'mild', engine='auto')
    expert = worlds.expert()
    episodes = {e.seed: e for e in rollouts(worlds, range(8), None, RolloutConfig(), expert=expert)}
    assert sum(e.outcome == Outcome.SUCCESS for e in episodes.values()) >= 7
    again = next(rollouts(worlds, [5], None, RolloutConfig(), expert=expert))
    np.testing.assert_array_equal(again.state, episodes[5].state)
    np.testing.assert_array_equal(again.images['front'], episodes[5].images['front'])


# films


def test_films_are_finer_and_the_fast_profile_stays(make):
    worlds = make(1, None)
    worlds.reset([0], [0])
    fast = worlds.render()['front'][0].copy()
    film = worlds.film('front', 256, 256)
    assert film.shape == (256, 256, 3)
    np.testing.assert_array_equal(worlds.render()['front'][0], fast)
    pretty = make(1, None, quality='pretty')
    pretty.reset([0], [0])
    assert np.abs(pretty.render()['front'][0].astype(int) - fast.astype(int)).mean() > 3
    top = film[0].astype(int)
    assert top.mean() > fast[0].mean()  # a sky instead of black above the table
    with pytest.raises(ValueError, match=r"no camera 'top'; it has: \['front', 'wrist'\]"):
        worlds.film('top')
    with pytest.raises(ValueError, match='no rendering quality'):
        make(1, None, quality='lovely')
    with pytest.raises(ValueError, match='no rendering'):
        make(1, None, rendering='vulkan')
