# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What a task gives the simulator: a scene, seeded starts, an instruction, success, and an expert."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import mujoco
import numpy as np

if TYPE_CHECKING:
    from apprentice.sim.world import World


class Expert(Protocol):
    """A scripted demonstrator with privileged knowledge; memoryless, so it can continue from any state."""

    def act(self, state: np.ndarray, objects: dict[str, np.ndarray], task: str) -> np.ndarray:
        """Joint target [dim] for ``action_dt`` later.

        ``state`` is the measured joint vector [dim]; ``objects`` maps an object's name to its pose
        [7] (position, m, base frame; quaternion wxyz).
        """
        ...


class Task(Protocol):
    """One simulated task; one file. ``World`` calls it, nobody else."""

    name: str

    def build(self, model: mujoco.MjSpec) -> None:
        """Add the task's bodies to the robot's scene."""
        ...

    def check(self, instruction: str) -> None:
        """Raise ValueError unless the task can be given this instruction. Changes nothing."""
        ...

    def reset(self, world: World, rng: np.random.Generator, instruction: str) -> str:
        """Place the objects; return the instruction (drawn from ``rng`` when empty)."""
        ...

    def objects(self, world: World) -> dict[str, np.ndarray]:
        """Poses [7] of the task's objects by name."""
        ...

    def progress(self, world: World) -> float:
        """Staged progress in [0, 1]; 1 exactly at success."""
        ...

    def success(self, world: World) -> bool:
        """Whether the instruction is fulfilled now (ground truth)."""
        ...

    def expert(self, world: World) -> Expert:
        """A demonstrator for this robot and task."""
        ...
