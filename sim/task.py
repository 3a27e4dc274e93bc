# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What a task gives the simulator: a scene, seeded starts, an instruction, success, and an expert.

A task is written once, for N simulations, and keeps nothing itself: what differs between simulations lies in
the physics (positions, colours) or in the memory that :class:`Start` fills and :class:`View` shows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import mujoco
import numpy as np

if TYPE_CHECKING:
    from apprentice.sim.scene import Scene
    from apprentice.sim.view import View


@dataclass
class Start:
    """One seeded start of one simulation.

    Attributes:
        instruction: what the robot is told.
        joints: scene joint -> position; 7 numbers for a free joint (m; quaternion wxyz).
        model: (model field, object name) -> value, e.g. ``('geom_rgba', 'first'): [r, g, b, a]``.
        memory: what success and progress are measured against; name -> number or array, equal shapes in
            every start of the task.
    """

    instruction: str
    joints: dict[str, np.ndarray | float] = field(default_factory=dict)
    model: dict[tuple[str, str], Any] = field(default_factory=dict)
    memory: dict[str, np.ndarray | float] = field(default_factory=dict)


class Expert(Protocol):
    """A scripted demonstrator with privileged knowledge; memoryless, so it can continue from any state."""

    def act(self, state: np.ndarray, objects: dict[str, np.ndarray], task: str) -> np.ndarray:
        """Joint target [dim] for ``action_dt`` later.

        ``state`` is the measured joint vector [dim]; ``objects`` maps an object's name to its pose
        [7] (position, m, base frame; quaternion wxyz).
        """
        ...


class Task(Protocol):
    """One simulated task; one file. :class:`~apprentice.sim.worlds.Worlds` calls it, nobody else.

    Attributes:
        robot: robot file the task is made for, a name in share/apprentice/robots.
        max_duration_s: an attempt that takes longer has failed.
    """

    name: str
    robot: str
    max_duration_s: float

    def build(self, model: mujoco.MjSpec) -> None:
        """Add the task's bodies to the robot's scene."""
        ...

    def check(self, instruction: str) -> None:
        """Raise ValueError unless the task can be given this instruction. Changes nothing."""
        ...

    def start(self, rng: np.random.Generator, instruction: str, level: float) -> Start:
        """Draw a start; the instruction too when it is empty.

        ``level`` in [0, 1] is the curriculum's difficulty; 1 is the task itself.
        """
        ...

    def begin(self, view: View) -> dict[str, np.ndarray]:
        """Measured once at each start, after the scene has settled; name -> [N, ...], kept in memory."""
        ...

    def update(self, view: View) -> None:
        """After every control step; may change ``view.memory`` (what was wiped, what was visited)."""
        ...

    def objects(self, view: View, sim: int) -> dict[str, np.ndarray]:
        """Poses [7] of the objects of one simulation, by the names the expert uses."""
        ...

    def progress(self, view: View) -> np.ndarray:
        """Staged progress [N] in [0, 1]; 1 exactly at success."""
        ...

    def success(self, view: View) -> np.ndarray:
        """Whether the instruction is fulfilled now, bool [N] (ground truth)."""
        ...

    def expert(self, scene: Scene) -> Expert:
        """A demonstrator for this robot and task. Raises ValueError if the robot cannot do it."""
        ...


class TaskBase:
    """What most tasks leave as it is."""

    robot = 'sim_arm'
    max_duration_s = 8.0

    def begin(self, view: View) -> dict[str, np.ndarray]:
        return {}

    def update(self, view: View) -> None:
        pass
