# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Features that are kept, and the buffer of chunk transitions: once, revised once, quarantined."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from chunk_rig import episode, measured
from small_policy import CONFIG as POLICY
from small_policy import small_policy

from apprentice.learning.rl import features
from apprentice.learning.rl.base import make
from apprentice.learning.rl.buffer import ChunkBuffer
from apprentice.learning.rl.features import FeatureConfig, FrozenEncoder
from apprentice.learning.rl.table import Table
from apprentice.learning.rl.windows import WindowConfig
from apprentice.policies import flow
from apprentice.policies.policy import inputs_of
from apprentice.robot.types import Observation, Outcome

WINDOWS = WindowConfig(rows=3, stride=1, discount=0.9, toggle_penalty=0.0)


def encoder(**changes) -> FrozenEncoder:
    return FrozenEncoder(small_policy(), FeatureConfig(rows=3, candidates=2, **changes))


def buffer(**options) -> ChunkBuffer:
    return ChunkBuffer(encoder(), WINDOWS, **options)


def everything(held: ChunkBuffer):
    return held.batch(torch.arange(len(held)))


def test_a_transition_is_what_was_recorded():
    made = episode('pppphh', progress=[0.0, 0.1, 0.3, 0.5])
    held = buffer()
    added = held.add(made)
    assert (added.transitions, added.human, added.quarantined) == (6, 3, 0)
    batch = everything(held)
    batch.check(held.sizes)
    units = small_policy()
    expected = units.normalize_actions(
        torch.from_numpy(made.action[1:4])[None], torch.from_numpy(made.state[1:2])
    )
    assert torch.allclose(batch.action[1], expected[0], atol=1e-6)
    assert torch.equal(batch.action[4, 2], batch.action[4, 1])  # only two rows are left
    assert batch.valid[4].tolist() == [True, True, False]
    assert batch.discount.tolist() == pytest.approx([0.729] * 3 + [0] * 3)
    # the feature ends with state, potential and the share of 10 s that is over
    state = (made.state[2] - units.spec.state.mean) / units.spec.state.std
    assert batch.feature[2, -5:-2].tolist() == pytest.approx(state.tolist(), abs=1e-5)
    assert batch.feature[2, -2:].tolist() == pytest.approx([0.3, 0.02], abs=1e-6)
    assert torch.equal(batch.next_feature[0], batch.feature[3])
    assert torch.equal(batch.next_candidates[0], batch.candidates[3])
    assert not torch.equal(batch.candidates[0], batch.candidates[1])


def test_candidates_are_what_the_policy_plans_from_their_noise():
    held, policy, made = buffer(), small_policy(), episode('pppp')
    held.add(made)
    batch = everything(held)
    moments = encoder().moments(made, np.array([1]))
    drawn = torch.cat([moments.noise.float(), torch.zeros(1, 2, 3, 3)], 2)  # rows beyond C were not kept
    assert torch.allclose(batch.noise[1], drawn[0, :, :3])
    images = {name: stack[1] for name, stack in made.images.items()}
    seen = inputs_of([Observation(5.1, images, made.state[1], made.task)], policy.spec)
    whole = encoder()._noise('e', 1)[None]
    _, _, chunks, _ = encoder().encode(seen, noise=whole)
    assert torch.allclose(batch.candidates[1], chunks[0].half().float(), atol=2e-3)
    raw = policy.denormalize_actions(chunks[0], seen.state.expand(2, -1))
    with torch.no_grad():
        prefix = policy.encode(seen).repeat(2)
        planned = flow.integrate(policy.expert, prefix, whole[0], POLICY.denoise_steps)
    assert torch.allclose(
        raw, policy.denormalize_actions(planned, seen.state.expand(2, -1))[:, :3], atol=1e-5
    )


def test_adding_twice_changes_nothing():
    held, made = buffer(), episode('pppp')
    held.add(made)
    before = everything(held)
    assert held.add(made).known
    assert len(held) == 4
    assert torch.equal(everything(held).reward, before.reward)
    assert not held.add(made, session='another').known
    assert len(held) == 8
    assert held.episodes == 2


def test_it_draws_the_same_whether_demonstrations_come_before_or_after_the_episodes():
    """A learner that was restored reads the episodes first."""
    shown, own = episode('hhhh', name='shown'), episode('pphh', name='own', seed=1)
    one, other = buffer(), buffer()
    one.add(shown, demonstration=True)
    one.add(own)
    other.add(own)
    other.add(shown, demonstration=True)
    drawn = [held.sample(200, torch.Generator().manual_seed(3)) for held in (one, other)]
    assert torch.equal(drawn[0].feature, drawn[1].feature)
    assert torch.equal(drawn[0].action, drawn[1].action)
    assert len(drawn[0].action.unique(dim=0)) == 8


def test_late_rewards_revise_once():
    held, made = buffer(), episode('pppp', Outcome.FAILURE, cause=3)
    held.add(made)
    assert not held.revise(made)
    later = dataclasses.replace(made, rewards=measured(made.stamps, [0.0, 0.2, 0.4, 0.6]))
    assert held.revise(later)
    assert everything(held).reward[0] == pytest.approx(0.5 * 0.729 * 0.6)
    assert everything(held).feature[1, -2] == pytest.approx(0.2)
    assert not held.revise(later)
    assert held.revised == 1
    with pytest.raises(KeyError, match='never added'):
        held.revise(dataclasses.replace(made, episode_id='unknown'))


def test_a_late_success_of_a_time_out_is_earned():
    held, made = buffer(), episode('pppp', Outcome.FAILURE, cause=3)
    held.add(made)
    assert held.revise(dataclasses.replace(made, outcome=Outcome.SUCCESS))
    _, batch = held.of('e')
    assert batch.reward.tolist() == pytest.approx([0, 0.81, 0.9, 1])


def test_mixing_measured_and_other_episodes_is_said_once(caplog):
    held = buffer()
    held.add(episode('pppp', name='shown'), demonstration=True)
    assert not caplog.records
    for number in range(3):
        held.add(episode('pppp', progress=[0.1, 0.2, 0.3, 0.4], name=f'e{number}'))
    (record,) = caplog.records
    assert 'e0: measured' in record.getMessage()
    assert 'windows.scale' in record.getMessage()


def test_a_late_label_changes_how_it_ends():
    """An unjudged episode turns out to be a success: its last step now has a value of its own."""
    held, made = buffer(), episode('pppp', Outcome.UNKNOWN)
    held.add(made)
    assert len(held) == 3
    assert held.revise(dataclasses.replace(made, outcome=Outcome.SUCCESS))
    assert len(held) == 4
    start, batch = held.of('e')
    assert start.tolist() == [0, 1, 2, 3]
    assert batch.reward.tolist() == pytest.approx([0, 0.81, 0.9, 1])
    drawn = held.sample(200, torch.Generator().manual_seed(0))
    assert set(drawn.discount.tolist()) == {0.0, float(np.float32(0.729))}  # the old ones are never drawn


def test_half_of_a_batch_is_from_people():
    held = buffer()
    with pytest.raises(ValueError, match='buffer is empty'):
        held.sample(4)
    held.add(episode('h' * 5, name='shown', seed=1), demonstration=True)
    assert held.sample(8, torch.Generator().manual_seed(0)).human.all()
    held.add(episode('p' * 20 + 'h' * 6, name='helped', seed=2))
    batch = held.sample(400, torch.Generator().manual_seed(0))
    assert batch.human[:200].all()
    # people drove a quarter of what was recorded since
    assert 0.12 < float(batch.human[200:].float().mean()) < 0.38
    assert held.episodes == 1
    assert held.human_transitions == 5 + 6 + 1


def test_numbers_that_are_none_are_quarantined():
    held, made = buffer(), episode('p' * 30)
    made.action[10, 1] = np.nan
    made.state[20, 0] = np.inf
    made.action[25, 2] = 1e4
    added = held.add(made)
    # 3 windows hold each bad action; the bad state is where one begins and one ends
    assert added.quarantined == held.quarantined == 8
    assert len(held) == 22
    assert '3 of 30 steps' in held.alarm
    batch = everything(held)
    assert all(torch.isfinite(getattr(batch, name)).all() for name in ('feature', 'action', 'reward'))
    assert held.add(made).known
    fine = buffer()
    fine.add(episode('pppp'))
    assert fine.alarm == ''
    lost = episode('pppp', name='lost')
    lost.state[:] = np.nan
    assert fine.add(lost).quarantined == 4
    assert not fine.revise(lost)


def test_one_bad_row_in_a_hundred_is_no_alarm_and_counts_once():
    """It spoils 3 of the 100 windows: the share is that of the rows."""
    held, made = buffer(), episode('p' * 100, Outcome.UNKNOWN)
    made.action[50, 1] = np.nan
    assert held.add(made).quarantined == 3
    assert held.alarm == ''
    assert held.revise(dataclasses.replace(made, outcome=Outcome.SUCCESS))  # taken out, and added again
    assert held.quarantined == 3


def test_what_must_not_be_learned_from_is_refused():
    with pytest.raises(ValueError, match='held-out'):
        buffer().add(episode('pp', eval_only=True))
    with pytest.raises(ValueError, match='recorded on'):
        buffer().add(episode('pp', robot='another'))
    with pytest.raises(ValueError, match='give both the same number'):
        ChunkBuffer(encoder(), WindowConfig(rows=4))


@pytest.mark.parametrize('kind', ['pooled', 'tokens'])
def test_fitted_features_vary_about_one(kind):
    fitted = encoder(kind=kind, components=4)
    if kind == 'tokens':
        with pytest.raises(ValueError, match='need fit'):
            fitted.moments(episode('pp'), np.array([0]))
        with pytest.raises(ValueError, match='at least 4'):
            fitted.fit([episode('pp')])
    episodes = [episode('p' * 30, seed=seed, name=str(seed)) for seed in range(2)]
    fitted.fit(episodes, stride=1)
    seen = fitted.moments(episodes[0], np.arange(30)).feature.float()
    assert seen.shape[1] + 3 + 2 == fitted.size
    assert 0.3 < float(seen.std(0).mean()) < 1.5
    assert float(seen.mean().abs()) < 0.5
    again = encoder(kind=kind, components=4)
    again.load_state_dict(fitted.state_dict())
    assert torch.equal(again.moments(episodes[0], np.arange(30)).feature.float(), seen)


def test_features_of_large_pictures_are_fitted_to_fewer_observations(monkeypatch):
    """So that the decomposition has room in the memory."""
    made = episode('p' * 30)
    one, short = encoder(kind='tokens', components=4), encoder(kind='tokens', components=4)
    one.fit([made], stride=1)
    numbers = len(one.state_dict()['mean'])
    monkeypatch.setattr(features, '_FITTED_TO', 12 * numbers)
    one.fit([made], stride=1)
    short.fit([made], stride=1, most=12)
    assert torch.equal(one.state_dict()['mean'], short.state_dict()['mean'])
    monkeypatch.setattr(features, '_FITTED_TO', 1)
    one.fit([made], stride=1)  # as many as there are components, at least
    assert one.state_dict()['basis'].shape == (numbers, 4)


def test_another_planner_plans_other_candidates_from_the_same_features():
    one, made = encoder(), episode('pppp')
    held = ChunkBuffer(one, WINDOWS)
    held.add(made)
    before = everything(held)
    learned = small_policy()
    with torch.no_grad():
        for parameter in learned.expert.parameters():
            parameter.mul_(1.05)
    one.plan_with(learned)
    held.replan(made)
    after = everything(held)
    assert torch.equal(before.feature, after.feature)
    assert not torch.allclose(before.candidates, after.candidates)
    assert torch.equal(before.noise, after.noise)


@pytest.mark.parametrize(
    'part', ['flow_edit:FlowEdit', 'q_chunking:QChunking', 'rlpd_sac:RlpdSac', 'dsrl:Dsrl']
)
def test_every_algorithm_learns_from_the_buffer(part):
    held = buffer()
    held.add(episode('ppphhh', progress=[0, 0.2, 0.4]))
    settings = {'critic': {'members': 2, 'hidden': [16]}}
    algorithm = make(f'apprentice.learning.rl.{part}', held.sizes, settings)
    metrics = algorithm.update(held.sample(8, torch.Generator().manual_seed(0)))
    assert metrics['skipped'] == 0
    assert all(np.isfinite(value) for value in metrics.values())


def test_a_table_grows_and_keeps_its_columns():
    table = Table()
    for i in range(5):
        where = table.append(a=torch.full((700, 2), float(i)), b=torch.arange(700))
        assert where == slice(700 * i, 700 * (i + 1))
    assert len(table) == 3500
    assert table['a'][[0, 699, 700, 3499], 0].tolist() == [0, 0, 1, 4]
    table.put(slice(0, 2), b=torch.tensor([-1, -2]))
    assert table.rows(torch.tensor([1, 3000]))['b'].tolist() == [-2, 200]
    with pytest.raises(ValueError, match='do not fit'):
        table.append(a=torch.zeros(1, 2))
    with pytest.raises(ValueError, match='a row'):
        table.append(a=torch.zeros(1, 3), b=torch.zeros(1))
