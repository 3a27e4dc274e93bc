# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Attempts with their truth, the ways to show them to a model, and the curves that models draw of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from apprentice.reward_models.base import RewardModel
from apprentice.reward_models.evaluation.curves import curve

SUCCESS, NEAR_MISS, FAILURE, OTHER_OBJECT = 'success', 'near miss', 'failure', 'other object'
STATIC_S, STATIC_HZ = 10.0, 2.0
_KEPT = 64  # attempts whose embeddings are kept


@dataclass
class Truth:
    """One attempt with its ground truth; never used for training.

    Attributes:
        frames: uint8 [T, V, H, W, 3].
        stamps: float [T] s.
        text: the instruction.
        kind: one of SUCCESS, NEAR_MISS, FAILURE, OTHER_OBJECT.
        progress: float [T], staged progress in [0, 1]; NaN where nobody knows it.
        solved: bool [T]: the success predicate; of a log, the outcome in its last frame.
        group: what attempts are compared within, e.g. the task.
        wrong: instructions that this attempt does not fulfil.
        reference: uint8 [R, V, H, W, 3], a demonstration of the same instruction; None: there is none.
        moved: the cameras are not where they were in training.
        state: name -> [T, d]; action: [T, H, A]; for models that need them.
    """

    frames: np.ndarray
    stamps: np.ndarray
    text: str
    kind: str
    progress: np.ndarray
    solved: np.ndarray
    group: str = ''
    wrong: tuple[str, ...] = ()
    reference: np.ndarray | None = None
    moved: bool = False
    state: Mapping[str, np.ndarray] = field(default_factory=dict)
    action: np.ndarray | None = None

    @property
    def success(self) -> bool:
        return self.kind == SUCCESS


# what is shown, and the instruction it is judged by -> progress [T], done probability [T] or NaN
Curve = Callable[['Showing', str], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Showing:
    """How an attempt is shown: these rows of its frames, at these moments."""

    item: Truth
    rows: np.ndarray
    stamps: np.ndarray
    noise: np.random.Generator | None = None

    @classmethod
    def whole(cls, item: Truth) -> Showing:
        return cls(item, np.arange(len(item.frames)), item.stamps)

    @classmethod
    def rewound(cls, item: Truth) -> Showing:
        """Backwards, from the last frame to the first, at the same pace."""
        return cls(item, np.arange(len(item.frames))[::-1], item.stamps[-1] - item.stamps[::-1])

    @classmethod
    def frozen(cls, item: Truth, row: int, seed: int) -> Showing:
        """One frame for STATIC_S, with the noise of a sensor."""
        count = round(STATIC_S * STATIC_HZ) + 1
        stamps = np.arange(count) / STATIC_HZ
        return cls(item, np.full(count, row), stamps, np.random.default_rng(seed))

    def frames(self) -> np.ndarray:
        frames = self.item.frames[self.rows]
        if self.noise is None:
            return frames
        noisy = frames.astype(np.int16) + self.noise.integers(-2, 3, frames.shape, np.int16)
        return np.clip(noisy, 0, 255).astype(np.uint8)


def model_curve(model: RewardModel, stride_s: float = 1.0, in_context: bool = False) -> Curve:
    """Progress and done curves of a model, as the robot would see them; each frame is encoded once.

    Args:
        stride_s: seconds between the frames of a pair.
        in_context: show a demonstration of the instruction where the attempt comes with one.
    """
    known: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def encoded(frames: np.ndarray) -> np.ndarray:
        if id(frames) not in known:
            if len(known) >= _KEPT:
                known.pop(next(iter(known)))
            known[id(frames)] = frames, model.encode(frames)
        return known[id(frames)][1]

    def of(showing: Showing, text: str) -> tuple[np.ndarray, np.ndarray]:
        item = showing.item
        emb = encoded(item.frames)[showing.rows] if showing.noise is None else model.encode(showing.frames())
        wanted = in_context or model.needs.reference or model.needs.goal
        reference = encoded(item.reference) if wanted and item.reference is not None else None
        # a demonstration shows its own instruction: under another one there is none, unless the model does
        # not read instructions
        state = {name: values[showing.rows] for name, values in item.state.items()}
        action = None if item.action is None else item.action[showing.rows]
        own = text == item.text or model.needs.reference or not model.needs.text
        shown = reference if own else None
        return curve(model, emb, showing.stamps, text, stride_s, shown, state, action)

    return of


def baselines(seed: int = 0, expected_s: float = 6.0) -> dict[str, Curve]:
    """Clock (time alone), constant and random curves: what a model must beat.

    Args:
        expected_s: seconds after which the clock takes a task for done.
    """
    rng = np.random.default_rng(seed)

    def clock(showing: Showing, text: str) -> tuple[np.ndarray, np.ndarray]:
        values = np.minimum(1.0, (showing.stamps - showing.stamps[0]) / expected_s)
        return values, values

    def constant(showing: Showing, text: str) -> tuple[np.ndarray, np.ndarray]:
        return np.full(len(showing.rows), 0.5), np.full(len(showing.rows), 0.5)

    def random(showing: Showing, text: str) -> tuple[np.ndarray, np.ndarray]:
        return rng.random(len(showing.rows)), rng.random(len(showing.rows))

    return {'clock': clock, 'constant': constant, 'random': random}
