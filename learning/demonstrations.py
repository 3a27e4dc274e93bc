# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Folders of episodes as samples to clone: the successes, in memory or mapped from a cache."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import psutil

from apprentice.episodes.sources import MEMORY_SHARE, episode_readers, source_files
from apprentice.learning.cache import in_memory, open_cache, rebuilding
from apprentice.learning.dataset import NO_EPISODES, Samples
from apprentice.learning.distributed import Ranks
from apprentice.learning.frame_store import Downsample, downsampled, whole
from apprentice.robot.feature_mapping import FeatureMapping
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode, Outcome

log = logging.getLogger(__name__)

Readers = Sequence[Callable[[], Episode]]
_Kept = TypeVar('_Kept', bound=Sequence)


def load_demonstrations(
    folders: Sequence[str | Path],
    robot: RobotSpec,
    horizon: int,
    spill: str | Path,
    cache: str | Path = '',
    mapping: FeatureMapping | None = None,
    ranks: Ranks | None = None,
    watch: Callable[[Readers], Iterable[Callable[[], Episode]]] = iter,
    downsample: Downsample = whole,
) -> tuple[Samples, dict[str, int]]:
    """The samples of all successes in ``folders`` that are no evaluations, and how many episodes were read
    (``read``) and are cloned (``episodes``).

    They are kept in memory if their images take less than a quarter of what is free and one process trains;
    else they are read once into a cache and mapped from there.

    Args:
        spill: folder of the cache where one is needed and none was asked for.
        cache: folder of the cache; empty: none is asked for.
        mapping: of LeRobot datasets.
        ranks: processes that train together; the first one reads. All must see the folder of the cache.
        watch: passes the readers on, e.g. with a progress bar.
        downsample: pictures to those that are kept, e.g. as small as a backbone looks at.

    Raises ValueError without a success, EpisodeFileError for episodes that do not fit the robot.
    """
    ranks = ranks or Ranks()
    readers = [read for folder in folders for read in episode_readers(folder, robot, mapping)]
    if not readers:
        raise ValueError(f'no episodes in {", ".join(map(str, folders))}; run `apprentice demonstrate` first')
    key = source_key(folders, robot, horizon, mapping, downsample)
    place, asked = Path(cache or spill), bool(cache) or ranks.world > 1
    found = open_cache(place, key)
    ranks.wait()  # nobody replaces it before everybody looked
    if found is None and ranks.first:
        found = _read(watch(readers), horizon, place, asked, key, downsample)
    ranks.wait()
    if found is None:
        found = open_cache(place, key)
    if found is None:
        raise ValueError(
            f'process {ranks.rank} does not see the cache in {place} that the first one made; give '
            'cache=FOLDER on a file system that all of them share'
        )
    return found


def source_key(
    folders: Sequence[str | Path],
    robot: RobotSpec,
    horizon: int,
    mapping: FeatureMapping | None = None,
    downsample: Downsample = whole,
) -> str:
    """Hash over names, sizes and times of the files, over robot, horizon, mapping and what
    becomes of a picture."""
    pictures = []
    for camera in robot.cameras:
        noise = np.random.default_rng(0).integers(0, 256, (1, camera.height, camera.width, 3), np.uint8)
        pictures.append(hashlib.sha256(downsample(noise).tobytes()).hexdigest())
    files = []
    for folder in folders:
        for path in source_files(folder):
            status = path.stat()
            files.append((str(path.relative_to(folder)), status.st_size, status.st_mtime_ns))
    content = json.dumps([files, repr(robot), horizon, repr(mapping), pictures])
    return hashlib.sha256(content.encode()).hexdigest()


def _read(
    readers: Iterable[Callable[[], Episode]],
    horizon: int,
    place: Path,
    asked: bool,
    key: str,
    downsample: Downsample = whole,
) -> tuple[Samples, dict[str, int]]:
    read = 0

    def successes() -> Iterator[Episode]:
        nonlocal read
        for reader in readers:
            episode = reader()
            read += 1
            if episode.outcome == Outcome.SUCCESS and not episode.eval_only:
                yield downsampled(episode, downsample)

    episodes, kept, complete = successes(), [], False
    if not asked:
        limit = int(MEMORY_SHARE * psutil.virtual_memory().available)
        kept, complete = in_memory(episodes, limit)
    if complete:
        return Samples.of(_some(kept, read), horizon), {'read': read, 'episodes': len(kept)}
    log.info('the samples are written to %s', place)
    with rebuilding(place, horizon) as writer:
        for episode in itertools.chain(_drain(kept), episodes):
            writer.add(episode)
        about = {'read': read, 'episodes': len(_some(range(writer.episodes), read))}
        writer.finish(key, about)
    found = open_cache(place, key)
    if found is None:
        raise OSError(f'the cache in {place} cannot be read again; give cache=FOLDER on another disk')
    return found


def _some(kept: _Kept, read: int) -> _Kept:
    if not len(kept):
        raise ValueError(f'{NO_EPISODES}; none of the {read} that were read is a success')
    return kept


def _drain(episodes: list[Episode]) -> Iterator[Episode]:
    """One after the other, leaving nothing behind in memory."""
    while episodes:
        yield episodes.pop(0)
