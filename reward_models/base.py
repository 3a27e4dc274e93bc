# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What every reward model takes and returns.

A reward model reports what it measured, in its own unit, with an uncertainty where it has one.
Calibration and shaping happen later, in the learner. Arrays are numpy on both sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from PIL import Image

from apprentice.robot.types import RewardKind


class RewardModelError(ValueError):
    """A reward model cannot be loaded or used; the text names cause and remedy."""


@dataclass(frozen=True)
class Needs:
    """What a model looks at.

    Attributes:
        pair: two moments instead of one.
        text: the instruction.
        cameras: views by name; empty: any, averaged.
        state: names in ``ScoreRequest.state``.
        action: the executed or proposed action chunk.
        goal: an image of the goal.
        reference: an ordered demonstration in context (one-shot).
        window: frames an item must hold, the newest last.
        each_view: it can be asked about one view alone, the others masked; that views agree means nothing
            of a model that does not look at the mask.
        pictures: ``encode`` only makes small pictures, because it looks at image and text together: there
            is no encoding to save, and nothing is cached.
    """

    pair: bool = False
    text: bool = True
    cameras: tuple[str, ...] = ()
    state: tuple[str, ...] = ()
    action: bool = False
    goal: bool = False
    reference: bool = False
    window: int = 1
    each_view: bool = False
    pictures: bool = False


@dataclass
class ScoreRequest:
    """B items of T frames (oldest first) from V cameras.

    Attributes:
        text: B instructions.
        frames: uint8 [B, T, V, H, W, 3] RGB; may be None where ``emb`` is given.
        neg_text: wrong instructions per item; empty: the margin is not measured.
        mask: bool [B, T, V], false where a view is missing; None: all present.
        emb: float32 [B, T, V, D] from the same model's ``encode``, so that a frame is encoded once.
        stamps: float64 [B, T] capture times [s].
        state: name -> float32 [B, T, d] in SI units (m, rad, m/s, N), named as the task's state.
        action: float32 [B, H, A] physical joint targets (rad, gripper m) from the last frame on.
        goal: float32 [B, V, D] embeddings of the goal.
        reference: float32 [B, R, V, D] embeddings of one demonstration, oldest first.
    """

    text: Sequence[str]
    frames: np.ndarray | None = None
    neg_text: Sequence[Sequence[str]] = ()
    mask: np.ndarray | None = None
    emb: np.ndarray | None = None
    stamps: np.ndarray | None = None
    state: Mapping[str, np.ndarray] = field(default_factory=dict)
    action: np.ndarray | None = None
    goal: np.ndarray | None = None
    reference: np.ndarray | None = None

    def check(self, frames_at_least: int = 1) -> tuple[int, int, int]:
        """(B, T, V), or RewardModelError saying what does not fit."""
        if self.emb is not None:
            array = self.emb
            if array.ndim != 4:
                raise RewardModelError(f'emb must be [B, T, V, D], got shape {array.shape}')
        elif self.frames is not None:
            array = self.frames
            if array.ndim != 6 or array.shape[-1] != 3 or array.dtype != np.uint8:
                raise RewardModelError(
                    f'frames must be uint8 [B, T, V, H, W, 3], got {array.dtype} {array.shape}'
                )
        else:
            raise RewardModelError('a request needs frames or emb')
        b, t, v = array.shape[:3]
        if t < frames_at_least:
            raise RewardModelError(f'this model needs {frames_at_least} frames per item, got {t}')
        if len(self.text) != b or (len(self.neg_text) not in (0, b)):
            raise RewardModelError(f'{b} items need {b} instructions, got {len(self.text)}')
        if self.mask is not None and self.mask.shape != (b, t, v):
            raise RewardModelError(f'mask must be bool {(b, t, v)}, got {self.mask.shape}')
        return b, t, v


@dataclass
class Score:
    """B measurements. NaN means not measured.

    Attributes:
        kind: what ``value`` is; its unit and range follow from it (RewardSample.msg).
        value: float32 [B], of the last frame (or of the pair).
        per_frame: float32 [B, T]; of pairs the absolute progress of both, or None where it is not known.
        std: float32 [B], in the unit of ``value``.
        done_prob: float32 [B], probability that the instruction is fulfilled in the last frame.
        margin: float32 [B], value(text) - best value(neg_text).
        valid: bool [B]; false: the learner must not use it.
        ood: float32 [B], distance to what the model knows: 0 inside its calibration set, 1 at the
            distance of its 95th percentile, more beyond.
    """

    kind: RewardKind
    value: np.ndarray
    std: np.ndarray
    done_prob: np.ndarray
    margin: np.ndarray
    valid: np.ndarray
    model: str
    version: str
    per_frame: np.ndarray | None = None
    latency_ms: float = float('nan')
    ood: np.ndarray | None = None


@runtime_checkable
class RewardModel(Protocol):
    """Observation to score."""

    needs: Needs
    kind: RewardKind
    model: str
    version: str

    @classmethod
    def load(cls, weights: str | Path, device: str = 'cpu', **options) -> RewardModel:
        """Load weights (a name, a folder or a file). Raises RewardModelError with the remedy."""
        ...

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """uint8 [..., H, W, 3] to float32 [..., D]: what is kept of a frame, the expensive part of scoring
        (with ``Needs.pictures`` a small picture, which costs nothing).
        """
        ...

    def score(self, request: ScoreRequest) -> Score:
        """Score single frames; ``value`` is that of the last one."""
        ...

    def negatives(self, text: str) -> list[str]:
        """Wrong instructions to compare with; empty where the model knows none."""
        ...


@runtime_checkable
class PairCritic(RewardModel, Protocol):
    """Two observations to signed progress."""

    def delta(self, request: ScoreRequest) -> Score:
        """Progress from ``frames[:, 0]`` to ``frames[:, 1]``, in [-1, 1]."""
        ...


@dataclass(frozen=True)
class Trajectory:
    """What shaping looks at: T transitions of one episode, oldest first.

    Attributes:
        potential: float [T + 1] in [0, 1], before every transition and after the last one.
        terminal: it really ended, in success or failure; false: time ran out or it was cut, so a learner
            bootstraps there.
        outcome: 1 success, 0 failure, NaN unknown; from another source than the potential (a person, a
            predicate).
        process: float [T] scores of single steps, in their model's unit; None: 0.
        sparse: float [T], the separate success signal; None: ``outcome`` at the last step of a terminal one.
        discount: gamma of one transition.
        trust: in [0, 1], one for the whole episode.
        text: the instruction.
        signals: further totals by name that gates may ask for, such as safety.
    """

    potential: np.ndarray
    terminal: bool = False
    outcome: float = float('nan')
    process: np.ndarray | None = None
    sparse: np.ndarray | None = None
    discount: float = 1.0
    trust: float = 1.0
    text: str = ''
    signals: Mapping[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.potential) - 1

    def success_signal(self) -> np.ndarray:
        """``sparse``, or what follows from the outcome; float64 [T]."""
        if self.sparse is not None:
            return np.asarray(self.sparse, np.float64)
        signal = np.zeros(len(self))
        if self.terminal and len(self) and np.isfinite(self.outcome):
            signal[-1] = self.outcome
        return signal


@runtime_checkable
class RewardTransform(Protocol):
    """Shaping and credit: rewards of an episode's steps to other rewards of the same steps."""

    def __call__(self, rewards: np.ndarray, trajectory: Trajectory) -> np.ndarray:
        """float64 [T] to float64 [T]. Raises RewardModelError for what cannot be shaped."""
        ...


@runtime_checkable
class Calibrator(Protocol):
    """Scores of one model to potentials."""

    def to_potential(self, score: Score, text: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Phi [B] in [0, 1] and its standard deviation [B]; NaN where the score is not valid."""
        ...


@runtime_checkable
class DoneDetector(Protocol):
    """Whether the instruction is fulfilled, from what several views say over time."""

    def add(self, stamp: float, views: Mapping[str, float], veto: bool = False) -> bool:
        """Take one moment [s]: view -> done probability, and whether a predicate objects. True: done."""
        ...

    def reset(self) -> None:
        """Begin a new episode."""
        ...


@dataclass
class Episodes:
    """Demonstrations and attempts a reward model learns from: only what a real robot also has.

    Attributes:
        frames: per episode uint8 [T, V, H, W, 3].
        text: per episode the instruction that was given.
        success: per episode whether it ended in success.
        cameras: names of the V views.
    """

    frames: list[np.ndarray]
    text: list[str]
    success: list[bool]
    cameras: tuple[str, ...]
    extra: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.frames)


def stack_views(images: Mapping[str, np.ndarray], cameras: Sequence[str]) -> np.ndarray:
    """uint8 [V, H, W, 3] of the named cameras; views of another size are resized to the first one's."""
    missing = [camera for camera in cameras if camera not in images]
    if missing:
        raise RewardModelError(f'no image of camera {", ".join(missing)}; there is: {sorted(images)}')
    views = [np.asarray(images[camera], np.uint8) for camera in cameras]
    height, width = views[0].shape[:2]
    return np.stack(
        [
            view
            if view.shape[:2] == (height, width)
            else np.asarray(Image.fromarray(view).resize((width, height), Image.Resampling.BICUBIC))
            for view in views
        ]
    )
