# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What the contestants of `apprentice bench learn` share: environment, demonstrations, evaluations, a clock.

Everything here is Gymnasium and the simulator, no torch: a contestant may run in an environment of its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np

from apprentice.sim.gym.attempts import Attempts
from apprentice.sim.gym.env import ApprenticeEnv
from apprentice.sim.tasks.reach import WITHIN, Reach
from apprentice.sim.view import View

DISCOUNT = 0.98  # of one step, for everybody
HELD_OUT = 910_000  # first seed of the evaluations; nothing was chosen on them
SHOWN = 40_000_000  # first seed of the demonstrations

# observations [N, D] to actions [N, R, dim] in [-1, 1], of which all R are executed
Plan = Callable[[np.ndarray], np.ndarray]


class Touch(Reach):
    """Reach the named marker, without resting there: an actor that explores never rests."""

    name = 'touch'

    def success(self, view: View) -> np.ndarray:
        return self._distance(view) < WITHIN


@dataclass(frozen=True)
class Setup:
    """A task: what Gymnasium is asked for, and the objects whose places are observed."""

    task: str
    instruction: str
    objects: tuple[str, ...]


TASKS = {
    'touch': Setup('apprentice.bench.learn_world:Touch', 'reach the red marker', ('marker_red',)),
    'push': Setup('push', 'push the red block to the blue zone', ('block_red', 'zone_blue')),
}


def observe(attempts: Attempts, objects: tuple[str, ...]) -> np.ndarray:
    """State of N attempts, float32 [N, D]: joints and their speeds in shares of their limits, the tool's tip
    (m), and from it to every object (fifths of a metre)."""
    worlds, spec = attempts.worlds, attempts.spec
    lower, upper = spec.vector('lower'), spec.vector('upper')
    tip = worlds.view.tip
    seen = [worlds.objects(sim) for sim in range(worlds.count)]
    places = [np.stack([found[name][:3] for found in seen]) for name in objects]
    parts = [
        2 * (worlds.joints - lower) / (upper - lower) - 1,
        worlds.velocities / spec.vector('velocity'),
        tip,
        *(5 * (place - tip) for place in places),
    ]
    return np.nan_to_num(np.concatenate(parts, 1)).astype(np.float32)


def options(name: str, level: float) -> dict[str, Any]:
    setup = TASKS[name]
    return {
        'task': setup.task, 'instruction': setup.instruction, 'cameras': False, 'reward': 'progress',
        'level': level,
    }  # fmt: skip


class StateEnv(gymnasium.Wrapper):
    """Our environment with the state in place of the cameras.

    The reward is 1 at success, and ``shaping`` times the gain of progress.
    """

    def __init__(self, name: str, level: float = 1.0, shaping: float = 0.0):
        super().__init__(ApprenticeEnv(**options(name, level)))
        self._objects, self._shaping = TASKS[name].objects, shaping
        self.attempts: Attempts = self.env.unwrapped.attempts  # type: ignore[attr-defined]
        self.env.reset(seed=0)  # the objects' places are known after a start
        size = observe(self.attempts, self._objects).shape[1]
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)

    def reset(self, **kwargs: Any) -> tuple[np.ndarray, dict[str, Any]]:
        _, info = self.env.reset(**kwargs)
        return observe(self.attempts, self._objects)[0], info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        _, gain, terminated, truncated, info = self.env.step(action)
        reward = float(terminated) + self._shaping * float(gain)
        return observe(self.attempts, self._objects)[0], reward, terminated, truncated, info


@dataclass
class Path:
    """An episode of T steps: observations [T + 1, D], actions [T, dim], rewards [T], whether it succeeded."""

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    success: bool


@dataclass(frozen=True)
class TrialConfig:
    """A trial of one contestant.

    Attributes:
        task: of TASKS; level: of its starts.
        shaping: of the reward.
        demonstrations: that a contestant is given.
        cpu_s: processor time it may use, its evaluations not counted.
        every: episodes between evaluations; starts: of an evaluation.
        until: success at which it ends, twice in a row.
        episodes: it ends after so many in any case.
    """

    task: str = 'touch'
    level: float = 1.0
    shaping: float = 1.0
    demonstrations: int = 10
    seed: int = 0
    cpu_s: float = 120.0
    every: int = 10
    starts: int = 50
    until: float = 0.9
    episodes: int = 100_000


@dataclass
class Trial:
    """The course of a trial.

    Attributes:
        evaluations: one entry each: ``episodes``, ``steps``, ``wall_s``, ``cpu_s`` before it, ``success``.
    """

    config: TrialConfig
    evaluations: list[dict[str, float]] = field(default_factory=list)
    episodes: int = 0
    steps: int = 0

    def __post_init__(self) -> None:
        config = self.config
        self.env = StateEnv(config.task, config.level, config.shaping)
        self._many = Attempts(config.starts, **options(config.task, config.level))
        self._load = os.getloadavg()[0]
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def demonstrations(self) -> list[Path]:
        """Of the task's scripted expert, solved ones."""
        found: list[Path] = []
        seed = SHOWN + 1000 * self.config.seed
        while len(found) < self.config.demonstrations:
            path = self.follow(lambda _: self.env.env.expert_action()[None, None], seed)  # type: ignore[attr-defined]
            found += [path] if path.success else []
            seed += 1
        return found

    def follow(self, plan: Plan, seed: int | None = None) -> Path:
        """One episode; without a seed from the next start of the environment's own generator."""
        observation, _ = self.env.reset(seed=seed)
        observations, actions, rewards = [observation], [], []
        while True:
            for action in plan(observation[None])[0]:
                observation, reward, terminated, truncated, _ = self.env.step(action)
                observations.append(observation)
                actions.append(action)
                rewards.append(reward)
                if terminated or truncated:
                    shown = (np.stack(observations), np.stack(actions), np.array(rewards, np.float32))
                    return Path(*shown, success=terminated)

    def begin(self) -> None:
        """The clock starts."""
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def ended(self, plan: Plan, steps: int) -> bool:
        """An episode of ``steps`` has ended and was learned from; whether there shall be another."""
        config = self.config
        self.episodes, self.steps = self.episodes + 1, self.steps + steps
        over = time.process_time() - self._cpu >= config.cpu_s or self.episodes >= config.episodes
        if over or self.episodes % config.every == 0:
            self.evaluate(plan)
        last = self.evaluations[-2:]
        reached = len(last) == 2 and min(each['success'] for each in last) >= config.until
        return not (over or reached)

    def evaluate(self, plan: Plan) -> None:
        """What acts now, from held-out starts; the clock stands still meanwhile."""
        wall, cpu = time.perf_counter(), time.process_time()
        rate = success(self._many, TASKS[self.config.task].objects, plan)
        entry = {'episodes': self.episodes, 'steps': self.steps, 'success': rate}
        self.evaluations.append({**entry, 'wall_s': wall - self._wall, 'cpu_s': cpu - self._cpu})
        self._wall += time.perf_counter() - wall
        self._cpu += time.process_time() - cpu

    def result(self) -> dict[str, Any]:
        """The course, and ``reached``: the first of two good evaluations in a row, or None."""
        good = [each['success'] >= self.config.until for each in self.evaluations]
        pairs = zip(self.evaluations, good, good[1:])
        return {
            'reached': next((each for each, now, then in pairs if now and then), None),
            'evaluations': self.evaluations,
            'load': {'before': self._load, 'after': os.getloadavg()[0]},
        }

    def close(self) -> None:
        self.env.close()
        self._many.close()


def success(attempts: Attempts, objects: tuple[str, ...], plan: Plan) -> float:
    """Share of the held-out starts, one for each attempt, from which ``plan`` succeeds."""
    count = attempts.count
    attempts.begin(range(count), range(HELD_OUT, HELD_OUT + count))
    going, won = np.arange(count), np.zeros(count, bool)
    while len(going):
        chunks = plan(observe(attempts, objects)[going])
        for row in range(chunks.shape[1]):
            _, terminated, truncated = attempts.advance(chunks[:, row], going.tolist())
            won[going] |= terminated
            left = ~(terminated | truncated)
            going, chunks = going[left], chunks[left]
            if not len(going):
                break
    return float(won.mean())
