# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Filmed attempts: what succeeds, what fails, and what a critic may be shown of it."""

import contextlib
import itertools

import numpy as np
import pytest

from apprentice.learning.reward_attempts import (
    CALIBRATION_SEEDS,
    HELD_OUT_COLOURS,
    HELD_OUT_SEEDS,
    HELD_OUT_TASKS,
    TRAINING_SEEDS,
    Wanted,
    attempts,
    plan,
    training_tasks,
)
from apprentice.robot.parts import find_robot
from apprentice.robot.spec import RobotSpec
from apprentice.sim.acting import act_out
from apprentice.sim.tasks import load_task, task_names
from apprentice.sim.worlds import Worlds


@pytest.fixture(scope='module')
def reach():
    task = load_task('reach')
    with contextlib.closing(Worlds(RobotSpec.load(find_robot('sim_arm')), 1, task=task)) as worlds:
        yield worlds


def test_an_expert_succeeds_and_stays(reach):
    attempt = act_out(reach, 3)
    assert attempt.success
    first = int(attempt.solved.argmax())
    assert attempt.truth[first:] == pytest.approx(1.0)
    assert attempt.stamps[-1] - attempt.stamps[first] >= 0.6
    assert attempt.frames.shape[1:] == (2, 64, 64, 3)
    assert len(attempt.frames) == len(attempt.stamps) == len(attempt.truth)
    assert np.allclose(np.diff(attempt.stamps)[:-1], 0.2)
    assert attempt.text not in attempt.wrong
    assert all(other.startswith('reach the') for other in attempt.wrong)
    assert len(attempt.wrong) == 3  # of the other markers


def test_failures_fail_and_are_not_told_by_their_length(reach):
    lengths = []
    for seed, behaviour in enumerate(('wander', 'idle', 'wrong', 'idle')):
        attempt = act_out(reach, 10 + seed, behaviour)
        assert not attempt.solved.any()
        lengths.append(attempt.stamps[-1])
    assert len(set(lengths)) > 2
    assert all(2.9 <= length <= 6.0 for length in lengths)


def test_an_unknown_behaviour_names_the_known(reach):
    with pytest.raises(ValueError, match='stop_short'):
        act_out(reach, 0, 'dance')


def test_attempts_are_kept_and_a_damaged_file_is_made_again(tmp_path):
    wanted = [Wanted('reach', 5, 'expert'), Wanted('reach', 5, 'expert', moved=True)]
    first = attempts(wanted, cache=tmp_path)
    files = sorted(tmp_path.glob('*.npz'))
    assert len(files) == 2
    # other cameras, the same scene
    assert first[0].text == first[1].text
    assert not np.array_equal(first[0].frames[0], first[1].frames[0])
    np.testing.assert_allclose(first[0].truth[0], first[1].truth[0], atol=1e-6)
    stamps = [path.stat().st_mtime_ns for path in files]
    files[0].write_bytes(files[0].read_bytes()[:100])
    again = attempts(wanted, cache=tmp_path)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.frames, other.frames)
        assert (one.text, one.wrong, one.seed) == (other.text, other.wrong, other.seed)
    assert [path.stat().st_mtime_ns == s for path, s in zip(files, stamps, strict=True)] == [False, True]


@pytest.mark.parametrize('colours', ['seen', 'held out'])
def test_colours_are_kept_apart(colours, tmp_path):
    wanted = plan(['pick'], 77_000, 3, ('idle',), colours)
    for attempt in attempts(wanted, cache=tmp_path):
        named = any(colour in attempt.text for colour in HELD_OUT_COLOURS)
        assert named == (colours == 'held out')
        if colours == 'seen':
            assert not any(colour in other for other in attempt.wrong for colour in HELD_OUT_COLOURS)


def test_no_task_and_no_seed_is_both_trained_on_and_held_out():
    assert not set(training_tasks()) & set(HELD_OUT_TASKS)
    assert set(HELD_OUT_TASKS) <= set(task_names())
    ranges = []
    for first in (TRAINING_SEEDS, CALIBRATION_SEEDS, HELD_OUT_SEEDS):
        seeds = [one.seed for one in plan(task_names(), first, 900, ('expert',))]
        assert len(set(seeds)) == len(seeds)
        # up to 100 seeds later one is taken whose scene may be shown
        ranges.append((min(seeds), max(seeds) + 100))
    assert all(low[1] < high[0] for low, high in itertools.pairwise(ranges))


def test_a_new_task_leaves_the_other_ones_their_seeds():
    """Numbers in model cards are of these attempts."""
    told = {name: plan([name], 0, 1, ('expert',))[0].seed for name in ('drawer', 'reach', 'wipe', 'press')}
    assert told == {'drawer': 0, 'reach': 700_000, 'wipe': 900_000, 'press': 1_000_000}
