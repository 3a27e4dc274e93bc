# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The dashboard's rules without a graph: who may do what, rates, counters and curves."""

import dataclasses

import pytest
from apprentice_interfaces.msg import ControlState, EpisodeState

from apprentice.nodes import convert
from apprentice.nodes.dashboard_access import Access, Asking
from apprentice.nodes.dashboard_curves import Curves
from apprentice.nodes.dashboard_lease import IDLE_S, SILENT_S, Bucket, Lease
from apprentice.nodes.dashboard_state import Counters, Rate
from apprentice.robot.intervals import wilson
from apprentice.robot.types import Outcome, Reward, RewardKind

START = 100.0
HERE = Asking('127.0.0.1', '127.0.0.1:8765', 'http://127.0.0.1:8765', secure=False, proxied=False)
PHONE = Asking('192.168.1.7', 'robot:8765', 'http://robot:8765', secure=False, proxied=False)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_without_a_token_only_this_machine_controls():
    access = Access(names=frozenset({'robot'}))
    assert access.control_refusal(HERE, '') == ''
    assert access.control_refusal(dataclasses.replace(HERE, host='localhost:8765'), '') == ''
    assert 'robot computer' in access.control_refusal(PHONE, '')
    behind_a_proxy = dataclasses.replace(HERE, proxied=True)
    assert access.control_refusal(behind_a_proxy, ''), 'a proxy on this machine speaks for anybody'


@pytest.mark.parametrize(
    ('asking', 'token', 'word'),
    [
        (HERE, '', 'enter the token'),
        (HERE, 'wrong', 'wrong'),
        (HERE, 'sécret', 'wrong'),
        (HERE, 'secret', ''),
        (PHONE, 'secret', 'https'),
        (dataclasses.replace(PHONE, secure=True), 'secret', ''),
        (dataclasses.replace(PHONE, secure=True), 'wrong', 'wrong'),
        (dataclasses.replace(PHONE, host='localhost:8765'), 'secret', 'https'),  # a script may say so
        (dataclasses.replace(HERE, host='robot', origin='https://robot', proxied=True), 'secret', ''),
    ],
)
def test_with_a_token_control_needs_it_and_a_secure_origin(asking, token, word):
    refusal = Access('secret').control_refusal(asking, token)
    assert (word in refusal) if word else refusal == ''


def test_a_long_token_is_whole_or_refused_at_the_start():
    long = 'é' * 512
    access = Access.of_this_machine(long, [])
    assert access.control_refusal(HERE, long) == ''
    assert 'wrong' in access.control_refusal(HERE, long[:-1])
    with pytest.raises(ValueError, match='1026 bytes; give one of 1024 at most'):
        Access.of_this_machine(long + 'é', [])


@pytest.mark.parametrize(
    ('host', 'origin', 'allowed'),
    [
        ('127.0.0.1:8765', 'http://127.0.0.1:8765', True),
        ('[::1]:8765', 'http://[::1]:8765', True),
        ('10.0.0.4:8765', None, True),
        ('robot:8765', 'http://ROBOT:8765', True),
        ('evil.example', 'http://evil.example', False),
        ('127.0.0.1:8765', 'http://evil.example', False),
        ('127.0.0.1:8765', 'http://127.0.0.1:9999', False),
        ('127.0.0.1:8765', 'null', False),
        ('[', None, False),
        ('', None, False),
    ],
)
def test_who_may_watch(host, origin, allowed):
    asking = dataclasses.replace(HERE, host=host, origin=origin)
    assert (Access(names=frozenset({'robot'})).watch_refusal(asking, websocket=True) == '') == allowed


def test_two_people_never_hold_the_controls():
    clock = Clock()
    lease, pages = Lease(clock), {1, 2, 3}
    assert lease.take(1, 'a', 'Anna', pages.__contains__) == ''
    assert 'Anna has the controls' in lease.take(2, 'b', 'Ben', pages.__contains__)
    assert 'Anna has the controls' in lease.take(3, 'a', 'Anna', pages.__contains__), 'a copied tab'
    lease.give_back(2)
    assert lease.holder.client == 1, 'only who has them can give them back'
    lease.give_back(1)
    assert lease.take(2, 'b', 'Ben', pages.__contains__) == ''


def test_the_controls_are_free_after_silence_and_after_idleness():
    clock = Clock()
    lease = Lease(clock)
    for patience, beats in ((SILENT_S, False), (IDLE_S, True)):
        assert lease.take(1, 'a', 'Anna', {1, 2}.__contains__) == ''
        end = clock.now + patience
        while clock.now < end - 1:
            clock.now += 1.0
            lease.beat(2)  # another page does not keep them
            if beats:
                lease.beat(1)
        assert lease.take(2, 'b', 'Ben', {1, 2}.__contains__), 'taken away from a living person'
        clock.now += 1.5
        assert lease.take(2, 'b', 'Ben', {1, 2}.__contains__) == ''
        lease.give_back(2)


def test_a_reloaded_tab_gets_the_controls_back_and_another_does_not():
    lease = Lease(Clock())
    lease.take(1, 'a', 'Anna', {1}.__contains__)
    assert lease.take(2, 'b', 'Ben', {2}.__contains__), 'Anna is reloading'
    assert lease.take(3, '', 'Cleo', {3}.__contains__)
    assert lease.take(4, 'a', 'Anna', {4}.__contains__) == ''


def test_a_bucket_allows_a_burst_and_then_the_rate():
    clock = Clock()
    bucket = Bucket(10.0, 5.0, clock)
    assert sum(bucket.take() for _ in range(20)) == 5
    clock.now = 1.0
    assert sum(bucket.take() for _ in range(20)) == 5, 'a long pause must not save up more than a burst'
    clock.now = 1.1
    assert sum(bucket.take() for _ in range(20)) == 1


def episode(phase=EpisodeState.RUNNING, outcome=EpisodeState.UNKNOWN, name='e1', eval_only=False, driven=0.0):
    return EpisodeState(
        episode_id=name,
        task='pick up the red cube',
        phase=phase,
        outcome=outcome,
        eval_only=eval_only,
        intervention_ratio=driven,
        started=convert.stamp_of(START),
    )


def sample(t, progress, episode_id='e1'):
    reward = Reward(t - 0.1, t, RewardKind.PROGRESS_DELTA, 0.1, progress, model='critic')
    return convert.reward_msg(reward, episode_id, 'pick up the red cube')


def test_success_counts_what_the_policy_did_alone():
    counters, ended = Counters(), EpisodeState.ENDED
    counters.episode(episode(ended, EpisodeState.FAILURE, 'a'))
    counters.episode(episode(ended, EpisodeState.SUCCESS, 'b', eval_only=True))
    counters.episode(episode(ended, EpisodeState.ABORT, 'c'))
    counters.episode(episode(ended, EpisodeState.SUCCESS, 'd', driven=0.4))
    report = counters.report()
    learning = report['learning']
    assert (learning['alone'], learning['helped'], learning['trials']) == (0, 1, 2)
    assert (learning['low'], learning['high']) == pytest.approx(wilson(0, 2), abs=1e-4)
    assert report['evaluation']['rate'] == 1.0
    assert (report['episodes'], report['successes'], report['discarded']) == (4, 2, 1)
    counters.episode(episode(ended, int(Outcome.SUCCESS), 'a'))  # a later label replaces the outcome
    assert counters.report()['learning']['rate'] == 0.5
    for takeover_id in (1, 2, 1):  # the gate was restarted after the second
        counters.control(ControlState(takeover_id=takeover_id))
    assert counters.report()['interventions'] == 3


def test_curves_keep_samples_that_overtake_their_episode():
    curves = Curves()
    curves.episode(episode(name='old'))
    curves.sample(sample(START + 1.0, 0.1, episode_id='old'))
    curves.sample(sample(START + 0.2, 0.3, episode_id='new'))
    curves.episode(episode(name='new'))
    assert curves.full()['series']['critic progress'] == [(pytest.approx(0.2), pytest.approx(0.3))]
    assert curves.increment()['reset']
    assert curves.increment() is None


def test_rate_counts_by_stamp_and_survives_a_clock_set_back():
    rate = Rate()
    for i in range(11):
        rate.add(5.0 + 0.05 * i)
        rate.add(5.0 + 0.05 * i)  # repeated in lock-step
    assert rate.report()['hz'] == pytest.approx(20.0)
    rate.add(0.0)
    assert rate.report()['hz'] == 0.0
