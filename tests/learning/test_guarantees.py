# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What the learner guarantees, by number (docs/learning.md); those of processes: tests/nodes."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import time

import killed_learner
import numpy as np
import pytest
import torch
from clone_rig import ALGORITHM, ROBOT, SMALL, make_episode

from apprentice.episodes.episode_writer import write_episode
from apprentice.episodes.labels import write_label
from apprentice.episodes.log_reader import LogReader
from apprentice.episodes.log_writer import LogWriter
from apprentice.episodes.sealing import recover
from apprentice.learning import snapshot
from apprentice.learning.dataset import policy_spec
from apprentice.learning.learner import Learner, LearnerConfig
from apprentice.learning.probe_set import ProbeConfig
from apprentice.learning.rescore import FILE as LEDGER
from apprentice.learning.staleness import Acknowledgements
from apprentice.policies import checkpoint
from apprentice.policies.policy import FlowPolicy
from apprentice.reward_models.ledger import Ledger
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


def held(learner: Learner) -> tuple:
    """What is in the replay and what is owed for it."""
    replay = learner.replay
    return learner.episodes, replay.transitions, replay.human_transitions, learner.owed


# 1: the log is the write-ahead log; tests/episodes/test_log.py kills its writer


def test_1_a_torn_log_is_cut_off_and_learned_from(tmp_path, starter):
    folder = tmp_path / 'run' / 'episodes'
    whole = LogReader(write_episode(tmp_path / 'whole', make_episode(0, length=40), ROBOT))
    writer = LogWriter(tmp_path / 'recorder', 'episode-0000', whole.metadata)  # as while it is recorded
    for message in whole.messages():
        writer.add_topic(message.topic, message.type, message.name)
        writer.write(message.topic, message.data, message.log_time)
    writer.flush()
    data = writer.part.read_bytes()
    folder.mkdir(parents=True)
    torn = folder / writer.part.name
    torn.write_bytes(data[: int(0.7 * len(data))])
    learner = make_learner(tmp_path, starter)
    assert learner.ingest() == []  # what was not sealed is not read
    assert recover(folder) == [folder / 'episode-0000.mcap']
    assert not torn.exists()
    assert learner.ingest() == ['episode-0000']
    assert 0 < learner.replay.transitions < 40


# 2: ingesting is idempotent


def test_2_sending_twice_changes_nothing(tmp_path, starter):
    learner = make_learner(tmp_path, starter)
    write_episode(tmp_path / 'run' / 'episodes', make_episode(0), ROBOT)
    assert learner.ingest() == ['episode-0000']
    before = held(learner)
    for _ in range(3):
        assert learner.ingest() == []
    learner.add(make_episode(0))
    assert held(learner) == before == (1, 12, 12, 3)


# 3 and 4: snapshots, and going on after kill -9


def test_3_a_damaged_snapshot_is_put_aside_for_the_one_before(tmp_path, starter):
    learner = make_learner(tmp_path, starter)
    write_episode(tmp_path / 'run' / 'episodes', make_episode(0), ROBOT)
    learner.ingest()
    for _ in range(2):
        learner.update()
        learner.save()
    path = tmp_path / 'run' / 'learner' / snapshot.TENSORS
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(bytes(data))
    again = make_learner(tmp_path, starter)
    assert again.algorithm.steps == 1
    assert again.owed == 2
    again.save()
    assert make_learner(tmp_path, starter).algorithm.steps == 1


@pytest.mark.parametrize(
    ('recipe', 'kills'), [('weighted_flow', 6), pytest.param('flow_edit', 5, marks=pytest.mark.slow)]
)
@pytest.mark.timeout(240)
def test_4_kill_9_at_random_moments(tmp_path, starter, recipe, kills):
    """The newest snapshot verifies and acts as it said, and no episode is counted twice."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['killed_learner'])
    rng, said = np.random.default_rng(11), tmp_path / 'said.jsonl'
    run, steps = tmp_path / 'run', []
    for episodes in range(1, kills + 1):
        write_episode(run / 'episodes', killed_learner.recorded(episodes), ROBOT)
        known = said.read_text().count('\n') if said.exists() else 0
        wanted = known + int(rng.integers(2, 9))
        process = context.Process(target=killed_learner.run, args=(tmp_path, recipe))
        process.start()
        end = time.monotonic() + 150  # the first one imports torch
        while not said.exists() or said.read_text().count('\n') < wanted:
            assert process.is_alive()
            assert time.monotonic() < end
            time.sleep(0.005)
        time.sleep(rng.uniform(0.0, 0.1))
        process.kill()
        process.join()
        assert process.exitcode == -9
        snapshot.newest(run / 'learner')  # raises where none can be read
        assert not (run / '.learner.damaged').exists()
        learner = killed_learner.make_learner(tmp_path, recipe)
        lines = [json.loads(line) for line in said.read_text().splitlines() if line.endswith('}')]
        by_steps = {line['steps']: line for line in lines}
        np.testing.assert_allclose(
            killed_learner.action(learner), by_steps[learner.algorithm.steps]['action'], atol=1e-6
        )
        learner.ingest()  # what came after the snapshot
        assert learner.episodes == episodes
        assert learner.algorithm.steps + learner.owed == killed_learner.UPDATES * episodes
        for version in learner.store.versions():
            learner.store.describe(version)  # none is half written
        steps.append(learner.algorithm.steps)
    assert steps == sorted(steps)
    assert steps[-1] > 0


# 5: weights


def test_5_half_written_weights_are_no_version_and_are_refused(tmp_path, starter):
    learner = make_learner(tmp_path, starter)
    learner.add(make_episode(0))
    learner.owed = 10
    learner.update()
    published = learner.publish()
    half = learner.store.folder(2)
    half.mkdir()
    (half / 'policy.safetensors').write_bytes(b'half')
    assert learner.store.versions() == [1]
    weights = next(published.folder.glob('*.safetensors'))
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(checkpoint.CheckpointError, match='damaged'):
        checkpoint.load(published.folder, published.sha256)
    with pytest.raises(checkpoint.CheckpointError, match='announced'):
        checkpoint.load(published.folder, '0' * 64)


def spoil(learner: Learner, size: float) -> None:
    with torch.no_grad():
        for policy in (learner.algorithm.policy, learner.algorithm.averaged):
            policy.expert.leave.bias += size


def test_5_a_candidate_that_jumps_is_not_published_and_training_goes_back(tmp_path, starter):
    learner = make_learner(tmp_path, starter, probe=ProbeConfig(observations=4, max_change=3.0, failures=2))
    learner.add(make_episode(0))
    learner.owed = 100
    learner.update()
    good = learner.publish()
    assert good is not None
    beginning = {name: value.clone() for name, value in learner.algorithm.averaged.state_dict().items()}
    learner.update()
    spoil(learner, 50.0)
    assert learner.publish() is None
    assert 'standard deviations, 3 are allowed' in learner.admission.reason
    assert learner.store.versions() == [1]
    assert not learner.publish_due  # the next candidate is some updates away
    learner.update()
    assert learner.publish() is None  # the second in a row
    for name, value in learner.algorithm.averaged.state_dict().items():
        torch.testing.assert_close(value, beginning[name], atol=0, rtol=0)
    learner.update()
    assert learner.publish().version == 2  # it goes on
    assert learner.admission.reason == ''
    lines = [json.loads(line) for line in (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()]
    assert ['refused' in line for line in lines] == [False, True, True, False]


def test_5_a_candidate_that_is_not_finite_is_not_published(tmp_path, starter):
    learner = make_learner(tmp_path, starter)
    learner.add(make_episode(0))
    learner.owed = 10
    learner.update()
    spoil(learner, float('nan'))
    assert learner.publish() is None
    assert 'not finite' in learner.admission.reason
    assert learner.store.versions() == []


def test_5_a_candidate_that_forgets_the_demonstrations_is_not_published(tmp_path, starter):
    probe = ProbeConfig(observations=2, max_change=0.0, held_out=1, loss_factor=1.5)
    learner = make_learner(tmp_path, starter, probe=probe)
    assert learner.show([make_episode(i) for i in range(3)]) == 2  # one is held out
    learner.owed = 10
    learner.update()
    assert learner.publish() is not None
    learner.update()
    spoil(learner, 3.0)
    assert learner.publish() is None
    assert 'loss on held-out demonstrations' in learner.admission.reason


def test_5_the_probe_compares_with_what_acts_not_with_what_was_offered(tmp_path, starter):
    learner = make_learner(tmp_path, starter, probe=ProbeConfig(observations=2, max_change=3.0))
    learner.add(make_episode(0))
    learner.owed = 100
    for _ in range(3):  # each a step of less than the limit, together more
        learner.update()
        spoil(learner, 2.0)
        assert learner.publish() is not None
    learner.admission.acting = 0  # the robot still acts with the starter weights
    learner.update()
    assert learner.publish() is None
    learner.admission.acting = 3
    learner.update()
    assert learner.publish() is not None


# 6: staleness


def test_6_what_acts_too_far_behind_alarms_and_a_refusal_is_said():
    acks = Acknowledgements(['left', 'right'])
    assert (acks.acknowledged, acks.problem(9)) == (0, '')  # nobody listens yet
    acks.hear(9, 9, True, robot='left')
    acks.hear(6, 6, True, robot='right')
    assert (acks.acknowledged, acks.problem(9)) == (6, '')
    assert 'right: the policy acts with version 6, 4 behind the newest' in acks.problem(10)
    acks.hear(6, 10, False, 'sha256 differs', robot='right')
    assert 'right: the policy refused version 10: sha256 differs' in acks.problem(10)
    acks.hear(10, 10, True, robot='right')
    acks.hear(10, 10, True, robot='left')
    assert (acks.acknowledged, acks.problem(10)) == (10, '')


def test_6_every_episode_keeps_the_version_that_acted(tmp_path, starter):
    learner = killed_learner.make_learner(tmp_path, 'flow_edit')
    episode = dataclasses.replace(killed_learner.recorded(0), weights_version=7)
    write_episode(tmp_path / 'run' / 'episodes', episode, ROBOT)
    learner.ingest()
    buffer = learner.online.buffer
    assert set(buffer._transitions['version'].tolist()) == {0, 7}  # 0: demonstrations


# 7: the backlog of a learner that was away


def test_7_a_learner_that_was_away_finds_everything_on_the_disk(tmp_path, starter):
    folder = tmp_path / 'run' / 'episodes'
    for number in range(3):
        write_episode(folder, make_episode(number), ROBOT)
    learner = make_learner(tmp_path, starter)
    assert len(learner.ingest()) == 3
    assert held(learner) == (3, 36, 36, 9)


# 8: executed action and source


def test_8_what_the_gate_executed_is_learned_and_by_whom(tmp_path, starter):
    episode = make_episode(0)
    episode.source[4:8] = int(Source.HOLD)
    learner = make_learner(tmp_path, starter)
    write_episode(tmp_path / 'run' / 'episodes', episode, ROBOT)
    learner.ingest()
    chunks = learner.replay.sample(200, np.random.default_rng(0))
    assert len(np.unique(chunks.actions[:, 0], axis=0)) == 8  # of 12 steps, 4 were nobody's
    for row in np.unique(chunks.actions[:, 0], axis=0):
        assert np.abs(episode.action - row).max(1).min() < 1e-6


# 9: late rewards and labels


def test_9_a_late_reward_revises_a_sealed_episode_once(tmp_path, starter):
    stamps = make_episode(0, source=Source.POLICY).stamps

    def scores(values, version: str) -> list[Reward]:
        return [
            Reward(t, t, RewardKind.ABS_PROGRESS, v, progress=v, model='critic', version=version)
            for t, v in zip(stamps, values)
        ]

    rising = np.linspace(0.1, 0.9, 12)
    episode = make_episode(0, source=Source.POLICY, rewards=scores(rising, '1'))
    learner = make_learner(tmp_path, starter)
    path = write_episode(tmp_path / 'run' / 'episodes', episode, ROBOT)
    learner.ingest()
    entry = learner.replay._online['episode-0000']
    before, sealed, owed = entry.chunks.weight.copy(), path.read_bytes(), learner.owed
    late = np.concatenate([np.full(6, 0.1), np.linspace(0.1, 0.9, 6)])
    ledger = Ledger(tmp_path / 'run' / LEDGER)
    ledger.add(episode)
    ledger.append_revision('episode-0000', scores(late, '2'))
    assert learner.ingest() == []
    after = learner.replay._online['episode-0000']
    assert not np.allclose(after.chunks.weight, before)
    assert learner.ingest() == []
    assert learner.replay._online['episode-0000'] is after  # once
    assert (learner.owed, learner.episodes, path.read_bytes()) == (owed, 1, sealed)


def test_9_critics_take_a_late_label_over_once(tmp_path, starter):
    learner = killed_learner.make_learner(tmp_path, 'flow_edit')
    episode = dataclasses.replace(killed_learner.recorded(0), outcome=Outcome.FAILURE)
    path = write_episode(tmp_path / 'run' / 'episodes', episode, ROBOT)
    learner.ingest()
    buffer = learner.online.buffer
    assert (buffer.revised, buffer.episodes) == (0, 1)
    write_label(path, Outcome.SUCCESS, 'test')
    for _ in range(3):
        learner.ingest()
    assert (buffer.revised, buffer.episodes) == (1, 1)
    assert float(buffer.of('episode-0000')[1].reward.max()) > 0.5


# 10: quarantine


def test_10_a_single_bad_number_is_left_out_and_counted(tmp_path, starter):
    episode = make_episode(0, length=120)
    episode.action[60, 2] = np.nan
    learner = make_learner(tmp_path, starter)
    assert learner.add(episode)
    learner.owed = 20
    assert learner.replay.quarantined == 8  # every chunk that reaches it
    assert learner.alarm == ''
    assert all(np.isfinite(learner.update()['loss']) for _ in range(20))
    assert learner.algorithm.steps == 20  # none was skipped
    learner.replay.reweigh()
    assert np.isfinite(learner.replay.sample(500, np.random.default_rng(0)).actions).all()


def test_10_a_joint_that_demonstrations_hardly_moved_is_no_fault(tmp_path, starter):
    """A person may move it; so far out it would outweigh everything else, and is left out."""
    learner = make_learner(tmp_path, starter)
    driven, out = make_episode(0), 30 * learner.replay.spec.action.std[2]
    assert out < 2 * np.pi
    driven.action[3:6, 2] = driven.state[3:6, 2] + learner.replay.spec.action.mean[2] + out
    assert learner.add(driven)
    assert learner.alarm == ''
    assert learner.replay.quarantined == 6  # every chunk that reaches it


@pytest.mark.parametrize('fault', [np.nan, np.inf, 1e6])
def test_10_more_than_one_percent_stops_learning_until_a_person_has_looked(tmp_path, starter, fault):
    folder = tmp_path / 'run' / 'episodes'
    learner = make_learner(tmp_path, starter)
    write_episode(folder, make_episode(0), ROBOT)
    learner.ingest()
    learner.update()
    assert learner.ready
    broken = make_episode(1)
    broken.action[3, 2] = fault
    learner.add(broken)
    assert 'episode-0001: 1 of 12 steps' in learner.alarm
    assert not learner.ready
    learner.save()
    again = make_learner(tmp_path, starter)  # a restart is not a look
    assert again.alarm == learner.alarm
    assert not again.ready
    assert again.clear_alarm() == ['episode-0001']
    assert again.ready
    again.add(broken)  # it was looked at
    assert again.ready
    assert make_learner(tmp_path, starter).ready
