# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Which pairs people are asked about: informative, diverse, never twice, the same for a seed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from apprentice.episodes.answers import Answer
from apprentice.learning.preference.selection import (
    Recorded,
    SelectionConfig,
    answer_probabilities,
    choose,
    cut,
    disagreement,
    information_gain,
    to_repeat,
)
from apprentice.reward_models.preferences.comparisons import answer_log_probs
from apprentice.robot.settings import SettingsError
from apprentice.robot.types import Outcome

S, F = Outcome.SUCCESS, Outcome.FAILURE


def recorded(count=12, duration=6.0, tasks=('pick',)):
    return [Recorded(f'e{i:02d}', tasks[i % len(tasks)], S if i % 3 else F, duration) for i in range(count)]


def test_stretches_are_whole_and_reach_the_end():
    config = SelectionConfig(seconds=2.0)
    found = [item.stretch for item in cut([Recorded('a', 'pick', S, 5.0)], config)]
    assert [(s.begin, s.end) for s in found] == [(1.0, 3.0), (3.0, 5.0)]
    assert len(cut([Recorded('a', 'pick', S, 1.9), Recorded('b', 'pick', Outcome.ABORT, 9.0)], config)) == 0
    assert len(cut([Recorded('a', 'pick', S, 2.0)], config)) == 1
    assert [item.place for item in cut([Recorded('a', 'pick', S, 4.0)], config)] == [0, 1]


@pytest.mark.parametrize('tie', [0.0, 0.7])
def test_probabilities_are_those_of_the_fit(tie):
    rewards = np.random.default_rng(0).normal(0, 2, (4, 6))
    pairs = np.array([[0, 1], [2, 5], [4, 3]])
    gap = torch.from_numpy(rewards[:, pairs[:, 0]] - rewards[:, pairs[:, 1]])
    expected = answer_log_probs(gap, tie, 0.05).exp().numpy()
    np.testing.assert_allclose(answer_probabilities(rewards, pairs, tie, 0.05), expected, atol=1e-6)


def test_information_is_what_an_answer_tells():
    # two members: sure and opposed, sure and agreed, undecided both
    rewards = np.array([[9.0, -9.0, 9.0, -9.0, 0.0, 0.0], [-9.0, 9.0, 9.0, -9.0, 0.0, 0.0]])
    pairs = np.array([[0, 1], [2, 3], [4, 5]])
    np.testing.assert_allclose(information_gain(rewards, pairs), [1.0, 0.0, 0.0], atol=1e-5)
    np.testing.assert_allclose(disagreement(rewards, pairs), [0.5, 0.0, 0.0], atol=1e-5)
    # answers given at random tell less
    assert information_gain(rewards, pairs, noise=0.3)[0] < 0.6
    # who would say equal anyway tells nothing, even where members point to different sides
    weak = np.array([[0.4, -0.4], [-0.4, 0.4]])
    assert information_gain(weak, np.array([[0, 1]]), tie=4.0)[0] < 0.5 * information_gain(weak, pairs[:1])[0]


def test_the_most_informative_pair_comes_first():
    candidates = cut(recorded(8), SelectionConfig())
    rewards = np.zeros((3, len(candidates)))
    odd = [0, len(candidates) - 1]  # of different episodes
    rewards[:, odd] = [[5, -5], [-5, 5], [5, -5]]
    pair = choose(candidates, 1, rewards=rewards)[0]
    assert {pair.left.episode, pair.right.episode} == {candidates[i].stretch.episode for i in odd}
    assert pair.information > 0.3


@pytest.mark.parametrize('rule', ['information', 'disagreement', 'random'])
def test_pairs_are_comparable_diverse_and_new(rule):
    config = SelectionConfig(rule=rule, seed=3)
    candidates = cut(recorded(24, tasks=('pick', 'push')), config)
    rewards = np.random.default_rng(1).normal(0, 1, (4, len(candidates)))
    tasks = {item.recorded.episode: item.recorded.instruction for item in candidates}
    known: set[str] = set()
    for _ in range(5):
        chosen = choose(candidates, 8, config, rewards, known=known)
        assert chosen == choose(candidates, 8, config, rewards, known=known), 'the same for a seed'
        assert len(chosen) == 8
        for pair in chosen:
            assert pair.left.episode != pair.right.episode
            assert tasks[pair.left.episode] == tasks[pair.right.episode] == pair.instruction
            assert pair.pair_id not in known
            known.add(pair.pair_id)
    assert len(known) == 40


def test_episodes_are_spread():
    config = SelectionConfig()
    candidates = cut(recorded(20), config)
    rewards = np.zeros((2, len(candidates)))
    favourite = candidates[0].stretch.episode
    rewards[0] = [3.0 if item.stretch.episode == favourite else 0.0 for item in candidates]
    rewards[1] = -rewards[0]  # every pair with the favourite tells most

    def times(reuse):
        chosen = choose(candidates, 10, SelectionConfig(reuse=reuse), rewards)
        return sum(favourite in (pair.left.episode, pair.right.episode) for pair in chosen)

    assert times(1.0) == 10
    assert times(0.05) < 10
    asked = choose(candidates, 6, SelectionConfig(reuse=1.0), rewards)
    later = choose(candidates, 1, SelectionConfig(reuse=1e-6), rewards, asked=asked)[0]
    assert favourite not in (later.left.episode, later.right.episode), 'asked lately counts, too'


def test_before_there_is_a_model_strata_come_in_turn():
    candidates = cut(recorded(30, 4.0), SelectionConfig())
    chosen = choose(candidates, 10, SelectionConfig(seed=5))
    outcome = {item.recorded.episode: item.recorded.outcome for item in candidates}
    place = {item.stretch.key(): item.place for item in candidates}
    strata = Counter(
        tuple(sorted((int(outcome[s.episode]), place[s.key()]) for s in (pair.left, pair.right)))
        for pair in chosen
    )
    assert len(strata) == 10, 'ten kinds of pairs: outcome and half of one by those of the other'
    assert choose(candidates, 10, SelectionConfig(seed=6)) != chosen


def test_few_candidates_run_out():
    candidates = cut(recorded(3, 2.0), SelectionConfig())
    chosen = choose(candidates, 10)
    assert len(chosen) == 3
    known = {pair.pair_id for pair in chosen}
    assert choose(candidates, 10, known=known) == []
    assert choose(candidates[:1], 3) == []


def test_repeats_are_old_decided_and_turned():
    candidates = cut(recorded(30), SelectionConfig())
    pairs = choose(candidates, 24)
    history = [Answer(pairs[0], 'equal', 'anna'), *(Answer(pair, 'left', 'anna') for pair in pairs[1:20])]
    again = to_repeat(history, 10, 'anna')
    assert again == pairs[1].swapped()
    assert to_repeat(history, 10, 'bo') is None
    assert to_repeat(history[:15], 10, 'anna') is None
    assert to_repeat(history, 0, 'anna') is None
    history = [*history, *(Answer(pair, 'left', 'anna', repeat=pair == pairs[1]) for pair in pairs[1:11])]
    assert to_repeat(history, 10, 'anna') == pairs[2].swapped()


@pytest.mark.parametrize('wrong', [{'rule': 'best'}, {'seconds': 0.0}, {'reuse': 0.0}, {'noise': 1.0}])
def test_wrong_settings_are_named(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        SelectionConfig(**wrong)
