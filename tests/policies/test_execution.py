# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Chunk execution under a fake clock: delays, continuity, takeovers, starvation."""

import numpy as np
import pytest
from execution_bench import DT, HOME, PERIOD, TICKS, Bench

from apprentice.policies.execution import ChunkScheduler
from apprentice.robot.types import ControlMode, Observation, Source

H = 16


def check_continuity(bench: Bench) -> int:
    """What every job was told of the chunk before is what the robot did meanwhile, bit for bit."""
    compared = 0
    for plan in bench.plans:
        previous, stamp = plan.job.previous, plan.job.observation.stamp
        if previous is None or plan.chunk is None:
            continue
        for i, row in enumerate(previous.actions):
            begin = stamp + i * DT
            if begin + DT > plan.ready + 1e-6:
                break
            meanwhile = bench.executed(begin, begin + DT)
            assert len(meanwhile) == TICKS
            np.testing.assert_array_equal(bench.row(meanwhile[-1]), row)
            compared += 1
    return compared


def check_sources(bench: Bench) -> None:
    """Every executed row is of the newest chunk there was, at the row its time says."""
    accepted = [plan for plan in bench.plans if plan.chunk is not None and not plan.refusal]
    for tick in bench.ticks:
        if tick.source != Source.POLICY:
            continue
        newest = [p for p in accepted if p.ready <= tick.stamp + 1e-9][-1]
        assert tick.chunk_seq == newest.chunk.seq
        assert tick.chunk_index == int((tick.stamp - newest.chunk.stamp) / DT + 1e-6)
        assert tick.epoch == newest.chunk.epoch


@pytest.mark.parametrize('delay', range(H // 2 + 1))
def test_delays_from_0_to_half_the_horizon(delay):
    bench = Bench(latency=delay * DT).arm().rows(60)
    assert bench.gate.mode == ControlMode.POLICY
    assert set(bench.delays()) == {delay}
    assert bench.scheduler.measured == bench.scheduler.delay == delay
    assert not bench.scheduler.problem
    assert not bench.scheduler.starved
    check_sources(bench)
    stamps = np.array([job.observation.stamp for job in bench.jobs])
    np.testing.assert_allclose(np.diff(stamps), max(4, delay) * DT)
    assert bench.jobs[0].previous is None
    for plan in bench.plans[1:]:
        previous = plan.job.previous
        assert previous is not None
        assert previous.delay == delay
        assert len(previous.actions) == H - max(4, delay)
        if plan.chunk is not None:
            np.testing.assert_array_equal(plan.chunk.actions[:delay], previous.actions[:delay])
    finished = [plan for plan in bench.plans if plan.chunk is not None]
    assert check_continuity(bench) == delay * (len(finished) - 1)


def test_delays_between_rows_and_stamps_beside_the_grid():
    for latency in (0.5 * DT, 2.5 * DT, 3.5 * DT):
        bench = Bench(latency).arm().rows(60)
        check_sources(bench)
        assert check_continuity(bench) >= int(latency / DT) * (len(bench.plans) - 2)
        assert set(bench.delays()) == {int(latency / DT)}

    bench = Bench(2 * DT, jitter=0.02).arm().rows(80)
    check_sources(bench)
    assert set(bench.delays()) <= {1, 2}
    told = [job for job in bench.jobs if job.previous is not None]
    assert len(told) > 12
    for job in told:
        # between two rows the gate leads the setpoint along the line between them
        before = next(p.chunk for p in bench.plans if p.job is bench.jobs[bench.jobs.index(job) - 1])
        grid = before.stamp + DT * (1 + np.arange(len(before.actions)))
        wanted = job.observation.stamp + DT * (1 + np.arange(len(job.previous.actions)))
        assert wanted[-1] <= grid[-1] + 1e-3 * DT
        assert wanted[-1] + DT > grid[-1] - 1e-3 * DT
        lines = np.stack([np.interp(wanted, grid, column) for column in before.actions.T], 1)
        np.testing.assert_allclose(job.previous.actions, lines, atol=1e-4)
    stamps = np.array([job.observation.stamp for job in bench.jobs])
    assert np.all(np.abs(np.diff(stamps) - 4 * DT) <= 0.04 + 1e-9)  # never a row early or late


def test_a_frame_from_before_the_chunk_arrived():
    """What is executed from that frame on is, at first, of the chunk before the newest."""
    bench = Bench(2 * DT, frame_rows=4).arm().rows(19)
    bench.latency = 5.5 * DT  # slower than expected, with a frame in between
    bench.rows(5)
    count = len(bench.plans)
    bench.rows(8)
    check_sources(bench)
    late = bench.plans[count]
    assert late.job.observation.stamp < bench.plans[count - 1].ready - DT
    assert late.chunk is not None
    assert late.job.previous is not None
    assert check_continuity(bench) == 2 + 2 + 2 + 5 + 7


def test_a_plan_that_comes_early_goes_on_without_a_jump():
    """What is executed before the expected delay is what the chunk before had there."""
    bench = Bench(4 * DT).arm().rows(20)
    bench.latency = DT
    bench.rows(8)
    plan = [p for p in bench.plans if p.chunk is not None][-1]
    assert plan.job.previous.delay == 4
    assert bench.scheduler.measured == 1
    early = bench.executed(plan.ready, plan.job.observation.stamp + 4 * DT)
    assert {tick.chunk_seq for tick in early} == {plan.chunk.seq}
    for tick in early:
        np.testing.assert_array_equal(bench.row(tick), plan.job.previous.actions[tick.chunk_index])
    check_continuity(bench)
    bench.rows(40)
    assert bench.scheduler.delay == 1  # and the slow ones are forgotten


def test_a_takeover_discards_the_chunk_before():
    bench = Bench(3 * DT).arm().rows(13.5)
    running = bench.plans[-1]
    assert running.chunk is None  # the planner is busy
    old = bench.gate.epoch
    bench.call('request_control', True)
    began, bench.latency = bench.now, 4 * DT
    bench.rows(12)
    assert bench.scheduler.delay == 3  # nobody waits for shadows
    bench.latency = 3 * DT
    assert running.chunk is None  # and its chunk never came out
    assert len(bench.jobs) > bench.jobs.index(running.job) + 2
    shadows = bench.jobs[bench.jobs.index(running.job) + 1 :]
    assert all(job.shadow and job.previous is None for job in shadows)
    assert all(job.observation.stamp >= began - 1e-6 for job in shadows)
    bench.call('request_control', False)
    released = bench.now
    bench.rows(20)
    assert bench.gate.mode == ControlMode.POLICY
    after = [job for job in bench.jobs if job.epoch == bench.gate.epoch]
    assert after[0].previous is None
    assert after[0].observation.stamp >= released - 1e-6
    assert all(job.previous is not None for job in after[1:])
    assert all(tick.epoch > old + 1 for tick in bench.executed(released, bench.now))
    check_sources(bench)
    assert check_continuity(bench) > 10


@pytest.mark.parametrize('event', ['reset', 'pause', 'hold', 'stop'])
def test_every_change_of_control_discards_the_chunk_before(event):
    bench = Bench(2 * DT).arm().rows(13)
    if event == 'hold':
        bench.gate.hold('test', bench.now)
        bench._control()
    else:
        bench.call(event, *([] if event == 'stop' else [True]))
    epoch, count = bench.gate.epoch, len(bench.plans)
    bench.rows(5)
    back = {'reset': [('reset', False)], 'pause': [('pause', False)], 'hold': [('arm',)]}
    for name, *arguments in back.get(event, [('clear',), ('arm',)]):
        bench.call(name, *arguments)
    bench.rows(12)
    later = [job for job in bench.jobs[count:] if job.epoch >= epoch]
    first = {job.epoch: job for job in reversed(later)}
    assert all(job.previous is None for job in first.values())
    assert bench.gate.mode == ControlMode.POLICY
    assert later[-1].previous is not None
    check_sources(bench)
    check_continuity(bench)


def test_starvation_is_reported_and_ends():
    bench = Bench(2 * DT).arm().rows(20)
    assert not bench.scheduler.problem
    bench.latency = 12 * DT  # rows 12 to 15 are executed, then there are none for 8 rows
    bench.rows(60)
    assert 'planning takes 12 rows' in bench.scheduler.problem
    assert 'only 4 of 16 rows' in bench.scheduler.problem
    assert 'plan faster' in bench.scheduler.problem
    assert 'execute_steps' not in bench.scheduler.problem  # that would not help
    held = [t for t in bench.ticks if t.mode == ControlMode.POLICY and t.source == Source.HOLD]
    assert bench.scheduler.starved == len(held) > 20
    assert bench.jobs[-1].previous is None
    assert bench.jobs[-2].previous is None
    check_continuity(bench)

    bench.latency = 2 * DT
    bench.rows(60)
    assert not bench.scheduler.problem
    starved = bench.scheduler.starved
    assert bench.jobs[-1].previous is not None
    bench.rows(20)
    assert bench.scheduler.starved == starved
    check_sources(bench)
    check_continuity(bench)


def test_planning_longer_than_the_chunk_is_noticed_although_nothing_is_ever_executed():
    bench = Bench(18 * DT, gate={'chunk_max_age_s': 10.0}).arm().rows(80)
    assert not bench.delays()
    assert bench.scheduler.measured is None
    assert bench.scheduler.delay == 18
    assert 'planning takes 18 rows' in bench.scheduler.problem
    assert all(job.previous is None for job in bench.jobs)
    bench.latency = 0.0
    bench.rows(60)
    assert bench.scheduler.delay == 0
    assert not bench.scheduler.problem


def test_execute_steps_that_leave_too_little_are_named():
    bench = Bench(4 * DT, execute_steps=14).arm().rows(60)
    assert 'lower execute_steps to 12' in bench.scheduler.problem
    assert bench.scheduler.starved
    bench = Bench(4 * DT, execute_steps=12).arm().rows(60)
    assert not bench.scheduler.problem
    assert not bench.scheduler.starved


def test_a_chunk_that_the_gate_refused_is_not_continued():
    bench = Bench(2 * DT, execute_steps=6, gate={'chunk_max_age_s': 0.25}).arm().rows(18.5)
    count = len(bench.plans)
    bench.latency = 3 * DT
    bench.rows(2)
    bench.latency = 2 * DT
    bench.rows(30)
    refused = [plan for plan in bench.plans if plan.refusal]
    assert len(refused) == 1
    assert refused[0].refusal.startswith('age')
    assert bench.plans.index(refused[0]) == count
    assert bench.plans[count + 1].job.previous is not None
    assert bench.gate.mode == ControlMode.POLICY
    check_sources(bench)
    assert check_continuity(bench) > 10


def test_without_real_time_chunking_nothing_is_handed_over_or_changed():
    bench = Bench(3 * DT, continues=False).arm().rows(40)
    assert all(job.previous is None for job in bench.jobs)
    assert bench.scheduler.delay == 3
    assert bench.scheduler.continued == 0
    check_sources(bench)


def test_a_policy_that_knows_shorter_delays_only():
    bench = Bench(3 * DT)
    bench.scheduler.max_delay = 3
    bench.arm().rows(30)
    assert all(job.previous is not None for job in bench.jobs[1:])
    bench.scheduler.max_delay = 2
    bench.rows(10)
    assert bench.jobs[-1].previous is None
    assert 'trained for 2 at most' in bench.scheduler.problem


def test_another_instruction_or_episode_is_not_continued():
    bench = Bench(2 * DT).arm().rows(20)
    for task in (('pick up the blue cube', 'episode'), ('pick up the blue cube', 'another')):
        bench.scheduler.on_task(*task)
        count = len(bench.plans)
        bench.rows(12)
        new = [job for job in bench.jobs[count:] if (job.observation.text, job.episode_id) == task]
        assert new[0].previous is None
        assert new[1].previous is not None
    bench.scheduler.on_task('')
    count = len(bench.plans)
    bench.rows(12)
    assert len(bench.plans) <= count + 1


# the scheduler alone


def scheduler(**settings) -> ChunkScheduler:
    made = ChunkScheduler(DT, 4, **settings)
    made.on_task('pick')
    made.on_control(ControlMode.POLICY, 1, 0.0)
    return made


def see(made: ChunkScheduler, stamp: float) -> bool:
    made.on_observation(Observation(stamp, {}, HOME, ''))
    return made.schedule()


def plan(made: ChunkScheduler, stamp: float, rows: int = 8):
    assert see(made, stamp)
    job = made.take()
    actions = np.random.default_rng(round(1e3 * stamp)).normal(size=(rows, 7))
    return job, made.finish(job, actions)


def test_time_that_goes_back_discards_everything():
    made = scheduler()
    plan(made, 10.0)
    job, _ = plan(made, 10.4)
    assert job.previous is not None
    assert see(made, 10.8)
    running = made.take()
    job, chunk = plan(made, 3.0)  # at once, although 10.8 was planned from already
    assert job.previous is None
    assert made.finish(running, np.zeros((8, 7))) is None
    assert chunk.seq == 3  # numbers go on: the gate takes increasing ones only
    job, _ = plan(made, 3.4)
    assert job.previous is not None
    # the same when the gate's clock goes back
    made.on_executed(3.5, 1, 4, 0)
    assert see(made, 3.8)
    running = made.take()
    made.on_executed(1.0, 1, 4, 0)
    assert made.finish(running, np.zeros((8, 7))) is None
    job, _ = plan(made, 1.1)
    assert job.previous is None


def test_never_twice_from_one_observation_and_always_from_the_newest():
    made = scheduler()
    assert see(made, 10.0)
    assert not made.schedule()
    assert see(made, 10.1)  # nobody has begun: the newer one is better
    assert made.take().observation.stamp == 10.1
    assert made.take() is None
    assert not see(made, 10.4)
    assert see(made, 10.46)  # live, half a row decides

    made = scheduler(exact=True)
    assert see(made, 10.0)
    assert not see(made, 10.1)  # in lock-step what is planned must not depend on how fast the planner wakes
    assert made.take().observation.stamp == 10.0
    assert not see(made, 10.399)
    assert see(made, 10.4)


def test_what_was_seen_before_control_changed_is_not_planned_from():
    made = scheduler()
    plan(made, 10.0)
    made.on_control(ControlMode.PAUSED, 2, 10.05)
    assert not made.schedule()
    assert not made.waiting
    assert see(made, 10.1)
    made.on_control(ControlMode.HOLD, 3, 10.15)
    assert made.take() is None
    assert not see(made, 10.2)
    made.on_control(ControlMode.HUMAN, 4, 10.2)
    assert made.schedule()
    assert made.take().shadow


def test_reports_of_other_epochs_and_of_unknown_chunks_are_ignored():
    made = scheduler()
    _, chunk = plan(made, 10.0)
    made.on_executed(10.3, 7, chunk.seq, 3)
    assert made.measured is None
    made.on_executed(10.3, 1, chunk.seq, 3)
    made.on_executed(10.4, 1, chunk.seq, 4)
    assert made.measured == made.delay == 3
    made.on_executed(10.5, 1, 99, 2)
    assert made.measured == made.delay == 3


def test_a_chunk_of_another_length_is_continued_as_far_as_it_goes():
    """New weights may have another horizon."""
    made = scheduler()
    plan(made, 10.0, rows=8)
    job, _ = plan(made, 10.4, rows=3)
    assert len(job.previous.actions) == 4
    job, _ = plan(made, 10.8, rows=8)
    assert job.previous is None
    with pytest.raises(ValueError, match='at least 1'):
        ChunkScheduler(DT, 0)


def test_actions_of_the_policy_are_not_written_to():
    made = scheduler()
    plan(made, 10.0)
    made.on_executed(10.2, 1, 1, 2)
    assert see(made, 10.4)
    job, actions = made.take(), np.ones((8, 7))
    chunk = made.finish(job, actions)
    assert np.all(actions == 1)
    np.testing.assert_array_equal(chunk.actions[:2], job.previous.actions[:2])
    assert np.all(chunk.actions[2:] == 1)


def test_the_bench_is_on_the_grid():
    assert TICKS == 2
    assert abs(PERIOD * TICKS - DT) < 1e-12
