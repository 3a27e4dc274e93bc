# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A learning problem small enough for two cores: reach the named marker in one motion of a simulated arm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from apprentice.robot.parts import find_robot
from apprentice.robot.spec import RobotSpec
from apprentice.sim.tasks.hand import Hand
from apprentice.sim.tasks.reach import SLOTS, Reach, ReachExpert
from apprentice.sim.worlds import Worlds

MOVE_S, REST_S = 0.9, 0.5  # of a motion; the task wants the arm to rest within the marker
SAMPLE_STEPS = 4  # control steps between the moments a reward model is shown


@dataclass(frozen=True)
class Starts:
    """B starts.

    Attributes:
        context: float [B, 9], arm joints (rad) and the named marker's position (m): what the policy is given.
        text: instructions.
    """

    seeds: np.ndarray
    context: np.ndarray
    text: list[str]


@dataclass(frozen=True)
class Attempts:
    """B motions.

    Attributes:
        seen: float [B, T, 6], position of the tool tip and of the named marker (m) at T moments.
        progress: float [B, T], the simulator's truth.
        success: bool [B], the task's own predicate.
    """

    seen: np.ndarray
    progress: np.ndarray
    success: np.ndarray
    text: list[str]

    def part(self, rows: slice) -> Attempts:
        """Some of them."""
        return Attempts(self.seen[rows], self.progress[rows], self.success[rows], self.text[rows])


class ReachWorld:
    """``count`` arms at a time; a motion is one joint target [6], approached at minimum jerk, then held."""

    def __init__(self, count: int, threads: int = 1):
        self.spec = RobotSpec.load(find_robot('sim_arm'))
        self.worlds = Worlds(self.spec, count, threads, task=Reach(), level=0.0)
        self.count = count
        self.arm = ~self.spec.gripper_mask
        self.lower, self.upper = self.spec.vector('lower')[self.arm], self.spec.vector('upper')[self.arm]
        self._kinematics = self.worlds.scene.kinematics()
        self._at: np.ndarray = np.zeros(0)  # seeds of the starts at which the simulations are

    def starts(self, seeds: np.ndarray) -> Starts:
        """The starts of seeds; the simulations stay there."""
        context, text = [], []
        for first in range(0, len(seeds), self.count):
            some = np.asarray(seeds[first : first + self.count])
            text += self._reset(some)
            context.append(np.concatenate([self.worlds.joints[:, self.arm], self._marker()], 1)[: len(some)])
        return Starts(np.asarray(seeds), np.concatenate(context), text)

    def demonstrated(self, starts: Starts) -> np.ndarray:
        """Joint targets [B, 6] at which the task's expert ends: its inverse kinematics of the marker."""
        targets = []
        for context in starts.context:
            goal = context[6:].copy()
            goal[2] = max(goal[2], ReachExpert.LOWEST)
            targets.append(self._kinematics.inverse(context[:6], goal, Hand.DOWN, iterations=100))
        return np.stack(targets)

    def attempt(self, starts: Starts, targets: np.ndarray) -> Attempts:
        """Move to joint targets [B, 6] from their starts."""
        parts = []
        for first in range(0, len(targets), self.count):
            rows = slice(first, first + self.count)
            parts.append(self._some(starts.seeds[rows], targets[rows]))
        seen, progress, success = (np.concatenate(column) for column in zip(*parts, strict=True))
        return Attempts(seen, progress, success, list(starts.text))

    def _some(self, seeds: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        worlds, sims = self.worlds, range(len(seeds))
        if not np.array_equal(seeds, self._at):
            self._reset(seeds)
        self._at = np.zeros(0)
        begin = worlds.joints[: len(seeds)].copy()
        end = begin.copy()
        end[:, self.arm] = np.clip(targets, self.lower, self.upper)
        period = 1 / self.spec.control_hz
        success = np.zeros(len(seeds), bool)
        seen, progress = [self._seen(len(seeds))], [worlds.progress()[: len(seeds)]]
        for step in range(1, round((MOVE_S + REST_S) / period) + 1):
            part = min(1.0, step * period / MOVE_S)
            smooth = part**3 * (10 - 15 * part + 6 * part**2)
            worlds.step(begin + smooth * (end - begin), period, sims)
            success |= worlds.success()[: len(seeds)]
            if step % SAMPLE_STEPS == 0:
                seen.append(self._seen(len(seeds)))
                progress.append(worlds.progress()[: len(seeds)])
        return np.stack(seen, 1), np.stack(progress, 1), success

    def _reset(self, seeds: np.ndarray) -> list[str]:
        self._at = np.array(seeds)
        return self.worlds.reset(range(len(seeds)), [int(seed) for seed in seeds])

    def _seen(self, count: int) -> np.ndarray:
        return np.concatenate([self.worlds.view.tip, self._marker()], 1)[:count]

    def _marker(self) -> np.ndarray:
        rows = np.arange(self.count)
        return self.worlds.view.positions(SLOTS)[rows, self.worlds.memory['target']]

    def close(self) -> None:
        self.worlds.close()


class Planner:
    """The policy: a Gaussian around what a small network says, with a spread that stays as it is.

    Args:
        spread: rad, of every joint.
    """

    def __init__(self, demonstrations: Starts, targets: np.ndarray, spread: float, seed: int):
        self.spread = spread
        torch.manual_seed(seed)
        self._mean, self._std = demonstrations.context.mean(0), demonstrations.context.std(0)
        self.network = torch.nn.Sequential(
            torch.nn.Linear(9, 64), torch.nn.SiLU(), torch.nn.Linear(64, 64), torch.nn.SiLU(),
            torch.nn.Linear(64, 6),
        )  # fmt: skip
        self.optimizer = torch.optim.Adam(self.network.parameters(), 3e-3)
        self.imitate(demonstrations.context, targets, np.ones(len(targets)), 600)
        self.optimizer = torch.optim.Adam(self.network.parameters(), 2.5e-4)

    def mean(self, context: np.ndarray) -> np.ndarray:
        """Joint targets [B, 6] without noise."""
        with torch.no_grad():
            return context[:, :6] + self.network(self._inputs(context)).numpy().astype(float)

    def imitate(self, context: np.ndarray, targets: np.ndarray, weight: np.ndarray, steps: int) -> None:
        """Weighted imitation: ``steps`` gradient steps of the weighted squared error."""
        inputs, moves = self._inputs(context), torch.as_tensor(targets - context[:, :6], dtype=torch.float32)
        share = torch.as_tensor(weight / max(float(np.abs(weight).sum()), 1e-9), dtype=torch.float32)
        for _ in range(steps):
            error = ((self.network(inputs) - moves) ** 2).sum(1)
            self.optimizer.zero_grad()
            (share * error).sum().backward()
            self.optimizer.step()

    def _inputs(self, context: np.ndarray):
        return torch.as_tensor((context - self._mean) / self._std, dtype=torch.float32)
