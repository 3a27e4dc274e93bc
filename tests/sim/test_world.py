# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The simulated arm: seeded, graspable, seen, and honest about success."""

import contextlib
import dataclasses

import numpy as np
import pytest

from apprentice.robot.parts import share
from apprentice.robot.spec import CameraSpec, RobotFileError, RobotSpec
from apprentice.robot.types import Outcome, Source
from apprentice.sim.people import PersonConfig, ScriptedPerson
from apprentice.sim.rollout import RolloutConfig, rollout
from apprentice.sim.world import World

SPEC = RobotSpec.load(share('robots', 'sim_arm.yaml'))


@pytest.fixture(scope='module')
def world():
    with contextlib.closing(World(SPEC)) as made:
        yield made


def test_seed_decides_the_start(world):
    first = world.reset(7), world.state(), world.objects(), world.render()
    second = world.reset(7), world.state(), world.objects(), world.render()
    other = world.reset(8), world.state()
    assert first[0] == second[0]
    np.testing.assert_array_equal(first[1], second[1])
    for name in first[2]:
        np.testing.assert_array_equal(first[2][name], second[2][name])
    for name in first[3]:
        np.testing.assert_array_equal(first[3][name], second[3][name])
    assert not np.array_equal(first[1], other[1])


def test_expert_lifts_the_named_cube(world):
    outcomes = [rollout(world, seed, None).outcome for seed in range(12)]
    assert outcomes.count(Outcome.SUCCESS) >= 11


def test_holding_still_fails(world):
    still = rollout(world, 3, lambda o: np.tile(o.state, (8, 1)), config=RolloutConfig(max_duration_s=1.0))
    assert still.outcome == Outcome.FAILURE
    assert all(r.value < 0.4 for r in still.rewards)


def test_lifting_the_other_cube_is_not_success(world):
    instruction = world.reset(11)
    wanted = instruction.split()[3]
    other = next(name for name in world.objects() if wanted not in name)
    expert = world.expert()
    for _ in range(60):
        target = expert.act(world.state(), world.objects(), f'pick up the {other.removeprefix("cube_")} cube')
        world.step(target, SPEC.action_dt)
        assert not world.success()
    assert world.objects()[other][2] > 0.08
    assert world.progress() < 0.5


def test_progress_rises_to_one_at_success(world):
    episode = rollout(world, 2, None)
    truth = [r.value for r in episode.rewards]
    assert truth[-1] == 1.0
    assert all(v < 1.0 for v in truth[:-1])
    assert truth[0] < 0.1


def test_person_rescues_a_stuck_policy(world):
    person = ScriptedPerson(world.expert(), PersonConfig(patience_s=0.5, reaction_s=0.0))
    episode = rollout(world, 5, lambda o: np.tile(o.state, (8, 1)), person=person)
    assert episode.outcome == Outcome.SUCCESS
    assert episode.source[0] == Source.POLICY
    assert episode.source[-1] == Source.HUMAN
    assert set(episode.takeover_id[episode.source == Source.HUMAN]) == {1}


def test_absent_person_does_nothing(world):
    person = ScriptedPerson(world.expert(), PersonConfig(patience_s=0.1, absent=1.0))
    episode = rollout(
        world, 5, lambda o: np.tile(o.state, (8, 1)), person=person, config=RolloutConfig(max_duration_s=1.5)
    )
    assert episode.human_steps == 0


def test_unknown_colour_is_refused(world):
    with pytest.raises(ValueError, match='names no colour'):
        world.reset(0, 'pick up the mug')


def test_nan_target_is_refused(world):
    with pytest.raises(ValueError, match='not finite'):
        world.step(np.full(7, np.nan), 0.05)


def test_model_without_the_camera_is_refused():
    spec = dataclasses.replace(SPEC, cameras=(CameraSpec('top', 'camera/top/image_raw', 64, 64, 10.0),))
    with pytest.raises(RobotFileError, match="no camera 'top'"):
        World(spec)


def test_file_without_simulator_section_is_refused():
    with pytest.raises(RobotFileError, match=r'simulator\.model is missing'):
        World(dataclasses.replace(SPEC, simulator={}))
