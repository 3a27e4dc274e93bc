# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Writes LeRobotDataset v3.0 folders for tests, in the layout of LeRobot's own writer.

One parquet and one mp4 file hold several episodes; only meta/episodes says which rows and seconds are whose.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.robot.types import Episode, Outcome, Source


def write_dataset(
    folder: Path,
    episodes: Sequence[Episode],
    joints: Sequence[str],
    fps: int = 10,
    video: bool = False,
    extras: bool = True,
    files: int = 2,
) -> Path:
    """Episodes as a dataset.

    Args:
        joints: names of the elements of state and action.
        video: H.264 files, else PNG inside parquet, which is lossless.
        extras: with ``next.success`` and ``intervention``.
        files: episodes per file.
    """
    import pyarrow.parquet as pq

    tasks = sorted({episode.task for episode in episodes})
    rows, first = [], 0
    for begin in range(0, len(episodes), files):
        number, group = begin // files, episodes[begin : begin + files]
        place = f'chunk-000/file-{number:03d}'
        path = folder / 'data' / f'{place}.parquet'
        path.parent.mkdir(parents=True, exist_ok=True)
        seconds = 0.0
        tables = []
        for offset, episode in enumerate(group):
            index, length = begin + offset, len(episode)
            tables.append(_table(episode, index, first, tasks, fps, video, extras))
            row: dict[str, Any] = {'episode_index': index, 'tasks': [episode.task], 'length': length}
            row |= {'data/chunk_index': 0, 'data/file_index': number}
            row |= {'dataset_from_index': first, 'dataset_to_index': first + length}
            for name in episode.images if video else ():
                key = f'videos/observation.images.{name}'
                row |= {f'{key}/chunk_index': 0, f'{key}/file_index': number}
                row |= {f'{key}/from_timestamp': seconds, f'{key}/to_timestamp': seconds + length / fps}
            rows.append(row)
            first, seconds = first + length, seconds + length / fps
        with pq.ParquetWriter(path, tables[0].schema) as writer:
            for table in tables:
                writer.write_table(table)
        for name in episodes[0].images if video else ():
            path = folder / 'videos' / f'observation.images.{name}' / f'{place}.mp4'
            _encode(path, np.concatenate([episode.images[name] for episode in group]), fps)
    _meta(folder, episodes[0], rows, tasks, joints, fps, video, extras)
    return folder


def _table(
    episode: Episode, index: int, first: int, tasks: list[str], fps: int, video: bool, extras: bool
) -> Any:
    import pyarrow as pa

    length = len(episode)
    columns: dict[str, Any] = {}
    for name, values in (('observation.state', episode.state), ('action', episode.action)):
        flat = pa.array(values.astype(np.float32).reshape(-1))
        columns[name] = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    for name, images in episode.images.items() if not video else ():
        encoded = [{'bytes': _png(image), 'path': f'frame-{i:06d}.png'} for i, image in enumerate(images)]
        kind = pa.struct([('bytes', pa.binary()), ('path', pa.string())])
        columns[f'observation.images.{name}'] = pa.array(encoded, kind)
    if extras:
        success = np.arange(length) == length - 1
        columns['next.success'] = pa.array(success & (episode.outcome == Outcome.SUCCESS))
        columns['intervention'] = pa.array(episode.source == int(Source.HUMAN))
    columns['timestamp'] = pa.array((np.arange(length) / fps).astype(np.float32))
    columns['frame_index'] = pa.array(np.arange(length))
    columns['episode_index'] = pa.array(np.full(length, index))
    columns['index'] = pa.array(np.arange(first, first + length))
    columns['task_index'] = pa.array(np.full(length, tasks.index(episode.task)))
    return pa.table(columns)


def _meta(
    folder: Path,
    episode: Episode,
    rows: list[dict[str, Any]],
    tasks: list[str],
    joints: Sequence[str],
    fps: int,
    video: bool,
    extras: bool,
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / 'meta' / 'episodes' / 'chunk-000' / 'file-000.parquet'
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    table = pa.table({'task_index': pa.array(range(len(tasks)), pa.int64()), '__index_level_0__': tasks})
    pq.write_table(_with_pandas_index(table), folder / 'meta' / 'tasks.parquet')
    vector = {'dtype': 'float32', 'shape': [episode.state.shape[1]], 'names': list(joints)}
    features: dict[str, Any] = {'observation.state': vector, 'action': vector}
    for name, images in episode.images.items():
        features[f'observation.images.{name}'] = {
            'dtype': 'video' if video else 'image',
            'shape': list(images.shape[1:]),
            'names': ['height', 'width', 'channels'],
        }
    single = {'timestamp': 'float32', **dict.fromkeys(('frame_index', 'index', 'task_index'), 'int64')}
    single |= {
        'episode_index': 'int64',
        **({'next.success': 'bool', 'intervention': 'bool'} if extras else {}),
    }
    features |= {name: {'dtype': kind, 'shape': [1], 'names': None} for name, kind in single.items()}
    info = {
        'codebase_version': 'v3.0',
        'robot_type': 'test',
        'total_episodes': len(rows),
        'total_frames': sum(row['length'] for row in rows),
        'total_tasks': len(tasks),
        'chunks_size': 1000,
        'data_files_size_in_mb': 100,
        'video_files_size_in_mb': 200,
        'fps': fps,
        'splits': {'train': f'0:{len(rows)}'},
        'data_path': 'data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet',
        'video_path': 'videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4',
        'features': features,
    }
    (folder / 'meta' / 'info.json').write_text(json.dumps(info, indent=4))


def _with_pandas_index(table: Any) -> Any:
    """The last column as the index, as pandas notes it; LeRobot reads the table with pandas."""

    def column(name: str | None, field: str, kind: str) -> dict[str, Any]:
        of_numpy = 'object' if kind == 'unicode' else kind
        return {
            'name': name,
            'field_name': field,
            'pandas_type': kind,
            'numpy_type': of_numpy,
            'metadata': None,
        }

    columns = [column('task_index', 'task_index', 'int64'), column(None, '__index_level_0__', 'unicode')]
    index = {'index_columns': ['__index_level_0__'], 'column_indexes': [], 'columns': columns}
    creator = {'library': 'pyarrow', 'version': '1'}
    note = json.dumps({**index, 'creator': creator, 'pandas_version': '2.2'})
    return table.replace_schema_metadata({'pandas': note})


def change_info(folder: Path, **changes: Any) -> None:
    """Other values in meta/info.json; a value that is a function is given the old one."""
    path = folder / 'meta' / 'info.json'
    info = json.loads(path.read_text())
    for name, value in changes.items():
        info[name] = value(info[name]) if callable(value) else value
    path.write_text(json.dumps(info))


def _png(image: np.ndarray) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, 'PNG')
    return stream.getvalue()


def _encode(path: Path, images: np.ndarray, fps: int) -> None:
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=fps, options={'g': '2', 'crf': '10'})
        stream.height, stream.width = images.shape[1:3]
        stream.pix_fmt = 'yuv420p'
        for image in images:
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, 'rgb24')):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
