# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""One simulated robot, as a driver sees it: the case N = 1 of :class:`~apprentice.sim.worlds.Worlds`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from apprentice.robot.parts import load_part
from apprentice.robot.spec import RobotSpec
from apprentice.sim.kinematics import Kinematics
from apprentice.sim.physics.base import UnstableSimulation
from apprentice.sim.randomize import Randomization
from apprentice.sim.task import Expert, Task
from apprentice.sim.worlds import SETTLE_STEPS, Worlds


class World:
    """The robot of ``spec`` in the scene of its task."""

    def __init__(
        self,
        spec: RobotSpec,
        seed: int = 0,
        task: Task | None = None,
        randomization: Randomization | str | Path | None = None,
    ):
        self.spec = spec
        self.worlds = Worlds(spec, 1, task=task, randomization=randomization)
        self._steps_done = 0
        self.reset(seed)

    @property
    def task(self) -> Task:
        return self.worlds.task

    @property
    def model(self) -> mujoco.MjModel:
        return self.worlds.physics.materialize(0)[0]

    @property
    def data(self) -> mujoco.MjData:
        return self.worlds.physics.materialize(0)[1]

    @property
    def instruction(self) -> str:
        return self.worlds.instructions[0]

    @property
    def time(self) -> float:
        """Simulated seconds since the world was made; resets do not turn back."""
        return self._steps_done * self.model.opt.timestep

    def reset(self, seed: int, task: str = '') -> str:
        """Seeded start: objects placed, arm within its spread of home. Returns the instruction."""
        instruction = self.worlds.reset([0], [seed], task)[0]
        self._steps_done += SETTLE_STEPS
        return instruction

    def step(self, target: np.ndarray, duration_s: float) -> None:
        """Command joint positions [dim] and simulate ``duration_s``.

        Raises ValueError for a target that is not finite and UnstableSimulation when the physics diverges;
        the world then stands still until it is reset.
        """
        steps = self.worlds.step(np.asarray(target)[None], duration_s)
        self._steps_done += steps
        if self.worlds.failed[0]:
            raise UnstableSimulation(
                f'the simulation of {self.spec.name!r} diverged (seed {self.worlds.seeds[0]}); reset it. '
                'If it comes again, lower the time step or the gains of the model'
            )

    def state(self) -> np.ndarray:
        """Measured joint positions, float64 [dim]."""
        return self.worlds.joints[0].copy()

    def velocity(self) -> np.ndarray:
        """Measured joint velocities, float64 [dim]."""
        return self.worlds.view.velocities[0].copy()

    def tip(self) -> tuple[np.ndarray, np.ndarray]:
        """Tool position [3] (m) and rotation [3, 3] in the base frame."""
        return self.worlds.view.tip[0].copy(), self.worlds.view.tip_rotation[0].copy()

    def render(self) -> dict[str, np.ndarray]:
        """One frame of every camera: name -> uint8 [H, W, 3] RGB."""
        return {name: frames[0] for name, frames in self.worlds.render().items()}

    def objects(self) -> dict[str, np.ndarray]:
        """Poses [7] (m, base frame; quaternion wxyz) of the task's objects."""
        return self.worlds.objects(0)

    def success(self) -> bool:
        return bool(self.worlds.success()[0])

    def progress(self) -> float:
        return float(self.worlds.progress()[0])

    def expert(self) -> Expert:
        return self.worlds.expert()

    def kinematics(self) -> Kinematics:
        """Kinematics of the tool with respect to the arm joints (gripper excluded)."""
        return self.worlds.scene.kinematics()

    def close(self) -> None:
        """Free the GL contexts."""
        self.worlds.close()


def make_world(spec: RobotSpec, seed: int = 0, **options: Any) -> World:
    """The world of a robot: ours, or the one that ``simulator.world`` names (``package.module:Class``).

    ``options`` are those of :class:`World`; another world takes its own.
    """
    reference = spec.simulator.get('world')
    made = World if reference is None else load_part(str(reference))
    return made(spec, seed, **options)


def make_worlds(spec: RobotSpec, count: int = 1, **options: Any) -> Any:
    """``count`` worlds of a robot, for rollouts: Worlds, or ``many`` of the class ``simulator.world``.

    ``options`` are those of Worlds; another world takes its own.
    """
    reference = spec.simulator.get('world')
    if reference is None:
        return Worlds(spec, count, **options)
    return load_part(str(reference)).many(spec, count, **options)
