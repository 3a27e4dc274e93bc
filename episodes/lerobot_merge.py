# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""LeRobotDatasets into one, whoever wrote them. Rows and videos are copied, nothing is encoded again."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.episodes.facts import episode_folder
from apprentice.episodes.files import SUFFIX, EpisodeFileError, free_stem, replacing_durably
from apprentice.episodes.labels import iter_sealed, take_label
from apprentice.episodes.lazy_frames import LazyFrames
from apprentice.episodes.lerobot_features import INDEXES
from apprentice.episodes.lerobot_frames import decode_images, video_frames
from apprentice.episodes.lerobot_ledger import DATA_PATH, Entry, own_entries, place
from apprentice.episodes.lerobot_meta import (
    LeRobotDatasetError,
    LeRobotEpisode,
    LeRobotMeta,
    parquet,
    read_table,
)
from apprentice.episodes.lerobot_stats import of_column, of_images
from apprentice.episodes.lerobot_store import Store, finishing
from apprentice.episodes.lerobot_writer import free_id
from apprentice.robot.files import sha256

_Progress = Callable[[int, int, str], None]


def _silent(done: int, total: int, name: str) -> None:
    pass


def merge_lerobot(folders: Sequence[str | Path], out: str | Path, progress: _Progress = _silent) -> int:
    """Add the episodes of ``folders`` to the dataset ``out``; returns how many were added.

    Episodes keep their order. One that is there already, with the same rows or exported from the same log, is
    not added again, so a merge that was cut off can be repeated. Ids stay unique: the same id of another
    episode gets ``.2``.

    Raises LeRobotDatasetError where columns or rates differ, and names what, and where ``out`` is among
    ``folders``.
    """
    _refuse_among(out, folders)
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
        known = {key for entry in store.entries for key in _keys(store, entry)}
        for meta in metas:
            own = {DATA_PATH.format(**place(entry.slot)): entry for entry in own_entries(meta.folder)}
            videos: dict[Path, int] = {}  # mp4 file, which may hold many episodes -> number here
            for row in meta.episodes:
                name = f'{meta.folder.name}_ep{row.index:06d}'
                entry = own.get(str(row.data.relative_to(meta.folder)), Entry(0, name))
                added += _copy(store, meta, row, entry, known, videos)
                done += 1
                progress(done, total, entry.episode_id)
    return added


def _copy(
    store: Store,
    meta: LeRobotMeta,
    row: LeRobotEpisode,
    origin: Entry,
    known: set[str],
    copied: dict[Path, int],
) -> bool:
    """Add an episode; False where it is known. ``origin``: its name, and what it was made from."""
    table = read_table(row.data, filters=[('episode_index', '=', row.index)])
    if len(table) != row.length:
        raise LeRobotDatasetError(
            f'{meta.folder}: episode {row.index} is incomplete; run apprentice dataset check'
        )
    columns = _columns(table, meta.features)
    task = meta.tasks[int(columns['task_index'][0])]
    source = {'rows': _hash(columns, task), 'from': meta.folder.name, **origin.source}
    if known & set(_of_source(source)):
        return False
    import pyarrow

    slot = store.next_slot
    own = set(INDEXES) - {'timestamp', 'frame_index'}  # those the store makes
    stats: dict[str, Any] = {name: of_column(v) for name, v in columns.items() if name not in own}
    videos = {}
    for feature, (path, begin) in row.videos.items():
        if path not in copied:
            copied[path] = store.next_video(feature)
            with replacing_durably(store.video_file(feature, copied[path])) as temporary:
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
    with replacing_durably(store.data_file(slot)) as temporary:
        parquet().write_table(table, temporary)
    name = free_id(origin.episode_id, {entry.episode_id for entry in store.entries})
    store.commit(Entry(slot, name, source, task, row.length, videos, stats))
    known.update(_of_source(source))
    return True


def _keys(store: Store, entry: Entry) -> list[str]:
    """What an episode of the target is known by; an exported one has no hash of its rows yet."""
    source = entry.source
    if 'rows' not in source:
        table = read_table(store.data_file(entry.slot))
        source = {**source, 'rows': _hash(_columns(table, store.features), entry.task)}
    return _of_source(source)


def _of_source(source: dict[str, Any]) -> list[str]:
    return [source[name] for name in ('rows', 'fingerprint') if source.get(name)]


def _columns(table: Any, features: dict[str, dict[str, Any]]) -> dict[str, np.ndarray]:
    """Columns that are no images."""
    names = [name for name, feature in features.items() if feature['dtype'] not in ('video', 'image')]
    return {name: np.array(table[name].to_pylist()) for name in names}


def _refuse_among(out: str | Path, folders: Sequence[str | Path]) -> None:
    """Raises LeRobotDatasetError where the target is one of the sources."""
    targets = {Path(out).resolve(), episode_folder(out).resolve()}
    for folder in folders:
        if Path(folder).resolve() in targets:
            raise LeRobotDatasetError(
                f'{out} is also one of the folders to merge; give a new folder, or leave it out: what is in '
                'the target stays'
            )


def merge_logs(folders: Sequence[str | Path], out: str | Path, progress: _Progress = _silent) -> int:
    """Copy sealed episode files and their labels into one folder; returns how many were added.

    A file that is there already is not copied again; another one of the same name gets ``.2``. Of several
    labels of a file the newest counts.

    Raises EpisodeFileError if there is nothing to copy, and where ``out`` is among ``folders``.
    """
    _refuse_among(out, folders)
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
            with replacing_durably(target) as temporary:
                shutil.copyfile(path, temporary)
            there[digest] = target
            added += 1
        take_label(path, target)
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
    for name in sorted(set(columns) - {'episode_index', 'index', 'task_index'}):
        digest.update(name.encode() + np.ascontiguousarray(columns[name]).tobytes())
    return digest.hexdigest()[:32]
