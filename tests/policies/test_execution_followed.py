# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What the robot follows while a chunk is planned is known, also where the chunk does not continue it."""

from __future__ import annotations

import numpy as np
from execution_bench import DT, Bench


def test_without_real_time_chunking_it_is_what_the_gate_went_to():
    bench = Bench(3 * DT, continues=False).arm().rows(40)
    compared = 0
    for plan in bench.plans[1:]:
        followed, stamp = plan.job.followed, plan.job.observation.stamp
        assert followed is not None
        assert followed.delay == 3
        for i in range(followed.delay if plan.chunk is not None else 0):
            meanwhile = bench.executed(stamp + i * DT, stamp + (i + 1) * DT)
            np.testing.assert_array_equal(bench.row(meanwhile[-1]), followed.actions[i])
            compared += 1
    assert compared >= 3 * (len(bench.plans) - 2)


def test_with_it_it_is_what_is_continued():
    bench = Bench(3 * DT).arm().rows(20)
    assert all(job.followed is job.previous is not None for job in bench.jobs[1:])
    bench.scheduler.on_task('pick up the blue cube', 'episode')
    count = len(bench.plans)
    bench.rows(12)
    new = next(job for job in bench.jobs[count:] if job.observation.text == 'pick up the blue cube')
    assert new.previous is None
    assert new.followed.delay == 3


def test_nothing_is_followed_where_no_row_will_be_past():
    waiting = Bench(3 * DT, continues=False, exact=True).arm().rows(20)
    assert all(job.followed is None for job in waiting.jobs)  # in lock-step the robot waits
    early = Bench(0, continues=False).arm().rows(20)
    assert all(job.followed is None for job in early.jobs)
    assert len(waiting.jobs) > 2 < len(early.jobs)
    taken = Bench(3 * DT, continues=False).arm().rows(20)
    count = len(taken.plans)
    taken.call('request_control', True)
    taken.rows(8)
    assert len(taken.jobs) > count
    assert all(job.followed is None for job in taken.jobs[count:])  # a person drives
