# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Writes episodes as a LeRobotDataset v3.0 that the lerobot package loads and appends to unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.episodes.files import replacing_durably
from apprentice.episodes.lerobot_features import IMAGES, columns, features
from apprentice.episodes.lerobot_ledger import Entry
from apprentice.episodes.lerobot_meta import LeRobotDatasetError, parquet
from apprentice.episodes.lerobot_stats import of_column, of_images
from apprentice.episodes.lerobot_store import Store
from apprentice.episodes.lerobot_video import KINDS, encode_png, encode_video
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode


class LeRobotWriter:
    """Episodes of one robot into one dataset folder.

    Args:
        folder: a new one, or one this class wrote; see :class:`Store`.
        spec: the robot; its ``action_dt`` is the time between frames.
        models: reward models whose progress becomes a column.
        images: ``h264``, ``av1`` (both mp4, lossy) or ``png`` (inside parquet, without loss).
        hardware: use a graphics card's encoder where there is one.

    Raises LeRobotDatasetError, also for a rate that is no whole number of frames a second.
    """

    def __init__(
        self,
        folder: str | Path,
        spec: RobotSpec,
        models: Sequence[str] = (),
        images: str = 'h264',
        hardware: bool = True,
    ):
        if images not in KINDS:
            raise LeRobotDatasetError(f'images are {images!r}; use one of {KINDS}')
        fps = round(1 / spec.action_dt)
        if fps < 1 or abs(fps * spec.action_dt - 1) > 1e-6:
            raise LeRobotDatasetError(
                f'steps of {spec.action_dt} s are {1 / spec.action_dt:g} frames a second, LeRobot wants a '
                'whole number; give --fps'
            )
        parquet()  # says what to install before anything is written
        self.spec, self.models, self.images, self.hardware = spec, tuple(models), images, hardware
        self.store = Store(folder, fps, spec.name, features(spec, self.models, images != 'png'))

    def add(self, episode: Episode, source: dict[str, Any] | None = None, slot: int | None = None) -> Entry:
        """Write an episode; with ``slot`` in the place of the one there, whose videos are kept.

        Raises ValueError for an episode that does not fit the columns, OSError of the disk; nothing of it is
        then in the dataset.
        """
        self._check(episode)
        store = self.store
        old = None if slot is None else next(entry for entry in store.entries if entry.slot == slot)
        if old is not None and old.length != len(episode):
            raise LeRobotDatasetError(
                f'{episode.episode_id} has {len(episode)} frames, {old.length} when it was exported; the log '
                'was replaced: export to a new folder'
            )
        number = store.next_slot if old is None else old.slot
        table = columns(episode, self.models, store.fps)
        stats = {name: of_column(values) for name, values in table.items()}
        videos = dict(old.videos) if old is not None else {}
        if old is not None:
            stats |= {name: old.stats[name] for name in old.stats if name.startswith(IMAGES)}
        elif self.images == 'png':
            stats |= {IMAGES + name: of_images(images) for name, images in episode.images.items()}
        else:
            for name, (file, found) in self._encode(episode).items():
                videos[name] = (file, 0.0, len(episode) / store.fps)
                stats[name] = found
        index = (0, 0) if old is None else (number, 0)  # numbered by the store
        table |= {
            'episode_index': np.full(len(episode), index[0]),
            'index': np.arange(len(episode)),
            'task_index': np.full(len(episode), store.task_index(episode.task)),
        }
        self._write_table(store.data_file(number), table, episode)
        entry = Entry(number, self._free_id(episode.episode_id, old), dict(source or {}), episode.task,
                      len(episode), videos, stats)  # fmt: skip
        store.commit(entry)
        return entry

    def _encode(self, episode: Episode) -> dict[str, tuple[int, Any]]:
        """Feature -> (number of its file, statistics). Cameras side by side: encoders let go of the GIL."""
        store = self.store

        def one(camera: str) -> tuple[str, tuple[int, Any]]:
            name, images = IMAGES + camera, episode.images[camera]
            number = store.next_video(name)
            path = store.video_file(name, number)
            encode_video(path, images, store.fps, self.images, self.hardware)
            return name, (number, of_images(images))

        with ThreadPoolExecutor(max(1, len(episode.images))) as pool:
            return dict(pool.map(one, [camera.name for camera in self.spec.cameras]))

    def _write_table(self, path: Path, table: dict[str, np.ndarray], episode: Episode) -> None:
        import pyarrow

        def array(values: np.ndarray) -> Any:
            if values.ndim == 2 and values.shape[1] > 1:
                return pyarrow.FixedSizeListArray.from_arrays(
                    pyarrow.array(values.reshape(-1)), values.shape[1]
                )
            return pyarrow.array(values.reshape(-1))

        arrays: dict[str, Any] = {}
        for name, feature in self.store.features.items():
            if name in table:
                arrays[name] = array(table[name])
            elif feature['dtype'] == 'image':
                kind = pyarrow.struct([('bytes', pyarrow.binary()), ('path', pyarrow.string())])
                images = episode.images[name.removeprefix(IMAGES)]
                rows = [
                    {'bytes': encode_png(image), 'path': f'frame-{i:06d}.png'}
                    for i, image in enumerate(images)
                ]
                arrays[name] = pyarrow.array(rows, kind)
        with replacing_durably(path) as temporary:
            parquet().write_table(pyarrow.table(arrays), temporary)

    def _check(self, episode: Episode) -> None:
        for name in ('state', 'action'):
            values = getattr(episode, name)
            if not np.all(np.isfinite(values)):
                raise ValueError(f'{episode.episode_id}: {name} holds NaN or infinity; discard the episode')
        for camera in self.spec.cameras:
            shape = episode.images[camera.name].shape[1:]
            if shape != (camera.height, camera.width, 3):
                raise ValueError(
                    f'{episode.episode_id}: camera {camera.name!r} recorded {shape[1]} x {shape[0]}, the '
                    f'robot file says {camera.width} x {camera.height}; correct the robot file'
                )

    def _free_id(self, episode_id: str, old: Entry | None) -> str:
        taken = {entry.episode_id for entry in self.store.entries if entry is not old}
        return free_id(episode_id, taken)


def free_id(episode_id: str, taken: set[str]) -> str:
    """The id, or with ``.2`` and so on if it is taken."""
    candidate, number = episode_id, 1
    while candidate in taken:
        number += 1
        candidate = f'{episode_id}.{number}'
    return candidate
