# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Who makes pairs: candidates with a margin, the demonstration, people's interventions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from clone_rig import ROBOT, make_episode
from preference_rig import HORIZON, make_policy

from apprentice.episodes.episode_writer import write_episode
from apprentice.episodes.log_writer import qos_text
from apprentice.episodes.messages import definition, encode, time_fields
from apprentice.episodes.sealing import SealedFile
from apprentice.learning.preference.candidates import CandidateConfig, CandidatePairs, Ranked
from apprentice.learning.preference.critic import CriticPairs
from apprentice.learning.preference.interventions import (
    InterventionConfig,
    InterventionPairs,
    human_segments,
)
from apprentice.learning.preference.nora import DeviationRanker, NoraPairs, NoraRanker, demonstrated_chunk
from apprentice.learning.preference.pairs import PairError
from apprentice.learning.preference.shadows import SHADOW, logged_shadows, read_shadows, replayed_shadows
from apprentice.reward_models.world_model.reward import WorldModelReward
from apprentice.robot.parts import share
from apprentice.robot.types import Outcome, Reward, RewardKind, Source


@pytest.fixture(scope='module')
def policy():
    return make_policy()


class Fixed:
    """A ranker that says the same of every moment."""

    def __init__(self, reward, std):
        self.reward, self.std = np.array(reward), np.array(std)

    def settings(self):
        return {}

    def rank(self, episode, step, chunks, valid):
        self.chunks = chunks
        return Ranked(self.reward, self.std)


@pytest.mark.parametrize(('gap', 'count'), [(0.27, 0), (0.29, 1)])
def test_a_pair_needs_two_standard_deviations_of_the_difference(policy, gap, count):
    # 2 * sqrt(0.1^2 + 0.1^2) = 0.283
    ranker = Fixed([0.0, gap, 0.1], [0.1, 0.1, 0.1])
    builder = CandidatePairs(policy, ranker, CandidateConfig(3, every=50))
    assert len(builder.build([make_episode(0)])) == count


def test_the_best_wins_over_the_worst(policy):
    ranker = Fixed([0.1, 3.0, -2.0, 1.0], [0.0] * 4)
    pairs = CandidatePairs(policy, ranker, CandidateConfig(4, pairs=2, every=50)).build([make_episode(0)])
    np.testing.assert_array_equal(pairs.winner, ranker.chunks[[1, 3]])
    np.testing.assert_array_equal(pairs.loser, ranker.chunks[[2, 0]])
    np.testing.assert_allclose(pairs.margin, [5.0, 0.9], rtol=1e-6)
    assert len(pairs.state) == 1


def test_a_ranking_that_is_not_finite_is_an_error(policy):
    builder = CandidatePairs(policy, Fixed([1.0, np.nan], [0.0, 0.0]), CandidateConfig(2))
    with pytest.raises(PairError, match='row 0'):
        builder.build([make_episode(0)])


def test_failures_and_evaluations_are_no_demonstrations(policy):
    builder = NoraPairs(policy, None, CandidateConfig(2))
    failed, evaluated = make_episode(0, outcome=Outcome.FAILURE), make_episode(1, eval_only=True)
    assert len(builder.build([failed, evaluated])) == 0


def test_the_deviation_prefers_the_chunk_nearest_to_the_demonstrated_one(policy):
    episode = make_episode(3)
    pairs = NoraPairs(policy, None, CandidateConfig(6, every=3)).build([episode])
    assert len(pairs) == 4
    scale = policy.spec.action.std
    for i, step in enumerate(pairs.step[pairs.observation]):
        wanted, valid = demonstrated_chunk(episode, int(step), HORIZON), pairs.valid[i]
        better, worse = (
            (np.abs(chunk - wanted) / scale)[valid].mean() for chunk in (pairs.winner[i], pairs.loser[i])
        )
        assert better < worse
        assert pairs.margin[i] == pytest.approx(worse - better, rel=1e-3)
    # rows after the end of the demonstration say nothing
    assert pairs.valid.sum(1).tolist() == [8, 8, 6, 3]
    # and the rows that made the winner better are known
    assert (pairs.winner_steps - pairs.loser_steps).mean() > 0.1


def test_the_demonstration_itself_can_be_a_candidate(policy):
    episode = make_episode(3)
    config = CandidateConfig(4, every=4, demonstrated=True)
    pairs = NoraPairs(policy, None, config).build([episode])
    for winner, step in zip(pairs.winner, pairs.step[pairs.observation]):
        np.testing.assert_array_equal(winner, demonstrated_chunk(episode, int(step), HORIZON))


def test_candidates_do_not_depend_on_what_was_built_before(policy):
    builder = NoraPairs(policy, None, CandidateConfig(3, every=4))
    alone = builder.build([make_episode(1)])
    together = builder.build([make_episode(0), make_episode(1)])
    np.testing.assert_array_equal(together.winner[-len(alone) :], alone.winner)
    assert not np.array_equal(builder.build([make_episode(0)]).winner[0], alone.winner[0])


def test_a_world_model_ranks_by_where_chunks_lead(policy):
    model = WorldModelReward.load(share('weights', 'world_model'))
    episode, chunks = make_episode(3), None
    ranker = NoraRanker(model)
    rng = np.random.default_rng(0)
    wanted = demonstrated_chunk(episode, 2, HORIZON)
    chunks = wanted + rng.normal(0, 0.2, (4, HORIZON, 7)).astype(np.float32)
    chunks[1] = wanted
    ranked = ranker.rank(episode, 2, chunks, np.ones(HORIZON, bool))
    assert int(np.argmax(ranked.reward)) == 1
    assert (ranked.std > 0).all()
    # it asks the model about this observation, with the frames of this episode
    emb = model.encode(np.stack([episode.images[n] for n in model.needs.cameras], 1))
    asked = model.candidates(emb[2], episode.state[2], chunks, end=emb[11], sub=emb[10], demonstrated=wanted)
    np.testing.assert_allclose(ranked.reward, -asked.cost, rtol=1e-4)
    with pytest.raises(PairError, match='nothing to rank by'):
        NoraRanker(model, sub=False, end=False, deviation=False)


def test_a_critic_with_members_knows_its_doubt(policy):
    def judge(observation, chunks, elapsed_s):
        assert observation.text == 'pick up the red cube'
        assert elapsed_s == 0
        good = chunks[:, 0, 0]
        return np.stack([3 * good, -good])

    config = CandidateConfig(4, every=20)
    assert len(CriticPairs(policy, judge, 'q', config).build([make_episode(0)])) == 0
    pairs = CriticPairs(policy, judge, 'q', replace(config, sigmas=0.0)).build([make_episode(0)])
    assert (pairs.winner[:, 0, 0] > pairs.loser[:, 0, 0]).all()
    # members that differ about the moment, not about its chunks, do not doubt
    apart = CriticPairs(policy, lambda o, c, t: c[:, 0, 0] + np.array([[-1.0], [1.0]]), 'q', config)
    assert len(apart.build([make_episode(0)])) == 1
    with pytest.raises(PairError, match='members'):
        CriticPairs(policy, lambda o, c, t: np.zeros(3), 'q', config).build([make_episode(0)])


def test_pairs_of_a_critic_count_the_rows_that_it_judges(policy):
    asked = []

    def judge(observation, chunks, elapsed_s):
        asked.append(elapsed_s)
        return chunks[:, 0, 0]

    pairs = CriticPairs(policy, judge, 'q', CandidateConfig(3, every=5), rows=3).build([make_episode(0)])
    # the episode has 12 steps: after row 10 two are left
    assert pairs.valid.sum(1).tolist() == [3, 3, 2]
    assert asked == pytest.approx([0, 0.5, 1.0])


def test_deviations_are_exact(policy):
    ranked = DeviationRanker(policy).rank(
        make_episode(0), 0, demonstrated_chunk(make_episode(0), 0, HORIZON)[None], np.ones(HORIZON, bool)
    )
    np.testing.assert_array_equal(ranked.reward, [0.0])
    np.testing.assert_array_equal(ranked.std, [0.0])


# interventions


def helped(outcome=Outcome.SUCCESS, rewards=()):
    """A person drives the rows 4 to 7 and 9 to 11."""
    source = np.full(12, int(Source.POLICY), np.uint8)
    source[4:8] = source[9:] = int(Source.HUMAN)
    takeover = np.zeros(12, np.int64)
    takeover[4:8], takeover[9:] = 1, 2
    return replace(
        make_episode(5), source=source, takeover_id=takeover, outcome=outcome, rewards=list(rewards)
    )


def rising(values, episode):
    return [
        Reward(t, t, RewardKind.ABS_PROGRESS, v, progress=v, model='critic')
        for t, v in zip(episode.stamps, values)
    ]


def away(episode, shift=1.0):
    """A shadow at each row, ``shift`` from what was executed."""
    return {row: demonstrated_chunk(episode, row, HORIZON) + shift for row in range(len(episode))}


def test_segments_of_people():
    assert list(human_segments(helped())) == [range(4, 8), range(9, 12)]
    both = replace(helped(), source=np.full(12, int(Source.HUMAN), np.uint8))
    both.takeover_id[:] = [1] * 6 + [2] * 6  # one person after the other
    assert list(human_segments(both)) == [range(6), range(6, 12)]
    assert list(human_segments(make_episode(0, source=Source.POLICY))) == []


def test_a_person_wins_over_the_shadow_until_his_segment_ends(policy):
    episode = helped()
    pairs = InterventionPairs(policy.spec, away).build([episode])
    # only the last segment ended in success, and nothing measured progress
    assert pairs.step[pairs.observation].tolist() == [9, 10]
    assert pairs.valid.sum(1).tolist() == [3, 2]
    np.testing.assert_array_equal(pairs.winner[0, :3], episode.action[9:12])
    np.testing.assert_allclose(pairs.loser[0, :3], episode.action[9:12] + 1, rtol=1e-6)


def test_a_segment_counts_where_progress_rose(policy):
    episode = helped(Outcome.FAILURE)
    build = InterventionPairs(policy.spec, away).build
    assert len(build([episode])) == 0
    ups = rising([0, 0, 0, 0, 0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.2, 0.1], episode)
    pairs = build([replace(episode, rewards=ups)])
    assert pairs.step[pairs.observation].tolist() == [4, 5, 6]
    config = InterventionConfig(rise=0.5)
    assert len(InterventionPairs(policy.spec, away, config).build([replace(episode, rewards=ups)])) == 0


def test_who_does_what_the_policy_would_do_says_nothing(policy):
    scale = policy.spec.action.std
    for factor, count in ((0.09, 0), (0.11, 2)):
        builder = InterventionPairs(policy.spec, lambda e, f=factor: away(e, f * scale))
        assert len(builder.build([helped()])) == count


def write_with_shadows(folder, episode):
    """A log as the recorder seals it, with the shadow chunks of the policy node."""
    path = write_episode(folder / 'plain', episode, ROBOT)
    from apprentice.episodes.log_reader import LogReader

    reader = LogReader(path)
    target = folder / 'logs' / path.name
    target.parent.mkdir()
    output = SealedFile(target, reader.metadata)
    kind = 'apprentice_interfaces/msg/ActionChunk'
    channel = {'offered_qos_profiles': qos_text(), 'apprentice_name': SHADOW}
    output.add_topic('/' + SHADOW, kind, definition(kind).encode(), channel)
    for message in reader.messages():
        output.add_topic(message.topic, message.type, message.schema, message.channel_metadata)
        output.write(message.topic, message.data, message.log_time, message.publish_time)
    for row in (9, 10):
        stamp = round(episode.stamps[row] * 1e9) + 20_000_000
        rows = demonstrated_chunk(episode, row, HORIZON) + 1
        fields = {
            'header': {'stamp': time_fields(stamp), 'frame_id': 'base'},
            'names': list(ROBOT.joint_names),
            'dt': 0.1,
            'horizon': HORIZON,
            'data': rows.ravel().tolist(),
            'shadow': True,
        }
        output.write('/' + SHADOW, encode(kind, fields), stamp + 50_000_000, stamp + 50_000_000)
    output.commit()
    return target


def test_shadows_come_from_the_log_by_the_stamp_of_their_observation(policy, tmp_path):
    episode = helped()
    path = write_with_shadows(tmp_path, episode)
    found = read_shadows(path, episode)
    assert sorted(found) == [9, 10]
    np.testing.assert_allclose(found[10], demonstrated_chunk(episode, 10, HORIZON) + 1, rtol=1e-6)
    pairs = InterventionPairs(policy.spec, logged_shadows(path.parent)).build([episode])
    assert len(pairs) == 2
    other = replace(episode, episode_id='not-logged')
    assert len(InterventionPairs(policy.spec, logged_shadows(path.parent)).build([other])) == 0


def test_shadows_can_be_planned_afterwards(policy):
    found = replayed_shadows(policy)(helped())
    assert sorted(found) == [4, 5, 6, 7, 9, 10, 11]
    assert found[4].shape == (HORIZON, 7)
    np.testing.assert_allclose(found[4], replayed_shadows(policy, batch=1)(helped())[4], atol=1e-6)
