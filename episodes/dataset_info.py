# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What is in a folder of episodes, logs or a LeRobotDataset, counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from apprentice.episodes.facts import episode_facts, episode_folder, recorded_spec
from apprentice.episodes.files import PART_SUFFIX, EpisodeFileError
from apprentice.episodes.labels import iter_sealed
from apprentice.episodes.lerobot_features import INTERVENTION, OUTCOME, SUCCESS
from apprentice.episodes.lerobot_meta import INFO, LeRobotMeta, read_table
from apprentice.robot.types import Outcome


@dataclass
class DatasetInfo:
    """Counts of a folder; ``outcomes`` and ``tasks`` are episodes by name, ``unreadable`` says why.

    ``interventions`` are episodes in which a person drove some but not all of the time.
    """

    folder: str
    kind: str
    robot: str = ''
    episodes: int = 0
    frames: int = 0
    seconds: float = 0.0
    size: int = 0
    tasks: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)
    held_out: int = 0
    demonstrations: int = 0
    interventions: int = 0
    cameras: dict[str, str] = field(default_factory=dict)
    unfinished: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)


def dataset_info(folder: str | Path) -> DatasetInfo:
    """Count what is in a run folder, a folder of episode files or a LeRobotDataset.

    Raises EpisodeFileError where there is neither.
    """
    folder = Path(folder)
    if (folder / INFO).exists():
        return _of_lerobot(folder)
    return _of_logs(episode_folder(folder))


def _of_logs(folder: Path) -> DatasetInfo:
    info = DatasetInfo(str(folder), 'logs')
    files = list(iter_sealed(folder))
    info.unfinished = len(list(folder.glob('*' + PART_SUFFIX)))
    if not files and not info.unfinished:
        raise EpisodeFileError(f'{folder} holds neither episode files (*.mcap) nor a LeRobotDataset ({INFO})')
    for path in files:
        try:
            facts = episode_facts(path)
        except EpisodeFileError as error:
            info.unreadable[path.name] = str(error)
            continue
        if not info.cameras:
            spec = recorded_spec(path)
            info.robot = facts.robot
            info.cameras = {c.name: f'{c.width} x {c.height} at {c.rate_hz:g} Hz' for c in spec.cameras}
        _add(info, facts.task, facts.outcome, facts.human_share)
        info.seconds += facts.seconds
        info.size += facts.size
        info.held_out += facts.eval_only
    return info


def _of_lerobot(folder: Path) -> DatasetInfo:
    meta = LeRobotMeta.load(folder)
    info = DatasetInfo(str(folder), f'LeRobotDataset v3 at {meta.fps:g} Hz', meta.robot_type)
    info.frames = sum(row.length for row in meta.episodes)
    info.seconds = info.frames / meta.fps
    info.size = sum(path.stat().st_size for path in folder.rglob('*') if path.is_file())
    for name, feature in meta.features.items():
        if feature['dtype'] in ('video', 'image'):
            height, width = meta.size(name)
            info.cameras[name] = f'{width} x {height}, {feature["dtype"]}'
    wanted = [name for name in (OUTCOME, SUCCESS, INTERVENTION) if name in meta.features]
    for row in meta.episodes:
        table = read_table(
            row.data, columns=[*wanted, 'episode_index'], filters=[('episode_index', '=', row.index)]
        )
        columns = {name: np.array(table[name].to_pylist()) for name in wanted}
        outcome = Outcome.UNKNOWN
        if OUTCOME in columns and len(table):
            outcome = Outcome(int(columns[OUTCOME][0]))
        elif SUCCESS in columns:
            outcome = Outcome.SUCCESS if columns[SUCCESS].any() else Outcome.FAILURE
        share = float(np.mean(columns[INTERVENTION])) if INTERVENTION in columns and len(table) else 0.0
        _add(info, ', '.join(row.tasks), outcome, share)
    return info


def _add(info: DatasetInfo, task: str, outcome: Outcome, human_share: float) -> None:
    info.episodes += 1
    for counts, key in ((info.tasks, task), (info.outcomes, outcome.name)):
        counts[key] = counts.get(key, 0) + 1
    info.demonstrations += human_share >= 0.999
    info.interventions += 0 < human_share < 0.999
