# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A world that stands still when its physics diverges, as a robot whose drives have switched off would."""

from __future__ import annotations

from typing import Any

import numpy as np


class SteadyWorld:
    """``world`` (a World or the like) until its physics diverges, then what was last seen of it.

    Until the next reset nothing moves and nothing succeeds, and every reading is the last finite one, so
    that the nodes that look on keep going and end the episode in their own time.

    Attributes:
        problem: why it stands still, with the remedy; empty while it moves.
    """

    def __init__(self, world: Any):
        self._world = world
        self._seen: dict[str, Any] = {}
        self._current: set[str] = set()  # of what was seen, what is of now
        self.problem = ''
        self.state()

    @property
    def instruction(self) -> str:
        return self._world.instruction

    def reset(self, seed: int, task: str = '') -> str:
        """Seeded start, moving again. Returns the instruction; ValueError as the world's."""
        instruction = self._world.reset(seed, task)
        self._current.clear()
        self.problem = ''
        return instruction

    def step(self, target: np.ndarray, duration_s: float) -> None:
        """Command joint positions [dim] and simulate ``duration_s``; nothing while it stands still."""
        if self.problem:
            return
        self.state()  # to stand still at
        self._current.clear()
        try:
            self._world.step(target, duration_s)
        except RuntimeError as error:
            from apprentice.sim.physics.base import UnstableSimulation  # MuJoCo only where it is used

            if not isinstance(error, UnstableSimulation):
                raise
            self.problem = f'{error}. It stands still until reset_world is called or an episode starts'

    def _look(self, what: str, otherwise: Any = None) -> Any:
        if not self.problem and what not in self._current:
            self._seen[what] = getattr(self._world, what)()
            self._current.add(what)
        return self._seen.get(what, otherwise)

    def state(self) -> np.ndarray:
        """Measured joint positions, float64 [dim]."""
        return self._look('state')

    def velocity(self) -> np.ndarray:
        """Measured joint velocities, float64 [dim]."""
        return np.zeros_like(self.state()) if self.problem else self._world.velocity()

    def tip(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Tool position [3] (m) and rotation [3, 3] in the base frame; None if nobody knows."""
        return self._look('tip')

    def render(self) -> dict[str, np.ndarray]:
        """One frame of every camera: name -> uint8 [H, W, 3] RGB."""
        return self._look('render', {})

    def objects(self) -> dict[str, np.ndarray]:
        """Poses [7] (m, base frame; quaternion wxyz) of the task's objects."""
        return self._look('objects', {})

    def progress(self) -> float:
        return self._look('progress', 0.0)

    def success(self) -> bool:
        return not self.problem and self._world.success()

    def close(self) -> None:
        self._world.close()
