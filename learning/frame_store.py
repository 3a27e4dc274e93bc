# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Pictures of the episodes that a learner holds, as small as its policy takes them: in memory, or on disk.

A minute of two cameras of 640 x 480 at 10 Hz is 1.1 GB, so 20 episodes would fill a workstation. What is on
disk is mapped: the operating system keeps what is drawn often in memory, and takes it back when it must.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import torch

from apprentice.episodes.lazy_frames import LazyFrames
from apprentice.episodes.sources import MEMORY_SHARE
from apprentice.robot.types import Episode

log = logging.getLogger(__name__)
_PART = 2**26  # bytes written at a time

Downsample = Callable[[np.ndarray], np.ndarray]  # pictures uint8 [T, H, W, 3] to smaller ones, or the same


def whole(images: np.ndarray) -> np.ndarray:
    """Pictures as they are."""
    return images


class FrameStore:
    """Decides for each episode where its pictures are.

    Files have no name, so that the disk is free again when the process has ended, however it did (on a file
    system of a network its server may keep them a while).

    Args:
        folder: on a disk with space, made if there is none.
        downsample: pictures to those that are kept.
        processes: of this machine that keep the same, each its own copy.
        limit: bytes in memory; None: a quarter of what is free now, of all processes together.
    """

    def __init__(
        self, folder: str | Path, downsample: Downsample = whole, processes: int = 1, limit: int | None = None
    ):
        self._folder, self._downsample = Path(folder), downsample
        free = psutil.virtual_memory().available
        self._limit = int(MEMORY_SHARE * free / processes) if limit is None else limit
        self._sizes: dict[str, int] = {}  # episode -> bytes in memory
        self._told = False

    @property
    def in_memory(self) -> int:
        """Bytes of the pictures that are in memory."""
        return sum(self._sizes.values())

    def keep(self, episode: Episode) -> Episode:
        """The episode with the pictures that are kept, perhaps mapped from a file.

        It takes the place of an earlier one of its id. Pictures that are decoded when they are used stay so.

        Raises OSError with a remedy when the disk is full.
        """
        episode = downsampled(episode, self._downsample)
        arrays = {name: stack for name, stack in episode.images.items() if isinstance(stack, np.ndarray)}
        size = sum(stack.nbytes for stack in arrays.values())
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
        mapped = {name: self._map(stack, episode.episode_id) for name, stack in arrays.items()}
        return replace(episode, images={**episode.images, **mapped})

    def _map(self, stack: np.ndarray, episode_id: str) -> np.ndarray:
        if not stack.size:
            return stack
        content = np.ascontiguousarray(stack, np.uint8).data.cast('B')
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder) as file:
                for first in range(0, len(content), _PART):
                    file.write(content[first : first + _PART])
                file.flush()
                # numpy's memmap keeps a file descriptor for as long as it lives, and a process has 1024
                path = f'/proc/self/fd/{file.fileno()}'
                mapped = torch.from_file(path, shared=True, size=len(content), dtype=torch.uint8)
        except (OSError, RuntimeError) as error:  # the latter of torch
            raise OSError(
                f'cannot write the pictures of {episode_id} to the disk of {self._folder} '
                f'({stack.nbytes / 1e9:.2g} GB): {error}. Free space there, or give another run folder'
            ) from error
        return mapped.numpy().reshape(stack.shape)


def downsampled(episode: Episode, downsample: Downsample) -> Episode:
    """The episode with smaller pictures; of those that are decoded when they are used, what is decoded."""
    return replace(episode, images={n: _smaller(s, downsample) for n, s in episode.images.items()})


def _smaller(stack: np.ndarray | LazyFrames, downsample: Downsample) -> np.ndarray | LazyFrames:
    if not isinstance(stack, LazyFrames):
        return downsample(stack)
    size = downsample(np.zeros((1, *stack.shape[1:]), np.uint8)).shape[1:]
    if size == stack.shape[1:]:
        return stack
    return LazyFrames((len(stack), *size), lambda rows: downsample(stack[rows]))
