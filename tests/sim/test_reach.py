# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Reach the named marker."""

import contextlib

import numpy as np
import pytest
from task_checks import check_expert, check_failures, check_starts, spec_of

from apprentice.sim.tasks.hand import Hand
from apprentice.sim.tasks.reach import DWELL_S, HOME, SLOTS, Reach, wanted_colour
from apprentice.sim.worlds import Worlds


def test_expert():
    check_expert(Reach(), range(8))


def test_failures():
    check_failures(Reach(), range(2))


def test_starts():
    check_starts(Reach())


def test_easy_starts_are_near_and_without_distractors():
    task = Reach()
    for seed in range(20):
        easy = task.start(np.random.default_rng(seed), '', 0.0)
        full = task.start(np.random.default_rng(seed), '', 1.0)
        assert np.sum(easy.memory['colours'] >= 0) == 1
        assert np.sum(full.memory['colours'] >= 0) == len(SLOTS)
        slot = SLOTS[easy.memory['target']]
        marker = np.array([easy.joints[f'{slot}_{axis}'] for axis in 'xyz'])
        assert np.linalg.norm(marker - HOME) < 0.17


def test_markers_stay_where_they_are():
    task = Reach()
    with contextlib.closing(Worlds(spec_of(task), 1, task=task)) as worlds:
        worlds.reset([0], [3])
        before = worlds.objects(0)
        worlds.step(worlds.joints, 2.0)
        for name, pose in worlds.objects(0).items():
            np.testing.assert_allclose(pose[:3], before[name][:3], atol=1e-6)


def go(worlds, marker, stop, speed=0.22):
    """Move towards a marker until ``stop()``; False if that never came."""
    hand = Hand(worlds.scene, speed)
    for _ in range(80):
        if stop():
            return True
        goal = worlds.objects(0)[marker][:3].copy()
        goal[2] = max(goal[2], 0.016)
        worlds.step(hand.move(worlds.joints[0].copy(), goal, hand.opened)[None], 0.05)
    return stop()


def test_the_tip_has_to_stay_and_nowhere_else_before():
    task = Reach()
    with contextlib.closing(Worlds(spec_of(task), 1, task=task)) as worlds:
        marker = f'marker_{wanted_colour(worlds.reset([0], [1])[0])}'
        first = []

        def stop():
            if task._distance(worlds.view)[0] < 0.02:
                first.append(worlds.view.time[0])
            return bool(worlds.success()[0])

        assert go(worlds, marker, stop)
        assert worlds.view.time[0] - first[0] >= DWELL_S - 1e-6

        worlds.reset([0], [1])
        other = next(name for name in worlds.objects(0) if name != marker)
        assert go(worlds, other, lambda: bool(worlds.memory['wrong'][0]))
        assert not go(worlds, marker, lambda: bool(worlds.success()[0]))
        assert worlds.progress()[0] <= 0.4


@pytest.mark.parametrize(
    'instruction',
    ['reach the marker left of the red marker', 'pick up the red cube', 'reach the red and blue'],
)
def test_other_instructions_are_refused(instruction):
    with pytest.raises(ValueError, match='reach the red marker'):
        wanted_colour(instruction)
