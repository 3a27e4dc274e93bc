# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The learner: learns, resumes, never learns from evaluations, publishes whole and verified weights."""

import dataclasses

import numpy as np
import pytest
import torch
from clone_rig import ALGORITHM, ROBOT, SMALL, make_episode

from apprentice.episodes.episode_writer import write_episode
from apprentice.episodes.labels import write_label
from apprentice.learning.advantage import potential
from apprentice.learning.dataset import Chunks, policy_spec
from apprentice.learning.learner import Learner, LearnerConfig
from apprentice.learning.replay import Replay, UnusableEpisode
from apprentice.learning.reward_gate import RefusedReward
from apprentice.learning.weighted_flow import WeightedFlow
from apprentice.learning.weights import WeightStore
from apprentice.policies import checkpoint
from apprentice.policies.policy import FlowPolicy
from apprentice.reward_models.evaluation.verdict import Verdict, write
from apprentice.robot.types import Outcome, Reward, RewardKind, Source


@pytest.fixture
def starter(tmp_path):
    torch.manual_seed(0)
    spec = policy_spec([make_episode(i) for i in range(4)], ROBOT, 8)
    checkpoint.save(FlowPolicy(spec, SMALL), tmp_path / 'starter', {'name': 'test'})
    return tmp_path / 'starter'


def make_learner(tmp_path, starter, **changes) -> Learner:
    config = LearnerConfig(updates_per_episode=3, publish_every=4, warm_up=1, algorithm=ALGORITHM)
    return Learner(ROBOT, tmp_path / 'run', starter, dataclasses.replace(config, **changes))


def test_chunks_end_where_somebody_else_takes_over():
    episode = make_episode(0, length=6)
    episode.source[:] = [1, 1, 1, 2, 2, 2]
    chunks = Chunks.of(episode, 4)
    assert chunks.valid.tolist() == [
        [True, True, True, False],
        [True, True, False, False],
        [True, False, False, False],
        [True, True, True, False],
        [True, True, False, False],
        [True, False, False, False],
    ]
    np.testing.assert_array_equal(chunks.actions[0], episode.action[:4])
    np.testing.assert_array_equal(chunks.actions[5], episode.action[[5, 5, 5, 5]])


def test_half_of_a_batch_comes_from_people(starter):
    spec = checkpoint.load(starter)[0].spec
    replay = Replay(spec, human_share=0.5, intervention_share=0.5)
    replay.add(make_episode(0, task='demonstration'), demonstration=True)
    replay.add(make_episode(1, task='corrected'))
    replay.add(make_episode(2, task='autonomous', source=Source.POLICY))
    texts = replay.sample(400, np.random.default_rng(0)).text
    assert texts.count('demonstration') == 100
    assert 100 + 60 < texts.count('corrected') < 100 + 140
    assert len(texts) == 400


def test_without_a_share_of_people_no_demonstration_is_replayed(starter):
    replay = Replay(checkpoint.load(starter)[0].spec, human_share=0.0)
    replay.add(make_episode(0, task='demonstration'), demonstration=True)
    assert set(replay.sample(20, np.random.default_rng(0)).text) == {'demonstration'}
    replay.add(make_episode(2, task='autonomous', source=Source.POLICY))
    assert set(replay.sample(200, np.random.default_rng(0)).text) == {'autonomous'}


def test_replay_refuses_what_must_not_be_learned(starter):
    replay = Replay(checkpoint.load(starter)[0].spec)
    with pytest.raises(UnusableEpisode, match='evaluation'):
        replay.add(make_episode(0, eval_only=True))
    with pytest.raises(UnusableEpisode, match='ur5e'):
        replay.add(make_episode(0, robot='ur5e'))
    broken = make_episode(0)
    broken.action[3, 2] = np.nan
    with pytest.raises(UnusableEpisode, match='quarantined'):
        replay.add(broken)
    assert replay.quarantined == len(broken)
    with pytest.raises(ValueError, match='empty'):
        replay.sample(8, np.random.default_rng(0))


def test_weighted_flow_learns_and_zero_weight_does_not_count(starter):
    policy = checkpoint.load(starter)[0].train()
    algorithm = WeightedFlow(policy, dataclasses.replace(ALGORITHM, learning_rate=3e-3))
    data = Chunks.of(make_episode(0), 8)
    losses = [algorithm.update(data)['loss'] for _ in range(60)]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])
    before = [p.clone() for p in policy.parameters()]
    data.weight[:] = 0
    algorithm.optimizer.state.clear()
    algorithm.optimizer.param_groups[0]['weight_decay'] = 0.0
    algorithm.update(data)
    assert all(torch.equal(a, b) for a, b in zip(before, policy.parameters()))


def test_non_finite_update_is_skipped(starter):
    policy = checkpoint.load(starter)[0].train()
    algorithm = WeightedFlow(policy, ALGORITHM)
    data = Chunks.of(make_episode(0), 8)
    data.actions[0, 0, 0] = np.nan
    before = [p.clone() for p in policy.parameters()]
    assert algorithm.update(data)['skipped'] == 1.0
    assert all(torch.equal(a, b) for a, b in zip(before, policy.parameters()))


def test_frozen_backbone_stays(starter):
    policy = checkpoint.load(starter)[0].train()
    algorithm = WeightedFlow(policy, dataclasses.replace(ALGORITHM, freeze_backbone=True))
    before = [p.clone() for p in policy.backbone.parameters()]
    algorithm.update(Chunks.of(make_episode(0), 8))
    assert all(torch.equal(a, b) for a, b in zip(before, policy.backbone.parameters()))


def test_ingest_is_idempotent_and_skips_evaluations(tmp_path, starter):
    learner = make_learner(tmp_path, starter)
    folder = tmp_path / 'run' / 'episodes'
    write_episode(folder, make_episode(0), ROBOT)
    write_episode(folder, make_episode(1, eval_only=True), ROBOT)
    (folder / 'broken.mcap').write_bytes(b'not an mcap file')
    assert learner.ingest() == ['episode-0000']
    assert learner.ingest() == []
    assert (learner.episodes, learner.owed) == (1, 3)


def test_a_demonstration_that_cannot_be_read_is_left_out(tmp_path, starter):
    """And only that one."""
    paths = [write_episode(tmp_path / 'shown', make_episode(number), ROBOT) for number in range(3)]
    paths[1].write_bytes(b'torn')
    learner = make_learner(tmp_path, starter)
    assert learner.demonstrate(paths) == 2
    assert not learner.replay.empty


def test_resume_gives_the_same_policy_and_the_same_next_step(tmp_path, starter):
    learner = make_learner(tmp_path, starter)
    folder = tmp_path / 'run' / 'episodes'
    for number in range(2):
        write_episode(folder, make_episode(number), ROBOT)
    learner.ingest()
    for _ in range(3):
        learner.update()
    learner.save()
    again = make_learner(tmp_path, starter)
    assert (again.episodes, again.owed, again.algorithm.steps) == (2, 3, 3)
    assert again.ingest() == []
    for a, b in zip(learner.algorithm.averaged.parameters(), again.algorithm.averaged.parameters()):
        torch.testing.assert_close(a, b, atol=0, rtol=0)
    assert learner.update()['loss'] == pytest.approx(again.update()['loss'], rel=1e-6)


def test_torn_snapshot_falls_back_to_the_previous(tmp_path, starter):
    learner = make_learner(tmp_path, starter)
    write_episode(tmp_path / 'run' / 'episodes', make_episode(0), ROBOT)
    learner.ingest()
    learner.update()
    learner.save()
    # as a crash between the two renames of a later save leaves it
    (tmp_path / 'run' / 'learner').rename(tmp_path / 'run' / '.learner.previous')
    assert make_learner(tmp_path, starter).algorithm.steps == 1


def test_publish_is_versioned_and_rollback_is_a_new_version(tmp_path, starter):
    learner = make_learner(tmp_path, starter)
    learner.add(make_episode(0))
    learner.owed = 10
    learner.update()
    first = learner.publish()
    learner.update()
    second = learner.publish()
    assert (first.version, second.version, second.parent) == (1, 2, 1)
    checkpoint.load(second.folder, second.sha256)
    third = learner.rollback()
    assert (third.version, third.about['name']) == (3, 'rollback to 1')
    fourth = learner.rollback()
    beginning = checkpoint.load(starter)[0]
    for a, b in zip(beginning.parameters(), checkpoint.load(fourth.folder)[0].parameters()):
        assert torch.equal(a, b)
    old, new = checkpoint.load(first.folder)[0], checkpoint.load(third.folder)[0]
    assert all(torch.equal(a, b) for a, b in zip(old.parameters(), new.parameters()))


def test_incomplete_version_is_not_a_version(tmp_path, starter):
    policy = checkpoint.load(starter)[0]
    store = WeightStore(tmp_path / 'weights')
    store.publish(policy, {})
    (tmp_path / 'weights' / 'v000002').mkdir()
    assert store.versions() == [1]


def test_a_later_label_reweights_the_episode_once(tmp_path, starter):
    learner = make_learner(tmp_path, starter)
    folder = tmp_path / 'run' / 'episodes'
    path = write_episode(folder, make_episode(0, source=Source.POLICY, outcome=Outcome.FAILURE), ROBOT)
    assert learner.ingest() == ['episode-0000']
    assert learner.replay.empty
    assert not learner.ready  # a failure alone teaches nothing
    write_label(path, Outcome.SUCCESS, 'test')
    assert learner.ingest() == []
    assert not learner.replay.empty
    assert learner.ready
    assert (learner.episodes, learner.replay.transitions) == (1, 12)


def test_a_reward_model_that_loses_to_a_clock_does_not_teach(tmp_path, starter, monkeypatch):
    monkeypatch.setenv('APPRENTICE_CACHE', str(tmp_path))
    numbers = {'auroc': 0.4, 'voc': 1.0, 'voc_rewound': 1.0, 'margin': 0.0}
    rivals = {'clock': numbers | {'auroc': 0.5}, 'cosine': {}}
    lost = Verdict('slow', '7', '', '2026-01-01', 'simulator', {}, numbers, rivals)
    (file,) = write(lost, [tmp_path / 'verdicts'])
    episode = make_episode(0)
    episode.rewards = [
        Reward(t, t, RewardKind.ABS_PROGRESS, 0.5, model='slow', version='7') for t in episode.stamps
    ]
    learner = make_learner(tmp_path, starter)
    write_episode(tmp_path / 'run' / 'episodes', episode, ROBOT)
    for _ in range(2):  # it is not forgotten that it was not learned from
        with pytest.raises(RefusedReward, match=r'auroc 0\.400, clock 0\.500'):
            learner.ingest()
    assert (learner.episodes, learner.owed) == (0, 0)
    forced = make_learner(tmp_path, starter, force_rewards=True)
    assert forced.ingest() == ['episode-0000']
    file.unlink()
    assert make_learner(tmp_path, starter).ingest() == ['episode-0000']


def test_a_run_whose_reward_model_is_refused_later_comes_up_and_says_so(tmp_path, starter, monkeypatch):
    monkeypatch.setenv('APPRENTICE_CACHE', str(tmp_path))
    for number, model in enumerate(('slow', 'good')):
        episode = make_episode(number)
        episode.rewards = [
            Reward(t, t, RewardKind.ABS_PROGRESS, 0.5, model=model, version='7') for t in episode.stamps
        ]
        write_episode(tmp_path / 'run' / 'episodes', episode, ROBOT)
    learner = make_learner(tmp_path, starter)
    assert len(learner.ingest()) == 2
    learner.save()
    owed = learner.owed
    numbers = {'auroc': 0.4, 'voc': 1.0, 'voc_rewound': 1.0, 'margin': 0.0}
    rivals = {'clock': numbers | {'auroc': 0.5}, 'cosine': {}}
    write(Verdict('slow', '7', '', '2026-01-01', 'simulator', {}, numbers, rivals), [tmp_path / 'verdicts'])
    again = make_learner(tmp_path, starter)
    assert again.episodes == 1  # the other one is there all the same
    for _ in range(2):
        with pytest.raises(RefusedReward, match=r'auroc 0\.400, clock 0\.500'):
            again.ingest()
    again.save()
    forced = make_learner(tmp_path, starter, force_rewards=True)
    assert (forced.episodes, forced.owed, forced.ingest()) == (2, owed, [])  # owed once


def test_single_frame_progress_counts():
    episode = make_episode(0, length=3)
    episode.rewards = [
        Reward(t, t, RewardKind.ABS_PROGRESS, v, model='x') for t, v in zip(episode.stamps, (0.1, 0.5, 0.9))
    ]
    np.testing.assert_allclose(potential(episode), [0.1, 0.5, 1.0])
