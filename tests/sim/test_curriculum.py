# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Curricula choose starts at the edge of ability: on a learner of known law, and on the simulated arm."""

import contextlib

import numpy as np
import pytest

from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.sim.curriculum import Curriculum, CurriculumConfig, CurriculumError, Lesson, evaluator
from apprentice.sim.rollout import RolloutConfig
from apprentice.sim.worlds import Worlds

SPEC = RobotSpec.load(share('robots', 'sim_arm.yaml'))


def difficulty(seed):
    return np.random.default_rng(seed).uniform(0, 10)


class Learner:
    """Solves a start with probability p = sigmoid(skill - difficulty); practice teaches it by p (1 - p)."""

    def __init__(self, seed=0, skill=0.0):
        self.skill, self.rng = skill, np.random.default_rng(seed)

    def chance(self, seed):
        return 1 / (1 + np.exp(difficulty(seed) - self.skill))

    def evaluate(self, seeds, level):
        return np.array([self.rng.random() < self.chance(seed) for seed in seeds])

    def practise(self, seed):
        p = self.chance(seed)
        self.skill += 0.05 * p * (1 - p)
        return bool(self.rng.random() < p)


def test_practice_at_the_frontier_teaches_more_than_uniform_starts():
    uniform, guided = Learner(), Learner()
    for seed in np.random.default_rng(1).integers(2**31, size=1500):
        uniform.practise(int(seed))
    curriculum = Curriculum(CurriculumConfig(fresh=0.1, stride=0.0), seed=1)
    for step in range(1500):
        if step % 100 == 0:
            curriculum.refresh(guided.evaluate)
        (lesson,) = curriculum.draw(1)
        curriculum.record(lesson, guided.practise(lesson.seed))
    assert guided.skill > 1.5 * uniform.skill, (guided.skill, uniform.skill)


def test_the_frontier_is_neither_solved_nor_hopeless():
    learner = Learner(skill=5.0)
    curriculum = Curriculum(CurriculumConfig(attempts=10, candidates=100, low=0.3, high=0.7, capacity=1000))
    found = curriculum.refresh(learner.evaluate)
    chances = [learner.chance(lesson.seed) for lesson in found]
    assert 5 < len(found) < 60
    assert np.mean([0.1 < chance < 0.9 for chance in chances]) > 0.9
    assert curriculum.tried == 100
    assert curriculum.kept == len(curriculum.frontier) == len(found)
    assert all(0.3 <= lesson.rate <= 0.7 for lesson in found)
    # what a policy without skill solves as well is luck
    lucky = Curriculum(CurriculumConfig(attempts=10, candidates=100, low=0.3, high=0.7))
    assert len(lucky.refresh(learner.evaluate, control=lambda seeds, level: np.ones(len(seeds)))) == 0
    assert len(lucky.refresh(learner.evaluate, control=lambda seeds, level: np.zeros(len(seeds)))) > 5


def test_a_lesson_learned_leaves_the_frontier():
    curriculum = Curriculum(CurriculumConfig(fresh=0.0))
    curriculum.frontier = [Lesson(1, 1.0, 0.5), Lesson(2, 1.0, 0.5)]
    for _ in range(8):
        curriculum.record(curriculum.frontier[0], True)
        if len(curriculum.frontier) == 1:
            break
    assert [lesson.seed for lesson in curriculum.frontier] == [2]
    assert {lesson.seed for lesson in curriculum.draw(10)} == {2}


def test_the_level_follows_success():
    curriculum = Curriculum(CurriculumConfig(level=0.5, stride=0.1, window=10))
    fresh = Lesson(0, 0.5, float('nan'))
    for _ in range(10):
        curriculum.record(fresh, True)
    assert curriculum.level == pytest.approx(0.6)
    for i in range(20):
        curriculum.record(fresh, i % 2 == 0)
    assert curriculum.level == pytest.approx(0.6)  # half is right
    for _ in range(200):
        curriculum.record(fresh, False)
    assert curriculum.level == 0.0
    for _ in range(200):
        curriculum.record(fresh, True)
    assert curriculum.level == 1.0


def test_a_saved_curriculum_goes_on_as_if_nothing_had_happened(tmp_path):
    curriculum, learner = Curriculum(CurriculumConfig(window=5), seed=3), Learner(2, 5.0)
    curriculum.refresh(learner.evaluate)
    for lesson in curriculum.draw(12):
        curriculum.record(lesson, learner.practise(lesson.seed))
    path = tmp_path / 'curriculum.json'
    curriculum.save(path)
    loaded = Curriculum.load(path)
    assert loaded.frontier == curriculum.frontier
    assert (loaded.level, loaded.tried, loaded.kept) == (curriculum.level, curriculum.tried, curriculum.kept)
    for each in (curriculum, loaded):
        each.refresh(Learner(4, 5.0).evaluate)
    drawn = [[(x.seed, x.level) for x in each.draw(20)] for each in (curriculum, loaded)]
    assert drawn[0] == drawn[1]

    for broken in ('{', '{"format": 9}', '{"format": 1}', '[]'):
        path.write_text(broken)
        with pytest.raises(CurriculumError, match=r'delete it to start anew|this version reads 1'):
            Curriculum.load(path)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'low': 0.9}, 'low < high'),
        ({'attempts': 2, 'low': 0.6, 'high': 0.9}, 'raise attempts'),
        ({'fresh': 2}, 'fresh is 2'),
        ({'window': 0}, 'window is 0'),
        ({'lower_at': 0.8}, 'lower_at'),
    ],
)
def test_wrong_settings(change, message):
    with pytest.raises(CurriculumError, match=message):
        Curriculum(CurriculumConfig(**change))


def test_an_evaluation_of_the_wrong_size_is_refused():
    with pytest.raises(CurriculumError, match='one success for each seed'):
        Curriculum().refresh(lambda seeds, level: np.ones(3))


def side(worlds, sim):
    """Where the cube that is asked for lies: m to the left of the robot."""
    return worlds.objects(sim)[f'cube_{worlds.instructions[sim].split()[3]}'][1]


def one_handed(worlds, rng):
    """The task's expert on the left, a trembling one in the middle, helpless on the right."""
    expert = worlds.expert()

    def act(observations):
        chunks = []
        for seen in observations:
            sim = next(i for i in range(worlds.count) if np.array_equal(worlds.joints[i], seen.state))
            target = expert.act(seen.state, worlds.objects(sim), seen.text)
            left = side(worlds, sim)
            noise = 0.0 if left > 0.05 else 0.04
            target = target + rng.normal(0, noise, SPEC.dim) * ~SPEC.gripper_mask
            chunks.append(target if left > -0.05 else seen.state)
        return np.stack(chunks)[:, None]

    return act


def test_frontier_on_the_arm():
    config = RolloutConfig(max_duration_s=3.5, execute_steps=1)
    with contextlib.closing(Worlds(SPEC, 16, threads=1)) as worlds:
        worlds.render = lambda chosen: {}  # the policy does not look
        evaluate = evaluator(worlds, one_handed(worlds, np.random.default_rng(0)), config)
        curriculum = Curriculum(CurriculumConfig(candidates=10, attempts=4, low=0.25, high=0.75), seed=5)
        found = curriculum.refresh(evaluate)
        assert 1 <= len(found) <= 8
        for lesson in found:
            worlds.reset([0], [lesson.seed])
            assert abs(side(worlds, 0)) < 0.06, 'what is always or never solved is at the frontier'
        assert worlds.level == 1.0
        with pytest.raises(KeyError):
            evaluator(worlds, lambda seen: {}['level'], config)([1], 0.5)
        assert worlds.level == 0.5
