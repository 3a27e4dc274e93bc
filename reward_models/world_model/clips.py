# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Logged episodes as clips a world model learns from: tokens, states and executed targets of every step.

Failed and aborted episodes count as much as successes: what an action does is learned from both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from apprentice.reward_models.base import RewardModelError, stack_views
from apprentice.reward_models.world_model.features import Features
from apprentice.robot.types import Episode, Outcome


@dataclass
class Clips:
    """The steps of all episodes, one after the other.

    Attributes:
        tokens: float16 [N, K, D], layer-normed, all views.
        state: float32 [N, d], measured (rad, m).
        action: float32 [N, d], the joint target executed during the step.
        episode: int64 [N], which episode a step is of, from 0.
        success: bool [E], of the episodes.
        cameras: names of the views.
    """

    tokens: np.ndarray
    state: np.ndarray
    action: np.ndarray
    episode: np.ndarray
    success: np.ndarray
    cameras: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.state)

    @property
    def episodes(self) -> int:
        return len(self.success)

    @classmethod
    def of(
        cls, episodes: Iterable[Episode], features: Features, cameras: Sequence[str], shortest: int = 2
    ) -> Clips:
        """Encode ``episodes`` one by one; pictures are not kept.

        Args:
            cameras: views, in this order.
            shortest: episodes with fewer steps are left out.

        Raises RewardModelError if none is left.
        """
        tokens, state, action, success, lengths = [], [], [], [], []
        read = 0
        for episode in episodes:
            read += 1
            if len(episode) < shortest or episode.eval_only:
                continue
            views = stack_clip(episode, cameras)
            found = features.encode(views)  # [T, V, P, D]
            tokens.append(found.reshape(len(views), -1, features.dim).astype(np.float16))
            state.append(episode.state.astype(np.float32))
            action.append(episode.action.astype(np.float32))
            success.append(episode.outcome == Outcome.SUCCESS)
            lengths.append(len(views))
        if not lengths:
            raise RewardModelError(
                f'none of {read} episodes can be learned from: it must have {shortest} steps or more and '
                'be no evaluation; record some or run `apprentice demonstrate`'
            )
        clips = cls(
            np.concatenate(tokens),
            np.concatenate(state),
            np.concatenate(action),
            np.repeat(np.arange(len(lengths)), lengths),
            np.array(success, bool),
            tuple(cameras),
        )
        if not (np.isfinite(clips.state).all() and np.isfinite(clips.action).all()):
            raise RewardModelError('an episode has states or actions that are not finite; leave it out')
        return clips

    def starts(self, steps: int, episodes: np.ndarray) -> np.ndarray:
        """Rows from which ``steps`` further rows are of the same episode, of the chosen episodes."""
        rows = np.arange(max(0, len(self) - steps))
        inside = self.episode[rows] == self.episode[rows + steps]
        return rows[inside & np.isin(self.episode[rows], episodes)]

    def split(self, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Episodes to train on and episodes held out, at least one of each.

        Raises RewardModelError with fewer than two.
        """
        if self.episodes < 2:
            raise RewardModelError('a world model needs 2 episodes or more, one is held out; record more')
        count = min(max(1, round(share * self.episodes)), self.episodes - 1)
        order = np.random.default_rng(seed).permutation(self.episodes)
        return np.sort(order[count:]), np.sort(order[:count])


def stack_clip(episode: Episode, cameras: Sequence[str]) -> np.ndarray:
    """uint8 [T, V, H, W, 3] of the named cameras; views of another size are resized to the first one's."""
    missing = [name for name in cameras if name not in episode.images]
    if missing:
        raise RewardModelError(
            f'episode {episode.episode_id} has no camera {", ".join(missing)}; '
            f'it has {sorted(episode.images)}'
        )
    views = [episode.images[name] for name in cameras]
    if len({view.shape[1:3] for view in views}) == 1:
        return np.stack(views, axis=1)
    moments = range(len(episode))
    return np.stack([stack_views({n: episode.images[n][t] for n in cameras}, cameras) for t in moments])
