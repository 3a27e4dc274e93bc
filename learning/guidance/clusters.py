# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Groups of starts that are alike.

The feature of a start is its first observation, cut down to thumbnails: block means of every camera's
picture. The distance of two is the root of the mean squared difference, colours being in [0, 1]. It sees
where things lie, not what they are; pass a feature of an encoder where that is too little.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from apprentice.learning.guidance.config import GuidanceConfig
from apprentice.learning.guidance.tries import Try
from apprentice.robot.types import Episode

Feature = Callable[[Episode], np.ndarray]
_SIDE = 16  # blocks along each side of a thumbnail


def thumbnails(episode: Episode) -> np.ndarray:
    """The first picture of every camera as 16 x 16 block means, float32 [cameras * 16 * 16 * 3] in [0, 1]."""
    parts = []
    for _, stack in sorted(episode.images.items()):
        image = np.asarray(stack[0], np.float32) / 255
        rows = [block.mean(0) for block in np.array_split(image, min(_SIDE, image.shape[0]), axis=0)]
        columns = np.array_split(np.stack(rows), min(_SIDE, image.shape[1]), axis=1)
        parts.append(np.stack([block.mean(1) for block in columns], 1).ravel())
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


@dataclass(frozen=True)
class Start:
    """One group of starts: its instruction, its number, and the first episode that began there."""

    task: str
    number: int
    like: str
    seed: int | None = None

    @property
    def name(self) -> str:
        """For people."""
        where = f'seed {self.seed}' if self.seed is not None else f'start {self.number} (like {self.like})'
        return f'{self.task}: {where}'


class Clusters:
    """Puts episodes into groups by instruction and start; the same episodes in the same order alike."""

    def __init__(self, config: GuidanceConfig):
        self._config = config
        self._known: dict[str, list[tuple[Start, Try]]] = {}

    def group(self, tried: Try) -> Start:
        """The group a try belongs to; it founds one where none is like it."""
        config, known = self._config, self._known.setdefault(tried.task, [])
        if config.starts == 'seed':
            for start, first in known:
                if first.seed == tried.seed:
                    return start
        elif config.starts == 'task':
            if known:
                return known[0][0]
        elif known:
            distances = [distance(first.feature, tried.feature) for _, first in known]
            nearest = int(np.argmin(distances))
            if distances[nearest] <= config.start_distance or len(known) >= config.most_starts:
                return known[nearest][0]
        seed = tried.seed if config.starts == 'seed' else None
        known.append((Start(tried.task, len(known), tried.episode_id, seed), tried))
        return known[-1][0]


def distance(first: np.ndarray | None, second: np.ndarray | None) -> float:
    """Root of the mean squared difference; infinite for features that cannot be compared."""
    if first is None or second is None or first.shape != second.shape or not first.size:
        return float('inf')
    return float(np.sqrt(np.mean((np.asarray(first, np.float64) - second) ** 2)))
