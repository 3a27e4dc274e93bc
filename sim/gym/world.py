# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Any Gymnasium environment with images as a robot and task of ours: one robot file, no code.

The environment's own physics, reset and success are used. It stands behind the same topics as every other
robot; docs/robots.md says what the robot file needs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np

from apprentice.robot.spec import RobotSpec
from apprentice.sim.gym.simulation import GymSimulation
from apprentice.sim.kinematics import Kinematics
from apprentice.sim.robots.section import Section
from apprentice.sim.task import Expert
from apprentice.sim.world import World


def _refuse(spec: RobotSpec, options: dict[str, Any]) -> None:
    given = sorted(name for name, value in options.items() if value is not None)
    if given:
        raise ValueError(
            f'robot {spec.name!r}: a Gymnasium environment brings its own physics; '
            f'leave {", ".join(given)} out'
        )


class GymWorlds:
    """``count`` environments of one robot file, one after the other; what rollouts need of Worlds.

    An environment that ends its episode, that raises in a step, or whose numbers are not finite, stands still
    until its next reset. ``options`` of our own worlds are refused with a ValueError.
    """

    def __init__(self, spec: RobotSpec, count: int = 1, **options: Any):
        _refuse(spec, options)
        self.spec, self.count = spec, count
        with contextlib.ExitStack() as made:  # closes them if a later one cannot be made
            self.simulations = [
                made.enter_context(contextlib.closing(GymSimulation(spec))) for _ in range(count)
            ]
            self._max_duration_s = Section(spec).number(
                spec.simulator.get('max_duration_s', 8.0), 'max_duration_s'
            )
            made.pop_all()
        self.instruction = str(spec.simulator.get('instruction', spec.simulator.get('env', spec.name)))
        self.instructions = [self.instruction] * count
        self.seeds = np.zeros(count, np.int64)

    @property
    def max_duration_s(self) -> float:
        """``simulator.max_duration_s`` of the robot file; 8 s without it."""
        return self._max_duration_s

    @property
    def joints(self) -> np.ndarray:
        """Joint positions [N, dim]."""
        return np.stack([simulation.joints for simulation in self.simulations])

    @property
    def velocities(self) -> np.ndarray:
        """Joint velocities [N, dim]."""
        return np.stack([simulation.velocities for simulation in self.simulations])

    @property
    def failed(self) -> np.ndarray:
        """bool [N]: environments that raised or whose numbers are not finite."""
        return np.array([simulation.failed for simulation in self.simulations])

    def reset(self, sims: Sequence[int], seeds: Sequence[int], instruction: str = '') -> list[str]:
        """Seeded starts. Raises ValueError for an instruction that is not the environment's own."""
        if instruction and instruction != self.instruction:
            raise ValueError(f'this environment does one thing: {self.instruction!r}; not {instruction!r}')
        for sim, seed in zip(sims, seeds, strict=True):
            self.simulations[sim].reset(int(seed))
            self.seeds[sim] = seed
        return [self.instruction] * len(sims)

    def step(self, targets: np.ndarray, duration_s: float, sims: Sequence[int] | None = None) -> int:
        """Command positions [len(sims), dim]; returns the most steps that an environment made."""
        targets = np.asarray(targets, np.float64)
        if not np.all(np.isfinite(targets)):
            raise ValueError(f'joint target is not finite: {targets}')
        chosen = range(self.count) if sims is None else sims
        limited = np.clip(targets, self.spec.vector('lower'), self.spec.vector('upper'))
        made = [self.simulations[s].step(t, duration_s) for s, t in zip(chosen, limited, strict=True)]
        return max(made, default=0)

    def progress(self) -> np.ndarray:
        """Progress [N] in [0, 1]; 1 exactly at success."""
        return np.array([simulation.progress() for simulation in self.simulations])

    def success(self) -> np.ndarray:
        """bool [N], as the environments say."""
        return np.array([s.success and not s.failed for s in self.simulations])

    def objects(self, sim: int = 0) -> dict[str, np.ndarray]:
        """Poses [7] (m; quaternion wxyz) of the objects that the robot file lists."""
        return self.simulations[sim].objects()

    def expert(self) -> Expert:
        raise ValueError(
            f'robot {self.spec.name!r}: a Gymnasium environment has no scripted expert; '
            'let a policy or a person drive'
        )

    def render(
        self, sims: Sequence[int] | None = None, out: dict[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """One frame of every camera: name -> uint8 [len(sims), H, W, 3] RGB."""
        chosen = range(self.count) if sims is None else sims
        cameras = self.spec.cameras
        frames = out or {c.name: np.zeros((len(chosen), c.height, c.width, 3), np.uint8) for c in cameras}
        for row, sim in enumerate(chosen):
            for camera in cameras:
                self.simulations[sim].render(camera, frames[camera.name][row])
        return frames

    def close(self) -> None:
        for simulation in self.simulations:
            simulation.close()


class GymWorld(World):
    """One environment as a driver sees it; see :class:`~apprentice.sim.world.World`."""

    many = GymWorlds

    def __init__(self, spec: RobotSpec, seed: int = 0, **options: Any):
        self.spec = spec
        self.worlds: Any = GymWorlds(spec, 1, **options)
        self._time, self._steps_done = 0.0, 0
        try:
            self.reset(seed)
        except BaseException:
            self.close()
            raise

    @property
    def model(self) -> mujoco.MjModel:
        return self.worlds.simulations[0].mujoco()[0]

    @property
    def data(self) -> mujoco.MjData:
        return self.worlds.simulations[0].mujoco()[1]

    @property
    def time(self) -> float:
        return self._time

    def reset(self, seed: int, task: str = '') -> str:
        return self.worlds.reset([0], [seed], task)[0]

    def step(self, target: np.ndarray, duration_s: float) -> None:
        self._time += duration_s
        super().step(target, duration_s)

    def state(self) -> np.ndarray:
        return self.worlds.joints[0]

    def velocity(self) -> np.ndarray:
        return self.worlds.velocities[0]

    def tip(self) -> tuple[np.ndarray, np.ndarray]:
        """Position of the tool where joints are called x, y, z, else NaN; no rotation."""
        names = self.spec.joint_names
        if not {'x', 'y', 'z'} <= set(names):
            return np.full(3, np.nan), np.eye(3)
        return self.state()[[names.index(name) for name in 'xyz']], np.eye(3)

    def kinematics(self) -> Kinematics:
        raise ValueError(f'robot {self.spec.name!r}: the kinematics of a Gymnasium environment are not known')
