# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Progress of a dataset's frames as LeRobot's tools for reward-aligned cloning (RA-BC) read it.

One parquet file: ``index`` (of the frame in the dataset), ``episode_index``, ``frame_index`` (in an episode),
int64, and ``progress_sparse`` or ``progress_dense``, float32 in [0, 1], NaN unknown. lerobot-train takes it
as ``rabc_progress_path``, and the name behind ``progress_`` as ``rabc_head_mode``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.reward_models.base import RewardModelError
from apprentice.robot.files import replacing

PREFIX = 'progress_'


@dataclass(frozen=True)
class Progress:
    """Progress of N frames, in the order of the dataset.

    Attributes:
        index, episode_index, frame_index: int64 [N].
        heads: name (sparse, dense) -> float32 [N], NaN unknown.
        model: what made it.
    """

    index: np.ndarray
    episode_index: np.ndarray
    frame_index: np.ndarray
    heads: Mapping[str, np.ndarray]
    model: str = ''

    @classmethod
    def of_episodes(cls, curves: Sequence[np.ndarray], head: str = 'sparse', model: str = '') -> Progress:
        """From the curve [T] of every episode of a dataset, in its order, without gaps."""
        lengths = [len(curve) for curve in curves]
        frames = [np.arange(length) for length in lengths]
        values = np.concatenate([np.zeros(0, np.float32), *(np.asarray(c, np.float32) for c in curves)])
        return cls(
            np.arange(sum(lengths)),
            np.repeat(np.arange(len(curves)), lengths),
            np.concatenate(frames) if frames else np.zeros(0, np.int64),
            {head: values},
            model,
        )


def write_progress(path: str | Path, progress: Progress) -> None:
    """Write the file; an old one stays until the new one is complete.

    Raises RewardModelError for lengths that differ and values outside [0, 1]; ImportError without pyarrow.
    """
    pa, parquet = _pyarrow()
    count = len(progress.index)
    columns: dict[str, Any] = {
        name: np.asarray(getattr(progress, name), np.int64)
        for name in ('index', 'episode_index', 'frame_index')
    }
    for head, values in progress.heads.items():
        values = np.asarray(values, np.float32)
        known = values[~np.isnan(values)]
        if len(known) and not (known.min() >= 0 and known.max() <= 1):
            raise RewardModelError(
                f'progress {head} lies in [{known.min():.3g}, {known.max():.3g}], not in [0, 1]; calibrate '
                'the model'
            )
        columns[PREFIX + head] = values
    if not progress.heads or any(len(column) != count for column in columns.values()):
        raise RewardModelError(
            f'every column needs {count} values, and there must be a progress; got '
            f'{ {name: len(column) for name, column in columns.items()} }'
        )
    table = pa.table(columns).sort_by('index')
    table = table.replace_schema_metadata({b'reward_model_path': progress.model.encode()})
    with replacing(Path(path)) as temporary:
        parquet.write_table(table, temporary)


def read_progress(path: str | Path) -> Progress:
    """A file of ours or of LeRobot. Raises RewardModelError naming the file and the columns it lacks."""
    _, parquet = _pyarrow()
    try:
        table = parquet.read_table(path)
    except (OSError, ValueError) as error:
        raise RewardModelError(f'{path} is not a readable parquet file: {error}') from None
    columns = {name: table[name].to_numpy() for name in table.column_names}
    missing = [name for name in ('index', 'episode_index') if name not in columns]
    heads = {n.removeprefix(PREFIX): v for n, v in columns.items() if n.startswith(PREFIX)}
    if missing or not heads:
        raise RewardModelError(
            f'{path} lacks {missing or PREFIX + "<head>"}; it has {sorted(columns)}; make it with '
            "LeRobot's compute_rabc_weights, or with write_progress"
        )
    order = np.argsort(columns['index'], kind='stable')
    episodes = columns['episode_index'][order]
    if 'frame_index' in columns:
        frames = columns['frame_index'][order]
    else:  # later formats of LeRobot need not have it
        starts = np.r_[True, episodes[1:] != episodes[:-1]] if len(episodes) else np.zeros(0, bool)
        at = np.arange(len(episodes))
        frames = at - np.maximum.accumulate(np.where(starts, at, 0))
    about = (table.schema.metadata or {}).get(b'reward_model_path', b'').decode()
    return Progress(
        columns['index'][order].astype(np.int64),
        episodes.astype(np.int64),
        frames.astype(np.int64),
        {head: np.asarray(values, np.float32)[order] for head, values in heads.items()},
        about,
    )


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(f"{error}; pip install 'apprentice[lerobot-dataset]'") from error
    return pyarrow, pyarrow.parquet
