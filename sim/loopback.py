# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A robot without physics: joints follow commands, cameras show the number of the frame.

For tests of nodes: it starts at once, costs next to nothing, and every frame can be told from every other.
"""

from __future__ import annotations

import numpy as np

from apprentice.robot.spec import RobotSpec

LAG_S = 0.05  # time constant of the joints
BITS = 16  # of the frame number, which begins anew after 65535
REACHED = 0.05  # rad or m, largest error of any joint that counts as the goal reached


class LoopbackWorld:
    """Stands where :class:`~apprentice.sim.world.World` stands. The goal is a joint vector near home."""

    def __init__(self, spec: RobotSpec, seed: int = 0):
        for camera in spec.cameras:
            if camera.width < BITS:
                raise ValueError(f'camera {camera.name} is {camera.width} wide; {BITS} pixels hold a number')
        self.spec, self.time, self.frames = spec, 0.0, 0
        self._limits = spec.vector('lower'), spec.vector('upper')
        self.reset(seed)

    def reset(self, seed: int, task: str = '') -> str:
        """Joints at home, a seeded goal. Returns the instruction; any is accepted."""
        rng, home = np.random.default_rng(seed), self.spec.vector('home')
        self._position, self._velocity = home.copy(), np.zeros(self.spec.dim)
        away = rng.uniform(0.1, 0.3, self.spec.dim) * rng.choice([-1, 1], self.spec.dim)
        self._goal = np.clip(home + away * ~self.spec.gripper_mask, *self._limits)
        self._span = float(np.max(np.abs(self._goal - home)))
        self.instruction = task or 'move to the goal'
        return self.instruction

    @property
    def goal(self) -> np.ndarray:
        """Joint vector [dim] at which the task is done."""
        return self._goal.copy()

    def step(self, target: np.ndarray, duration_s: float) -> None:
        """Follow a joint target [dim] with a first-order lag, no faster than the robot file allows.

        Raises ValueError for a target that is not finite.
        """
        target = np.asarray(target, np.float64)
        if not np.all(np.isfinite(target)):
            raise ValueError(f'joint target is not finite: {target}')
        reach = self.spec.vector('velocity') * duration_s
        way = (np.clip(target, *self._limits) - self._position) * (1 - np.exp(-duration_s / LAG_S))
        way = np.clip(way, -reach, reach)
        self._position, self._velocity = self._position + way, way / duration_s
        self.time += duration_s

    def state(self) -> np.ndarray:
        """Joint positions, float64 [dim]."""
        return self._position.copy()

    def velocity(self) -> np.ndarray:
        """Joint velocities, float64 [dim]."""
        return self._velocity.copy()

    def tip(self) -> tuple[np.ndarray, np.ndarray] | None:
        """None: where the tool is, only a model knows."""
        return None

    def render(self) -> dict[str, np.ndarray]:
        """One numbered frame of every camera: name -> uint8 [H, W, 3] RGB."""
        self.frames = (self.frames + 1) % 2**BITS
        span = self._limits[1] - self._limits[0]
        share = (self._position - self._limits[0]) / np.where(span > 0, span, 1.0)
        made = {}
        for index, camera in enumerate(self.spec.cameras):
            image = np.full((camera.height, camera.width, 3), 40 + 60 * (index % 3), np.uint8)
            # below the number a bar for each joint, as long as it is far from its lower limit
            rows = np.linspace(camera.height // 4, camera.height, self.spec.dim + 1).astype(int)
            for top, bottom, part in zip(rows[:-1], rows[1:], share, strict=True):
                image[top:bottom, : int(part * camera.width), index % 3] = 220
            write_number(image, self.frames)
            made[camera.name] = image
        return made

    def objects(self) -> dict[str, np.ndarray]:
        """There are none."""
        return {}

    def progress(self) -> float:
        """Share of the way to the goal, in [0, 1]; 1 exactly at success."""
        left = float(np.max(np.abs(self._goal - self._position)))
        return 1.0 if left < REACHED else float(np.clip(1 - left / self._span, 0.0, 0.99))

    def success(self) -> bool:
        return self.progress() == 1.0

    def close(self) -> None:
        """Nothing is open."""


def write_number(image: np.ndarray, number: int) -> None:
    """Write BITS bits along the top of an image, as blocks of black and white that survive JPEG."""
    width, height = image.shape[1] // BITS, max(1, image.shape[0] // 8)
    for bit in range(BITS):
        image[:height, bit * width : (bit + 1) * width] = 255 * (number >> bit & 1)


def read_number(image: np.ndarray) -> int:
    """The number in a frame [H, W, 3]."""
    width, height = image.shape[1] // BITS, max(1, image.shape[0] // 8)
    bits = [image[:height, bit * width : (bit + 1) * width].mean() > 127 for bit in range(BITS)]
    return sum(int(value) << bit for bit, value in enumerate(bits))
