# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Attempts that go wrong on purpose: near misses and failures, for reward models and for tests of tasks.

Each is a demonstrator that misuses the task's expert. None of them may ever fulfil the instruction; a task
whose success predicate says otherwise has a fault.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from apprentice.robot.spec import RobotSpec
from apprentice.sim.task import Expert

Progress = Callable[[], float]


class Failing:
    """A demonstrator that will not succeed; see :data:`BEHAVIOURS`.

    Args:
        progress: the task's true progress now.
    """

    def __init__(self, expert: Expert, spec: RobotSpec, rng: np.random.Generator, progress: Progress):
        self.expert, self.spec, self.rng, self.progress = expert, spec, rng, progress
        self.prepare()

    def prepare(self) -> None:
        """Draw what goes wrong."""

    def act(self, state: np.ndarray, objects: dict[str, np.ndarray], task: str) -> np.ndarray:
        """Joint target [dim] for ``action_dt`` later; see :class:`~apprentice.sim.task.Expert`."""
        raise NotImplementedError


class Miss(Failing):
    """Sees every object some centimetres beside where it is."""

    def prepare(self) -> None:
        angle = self.rng.uniform(0, 2 * np.pi)
        self._offset = self.rng.uniform(0.04, 0.07) * np.array([np.cos(angle), np.sin(angle), 0.0])

    def act(self, state: np.ndarray, objects: dict[str, np.ndarray], task: str) -> np.ndarray:
        moved = {name: np.concatenate([pose[:3] + self._offset, pose[3:]]) for name, pose in objects.items()}
        return self.expert.act(state, moved, task)


class StopShort(Failing):
    """Does it right until a part of the progress is made, then stays where it is."""

    def prepare(self) -> None:
        self._enough, self._stopped = float(self.rng.uniform(0.15, 0.75)), None

    _stopped: np.ndarray | None

    def act(self, state: np.ndarray, objects: dict[str, np.ndarray], task: str) -> np.ndarray:
        if self._stopped is None and self.progress() >= self._enough:
            self._stopped = state.copy()
        return self.expert.act(state, objects, task) if self._stopped is None else self._stopped


class Turn(Failing):
    """Does it right until a part of the progress is made, then goes home and lets go."""

    def prepare(self) -> None:
        self._enough, self._turned = float(self.rng.uniform(0.15, 0.75)), False

    def act(self, state: np.ndarray, objects: dict[str, np.ndarray], task: str) -> np.ndarray:
        self._turned = self._turned or self.progress() >= self._enough
        if not self._turned:
            return self.expert.act(state, objects, task)
        reach = self.spec.vector('velocity') * self.spec.action_dt
        return state + np.clip(self.spec.vector('home') - state, -reach, reach)


class Wander(Failing):
    """Moves at random."""

    def act(self, state: np.ndarray, objects: dict[str, np.ndarray], task: str) -> np.ndarray:
        span = self.spec.vector('velocity') * self.spec.action_dt
        target = state + 0.7 * span * self.rng.uniform(-1, 1, self.spec.dim)
        gripper = self.spec.gripper_mask
        target[gripper] = self.spec.vector('upper')[gripper] * (self.rng.random() < 0.7)
        return target


class Idle(Failing):
    """Does nothing."""

    def act(self, state: np.ndarray, objects: dict[str, np.ndarray], task: str) -> np.ndarray:
        return state


BEHAVIOURS: dict[str, type[Failing]] = {
    'miss': Miss,
    'stop_short': StopShort,
    'turn': Turn,
    'wander': Wander,
    'idle': Idle,
}
