# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Samples on disk: decoded once, then mapped into memory, which all processes of a machine share.

A cache is a folder with one file of raw numbers for each array and ``cache.json``, which is written last and
holds a key of what the samples were made from. It is rebuilt when that changes.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.learning.dataset import Chunks, Samples
from apprentice.robot.files import replacing_folder, write_text
from apprentice.robot.types import Episode

log = logging.getLogger(__name__)

FORMAT, MANIFEST = 1, 'cache.json'
_ROWS = 64  # of images written at a time; lazy ones are decoded so many at a time
_TYPES = {'state': '<f4', 'actions': '<f4', 'valid': '?', 'weight': '<f4', 'text': '<i4', 'episode': '<i4'}


class CacheWriter:
    """Writes episodes one after the other, so that only one has to be in memory.

    Args:
        folder: an empty one.
        horizon: rows of a chunk.
    """

    def __init__(self, folder: Path, horizon: int):
        self._folder, self._horizon = folder, horizon
        self._files: dict[str, Any] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}  # of one sample
        self._texts: dict[str, int] = {}
        self._samples = self.episodes = 0

    def add(self, episode: Episode) -> None:
        """Write the samples of an episode.

        Raises ValueError for one whose cameras are not those of the episodes before, OSError with a remedy
        when the disk is full.
        """
        chunks = Chunks.of(episode, self._horizon)
        text = self._texts.setdefault(episode.task, len(self._texts))
        count = len(chunks)
        images = {_image_file(name): stack for name, stack in chunks.images.items()}
        arrays = {
            'state': chunks.state,
            'actions': chunks.actions,
            'valid': chunks.valid,
            'weight': chunks.weight,
            'text': np.full(count, text),
            'episode': np.full(count, self.episodes),
        }
        shapes = {name: tuple(array.shape[1:]) for name, array in {**arrays, **images}.items()}
        self._shapes = self._shapes or shapes
        if shapes != self._shapes:
            raise ValueError(
                f'episode {episode.episode_id!r} holds {shapes}, those before hold {self._shapes}; '
                'train on episodes of one robot file'
            )
        try:
            for name, array in arrays.items():
                self._file(name).write(np.ascontiguousarray(array, _TYPES[name]))
            for name, stack in images.items():
                for first in range(0, count, _ROWS):
                    rows = np.asarray(stack[first : first + _ROWS])
                    self._file(name).write(np.ascontiguousarray(rows, np.uint8))
        except OSError as error:
            raise OSError(
                f'cannot write the samples to {self._folder}: {error}; give cache=FOLDER on a disk with '
                'enough space'
            ) from error
        self._samples += count
        self.episodes += 1

    def finish(self, key: str, about: dict[str, Any]) -> None:
        """Close the files and write the manifest."""
        self.close()
        manifest = {
            'format': FORMAT,
            'key': key,
            'about': about,
            'samples': self._samples,
            'shapes': self._shapes,
            'texts': list(self._texts),
        }
        write_text(self._folder / MANIFEST, json.dumps(manifest, indent=1) + '\n')

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()

    def _file(self, name: str) -> Any:
        if name not in self._files:
            self._files[name] = open(self._folder / f'{name}.bin', 'wb')  # noqa: SIM115 - closed by close
        return self._files[name]


@contextlib.contextmanager
def rebuilding(folder: Path, horizon: int) -> Iterator[CacheWriter]:
    """A writer beside ``folder``, whose cache replaces the one there when the block ends well.

    Raises ValueError for a folder that holds something else.
    """
    if folder.exists() and not (folder / MANIFEST).exists() and any(folder.iterdir()):
        raise ValueError(f'{folder} is no cache and would be replaced; give another folder, e.g. a new one')
    with replacing_folder(folder) as made:
        writer = CacheWriter(made, horizon)
        try:
            yield writer
        finally:
            writer.close()


def open_cache(folder: Path, key: str) -> tuple[Samples, dict[str, Any]] | None:
    """Samples of a cache, mapped, and what its maker wrote about them.

    None if there is no cache, if it was made from something else than ``key``, or if it is damaged.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        if manifest['format'] != FORMAT or manifest['key'] != key:
            log.info('%s was made from other episodes or settings', folder)
            return None
        count, shapes, texts = manifest['samples'], manifest['shapes'], manifest['texts']

        def mapped(name: str, kind: str) -> np.ndarray:
            path, shape = folder / f'{name}.bin', (count, *shapes[name])
            size = int(np.prod(shape)) * np.dtype(kind).itemsize
            if path.stat().st_size != size:
                raise ValueError(f'{path} has {path.stat().st_size} bytes instead of {size}')
            return np.asarray(np.memmap(path, kind, 'r', shape=shape))

        arrays = {name: mapped(name, kind) for name, kind in _TYPES.items()}
        cameras = [name.removeprefix('image.') for name in shapes if name.startswith('image.')]
        chunks = Chunks(
            {camera: mapped(_image_file(camera), '|u1') for camera in cameras},
            arrays['state'],
            arrays['actions'],
            arrays['valid'],
            arrays['weight'],
            [texts[i] for i in arrays['text']],
        )
        return Samples(chunks, arrays['episode']), manifest['about']
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        log.warning('the cache %s is damaged (%s) and is built again', folder, error)
        return None


def in_memory(episodes: Iterable[Episode], limit: int) -> tuple[list[Episode], bool]:
    """Episodes while their images take less than ``limit`` bytes, and whether that was all of them.

    Images that are decoded whenever they are used count as too large.
    """
    kept: list[Episode] = []
    size = 0
    for episode in episodes:
        kept.append(episode)
        stacks = episode.images.values()
        size += sum(stack.nbytes for stack in stacks if isinstance(stack, np.ndarray))
        if size > limit or not all(isinstance(stack, np.ndarray) for stack in stacks):
            return kept, False
    return kept, True


def _image_file(camera: str) -> str:
    return f'image.{camera}'
