# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Pairs in memory and on disk: checked, without doubles, verified, resumed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from clone_rig import make_episode
from preference_rig import HORIZON, make_pairs

from apprentice.learning.preference.pairs import PairDraft, PairError, Pairs
from apprentice.learning.preference.store import SETTINGS, PairStore, collect


class Constant:
    """A builder: two pairs of each episode; counts what it was asked."""

    def __init__(self, margin=1.0):
        self.margin, self.asked = margin, []

    def settings(self):
        return {'margin': self.margin}

    def build(self, episodes):
        parts = [Pairs.empty(HORIZON, 7)]
        for episode in episodes:
            self.asked.append(episode.episode_id)
            draft = PairDraft(episode, HORIZON)
            for step in (0, 1):
                chunk = episode.action[step : step + HORIZON]
                draft.add(step, chunk, chunk + 0.1, np.ones(HORIZON, bool), self.margin, 'test')
            parts.append(draft.pairs())
        return Pairs.concatenate(parts)


def readers(count=3):
    return {f'episode-{n:04d}': (lambda n=n: make_episode(n)) for n in range(count)}


def same(a: Pairs, b: Pairs) -> bool:
    return a.digest() == b.digest() and a.source == b.source and a.episode == b.episode


def test_a_store_gives_back_what_was_put_in(tmp_path):
    pairs = make_pairs()
    store = PairStore(tmp_path / 'pairs', {'a': 1})
    store.add('one', pairs)
    found = PairStore(tmp_path / 'pairs').read()
    assert same(found, pairs)
    np.testing.assert_array_equal(found.images['front'], pairs.images['front'])
    np.testing.assert_array_equal(found.winner, pairs.winner)
    # every observation is kept once
    assert len(found.state) == len(found) == 12


def test_doubles_count_once_whoever_judged_and_opposites_stay(tmp_path):
    pairs = make_pairs()
    store = PairStore(tmp_path / 'pairs', {})
    store.add('one', pairs)
    store.add('two', replace(pairs, source=['somebody else'] * len(pairs)))
    assert len(store.read()) == len(pairs)
    store.add('two', replace(pairs, winner=pairs.loser, loser=pairs.winner))
    assert len(store.read()) == 2 * len(pairs)


def test_building_goes_on_where_it_was_killed(tmp_path):
    whole = collect(Constant(), readers(), tmp_path / 'whole')

    def killed(missing):
        yield missing[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect(Constant(), readers(), tmp_path / 'pairs', killed)
    builder = Constant()
    assert same(collect(builder, readers(), tmp_path / 'pairs'), whole)
    assert builder.asked == ['episode-0001', 'episode-0002']
    assert not list((tmp_path / 'pairs').glob('*.tmp'))


def test_pairs_made_otherwise_are_not_mixed(tmp_path):
    collect(Constant(), readers(), tmp_path / 'pairs')
    with pytest.raises(PairError, match='margin'):
        collect(Constant(2.0), readers(), tmp_path / 'pairs')


@pytest.mark.parametrize('where', [0.1, 0.5, 0.99])
def test_a_damaged_file_is_named(tmp_path, where):
    folder = tmp_path / 'pairs'
    collect(Constant(), readers(), folder)
    path = sorted(folder.glob('*.safetensors'))[1]
    data = bytearray(path.read_bytes())
    data[int(where * len(data))] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(PairError, match=path.name):
        PairStore(folder).read()


def test_none_and_damaged_settings_say_what_to_do(tmp_path):
    with pytest.raises(PairError, match='build some'):
        PairStore(tmp_path / 'nothing')
    store = PairStore(tmp_path / 'empty', {})
    store.add('a', Pairs.empty(HORIZON, 7))
    assert 'a' in store
    with pytest.raises(PairError, match='none of the 1 episodes'):
        store.read()
    (tmp_path / 'empty' / SETTINGS).write_text('{')
    with pytest.raises(PairError, match='damaged'):
        PairStore(tmp_path / 'empty')


def test_names_of_files_do_not_meet(tmp_path):
    store = PairStore(tmp_path / 'pairs', {})
    store.add('a/b', make_pairs(1))
    assert 'a/b' in store
    assert 'a_b' not in store


@pytest.mark.parametrize(
    'change',
    [
        {'winner': np.full((12, HORIZON, 7), np.nan, np.float32)},
        {'margin': np.zeros(3, np.float32)},
        {'observation': np.full(12, 99)},
        {'valid': np.zeros((12, HORIZON), bool)},
        {'loser': np.zeros((12, HORIZON - 1, 7), np.float32)},
    ],
)
def test_pairs_that_do_not_fit_are_refused(change):
    with pytest.raises(PairError):
        replace(make_pairs(), **change).check()


def test_a_split_is_by_episodes_and_leaves_some():
    training, held = make_pairs().split(0.25, 0)
    assert len(set(held.episode)) == 1
    assert not set(training.episode) & set(held.episode)
    assert len(training) + len(held) == 12
    with pytest.raises(PairError, match='validation=0'):
        make_pairs(1).split(0.5, 0)


def test_selected_pairs_keep_their_observation():
    pairs = make_pairs()
    found = pairs.select([7, 2, 7])
    for i, row in enumerate((7, 2, 7)):
        a, b = found.observation[i], pairs.observation[row]
        np.testing.assert_array_equal(found.images['wrist'][a], pairs.images['wrist'][b])
        assert found.episode[a] == pairs.episode[b]
    assert len(found.state) == 2
