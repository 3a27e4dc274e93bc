# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The graded protocol: every trigger at its number, and a state that follows from the episodes alone."""

from __future__ import annotations

import numpy as np
import pytest

from apprentice.learning.advantage import AdvantageConfig
from apprentice.learning.guidance.accounting import BEFORE_TAKEOVER_S, before_takeover, takeovers
from apprentice.learning.guidance.advising import by_attempt
from apprentice.learning.guidance.clusters import thumbnails
from apprentice.learning.guidance.config import GuidanceConfig
from apprentice.learning.guidance.grades import AdviceKind, Grade, Plan
from apprentice.learning.guidance.guide import Guide
from apprentice.learning.guidance.tries import autonomous, try_of
from apprentice.learning.rl.consolidation import ConsolidationConfig
from apprentice.robot.types import Episode, Outcome, Reward, RewardKind, Source

BY_SEED = GuidanceConfig(starts='seed')
_names = iter(range(10**6))


def episode(
    seed=0, success=False, drivers='p' * 40, eval_only=False, outcome=None, stds=(), name='', shade=0
):
    """An episode of 0.1 s steps; ``drivers``: p policy, h human, - nobody."""
    sources = {'p': Source.POLICY, 'h': Source.HUMAN, '-': Source.HOLD}
    steps, number = len(drivers), next(_names)
    rng = np.random.default_rng(number)
    if outcome is None:
        outcome = Outcome.SUCCESS if success else Outcome.FAILURE
    return Episode(
        episode_id=name or f'run-{number:05d}', task='pick', seed=seed, outcome=outcome, end_cause=2,
        eval_only=eval_only, stamps=np.arange(steps) * 0.1,
        images={'front': np.full((steps, 32, 32, 3), shade, np.uint8)},
        state=np.zeros((steps, 2), np.float32),
        action=rng.normal(size=(steps, 2)).astype(np.float32),
        source=np.array([int(sources[d]) for d in drivers], np.uint8), takeover_id=np.zeros(steps, np.int64),
        rewards=[
            Reward(0.0, 0.5 * i, RewardKind.PROGRESS_DELTA, 0.0, progress=0.5, std=std, model='critic')
            for i, std in enumerate(stds)
        ],
    )  # fmt: skip


def told(episodes, config=BY_SEED):
    guide = Guide(config)
    for each in episodes:
        guide.ended(each)
    return guide


def draw(guide, seeds=range(100), seed=0):
    return guide.proposal(np.random.default_rng(seed), list(seeds))


# G2: return and explore


@pytest.mark.parametrize(('won', 'tries', 'returns'), [(2, 10, True), (3, 10, False), (0, 9, False)])
def test_returns_to_a_start_below_three_of_ten(won, tries, returns):
    plan = draw(told(episode(7, i < won) for i in range(tries)))
    assert (plan.proposed, plan.grade == Grade.RETURN_AND_EXPLORE) == (returns, returns)
    if returns:
        assert (plan.seed, plan.demonstrate) == (7, False)
        assert f'won {won} of its last 10' in plan.reason


def test_success_with_help_is_not_a_success_of_the_policy():
    helped = [episode(7, True, 'p' * 30 + 'h' * 10) for _ in range(8)]
    assert draw(told([*helped, episode(7, True), episode(7, True)])).proposed
    assert not draw(told([episode(7, True) for _ in range(8)] + [episode(7), episode(7)])).proposed


def test_aborts_evaluations_and_held_out_starts_count_for_nothing():
    quiet = [episode(7, outcome=Outcome.ABORT) for _ in range(20)] + [episode(7, eval_only=True)] * 20
    assert not draw(told(quiet)).proposed
    failing = told(episode(7) for _ in range(10))
    assert draw(failing).proposed
    assert not draw(failing, seeds=[1, 2, 3]).proposed  # 7 is none of the starts that may be learned from


def test_at_most_two_of_five_episodes_begin_at_a_proposed_start():
    guide = told(episode(7) for _ in range(10))
    rng, plans = np.random.default_rng(0), []
    for _ in range(40):
        plans.append(guide.next_start(range(5000), rng))
        guide.ended(episode(plans[-1].seed, False))
    returned = [plan.proposed for plan in plans]
    assert sum(returned) == 16
    assert max(sum(returned[i : i + 20]) for i in range(21)) == 8


def test_plans_that_have_not_ended_count_too():
    guide = told(episode(7) for _ in range(10))
    plans = [guide.next_start(range(5000), np.random.default_rng(i)) for i in range(20)]
    # the ten tries before it began were no returns, so there is room for 8 in 20 at once
    assert sum(plan.proposed for plan in plans) == 8
    for plan in plans[:-1]:
        guide.cancelled(plan)
    assert guide.next_start(range(5000), np.random.default_rng(0)).proposed


def test_starts_that_were_tried_least_come_first():
    guide = told([episode(1, True), episode(2, True)])
    drawn = [guide.next_start([1, 2, 3, 4], np.random.default_rng(i)).seed for i in range(6)]
    assert sorted(drawn[:2]) == [3, 4]
    assert sorted(drawn) == [1, 2, 3, 3, 4, 4]
    with pytest.raises(ValueError, match='no start is available'):
        guide.next_start([], np.random.default_rng(0))


# G3: demonstrate from there


def test_a_demonstration_is_asked_for_after_six_more_failures_and_then_no_more():
    guide = told(episode(7) for _ in range(10 + 5))
    assert draw(guide).grade == Grade.RETURN_AND_EXPLORE
    guide = told([episode(7) for _ in range(16)] + [episode(i, True) for i in range(50, 70)])
    plan = guide.next_start(range(100), np.random.default_rng(0))
    assert (plan.grade, plan.demonstrate, plan.seed) == (Grade.GUIDED_EXPLORE, True, 7)
    assert guide.between(plan).kind == AdviceKind.DEMONSTRATE
    # asked for once: another start of the same group is only returned to
    assert not guide.next_start(range(100), np.random.default_rng(0)).demonstrate
    guide.ended(episode(7, True, 'p' * 5 + 'h' * 35))
    assert draw(guide).grade == Grade.RETURN_AND_EXPLORE


def test_help_ends_where_success_recovers():
    failing = [episode(7) for _ in range(16)]
    others = [episode(i, True) for i in range(50, 70)]
    assert draw(told([*failing, *[episode(7, True)] * 1, *others])).proposed
    better = [episode(7, True) for _ in range(5)]
    assert not draw(told([*failing, *better, *others])).proposed


def test_grades_that_are_left_out_are_not_asked_for():
    failing = [episode(7) for _ in range(16)] + [episode(i, True) for i in range(50, 70)]
    assert not draw(told(failing, GuidanceConfig(starts='seed', grades=()))).proposed
    assert draw(told(failing, GuidanceConfig(starts='seed', grades=(2,)))).grade == Grade.RETURN_AND_EXPLORE
    assert draw(told(failing, GuidanceConfig(starts='seed', grades=(3,)))).demonstrate
    # nobody is asked for anything, and the learner replays what people did all the same
    assert draw(told(failing, GuidanceConfig(starts='seed', grades=()))).grade == Grade.REPLAY
    assert draw(told([], GuidanceConfig(grades=(4,)))).grade == Grade.REPLAY


def test_a_late_label_leaves_the_plan_of_the_running_episode():
    log = [episode(7, success=i % 2 == 0) for i in range(10)]
    guide, rng = told(log), np.random.default_rng(0)
    guide.next_start([7], rng)  # it runs now
    log[0].outcome = Outcome.FAILURE
    guide.ended(log[0])
    assert [plan.seed for plan in guide._pending] == [7]
    guide.ended(episode(7))
    assert not guide._pending


def test_a_seed_that_is_planned_twice_is_two_episodes():
    plans = [Plan(7, Grade.RETURN_AND_EXPLORE), Plan(3), Plan(7, Grade.GUIDED_EXPLORE, demonstrate=True)]
    assert by_attempt(plans) == {'seed000007': plans[0], 'seed000003': plans[1], 'seed000007-1': plans[2]}


# groups of starts


def test_starts_group_by_what_the_first_picture_shows():
    config = GuidanceConfig(most_starts=3)
    dark, bright = (
        [episode(i, success, shade=s) for i in range(10)] for success, s in ((False, 10), (True, 200))
    )
    guide = told([each for pair in zip(dark, bright, strict=True) for each in pair], config)
    assert [(s.tries, s.success) for s in guide.starts] == [(10, 0.0), (10, 1.0)]
    assert draw(guide).cluster == guide.starts[0].start.name
    for shade in (90, 120):  # the third group is the last one: then the nearest is joined
        guide.ended(episode(50, shade=shade))
    assert [s.tries for s in guide.starts] == [10, 10, 2]


def test_thumbnails_are_block_means_whatever_the_size():
    big = episode(shade=51)
    big.images = {'front': np.random.default_rng(0).integers(0, 255, (2, 64, 48, 3), np.uint8)}
    small = thumbnails(big).reshape(16, 16, 3)
    np.testing.assert_allclose(
        small[3, 5], big.images['front'][0, 12:16, 15:18].mean((0, 1)) / 255, rtol=1e-5
    )
    tiny = episode()
    tiny.images = {'front': np.full((1, 5, 7, 3), 255, np.uint8)}
    assert thumbnails(tiny).shape == (5 * 7 * 3,)


def test_one_group_an_instruction():
    first, second = episode(1), episode(2)
    second.task = 'push'
    guide = told([first, episode(5), second], GuidanceConfig(starts='task'))
    assert [s.tries for s in guide.starts] == [2, 1]


# what is known follows from the episodes alone


def test_the_same_log_again_changes_nothing_and_a_new_guide_knows_the_same():
    log = [episode(i % 4, i % 4 > 1, 'p' * 30 + ('h' * 10 if i % 8 == 0 else 'p' * 10)) for i in range(60)]
    guide, again, anew = told(log), told([*log, *log]), Guide(BY_SEED)
    anew.rebuild(iter(log))
    for other in (again, anew):
        assert [draw(other, seed=i) for i in range(5)] == [draw(guide, seed=i) for i in range(5)]
        assert [(s.grade, s.failed, s.tries, s.success) for s in other.starts] == [
            (s.grade, s.failed, s.tries, s.success) for s in guide.starts
        ]
        assert (other.success, other.intervention_share) == (guide.success, guide.intervention_share)


def test_a_later_label_counts_as_if_it_had_always_been_there():
    log = [episode(7) for _ in range(10)]
    guide = told(log)
    assert draw(guide).proposed
    for each in log[:5]:
        each.outcome = Outcome.SUCCESS
        guide.ended(each)
    assert not draw(guide).proposed
    assert len(guide.tries) == 10


def test_two_tries_with_one_name_are_two():
    guide = told([episode(7, name='seed000007') for _ in range(10)])
    assert len(guide.tries) == 10


# G4: takeover


def advices(measured, config=BY_SEED, human=False, std=float('nan'), guide=None):
    """Kinds of advice for (time, potential) pairs."""
    guide = guide or Guide(config)
    return [guide.observe(t, phi, std, human).kind for t, phi in measured], guide


def when(kinds, times, kind=AdviceKind.TAKE_OVER):
    return next((t for t, k in zip(times, kinds, strict=True) if k == kind), None)


TIMES = np.arange(0, 20, 0.5)


def test_a_stall_is_advised_after_four_seconds_and_half_a_second_more():
    kinds, _ = advices([(t, 0.2) for t in TIMES])
    assert when(kinds, TIMES) == 5.0  # more than 4 s, then held for 0.5 s
    kinds, _ = advices([(t, 0.2 + 0.02 * t) for t in TIMES])
    assert when(kinds, TIMES) is None
    # gains within the deadband are none
    kinds, _ = advices([(t, 0.2 + 0.04 * (t > 3)) for t in TIMES])
    assert when(kinds, TIMES) == 5.0


def test_a_drop_of_more_than_a_fifth_within_two_seconds_is_advised():
    fell = [(t, 0.1 + 0.05 * t if t < 10 else 0.3) for t in TIMES]
    guide = Guide(BY_SEED)
    said = [guide.observe(t, phi) for t, phi in fell]
    first = next(each for each in said if each.kind == AdviceKind.TAKE_OVER)
    assert 10.0 < TIMES[said.index(first)] <= 11.5
    assert first.reason == 'the potential fell from 0.55 to 0.30 within 2 s'
    patient = GuidanceConfig(stall_s=100.0)
    slowly = [(t, 0.8 - 0.08 * t) for t in TIMES if t < 10]
    assert when(advices(slowly, patient)[0], [t for t, _ in slowly]) is None
    faster = [(t, 0.8 - 0.16 * t) for t in TIMES if t < 5]
    assert when(advices(faster, patient)[0], [t for t, _ in faster]) is not None


def test_one_wrong_measurement_is_no_advice():
    once = [(t, 0.1 + 0.05 * t - 0.5 * (t == 10)) for t in TIMES]
    assert when(advices(once)[0], TIMES) is None


def test_unusual_uncertainty_is_advised_once_there_is_a_usual_one():
    rising = [(t, 0.05 * t) for t in TIMES]
    assert when(advices(rising, std=0.9)[0], TIMES) is None  # nobody knows what is usual
    log = [episode(i, True, stds=np.linspace(0.0, 0.2, 20)) for i in range(10)]
    guide = told(log)
    assert guide.usual_std() == pytest.approx(np.quantile(np.linspace(0.0, 0.2, 20), 0.95), abs=0.01)
    kinds, _ = advices(rising, std=0.25, guide=guide)
    assert when(kinds, TIMES) == 0.5
    assert when(advices(rising, std=0.15, guide=told(log))[0], TIMES) is None


def test_what_is_usual_is_of_the_policy_alone_and_the_same_after_a_restart():
    drivers = 'p' * 10 + 'h' * 10 + 'p' * 10
    log = [episode(i, True, drivers, stds=[0.1, 0.1, 0.9, 0.9, 0.1, 0.1]) for i in range(30)]
    config = GuidanceConfig(starts='seed', uncertain_samples=20)
    guide = Guide(config)
    for each in log:
        for reward in each.rewards:
            guide.observe(reward.t1, 0.5, 0.5, False, each.episode_id)  # the log says otherwise
        guide.ended(each)
    assert guide.tries[0].stds == (0.1,) * 4
    assert guide.usual_std() == told(log, config).usual_std() == pytest.approx(0.1)


def test_advice_is_withdrawn_when_the_trouble_is_over():
    measured = [(t, 0.2 if t < 8 else 0.4 + 0.05 * (t - 8)) for t in TIMES]
    kinds, _ = advices(measured)
    over = [t for t, k in zip(TIMES, kinds, strict=True) if k == AdviceKind.TAKE_OVER]
    assert over[0] == 5.0
    assert 8.0 < over[-1] <= 10.0


def test_a_takeover_is_advised_to_end_after_ten_seconds_or_when_it_has_helped():
    kinds, _ = advices([(t, 0.2) for t in TIMES], human=True)
    assert when(kinds, TIMES, AdviceKind.HAND_BACK) == 11.0
    assert AdviceKind.TAKE_OVER not in kinds
    kinds, _ = advices([(t, 0.1 * t) for t in TIMES], human=True)
    assert 2.0 < when(kinds, TIMES, AdviceKind.HAND_BACK) <= 4.0


def test_what_was_before_a_takeover_says_nothing_about_after_it():
    guide = Guide(BY_SEED)
    assert advices([(t, 0.2) for t in TIMES if t < 6], guide=guide)[0][-1] == AdviceKind.TAKE_OVER
    assert guide.observe(6.0, 0.2, human=True).kind == AdviceKind.NONE
    later = np.arange(6.5, 12, 0.5)
    kinds, _ = advices([(t, 0.2) for t in later], guide=guide)
    assert when(kinds, later) == 11.5


def test_episodes_that_run_at_the_same_time_have_advice_of_their_own():
    guide = Guide(BY_SEED)
    for t in TIMES:
        stuck = guide.observe(t, 0.2, episode_id='a')
        fine = guide.observe(t, 0.05 * t, episode_id='b')
    assert (stuck.kind, fine.kind) == (AdviceKind.TAKE_OVER, AdviceKind.NONE)
    guide.ended(episode(name='a'))
    assert guide.observe(0.0, 0.2, episode_id='a').kind == AdviceKind.NONE


def test_nothing_measured_is_no_trouble_and_old_news_are_left_out():
    nan = float('nan')
    assert when(advices([(t, nan) for t in TIMES])[0], TIMES) is None
    guide = Guide(BY_SEED)
    guide.observe(100.0, 0.5)
    assert guide.observe(3.0, 0.0).kind == AdviceKind.NONE
    assert guide.observe(nan, 0.0).kind == AdviceKind.NONE
    assert guide.observe(100.5, 0.5).kind == AdviceKind.NONE


# tapering and accounting


def test_taper_when_hardly_anybody_helps_and_it_succeeds_alone():
    alone = [episode(i, True) for i in range(20)]
    guide = told(alone)
    assert guide.tapered
    assert guide.between(draw(guide)).kind == AdviceKind.TAPER
    assert when(advices([(t, 0.2) for t in TIMES], guide=guide)[0], TIMES) is None  # a stall: let it try
    assert not told(alone[:19]).tapered
    assert not told([episode(i, False) for i in range(20)]).tapered  # nobody helps, and nothing succeeds
    assert not told([*[episode(99) for _ in range(10)], *alone]).tapered  # one start fails
    helped = [episode(i, True, 'p' * 20 + 'h' * 20) for i in range(3)]
    assert not told([*alone[:17], *helped]).tapered  # 7.5 % of the steps
    assert told([*alone[:18], *helped[:1], episode(99, True, 'h' * 40)]).intervention_share == pytest.approx(
        20 / (19 * 40)
    )


def test_people_should_not_finish_most_of_the_early_successes():
    by_person = [episode(i, True, 'p' * 20 + 'h' * 20) for i in range(3)]
    back = [episode(i, True, 'p' * 10 + 'h' * 10 + 'p' * 20) for i in range(3)]
    assert 'finished 3 of the first 5' in told([*by_person, *back[:2]]).warning
    assert not told([*by_person, *back]).warning
    assert not told([episode(i, True, 'h' * 40) for i in range(5)]).warning  # demonstrations are meant so


def test_successes_with_help_are_in_no_success_rate():
    tries = [try_of(episode(0, True)) for _ in range(3)] + [try_of(episode(0, False))]
    tries += [try_of(episode(0, True, 'p' * 20 + 'h' * 20)) for _ in range(50)]
    tries += [try_of(episode(0, outcome=Outcome.ABORT))]
    rate = autonomous(tries)
    assert (rate.successes, rate.n) == (3, 4)
    assert (rate.low, rate.high) == pytest.approx((0.30064, 0.95441), abs=1e-4)


def test_the_second_and_a_half_before_a_takeover_is_one_number():
    assert (
        BEFORE_TAKEOVER_S
        == ConsolidationConfig().before_takeover_s
        == AdvantageConfig().before_takeover_s
        == 1.5
    )
    each = episode(drivers='p' * 30 + 'h' * 10 + '-' * 5 + 'h' * 5 + 'p' * 10)
    assert list(np.flatnonzero(takeovers(each.source))) == [30]
    marked = np.flatnonzero(before_takeover(each.stamps, each.source))
    assert list(marked) == list(range(15, 30))
    held = episode(drivers='h' * 5 + 'p' * 10 + '-' * 8 + 'h' * 5)  # the gate holds before the person drives
    assert list(np.flatnonzero(takeovers(held.source))) == [23]
    assert list(np.flatnonzero(before_takeover(held.stamps, held.source))) == list(range(8, 15))
    assert not takeovers(episode(drivers='h' * 5).source).any()
    assert not takeovers(episode(drivers='--hh').source).any()
