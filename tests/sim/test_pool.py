# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Worlds in worker processes: equal to one process, errors that come through, nothing left behind."""

import contextlib
import dataclasses
from multiprocessing.shared_memory import SharedMemory

import numpy as np
import psutil
import pytest

from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Outcome
from apprentice.sim.curriculum import CurriculumError, evaluator
from apprentice.sim.pool import WorkerDied, WorldPool, open_worlds
from apprentice.sim.rollout import RolloutConfig, SeededAct, rollouts
from apprentice.sim.worlds import Worlds

SPEC = RobotSpec.load(share('robots', 'sim_arm.yaml'))
HOME = SPEC.vector('home')


@pytest.fixture(scope='module')
def pool():
    with WorldPool(SPEC, 5, workers=2) as made:
        yield made


def test_the_same_as_in_one_process(pool):
    commands = HOME + np.random.default_rng(0).uniform(-0.3, 0.3, (4, 5, SPEC.dim)) * ~SPEC.gripper_mask
    with contextlib.closing(Worlds(SPEC, 5)) as one:
        for sims in (one, pool):
            sims.reset(range(5), range(20, 25))
            for command in commands:
                sims.step(command, SPEC.action_dt)
            sims.step(commands[0][[1, 4]], SPEC.action_dt, [1, 4])
        assert pool.instructions == one.instructions
        np.testing.assert_array_equal(pool.joints, one.joints)
        np.testing.assert_array_equal(pool.velocities, one.velocities)
        np.testing.assert_array_equal(pool.progress(), one.progress())
        expected = one.render([4, 0])
        for name, frames in pool.render([4, 0]).items():
            np.testing.assert_array_equal(frames, expected[name])
        for name, pose in one.objects(3).items():
            np.testing.assert_array_equal(pool.objects(3)[name], pose)


def test_branches_move_between_workers(pool):
    pool.reset(range(5), range(5))
    pool.step(np.tile(HOME - 0.1, (5, 1)), 0.2)
    pool.restore(4, pool.save(0))
    pool.step(np.tile(HOME + 0.1, (5, 1)), 0.2, render=True)
    np.testing.assert_array_equal(pool.joints[0], pool.joints[4])
    np.testing.assert_array_equal(pool.frames()['wrist'][0], pool.frames()['wrist'][4])


def test_a_restored_simulation_is_rendered_when_that_is_asked(pool):
    pool.reset(range(5), range(5), render=True)
    seen = pool.frames()['wrist']
    seen[4] = 77
    pool.restore(4, pool.save(0))
    assert (seen[4] == 77).all()
    pool.restore(4, pool.save(0), render=True)
    np.testing.assert_array_equal(seen[4], seen[0])


def test_the_level_reaches_every_worker(pool):
    def still(seen):
        return np.stack([np.tile(each.state, (8, 1)) for each in seen])

    evaluate = evaluator(pool, still, RolloutConfig(max_duration_s=0.2))
    assert evaluate([1, 2], 0.25).tolist() == [False, False]
    assert pool.level == 0.25
    try:
        with contextlib.closing(Worlds(SPEC, 5, level=0.25)) as easy:
            for sims in (easy, pool):
                sims.reset(range(5), range(30, 35))
            for sim in range(5):
                for name, pose in easy.objects(sim).items():
                    np.testing.assert_array_equal(pool.objects(sim)[name], pose)
    finally:
        pool.level = 1.0
    pool.reset(range(5), range(30, 35))
    with contextlib.closing(Worlds(SPEC, 1)) as full:
        full.reset([0], [34])
        for name, pose in full.objects(0).items():
            np.testing.assert_array_equal(pool.objects(4)[name], pose)


def test_simulations_without_levels_say_so():
    class Foreign:
        spec = SPEC

    with pytest.raises(CurriculumError, match=r'no level 0\.5; use stride 0'):
        evaluator(Foreign(), None)([1], 0.5)


def test_a_pool_has_workers_and_simulations():
    with pytest.raises(ValueError, match='-1 workers'):
        WorldPool(SPEC, 2, workers=-1)
    with pytest.raises(ValueError, match='0 simulations'):
        WorldPool(SPEC, 0, workers=1)
    for wanted, workers in ((2, -1), (0, 1)):
        with pytest.raises(ValueError, match='1 or more'), open_worlds(SPEC, wanted, workers):
            pass


@pytest.mark.parametrize(
    ('simulator', 'options', 'message'),
    [
        ({}, {'randomization': 'mild'}, 'leave out randomization'),
        ({}, {'level': 0.5}, 'leave out level'),
        ({}, {'task': 'reach'}, 'leave out task'),
        ({'task': 'reach'}, {}, '--sim-task'),
        ({}, {'randomization': 'none', 'level': 1.0, 'task': ''}, 'no_such'),  # as far as making it
    ],
)
def test_a_foreign_simulation_refuses_what_it_cannot_do(simulator, options, message):
    spec = dataclasses.replace(SPEC, simulator={'world': 'no_such:World', **simulator})
    with pytest.raises((ValueError, ImportError), match=message), open_worlds(spec, 1, 1, **options):
        pass


def test_wrong_input_comes_through_and_the_pool_goes_on(pool):
    with pytest.raises(ValueError, match='names no colour'):
        pool.reset(range(5), range(5), 'pick up nothing')
    with pytest.raises(ValueError, match='not finite'):
        pool.step(np.full((5, SPEC.dim), np.nan), 0.1)
    pool.reset(range(5), range(5))
    assert not pool.failed.any()
    with pytest.raises(ImportError, match='is the package installed'):
        WorldPool(SPEC, 2, workers=1, task='no.such:Task')


def test_many_demonstrations_at_a_time(pool):
    seeds = range(100, 112)
    episodes = {e.seed: e for e in rollouts(pool, seeds, None, expert=pool.expert())}
    assert set(episodes) == set(seeds)
    assert all(episode.outcome == Outcome.SUCCESS for episode in episodes.values())
    with contextlib.closing(Worlds(SPEC, 1)) as one:
        alone = next(rollouts(one, [105], None, expert=one.expert()))
    both = episodes[105]
    np.testing.assert_array_equal(both.action, alone.action)
    np.testing.assert_array_equal(both.images['front'], alone.images['front'])
    assert both.task == alone.task


def test_a_policy_is_asked_once_for_all(pool):
    sizes = []

    def act(seen):
        sizes.append(len(seen))
        return np.stack([np.tile(each.state, (8, 1)) for each in seen])

    config = RolloutConfig(max_duration_s=1.0, eval_only=True)
    episodes = list(rollouts(pool, range(7), act, config))
    assert len(episodes) == 7
    assert all(e.outcome == Outcome.FAILURE and len(e) == 10 and e.eval_only for e in episodes)
    assert sizes[:3] == [5, 5, 5]
    assert max(sizes) == 5


def test_a_policy_that_draws_is_told_whose_turn_it_is(pool):
    told = []

    def act(seen, turns):
        told.extend(turns)
        return np.stack([np.tile(each.state, (8, 1)) for each in seen])

    config = RolloutConfig(max_duration_s=0.5)
    list(rollouts(pool, [3, 5, 3], SeededAct(act), config))
    assert sorted(told) == [(3, 0, 0), (3, 0, 4), (3, 1, 0), (3, 1, 4), (5, 0, 0), (5, 0, 4)]


def test_a_worker_that_dies_is_named_and_nothing_is_left():
    pool = WorldPool(SPEC, 4, workers=2)
    workers = [process for process, _ in pool._workers]
    workers[1].kill()
    with pytest.raises(WorkerDied, match='simulations 2 to 3 ended with code -9'):
        pool.reset(range(4), range(4))
    name = pool._memory.name
    pool.close()
    assert not any(psutil.pid_exists(process.pid) for process in workers)
    with pytest.raises(FileNotFoundError):
        SharedMemory(name)
