# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A LeRobotDataset v3.0 folder that is written episode by episode and survives being killed.

Every episode has parquet and mp4 files of its own, which the format allows: where an episode lies is said in
``meta/episodes`` only. What is in the folder is noted in a ledger, ``meta/apprentice.jsonl``, one line an
episode, appended when its files are whole. :meth:`Store.finish` makes the index of the dataset from the
ledger, ``meta/info.json`` last. A folder that was left in the middle is repaired by opening it again and
finishing it. One that another program has changed since is refused: its files are not ours to remove.

Layout verified with lerobot 0.4.4 and 0.6.1 (huggingface/lerobot, format v3.0).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.episodes.files import replacing_durably, sync_folder
from apprentice.episodes.lerobot_ledger import CHUNK, DATA_PATH, EPISODES, Entry, Ledger, place
from apprentice.episodes.lerobot_meta import INFO, parquet, read_table
from apprentice.episodes.lerobot_stats import Stats, combined, of_column

VIDEO_PATH = 'videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4'


class Store:
    """The episodes of one dataset folder. Use as a context; only one process may have it open.

    Args:
        folder: made when missing.
        fps, robot_type, features: as in ``meta/info.json``, of all its episodes.

    Raises LeRobotDatasetError for a dataset that something else wrote or changed, for one with other columns,
    and while another process writes it.
    """

    def __init__(self, folder: str | Path, fps: int, robot_type: str, features: dict[str, dict[str, Any]]):
        self.folder, self.fps, self.robot_type, self.features = Path(folder), fps, robot_type, features
        self._ledger = Ledger(self.folder, {'fps': fps, 'robot_type': robot_type, 'features': features})
        self._entries = self._ledger.entries
        try:
            self._tidy()
        except BaseException:
            self._ledger.close()
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self._ledger.close()

    @property
    def entries(self) -> list[Entry]:
        """Episodes that are in the folder, in their order."""
        return [entry for entry in self._entries.values() if not entry.removed]

    @property
    def next_slot(self) -> int:
        return max(self._entries, default=-1) + 1

    def task_index(self, task: str) -> int:
        """Number of an instruction, which stays; a new one gets the next."""
        tasks = self._tasks()
        return tasks.index(task) if task in tasks else len(tasks)

    def data_file(self, slot: int) -> Path:
        return self.folder / DATA_PATH.format(**place(slot))

    def video_file(self, feature: str, number: int) -> Path:
        return self.folder / VIDEO_PATH.format(video_key=feature, **place(number))

    def next_video(self, feature: str) -> int:
        """A number for an mp4 file that no episode uses."""
        used = (entry.videos[feature][0] for entry in self._entries.values() if feature in entry.videos)
        return max(self.next_slot, *(number + 1 for number in used), 0)

    def commit(self, entry: Entry) -> None:
        """Note an episode whose files are on the disk, or new facts about one. The index is not made yet."""
        self._ledger.commit(entry)

    def remove(self, slot: int) -> None:
        """Take an episode out; its files go with the next :meth:`finish`."""
        old = self._entries[slot]
        # its instruction keeps its number, and the numbers of its videos are not used again
        self.commit(Entry(slot, old.episode_id, old.source, old.task, removed=True, videos=old.videos))

    def finish(self) -> None:
        """Make the index of the dataset: numbers of the episodes, tasks, statistics, ``meta/info.json``.

        Without any episode there is no index, so no dataset.
        """
        self._ledger.begin_index()
        self._tidy()
        if self.entries:
            self._make_index()
        else:
            for path in (self.folder / INFO, self.folder / EPISODES):
                path.unlink(missing_ok=True)
        sync_folder(self.folder / 'meta')
        self._ledger.end_index()

    def _make_index(self) -> None:
        entries = self.entries
        rows, first = [], 0
        for number, entry in enumerate(entries):
            self._renumber(entry, number, first)
            rows.append(self._row(entry, number, first))
            first += entry.length
        self._write_episodes(rows)
        tasks = self._tasks()
        self._write_tasks(tasks)
        stats = [{**entry.stats, **self._index_stats(entry, n, row['dataset_from_index'])}
                 for n, (entry, row) in enumerate(zip(entries, rows))]  # fmt: skip
        _dump(self.folder / 'meta' / 'stats.json', combined(stats))
        info = {
            'codebase_version': 'v3.0',
            'robot_type': self.robot_type,
            'total_episodes': len(entries),
            'total_frames': first,
            'total_tasks': len(tasks),
            'chunks_size': CHUNK,
            'data_files_size_in_mb': 100,
            'video_files_size_in_mb': 200,
            'fps': self.fps,
            'splits': {'train': f'0:{len(entries)}'},
            'data_path': DATA_PATH,
            'video_path': VIDEO_PATH,
            'features': self.features,
        }
        _dump(self.folder / INFO, info)

    def _tasks(self) -> list[str]:
        return list(dict.fromkeys(entry.task for entry in self._entries.values()))

    # files

    def _tidy(self) -> None:
        """Remove files that no episode has: of one that was cut off in the middle, or removed."""
        kept = {self.data_file(entry.slot) for entry in self.entries}
        kept |= {self.video_file(k, v[0]) for entry in self.entries for k, v in entry.videos.items()}
        for name in ('data', 'videos'):
            for path in (self.folder / name).rglob('*'):
                if path.is_file() and path not in kept:
                    path.unlink()

    def _renumber(self, entry: Entry, number: int, first: int) -> None:
        """Give the rows of an episode the numbers it has now."""
        path = self.data_file(entry.slot)
        table = read_table(path, columns=['episode_index', 'index'])
        now = np.full(entry.length, number), np.arange(first, first + entry.length)
        if all(np.array_equal(table[name], new) for name, new in zip(table.column_names, now)):
            return
        import pyarrow

        table = read_table(path)
        for name, new in zip(('episode_index', 'index'), now):
            table = table.set_column(
                table.column_names.index(name), name, pyarrow.array(new, pyarrow.int64())
            )
        with replacing_durably(path) as temporary:
            parquet().write_table(table, temporary)

    def _row(self, entry: Entry, number: int, first: int) -> dict[str, Any]:
        row: dict[str, Any] = {'episode_index': number, 'tasks': [entry.task], 'length': entry.length}
        row |= {f'data/{key}': value for key, value in place(entry.slot).items()}
        row |= {'dataset_from_index': first, 'dataset_to_index': first + entry.length}
        for feature, (file, begin, end) in entry.videos.items():
            where = {**place(file), 'from_timestamp': begin, 'to_timestamp': end}
            row |= {f'videos/{feature}/{key}': value for key, value in where.items()}
        stats = {**entry.stats, **self._index_stats(entry, number, first)}
        row |= {f'stats/{name}/{key}': v for name, found in stats.items() for key, v in found.items()}
        return row | {'meta/episodes/chunk_index': 0, 'meta/episodes/file_index': 0}

    def _index_stats(self, entry: Entry, number: int, first: int) -> dict[str, Stats]:
        grid = np.arange(entry.length)
        return {
            'episode_index': of_column(np.full(entry.length, number)),
            'index': of_column(grid + first),
            'task_index': of_column(np.full(entry.length, self.task_index(entry.task))),
        }

    def _write_episodes(self, rows: list[dict[str, Any]]) -> None:
        import pyarrow

        with replacing_durably(self.folder / EPISODES) as temporary:
            parquet().write_table(pyarrow.Table.from_pylist(rows), temporary)

    def _write_tasks(self, tasks: list[str]) -> None:
        import pyarrow

        numbers = pyarrow.array(range(len(tasks)), pyarrow.int64())
        table = with_pandas_index(pyarrow.table({'task_index': numbers, '__index_level_0__': tasks}))
        with replacing_durably(self.folder / 'meta' / 'tasks.parquet') as temporary:
            parquet().write_table(table, temporary)


def with_pandas_index(table: Any) -> Any:
    """A table of ``task_index`` and texts whose texts are the index for pandas, by which LeRobot reads it."""

    def column(name: str | None, place: str, kind: str) -> dict[str, Any]:
        of_numpy = 'object' if kind == 'unicode' else kind
        facts = {'name': name, 'field_name': place, 'pandas_type': kind, 'numpy_type': of_numpy}
        return {**facts, 'metadata': None}

    columns = [column('task_index', 'task_index', 'int64'), column(None, '__index_level_0__', 'unicode')]
    note = {
        'index_columns': ['__index_level_0__'],
        'column_indexes': [],
        'columns': columns,
        'creator': {'library': 'pyarrow', 'version': '1'},
        'pandas_version': '2.2',
    }
    return table.replace_schema_metadata({'pandas': json.dumps(note)})


@contextlib.contextmanager
def finishing(store: Store) -> Iterator[Store]:
    """The store, whose index is made however the block ends: what was committed can be loaded."""
    with store:
        try:
            yield store
        finally:
            store.finish()


def _dump(path: Path, content: dict[str, Any]) -> None:
    with replacing_durably(path) as temporary:
        temporary.write_text(json.dumps(content, indent=4))
