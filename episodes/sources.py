# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Folders of episodes, whatever wrote them: our logs, or a LeRobotDataset."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import psutil

from apprentice.episodes.facts import episode_folder
from apprentice.episodes.join import read_episode
from apprentice.episodes.labels import iter_sealed, label_path
from apprentice.episodes.lerobot_dataset import LeRobotSource
from apprentice.episodes.lerobot_meta import INFO
from apprentice.robot.feature_mapping import FeatureMapping
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode

MEMORY_SHARE = 0.25  # of the free memory, for decoded images; they are copied once
log = logging.getLogger(__name__)


def episode_readers(
    folder: str | Path, spec: RobotSpec, mapping: FeatureMapping | None = None
) -> list[Callable[[], Episode]]:
    """One function for each episode in ``folder``, which reads it. A folder that does not exist has none.

    A folder with ``meta/info.json`` is a LeRobotDataset. Where its images would take more than a quarter of
    the free memory they are decoded whenever they are used, which is slower.

    Raises EpisodeFileError, which says what does not fit the robot; the functions too, for one episode.
    """
    folder = Path(folder)
    if not (folder / INFO).exists():
        return [functools.partial(read_episode, path, spec) for path in iter_sealed(folder)]
    source = LeRobotSource(folder, spec, mapping)
    lazy = source.decoded_bytes > MEMORY_SHARE * psutil.virtual_memory().available
    if lazy:
        log.info('%s: %.1f GB of images are decoded when they are used', folder, source.decoded_bytes / 1e9)
    return [functools.partial(source.episode, number, lazy) for number in range(len(source))]


def source_files(folder: str | Path) -> list[Path]:
    """The files that the episodes of ``folder`` come from, sorted: what changes when an episode does."""
    folder = Path(folder)
    if (folder / INFO).exists():
        return sorted(path for path in folder.rglob('*') if path.is_file())
    sealed = list(iter_sealed(folder))
    return sorted([*sealed, *(label for label in map(label_path, sealed) if label.exists())])


def read_named(path: Path, spec: RobotSpec) -> Episode:
    """A sealed episode under the name of its file, which differs from its id where two have the same."""
    return replace(read_episode(path, spec), episode_id=path.stem)


def readers_by_name(folders: Iterable[str | Path], spec: RobotSpec) -> dict[str, Callable[[], Episode]]:
    """Name of each sealed episode of ours in these folders -> what reads it.

    A run folder stands for its folder ``episodes``. Raises ValueError for a folder that is missing or empty,
    and for two episodes of one name.
    """
    places = [Path(folder) for folder in folders]
    missing = [str(place) for place in places if not place.exists()]
    if missing:
        raise ValueError(
            f'no episodes in {", ".join(missing)}: no such folder; run `apprentice demonstrate` first, or '
            'write settings as key=value'
        )
    found: dict[str, Callable[[], Episode]] = {}
    for place in map(episode_folder, places):
        for path in iter_sealed(place):
            if path.stem in found:
                raise ValueError(f'two episodes are named {path.stem}; leave one of the folders out')
            found[path.stem] = functools.partial(read_named, path, spec)
    if not found:
        raise ValueError(f'no episodes in {", ".join(map(str, places))}; record some first')
    return found
