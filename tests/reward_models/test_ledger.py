# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Raw scores are kept, later ones count, and nothing is lost by a crash."""

import dataclasses
import json
import math

import numpy as np
import pytest

from apprentice.reward_models.base import Needs, RewardModelError, Score
from apprentice.reward_models.ledger import Ledger
from apprentice.reward_models.revisions import effective
from apprentice.robot.types import Episode, Outcome, Reward, RewardKind

START = 1.7e9


class Brightness:
    """A real, tiny reward model: mean brightness of the newest frame, times a gain that is its version."""

    kind = RewardKind.ABS_PROGRESS
    needs = Needs(cameras=('front',))

    def __init__(self, gain, model='brightness'):
        self.gain, self.model, self.version = gain, model, f'gain{gain}'

    def encode(self, frames):
        return np.asarray(frames, np.float32).mean(axis=(-3, -2, -1))[..., None] / 255.0

    def negatives(self, text):
        return []

    def score(self, request):
        value = np.clip(self.gain * request.emb[:, -1, :, 0].mean(axis=1), 0, 1).astype(np.float32)
        nan = np.full(len(value), np.nan, np.float32)
        return Score(self.kind, value, nan, value, nan, np.isfinite(value), self.model, self.version)


def episode(name='e1', length=6, rewards=()):
    stamps = START + 0.1 * np.arange(length)
    images = (np.arange(length)[:, None, None, None] * 40 * np.ones((1, 4, 4, 3))).astype(np.uint8)
    return Episode(
        episode_id=name, task='lift', seed=0, outcome=Outcome.SUCCESS, end_cause=2, eval_only=False,
        stamps=stamps, images={'front': images, 'wrist': images}, state=np.zeros((length, 2)),
        action=np.zeros((length, 2)), source=np.ones(length, np.uint8),
        takeover_id=np.zeros(length, np.int64), rewards=list(rewards),
    )  # fmt: skip


def measured(model='critic', version='v1', stamps=(0.0, 0.2, 0.4), **more):
    return [
        Reward(START + s, START + s, RewardKind.ABS_PROGRESS, s, model=model, version=version, **more)
        for s in stamps
    ]


def test_scores_survive_writing_with_every_field(tmp_path):
    rewards = [
        Reward(START, START + 1, RewardKind.PROGRESS_DELTA, -0.25, 0.5, 0.75, False, 'critic', 'abc', 'front',
               0.125, -0.5, True, 'why', 2.5, 3),
        Reward(START + 2, START + 2, RewardKind.LOG_PROB, -7.5, model='top'),
    ]  # fmt: skip
    ledger = Ledger(tmp_path / 'deep' / 'rewards.jsonl')
    assert ledger.add(episode(rewards=rewards)) == 2
    again = Ledger(ledger.path).raw('e1')
    for a, b in zip(again, rewards, strict=True):
        for field in dataclasses.fields(Reward):
            one, other = getattr(a, field.name), getattr(b, field.name)
            assert one == other or (math.isnan(one) and math.isnan(other)), field.name
    assert again[1].kind is RewardKind.LOG_PROB


def test_the_same_episode_twice_changes_nothing(tmp_path):
    ledger = Ledger(tmp_path / 'rewards.jsonl')
    assert ledger.add(episode(rewards=measured())) == 3
    size = ledger.path.stat().st_size
    assert ledger.add(episode(rewards=measured())) == 0
    assert ledger.path.stat().st_size == size
    assert ledger.episodes == ['e1']


def test_of_equal_model_and_moment_the_highest_revision_counts():
    old, new = measured(), measured(version='v2', revision=1)
    new[1].t1 += 1e-7  # float64 at today's epoch
    other = measured(model='clip')
    found = effective([*new[:2], *old, *other])
    assert [(r.model, r.version) for r in found] == [
        ('critic', 'v2'), ('clip', 'v1'), ('critic', 'v2'), ('clip', 'v1'), ('critic', 'v1'), ('clip', 'v1'),
    ]  # fmt: skip


def test_a_new_version_scores_again_and_the_old_scores_stay(tmp_path):
    ledger = Ledger(tmp_path / 'rewards.jsonl')
    first = Brightness(0.5)
    item = episode(rewards=measured(model='brightness', version=first.version))
    assert ledger.rescore(item, first) == 0  # the log has this version's scores
    better = Brightness(1.0)
    assert ledger.stale('brightness', better.version) == ['e1']
    assert ledger.rescore(item, better) == 3
    assert ledger.rescore(item, better) == 0
    assert ledger.stale('brightness', better.version) == []
    found = ledger.rewards('e1')
    assert [r.version for r in found] == ['gain1.0'] * 3
    assert [r.revision for r in found] == [1] * 3
    assert [round(r.t1 - START, 3) for r in found] == [0.0, 0.2, 0.4]
    np.testing.assert_allclose([r.value for r in found], [0, 80 / 255, 160 / 255], atol=1e-6)
    assert len(ledger.raw('e1')) == 6
    assert ledger.rescore(item, Brightness(0.5)) == 3  # back again: the last word counts
    assert {r.version for r in ledger.rewards('e1')} == {'gain0.5'}
    assert {r.revision for r in ledger.rewards('e1')} == {2}


def test_an_episode_is_relabelled_by_reading(tmp_path):
    ledger = Ledger(tmp_path / 'rewards.jsonl')
    item = episode(rewards=[*measured(model='brightness', version='old'), *measured(model='critic')])
    assert ledger.apply(item) is item
    ledger.rescore(item, Brightness(1.0))
    relabelled = ledger.apply(item)
    counting = effective(relabelled.rewards)
    assert [(r.model, r.version) for r in counting if r.model == 'brightness'] == [
        ('brightness', 'gain1.0')
    ] * 3
    assert sum(r.model == 'critic' for r in counting) == 3
    # the old version is still there for a learner that keeps to it, and nothing is there twice
    assert sum(r.version == 'old' for r in relabelled.rewards) == 3
    assert len(relabelled.rewards) == 9
    assert {r.version for r in item.rewards if r.model == 'brightness'} == {'old'}  # the log is not touched


def test_without_earlier_scores_the_whole_grid_is_scored(tmp_path):
    ledger = Ledger(tmp_path / 'rewards.jsonl')
    assert ledger.rescore(episode(), Brightness(1.0)) == 6
    with pytest.raises(RewardModelError, match="has no images of \\['front'\\]"):
        ledger.rescore(dataclasses.replace(episode('e2'), images={}), Brightness(1.0))


def test_what_a_crash_left_unfinished_is_cut_off(tmp_path):
    ledger = Ledger(tmp_path / 'rewards.jsonl')
    ledger.add(episode(rewards=measured()))
    whole = ledger.path.read_bytes()
    with open(ledger.path, 'ab') as file:
        file.write(whole[: len(whole) // 2][:-1].splitlines()[-1][:30])
    again = Ledger(ledger.path)
    assert len(again.raw('e1')) == 3
    again.add(episode('e2', rewards=measured()))
    assert ledger.path.read_bytes().startswith(whole)
    assert Ledger(ledger.path).episodes == ['e1', 'e2']


def test_half_of_an_episodes_scores_are_none_and_are_made_again(tmp_path):
    ledger = Ledger(tmp_path / 'rewards.jsonl')
    ledger.rescore(episode('e1'), Brightness(1.0))
    first = ledger.path.read_bytes()
    assert ledger.rescore(episode('e2'), Brightness(1.0)) == 6
    lines = ledger.path.read_bytes()[len(first) :].splitlines(keepends=True)
    ledger.path.write_bytes(first + b''.join(lines[:4]))  # whole lines, as a full disk leaves
    again = Ledger(ledger.path)
    assert again.episodes == ['e1']
    assert again.rescore(episode('e2'), Brightness(1.0)) == 6
    assert len(Ledger(ledger.path).raw('e2')) == 6
    assert ledger.path.read_bytes() == first + b''.join(lines)


def test_a_ledger_of_before_is_read(tmp_path):
    ledger = Ledger(tmp_path / 'rewards.jsonl')
    ledger.add(episode(rewards=measured()))
    fields = [json.loads(line) for line in ledger.path.read_text().splitlines()]
    assert [each.pop('more') for each in fields] == [2, 1, 0]
    ledger.path.write_text(''.join(json.dumps(each) + '\n' for each in fields))
    assert len(Ledger(ledger.path).raw('e1')) == 3


def test_a_damaged_line_is_an_error_and_other_writers_are_heard(tmp_path):
    one, two = Ledger(tmp_path / 'rewards.jsonl'), Ledger(tmp_path / 'rewards.jsonl')
    one.add(episode('a', rewards=measured()))
    two.add(episode('b', rewards=measured()))
    assert one.refresh() == {'b'}
    assert one.refresh() == set()
    one.path.write_bytes(one.path.read_bytes().replace(b'ABS_PROGRESS', b'ABS_PROGRES'))
    with pytest.raises(RewardModelError, match='build it again from the episode logs'):
        Ledger(one.path)
