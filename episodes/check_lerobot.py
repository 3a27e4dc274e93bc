# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Checks of LeRobotDataset v3.0 folders, whoever wrote them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from apprentice.episodes import checks
from apprentice.episodes.checks import CheckSettings, Problem
from apprentice.episodes.lerobot_features import ACTION, OUTCOME, STATE, SUCCESS
from apprentice.episodes.lerobot_frames import decode_images, video_frames
from apprentice.episodes.lerobot_meta import LeRobotDatasetError, LeRobotEpisode, LeRobotMeta, read_table
from apprentice.episodes.lerobot_video import EncodingError, frames_in
from apprentice.robot.types import Outcome

_SAME = 0.5  # mean difference of two decoded frames of one picture, of 255
_BLOCK = 64  # frames decoded at a time
_STAMP_S = 1e-4  # the tolerance of LeRobot


def check_lerobot(
    folder: Path,
    settings: CheckSettings | None = None,
    images: bool = True,
    progress: Callable[[], None] = lambda: None,
) -> list[Problem]:
    """Everything wrong with a dataset; of one whose index is damaged only that.

    Args:
        images: decode every picture, to find frozen cameras and damaged files.
        progress: called after each episode.
    """
    settings = settings or CheckSettings()
    try:
        meta = LeRobotMeta.load(folder)
    except LeRobotDatasetError as error:
        return [Problem(Path(folder).name, 'unreadable', str(error))]
    found: list[Problem] = []
    first, counted = 0, dict[Path, int]()
    for row in meta.episodes:
        name = f'episode {row.index}'
        try:
            problems = _episode(meta, row, first, settings, images, counted)
        except (LeRobotDatasetError, EncodingError) as error:
            problems = [('unreadable', str(error))]
        found += [Problem(name, kind, text) for kind, text in problems]
        first += row.length
        progress()
    return found


def _episode(
    meta: LeRobotMeta,
    row: LeRobotEpisode,
    first: int,
    settings: CheckSettings,
    images: bool,
    counted: dict[Path, int],
) -> list[tuple[str, str]]:
    names = [n for n in (STATE, ACTION, OUTCOME, SUCCESS) if n in meta.features]
    names += ['timestamp', 'frame_index', 'index']
    table = read_table(row.data, columns=names, filters=[('episode_index', '=', row.index)])
    columns = {name: np.array(table[name].to_pylist()) for name in names}
    found: list[tuple[str, str]] = []
    if len(table) != row.length:
        return [('frame count', f'{len(table)} rows in {row.data.name}, {row.length} in meta/episodes')]
    grid = np.arange(row.length)
    if not np.array_equal(columns['frame_index'], grid) or not np.array_equal(columns['index'], grid + first):
        found.append(('frame count', 'frame_index or index does not count its frames'))
    off = float(np.abs(columns['timestamp'] - grid / meta.fps).max())
    if off > _STAMP_S:
        found.append(('time gap', f'stamps are up to {off:.4f} s off the grid of {meta.fps:g} Hz'))
    if row.length / meta.fps < settings.shortest_s:
        found.append(('too short', f'{row.length / meta.fps:.2f} s'))
    if OUTCOME in columns and columns[OUTCOME][0] == int(Outcome.UNKNOWN):
        found.append(('label missing', 'neither success nor failure'))
    stamps = np.rint(grid / meta.fps * 1e9).astype(np.int64)
    # without joints nobody can say whether a picture that stays is wrong
    images &= STATE in columns
    moved = (
        columns[STATE].reshape(row.length, -1).astype(np.float64) if STATE in columns else np.zeros((0, 0))
    )
    for name in (STATE, ACTION):
        if name in columns:
            values = columns[name].reshape(row.length, -1).astype(np.float64)
            found += [('not finite', text) for text in checks.not_finite(values, name)]
    if STATE in columns:
        joints = meta.names(STATE) or [f'element {i}' for i in range(moved.shape[1])]
        found += [('joint jump', text) for text in checks.joint_jumps(moved, stamps, joints, None, settings)]
    for feature, (path, begin) in row.videos.items():
        if path not in counted:
            counted[path] = frames_in(path)
        wanted = round(begin * meta.fps) + row.length
        if counted[path] < wanted:
            found.append(
                ('frame count', f'{path.name} of {feature} has {counted[path]} frames, needs {wanted}')
            )
        elif images:

            def decoded(rows: np.ndarray, path: Path = path, begin: float = begin) -> np.ndarray:
                return video_frames(path, begin + rows / meta.fps, 1 / meta.fps)

            found += _frozen(feature, decoded, stamps, moved, settings)
    pictures = [n for n, f in meta.features.items() if f['dtype'] == 'image']
    for feature in pictures if images else ():
        data = read_table(row.data, columns=[feature], filters=[('episode_index', '=', row.index)])
        encoded = [item['bytes'] for item in data[feature].to_pylist()]

        def from_parquet(rows: np.ndarray, encoded: list = encoded, feature: str = feature) -> np.ndarray:
            return decode_images([encoded[i] for i in rows], f'{row.data}: {feature!r}')

        found += _frozen(feature, from_parquet, stamps, moved, settings)
    return found


def _frozen(
    feature: str,
    decode: Callable[[np.ndarray], np.ndarray],
    stamps: np.ndarray,
    moved: np.ndarray,
    settings: CheckSettings,
) -> list[tuple[str, str]]:
    """Frozen stretches; ``decode``: rows int64 [n] -> uint8 [n, H, W, 3], asked for some rows at a time."""
    same = np.zeros(len(stamps), bool)
    before: np.ndarray | None = None
    for begin in range(0, len(stamps), _BLOCK):
        frames = decode(np.arange(begin, min(begin + _BLOCK, len(stamps))))
        for i, frame in enumerate(frames.astype(np.int16)):
            same[begin + i] = before is not None and float(np.abs(frame - before).mean()) < _SAME
            before = frame
    found = checks.frozen(same, stamps, moved, stamps, settings)
    return [('frozen camera', f'{feature}: {text}') for text in found]
