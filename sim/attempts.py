# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Attempts of every quality: good, shaky, failing, and changing between them, as episodes and as chunks.

A model of what actions do must have seen more than good ones. :class:`Shaky` spoils the expert by noise,
:class:`Changing` goes from one driver to another in the middle of an attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode, Outcome, Source
from apprentice.sim.failures import BEHAVIOURS, Failing
from apprentice.sim.rollout import PREDICATE, TIMEOUT
from apprentice.sim.task import Expert
from apprentice.sim.worlds import Worlds

SHAKY = (0.02, 0.25)  # rad, range of the noise's standard deviation, drawn logarithmically
MEMORY = 0.7  # of the noise from one action to the next
GRIPS = 0.06  # probability an action that a shaky hand opens or closes for a while, times its shakiness / 0.1
STAYS = (5, 16)  # actions that a driver stays at the controls
MIX = ('expert', 'shaky', 'shaky', 'miss', 'wander', 'idle', 'wrong', 'turn')


class Shaky(Failing):
    """The expert with correlated noise on the joints, and a gripper that sometimes does what it wants."""

    def prepare(self) -> None:
        self.scale = float(np.exp(self.rng.uniform(*np.log(SHAKY))))
        self._noise, self._grip, self._left = np.zeros(self.spec.dim), 0.0, 0

    def act(self, state: np.ndarray, objects: dict[str, np.ndarray], task: str) -> np.ndarray:
        gripper = self.spec.gripper_mask
        fresh = self.rng.normal(0, self.scale, self.spec.dim)
        self._noise = MEMORY * self._noise + np.sqrt(1 - MEMORY**2) * fresh
        target = self.expert.act(state, objects, task) + self._noise * ~gripper
        if self._left == 0 and self.rng.random() < GRIPS * self.scale / 0.1:
            self._left = int(self.rng.integers(2, 8))
            self._grip = float(self.rng.random() < 0.5)
        if self._left:
            self._left -= 1
            lower, upper = self.spec.vector('lower'), self.spec.vector('upper')
            target[gripper] = (lower + self._grip * (upper - lower))[gripper]
        return target


class Changing(Failing):
    """One driver after the other, each for a while."""

    def prepare(self) -> None:
        self._left, self._driver = 0, self.expert

    def act(self, state: np.ndarray, objects: dict[str, np.ndarray], task: str) -> np.ndarray:
        if self._left == 0:
            name = str(self.rng.choice(MIX))
            self._driver = make_driver(name, self.expert, self.spec, self.rng, self.progress)
            self._left = int(self.rng.integers(*STAYS))
        self._left -= 1
        return self._driver.act(state, objects, task)


def make_driver(
    name: str, expert: Expert, spec: RobotSpec, rng: np.random.Generator, progress: Callable[[], float]
) -> Expert:
    """``expert``, ``shaky``, ``changing`` or one of :data:`~apprentice.sim.failures.BEHAVIOURS`.

    Raises ValueError for another name.
    """
    if name == 'expert':
        return expert
    kinds: dict[str, type[Failing]] = {'shaky': Shaky, 'changing': Changing, **BEHAVIOURS}
    if name not in kinds:
        raise ValueError(f'no driver {name!r}; there are: expert, {", ".join(kinds)}')
    return kinds[name](expert, spec, rng, progress)


def attempts(
    worlds: Worlds, seeds: Sequence[int], drivers: Sequence[str] = ('changing', 'expert'), steps: int = 60
) -> Iterator[Episode]:
    """One episode for each seed, as the recorder would have logged it; drivers are taken in turn.

    Deterministic for (seed, driver), whatever runs beside it. An attempt ends one step after success, so
    that its last frame is the success, or after ``steps`` actions.
    """
    spec, expert = worlds.spec, worlds.expert()
    for first in range(0, len(seeds), worlds.count):
        chosen = list(seeds[first : first + worlds.count])
        yield from _together(worlds, chosen, drivers, first, steps, spec, expert)


def _together(
    worlds: Worlds,
    seeds: list[int],
    drivers: Sequence[str],
    first: int,
    steps: int,
    spec: RobotSpec,
    expert: Expert,
) -> Iterator[Episode]:
    sims = list(range(len(seeds)))
    worlds.reset(sims, seeds)
    names = [drivers[(first + sim) % len(drivers)] for sim in sims]
    hands = [
        make_driver(name, expert, spec, np.random.default_rng((seed, 77)), partial(_progress, worlds, sim))
        for sim, (name, seed) in enumerate(zip(names, seeds, strict=True))
    ]
    logs = [_Log(spec, seed, worlds.instructions[sim], name)
            for sim, (seed, name) in enumerate(zip(seeds, names, strict=True))]  # fmt: skip
    running = list(sims)
    setpoints = worlds.joints.copy()
    for step in range(steps + 1):
        frames, joints = worlds.render(running), worlds.joints
        success, failed = worlds.success(), worlds.failed
        targets = setpoints.copy()
        for row, sim in enumerate(list(running)):
            log = logs[sim]
            log.images.append({name: stack[row].copy() for name, stack in frames.items()})
            log.state.append(joints[sim].copy())
            over = bool(success[sim] or failed[sim] or step == steps)
            if success[sim]:
                log.outcome = Outcome.SUCCESS
            if over:
                log.action.append(setpoints[sim].copy())
                running.remove(sim)
                continue
            wanted = hands[sim].act(joints[sim], worlds.objects(sim), worlds.instructions[sim])
            targets[sim] = followed(wanted, setpoints[sim], spec)
            log.action.append(targets[sim].copy())
        if not running:
            break
        advance(worlds, setpoints, targets, running)
        setpoints = targets
    for log in logs:
        yield log.episode()


def followed(wanted: np.ndarray, setpoint: np.ndarray, spec: RobotSpec) -> np.ndarray:
    """The setpoint [dim] one action later, within the robot's limits of speed and position."""
    reach = spec.vector('velocity') * spec.action_dt
    moved = setpoint + np.clip(wanted - setpoint, -reach, reach)
    return np.clip(moved, spec.vector('lower'), spec.vector('upper'))


def advance(worlds: Worlds, setpoints: np.ndarray, targets: np.ndarray, sims: Sequence[int]) -> np.ndarray:
    """Simulate one action, from setpoints [N, dim] to targets [N, dim] along straight lines as the gate does.

    Returns the control tick, from 1, after which each simulation first was a success; 0: none. int [N].
    """
    period = 1 / worlds.spec.control_hz
    ticks = max(1, round(worlds.spec.action_dt / period))
    done = np.zeros(worlds.count, np.int64)
    if not len(sims):
        return done
    for tick in range(1, ticks + 1):
        between = setpoints + (targets - setpoints) * tick / ticks
        worlds.step(between[list(sims)], period, sims)
        done[(done == 0) & worlds.success()] = tick
    return done


def _progress(worlds: Worlds, sim: int) -> float:
    return float(worlds.progress()[sim])


class _Log:
    def __init__(self, spec: RobotSpec, seed: int, text: str, driver: str):
        self.spec, self.seed, self.text, self.driver = spec, seed, text, driver
        self.images: list[dict[str, np.ndarray]] = []
        self.state: list[np.ndarray] = []
        self.action: list[np.ndarray] = []
        self.outcome = Outcome.FAILURE

    def episode(self) -> Episode:
        count = len(self.state)
        return Episode(
            episode_id=f'{self.driver}-{self.seed}',
            task=self.text,
            seed=self.seed,
            outcome=self.outcome,
            end_cause=PREDICATE if self.outcome == Outcome.SUCCESS else TIMEOUT,
            eval_only=False,
            stamps=1.0 + np.arange(count) * self.spec.action_dt,
            images={name: np.stack([seen[name] for seen in self.images]) for name in self.images[0]},
            state=np.array(self.state, np.float32),
            action=np.array(self.action, np.float32),
            source=np.full(count, int(Source.HUMAN), np.uint8),
            takeover_id=np.ones(count, np.int64),
            robot=self.spec.name,
        )
