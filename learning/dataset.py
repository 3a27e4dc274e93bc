# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Episodes as training samples: one observation and the chunk that was executed from there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from apprentice.episodes.lazy_frames import join_frames
from apprentice.policies.prefix import Inputs
from apprentice.policies.spec import PolicySpec, gripper_ranges
from apprentice.robot.normalize import Statistics
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode

NO_EPISODES = 'no episodes to train on; record some or run `apprentice demonstrate`'
SMALLEST_SCALE = 0.1  # of an arm's joint that hardly moved, over that of the joint that moved most


@dataclass
class Batch:
    """Samples as tensors: what the loss takes.

    Attributes:
        inputs: the observations.
        actions, valid, weight: as in :class:`Chunks`.
    """

    inputs: Inputs
    actions: torch.Tensor
    valid: torch.Tensor
    weight: torch.Tensor

    def __len__(self) -> int:
        return len(self.actions)

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        """The same samples with every tensor changed, e.g. moved."""
        images = {name: change(stack) for name, stack in self.inputs.images.items()}
        inputs = Inputs(images, change(self.inputs.state), self.inputs.text)
        return Batch(inputs, change(self.actions), change(self.valid), change(self.weight))

    def to(self, device: torch.device | str) -> Batch:
        """The same on another device; copies from pinned memory do not wait."""
        return self.each(lambda tensor: tensor.to(device, non_blocking=True))

    def part(self, rows: slice) -> Batch:
        """Some of the samples, without a copy."""
        cut = self.each(lambda tensor: tensor[rows])
        cut.inputs.text = self.inputs.text[rows]
        return cut


@dataclass
class Chunks:
    """Samples, one per control step of the episodes.

    Attributes:
        images: camera -> uint8 [N, H, W, 3]; in memory, mapped from a file, or decoded when indexed.
        state: float32 [N, A], raw units.
        actions: float32 [N, horizon, A], raw units; rows past the end repeat the last.
        valid: bool [N, horizon], rows that were executed by the same driver as the first.
        weight: float32 [N], how much each sample counts.
        text: N instructions.
    """

    images: dict[str, Any]
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
            images={name: join_frames([p.images[name] for p in parts]) for name in parts[0].images},
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

    def tensors(self) -> Batch:
        """The samples as tensors, without a copy."""
        images = {name: torch.from_numpy(stack) for name, stack in self.images.items()}
        inputs = Inputs(images, torch.from_numpy(self.state), self.text)
        return Batch(
            inputs,
            torch.from_numpy(self.actions),
            torch.from_numpy(self.valid),
            torch.from_numpy(self.weight),
        )


@dataclass
class Samples:
    """The samples of a set of episodes.

    Attributes:
        chunks: all of them; the arrays may be mapped from a file.
        episode: int [N], which episode each sample is of, counted from 0 in the order of the samples.
    """

    chunks: Chunks
    episode: np.ndarray

    def __len__(self) -> int:
        return len(self.episode)

    @property
    def episodes(self) -> int:
        return int(self.episode[-1]) + 1

    @classmethod
    def of(cls, episodes: Sequence[Episode], horizon: int) -> Samples:
        """The samples of ``episodes``, in memory. Raises ValueError without episodes."""
        if not episodes:
            raise ValueError(NO_EPISODES)
        chunks = Chunks.concatenate([Chunks.of(episode, horizon) for episode in episodes])
        return cls(chunks, np.repeat(np.arange(len(episodes)), [len(episode) for episode in episodes]))

    def digest(self) -> str:
        """Hash of states, actions, instructions and sizes of the pictures: tells one set from another."""
        digest = hashlib.sha256()
        for array in (self.chunks.state, self.chunks.actions, self.chunks.valid):
            digest.update(np.ascontiguousarray(array).data)
        sizes = {name: stack.shape for name, stack in self.chunks.images.items()}
        digest.update(f'{sizes} {sorted(set(self.chunks.text))}'.encode())
        return digest.hexdigest()

    def split(self, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows to train on and rows held out: ``share`` of the episodes, whole ones, at least one.

        Raises ValueError where there are too few episodes.
        """
        if share == 0:
            return np.arange(len(self)), np.arange(0)
        if self.episodes < 2:
            raise ValueError('a validation split needs 2 episodes or more; record more or give validation=0')
        count = min(max(1, round(share * self.episodes)), self.episodes - 1)
        held_out = np.isin(self.episode, np.random.default_rng(seed).permutation(self.episodes)[:count])
        return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def policy_spec(episodes: Sequence[Episode], robot: RobotSpec, horizon: int) -> PolicySpec:
    """The specification, with statistics, of a policy trained on ``episodes``.

    Raises StatisticsError for degenerate data, ValueError without episodes.
    """
    if not episodes:
        raise ValueError(NO_EPISODES)
    chunks = [Chunks.of(episode, horizon) for episode in episodes]
    return specify(
        np.concatenate([c.state for c in chunks]),
        np.concatenate([c.actions for c in chunks]),
        np.concatenate([c.valid for c in chunks]),
        robot,
    )


def specify(state: np.ndarray, actions: np.ndarray, valid: np.ndarray, robot: RobotSpec) -> PolicySpec:
    """The specification of a policy trained on these arrays, shaped as in :class:`Chunks`.

    Raises StatisticsError for degenerate data.
    """
    relative = ~robot.gripper_mask
    states = Statistics.of(state, robot.joint_names, 'state')
    # after the relative transform, and only rows that were executed
    executed = Statistics.of((actions - state[:, None] * relative)[valid], robot.joint_names, 'action')
    return PolicySpec(
        robot=robot.name,
        joints=robot.joint_names,
        relative=tuple(bool(r) for r in relative),
        cameras={camera.name: (camera.height, camera.width) for camera in robot.cameras},
        horizon=actions.shape[1],
        action_dt=robot.action_dt,
        state=states.with_floor(SMALLEST_SCALE, relative),
        action=executed.with_floor(SMALLEST_SCALE, relative),
        gripper=gripper_ranges(robot),
    )
