# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A point that goes where it is told, and a policy that walks at random: a small task with a known answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from apprentice.policies.backbones.tiny import TinyConfig
from apprentice.policies.config import PolicyConfig
from apprentice.policies.expert import ExpertConfig
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.spec import PolicySpec
from apprentice.robot.normalize import Statistics
from apprentice.robot.spec import RobotSpec

JOINTS = ('x', 'y')
ROBOT = RobotSpec.from_dict(
    {
        'name': 'point',
        'base_frame': 'world',
        'control_hz': 10.0,
        'action_dt': 0.1,
        'joint_states_topic': 'joint_states',
        'command': {'type': 'joint_trajectory', 'topic': 'command'},
        'joints': [
            {'name': name, 'lower': -2.0, 'upper': 2.0, 'velocity': 50.0, 'jump': 9.0, 'home': 0.0}
            for name in JOINTS
        ],
        'cameras': [],
        'simulator': {},
    }
)
GOAL, RADIUS = np.array([0.6, -0.4]), 0.25  # m
STEP = 0.3  # m, deviation of a random step of the policy


class PointMass:
    """Simulations: straight to the goal always succeeds, and takes two of the policy's chunks or more."""

    spec = ROBOT
    max_duration_s = 1.2

    def __init__(self, count: int):
        self.count = count
        self.instructions = ['go'] * count
        self.joints, self.failed = np.zeros((count, 2)), np.zeros(count, bool)
        self.start = np.ones(count)

    def reset(self, sims: Sequence[int], seeds: Sequence[int], instruction: str = '') -> list[str]:
        for sim, seed in zip(sims, seeds, strict=True):
            self.joints[sim] = np.random.default_rng(seed).uniform(-0.1, 0.1, 2)
        self.start[list(sims)] = self._distance()[list(sims)]
        return [self.instructions[sim] for sim in sims]

    def step(self, targets: np.ndarray, duration_s: float, sims: Sequence[int] | None = None) -> None:
        self.joints[list(range(self.count)) if sims is None else list(sims)] = targets

    def render(self, sims: Sequence[int] | None = None) -> dict[str, np.ndarray]:
        return {}

    def progress(self) -> np.ndarray:
        return np.clip(1 - self._distance() / self.start, 0, 1)

    def success(self) -> np.ndarray:
        return self._distance() < RADIUS

    def objects(self, sim: int = 0) -> dict[str, np.ndarray]:
        return {}

    def _distance(self) -> np.ndarray:
        return np.linalg.norm(self.joints - GOAL, axis=1)


def random_walker(seed: int = 0, horizon: int = 4) -> FlowPolicy:
    """A policy with random weights, without cameras: its chunks are noise around where the point is."""
    values = np.random.default_rng(0).normal(0, STEP, (400, 2))
    spec = PolicySpec(
        robot='point',
        joints=JOINTS,
        relative=(True, True),
        cameras={},
        horizon=horizon,
        action_dt=0.1,
        state=Statistics.of(values, JOINTS, 'state'),
        action=Statistics.of(values - values.mean(0), JOINTS, 'action'),
    )
    torch.manual_seed(seed)
    config = PolicyConfig(
        TinyConfig(width=32, layers=1, heads=2, channels=(8, 8, 8)), ExpertConfig(width=32, layers=1),
        denoise_steps=4,
    )  # fmt: skip
    policy = FlowPolicy(spec, config).eval()
    torch.nn.init.zeros_(policy.expert.leave.weight)
    torch.nn.init.zeros_(policy.expert.leave.bias)
    return policy
