# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The index of a LeRobotDataset v3.0 folder: ``meta/info.json``, the tasks, and where each episode lies.

One parquet or mp4 file may hold many episodes; which rows and seconds are whose is said in ``meta/episodes``
only (huggingface/lerobot, format v3.0).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apprentice.episodes.files import EpisodeFileError

INFO = Path('meta') / 'info.json'
_CONVERTER = 'lerobot.datasets.v30.convert_dataset_v21_to_v30'
_FIELDS = ('fps', 'features', 'data_path', 'total_episodes', 'total_frames')


class LeRobotDatasetError(EpisodeFileError):
    """A LeRobotDataset cannot be used; the text names the folder, every cause and the remedy."""


@dataclass(frozen=True)
class LeRobotEpisode:
    """One row of ``meta/episodes``.

    Attributes:
        index: of the episode; ``length`` in frames.
        tasks: its instructions, usually one.
        data: parquet file of its frames.
        videos: feature -> (mp4 file, second at which the episode begins in it).
    """

    index: int
    length: int
    tasks: tuple[str, ...]
    data: Path
    videos: dict[str, tuple[Path, float]]


@dataclass(frozen=True)
class LeRobotMeta:
    """What a LeRobotDataset says of itself. ``features``: name -> {dtype, shape, names}."""

    folder: Path
    fps: float
    robot_type: str
    features: dict[str, dict[str, Any]]
    episodes: tuple[LeRobotEpisode, ...]
    tasks: dict[int, str]

    @classmethod
    def load(cls, folder: str | Path) -> LeRobotMeta:
        """Read the index. Raises LeRobotDatasetError for another version and for what is missing."""
        folder = Path(folder)
        try:
            info = json.loads((folder / INFO).read_text())
        except FileNotFoundError:
            raise LeRobotDatasetError(
                f'{folder} is no LeRobotDataset ({INFO} is missing); give the folder that holds meta and data'
            ) from None
        except (OSError, ValueError) as error:
            raise LeRobotDatasetError(f'{folder / INFO} is unreadable ({error}); copy it again') from None
        _require_version(folder, str(info.get('codebase_version', 'unknown')))
        missing = [name for name in _FIELDS if name not in info]
        if missing:
            raise LeRobotDatasetError(f'{folder / INFO} lacks {missing}; copy the dataset again')
        meta = cls(
            folder=folder,
            fps=float(info['fps']),
            robot_type=str(info.get('robot_type') or ''),
            features=info['features'],
            episodes=tuple(_episodes(folder, info)),
            tasks=_tasks(folder),
        )
        frames = sum(episode.length for episode in meta.episodes)
        if (len(meta.episodes), frames) != (info['total_episodes'], info['total_frames']):
            raise LeRobotDatasetError(
                f'{folder}: meta/episodes lists {len(meta.episodes)} episodes with {frames} frames, {INFO} '
                f'says {info["total_episodes"]} and {info["total_frames"]}; the recording was not finalised '
                '(LeRobotDataset.finalize) or not copied completely'
            )
        return meta

    def size(self, feature: str) -> tuple[int, int]:
        """(height, width) of an image feature."""
        shape = [int(number) for number in self.features[feature]['shape']]
        names = list(self.features[feature].get('names') or ())
        # datasets converted from older versions may say channels first
        first = names[0].startswith('channel') if len(names) == 3 else shape[0] == 3 != shape[-1]
        return (shape[1], shape[2]) if first else (shape[0], shape[1])

    def names(self, feature: str) -> list[str] | None:
        """Names of the elements of a vector feature, None where the dataset gives none."""
        names = self.features[feature].get('names')
        if isinstance(names, dict):  # {'motors': [...]}, as older recordings have it
            lists = [value for value in names.values() if isinstance(value, list)]
            names = lists[0] if len(lists) == 1 else None
        return [str(name) for name in names] if names else None


def parquet() -> Any:
    """The module pyarrow.parquet. Raises ImportError that names the extra to install."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise ImportError(
            "LeRobot datasets need pyarrow and av: pip install 'apprentice[lerobot-dataset]'"
        ) from None
    return pyarrow.parquet


def read_table(path: Path, **options: Any) -> Any:
    """A pyarrow table. Raises LeRobotDatasetError if the file is missing or cut off."""
    try:
        return parquet().read_table(path, **options)
    except (OSError, ValueError) as error:  # pyarrow's own errors are among these
        raise _damaged(path, error) from None


def _columns(path: Path) -> list[str]:
    try:
        return parquet().read_schema(path).names
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> LeRobotDatasetError:
    return LeRobotDatasetError(
        f'{path} is missing or damaged ({error}); copy it again. A recording that was not finalised '
        '(LeRobotDataset.finalize) cannot be read'
    )


def _require_version(folder: Path, version: str) -> None:
    if version.startswith('v3.'):
        return
    remedy = 'this version reads v3.0'
    if version == 'v2.1':
        place = folder.resolve()
        remedy = (
            'convert it, in an environment with lerobot, with: '
            f'python -m {_CONVERTER} --root={place.parent} --repo-id={place.name} --push-to-hub=false'
        )
    elif version.startswith(('v1', 'v2')):
        remedy = 'convert it to v2.1 with the version of lerobot that made it, then to v3.0'
    raise LeRobotDatasetError(f'{folder} has dataset format {version}, not v3.0; {remedy}')


def _tasks(folder: Path) -> dict[int, str]:
    table = read_table(folder / 'meta' / 'tasks.parquet').to_pydict()
    # the text is the index of a pandas table: its column is called task, or __index_level_0__
    texts = [name for name in table if name != 'task_index']
    if 'task_index' not in table or len(texts) != 1:
        raise LeRobotDatasetError(f'{folder}/meta/tasks.parquet has columns {list(table)}; copy it again')
    return dict(zip(table['task_index'], table[texts[0]]))


def _episodes(folder: Path, info: dict[str, Any]) -> list[LeRobotEpisode]:
    videos = [name for name, feature in info['features'].items() if feature.get('dtype') == 'video']
    keys = ['episode_index', 'tasks', 'length', 'data/chunk_index', 'data/file_index']
    for video in videos:
        keys += [f'videos/{video}/{key}' for key in ('chunk_index', 'file_index', 'from_timestamp')]
    found = []
    for path in sorted((folder / 'meta' / 'episodes').glob('*/*.parquet')):
        present = _columns(path)
        missing = [key for key in keys if key not in present]
        if missing:
            raise LeRobotDatasetError(f'{path} lacks the columns {missing}; copy the dataset again')
        for row in read_table(path, columns=keys).to_pylist():
            places = {}
            for video in videos:
                chunk, file, begin = (row[key] for key in keys if key.startswith(f'videos/{video}/'))
                name = str(info['video_path']).format(video_key=video, chunk_index=chunk, file_index=file)
                places[video] = (folder / name, float(begin))
            data = info['data_path'].format(
                chunk_index=row['data/chunk_index'], file_index=row['data/file_index']
            )
            found.append(
                LeRobotEpisode(
                    row['episode_index'], row['length'], tuple(row['tasks']), folder / data, places
                )
            )
    return sorted(found, key=lambda episode: episode.index)
