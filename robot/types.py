# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""One vocabulary: what is observed, what is planned, what was executed, what is an episode.

All arrays are numpy. Images are uint8 RGB, height x width x 3. Times are seconds (float64) of the
robot's clock; ``stamp`` is always the time of capture, never of arrival.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np


class ControlMode(IntEnum):
    """Who is in control. Values equal ControlState.msg."""

    DISARMED = 0
    POLICY = 1
    HUMAN = 2
    PAUSED = 3
    RESET = 4
    HOLD = 5
    FAULT = 6
    STOP = 7


class Source(IntEnum):
    """Where an executed command came from. Values equal ExecutedCommand.msg."""

    NONE = 0
    POLICY = 1
    HUMAN = 2
    RESET = 3
    HOLD = 4


class Outcome(IntEnum):
    """How an episode ended. Values equal EpisodeState.msg."""

    UNKNOWN = 0
    SUCCESS = 1
    FAILURE = 2
    ABORT = 3


class RewardKind(IntEnum):
    """What a reward model measured; unit and range follow from it. Values equal RewardSample.msg."""

    PROGRESS_DELTA = 0
    ABS_PROGRESS = 1
    SUCCESS_PROB = 2
    CLIP_SIM = 3
    HUMAN = 4
    TRUTH = 5
    LOG_PROB = 6
    SECONDS_TO_GO = 7
    COST = 8
    REWARD = 9


@dataclass
class Observation:
    """What the robot sensed at one moment.

    Attributes:
        stamp: capture time of the oldest input used [s].
        images: camera name -> uint8 [H, W, 3] RGB.
        state: measured joint positions, robot file order, float64 [dim] (rad, gripper m).
        text: the instruction.
    """

    stamp: float
    images: dict[str, np.ndarray]
    state: np.ndarray
    text: str


@dataclass
class ActionChunk:
    """H future joint targets planned from one observation.

    Row ``i`` of ``actions`` [H, dim] is the target at ``stamp + (i + 1) * dt``.
    """

    stamp: float
    actions: np.ndarray
    dt: float
    seq: int = 0
    epoch: int = 0
    weights_version: int = 0
    valid_until: float = float('inf')
    names: tuple[str, ...] = ()
    shadow: bool = False
    episode_id: str = ''
    control_mode: str = 'joint_position'

    @property
    def horizon(self) -> int:
        return len(self.actions)


@dataclass
class Step:
    """One control step of an episode, on the policy's time grid (``action_dt``).

    ``action`` is the joint target the gate *executed* for the end of this step.
    """

    stamp: float
    state: np.ndarray
    action: np.ndarray
    source: Source
    images: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass
class Reward:
    """One measurement by a reward model over ``[t0, t1]``; see RewardSample.msg."""

    t0: float
    t1: float
    kind: RewardKind
    value: float
    progress: float = float('nan')
    done_prob: float = float('nan')
    valid: bool = True
    model: str = ''
    version: str = ''
    camera: str = ''
    std: float = float('nan')
    margin: float = float('nan')
    done: bool = False
    reason: str = ''
    ood: float = float('nan')
    revision: int = 0


@dataclass
class Episode:
    """One episode, joined from the log on the policy's time grid.

    Attributes:
        stamps: float64 [T], the grid.
        images: camera -> uint8 [T, H, W, 3], newest frame at or before each stamp.
        state: float32 [T, dim] measured joint positions.
        action: float32 [T, dim], executed joint target at the end of each step.
        source: uint8 [T], :class:`Source` of each step.
        takeover_id: int64 [T], 0 where no person drove.
        rewards: all reward measurements of the episode, raw.
        frames_dropped: frames missing by stamp, all cameras together.
        started: when the episode began [s], at or before the first stamp; NaN: with the first stamp.
    """

    episode_id: str
    task: str
    seed: int
    outcome: Outcome
    end_cause: int
    eval_only: bool
    stamps: np.ndarray
    images: dict[str, np.ndarray]
    state: np.ndarray
    action: np.ndarray
    source: np.ndarray
    takeover_id: np.ndarray
    rewards: list[Reward] = field(default_factory=list)
    robot: str = ''
    frames_dropped: int = 0
    weights_version: int = 0
    started: float = float('nan')

    def __len__(self) -> int:
        return len(self.stamps)

    @property
    def lead_s(self) -> float:
        """Seconds from the beginning of the episode to its first stamp."""
        return float(self.stamps[0] - self.started) if np.isfinite(self.started) else 0.0

    @property
    def human_steps(self) -> int:
        return int(np.sum(self.source == int(Source.HUMAN)))
