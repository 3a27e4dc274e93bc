# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A learner, a real simulation, a person and a judge in lock-step."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from apprentice.learning.guidance.config import GuidanceConfig
from apprentice.learning.learner import Learner, LearnerConfig
from apprentice.learning.practice import Evaluation, Judge, Practice, PracticeConfig, Practised
from apprentice.learning.recipe import load_recipe
from apprentice.learning.weighted_flow import WeightedFlowConfig
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode, Outcome, Reward, RewardKind
from apprentice.sim.people import PersonConfig
from apprentice.sim.rollout import rollouts
from apprentice.sim.worlds import Worlds

SPEC = RobotSpec.load(share('robots', 'sim_arm.yaml'))


def test_the_judge_is_wrong_as_often_as_it_says():
    stamps = 0.1 * np.arange(50)
    truth = [Reward(t, t, RewardKind.TRUTH, 0.5, progress=0.5) for t in stamps]
    episode = Episode(
        'e', 't', 0, Outcome.FAILURE, 3, False, stamps, {}, np.zeros((50, 7)), np.zeros((50, 7)),
        np.ones(50, np.uint8), np.zeros(50, np.int64), truth,
    )  # fmt: skip
    judge, rng = Judge(noise=0.1, false_done=0.05, dead=(3, 4)), np.random.default_rng(0)
    judged = [judge.judge(episode, 0, rng) for _ in range(600)]
    assert 0.03 < np.mean([each.outcome == Outcome.SUCCESS for each in judged]) < 0.07
    values = np.array([reward.progress for each in judged for reward in each.rewards])
    assert values.mean() == pytest.approx(0.5, abs=0.01)
    assert values.std() == pytest.approx(0.1, abs=0.01)
    assert len(judged[0].rewards) == 25  # 5 Hz of 10
    assert judge.judge(episode, 3, rng).rewards == []
    assert all(reward.kind != RewardKind.TRUTH for reward in judged[0].rewards)


def test_who_advises_people_knows_of_a_moment_later_and_nothing_of_a_dead_judge():
    judge = Judge(noise=0.0, delay_s=0.3, dead=(1, 1))
    practice = Practice(lambda: None, SimpleNamespace(spec=SPEC), None, PracticeConfig(judge=judge))
    known = [practice._measure((7, 0, step), step / 10)[0] for step in range(6)]
    np.testing.assert_allclose(known, [np.nan] * 3 + [0.0, 0.1, 0.2])
    assert np.isnan(practice._measure((8, 0, 0), 0.5)[0])  # another episode
    practice.result.alone.append(True)
    assert np.isnan(practice._measure((7, 0, 6), 0.6)[0])


def test_episodes_to_a_rate():
    found = Practised(evaluations=[Evaluation(0, 10, 50, 1.0), Evaluation(20, 40, 50, 1.0)])
    assert found.episodes_to(0.8) == 20
    assert found.episodes_to(0.9) is None


def test_a_guided_run_of_the_default_recipe(tmp_path):
    """Real physics and pictures: people help, the critics learn, evaluations are on their own starts."""
    worlds = Worlds(SPEC, 2)
    shown = list(rollouts(worlds, range(3), None, expert=worlds.expert()))
    shown = [replace(episode, episode_id=f'shown-{i}') for i, episode in enumerate(shown)]
    config = LearnerConfig(
        updates_per_episode=2, warm_up=1, force_rewards=True, algorithm=WeightedFlowConfig(batch=4, draws=1)
    )
    config = load_recipe('flow_edit', config)
    assert config.online is not None
    features = replace(config.online.features, components=8)
    config = replace(config, online=replace(config.online, batch=8, warm_up=10, features=features))

    def make() -> Learner:
        learner = Learner(SPEC, tmp_path, share('weights', 'policy'), config)
        learner.show(shown)
        return learner

    settings = PracticeConfig(
        episodes=4,
        group=2,
        evaluate_every=0,
        trials=2,
        person=PersonConfig(patience_s=0.5, hands_back=1.0),
        guidance=GuidanceConfig(),
    )
    practice = Practice(make, worlds, worlds.expert, settings)
    for result in practice.run():
        assert len(result.alone) % 2 == 0
    assert len(result.alone) == len(result.grades) == 4
    assert sum(result.human) > 0  # somebody took over
    assert practice.learner.algorithm.steps == 4 * 2
    assert practice.learner.online.algorithm.steps == 2 * practice.learner.algorithm.steps
    assert [found.episodes for found in result.evaluations] == [0, 4]
    assert practice.learner.online.buffer.episodes == 4
