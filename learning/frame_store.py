# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Pictures of the episodes that a learner holds, as its policy sees them: in memory, or on disk.

A minute of two cameras of 640 x 480 at 10 Hz is 1.1 GB, so 20 episodes would fill a workstation. What is on
disk is mapped: the operating system keeps what is drawn often in memory, and takes it back when it must.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from apprentice.episodes.sources import MEMORY_SHARE
from apprentice.robot.types import Episode

log = logging.getLogger(__name__)
_PART = 2**26  # bytes written at a time


class FrameStore:
    """Decides for each episode where its pictures are.

    Files have no name, so that the disk is free again when the process has ended, however it did.

    Args:
        folder: on a disk with space, made if there is none.
        seen: pictures uint8 [T, H, W, 3] to those that are kept; default: as they are.
        limit: bytes in memory; None: a quarter of what is free now.
    """

    def __init__(
        self,
        folder: str | Path,
        seen: Callable[[np.ndarray], np.ndarray] = lambda images: images,
        limit: int | None = None,
    ):
        self._folder, self._seen = Path(folder), seen
        self._limit = int(MEMORY_SHARE * psutil.virtual_memory().available) if limit is None else limit
        self._sizes: dict[str, int] = {}  # episode -> bytes in memory
        self._told = False

    @property
    def in_memory(self) -> int:
        """Bytes of the pictures that are in memory."""
        return sum(self._sizes.values())

    def keep(self, episode: Episode) -> Episode:
        """The episode with the pictures that are kept, perhaps mapped from a file and then read-only.

        It takes the place of an earlier one of its id. Pictures that are decoded when they are used stay so.

        Raises OSError with a remedy when the disk is full.
        """
        episode = as_seen(episode, self._seen)
        own = {name: stack for name, stack in episode.images.items() if _in_memory(stack)}
        size = sum(stack.nbytes for stack in own.values())
        self._sizes.pop(episode.episode_id, None)
        if self.in_memory + size <= self._limit:
            self._sizes[episode.episode_id] = size
            return episode
        if not self._told:
            self._told = True
            log.info(
                'pictures of %.1f GB are in memory; those of further episodes go to the disk of %s',
                self.in_memory / 1e9,
                self._folder,
            )
        mapped = {name: self._map(stack, episode.episode_id) for name, stack in own.items()}
        return replace(episode, images={**episode.images, **mapped})

    def _map(self, stack: np.ndarray, episode_id: str) -> np.ndarray:
        if not stack.size:
            return stack
        stack = np.ascontiguousarray(stack)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder) as file:
                content = stack.data.cast('B')
                for first in range(0, len(content), _PART):
                    file.write(content[first : first + _PART])
                file.flush()
                return np.asarray(np.memmap(file, stack.dtype, 'r', shape=stack.shape))
        except OSError as error:
            raise OSError(
                f'cannot write the pictures of {episode_id} to the disk of {self._folder} '
                f'({stack.nbytes / 1e9:.2g} GB): {error}. Free space there, or give another run folder'
            ) from error


def as_seen(episode: Episode, seen: Callable[[np.ndarray], np.ndarray]) -> Episode:
    """The episode with pictures as ``seen`` makes them; those that are decoded when they are used stay so."""
    images = episode.images.items()
    return replace(episode, images={n: seen(s) if isinstance(s, np.ndarray) else s for n, s in images})


def _in_memory(stack: Any) -> bool:
    """Whether it is an array, and no view of a mapped file."""
    if not isinstance(stack, np.ndarray):
        return False
    while isinstance(stack, np.ndarray) and not isinstance(stack, np.memmap):
        stack = stack.base
    return not isinstance(stack, np.memmap)
