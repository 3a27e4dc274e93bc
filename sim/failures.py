# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Attempts that go wrong on purpose: near misses and failures, for reward models and for tests of tasks.

Each is a demonstrator that misuses the task's expert. None of them may ever fulfil the instruction; a task
whose success predicate says otherwise has a fault.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import numpy as np

from apprentice.robot.spec import RobotSpec
from apprentice.sim.task import Expert
from apprentice.sim.tasks.things import COLOURS

Progress = Callable[[], float]
ENOUGH = (0.15, 0.6)  # progress at which a good attempt turns bad
BESIDE = (0.05, 0.07)  # m, by which a miss misses: nothing can be held so far from its centre
# what to say for a phrase to ask for something else; what it asked for is then left undone
OPPOSITES = {
    'push shut': 'open',
    'shut': 'open',
    'close': 'open',
    'top': 'bottom',
    'upper': 'bottom',
    'bottom': 'top',
    'lower': 'top',
    'open': 'close',
    'left': 'right',
    'right': 'left',
    'both arms': 'the left arm',
}


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
        self._offset = self.rng.uniform(*BESIDE) * np.array([np.cos(angle), np.sin(angle), 0.0])

    def act(self, state: np.ndarray, objects: dict[str, np.ndarray], task: str) -> np.ndarray:
        moved = {name: np.concatenate([pose[:3] + self._offset, pose[3:]]) for name, pose in objects.items()}
        return self.expert.act(state, moved, task)


class StopShort(Failing):
    """Does it right until a part of the progress is made, then stays where it is."""

    def prepare(self) -> None:
        self._enough, self._stopped = float(self.rng.uniform(*ENOUGH)), None

    _stopped: np.ndarray | None

    def act(self, state: np.ndarray, objects: dict[str, np.ndarray], task: str) -> np.ndarray:
        if self._stopped is None and self.progress() >= self._enough:
            self._stopped = state.copy()
        return self.expert.act(state, objects, task) if self._stopped is None else self._stopped


class Turn(Failing):
    """Does it right until a part of the progress is made, then lets go where it is, and goes home."""

    OPENING = 4  # actions, longest time to let go

    def prepare(self) -> None:
        self._enough, self._turned, self._steps = float(self.rng.uniform(*ENOUGH)), None, 0

    _turned: np.ndarray | None

    def act(self, state: np.ndarray, objects: dict[str, np.ndarray], task: str) -> np.ndarray:
        if self._turned is None:
            if self.progress() < self._enough:
                return self.expert.act(state, objects, task)
            self._turned = state.copy()
        gripper, upper = self.spec.gripper_mask, self.spec.vector('upper')
        self._turned[gripper] = upper[gripper]
        self._steps += 1
        if self._steps <= self.OPENING and np.any(state[gripper] < 0.9 * upper[gripper]):
            return self._turned
        self._steps = self.OPENING
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


class Wrong(Failing):
    """Does something else than it is told: takes another thing, another side; idle if there is none."""

    _told: str | None = None

    def act(self, state: np.ndarray, objects: dict[str, np.ndarray], task: str) -> np.ndarray:
        if self._told is not None:
            return self.expert.act(state, objects, self._told) if self._told else state
        for told in other_instructions(task, list(objects), self.rng):
            if told == task:
                continue
            try:
                target = self.expert.act(state, objects, told)
            except (KeyError, ValueError, StopIteration):  # no such thing here, or nothing the task knows
                continue
            self._told = told
            return target
        self._told = ''
        return state


def other_instructions(task: str, names: list[str], rng: np.random.Generator) -> Iterator[str]:
    """What else might be asked for in the same scene, the most similar first; some may make no sense.

    Args:
        names: of the objects, as experts know them: "cube_red", "blue_hole".
    """
    parts = [set(name.split('_')) for name in rng.permutation(names)]
    pairs = re.findall(rf'\b({"|".join(COLOURS)}) ([a-z]+)', task)
    for colour, noun in pairs:
        others = [each for part in parts if noun in part for each in part & set(COLOURS) if each != colour]
        for other in others:
            yield _exchanged(task, f'{colour} {noun}', f'{other} {noun}')
    for colour, noun in pairs[:1]:
        for part in parts:
            tint, kind = part & set(COLOURS), part - set(COLOURS)
            if len(tint) == len(kind) == 1:
                yield task.replace(f'{colour} {noun}', f'{min(tint)} {min(kind)}')
    for said, instead in OPPOSITES.items():
        if re.search(rf'\b{said}\b', task):
            yield re.sub(rf'\b{said}\b', instead, task)


def _exchanged(text: str, first: str, second: str) -> str:
    """A text with two phrases in each other's place."""
    return re.sub(f'{first}|{second}', lambda found: second if found[0] == first else first, text)


BEHAVIOURS: dict[str, type[Failing]] = {
    'miss': Miss,
    'stop_short': StopShort,
    'turn': Turn,
    'wander': Wander,
    'idle': Idle,
    'wrong': Wrong,
}
