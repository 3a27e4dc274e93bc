# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Pictures of the episodes that a learner holds: in memory while they take little of it, then on disk.

A minute of two cameras of 640 x 480 at 10 Hz is 1.1 GB, so 20 episodes would fill a workstation. What is on
disk is mapped: the operating system keeps what is drawn often in memory, and takes it back when it must.
"""

from __future__ import annotations

import logging
import tempfile
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
        limit: bytes in memory; None: a quarter of what is free now.
    """

    def __init__(self, folder: str | Path, limit: int | None = None):
        self._folder = Path(folder)
        self._limit = int(MEMORY_SHARE * psutil.virtual_memory().available) if limit is None else limit
        self._sizes: dict[str, int] = {}  # episode -> bytes in memory
        self._told = False

    @property
    def in_memory(self) -> int:
        """Bytes of the pictures that are in memory."""
        return sum(self._sizes.values())

    def keep(self, episode: Episode) -> Episode:
        """The episode, its pictures perhaps mapped from a file and then read-only; in place of an earlier
        one of its id. Pictures that are decoded when they are used stay as they are.

        Raises OSError with a remedy when the disk is full.
        """
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


def _in_memory(stack: Any) -> bool:
    """Whether it is an array, and no view of a mapped file."""
    if not isinstance(stack, np.ndarray):
        return False
    while isinstance(stack, np.ndarray) and not isinstance(stack, np.memmap):
        stack = stack.base
    return not isinstance(stack, np.memmap)
