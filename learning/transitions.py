# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Transitions for reinforcement learning: one copy of every image, as uint8, shifted while it is read.

LeRobot's buffer keeps each image twice as float32, 787 kB a transition with two cameras of 128 px; this one
keeps it once, with replicated borders, so that the random shift of DrQ (arXiv 2004.13649) is only a choice of
the window that is copied. ``apprentice bench replay`` compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Images = Mapping[str, np.ndarray]


@dataclass
class TransitionBatch:
    """Transitions for a target ``reward + discount * Q(next_state)``; all arrays are copies.

    Attributes:
        images, next_images: camera -> uint8 [B, H, W, 3] RGB.
        state, next_state: float32 [B, D].
        action: float32 [B, A], of the first step.
        reward: float32 [B], discounted sum over the steps in between.
        discount: float32 [B], gamma to the number of steps; 0 after a terminal step.
    """

    images: dict[str, np.ndarray]
    next_images: dict[str, np.ndarray]
    state: np.ndarray
    next_state: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    discount: np.ndarray


class TransitionBuffer:
    """A ring of observations; a transition is a row and its successor.

    Feed it in the order of time: :meth:`start` with the first observation of an episode, then :meth:`add`
    for every step. An episode of T steps takes T + 1 rows, so the last observation of a time-out is kept
    and can be bootstrapped from. The oldest rows are overwritten.

    Args:
        capacity: rows.
        cameras: name -> (height, width) in pixels.
        pixels: largest shift of the augmentation, at most.
        seed: of the sampling.
    """

    def __init__(
        self,
        capacity: int,
        cameras: Mapping[str, tuple[int, int]],
        state_dim: int,
        action_dim: int,
        pixels: int = 4,
        seed: int = 0,
    ):
        if capacity < 2:
            raise ValueError(f'a capacity of {capacity} rows holds no transition; use 2 or more')
        self.capacity, self.pixels = capacity, pixels
        self._rng = np.random.default_rng(seed)
        self._sizes = dict(cameras)
        # a row of pixels is kept flat, width times colour: one copy instruction a line when it is read
        self._images = {
            name: np.zeros((capacity, height + 2 * pixels, (width + 2 * pixels) * 3), np.uint8)
            for name, (height, width) in self._sizes.items()
        }
        self._state = np.zeros((capacity, state_dim), np.float32)
        self._action = np.zeros((capacity, action_dim), np.float32)
        self._reward = np.zeros(capacity, np.float32)
        self._terminal = np.zeros(capacity, bool)
        self._complete = np.zeros(capacity, bool)  # rows with an action and a successor
        self._head = -1  # row of the newest observation
        self._filled = 0
        self._open = False

    def __len__(self) -> int:
        """Transitions that can be drawn."""
        return int(self._complete.sum())

    @property
    def nbytes(self) -> int:
        """Bytes reserved for everything."""
        arrays = [self._state, self._action, self._reward, self._terminal, self._complete]
        return sum(array.nbytes for array in [*self._images.values(), *arrays])

    def start(self, images: Images, state: np.ndarray) -> None:
        """The first observation of an episode: camera -> uint8 [H, W, 3], and the state [D]."""
        self._check(images, state)
        self._write(images, state)
        self._open = True

    def add(
        self,
        action: np.ndarray,
        reward: float,
        images: Images,
        state: np.ndarray,
        terminal: bool = False,
        timeout: bool = False,
    ) -> None:
        """One step: the action [A] taken, its reward, and the observation it led to.

        Args:
            terminal: the episode ended in a state without a future (success, failure).
            timeout: the episode was cut off; its last observation still has a value.

        Raises ValueError for numbers that are not finite, wrong shapes, or a step before :meth:`start`;
        the buffer is then as before.
        """
        if not self._open:
            raise ValueError('no episode is open; give its first observation to start()')
        self._check(images, state)
        action = np.asarray(action, np.float32)
        if action.shape != self._action.shape[1:] or not (np.isfinite(action).all() and np.isfinite(reward)):
            raise ValueError(
                f'an action of shape {action.shape} with reward {reward}; expected '
                f'{self._action.shape[1:]} and finite numbers'
            )
        row = self._head
        self._action[row], self._reward[row], self._terminal[row] = action, reward, terminal
        self._write(images, state)
        self._complete[row] = True
        self._open = not (terminal or timeout)

    def sample(self, batch: int, steps: int = 1, gamma: float = 0.99, shift: bool = True) -> TransitionBatch:
        """``batch`` transitions, uniform over all, with replacement.

        Args:
            steps: of the n-step return; it stops early where the episode does.
            shift: move each image by up to ``pixels``, the same for no two.
        """
        rows = self._draw(batch)
        reward, discount = self._reward[rows].copy(), np.full(batch, gamma, np.float32)
        last = rows
        for _ in range(steps - 1):
            following = (last + 1) % self.capacity
            goes_on = self._complete[following] & ~self._terminal[last]
            last = np.where(goes_on, following, last)
            reward += np.where(goes_on, discount * self._reward[last], 0).astype(np.float32)
            discount = np.where(goes_on, discount * gamma, discount)
            if not goes_on.any():
                break
        discount = np.where(self._terminal[last], 0, discount).astype(np.float32)
        following = (last + 1) % self.capacity
        return TransitionBatch(
            images=self._windows(rows, shift),
            next_images=self._windows(following, shift),
            state=self._state[rows],
            next_state=self._state[following],
            action=self._action[rows],
            reward=reward,
            discount=discount,
        )

    def _draw(self, batch: int) -> np.ndarray:
        if not self._complete.any():
            raise ValueError('the buffer holds no transition yet')
        rows = np.empty(0, np.int64)
        while len(rows) < batch:  # few rows are incomplete: one at the end of each episode
            drawn = self._rng.integers(self._filled, size=2 * batch)
            rows = np.concatenate([rows, drawn[self._complete[drawn]]])
        return rows[:batch]

    def _windows(self, rows: np.ndarray, shift: bool) -> dict[str, np.ndarray]:
        """Copies of the images of ``rows``, each from a window of its own."""
        windows = {}
        for name, (height, width) in self._sizes.items():
            stack, out = self._images[name], np.empty((len(rows), height, width * 3), np.uint8)
            if shift:
                offset = self._rng.integers(2 * self.pixels + 1, size=(2, len(rows)))
            else:
                offset = np.full((2, len(rows)), self.pixels)
            chosen = zip(rows.tolist(), offset[0].tolist(), (3 * offset[1]).tolist(), strict=True)
            for i, (row, top, left) in enumerate(chosen):  # faster than an index array of windows
                out[i] = stack[row, top : top + height, left : left + 3 * width]
            windows[name] = out.reshape(len(rows), height, width, 3)
        return windows

    def _check(self, images: Images, state: np.ndarray) -> None:
        for name, (height, width) in self._sizes.items():
            image = images.get(name)
            if image is None or image.shape != (height, width, 3) or image.dtype != np.uint8:
                found = 'missing' if image is None else f'{image.dtype} {image.shape}'
                raise ValueError(f'image {name!r} is {found}; expected uint8 {(height, width, 3)}')
        if np.shape(state) != self._state.shape[1:] or not np.isfinite(state).all():
            raise ValueError(f'state {state} is not {self._state.shape[1]} finite numbers')

    def _write(self, images: Images, state: np.ndarray) -> None:
        row = self._head = (self._head + 1) % self.capacity
        self._filled = max(self._filled, row + 1)
        self._complete[row] = False
        self._state[row] = state
        border = self.pixels
        for name, (height, width) in self._sizes.items():
            padded = self._images[name][row].reshape(height + 2 * border, width + 2 * border, 3)
            inside = slice(border, border + height)
            padded[inside, border : border + width] = images[name]
            padded[inside, :border] = padded[inside, border : border + 1]
            padded[inside, border + width :] = padded[inside, border + width - 1 : border + width]
            padded[:border] = padded[border]
            padded[border + height :] = padded[border + height - 1]
