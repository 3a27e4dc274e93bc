# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Attempts at a task as reinforcement learning sees them, N at once: normalised actions, rewards, ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from apprentice.robot.limits import Limits
from apprentice.robot.parts import find_robot
from apprentice.robot.spec import CameraSpec, RobotSpec
from apprentice.sim.task import Task
from apprentice.sim.tasks import load_task
from apprentice.sim.worlds import Worlds

CONTROLS = ('joint_delta', 'joint')
REWARDS = ('success', 'progress')
MARGIN = 0.1  # of a joint's range, by which a measured position may lie outside its limits


def robot_of(task: Task, robot: str | RobotSpec | None) -> RobotSpec:
    """A robot file by path or by name in share/apprentice/robots; default the one the task is made for."""
    if isinstance(robot, RobotSpec):
        return robot
    return RobotSpec.load(find_robot(robot or task.robot))


def with_cameras(
    spec: RobotSpec, cameras: bool | str | Sequence[str], size: int | Sequence[int] | None
) -> RobotSpec:
    """The robot with all, none or some of its cameras, at another frame size (square, or height, width)."""
    chosen: tuple[CameraSpec, ...] = spec.cameras if cameras is True else ()
    if not isinstance(cameras, bool):
        names = (cameras,) if isinstance(cameras, str) else cameras
        chosen = tuple(spec.camera(name) for name in names)
    if size is not None:
        given = np.asarray(size)
        if given.dtype.kind not in 'iu' or given.shape not in ((), (2,)) or given.min() < 1:
            raise ValueError(f'image_size must be a number of pixels, or [height, width]; got {size!r}')
        height, width = np.broadcast_to(given, 2).tolist()
        chosen = tuple(dataclasses.replace(camera, height=height, width=width) for camera in chosen)
    return dataclasses.replace(spec, cameras=chosen)


class Attempts:
    """``count`` attempts at a task, in lock-step; the numbers behind both Gymnasium classes.

    Args:
        task: name in :mod:`apprentice.sim.tasks`, ``package.module:Class``, or a task.
        robot: robot file; default the task's.
        cameras: True for all of the robot's, or one name or several, or False for none.
        image_size: pixels instead of the robot file's.
        control: ``joint_delta``: action -1 to 1 moves the setpoint by as much as the joint's ``velocity``
            allows in ``action_dt``; ``joint``: -1 to 1 is the joint's range, approached with that speed.
        reward: ``success``: 1 at success, else 0; ``progress``: gain of staged progress, which sums to 1 over
            a solved attempt that began at 0 (a potential difference).
        instruction: what is asked for at every start; empty: drawn.
        options: of :class:`Worlds` (``level``, ``randomization``, ``engine``, ``rendering``, ...).
    """

    def __init__(
        self,
        count: int,
        task: str | Task = 'pick',
        robot: str | RobotSpec | None = None,
        *,
        cameras: bool | str | Sequence[str] = True,
        image_size: int | Sequence[int] | None = None,
        control: str = 'joint_delta',
        reward: str = 'success',
        instruction: str = '',
        **options: Any,
    ):
        for value, known, what in ((control, CONTROLS, 'control'), (reward, REWARDS, 'reward')):
            if value not in known:
                raise ValueError(f'{what} {value!r} is unknown; use one of {known}')
        loaded = load_task(task) if isinstance(task, str) else task
        if instruction:
            loaded.check(instruction)
        robot_spec = robot_of(loaded, robot)
        self.spec = spec = with_cameras(robot_spec, cameras, image_size)
        self.film_camera = robot_spec.cameras[0].name if robot_spec.cameras else ''
        self.worlds = Worlds(spec, count, task=loaded, **options)
        self.count, self.control, self.reward, self.instruction = count, control, reward, instruction
        self._lower, self._upper = spec.vector('lower'), spec.vector('upper')
        self._stride = spec.vector('velocity') * spec.action_dt
        self._limits = Limits(spec, spec.action_dt)
        self._ticks = max(1, round(spec.action_dt * spec.control_hz))
        self._limit = max(1, round(loaded.max_duration_s / spec.action_dt))
        self._setpoints = np.tile(spec.vector('home'), (count, 1))
        self._progress, self._steps = np.zeros(count), np.zeros(count, np.int64)

    @property
    def state_bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Ends [dim] of what the state of an observation can be; a measured position is clipped to it."""
        margin = MARGIN * (self._upper - self._lower)
        return (self._lower - margin).astype(np.float32), (self._upper + margin).astype(np.float32)

    def begin(self, sims: Sequence[int], seeds: Sequence[int], instruction: str = '') -> None:
        """New seeded starts."""
        self.worlds.reset(sims, seeds, instruction or self.instruction)
        chosen = list(sims)
        self._setpoints[chosen] = np.clip(self.worlds.joints[chosen], self._lower, self._upper)
        self._progress[chosen], self._steps[chosen] = self.worlds.progress()[chosen], 0

    def normalized(self, targets: np.ndarray) -> np.ndarray:
        """Actions [N, dim] that come closest to joint targets [N, dim] in one step, e.g. an expert's."""
        if self.control == 'joint':
            actions = 2 * (targets - self._lower) / (self._upper - self._lower) - 1
        else:
            actions = (targets - self._setpoints) / self._stride
        return np.clip(actions, -1, 1).astype(np.float32)

    def advance(self, actions: np.ndarray, sims: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One step of ``action_dt`` with actions [len(sims), dim] in [-1, 1].

        Returns rewards, terminated and truncated, each [len(sims)]. Raises ValueError for numbers that
        are not finite.
        """
        chosen = list(sims)
        given = np.asarray(actions, np.float64)
        if given.shape != (len(chosen), self.spec.dim):
            raise ValueError(f'actions have shape {given.shape}, expected {(len(chosen), self.spec.dim)}')
        if not np.all(np.isfinite(given)):
            raise ValueError(f'action is not finite: {actions}')
        given, before = np.clip(given, -1, 1), self._setpoints[chosen]
        if self.control == 'joint':
            wanted = self._lower + (given + 1) / 2 * (self._upper - self._lower)
        else:
            wanted = before + given * self._stride
        measured = self.worlds.joints[chosen]
        measured = np.where(np.isfinite(measured), measured, before)  # of one that has diverged
        # what the gate permits on a real robot, in one period of action_dt; elementwise, so for all at once
        after = self._limits.clamp(wanted, before, measured).value
        for tick in range(1, self._ticks + 1):
            between = before + (after - before) * (tick / self._ticks)
            self.worlds.step(between, self.spec.action_dt / self._ticks, chosen)
        self._setpoints[chosen] = after
        return self._judge(chosen)

    def _judge(self, chosen: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        self._steps[chosen] += 1
        progress, success = self.worlds.progress()[chosen], self.worlds.success()[chosen]
        failed = self.worlds.failed[chosen]
        progress = np.where(failed, self._progress[chosen], progress)
        gain = progress - self._progress[chosen]
        self._progress[chosen] = progress
        rewards = success.astype(np.float64) if self.reward == 'success' else gain
        return rewards, success, ((self._steps[chosen] >= self._limit) | failed) & ~success

    def observe(self) -> dict[str, np.ndarray]:
        """Images by camera name, uint8 [N, H, W, 3], and ``state`` float32 [N, dim]."""
        images = self.worlds.render() if self.spec.cameras else {}
        low, high = self.state_bounds
        state = np.nan_to_num(self.worlds.joints).astype(np.float32)
        return {**images, 'state': np.clip(state, low, high)}

    def truth(self) -> dict[str, np.ndarray]:
        """What an observation does not tell, name -> [N]."""
        return {
            'success': self.worlds.success(),
            'progress': self._progress.copy(),
            'is_failed': self.worlds.failed.copy(),
        }

    def close(self) -> None:
        self.worlds.close()
