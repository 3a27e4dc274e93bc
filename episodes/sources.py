# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Folders of episodes, whatever wrote them: our logs, or a LeRobotDataset."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from pathlib import Path

import psutil

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
