# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Episodes as training samples: one observation and the chunk that was executed from there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from apprentice.policies.prefix import Inputs
from apprentice.policies.spec import PolicySpec, gripper_ranges
from apprentice.robot.normalize import Statistics
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode


@dataclass
class Chunks:
    """Samples, one per control step of the episodes.

    Attributes:
        images: camera -> uint8 [N, H, W, 3].
        state: float32 [N, A], raw units.
        actions: float32 [N, horizon, A], raw units; rows past the end repeat the last.
        valid: bool [N, horizon], rows that were executed by the same driver as the first.
        weight: float32 [N], how much each sample counts.
        text: N instructions.
    """

    images: dict[str, np.ndarray]
    state: np.ndarray
    actions: np.ndarray
    valid: np.ndarray
    weight: np.ndarray
    text: list[str]

    def __len__(self) -> int:
        return len(self.state)

    @classmethod
    def of(cls, episode: Episode, horizon: int, weight: np.ndarray | None = None) -> Chunks:
        """The samples of one episode; ``weight`` [T] defaults to ones."""
        length = len(episode)
        rows = np.arange(length)[:, None] + np.arange(horizon)[None]
        inside = rows < length
        rows = np.minimum(rows, length - 1)
        same_driver = episode.source[rows] == episode.source[:, None]
        return cls(
            images=episode.images,
            state=episode.state.astype(np.float32),
            actions=episode.action.astype(np.float32)[rows],
            # a chunk ends where somebody else took over
            valid=np.logical_and.accumulate(inside & same_driver, axis=1),
            weight=np.ones(length, np.float32) if weight is None else weight.astype(np.float32),
            text=[episode.task] * length,
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Chunks]) -> Chunks:
        return cls(
            images={name: np.concatenate([p.images[name] for p in parts]) for name in parts[0].images},
            state=np.concatenate([p.state for p in parts]),
            actions=np.concatenate([p.actions for p in parts]),
            valid=np.concatenate([p.valid for p in parts]),
            weight=np.concatenate([p.weight for p in parts]),
            text=[text for p in parts for text in p.text],
        )

    def select(self, index: np.ndarray) -> Chunks:
        """The samples ``index`` as a copy."""
        return Chunks(
            {name: stack[index] for name, stack in self.images.items()},
            self.state[index],
            self.actions[index],
            self.valid[index],
            self.weight[index],
            [self.text[i] for i in index],
        )

    def inputs(self) -> Inputs:
        """The observations, as tensors."""
        images = {name: torch.from_numpy(stack) for name, stack in self.images.items()}
        return Inputs(images, torch.from_numpy(self.state), self.text)


def policy_spec(episodes: Sequence[Episode], robot: RobotSpec, horizon: int) -> PolicySpec:
    """The specification, with statistics, of a policy trained on ``episodes``.

    Raises StatisticsError for degenerate data, ValueError without episodes.
    """
    if not episodes:
        raise ValueError('no episodes to train on; record some or run `apprentice demonstrate`')
    relative = ~robot.gripper_mask
    chunks = [Chunks.of(episode, horizon) for episode in episodes]
    state = np.concatenate([c.state for c in chunks])
    # after the relative transform, and only rows that were executed
    actions = np.concatenate([(c.actions - c.state[:, None] * relative)[c.valid] for c in chunks])
    return PolicySpec(
        robot=robot.name,
        joints=robot.joint_names,
        relative=tuple(bool(r) for r in relative),
        cameras={camera.name: (camera.height, camera.width) for camera in robot.cameras},
        horizon=horizon,
        action_dt=robot.action_dt,
        state=Statistics.of(state, robot.joint_names, 'state'),
        action=Statistics.of(actions, robot.joint_names, 'action'),
        gripper=gripper_ranges(robot),
    )
