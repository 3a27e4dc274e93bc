# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""LeRobotDataset v3.0 folders as episodes of a robot file.

The action of a LeRobot frame is what was commanded in it, which is the target at the end of our step. Of a
dataset whose rate is a multiple of the robot's, every n-th frame is an observation, and its action is the
last one before the next observation.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.episodes.lazy_frames import LazyFrames
from apprentice.episodes.lerobot_features import CONTROL, INTERVENTION, OUTCOME, SUCCESS
from apprentice.episodes.lerobot_frames import decode_images, video_frames
from apprentice.episodes.lerobot_meta import LeRobotDatasetError, LeRobotEpisode, LeRobotMeta, read_table
from apprentice.robot.feature_mapping import FeatureMapping
from apprentice.robot.resize import resize
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode, Outcome, Source

_STAMP_S = 1e-4  # the tolerance of LeRobot


class LeRobotSource:
    """Episodes of a LeRobotDataset, read and decoded one by one.

    Args:
        folder: with ``meta``, ``data`` and ``videos``.
        spec: the robot the episodes are to fit.
        mapping: what is named or measured differently; default: nothing.

    Attributes:
        stride: frames of the dataset per step of the robot.

    Raises LeRobotDatasetError that names every difference between dataset and robot.
    """

    def __init__(self, folder: str | Path, spec: RobotSpec, mapping: FeatureMapping | None = None):
        self.meta, self.spec, self.mapping = LeRobotMeta.load(folder), spec, mapping or FeatureMapping()
        found = self.mapping.unknown(spec) + self._check_cameras()
        self.stride, wrong = self._stride()
        self.state, missing = self._vector(self.mapping.state)
        self.action, lacking = self._vector(self.mapping.action)
        found += wrong + missing + lacking
        if found:
            raise LeRobotDatasetError(
                f'{self.meta.folder} does not fit robot {spec.name!r}: '
                + '; '.join(found)
                + '. Correct the robot '
                'file, or say what differs in a mapping (--mapping FILE, see docs/policies.md)'
            )
        # reading from inside a parquet file is by blocks of many rows, so the last ones are kept, encoded
        self._encoded = functools.lru_cache(maxsize=4)(self._read_encoded)

    def __len__(self) -> int:
        return len(self.meta.episodes)

    @property
    def decoded_bytes(self) -> int:
        """Memory that all images take when they are decoded."""
        pixels = sum(camera.width * camera.height * 3 for camera in self.spec.cameras)
        return pixels * sum(episode.length // self.stride for episode in self.meta.episodes)

    def episode(self, number: int, lazy: bool = False) -> Episode:
        """The episode at a place of the dataset; with ``lazy`` its images are :class:`LazyFrames`.

        Without a feature ``next.success`` it counts as a success, as demonstrations do; without a feature
        ``intervention`` a person drove all of it.

        Raises LeRobotDatasetError for damaged files, stamps that are not on the grid, several instructions
        and an episode shorter than a step.
        """
        row = self.meta.episodes[number]
        count = row.length // self.stride
        if not count:
            raise LeRobotDatasetError(f'{self._name(row)} holds no complete step of {self.spec.action_dt} s')
        table = self._columns(row)
        first = np.arange(count) * self.stride
        last = first + self.stride - 1  # the command that is executed at the end of the step
        human = np.ones(row.length, bool) if INTERVENTION not in table else table[INTERVENTION].astype(bool)
        human = human[last]
        begins = human & ~np.concatenate([[False], human[:-1]])
        source = np.where(human, int(Source.HUMAN), int(Source.POLICY))
        if CONTROL in table:  # a dataset exported here
            source = table[CONTROL][last]
        images: dict[str, Any] = {
            camera.name: self._frames(number, camera.name, first) for camera in self.spec.cameras
        }
        if not lazy:
            images = {name: stack[:] for name, stack in images.items()}
        return Episode(
            episode_id=f'{self.meta.folder.name}_ep{row.index:06d}',
            task=self._task(row, table['task_index']),
            seed=0,
            outcome=self._outcome(table),
            end_cause=0,
            eval_only=False,
            stamps=first / self.meta.fps,
            images=images,
            state=self.state.to_robot(table[self.mapping.state])[first].astype(np.float32),
            action=self.action.to_robot(table[self.mapping.action])[last].astype(np.float32),
            source=source.astype(np.uint8),
            takeover_id=np.where(human, np.cumsum(begins), 0).astype(np.int64),
            robot=self.spec.name,
        )

    def _columns(self, row: LeRobotEpisode) -> dict[str, np.ndarray]:
        """The columns that are no images, checked: [length] or [length, width]."""
        names = [self.mapping.state, self.mapping.action, 'timestamp', 'frame_index', 'task_index']
        extras = (SUCCESS, INTERVENTION, CONTROL, OUTCOME)
        names += [name for name in extras if name in self.meta.features]
        table = read_table(row.data, columns=names, filters=[('episode_index', '=', row.index)])
        if len(table) != row.length:
            raise LeRobotDatasetError(
                f'{row.data} holds {len(table)} frames of episode {row.index}, meta/episodes says '
                f'{row.length}; copy the dataset again'
            )
        columns = {name: np.array(table[name].to_pylist()) for name in names}
        grid = np.arange(row.length)
        if not np.array_equal(columns['frame_index'], grid):
            raise LeRobotDatasetError(f'{self._name(row)}: frame_index does not count its frames')
        off = np.abs(columns['timestamp'] - (grid / self.meta.fps).astype(np.float32)).max()
        if off > _STAMP_S:
            raise LeRobotDatasetError(
                f'{self._name(row)}: stamps are up to {off:.4f} s off the grid of {self.meta.fps:g} Hz; '
                'write it again on a fixed grid'
            )
        for name in (self.mapping.state, self.mapping.action):
            # a vector of one element is stored as a number
            columns[name] = columns[name].reshape(row.length, -1).astype(np.float64)
            if not np.all(np.isfinite(columns[name])):
                raise LeRobotDatasetError(
                    f'{self._name(row)}: {name} holds NaN or infinity; remove the episode'
                )
        return columns

    def _frames(self, number: int, camera: str, rows: np.ndarray) -> LazyFrames:
        row, feature, spec = self.meta.episodes[number], self.mapping.camera(camera), self.spec.camera(camera)
        size = (spec.height, spec.width)

        def decode(index: np.ndarray) -> np.ndarray:
            if feature in row.videos:
                path, begin = row.videos[feature]
                images = video_frames(path, begin + rows[index] / self.meta.fps, 1 / self.meta.fps)
            else:
                encoded = self._encoded(number, feature)
                where = f'{row.data}: {feature!r}'
                images = decode_images([encoded[place] for place in rows[index]], where)
            if images.shape[1:3] != self.meta.size(feature):
                raise LeRobotDatasetError(
                    f'{self._name(row)}: {feature!r} is {images.shape[1:3]} inside the file, in '
                    f'meta/info.json {self.meta.size(feature)}; copy the dataset again'
                )
            return resize(images, size, self.mapping.resize) if images.shape[1:3] != size else images

        return LazyFrames((len(rows), *size, 3), decode)

    def _read_encoded(self, number: int, feature: str) -> list[bytes]:
        row = self.meta.episodes[number]
        table = read_table(row.data, columns=[feature], filters=[('episode_index', '=', row.index)])
        return [item['bytes'] for item in table[feature].to_pylist()]

    def _task(self, row: LeRobotEpisode, index: np.ndarray) -> str:
        tasks = {self.meta.tasks.get(int(number)) for number in np.unique(index)}
        if len(tasks) != 1 or None in tasks:
            raise LeRobotDatasetError(
                f'{self._name(row)} has {len(tasks)} instructions ({sorted(map(str, tasks))}), an '
                'episode here has one; split it'
            )
        return str(tasks.pop())

    @staticmethod
    def _outcome(table: dict[str, np.ndarray]) -> Outcome:
        if OUTCOME in table:  # exported here
            return Outcome(int(table[OUTCOME][0]))
        if SUCCESS not in table:
            return Outcome.SUCCESS
        return Outcome.SUCCESS if bool(table[SUCCESS].any()) else Outcome.FAILURE

    def _name(self, row: LeRobotEpisode) -> str:
        return f'{self.meta.folder}: episode {row.index}'

    def _check_cameras(self) -> list[str]:
        found = []
        there = [n for n, f in self.meta.features.items() if f.get('dtype') in ('video', 'image')]
        for camera in self.spec.cameras:
            feature, size = self.mapping.camera(camera.name), (camera.height, camera.width)
            if feature not in there:
                found.append(f'camera {camera.name!r} needs {feature!r}, the dataset has the images {there}')
            elif self.meta.size(feature) != size and not self.mapping.resize:
                found.append(
                    f'camera {camera.name!r} is {size}, {feature!r} is {self.meta.size(feature)} (height, '
                    'width); say resize: stretch or resize: pad if you want it changed'
                )
        return found

    def _vector(self, feature: str) -> tuple[Any, list[str]]:
        if feature not in self.meta.features:
            vectors = [n for n, f in self.meta.features.items() if str(f.get('dtype')).startswith('float')]
            return None, [f'there is no {feature!r}, the dataset has {vectors}']
        shape = tuple(self.meta.features[feature]['shape'])
        if len(shape) != 1:
            return None, [f'{feature!r} has shape {shape}, not one axis']
        return self.mapping.vector(self.spec, int(shape[0]), self.meta.names(feature), repr(feature))

    def _stride(self) -> tuple[int, list[str]]:
        ratio = self.meta.fps * self.spec.action_dt
        stride = round(ratio)
        if stride >= 1 and abs(ratio - stride) < 1e-3 * stride:
            return stride, []
        return 1, [
            f'it has {self.meta.fps:g} frames a second, the robot steps every {self.spec.action_dt} s '
            f'(action_dt), that is {ratio:g} frames; only whole numbers from 1 on can be taken'
        ]
