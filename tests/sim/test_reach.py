# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Reach the named marker."""

import contextlib

import numpy as np
from task_checks import check_expert, check_failures, check_starts, spec_of

from apprentice.sim.tasks.reach import HOME, SLOTS, Reach
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
