# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What every task must do; its own test file calls these with few seeds, ``bench/tasks.py`` with many."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import numpy as np
import pytest

from apprentice.bench.tasks import attempt, spec_of
from apprentice.sim.failures import BEHAVIOURS
from apprentice.sim.task import Task
from apprentice.sim.worlds import Worlds


def move(worlds: Worlds, body: str, pose: np.ndarray) -> None:
    """Put a body on a free joint at a pose [7] (m; quaternion wxyz)."""
    first = worlds.scene.address('jnt_qposadr', body)
    worlds.physics.write('qpos', range(first, first + 7), pose, [0])
    worlds.physics.forward([0])


def drive(worlds: Worlds, seconds: float) -> bool:
    """Let the expert act; whether it succeeds."""
    expert, dt = worlds.expert(), worlds.spec.action_dt
    for _ in range(round(seconds / dt)):
        worlds.step(expert.act(worlds.joints[0].copy(), worlds.objects(0), worlds.instructions[0])[None], dt)
        if worlds.success()[0]:
            return True
    return False


def check_expert(task: Task, seeds: Iterable[int]) -> None:
    """The expert succeeds, progress runs from low to 1, and nothing succeeds at the start."""
    with contextlib.closing(Worlds(spec_of(task), 1, task=task)) as worlds:
        for seed in seeds:
            worlds.reset([0], [seed])
            assert not worlds.success()[0], f'{task.name}, seed {seed}: solved at the start'
            solved, progress = attempt(worlds, seed)
            assert solved, (
                f'{task.name}, seed {seed}: {worlds.instructions[0]!r} reached {progress.max():.2f}'
            )
            assert progress[0] < 0.5, f'{task.name}, seed {seed}: begins at progress {progress[0]}'
            assert progress[-1] == 1.0
            assert np.all((progress >= 0) & (progress <= 1))
            assert np.all(progress[:-1] < 1.0)
            assert np.mean(np.diff(progress) >= -0.05) > 0.9, f'{task.name}, seed {seed}: progress {progress}'


def check_failures(task: Task, seeds: Iterable[int]) -> None:
    """No failing behaviour ever counts as success."""
    with contextlib.closing(Worlds(spec_of(task), 1, task=task)) as worlds:
        for behaviour in BEHAVIOURS:
            for seed in seeds:
                solved, _ = attempt(worlds, seed, behaviour)
                assert not solved, f'{task.name}, seed {seed}: {behaviour} counts as success'


def check_starts(task: Task) -> None:
    """A seed is a start; instructions drawn can be given; wrong ones are refused before anything moves."""
    spec = spec_of(task)
    with contextlib.closing(Worlds(spec, 2, task=task)) as worlds:
        told = set()
        for seed in range(12):
            first, second = worlds.reset([0, 1], [seed, seed])
            assert first == second
            np.testing.assert_array_equal(*worlds.physics.read('qpos'))
            told.add(first)
            task.check(first)
            given = worlds.reset([0], [seed + 1], first)
            assert given == [first]
        assert len(told) > 1, f'{task.name} always asks for {told}'
        before = worlds.physics.read('qpos').copy()
        for wrong in ('sing a song', 'do it'):
            with pytest.raises(ValueError, match=r'.+'):
                worlds.reset([0], [0], wrong)
        for refusal in ('do not ', 'never ', "don't "):
            with pytest.raises(ValueError, match='what to do'):
                worlds.reset([0], [0], refusal + first)
        np.testing.assert_array_equal(worlds.physics.read('qpos'), before)
