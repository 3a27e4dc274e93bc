# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Answers about stretches become a reward and pairs of chunks; the desk that asks for them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from clone_rig import ROBOT, make_episode
from preference_rig import HORIZON, QUIET, make_pairs, make_policy

from apprentice.episodes.answers import Answer, AnswerFile, Stretch, StretchPair
from apprentice.episodes.files import EpisodeFileError
from apprentice.learning.preference.answered import (
    StretchFeatures,
    collect_features,
    comparisons_of,
    fit_answers,
    moments,
    tie_of,
)
from apprentice.learning.preference.desk import Desk, DeskConfig
from apprentice.learning.preference.flow_dpo import FlowDpo
from apprentice.learning.preference.labelled import LabelledPairs
from apprentice.learning.preference.pairs import PairError, Pairs
from apprentice.learning.preference.selection import SelectionConfig
from apprentice.learning.preference.store import PairStore, collect
from apprentice.reward_models.clip.reward import ClipReward
from apprentice.robot.parts import share
from apprentice.robot.types import Outcome, Source


@pytest.fixture(scope='module')
def policy():
    return make_policy()


@pytest.fixture(scope='module')
def clip():
    return ClipReward.load(share('weights', 'clip'))


def bright(number, length=24):
    """Episodes whose pictures get brighter, the faster the higher their number: easy to tell apart."""
    episode = make_episode(number, length)
    ramp = np.clip(np.arange(length) * (number % 8) * 1.5, 0, 255).astype(np.uint8)
    images = {
        name: np.broadcast_to(ramp[:, None, None, None], stack.shape).copy()
        for name, stack in episode.images.items()
    }
    outcome = Outcome.SUCCESS if number % 2 else Outcome.FAILURE
    return dataclasses.replace(episode, images=images, outcome=outcome)


def value(stretch, episodes):
    rows = moments(stretch, episodes[stretch.episode], ROBOT.action_dt)
    return float(np.mean(next(iter(episodes[stretch.episode].images.values()))[rows]))


def features(clip):
    return StretchFeatures(clip, [camera.name for camera in ROBOT.cameras], ROBOT.action_dt)


# pairs of chunks


def answered(tmp_path, *answers):
    file = AnswerFile(tmp_path / 'preferences.jsonl')
    for answer in answers:
        file.add(answer)
    return file.path


def two(first=0, second=1, begin=0.2, end=1.8):
    names = f'episode-{first:04d}', f'episode-{second:04d}'
    return StretchPair('pick', *(Stretch(name, begin, end) for name in names))


def test_the_preferred_stretch_wins_chunk_by_chunk(policy, tmp_path):
    episodes = {e.episode_id: e for e in (make_episode(0, 24), make_episode(1, 24))}
    path = answered(tmp_path, Answer(two(), 'right'), Answer(two(begin=0.4), 'equal'))
    builder = LabelledPairs(policy.spec, path, episodes.get, ROBOT.action_dt)
    assert len(builder.build([episodes['episode-0000']])) == 0, 'pairs belong to the winner'
    pairs = builder.build(episodes.values())
    assert len(pairs) == 2
    assert pairs.apart.all()
    winner, loser = episodes['episode-0001'], episodes['episode-0000']
    for number, row in enumerate((2, 10)):
        at, other = pairs.observation[number], pairs.loser_observation[number]
        assert (pairs.episode[at], pairs.step[at]) == ('episode-0001', row)
        assert (pairs.episode[other], pairs.step[other]) == ('episode-0000', row)
        np.testing.assert_array_equal(pairs.winner[number], winner.action[row : row + HORIZON])
        np.testing.assert_array_equal(pairs.loser[number], loser.action[row : row + HORIZON])
        np.testing.assert_array_equal(pairs.state[other], loser.state[row])
        np.testing.assert_array_equal(pairs.images['front'][other], loser.images['front'][row])
    assert pairs.valid.all()
    # the second chunk of a shorter stretch ends with it
    short = answered(tmp_path / 'b', Answer(two(end=1.4), 'left'))
    pairs = LabelledPairs(policy.spec, short, episodes.get, ROBOT.action_dt).build(episodes.values())
    assert pairs.valid.sum(1).tolist() == [8, 4]


def test_what_nobody_drove_or_learns_from_makes_no_pair(policy, tmp_path):
    path = answered(tmp_path, Answer(two(), 'left'))
    held = make_episode(1, 24, source=Source.NONE)
    episodes = {'episode-0000': make_episode(0, 24), 'episode-0001': held}
    build = LabelledPairs(policy.spec, path, episodes.get, ROBOT.action_dt).build
    assert len(build(episodes.values())) == 0
    episodes['episode-0001'] = make_episode(1, 24, eval_only=True)
    build = LabelledPairs(policy.spec, path, episodes.get, ROBOT.action_dt).build
    assert len(build(episodes.values())) == 0


def test_answers_that_do_not_fit_the_data_are_named(policy, tmp_path):
    path = answered(tmp_path, Answer(two(end=9.0), 'left'), Answer(two(1, 7), 'left'))
    episodes = {e.episode_id: e for e in (make_episode(0, 24), make_episode(1, 24))}
    build = LabelledPairs(policy.spec, path, episodes.get, ROBOT.action_dt).build
    with pytest.raises(PairError, match=r'episode-0000 has 2\.4 s'):
        build([episodes['episode-0000']])
    with pytest.raises(PairError, match='episode-0007, which is not there'):
        build([episodes['episode-0001']])
    with pytest.raises(EpisodeFileError, match='apprentice label'):
        LabelledPairs(policy.spec, tmp_path / 'none', episodes.get, ROBOT.action_dt)


def test_pairs_of_two_observations_go_through_the_store(policy, tmp_path):
    episodes = {e.episode_id: e for e in (make_episode(i, 24) for i in range(4))}
    path = answered(tmp_path, Answer(two(0, 1), 'left'), Answer(two(2, 3), 'right'))
    builder = LabelledPairs(policy.spec, path, episodes.get, ROBOT.action_dt)
    readers = {name: lambda name=name: episodes[name] for name in episodes}
    pairs = collect(builder, readers, tmp_path / 'pairs')
    direct = builder.build(episodes.values())
    assert pairs.digest() == direct.digest()
    assert len(pairs) == len(direct) == 4
    assert PairStore(tmp_path / 'pairs').read().apart.all()
    training, held = pairs.split(0.25, 0)
    assert {e for e in training.episode} & {e for e in held.episode} == set()
    mixed = Pairs.concatenate([make_pairs(2, 2), direct])
    again = mixed.select(np.arange(len(mixed))[::-1])
    assert sorted(mixed.keys()) == sorted(again.keys())
    assert mixed.apart.tolist() == again.apart.tolist()[::-1]


def test_losers_are_judged_at_their_own_observation(policy, tmp_path):
    episodes = {e.episode_id: e for e in (make_episode(0, 24), make_episode(1, 24))}
    path = answered(tmp_path, Answer(two(), 'right'))
    pairs = LabelledPairs(policy.spec, path, episodes.get, ROBOT.action_dt).build(episodes.values())
    algorithm = FlowDpo(policy, dataclasses.replace(QUIET, beta=50.0), seed=0)
    assert algorithm.measure(pairs)['margin'] == pytest.approx(0.0, abs=1e-4), 'at first as the reference'
    other = dataclasses.replace(pairs, images={n: s.copy() for n, s in pairs.images.items()})
    losers = pairs.loser_observation
    for stack in other.images.values():
        stack[losers] = 255 - stack[losers]
    with torch.no_grad():
        for parameter in algorithm.averaged.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    one, two_ = (algorithm.measure(p, seed=3) for p in (pairs, other))
    assert one['winner_gain'] == pytest.approx(two_['winner_gain'], abs=1e-6)
    assert abs(one['loser_gain'] - two_['loser_gain']) > 1e-6, "the loser's pictures matter"


def test_dpo_learns_what_people_prefer(tmp_path):
    episodes = {e.episode_id: e for e in (make_episode(i, 24) for i in range(6))}
    answers = [Answer(two(a, b), 'left') for a, b in ((0, 1), (2, 3), (4, 5))]
    policy = make_policy()
    builder = LabelledPairs(policy.spec, answered(tmp_path, *answers), episodes.get, ROBOT.action_dt)
    pairs = builder.build(episodes.values())
    algorithm = FlowDpo(policy, dataclasses.replace(QUIET, beta=50.0, batch=6), seed=0)
    rng = np.random.default_rng(0)
    for _ in range(30):
        algorithm.step(pairs.select(rng.integers(0, len(pairs), 6)))
    assert algorithm.measure(pairs)['accuracy'] > 0.9


# a reward


def test_answers_become_comparisons():
    answers = [
        Answer(two(0, 1), 'left'), Answer(two(1, 2), 'cannot tell'), Answer(two(1, 0), 'equal'),
    ]  # fmt: skip
    stretches, comparisons = comparisons_of(answers)
    assert len(stretches) == 2
    assert [(c.left, c.right, c.answer) for c in comparisons] == [(0, 1, 'left'), (1, 0, 'equal')]


def test_a_reward_learned_from_answers_foretells_others(clip):
    episodes = {e.episode_id: e for e in map(bright, range(24))}
    found, rng = features(clip), np.random.default_rng(0)
    answers = []
    for _ in range(40):
        a, b = (int(n) for n in rng.choice(24, 2, replace=False))
        pair = StretchPair(
            'pick', Stretch(f'episode-{a:04d}', 0.4, 2.4), Stretch(f'episode-{b:04d}', 0.0, 2.0)
        )
        gap = value(pair.left, episodes) - value(pair.right, episodes)
        answers.append(Answer(pair, 'equal' if abs(gap) < 12 else 'left' if gap > 0 else 'right'))
    kept = collect_features(found, answers, episodes.get)
    assert len(kept) == 40
    ensemble, report = fit_answers(found, kept)
    assert report['accuracy'] > 0.7
    assert report['answers'] == 40
    assert tie_of(ensemble, kept) > 0
    dark, light = Stretch('episode-0001', 0.0, 2.0), Stretch('episode-0007', 0.4, 2.4)
    found.add(episodes['episode-0001'], [dark])
    found.add(episodes['episode-0007'], [light])
    rewards = ensemble.rewards(found.of([dark, light])).mean(0)
    assert rewards[1] > rewards[0]
    gone = collect_features(features(clip), answers, lambda name: None)
    assert gone == []
    with pytest.raises(PairError, match='left or right'):
        fit_answers(found, [Answer(two(), 'cannot tell')])


def test_one_bad_answer_and_one_damaged_episode_cost_no_other(clip, caplog):
    episodes = {e.episode_id: e for e in map(bright, range(4))}

    def read(name):
        if name == 'episode-0003':
            raise EpisodeFileError('episode-0003.mcap is cut off')
        return episodes.get(name)

    good = [Answer(two(0, 1), 'left'), Answer(two(1, 2), 'equal')]
    bad = [Answer(two(0, 2, end=9.0), 'left'), Answer(two(0, 3), 'right'), Answer(two(1, 8), 'left')]
    kept = collect_features(features(clip), [bad[0], good[0], bad[1], good[1], bad[2]], read)
    assert kept == good
    assert '3 of 5 answers' in caplog.text
    for text in ('has 2.4 s, no stretch', 'cut off', 'episode-0008 is not there'):
        assert text in caplog.text


# the desk


def desk(tmp_path, clip, count=16, **changes):
    made = Desk(
        AnswerFile(tmp_path / 'preferences.jsonl'), ROBOT.action_dt, features(clip),
        SelectionConfig(seconds=1.0), DeskConfig(**{'ahead': 3, 'first_fit': 4, 'refit_every': 4, **changes}),
    )  # fmt: skip
    episodes = {e.episode_id: e for e in map(bright, range(count))}
    episodes['episode-0000'] = dataclasses.replace(episodes['episode-0000'], eval_only=True)
    made.look({name: lambda name=name: episodes[name] for name in episodes})
    made.prepare()
    return made, episodes


def test_the_desk_asks_learns_and_goes_on(clip, tmp_path):
    made, episodes = desk(tmp_path, clip, repeat_every=7)
    assert made.progress()['episodes'] == 15, 'evaluations are not shown'
    seen, repeats = set(), 0
    for _ in range(24):
        made.prepare()
        pair, again = made.next('anna')
        assert 'episode-0000' not in (pair.left.episode, pair.right.episode)
        assert again == (pair.pair_id in seen)
        repeats += again
        seen.add(pair.pair_id)
        left = value(pair.left, episodes) >= value(pair.right, episodes)
        made.answer(Answer(pair, 'left' if left else 'right', 'anna', repeat=again))
    assert made.report['answers'] >= 15
    progress = made.progress('anna')
    assert (progress['answered'], progress['repeats']) == (24 - repeats, repeats)
    assert repeats > 0
    assert progress['agreed'] == repeats
    informed, _ = made.next()
    assert informed.information > 0

    again, _ = desk(tmp_path, clip)
    assert again.progress()['answered'] == 24 - repeats
    assert again.next()[0].pair_id not in seen, 'answered pairs do not come again after a restart'
    taken = again.undo('anna')
    assert taken.pair_id in seen
    assert again.progress()['answered'] == 24 - repeats - 1 or again.progress()['repeats'] == repeats - 1


def test_the_desk_goes_on_after_a_bad_answer_and_a_damaged_episode(clip, tmp_path):
    for number, pair in enumerate((two(1, 2, end=9.0), two(1, 2))):
        AnswerFile(tmp_path / 'preferences.jsonl').add(Answer(pair, 'left', 'anna', time=1.0 + number))
    made, _ = desk(tmp_path, clip, 6, first_fit=2, repeat_every=0)

    def damaged():
        raise EpisodeFileError('damaged since')

    made.look({'episode-0002': damaged})  # it was whole when it was looked at
    made.prepare()
    for _ in range(6):
        pair, _ = made.next('anna')
        made.answer(Answer(pair, 'left', 'anna'))
        made.prepare()
    assert made.report['answers'] >= 4


def test_a_damaged_episode_is_left_out(clip, tmp_path, caplog):
    made, _ = desk(tmp_path, clip, 4)

    def damaged():
        raise EpisodeFileError('broken')

    assert made.look({'bad': damaged}) == 1
    assert 'broken' in caplog.text
    assert made.look({'bad': damaged}) == 0, 'it is not read again'
