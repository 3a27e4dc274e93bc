# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""LeRobotDatasets into one, whoever wrote them. Rows and videos are copied, nothing is encoded again."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.episodes.files import SUFFIX, EpisodeFileError, free_stem
from apprentice.episodes.labels import iter_sealed, label_path
from apprentice.episodes.lazy_frames import LazyFrames
from apprentice.episodes.lerobot_features import INDEXES
from apprentice.episodes.lerobot_frames import decode_images, video_frames
from apprentice.episodes.lerobot_meta import (
    LeRobotDatasetError,
    LeRobotEpisode,
    LeRobotMeta,
    parquet,
    read_table,
)
from apprentice.episodes.lerobot_stats import of_column, of_images
from apprentice.episodes.lerobot_store import Entry, Store, finishing, read_ledger
from apprentice.episodes.lerobot_writer import free_id
from apprentice.robot.files import replacing, sha256

_Progress = Callable[[int, int, str], None]


def _silent(done: int, total: int, name: str) -> None:
    pass


def merge_lerobot(folders: Sequence[str | Path], out: str | Path, progress: _Progress = _silent) -> int:
    """Add the episodes of ``folders`` to the dataset ``out``; returns how many were added.

    Episodes keep their order. Their ids stay unique: one that is there with the same id and rows is not added
    again, so a merge that was cut off can be repeated; the same id with other rows gets ``.2``.

    Raises LeRobotDatasetError where columns or rates differ, and names what.
    """
    metas = [LeRobotMeta.load(folder) for folder in folders]
    first = metas[0]
    for meta in metas[1:]:
        names = sorted(n for n in {*first.features, *meta.features} if not _equal(first, meta, n))
        if names or meta.fps != first.fps:
            raise LeRobotDatasetError(
                f'{meta.folder} and {first.folder} differ in {names or "their rates"}; export both with the '
                'same settings'
            )
    robots = sorted({meta.robot_type for meta in metas})
    features = {name: _plain(feature) for name, feature in first.features.items()}
    store = Store(out, round(first.fps), '+'.join(robots), features)
    added, done, total = 0, 0, sum(len(meta.episodes) for meta in metas)
    with finishing(store):
        known = {entry.source.get('rows'): entry.episode_id for entry in store.entries}
        for meta in metas:
            ids = [entry.episode_id for entry in read_ledger(meta.folder)]
            videos: dict[Path, int] = {}  # mp4 file, which may hold many episodes -> number here
            for number, row in enumerate(meta.episodes):
                name = ids[number] if number < len(ids) else f'{meta.folder.name}_ep{row.index:06d}'
                added += _copy(store, meta, row, name, known, videos)
                done += 1
                progress(done, total, name)
    return added


def _copy(
    store: Store,
    meta: LeRobotMeta,
    row: LeRobotEpisode,
    name: str,
    known: dict[Any, str],
    copied: dict[Path, int],
) -> bool:
    table = read_table(row.data, filters=[('episode_index', '=', row.index)])
    if len(table) != row.length:
        raise LeRobotDatasetError(
            f'{meta.folder}: episode {row.index} is incomplete; run apprentice dataset check'
        )
    columns = {n: np.array(table[n].to_pylist()) for n, f in meta.features.items()
               if f['dtype'] not in ('video', 'image')}  # fmt: skip
    task = meta.tasks[int(columns['task_index'][0])]
    rows = _hash(
        {k: v for k, v in columns.items() if k not in ('episode_index', 'index', 'task_index')}, task
    )
    if known.get(rows) is not None:
        return False
    import pyarrow

    slot = store.next_slot
    own = set(INDEXES) - {'timestamp', 'frame_index'}  # those the store makes
    stats: dict[str, Any] = {name: of_column(v) for name, v in columns.items() if name not in own}
    videos = {}
    for feature, (path, begin) in row.videos.items():
        if path not in copied:
            copied[path] = store.next_video(feature)
            target = store.video_file(feature, copied[path])
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target) as temporary:
                shutil.copyfile(path, temporary)
        number = copied[path]
        videos[feature] = (number, begin, begin + row.length / meta.fps)

        def decoded(index: np.ndarray, path: Path = path, begin: float = begin) -> np.ndarray:
            return video_frames(path, begin + index / meta.fps, 1 / meta.fps)

        stats[feature] = of_images(LazyFrames((row.length, *meta.size(feature), 3), decoded))
    for feature in (n for n, f in meta.features.items() if f['dtype'] == 'image'):
        stats[feature] = of_images(
            decode_images([i['bytes'] for i in table[feature].to_pylist()], str(row.data))
        )
    new = {'episode_index': 0, 'index': np.arange(row.length), 'task_index': store.task_index(task)}
    for column, values in new.items():
        array = pyarrow.array(np.broadcast_to(values, row.length).astype(np.int64))
        table = table.set_column(table.column_names.index(column), column, array)
    path = store.data_file(slot)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        parquet().write_table(table, temporary)
    name = free_id(name, {entry.episode_id for entry in store.entries})
    store.commit(Entry(slot, name, {'rows': rows, 'from': meta.folder.name}, task, row.length, videos, stats))
    known[rows] = name
    return True


def merge_logs(folders: Sequence[str | Path], out: str | Path, progress: _Progress = _silent) -> int:
    """Copy sealed episode files and their labels into one folder; returns how many were added.

    A file that is there already is not copied again; another one of the same name gets ``.2``.

    Raises EpisodeFileError if there is nothing to copy.
    """
    out = Path(out)
    files = [path for folder in folders for path in iter_sealed(folder)]
    if not files:
        raise EpisodeFileError(f'no episode files (*.mcap) in {", ".join(map(str, folders))}')
    out.mkdir(parents=True, exist_ok=True)
    there = {sha256(path): path for path in iter_sealed(out)}
    added = 0
    for number, path in enumerate(files):
        digest = sha256(path)
        target = there.get(digest)
        if target is None:
            target = out / (free_stem(out, path.name.removesuffix(SUFFIX)) + SUFFIX)
            with replacing(target) as temporary:
                shutil.copyfile(path, temporary)
            there[digest] = target
            added += 1
        label = label_path(path)
        if label.exists():
            with replacing(label_path(target)) as temporary:
                shutil.copyfile(label, temporary)
        progress(number + 1, len(files), path.name)
    return added


def _equal(a: LeRobotMeta, b: LeRobotMeta, name: str) -> bool:
    one, other = a.features.get(name), b.features.get(name)
    return one is not None and other is not None and _plain(one) == _plain(other)


def _plain(feature: dict[str, Any]) -> dict[str, Any]:
    """Without what LeRobot notes of the codec, which may differ from file to file."""
    return {key: feature.get(key) for key in ('dtype', 'shape', 'names')}


def _hash(columns: dict[str, np.ndarray], task: str) -> str:
    digest = hashlib.sha256(task.encode())
    for name in sorted(columns):
        digest.update(name.encode() + np.ascontiguousarray(columns[name]).tobytes())
    return digest.hexdigest()[:32]
