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
    """What a model looks at: ``pair`` (two moments), ``text``, ``cameras`` (empty: any, averaged)."""

    pair: bool = False
    text: bool = True
    cameras: tuple[str, ...] = ()


@dataclass
class ScoreRequest:
    """B items of T frames (oldest first) from V cameras.

    Attributes:
        text: B instructions.
        frames: uint8 [B, T, V, H, W, 3] RGB; may be None where ``emb`` is given.
        neg_text: wrong instructions per item; empty: the margin is not measured.
        mask: bool [B, T, V], false where a view is missing; None: all present.
        emb: float32 [B, T, V, D] from the same model's ``encode``, so that a frame is encoded once.
    """

    text: Sequence[str]
    frames: np.ndarray | None = None
    neg_text: Sequence[Sequence[str]] = ()
    mask: np.ndarray | None = None
    emb: np.ndarray | None = None

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
        per_frame: float32 [B, T], or None for pairs.
        std: float32 [B], in the unit of ``value``.
        done_prob: float32 [B], probability that the instruction is fulfilled in the last frame.
        margin: float32 [B], value(text) - best value(neg_text).
        valid: bool [B]; false: the learner must not use it.
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
        """uint8 [..., H, W, 3] to float32 [..., D], the expensive part of scoring."""
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
