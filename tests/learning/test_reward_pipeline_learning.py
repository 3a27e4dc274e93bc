# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Learning from calibrated, shaped and later re-scored rewards."""

import dataclasses

import numpy as np
import pytest
import torch
from clone_rig import ALGORITHM, ROBOT, SMALL, make_episode

from apprentice.episodes.episode_writer import write_episode
from apprentice.learning.advantage import AdvantageConfig, step_weights, trajectory
from apprentice.learning.dataset import policy_spec
from apprentice.learning.learner import Learner, LearnerConfig
from apprentice.learning.rescore import FILE, score_recorded
from apprentice.policies import checkpoint
from apprentice.policies.policy import FlowPolicy
from apprentice.reward_models.base import Needs, RewardModelError, Score
from apprentice.reward_models.ledger import Ledger
from apprentice.reward_models.pipeline import RewardPipeline
from apprentice.robot.episode_record import EndCause
from apprentice.robot.types import Outcome, Reward, RewardKind, Source

PLAIN = 'models: [{model: critic, uncalibrated: true}]\nensemble: {penalty: 0.0}\n'
TRUSTED = PLAIN + 'trust: {sigma: null, margin: null, ood: null}\n'


def pipeline(tmp_path, text):
    path = tmp_path / 'rewards.yaml'
    path.write_text(text)
    return RewardPipeline.load(path)


def episode(progress, outcome=Outcome.SUCCESS, cause=EndCause.PREDICATE, **more):
    item = make_episode(0, length=len(progress), source=Source.POLICY)
    rewards = [
        Reward(t, t, RewardKind.ABS_PROGRESS, p, model='critic', version='v1', **more)
        for t, p in zip(item.stamps, progress)
    ]
    return dataclasses.replace(item, rewards=rewards, outcome=outcome, end_cause=int(cause))


CURVE = np.r_[np.linspace(0, 0.3, 10), np.full(5, 0.3), np.linspace(0.3, 0.95, 10)]


def test_at_discount_one_shaping_is_the_progress_that_was_always_used(tmp_path):
    """Potentials telescope, so the shaped return over a horizon is the gain in progress."""
    item = episode(CURVE)
    before = step_weights(item, 4)
    shaped = step_weights(item, 4, None, pipeline(tmp_path, TRUSTED))
    np.testing.assert_allclose(shaped[:20], before[:20], rtol=0.02)
    assert np.ptp(before) > 0.1


def test_an_episode_without_trust_is_weighed_by_its_outcome(tmp_path):
    found = pipeline(tmp_path, PLAIN + 'trust: {sigma: null, margin: 0.1, ood: null}\n')
    np.testing.assert_allclose(step_weights(episode(CURVE, margin=0.5), 4, None, found)[5], 1.0, atol=0.2)
    assert np.ptp(step_weights(episode(CURVE, margin=0.5), 4, None, found)[:15]) > 0.01
    doubted = step_weights(episode(CURVE, margin=-0.5), 4, None, found)
    nothing = step_weights(dataclasses.replace(episode(CURVE), rewards=[]), 4, None, found)
    np.testing.assert_array_equal(doubted, nothing)
    np.testing.assert_array_equal(doubted, 1.0)  # all steps alike, the last ones too


def test_the_success_signal_does_not_make_the_last_steps_better_than_the_rest(tmp_path):
    """Whatever the scale, trust and weight: steady progress weighs all steps alike but where it is cut."""
    steady = np.linspace(0, 1, 101)
    part = 'apprentice.reward_models.shaping.potential:PotentialShaping'
    for more in (
        f'shaping: {{transforms: [{{part: "{part}", settings: {{scale: 0.1}}}}]}}',
        'shaping: {weight: 0.01}',
        'shaping: {transforms: []}',
    ):
        weights = step_weights(episode(steady), 16, None, pipeline(tmp_path, TRUSTED + more))
        np.testing.assert_allclose(weights, 1.0, atol=0.06)


SHAPES = 'apprentice.reward_models.shaping'
OF_SCORES = [
    ('par:PreferenceAsReward', '{references: {"*": [0.2]}, steepness: 5.0}'),
    ('renorm:ReNorm', '{}'),
    ('clip:Clip', '{ceiling: 0.5}'),
    ('delta:Delta', '{}'),
]


def chain(tmp_path, *parts):
    listed = ', '.join(f'{{part: "{SHAPES}.{part}", settings: {settings}}}' for part, settings in parts)
    return pipeline(tmp_path, TRUSTED + f'shaping: {{sparse: 0.0, transforms: [{listed}]}}')


@pytest.mark.parametrize(('part', 'settings'), OF_SCORES)
def test_shaping_of_scores_sees_them_and_is_refused_where_only_a_few_steps_count(
    tmp_path, starter, part, settings
):
    found = chain(tmp_path, (part, settings))
    rising, falling = (found.shaping(trajectory(episode(p), found)) for p in (CURVE, CURVE[::-1]))
    assert np.abs(rising - falling).max() > 0.01
    name = part.split(':')[1]
    with pytest.raises(RewardModelError, match=f'{name}.*PotentialShaping'):
        step_weights(episode(CURVE), 4, None, found)
    config = LearnerConfig(
        advantage=AdvantageConfig(rewards=str(tmp_path / 'rewards.yaml')), algorithm=ALGORITHM
    )
    with pytest.raises(RewardModelError, match=name):  # at once, not once for every episode
        Learner(ROBOT, tmp_path / 'run', starter, config)
    with pytest.raises(RewardModelError, match=name):
        step_weights(
            episode(CURVE), 4, None, chain(tmp_path, ('potential:PotentialShaping', '{}'), (part, settings))
        )


def test_a_process_score_is_the_calibrated_potential_after_the_step(tmp_path):
    found = chain(tmp_path, ('clip:Clip', '{ceiling: 1.0}'))
    rewards = found.shaping(trajectory(episode(CURVE), found))
    np.testing.assert_allclose(rewards, np.append(CURVE[1:], CURVE[-1]) - 1.0, atol=1e-6)


def test_gates_after_potentials_may_weigh_steps(tmp_path):
    gated = [('potential:PotentialShaping', '{}'), ('gated:GatedAccumulation', '{}')]
    np.testing.assert_allclose(
        step_weights(episode(CURVE), 4, None, chain(tmp_path, *gated)),
        step_weights(episode(CURVE), 4, None, chain(tmp_path, gated[0])),
    )
    with pytest.raises(RewardModelError, match='GatedAccumulation'):  # there is nothing to gate
        step_weights(episode(CURVE), 4, None, chain(tmp_path, gated[1]))


def test_each_instruction_is_weighed_in_units_of_its_own_spread_once_episodes_came(tmp_path, starter):
    """Through the learner: one instruction's scores move a tenth as far; its best steps count as much."""
    chain(tmp_path, ('potential:PotentialShaping', '{}'), ('normalise:Normalise', '{floor: 1.0e-6}'))
    config = LearnerConfig(
        updates_per_episode=1,
        warm_up=1,
        advantage=AdvantageConfig(rewards=str(tmp_path / 'rewards.yaml'), temperature=5.0),
        algorithm=ALGORITHM,
    )
    steps = np.arange(25)
    left = (1 - steps / 24) * (0.5 + 0.3 * np.sin(steps))
    curves = {'pick up the red cube': 1 - left, 'push the button': 1 - 0.1 * left}

    def spread(learner, text):
        learner.update()  # draws a batch
        (entry,) = (e for e in learner.replay._online.values() if e.episode.task == text)
        return float(np.ptp(np.log(entry.chunks.weight)))

    def add(learner, text):
        item = dataclasses.replace(episode(curves[text]), task=text, episode_id=text.replace(' ', '_'))
        write_episode(tmp_path / 'run' / 'episodes', item, ROBOT)
        assert learner.ingest()

    learner = Learner(ROBOT, tmp_path / 'run', starter, config)
    large, small = curves
    add(learner, large)
    alone = spread(learner, large)
    assert alone > 0.05
    add(learner, small)
    assert spread(learner, small) == pytest.approx(alone, rel=0.01)  # without statistics: a tenth
    assert spread(learner, large) == pytest.approx(alone)  # the other instruction changes nothing
    seen = learner.experience.pipeline.shaping.transforms[1].state()
    assert {text: count for text, (count, _, _) in seen.items()} == {large: 25, small: 25}
    learner.replay.reweigh(learner.replay.advantage)
    assert learner.experience.pipeline.shaping.transforms[1].state() == seen  # nothing is counted twice
    learner.publish()
    again = Learner(ROBOT, tmp_path / 'run', starter, config)
    again.ingest()
    again.owed = 1
    assert spread(again, small) == pytest.approx(spread(learner, small))


def test_a_frozen_version_still_counts_in_a_run_that_was_scored_again(tmp_path):
    ledger = Ledger(tmp_path / FILE)
    item = episode(CURVE)
    ledger.add(item)
    ledger.append_revision(
        item.episode_id, [dataclasses.replace(r, version='v2', value=0.5) for r in item.rewards]
    )
    again = ledger.apply(item)
    frozen = AdvantageConfig(frozen=(('critic', 'v1'),))
    np.testing.assert_array_equal(step_weights(again, 4, frozen), step_weights(item, 4))
    assert not np.allclose(step_weights(again, 4), step_weights(item, 4))  # without it the newer one counts


@pytest.mark.parametrize(
    ('outcome', 'cause', 'terminal', 'judged'),
    [
        (Outcome.SUCCESS, EndCause.PREDICATE, True, 1.0),
        (Outcome.FAILURE, EndCause.HUMAN, True, 0.0),
        (Outcome.FAILURE, EndCause.TIMEOUT, False, 0.0),
        (Outcome.ABORT, EndCause.FAULT, False, np.nan),
    ],
)
def test_only_success_and_failure_are_terminal(tmp_path, outcome, cause, terminal, judged):
    found = trajectory(
        episode(CURVE, outcome, cause), pipeline(tmp_path, TRUSTED + 'shaping: {discount: 0.9}')
    )
    assert found.terminal == terminal
    np.testing.assert_equal(found.outcome, judged)
    rewards = pipeline(tmp_path, TRUSTED + 'shaping: {discount: 0.9}').shaping(found)
    total = sum(0.9**t * r for t, r in enumerate(rewards))
    end = 0.9 ** len(CURVE) * CURVE[-1] * (not terminal)
    paid = 0.9 ** (len(CURVE) - 1) * (outcome == Outcome.SUCCESS)
    assert total == pytest.approx(end - CURVE[0] + paid, abs=1e-6)


def test_what_a_monitor_says_counts_with_a_pipeline_too(tmp_path):
    found = pipeline(tmp_path, TRUSTED)
    item = episode(CURVE)
    full = step_weights(item, 4, AdvantageConfig(), found)
    half = step_weights(item, 4, AdvantageConfig(shaping_weight=0.5), found)
    np.testing.assert_allclose(np.log(half[:20]), 0.5 * np.log(full[:20]), atol=1e-5)
    assert np.all(step_weights(item, 4, AdvantageConfig(shaping_weight=0.0), found) == 1.0)
    frozen = step_weights(item, 4, AdvantageConfig(frozen=(('critic', 'v0'),)), found)
    assert np.all(frozen == 1.0)  # nothing of the frozen version is here


@pytest.fixture
def starter(tmp_path):
    torch.manual_seed(0)
    spec = policy_spec([make_episode(i) for i in range(4)], ROBOT, 8)
    checkpoint.save(FlowPolicy(spec, SMALL), tmp_path / 'starter', {'name': 'test'})
    return tmp_path / 'starter'


class Stairs:
    """A reward model of another version: progress is the brightness of the first view, capped."""

    kind = RewardKind.ABS_PROGRESS
    model, version = 'critic', 'v2'
    needs = Needs()

    def encode(self, frames):
        return np.asarray(frames, np.float32).mean(axis=(-3, -2, -1))[..., None] / 255

    def negatives(self, text):
        return []

    def score(self, request):
        value = np.clip(request.emb[:, -1, 0, 0], 0, 1).astype(np.float32)
        nan = np.full(len(value), np.nan, np.float32)
        return Score(self.kind, value, nan, value, nan, np.isfinite(value), self.model, self.version)


def test_a_better_model_relabels_the_buffer_of_a_running_learner(tmp_path, starter):
    config = LearnerConfig(updates_per_episode=3, publish_every=4, warm_up=1, algorithm=ALGORITHM)
    learner = Learner(ROBOT, tmp_path / 'run', starter, config)
    item = make_episode(0, length=12, source=Source.POLICY)
    steps = np.arange(12)
    for images in item.images.values():
        images[:] = (255 * (steps / 11) ** 3).astype(np.uint8)[:, None, None, None]
    old = [Reward(t, t, RewardKind.ABS_PROGRESS, 0.5, model='critic', version='v1') for t in item.stamps]
    item = dataclasses.replace(item, rewards=old, outcome=Outcome.SUCCESS)
    write_episode(tmp_path / 'run' / 'episodes', item, ROBOT)
    (name,) = learner.ingest()
    owed = learner.owed
    before = learner.replay._online[name].chunks.weight.copy()
    assert score_recorded(tmp_path / 'run' / 'episodes', ROBOT, Stairs()) == 12
    assert score_recorded(tmp_path / 'run' / 'episodes', ROBOT, Stairs()) == 0
    assert learner.ingest() == []
    after = learner.replay._online[name].chunks.weight
    assert learner.owed == owed  # relabelled, not learned from twice
    assert not np.allclose(before, after)
    np.testing.assert_allclose(after, step_weights(learner.fleet.members[0].ledger.apply(item), 8), rtol=1e-4)
    assert Ledger(tmp_path / 'run' / FILE).stale('critic', 'v2') == []
    again = Learner(ROBOT, tmp_path / 'run', starter, config)
    again.ingest()
    np.testing.assert_allclose(again.replay._online[name].chunks.weight, after)


def test_a_learner_with_a_pipeline_that_does_not_exist_says_so(tmp_path, starter):
    config = LearnerConfig(
        advantage=AdvantageConfig(rewards=str(tmp_path / 'none.yaml')), algorithm=ALGORITHM
    )
    with pytest.raises(RewardModelError, match='does not exist'):
        Learner(ROBOT, tmp_path / 'run', starter, config)
